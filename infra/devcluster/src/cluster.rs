//! A cluster: its folder, its components in the order in which they start, and how it ends.

mod changing;
mod commands;
pub(crate) mod groups;
mod health;
mod starting;

use std::{
    fmt::Write as _,
    fs,
    io::ErrorKind,
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::sockopt::socket_peercred,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use serde::{Deserialize, Serialize};

pub use self::health::Status;
pub(crate) use self::starting::refuse_hidden;
use crate::{
    DevclusterError,
    component::{CONTROL_PLANE, ComponentName, OF_NODE},
    control::{self, Answer, Process, Request},
    pki, probe,
    release::Release,
    survey::Missing,
};

type Result<T, E = DevclusterError> = std::result::Result<T, E>;

/// How long the supervisor may take to answer first, a component to be healthy, and everything to end.
const SUPERVISOR: Duration = Duration::from_secs(10);
const HEALTHY: Duration = Duration::from_mins(1);
const ENDED: Duration = Duration::from_secs(10);
/// How long new work may take: when the API server was away a few times in turn, who watches it waits up to a minute before
/// it looks again.
///
/// Source: client-go, `tools/cache/reflector.go`, `NewNamedReflector`: 30 seconds at most, and as much again by chance.
const NEW_WORK: Duration = Duration::from_mins(2);
/// How long to wait before the next look.
const LOOK: Duration = Duration::from_millis(50);

/// What is written down of a cluster.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct State {
    /// Its name.
    pub name: String,
    /// Whether it has a node that runs pods.
    pub node: bool,
    /// The port of this machine where its API server is reached.
    pub port: u16,
    /// The release that it was started with, or changed to last.
    pub release: Release,
    /// What this machine lacked when it was started: why it has no node, or what some pods lack.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
}

/// What is to be started.
#[derive(Clone, Debug)]
pub struct Order {
    /// The cluster's name.
    pub name: String,
    /// Whether it gets a node that runs pods.
    pub node: bool,
    /// The release.
    pub release: Release,
    /// Whether all of its processes end with the thread that starts it, also where that is killed.
    pub bound: bool,
}

/// A cluster of this machine.
#[derive(Clone, Debug)]
pub struct Cluster {
    folder: PathBuf,
    state: State,
}

impl Cluster {
    /// Finds a cluster below `home`.
    pub fn open(home: &Path, name: &str) -> Result<Self> {
        check_name(name)?;
        let folder = folder(home, name);
        let path = folder.join("cluster.json");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(DevclusterError::Missing(name.to_owned()));
            }
            Err(error) => return Err(DevclusterError::io("read", &path)(error)),
        };
        let state = serde_json::from_slice(&bytes).map_err(|source| DevclusterError::Document {
            name: path.display().to_string(),
            source: Box::new(source),
        })?;
        Ok(Self { folder, state })
    }

    /// Ends a cluster and removes everything of it; one that is only half there too.
    pub fn end(home: &Path, name: &str) -> Result<()> {
        check_name(name)?;
        let folder = folder(home, name);
        if !folder.exists() {
            return Err(DevclusterError::Missing(name.to_owned()));
        }
        if let Some(supervisor) = supervisor(&folder) {
            // It need not answer any more: then it is killed, and takes everything along.
            let _ = control::ask(&folder, &Request::End);
            if !has_ended(&supervisor)? {
                let _ = pidfd_send_signal(&supervisor, Signal::KILL);
                has_ended(&supervisor)?;
            }
        }
        groups::remove(&group(&folder, name))?;
        remove_for_good(&folder)
    }

    /// The names of the clusters below `home`, sorted.
    pub fn all(home: &Path) -> Result<Vec<String>> {
        let folder = home.join(CLUSTERS);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(DevclusterError::io("list", &folder)(error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(DevclusterError::io("list", &folder))?;
            names.extend(entry.file_name().into_string().ok());
        }
        names.sort();
        Ok(names)
    }

    /// What is written down of it.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The kubeconfig for programs of this machine.
    pub fn kubeconfig(&self) -> PathBuf {
        self.folder.join(pki::OUTSIDE)
    }

    /// Whether its API server says to a program of this machine that it is ready.
    pub fn is_ready(&self) -> bool {
        let address = format!("https://127.0.0.1:{}/readyz", self.state.port);
        let answer = probe::ask(&address, &self.folder.join(pki::AUTHORITY));
        answer.is_ok_and(|(code, _)| code == 200)
    }

    /// Writes down what this machine lacks.
    pub fn note(&mut self, missing: Vec<Missing>) -> Result<()> {
        self.state.missing = missing;
        self.write_state()
    }

    /// Its control group.
    fn group(&self) -> String {
        group(&self.folder, &self.state.name)
    }

    /// Its components, in the order in which they start.
    pub fn components(&self) -> Vec<ComponentName> {
        let node = if self.state.node { &OF_NODE[..] } else { &[] };
        CONTROL_PLANE.iter().chain(node).copied().collect()
    }

    fn write_state(&self) -> Result<()> {
        let path = self.folder.join("cluster.json");
        let text = serde_json::to_vec(&self.state).map_err(|source| DevclusterError::Document {
            name: path.display().to_string(),
            source: Box::new(source),
        })?;
        // Whole or not at all: without it nobody finds the cluster again.
        let new = path.with_extension("new");
        fs::write(&new, text).map_err(DevclusterError::io("write", &new))?;
        fs::rename(&new, &path).map_err(DevclusterError::io("rename", &new))
    }

    /// Starts a component with the programs of a release.
    pub fn launch(&self, component: ComponentName, release: &Release, debian: &Path) -> Result<()> {
        let name = component.as_str().to_owned();
        let command = component.command(&self.folder, release, debian);
        let log = self.log(component.as_str());
        self.demand(&Request::Start { name, command, log }, &format!("start {component}"))
    }

    /// Ends a component; what it started goes on.
    pub fn stop(&self, component: ComponentName) -> Result<()> {
        let (name, seconds) = (component.as_str().to_owned(), component.patience());
        self.demand(&Request::Stop { name, seconds }, &format!("stop {component}"))
    }

    /// What runs in the cluster.
    pub fn processes(&self) -> Result<Vec<Process>> {
        match self.ask(&Request::List)? {
            Answer::Processes(processes) => Ok(processes),
            _ => Err(self.silent()),
        }
    }

    fn ask(&self, request: &Request) -> Result<Answer> {
        control::ask(&self.folder, request).map_err(|_| self.silent())
    }

    fn demand(&self, request: &Request, action: &str) -> Result<()> {
        match self.ask(request)? {
            Answer::Done => Ok(()),
            Answer::Failed(said) => {
                Err(DevclusterError::Refused { action: action.to_owned(), said })
            }
            _ => Err(self.silent()),
        }
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join("log").join(name)
    }

    /// The last lines of a log.
    fn end_of_log(&self, name: &str) -> String {
        let bytes = fs::read(self.log(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<_> = text.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(10)).fold(String::new(), |mut all, line| {
            let _ = writeln!(all, "  {line}");
            all
        })
    }

    fn silent(&self) -> DevclusterError {
        let log = self.end_of_log("supervisor");
        let log = if log.is_empty() { log } else { format!("; its log:\n{log}") };
        DevclusterError::Supervisor { name: self.state.name.clone(), log }
    }
}

/// Where clusters lie below the home folder.
const CLUSTERS: &str = "clusters";

fn folder(home: &Path, name: &str) -> PathBuf {
    home.join(CLUSTERS).join(name)
}

/// The name of a cluster's control group: of its own also where others have clusters of this name.
fn group(folder: &Path, name: &str) -> String {
    let inode = fs::metadata(folder).map(|metadata| metadata.ino()).unwrap_or_default();
    format!("kdistro-{name}-{inode}")
}

fn check_name(name: &str) -> Result<()> {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let starts = name.chars().next().is_some_and(|c| c.is_ascii_lowercase());
    if starts && name.len() <= 20 && name.chars().all(is_word) {
        Ok(())
    } else {
        Err(DevclusterError::Name(name.to_owned()))
    }
}

/// The cluster's first process, as this machine counts, where it is alive: who listens on a socket says who it is.
fn supervisor_id(folder: &Path) -> Option<Pid> {
    let stream = control::connect(folder).ok()?;
    socket_peercred(&stream).ok().map(|peer| peer.pid).filter(|id| is_first(*id))
}

/// The cluster's first process, where it is alive: by a descriptor, as its id may be somebody else's later.
fn supervisor(folder: &Path) -> Option<OwnedFd> {
    let id = supervisor_id(folder)?;
    let supervisor = pidfd_open(id, PidfdFlags::empty()).ok()?;
    is_first(id).then_some(supervisor)
}

/// Waits until the first process of a cluster has ended; says whether it has. Then all others have: the kernel ends those
/// first, after the sockets of the first are closed.
///
/// Source: Linux, `kernel/pid_namespace.c`, `zap_pid_ns_processes`.
fn has_ended(supervisor: &OwnedFd) -> Result<bool> {
    let patience = Timespec { tv_sec: ENDED.as_secs().cast_signed(), tv_nsec: 0 };
    let mut ends = [PollFd::new(supervisor, PollFlags::IN)];
    let ended = poll(&mut ends, Some(&patience));
    ended
        .map(|ended| ended == 1)
        .map_err(|error| DevclusterError::io("wait for", "a cluster")(error.into()))
}

/// Whether a process is the first of a namespace of processes below this one's, as every supervisor is.
///
/// Source: proc(5), `/proc/[pid]/status`, `NSpid`.
fn is_first(id: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", id.as_raw_nonzero()));
    let ids = status.iter().flat_map(|text| text.lines()).find_map(|it| it.strip_prefix("NSpid:"));
    ids.is_some_and(|ids| {
        let ids: Vec<_> = ids.split_ascii_whitespace().collect();
        ids.len() > 1 && ids.last() == Some(&"1")
    })
}

/// Removes a folder, also what containers made unreadable in it.
fn remove(folder: &Path) -> Result<()> {
    let failed = DevclusterError::io("remove", folder);
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            open_up(folder);
            fs::remove_dir_all(folder).map_err(failed)
        }
        removed => removed.map_err(failed),
    }
}

/// As [`remove`], also while those still write into it that are about to end: a supervisor that was killed is gone before
/// the others are.
fn remove_for_good(folder: &Path) -> Result<()> {
    let end = Instant::now() + ENDED;
    loop {
        match remove(folder) {
            Err(DevclusterError::Io { source, .. })
                if source.kind() == ErrorKind::DirectoryNotEmpty && Instant::now() < end =>
            {
                thread::sleep(LOOK);
            }
            removed => return removed,
        }
    }
}

fn open_up(folder: &Path) {
    let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}
