//! Finds the reason why a step ended, from what the engine, the watcher, the kernel's counters and the log say; and
//! lists what held the step in.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use nix::sys::signal::Signal;

use crate::cgroup::Group;
use crate::disk;
use crate::engine::Ending;
use crate::outcome::{Enforcement, Isolation, StepError};
use crate::spec::Limits;
use crate::supervisor::counts_processes_by_namespace;
use crate::watch::End;
use crate::world::STEP_ID;

/// The stub's exit code for a program that it could not start, and how it begins what it says.
const NOT_STARTED: i32 = 127;
const STUB_SAYS: &str = "kdistro-container-stub: ";
/// The engine library's exit code when the container itself failed, and how it begins what it says.
const ENGINE_FAILED: i32 = 125;
const ENGINE_SAYS: &str = "hakoniwa: ";
/// Exit codes above this name a signal.
const SIGNAL_BASE: i32 = 128;
/// How much of the log's end is read to find a last line.
const TAIL_BYTES: u64 = 4096;

/// What is looked at after the step ended.
pub(crate) struct Evidence<'a> {
    pub(crate) group: &'a Group,
    pub(crate) folders: &'a [PathBuf],
    pub(crate) log: &'a File,
}

/// Returns the ending of a step that went well, else the most telling reason.
pub(crate) fn ending(
    end: End,
    limits: &Limits,
    evidence: &Evidence<'_>,
) -> Result<Ending, StepError> {
    let report = match end {
        End::Done(report) => report,
        End::Limit(error) => return Err(error),
        End::Abandoned => {
            return Err(StepError::engine(
                "running the step",
                "the program that asked for it is gone",
            ));
        }
    };
    // Killed by the kernel before this was asked: the counter outlives the process, even where a parent hid its end.
    if evidence.group.is_out_of_memory() {
        return Err(StepError::OutOfMemory { limit: limits.memory_bytes });
    }
    let used = disk::usage(evidence.folders);
    if used > limits.disk_bytes {
        return Err(StepError::DiskLimit { limit: limits.disk_bytes });
    }
    let ending: Ending = serde_json::from_slice(&report)
        .map_err(|_| StepError::engine("running the step", "the engine was killed"))?;
    match ending.code {
        Some(0) => Ok(ending),
        _ if evidence.group.is_out_of_processes() => {
            Err(StepError::ProcessLimit { limit: limits.processes })
        }
        // The kernel lets one file grow to the limit and no further; few programs die of its signal, and what others
        // make of the error says nothing.
        _ if used >= limits.disk_bytes => Err(StepError::DiskLimit { limit: limits.disk_bytes }),
        Some(code) => Err(reason(code, &last_line(evidence.log), limits)),
        None => Err(StepError::engine("running the step", &ending.reason)),
    }
}

/// Reads an exit code, with the last line of the log where that decides.
fn reason(code: i32, last_line: &str, limits: &Limits) -> StepError {
    if let (NOT_STARTED, Some(said)) = (code, last_line.strip_prefix(STUB_SAYS)) {
        return StepError::CannotStart {
            subject: "its program".to_owned(),
            reason: said.to_owned(),
        };
    }
    if let (ENGINE_FAILED, Some(said)) = (code, last_line.strip_prefix(ENGINE_SAYS)) {
        return StepError::engine("entering the container", said);
    }
    match Signal::try_from(code - SIGNAL_BASE) {
        // The kernel's answer to a file longer than the limit.
        Ok(Signal::SIGXFSZ) => StepError::DiskLimit { limit: limits.disk_bytes },
        Ok(signal) => StepError::Signal { signal: signal as i32, name: signal.as_str().to_owned() },
        Err(_) => StepError::Exited { code },
    }
}

fn last_line(mut log: &File) -> String {
    let mut tail = Vec::new();
    let length = log.metadata().map_or(0, |found| found.len());
    let read = log
        .seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))
        .and_then(|_| log.read_to_end(&mut tail));
    // An unreadable log only costs the better reason.
    drop(read);
    String::from_utf8_lossy(&tail).lines().last().unwrap_or_default().to_owned()
}

/// Lists what held a step in, sorted by name.
pub(crate) fn isolation(group: &Group, filter: bool, as_root: bool) -> Isolation {
    let fact = |name: &str, enforced: bool, how: &str| Enforcement {
        name: name.to_owned(),
        enforced,
        how: how.to_owned(),
    };
    let user = if as_root {
        format!("unprivileged user id {STEP_ID} on the host")
    } else {
        "the calling user's id on the host".to_owned()
    };
    let memory = group.memory();
    let processes = match (group.processes(), counts_processes_by_namespace()) {
        (Ok(by), _) => (true, by),
        (Err(_), true) => (true, "RLIMIT_NPROC, counted in the user namespace".to_owned()),
        (Err(why), false) => (true, format!("counted ten times a second only: {why}")),
    };
    Isolation {
        facts: vec![
            fact("devices", true, "null, zero, full, random, urandom only"),
            fact("disk limit", true, "RLIMIT_FSIZE a file; folders counted while the step runs"),
            fact("environment", true, "exactly as given, sorted"),
            fact("files", true, "mount namespace, read-only but for /out and /tmp"),
            fact("memory limit", memory.is_ok(), &memory.unwrap_or_else(|why| why)),
            fact(
                "network",
                true,
                "network namespace without interfaces that are up; no sockets but AF_UNIX",
            ),
            fact("privileges", true, "user namespace, no capabilities, no_new_privs"),
            fact("process limit", processes.0, &processes.1),
            fact("processes", true, "PID namespace, own session, no controlling terminal"),
            fact(
                "system calls",
                filter,
                if filter { "seccomp filter" } else { "the filter was turned off for a self-test" },
            ),
            fact("time limit", true, "the whole PID namespace is killed"),
            fact("user", true, &user),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits =
        Limits { seconds: 1, memory_bytes: 2, processes: 3, disk_bytes: 4, log_bytes: 5 };

    #[test]
    fn reads_exit_codes_as_a_shell_writes_them() {
        assert_eq!(reason(2, "", &LIMITS), StepError::Exited { code: 2 });
        assert_eq!(reason(127, "sh: 1: gcc: not found", &LIMITS), StepError::Exited { code: 127 });
        assert_eq!(
            reason(139, "", &LIMITS),
            StepError::Signal { signal: 11, name: "SIGSEGV".to_owned() }
        );
        assert_eq!(reason(153, "", &LIMITS), StepError::DiskLimit { limit: 4 });
        assert_eq!(reason(255, "", &LIMITS), StepError::Exited { code: 255 });
    }

    #[test]
    fn tells_a_program_that_never_started_from_one_that_failed() {
        let error = reason(
            127,
            "kdistro-container-stub: cannot start /go/bin/go: No such file or directory (os error 2)",
            &LIMITS,
        );
        assert_eq!(
            error.to_string(),
            "the step cannot start: its program: cannot start /go/bin/go: No such file or directory (os error 2)"
        );
        assert!(matches!(
            reason(125, "hakoniwa: mount(..) => EPERM", &LIMITS),
            StepError::Engine { .. }
        ));
        assert_eq!(reason(125, "", &LIMITS), StepError::Exited { code: 125 });
    }
}
