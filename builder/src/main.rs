//! `kdistro`: cuts, publishes and rebuilds releases of a reproducible Kubernetes distribution.

mod interrupt;

use std::{env, ffi::OsString, io, path::PathBuf, process::ExitCode, time::SystemTime};

use kdistro::{
    commands,
    context::{Host, Surroundings},
};
use rustix::fs::Mode;

fn main() -> ExitCode {
    kdistro_container::enter_if_helper();
    // As root, steps run under another user and must be able to read what is laid out for them.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let arguments: Vec<_> = env::args_os().collect();
    let cli = match commands::parse(&arguments) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    interrupt::watch();
    commands::run(&cli, surroundings())
}

/// Reads the environment and the clock, here and nowhere else.
fn surroundings() -> Surroundings {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    let folder = |name: &str| variable(name).map(PathBuf::from);
    let cache = folder("XDG_CACHE_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(|| PathBuf::from("/var/tmp"));
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    Surroundings {
        variables: env::vars_os().collect::<Vec<(OsString, OsString)>>(),
        now: now.map_or(0, |now| now.as_secs()),
        default_home: folder("KDISTRO_HOME").unwrap_or_else(|| cache.join("kdistro")),
        current_directory: env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
        programs: env::current_exe()
            .ok()
            .and_then(|program| Some(program.parent()?.to_owned()))
            .unwrap_or_default(),
        columns: columns(variable("COLUMNS")),
        host: Host {
            platform: host_platform(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: total_memory(&memory),
        },
    }
}

/// How wide the screen is: what `COLUMNS` says, else the terminal that the result goes to.
fn columns(said: Option<OsString>) -> Option<usize> {
    let said = said.and_then(|said| said.to_str()?.parse().ok());
    let seen = || rustix::termios::tcgetwinsize(io::stdout()).ok().map(|size| size.ws_col.into());
    said.or_else(seen).filter(|columns| *columns > 0)
}

fn host_platform() -> String {
    let arch = match env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{}/{arch}", env::consts::OS)
}

/// Source: `proc(5)`, `/proc/meminfo`, `MemTotal`, in KiB.
fn total_memory(text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(4 << 20) * 1024
}
