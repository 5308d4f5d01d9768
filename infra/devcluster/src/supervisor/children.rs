//! The processes of a cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use procfs::{ProcError, net::TcpState, process::FDTarget};
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, wait};

use crate::{control::Process, host};

/// How long somebody who waits sleeps at most: a signal may come between a look and the wait.
const LOOK: Duration = Duration::from_millis(100);

/// How long one that ended by itself waits before it is started again, and how often that is done: as on a node, where the
/// kubelet does it. Who ran for so long may do it again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
const AGAIN: u32 = 3;
const LONG: Duration = Duration::from_mins(1);

/// One that was started.
struct Started {
    id: u32,
    command: Vec<String>,
    log: PathBuf,
    began: Instant,
    ended: Option<ExitStatus>,
    /// How often it was started again.
    again: u32,
    /// Whether it was told to end.
    told: bool,
}

impl Started {
    /// Takes note of how it ended, after it ran for so long.
    fn end(&mut self, status: ExitStatus, ran: Duration) {
        self.ended = Some(status);
        if ran > LONG {
            self.again = 0;
        }
    }

    /// Whether it ended and will be started again.
    fn comes_again(&self) -> bool {
        self.ended.is_some() && !self.told && self.again < AGAIN
    }
}

/// All that were started, by name.
#[derive(Default)]
pub(super) struct Children {
    all: Mutex<BTreeMap<String, Started>>,
    changed: Condvar,
}

impl Children {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Started>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a process in a group of its own.
    pub(super) fn start(
        &self,
        name: String,
        command: Vec<String>,
        log: &Path,
    ) -> Result<(), String> {
        let mut all = self.all();
        if all.get(&name).is_some_and(|started| started.ended.is_none()) {
            return Err(format!("{name} runs already"));
        }
        // Not waited for here: whoever reaps holds the lock, and finds its name.
        let id = spawn(&command, log)?;
        let (log, began) = (log.to_owned(), Instant::now());
        let started = Started { id, command, log, began, ended: None, again: 0, told: false };
        all.insert(name, started);
        Ok(())
    }

    /// Starts those again that ended by themselves a while ago; returns when to look again.
    pub(super) fn start_again(&self) -> Duration {
        let mut all = self.all();
        for started in all.values_mut().filter(|started| started.comes_again()) {
            started.again += 1;
            // Where it cannot be started, the next look tries again.
            if let Ok(id) = spawn(&started.command, &started.log) {
                (started.id, started.began, started.ended) = (id, Instant::now(), None);
            }
        }
        AGAIN_AFTER
    }

    /// Ends a process and what it started; one that has ended, or never ran, is fine.
    pub(super) fn stop(&self, name: &str, patience: Duration) -> Result<(), String> {
        let mut all = self.all();
        let end = Instant::now() + patience;
        let mut asked = false;
        if let Some(started) = all.get_mut(name) {
            started.told = true;
        }
        loop {
            let Some(started) = all.get(name).filter(|started| started.ended.is_none()) else {
                return Ok(());
            };
            let left = end.saturating_duration_since(Instant::now());
            if !asked || left.is_zero() {
                let signal = if asked { Signal::KILL } else { Signal::TERM };
                signal_group(started, signal)?;
                asked = true;
            }
            let waited = self.changed.wait_timeout(all, LOOK);
            all = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Gives a process another name.
    pub(super) fn rename(&self, from: &str, to: String) -> Result<(), String> {
        let mut all = self.all();
        if all.get(&to).is_some_and(|started| started.ended.is_none()) {
            return Err(format!("{to} runs already"));
        }
        let started = all.remove(from).ok_or_else(|| format!("{from} does not run"))?;
        all.insert(to, started);
        Ok(())
    }

    /// Says whether a process listens on a port of this network, where others may do so, too.
    pub(super) fn listens(&self, name: &str, port: u16) -> Result<(), String> {
        let id = self.all().get(name).filter(|started| started.ended.is_none()).map(|it| it.id);
        let id = id
            .and_then(|id| i32::try_from(id).ok())
            .ok_or_else(|| format!("{name} does not run"))?;
        let failed = |error: ProcError| format!("cannot see what {name} listens on: {error}");
        let open =
            procfs::process::Process::new(id).and_then(|process| process.fd()).map_err(failed)?;
        let sockets: BTreeSet<_> = open
            .filter_map(|open| match open.ok()?.target {
                FDTarget::Socket(number) => Some(number),
                _ => None,
            })
            .collect();
        // A kernel may know one kind of addresses only.
        let known = [procfs::net::tcp(), procfs::net::tcp6()].into_iter().flatten().flatten();
        let mut listening = known.filter(|entry| entry.state == TcpState::Listen);
        let is_it = listening
            .any(|entry| entry.local_address.port() == port && sockets.contains(&entry.inode));
        if is_it { Ok(()) } else { Err(format!("{name} does not listen yet")) }
    }

    /// Ends all of them at once.
    pub(super) fn stop_all(&self, patience: Duration) {
        let mut running = Vec::new();
        for (name, started) in self.all().iter_mut() {
            started.told = true;
            let _ = signal_group(started, Signal::TERM);
            running.push(name.clone());
        }
        let end = Instant::now() + patience;
        for name in running {
            let left = end.saturating_duration_since(Instant::now());
            let _ = self.stop(&name, left);
        }
    }

    /// Says what runs and how what ran ended.
    pub(super) fn list(&self) -> Vec<Process> {
        let all = self.all();
        let said = all.iter().map(|(name, started)| Process {
            name: name.clone(),
            command: started.command.clone(),
            id: started.id,
            ended: started.ended.map(how),
            comes_again: started.comes_again(),
        });
        said.collect()
    }

    /// Takes note of every process that ended; those whose parents ended before are this process's too.
    pub(super) fn reap(&self) {
        let mut all = self.all();
        while let Ok(Some((id, status))) = wait(WaitOptions::NOHANG) {
            let id = id.as_raw_nonzero().get().unsigned_abs();
            let is_it = |started: &&mut Started| started.id == id && started.ended.is_none();
            if let Some(started) = all.values_mut().find(is_it) {
                let ran = started.began.elapsed();
                started.end(ExitStatus::from_raw(status.as_raw()), ran);
            }
        }
        self.changed.notify_all();
    }
}

/// Starts a process in a group of its own; returns its id.
fn spawn(command: &[String], log: &Path) -> Result<u32, String> {
    let (program, arguments) = command.split_first().ok_or("there is no command")?;
    let failed = |error: io::Error| format!("{program}: {error}");
    let log = File::options().append(true).create(true).open(log).map_err(failed)?;
    let mut process = host::command(program);
    process.args(arguments).env("PATH", host::path()).process_group(0).stdin(Stdio::null());
    process.stdout(log.try_clone().map_err(failed)?).stderr(log);
    Ok(process.spawn().map_err(failed)?.id())
}

fn signal_group(started: &Started, signal: Signal) -> Result<(), String> {
    let group = i32::try_from(started.id).ok().and_then(Pid::from_raw).ok_or("no process")?;
    match kill_process_group(group, signal) {
        // It ended by itself, and nobody has taken note of that yet.
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// How a process ended, in words.
fn how(status: ExitStatus) -> String {
    status.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_ran_for_long_is_started_again_however_often_it_ended_before() {
        let status = ExitStatus::from_raw(256);
        for (again, ran, comes_again) in [
            (0, Duration::ZERO, true),
            (AGAIN - 1, LONG, true),
            (AGAIN, LONG, false),
            (AGAIN, LONG + Duration::from_secs(1), true),
        ] {
            let mut started = Started {
                id: 1,
                command: Vec::new(),
                log: PathBuf::new(),
                began: Instant::now(),
                ended: None,
                again,
                told: false,
            };
            started.end(status, ran);
            assert_eq!(started.comes_again(), comes_again, "{again} times, then {ran:?}");
            started.told = true;
            assert!(!started.comes_again());
        }
    }
}
