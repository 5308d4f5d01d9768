//! Starts the programs that are measured: peers, and this program again in one of its roles.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use crate::error::{BenchError, at};

/// A program to be started. Its words are its arguments; nothing reads them but itself.
#[expect(clippy::disallowed_methods, reason = "what is measured here are programs")]
pub(crate) fn program(name: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(name);
    command.stdin(Stdio::null());
    command
}

/// This program again, in one of the roles that `roles` lists.
pub(crate) fn again(role: &str) -> Command {
    let mut command = program("/proc/self/exe");
    command.arg(role);
    command
}

/// Starts a program whose output will be read.
pub(crate) fn start(command: &mut Command) -> Result<Child, BenchError> {
    let name = name(command);
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| BenchError::Start { program: name, source })
}

/// Runs a program to its end and returns what it printed; fails unless it ended well.
pub(crate) fn run(command: &mut Command) -> Result<Vec<u8>, BenchError> {
    let child = start(command)?;
    end(command, child)
}

/// Waits for a program that was started; fails unless it ended well.
pub(crate) fn end(command: &Command, child: Child) -> Result<Vec<u8>, BenchError> {
    let program = name(command);
    let output =
        child.wait_with_output().map_err(|source| BenchError::Start { program, source })?;
    if output.status.success() { Ok(output.stdout) } else { Err(failed(command, &output)) }
}

/// Runs a program whose progress goes where ours goes.
pub(crate) fn run_visibly(command: &mut Command) -> Result<(), BenchError> {
    let program = name(command);
    let child = command.stderr(Stdio::inherit()).spawn();
    let child = child.map_err(|source| BenchError::Start { program, source })?;
    end(command, child).map(drop)
}

/// Runs a program whose output goes into a file.
pub(crate) fn run_into(command: &mut Command, path: &Path) -> Result<(), BenchError> {
    let file = File::create(path).map_err(at(path))?;
    let program = name(command);
    let child = command.stdout(file).stderr(Stdio::piped()).spawn();
    let child = child.map_err(|source| BenchError::Start { program, source })?;
    end(command, child).map(drop)
}

fn failed(command: &Command, output: &Output) -> BenchError {
    let said = String::from_utf8_lossy(&output.stderr);
    let tail: Vec<_> = said.lines().rev().take(8).collect();
    let said = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
    BenchError::Failed { program: name(command), status: output.status.to_string(), said }
}

fn name(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args().take(3));
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_is_named_with_what_it_said() {
        let error = run(program("openssl").args(["dgst", "-sha256", "/no/such/file"])).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("`openssl dgst -sha256 /no/such/file` ended with exit"), "{text}");
        assert!(text.contains("No such file"), "{text}");
        assert!(matches!(run(&mut program("/no/such/program")), Err(BenchError::Start { .. })));
    }
}
