//! Other people's programs, run with limits: how long they may take, and how much of what they say is kept.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    mem,
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::inspect::processes::descendants;

/// How often it is looked whether a program has ended.
const LOOK: Duration = Duration::from_millis(20);
/// How long what a program has started may hold its output after it has ended.
const LINGER: Duration = Duration::from_secs(1);

/// What a program may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// How long it may take.
    pub(crate) time: Duration,
    /// How much of each of its outputs is kept, in bytes: the end.
    pub(crate) bytes: usize,
    /// Whether it is a part of this program: what a terminal tells this one to do, such as to end, it is told too. Else it
    /// has a group of its own, of which nothing is left when it has ended.
    pub(crate) is_part: bool,
}

/// What a program came to.
#[derive(Debug)]
pub(crate) struct Ended {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// What it wrote.
    pub(crate) out: Said,
    /// What it complained of.
    pub(crate) err: Said,
}

/// The end of what a program wrote.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// The end of it.
    pub(crate) bytes: Vec<u8>,
    /// Whether that is all of it.
    pub(crate) is_whole: bool,
}

/// A program that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum LimitedError {
    /// It cannot be started.
    #[error("cannot start `{command}`")]
    Start {
        /// The command.
        command: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It took too long and was ended.
    #[error("`{command}` was ended, as it took more than {seconds} seconds")]
    Late {
        /// The command.
        command: String,
        /// How long it was given.
        seconds: u64,
    },
}

impl Ended {
    /// The end of everything it said, for people.
    pub(crate) fn text(&self) -> String {
        let all = [&*self.out.bytes, &*self.err.bytes].concat();
        String::from_utf8_lossy(&all).trim_end().to_owned()
    }
}

/// A command as one would type it.
pub(crate) fn typed(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Runs a program, which is given `input`, to its end. When it takes too long it is killed, with all that it has started.
pub(crate) fn run(
    command: &mut Command,
    input: &[u8],
    limits: Limits,
) -> Result<Ended, LimitedError> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if !limits.is_part {
        command.process_group(0);
    }
    let typed = typed(command);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(source) => return Err(LimitedError::Start { command: typed, source }),
    };
    let (mut stdin, input) = (child.stdin.take(), input.to_vec());
    // Who does not read what it is given says so by how it ends.
    thread::spawn(move || stdin.as_mut().map(|stdin| stdin.write_all(&input)));
    let out = Keeper::start(child.stdout.take(), limits.bytes);
    let err = Keeper::start(child.stderr.take(), limits.bytes);
    let status = match wait(&mut child, limits) {
        Ok(Some(status)) => status,
        Ok(None) => {
            return Err(LimitedError::Late { command: typed, seconds: limits.time.as_secs() });
        }
        Err(source) => return Err(LimitedError::Start { command: typed, source }),
    };
    let [out, err] = [out, err].map(|keeper| {
        if !keeper.wait() && !limits.is_part {
            // It has ended: only what it left in a group of its own is known for sure.
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
            keeper.wait();
        }
        keeper.said()
    });
    Ok(Ended { status, out, err })
}

/// Waits until a program ends; none where it had to be killed.
fn wait(child: &mut Child, limits: Limits) -> std::io::Result<Option<ExitStatus>> {
    let end = Instant::now() + limits.time;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            kill(child, limits);
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(LOOK);
    }
}

/// Kills a program and what it has started; there may be nothing left to kill.
fn kill(child: &Child, limits: Limits) {
    if !limits.is_part {
        let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
        return;
    }
    let signal = |id: u32, signal| {
        let id = i32::try_from(id).ok().and_then(Pid::from_raw);
        let _ = id.map(|id| kill_process(id, signal));
    };
    // Halted first, so that none starts another one or loses its parent while they are looked for.
    let mut halted = BTreeSet::from([child.id()]);
    signal(child.id(), Signal::STOP);
    while let Ok(all) = descendants(child.id()) {
        let new: Vec<u32> = all.difference(&halted).copied().collect();
        if new.is_empty() {
            break;
        }
        for id in &new {
            signal(*id, Signal::STOP);
        }
        halted.extend(new);
    }
    for id in halted {
        signal(id, Signal::KILL);
    }
}

/// Reads to the end, and keeps the last bytes.
struct Keeper {
    kept: Arc<Mutex<Said>>,
    done: Receiver<()>,
}

impl Keeper {
    fn start(stream: Option<impl Read + Send + 'static>, limit: usize) -> Self {
        let (kept, (sender, done)) = (Arc::<Mutex<Said>>::default(), mpsc::channel());
        let keeper = Self { kept: Arc::clone(&kept), done };
        thread::spawn(move || {
            let lock = || kept.lock().unwrap_or_else(PoisonError::into_inner);
            let (mut piece, mut is_cut) = ([0; 8192], false);
            if let Some(mut stream) = stream {
                while let Ok(count @ 1..) = stream.read(&mut piece) {
                    let mut said = lock();
                    said.bytes.extend_from_slice(piece.get(..count).unwrap_or_default());
                    let surplus = said.bytes.len().saturating_sub(limit);
                    said.bytes.drain(..surplus);
                    is_cut |= surplus > 0;
                }
            }
            lock().is_whole = !is_cut;
            // Nobody waits any more where this took too long.
            let _ = sender.send(());
        });
        keeper
    }

    /// Waits a moment for the end; says whether it came.
    fn wait(&self) -> bool {
        self.done.recv_timeout(LINGER).is_ok()
    }

    /// What was kept so far.
    fn said(self) -> Said {
        mem::take(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "real programs are run")]
    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn limits(milliseconds: u64) -> Limits {
        Limits { time: Duration::from_millis(milliseconds), bytes: 8, is_part: false }
    }

    #[test]
    fn the_end_of_what_is_said_is_kept_and_the_input_given() {
        let ended = run(&mut shell("cat; echo wrong >&2; exit 3"), b"0123456789", limits(9_000));
        let ended = ended.unwrap();
        assert_eq!(ended.status.code(), Some(3));
        assert_eq!((&*ended.out.bytes, ended.out.is_whole), (&b"23456789"[..], false));
        assert_eq!((&*ended.err.bytes, ended.err.is_whole), (&b"wrong\n"[..], true));
        assert_eq!(ended.text(), "23456789wrong");
    }

    #[test]
    fn who_takes_too_long_is_killed_with_what_it_started() {
        let begin = Instant::now();
        let late = run(&mut shell("sleep 60 & sleep 60"), b"", limits(100)).unwrap_err();
        assert_eq!(
            late.to_string(),
            "`sh -c sleep 60 & sleep 60` was ended, as it took more than 0 seconds"
        );
        // What goes on in the background and holds the output is not waited for either.
        let ended = run(&mut shell("sleep 60 & echo done"), b"", limits(9_000)).unwrap();
        assert_eq!(ended.text(), "done");
        assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
    }

    #[test]
    fn a_part_that_takes_too_long_is_killed_with_what_it_started_and_what_it_said_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let late = folder.path().join("late");
        let limits = |time| Limits { is_part: true, bytes: 99, ..limits(time) };
        let script = format!("(sleep 2; echo late >{}) & sleep 60", late.display());
        run(&mut shell(&script), b"", limits(200)).unwrap_err();
        let begin = Instant::now();
        let ended = run(&mut shell("echo why; sleep 9 & exit 1"), b"", limits(9_000)).unwrap();
        assert_eq!((ended.text().as_str(), ended.out.is_whole), ("why", false));
        assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
        thread::sleep(Duration::from_secs(3).saturating_sub(begin.elapsed()));
        assert!(!late.exists(), "it went on");
    }

    #[test]
    fn a_program_that_is_missing_is_told() {
        #[expect(clippy::disallowed_methods, reason = "it is none")]
        let error = run(&mut Command::new("/none"), b"", limits(100)).unwrap_err();
        assert!(matches!(error, LimitedError::Start { .. }), "{error}");
    }
}
