//! `devcluster`: starts, shows and ends small real clusters from kdistro releases.
//!
//! Exit codes: 0 done, or healthy; 1 not healthy, or the release is not what its key signed; 2 could not.

mod cli;
mod with;

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use clap::Parser;
use kdistro_devcluster::{
    Cluster, DevclusterError, Missing, Order, Place, Release, Source, Status, TESTS, bring,
    bring_tests, clear, home, keep, look, newest, packages, releases, supervise, survey,
    without_containerd,
};
use kdistro_formats::{
    failure::{Failure, asks_for_json},
    terminal::{printable, printable_json},
};
use kdistro_verify::{
    check::{Scope, TrustSource, chain},
    trust::PublicKey,
};

use serde::Serialize;
use serde_json::{Value, json};

use cli::{Cli, Command, Signed, Up};

type Trouble = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return not_understood(&error, &arguments),
    };
    run(&cli).unwrap_or_else(|error| {
        let is_no = error.downcast_ref().is_some_and(DevclusterError::is_no);
        let failure = Failure::of(&*error, if is_no { 1 } else { 2 });
        // When even this cannot be written, the exit code still says it.
        let _ = if cli.json {
            write_json(&failure)
        } else {
            writeln!(io::stderr(), "error: {}", failure.told()).map_err(Trouble::from)
        };
        ExitCode::from(failure.exit)
    })
}

/// Tells how the program is used; help and version are asked for.
fn not_understood(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let code = u8::try_from(error.exit_code()).unwrap_or(2);
    // When even this cannot be written, the exit code still says it.
    if error.use_stderr() && asks_for_json(arguments) {
        let _ = write_json(&Failure::of_usage(&error.render().to_string(), code));
    } else {
        let _ = error.print();
    }
    ExitCode::from(code)
}

fn run(cli: &Cli) -> Result<ExitCode, Trouble> {
    let home = cli.home.clone().unwrap_or_else(home);
    match &cli.command {
        Command::Up(up) => {
            let cluster = self::up(&home, up)?;
            show(cli, &cluster.status())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Run(run) => {
            let scope = if run.unoffered { Scope::Unoffered } else { Scope::Documents };
            with::run(&home, run, &Source { scope, ..source(&run.signed)? })
        }
        Command::Down { name, all } => {
            let names = if *all { Cluster::all(&home)? } else { vec![name.name.clone()] };
            for name in &names {
                Cluster::end(&home, name)?;
                say(cli, &format!("cluster {name} is gone"))?;
            }
            clear(&home)?;
            answer(cli, &json!({ "gone": names }))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Status { name } => {
            let status = Cluster::open(&home, &name.name)?.status();
            show(cli, &status)?;
            Ok(if status.is_healthy() { ExitCode::SUCCESS } else { ExitCode::from(1) })
        }
        Command::Tests { name, signed } => {
            let cluster = Cluster::open(&home, &name.name)?;
            let tests = tests(&home, &cluster, &source(signed)?)?;
            say(cli, &tests.display().to_string())?;
            answer(cli, &json!({ "program": tests }))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::List => {
            let names = Cluster::all(&home)?;
            for name in &names {
                say(cli, name)?;
            }
            answer(cli, &json!({ "clusters": names }))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Kubectl { name, arguments } => {
            let mut kubectl = Cluster::open(&home, &name.name)?.kubectl_command();
            Err(kubectl.args(arguments).exec().into())
        }
        Command::Exec { name, command } => {
            let (program, arguments) = command.split_first().ok_or("there is no command")?;
            let mut inside = Cluster::open(&home, &name.name)?.command_inside(program)?;
            Err(inside.args(arguments).exec().into())
        }
        Command::Survey { folder } => {
            look(folder, &mut io::stdout())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Supervise { folder, node } => {
            supervise(&Place { folder: folder.clone(), node: *node })?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Starts a cluster: without a node where this machine can run none.
fn up(home: &Path, up: &Up) -> Result<Cluster, Trouble> {
    let _kept = keep(home)?;
    let missing = if up.control_plane_only { Vec::new() } else { find_missing(home)? };
    let lacks_node = missing.iter().any(|one| one.required);
    if lacks_node && up.require_node {
        return Err(DevclusterError::NoNode(missing).into());
    }
    let begin = Instant::now();
    if lacks_node {
        step(begin, "this machine can run no node: the cluster gets none");
    }
    let node = !(lacks_node || up.control_plane_only);
    let brought = take(home, &source(&up.signed)?, node)?;
    let mut cluster = start(home, (&up.name.name, false), brought)?;
    if !missing.is_empty() {
        cluster.note(missing)?;
    }
    Ok(cluster)
}

/// Finds what this machine lacks for a node; tells it on standard error.
fn find_missing(home: &Path) -> Result<Vec<Missing>, Trouble> {
    let begin = Instant::now();
    let mut missing = survey(&env::current_exe()?, home)?;
    if missing.iter().all(|one| !one.required) {
        missing.extend(packages().err().map(|error| without_containerd(&error)));
    }
    for one in &missing {
        step(begin, &format!("missing: {one}"));
    }
    Ok(missing)
}

/// A release that is here, with all that a cluster of it needs.
struct Brought {
    release: Release,
    node: bool,
    /// Where containerd lies.
    debian: PathBuf,
    begin: Instant,
}

/// Takes what a cluster needs out of a release; tells on standard error how far it is.
fn take(home: &Path, source: &Source, node: bool) -> Result<Brought, Trouble> {
    let begin = Instant::now();
    let release = bring(source, (&releases(home), node), &mut |what| {
        step(begin, &format!("taking {what} out of the release"));
    })?;
    step(begin, &format!("release {} is verified", release.name));
    let debian = if node { packages()? } else { PathBuf::from("/") };
    Ok(Brought { release, node, debian, begin })
}

/// Starts a cluster; tells on standard error how far it is.
fn start(home: &Path, (name, bound): (&str, bool), brought: Brought) -> Result<Cluster, Trouble> {
    let Brought { release, node, debian, begin } = brought;
    let order = Order { name: name.to_owned(), node, release, bound };
    let program = env::current_exe()?;
    Ok(Cluster::start(home, (&program, &debian), &order, &mut |what| step(begin, what))?)
}

fn step(begin: Instant, what: &str) {
    // Progress that cannot be shown hinders nothing.
    let _ = writeln!(io::stderr(), "{:6.1} s  {what}", begin.elapsed().as_secs_f64());
}

/// Gives the node of a cluster what upstream's tests need; returns their program.
fn tests(home: &Path, cluster: &Cluster, source: &Source) -> Result<PathBuf, Trouble> {
    let release = bring_tests(source, &releases(home), &mut |_| {})?;
    cluster.bring_image_of_tests(&release, &packages()?)?;
    Ok(release.program(TESTS))
}

fn source(signed: &Signed) -> Result<Source, Trouble> {
    let text = fs::read_to_string(&signed.key).map_err(|error| said(&signed.key, &error))?;
    let key = PublicKey::from_pem(&text).map_err(|error| said(&signed.key, &error))?;
    let root = signed.trusted_root.as_ref().map(|path| fs::read(path).map_err(|e| said(path, &e)));
    Ok(Source {
        manifest: manifest(&signed.release)?,
        store: signed.store.clone(),
        trust: TrustSource::new(key, root.transpose()?, signed.revoked_from)?,
        proxy: proxy(),
        scope: Scope::Documents,
    })
}

/// Path or address of a manifest: of a folder the newest release's.
fn manifest(release: &str) -> Result<String, DevclusterError> {
    let folder = Path::new(release);
    if folder.is_dir() { Ok(newest(folder)?.display().to_string()) } else { Ok(release.to_owned()) }
}

fn show(cli: &Cli, status: &Status) -> Result<(), Trouble> {
    let mut out = io::stdout();
    if cli.json {
        return write_json(status);
    }
    let state = &status.state;
    writeln!(out, "cluster     {}", state.name)?;
    writeln!(out, "release     {} (Kubernetes {})", state.release.name, state.release.kubernetes)?;
    for (component, wrong) in &status.components {
        let wrong = wrong.as_deref().map_or("healthy".to_owned(), printable);
        writeln!(out, "{:<24}{wrong}", component.as_str())?;
    }
    if state.missing.iter().any(|one| one.required) {
        writeln!(out, "node        none, as this machine lacks what one needs")?;
    }
    for one in &state.missing {
        writeln!(out, "missing     {}\n            {}", printable(&one.to_string()), one.help)?;
    }
    writeln!(out, "kubeconfig  {}", status.kubeconfig.display())?;
    Ok(())
}

/// Writes a result where JSON is asked for.
fn answer(cli: &Cli, value: &Value) -> Result<(), Trouble> {
    if cli.json { write_json(value) } else { Ok(()) }
}

fn write_json<T: Serialize>(value: &T) -> Result<(), Trouble> {
    Ok(writeln!(io::stdout(), "{}", printable_json(&serde_json::to_string_pretty(value)?))?)
}

/// Writes a line for people.
fn say(cli: &Cli, text: &str) -> io::Result<()> {
    if cli.json { Ok(()) } else { writeln!(io::stdout(), "{text}") }
}

fn said(path: &Path, error: &dyn std::error::Error) -> String {
    format!("{}: {}", path.display(), chain(error))
}

#[expect(clippy::disallowed_methods, reason = "only main.rs reads the environment")]
fn proxy() -> Option<String> {
    let read = |name| env::var(name).ok().filter(|value| !value.is_empty());
    read("HTTPS_PROXY").or_else(|| read("https_proxy"))
}
