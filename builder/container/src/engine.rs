//! The engine: a process of one thread, unprivileged, that makes the namespaces and waits for the step to end.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use hakoniwa::{Container, ExitStatus, Namespace, Rlimit, Runctl, Stdio};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::Signal;
use nix::unistd::getppid;
use serde::{Deserialize, Serialize};

use crate::spec::{Limits, STUB_PATH};
use crate::view::{Place, View};

/// User and group id that the step sees itself running under, and its host name.
const INNER_ID: u32 = 1000;
const HOST_NAME: &str = "kdistro";

/// Device files that programs expect; no terminal among them.
const DEVICES: [&str; 5] = ["/dev/full", "/dev/null", "/dev/random", "/dev/urandom", "/dev/zero"];
const DEVICE_LINKS: [(&str, &str); 4] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// Open files at once; the same on every host, as programs adapt to it.
const OPEN_FILES: u64 = 4096;
const STACK_BYTES: u64 = 8 << 20;

/// What an engine is asked to do. All paths are those of the world, but for the view's keys.
#[derive(Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) supervisor: i32,
    pub(crate) root: PathBuf,
    pub(crate) stub: PathBuf,
    pub(crate) out: PathBuf,
    pub(crate) scratch: PathBuf,
    pub(crate) view: View,
    pub(crate) argv: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) directory: String,
    pub(crate) limits: Limits,
    pub(crate) limit_processes: bool,
    pub(crate) filter: bool,
}

/// How the container ended, as the engine saw it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Ending {
    /// The stub's exit code; `None` if it never ran or a signal ended it.
    pub(crate) code: Option<i32>,
    /// The engine's words where there is no exit code.
    pub(crate) reason: String,
    pub(crate) cpu: Duration,
}

/// Reads an order from standard input, carries it out, writes the ending to standard output. The step writes to what
/// is the engine's standard error.
pub(crate) fn main() -> i32 {
    let ending = serve().unwrap_or_else(|error| Ending {
        code: None,
        reason: error.to_string(),
        cpu: Duration::ZERO,
    });
    let report = serde_json::to_vec(&ending)
        .map_err(io::Error::from)
        .and_then(|report| io::stdout().write_all(&report));
    i32::from(report.is_err())
}

fn serve() -> Result<Ending, Box<dyn std::error::Error>> {
    set_pdeathsig(Signal::SIGKILL)?;
    let order: Order = serde_json::from_reader(io::stdin().lock())?;
    if getppid().as_raw() != order.supervisor {
        return Err("the supervisor is gone".into());
    }
    // When the whole machine runs out of memory, the step should go before anything else. Always allowed to raise.
    let _ = std::fs::write("/proc/self/oom_score_adj", "500");
    let status = start(&order)?;
    Ok(describe(&status))
}

fn start(order: &Order) -> Result<ExitStatus, Box<dyn std::error::Error>> {
    let container = container(order)?;
    let mut command = container.command(STUB_PATH);
    command
        .arg(if order.filter { "--filter" } else { "--no-filter" })
        .arg(&order.directory)
        .args(&order.argv);
    command.envs(&order.env).current_dir("/");
    let log = io::stderr();
    command.stdin(File::open("/dev/null")?);
    command.stdout(Stdio::from(log.as_fd().try_clone_to_owned()?));
    command.stderr(Stdio::from(log.as_fd().try_clone_to_owned()?));
    Ok(command.spawn()?.wait()?)
}

fn container(order: &Order) -> Result<Container, Box<dyn std::error::Error>> {
    let mut container = Container::empty();
    for namespace in [
        Namespace::Mount,
        Namespace::User,
        Namespace::Pid,
        Namespace::Ipc,
        Namespace::Uts,
        Namespace::Network,
    ] {
        container.unshare(namespace);
    }
    container.rootdir(&order.root).uidmap(INNER_ID).gidmap(INNER_ID).hostname(HOST_NAME);
    // Host file systems may be mounted nodev or noexec, and an ordinary user cannot take such a flag away.
    container.runctl(Runctl::MountFallback).procfsmount("/proc");
    for (path, place) in &order.view {
        match place {
            Place::Bind(source) => container.bindmount_ro(text(source)?, path),
            Place::Link(target) => container.symlink(target, path),
            Place::Folder => container.dir(path, 0o755),
        };
    }
    container.bindmount_ro(text(&order.stub)?, STUB_PATH);
    container.bindmount_rw(text(&order.out)?, "/out").bindmount_rw(text(&order.scratch)?, "/tmp");
    for device in DEVICES {
        container.bindmount_rw(device, device);
    }
    for (link, target) in DEVICE_LINKS {
        container.symlink(target, link);
    }
    limit(&mut container, order)?;
    Ok(container)
}

/// Sets resource limits. A hard limit can only be lowered here, so the host's own wins where it is lower.
fn limit(container: &mut Container, order: &Order) -> Result<(), nix::Error> {
    let mut lower = |own: Rlimit, kernel: Resource, wanted: u64| -> Result<(), nix::Error> {
        let (_, hard) = getrlimit(kernel)?;
        container.setrlimit(own, wanted.min(hard), wanted.min(hard));
        Ok(())
    };
    lower(Rlimit::Core, Resource::RLIMIT_CORE, 0)?;
    lower(Rlimit::Fsize, Resource::RLIMIT_FSIZE, order.limits.disk_bytes)?;
    lower(Rlimit::Nofile, Resource::RLIMIT_NOFILE, OPEN_FILES)?;
    lower(Rlimit::Stack, Resource::RLIMIT_STACK, STACK_BYTES)?;
    if order.limit_processes {
        // The engine's child is counted with the step: it made the user namespace.
        lower(Rlimit::Nproc, Resource::RLIMIT_NPROC, order.limits.processes.saturating_add(1))?;
    }
    Ok(())
}

fn describe(status: &ExitStatus) -> Ending {
    let cpu =
        status.rusage.as_ref().map_or(Duration::ZERO, |usage| usage.user_time + usage.system_time);
    Ending { code: status.exit_code, reason: status.reason.clone(), cpu }
}

fn text(path: &std::path::Path) -> Result<&str, io::Error> {
    path.to_str().ok_or_else(|| io::Error::other(format!("{} is not UTF-8", path.display())))
}
