//! `devcluster`: starts, shows and ends small real clusters from kdistro releases.
//!
//! Exit codes: 0 done, or healthy; 1 not healthy, or the release is not what its key signed; 2 could not.

mod cli;
mod with;

use std::{
    env, fs,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use clap::Parser;
use kdistro_devcluster::{
    Cluster, DevclusterError, Order, Place, Release, Source, Status, bring, bring_tests, home,
    packages, supervise, told,
};
use kdistro_formats::terminal::printable;
use kdistro_verify::{
    check::{Scope, TrustSource, chain},
    trust::PublicKey,
};

use cli::{Cli, Command, Signed};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            let is_no = error.downcast_ref().is_some_and(DevclusterError::is_no);
            // When even this cannot be written, the exit code still says it.
            let _ = writeln!(io::stderr(), "error: {}", told(&*error));
            ExitCode::from(if is_no { 1 } else { 2 })
        }
    }
}

fn run(cli: &Cli) -> Result<ExitCode, Failure> {
    let home = cli.home.clone().unwrap_or_else(home);
    match &cli.command {
        Command::Up(up) => {
            let brought = take(&home, &source(&up.signed)?, !up.control_plane_only)?;
            let cluster = start(&home, (&up.name.name, false), brought)?;
            show(cli, &cluster.status())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Run(run) => {
            let scope = if run.unoffered { Scope::Unoffered } else { Scope::Documents };
            with::run(&home, run, &Source { scope, ..source(&run.signed)? })
        }
        Command::Down { name, all } => {
            let names = if *all { Cluster::all(&home)? } else { vec![name.name.clone()] };
            for name in names {
                Cluster::end(&home, &name)?;
                say(cli, &format!("cluster {name} is gone"))?;
            }
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
            writeln!(io::stdout(), "{}", tests.display())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::List => {
            for name in Cluster::all(&home)? {
                writeln!(io::stdout(), "{name}")?;
            }
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
        Command::Supervise { folder, node } => {
            supervise(&Place { folder: folder.clone(), node: *node })?;
            Ok(ExitCode::SUCCESS)
        }
    }
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
fn take(home: &Path, source: &Source, node: bool) -> Result<Brought, Failure> {
    let begin = Instant::now();
    let release = bring(source, (&home.join("releases"), node), &mut |what| {
        step(begin, &format!("taking {what} out of the release"));
    })?;
    step(begin, &format!("release {} is verified", release.name));
    let debian = if node { packages()? } else { PathBuf::from("/") };
    Ok(Brought { release, node, debian, begin })
}

/// Starts a cluster; tells on standard error how far it is.
fn start(home: &Path, (name, bound): (&str, bool), brought: Brought) -> Result<Cluster, Failure> {
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
fn tests(home: &Path, cluster: &Cluster, source: &Source) -> Result<PathBuf, Failure> {
    let release = bring_tests(source, &home.join("releases"), &mut |_| {})?;
    cluster.bring_image_of_tests(&release, &packages()?)?;
    Ok(release.program("e2e.test"))
}

fn source(signed: &Signed) -> Result<Source, Failure> {
    let text = fs::read_to_string(&signed.key).map_err(|error| said(&signed.key, &error))?;
    let key = PublicKey::from_pem(&text).map_err(|error| said(&signed.key, &error))?;
    let root = signed.trusted_root.as_ref().map(|path| fs::read(path).map_err(|e| said(path, &e)));
    Ok(Source {
        manifest: signed.release.clone(),
        store: signed.store.clone(),
        trust: TrustSource { key, trusted_root: root.transpose()? },
        proxy: proxy(),
        scope: Scope::Documents,
    })
}

fn show(cli: &Cli, status: &Status) -> Result<(), Failure> {
    let mut out = io::stdout();
    if cli.json {
        writeln!(out, "{}", serde_json::to_string_pretty(status)?)?;
        return Ok(());
    }
    let state = &status.state;
    writeln!(out, "cluster     {}", state.name)?;
    writeln!(out, "release     {} (Kubernetes {})", state.release.name, state.release.kubernetes)?;
    for (component, wrong) in &status.components {
        let wrong = wrong.as_deref().map_or("healthy".to_owned(), printable);
        writeln!(out, "{:<24}{wrong}", component.as_str())?;
    }
    writeln!(out, "kubeconfig  {}", status.kubeconfig.display())?;
    Ok(())
}

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
