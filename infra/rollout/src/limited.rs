//! Other people's programs, run with limits: how long they may take, and how much of what they say is kept.

use std::{
    io::{Read, Write},
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

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
    /// Whether it is a part of this program: what a terminal tells this one to do, such as to end, it is told too. Else it is
    /// killed with all that it has started.
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
    let out = keep_end(child.stdout.take(), limits.bytes);
    let err = keep_end(child.stderr.take(), limits.bytes);
    let status = match wait(&mut child, limits) {
        Ok(Some(status)) => status,
        Ok(None) => {
            return Err(LimitedError::Late { command: typed, seconds: limits.time.as_secs() });
        }
        Err(source) => return Err(LimitedError::Start { command: typed, source }),
    };
    let [out, err] = [out, err].map(|end| {
        end.recv_timeout(LINGER).unwrap_or_else(|_| {
            // It has ended: only what it left in a group of its own is known for sure.
            if !limits.is_part {
                kill(&child, limits);
            }
            end.recv_timeout(LINGER).unwrap_or_default()
        })
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

/// Kills a program, and what it has started where that is a group of its own; there may be nothing left to kill.
fn kill(child: &Child, limits: Limits) {
    let id = Pid::from_child(child);
    let _ = if limits.is_part {
        kill_process(id, Signal::KILL)
    } else {
        kill_process_group(id, Signal::KILL)
    };
}

/// Reads to the end, and keeps at most `limit` bytes: the last ones.
fn keep_end(stream: Option<impl Read + Send + 'static>, limit: usize) -> Receiver<Said> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let (mut said, mut piece) = (Said { is_whole: true, ..Said::default() }, [0; 8192]);
        if let Some(mut stream) = stream {
            while let Ok(count @ 1..) = stream.read(&mut piece) {
                said.bytes.extend_from_slice(piece.get(..count).unwrap_or_default());
                let surplus = said.bytes.len().saturating_sub(limit);
                said.bytes.drain(..surplus);
                said.is_whole &= surplus == 0;
            }
        }
        // Nobody waits any more where this took too long.
        let _ = sender.send(said);
    });
    receiver
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
    fn a_program_that_is_missing_is_told() {
        #[expect(clippy::disallowed_methods, reason = "it is none")]
        let error = run(&mut Command::new("/none"), b"", limits(100)).unwrap_err();
        assert!(matches!(error, LimitedError::Start { .. }), "{error}");
    }
}
