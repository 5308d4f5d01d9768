//! Tries to break out of real containers on this host, and reports each attempt: the conformance test of the engine.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::outcome::{Finished, StepError};
use crate::run::{Job, absolute, run_job};
use crate::spec::{Limits, Mount, StepSpec};

pub(crate) const PROBE: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/kdistro-container-probe"));
pub(crate) const PROBE_PATH: &str = "/probe";

const MIB: u64 = 1 << 20;
const LIMITS: Limits = Limits {
    seconds: 25,
    memory_bytes: 256 * MIB,
    processes: 32,
    disk_bytes: 32 * MIB,
    log_bytes: MIB,
};

/// One attempt to get out of the container or to use up the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProbeResult {
    /// What was tried.
    pub attempt: String,
    /// Whether it was refused or stopped.
    pub refused: bool,
    /// What the system or the container said.
    pub how: String,
}

/// An attack that the container must end, and how its error must be recognised.
struct Attack {
    attempt: &'static str,
    word: &'static str,
    limits: Limits,
    is_stopped: fn(&StepError) -> bool,
}

const ATTACKS: &[Attack] = &[
    Attack {
        attempt: "never end",
        word: "forever",
        limits: Limits { seconds: 1, ..LIMITS },
        is_stopped: |error| matches!(error, StepError::TimeLimit { .. }),
    },
    Attack {
        attempt: "fork without end",
        word: "fork",
        limits: LIMITS,
        is_stopped: |error| matches!(error, StepError::ProcessLimit { .. }),
    },
    Attack {
        attempt: "fill the disk",
        word: "disk",
        limits: LIMITS,
        is_stopped: |error| matches!(error, StepError::DiskLimit { .. }),
    },
    Attack {
        attempt: "fill the disk with empty files",
        word: "files",
        limits: LIMITS,
        is_stopped: |error| matches!(error, StepError::DiskLimit { .. }),
    },
    Attack {
        attempt: "fill the disk with removed files",
        word: "hidden-disk",
        limits: LIMITS,
        is_stopped: |error| matches!(error, StepError::DiskLimit { .. }),
    },
    Attack {
        attempt: "log without end",
        word: "log",
        limits: LIMITS,
        is_stopped: |error| matches!(error, StepError::LogLimit { .. }),
    },
    Attack {
        attempt: "leave a link to /etc/passwd in /out",
        word: "link",
        limits: LIMITS,
        is_stopped: is_escape,
    },
    Attack {
        attempt: "leave a set-user-ID program in /out",
        word: "set-user-id",
        limits: LIMITS,
        is_stopped: is_escape,
    },
    Attack { attempt: "leave a pipe in /out", word: "pipe", limits: LIMITS, is_stopped: is_escape },
];

fn is_escape(error: &StepError) -> bool {
    matches!(error, StepError::EscapingOutput { .. })
}

/// Runs the probe in a folder that must exist; everything made there is removed again. Takes about ten seconds.
///
/// Fails only where no container can be started at all.
pub fn probe(folder: &Path) -> Result<Vec<ProbeResult>, StepError> {
    let bench = Bench::new(folder)?;
    let (mut results, finished) = bench.attempts(true)?;
    results.extend(ATTACKS.iter().map(|attack| bench.attack(attack)));
    results.push(bench.use_up_memory(&finished));
    results.push(bench.outlive());
    Ok(results)
}

/// Makes the attempts (not the attacks) with the system call filter off: proof that the filter is what refuses some
/// of them. Runs nothing but the probe.
#[doc(hidden)]
pub fn attempts_without_filter(folder: &Path) -> Result<Vec<ProbeResult>, StepError> {
    Ok(Bench::new(folder)?.attempts(false)?.0)
}

/// A folder with what the probe's steps need; removed when dropped.
struct Bench {
    folder: PathBuf,
}

impl Drop for Bench {
    fn drop(&mut self) {
        // What cannot be removed is in the caller's own folder and does no harm.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Bench {
    fn new(parent: &Path) -> Result<Self, StepError> {
        let bench = Self { folder: free_name(parent).map_err(|error| failed(parent, &error))? };
        bench.furnish().map_err(|error| failed(&bench.folder, &error))?;
        Ok(bench)
    }

    fn furnish(&self) -> io::Result<()> {
        for name in ["root", "src"] {
            fs::create_dir(self.folder.join(name))?;
            fs::set_permissions(self.folder.join(name), Permissions::from_mode(0o755))?;
        }
        // As open as they can be: only the container may stand in the way.
        for (name, content, mode) in [
            ("probe", PROBE, 0o555),
            ("src/file", &b"source"[..], 0o666),
            ("key", &b"secret"[..], 0o644),
        ] {
            fs::write(self.folder.join(name), content)?;
            fs::set_permissions(self.folder.join(name), Permissions::from_mode(mode))?;
        }
        Ok(())
    }

    /// Runs the probe once, in new `out` and `scratch` folders.
    fn run(&self, words: &[&str], limits: Limits, filter: bool) -> Result<Finished, StepError> {
        for name in ["out", "scratch"] {
            let path = self.folder.join(name);
            let made = if path.exists() { fs::remove_dir_all(&path) } else { Ok(()) }
                .and_then(|()| fs::create_dir(&path));
            made.map_err(|error| failed(&path, &error))?;
        }
        let mount =
            |name: &str, path: &str| Mount { host: self.folder.join(name), path: path.to_owned() };
        let spec = StepSpec {
            root: self.folder.join("root"),
            mounts: vec![mount("probe", PROBE_PATH), mount("src", "/src")],
            argv: std::iter::once(PROBE_PATH)
                .chain(words.iter().copied())
                .map(str::to_owned)
                .collect(),
            env: BTreeMap::from([("KDISTRO_PROBE".to_owned(), "1".to_owned())]),
            directory: "/".to_owned(),
            limits,
            out: self.folder.join("out"),
            scratch: self.folder.join("scratch"),
            log: self.folder.join("log"),
        };
        run_job(Path::new("/proc/self/exe"), &Job { spec: absolute(&spec)?, filter })
    }

    fn attempts(&self, filter: bool) -> Result<(Vec<ProbeResult>, Finished), StepError> {
        // Real services of this host, so that a refusal means something.
        let here = |error: io::Error| failed(&self.folder, &error);
        let listener = TcpListener::bind("127.0.0.1:0").map_err(here)?;
        let port = listener.local_addr().map_err(here)?.port().to_string();
        let socket = format!("kdistro-probe-{port}");
        let _abstract = SocketAddr::from_abstract_name(&socket)
            .and_then(|address| UnixListener::bind_addr(&address))
            .map_err(here)?;
        let key = self.folder.join("key").display().to_string();
        let process = std::process::id().to_string();
        let finished = self.run(&["attempts", &key, &port, &socket, &process], LIMITS, filter)?;
        let text = fs::read_to_string(self.folder.join("out/attempts")).map_err(here)?;
        Ok((text.lines().filter_map(result).collect(), finished))
    }

    fn attack(&self, attack: &Attack) -> ProbeResult {
        let (refused, how) = match self.run(&[attack.word], attack.limits, true) {
            Ok(_) => (false, "nothing stopped it".to_owned()),
            Err(error) => ((attack.is_stopped)(&error), first_line(&error)),
        };
        ProbeResult { attempt: attack.attempt.to_owned(), refused, how }
    }

    /// Tried only where the limit is enforced: elsewhere it would only show what is known.
    fn use_up_memory(&self, finished: &Finished) -> ProbeResult {
        let gap = finished.isolation.gaps().find(|fact| fact.name == "memory limit");
        let Some(gap) = gap else {
            let is_stopped = |error: &StepError| matches!(error, StepError::OutOfMemory { .. });
            return self.attack(&Attack {
                attempt: "use up memory",
                word: "memory",
                limits: LIMITS,
                is_stopped,
            });
        };
        ProbeResult {
            attempt: "use up memory".to_owned(),
            refused: false,
            how: format!("not enforced: {}", gap.how),
        }
    }

    fn outlive(&self) -> ProbeResult {
        let mark = self.folder.display().to_string();
        let answer = self.run(&["outlive", &mark], LIMITS, true);
        let survivors = survivors(&mark);
        let (refused, how) = match answer {
            Ok(_) if survivors.is_empty() => (true, "ended with the step".to_owned()),
            Ok(_) => (false, format!("still there: {survivors:?}")),
            Err(error) => (false, first_line(&error)),
        };
        ProbeResult { attempt: "leave a process behind".to_owned(), refused, how }
    }
}

/// Lists processes of this host that run the probe's sleeping attack with this mark.
fn survivors(mark: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let command = format!("/proc/self/exe\0forever\0{mark}\0");
    let is_probe = |entry: &fs::DirEntry| {
        fs::read(entry.path().join("cmdline")).is_ok_and(|line| line == command.as_bytes())
    };
    entries
        .flatten()
        .filter(is_probe)
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn free_name(parent: &Path) -> io::Result<PathBuf> {
    for number in 0_u32.. {
        let folder = parent.join(format!("kdistro-probe-{}-{number}", std::process::id()));
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other.map(|()| folder),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn result(line: &str) -> Option<ProbeResult> {
    let mut fields = line.splitn(3, '\t');
    let (attempt, word, how) = (fields.next()?, fields.next()?, fields.next()?);
    Some(ProbeResult {
        attempt: attempt.to_owned(),
        refused: word == "refused",
        how: how.to_owned(),
    })
}

fn first_line(error: &StepError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

fn failed(path: &Path, error: &io::Error) -> StepError {
    StepError::engine(format!("probing in {}", path.display()), error)
}
