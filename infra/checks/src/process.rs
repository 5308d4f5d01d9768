//! Runs a program for a limited time, and keeps the end of what it writes.

use std::{
    ffi::OsStr,
    io::{self, Read},
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::sync::oneshot;

use crate::result::LONGEST_OUTPUT;

/// How long to read on when the program has ended: what left its group may hold the pipe for ever.
const READ: Duration = Duration::from_secs(2);

/// What a program came to.
pub(crate) struct Ended {
    /// How it ended; none where it was ended, as it took too long.
    pub(crate) status: Option<ExitStatus>,
    /// The end of what it wrote to both its outputs.
    pub(crate) output: String,
}

impl Ended {
    /// Why it is no success; none where it is one.
    pub(crate) fn why_not(&self, limit: Duration) -> Option<String> {
        match self.status {
            Some(status) if status.success() => None,
            Some(status) => Some(format!("it ended with {status}")),
            None => Some(format!("it did not end within {} s", limit.as_secs())),
        }
    }
}

/// A program to run.
pub(crate) struct Program<'a> {
    pub(crate) path: &'a Path,
    pub(crate) arguments: &'a [String],
    /// What stands in its environment besides what stands in this one's.
    pub(crate) environment: Vec<(&'static str, &'a OsStr)>,
    pub(crate) limit: Duration,
}

/// Runs a program in a process group of its own, which is killed at the end, whatever of it still runs.
#[expect(
    clippy::disallowed_methods,
    reason = "subscribers' own checks, and upstream's, are programs"
)]
pub(crate) async fn run(program: &Program<'_>) -> io::Result<Ended> {
    let (reader, writer) = io::pipe()?;
    let mut command = std::process::Command::new(program.path);
    command.args(program.arguments).envs(program.environment.iter().copied());
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut command = tokio::process::Command::from(command);
    command.process_group(0);
    let mut child = command.spawn()?;
    // The ends of the pipe that this process holds: reading ends when all others are closed.
    drop(command);
    let (kept, done) = (Arc::default(), oneshot::channel());
    let (to, all_read) = (Arc::clone(&kept), done.0);
    thread::spawn(move || {
        keep_last(reader, &to);
        // Nobody waits any more where this came late.
        let _ = all_read.send(());
    });
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let waited = tokio::time::timeout(program.limit, child.wait()).await;
    if let Some(group) = group {
        // It is no error that nothing is left.
        let _ = kill_process_group(group, Signal::KILL);
    }
    let status = if let Ok(status) = waited {
        Some(status?)
    } else {
        child.wait().await?;
        None
    };
    let _ = tokio::time::timeout(READ, done.1).await;
    let bytes = kept.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Ended { status, output: String::from_utf8_lossy(&bytes).trim_end().to_owned() })
}

/// Reads to the end, and keeps the last bytes.
fn keep_last(mut reader: impl Read, kept: &Mutex<Vec<u8>>) {
    let mut buffer = vec![0; LONGEST_OUTPUT];
    // What was read until an error counts.
    while let Ok(count @ 1..) = reader.read(&mut buffer) {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(buffer.get(..count).unwrap_or_default());
        let surplus = kept.len().saturating_sub(LONGEST_OUTPUT);
        kept.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Runs a script of the shell.
    fn sh(script: &str, limit: Duration) -> Ended {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let arguments = ["-c".to_owned(), script.to_owned()];
        let environment = vec![("GIVEN", OsStr::new("here"))];
        let program = Program { path: Path::new("sh"), arguments: &arguments, environment, limit };
        runtime.block_on(run(&program)).unwrap()
    }

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn what_a_program_wrote_and_how_it_ended_is_known() {
        let ended = sh("echo $GIVEN; echo there >&2; exit 3", LONG);
        assert_eq!(ended.output, "here\nthere");
        assert_eq!(ended.why_not(LONG).unwrap(), "it ended with exit status: 3");
        assert_eq!(sh("true", LONG).why_not(LONG), None);
    }

    #[test]
    fn of_much_output_the_end_is_kept() {
        let output = sh("yes beginning | head -c 1000000; echo end", LONG).output;
        assert!(output.len() <= LONGEST_OUTPUT && output.ends_with("end"));
    }

    #[test]
    fn what_takes_too_long_is_ended_with_all_that_it_started() {
        let (begin, limit) = (Instant::now(), Duration::from_millis(300));
        let ended = sh("echo begun; sleep 60 & sleep 60", limit);
        assert!(ended.status.is_none() && begin.elapsed() < Duration::from_secs(10));
        assert_eq!(ended.output, "begun");
        assert_eq!(ended.why_not(limit).unwrap(), "it did not end within 0 s");
    }

    #[test]
    fn nobody_waits_for_what_left_the_group() {
        let begin = Instant::now();
        let ended = sh("echo gone; setsid sleep 8 & sleep 0.2", LONG);
        assert_eq!(ended.output, "gone");
        assert!(begin.elapsed() < Duration::from_secs(6), "{:?}", begin.elapsed());
    }
}
