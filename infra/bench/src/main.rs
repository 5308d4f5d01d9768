//! `kdistro-bench`: measures the figures that the project set itself, beside peers, in one run.
//!
//! Exit codes: 0 every limit was met, 1 one was missed, 2 something could not be measured.

mod error;
mod figures;
mod measure;
mod peer;
mod prepared;
mod roles;
mod servers;
mod subjects;

use std::{
    collections::BTreeSet,
    env,
    ffi::OsString,
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::SystemTime,
};

use clap::{Parser, ValueEnum};
use kdistro::context::{Host, Surroundings};
use kdistro_verify::check::chain;
use rustix::fs::Mode;
use serde::Serialize;

use self::{
    error::BenchError,
    figures::{Figure, table},
    prepared::Prepared,
    subjects::Subject,
};

/// Measures the figures that the project set itself, beside peers, in one run.
#[derive(Debug, Parser)]
#[command(
    name = "kdistro-bench",
    version,
    after_help = "Exit codes: 0 every limit was met, 1 one was missed, 2 something could not be measured.\n\
        Peers: go (as the build pinned it), openssl, pigz, the AWS command line, crane (built with go), cp. Runs best on an idle machine, with --release."
)]
struct Cli {
    /// What to measure [default: all]
    #[arg(value_enum)]
    subjects: Vec<Subject>,
    /// The home folder where etcd and the CNI plugins were built, or will be [default: `KDISTRO_HOME`, else kdistro in the cache folder]
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// How many pairs to measure [default: the subject's own]
    #[arg(long, value_name = "COUNT")]
    pairs: Option<usize>,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

/// What one run found.
#[derive(Serialize)]
struct Found {
    /// The machine's load over the last minute, when the run began and when it ended.
    load: [String; 2],
    cores: usize,
    figures: Vec<Figure>,
    /// What could not be measured, and why.
    failed: Vec<String>,
}

fn main() -> ExitCode {
    kdistro_container::enter_if_helper();
    // As root, steps run under another user and must be able to read what is laid out for them.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let arguments: Vec<OsString> = env::args_os().collect();
    if let Some(code) = roles::play(&arguments, surroundings) {
        return code;
    }
    let cli = Cli::parse();
    let found = match measure(&cli, &surroundings()) {
        Ok(found) => found,
        Err(error) => return complain(&chain(&error)),
    };
    match show(&found, cli.json) {
        Ok(()) if !found.failed.is_empty() => complain(&found.failed.join("\n")),
        Ok(()) => ExitCode::from(u8::from(found.figures.iter().any(|f| f.met == Some(false)))),
        Err(error) => complain(&error.to_string()),
    }
}

fn measure(cli: &Cli, surroundings: &Surroundings) -> Result<Found, BenchError> {
    let home = cli.home.as_deref().unwrap_or(&surroundings.default_home);
    let prepared = Prepared::open(&surroundings.current_directory, home)?;
    let all: BTreeSet<Subject> = match cli.subjects.as_slice() {
        [] => Subject::value_variants().iter().copied().collect(),
        some => some.iter().copied().collect(),
    };
    let before = load();
    let (mut figures, mut failed) = (Vec::new(), Vec::new());
    for subject in all {
        match subject.measure(&prepared, cli.pairs) {
            Ok(found) => figures.extend(found),
            Err(error) => failed.push(format!("{subject:?}: {}", chain(&error))),
        }
    }
    Ok(Found { load: [before, load()], cores: surroundings.host.cores, figures, failed })
}

fn show(found: &Found, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        return writeln!(out, "{}", serde_json::to_string_pretty(found)?);
    }
    let [before, after] = &found.load;
    write!(out, "{}", table(&found.figures))?;
    writeln!(out, "{} cores, load {before} before and {after} after", found.cores)
}

fn complain(text: &str) -> ExitCode {
    // Nobody is left to hear when even this fails.
    let _ = writeln!(io::stderr(), "error: {text}");
    ExitCode::from(2)
}

/// Source: `proc(5)`, `/proc/loadavg`, the first field.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().unwrap_or("unknown").to_owned()
}

/// Reads the environment and the clock, here and nowhere else.
fn surroundings() -> Surroundings {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    let folder =
        |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = folder("XDG_CACHE_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(|| PathBuf::from("/var/tmp"));
    Surroundings {
        variables: env::vars_os().collect(),
        now: now.map_or(0, |now| now.as_secs()),
        default_home: folder("KDISTRO_HOME").unwrap_or_else(|| cache.join("kdistro")),
        columns: None,
        programs: PathBuf::new(),
        current_directory: env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
        host: Host {
            platform: kdistro::plan::BUILD_PLATFORM.to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            // As much as one compile wants: steps run one at a time here.
            memory_bytes: 4 << 30,
        },
    }
}
