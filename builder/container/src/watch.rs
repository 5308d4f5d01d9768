//! Watches a running step: carries its output into the log, and says when a limit is passed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{ChildStderr, ChildStdout};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::cgroup::Group;
use crate::outcome::StepError;
use crate::spec::Limits;
use crate::{disk, processes};

/// How often the limits are looked at that nobody tells us about.
const TICK: Duration = Duration::from_millis(100);
/// The longest time between two full counts of the disk.
const COUNT_AT_LEAST: Duration = Duration::from_secs(5);
/// Counting the disk may take one part in this many of the time.
const COUNT_SHARE: u32 = 25;
/// Levels of processes between the supervisor and the step: the engine and its child.
const OWN_LEVELS: usize = 2;

/// Why watching ended.
pub(crate) enum End {
    /// The engine is done; this is its report.
    Done(Vec<u8>),
    /// A limit was passed, and this is its error; the step still runs.
    Limit(StepError),
    /// The program that asked for the step is gone; the step still runs.
    Abandoned,
}

/// Everything a watcher looks at.
pub(crate) struct Watch<'a> {
    pub(crate) limits: Limits,
    pub(crate) group: &'a Group,
    /// The step's standard output and standard error.
    pub(crate) output: ChildStderr,
    /// The engine's report.
    pub(crate) report: ChildStdout,
    pub(crate) log: File,
    /// Folders whose size is limited.
    pub(crate) folders: Vec<PathBuf>,
}

impl Watch<'_> {
    /// Watches until the step ends or has to be ended.
    pub(crate) fn until_end(&mut self) -> io::Result<End> {
        let deadline = Instant::now().checked_add(Duration::from_secs(self.limits.seconds));
        let mut room = self.limits.log_bytes;
        let mut meter = Meter::new(self.folders.clone(), self.limits.disk_bytes);
        let mut report = Vec::new();
        let mut looked = Instant::now();
        let (mut is_output_open, mut is_report_open) = (true, true);
        while is_output_open || is_report_open {
            let ready = self.wait(is_output_open, is_report_open, deadline)?;
            if ready.output {
                match self.carry(&mut room)? {
                    Carried::Nothing => is_output_open = false,
                    Carried::Some => {}
                    Carried::TooMuch => {
                        return Ok(End::Limit(StepError::LogLimit {
                            limit: self.limits.log_bytes,
                        }));
                    }
                }
            }
            if ready.report {
                is_report_open = append(&mut self.report, &mut report)?;
            }
            if ready.asker_gone {
                return Ok(End::Abandoned);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(End::Limit(StepError::TimeLimit { limit: self.limits.seconds }));
            }
            // Not at every line that the step writes.
            if is_report_open && looked.elapsed() >= TICK {
                looked = Instant::now();
                if let Some(error) = self.passed(&mut meter) {
                    return Ok(End::Limit(error));
                }
            }
        }
        Ok(End::Done(report))
    }

    /// Sleeps until something can be read, or for a tick.
    fn wait(&self, output: bool, report: bool, deadline: Option<Instant>) -> io::Result<Ready> {
        let left = deadline
            .map_or(TICK, |deadline| deadline.saturating_duration_since(Instant::now()).min(TICK));
        let stdin = io::stdin();
        let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let mut list = vec![readable(stdin.as_fd())];
        list.extend(output.then(|| readable(self.output.as_fd())));
        list.extend(report.then(|| readable(self.report.as_fd())));
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        match poll(&mut list, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut answers = list.iter().map(|fd| fd.any().unwrap_or(false));
        let asker_gone = answers.next().unwrap_or(false);
        let mut answer = |asked: bool| asked && answers.next().unwrap_or(false);
        Ok(Ready { output: answer(output), report: answer(report), asker_gone })
    }

    fn carry(&mut self, room: &mut u64) -> io::Result<Carried> {
        let mut block = [0; 1 << 13];
        let count = match self.output.read(&mut block) {
            Ok(0) => return Ok(Carried::Nothing),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Carried::Some),
            Err(error) => return Err(error),
        };
        let kept = count.min(usize::try_from(*room).unwrap_or(usize::MAX));
        self.log.write_all(block.get(..kept).unwrap_or_default())?;
        *room -= kept as u64;
        Ok(if kept < count { Carried::TooMuch } else { Carried::Some })
    }

    fn passed(&self, meter: &mut Meter) -> Option<StepError> {
        if meter.is_full() {
            return Some(StepError::DiskLimit { limit: self.limits.disk_bytes });
        }
        if self.group.is_out_of_memory() {
            return Some(StepError::OutOfMemory { limit: self.limits.memory_bytes });
        }
        let limit = self.limits.processes;
        let is_over = match self.group.processes() {
            Ok(_) => self.group.is_out_of_processes(),
            Err(_) => {
                processes::below(OWN_LEVELS).into_iter().map(processes::threads).sum::<u64>()
                    >= limit
            }
        };
        is_over.then_some(StepError::ProcessLimit { limit })
    }
}

struct Ready {
    output: bool,
    report: bool,
    asker_gone: bool,
}

enum Carried {
    Nothing,
    Some,
    TooMuch,
}

/// Reads what is there. False at the end.
fn append(from: &mut impl Read, to: &mut Vec<u8>) -> io::Result<bool> {
    let mut block = [0; 4096];
    match from.read(&mut block) {
        Ok(0) => Ok(false),
        Ok(count) => {
            to.extend_from_slice(block.get(..count).unwrap_or_default());
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
        Err(error) => Err(error),
    }
}

/// Counts disk use seldom enough to cost little, and soon enough to stop whoever fills the disk: at once when the
/// file system lost half of what the step has left.
struct Meter {
    folders: Vec<PathBuf>,
    limit: u64,
    counted: Instant,
    cost: Duration,
    used: u64,
    free: u64,
}

impl Meter {
    fn new(folders: Vec<PathBuf>, limit: u64) -> Self {
        let now = Instant::now();
        let free = free(&folders);
        Self { folders, limit, counted: now, cost: Duration::ZERO, used: 0, free }
    }

    fn is_full(&mut self) -> bool {
        let since = self.counted.elapsed();
        let lost = self.free.saturating_sub(free(&self.folders));
        let is_filling = lost >= (self.limit.saturating_sub(self.used)) / 2;
        if since >= self.cost * COUNT_SHARE && (is_filling || since >= COUNT_AT_LEAST) {
            let begun = Instant::now();
            self.free = free(&self.folders);
            self.used = disk::usage(&self.folders)
                .saturating_add(disk::held(&processes::below(OWN_LEVELS), &self.folders));
            self.counted = Instant::now();
            self.cost = begun.elapsed();
        }
        self.used > self.limit
    }
}

/// The free bytes of the fullest file system among the folders'.
fn free(folders: &[PathBuf]) -> u64 {
    folders.iter().filter_map(|folder| disk::free(folder)).min().unwrap_or(0)
}
