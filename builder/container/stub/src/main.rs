//! The first process of the build container: filters system calls, starts the step's program, reaps orphans, and ends
//! with the program's exit code (128 and the number of the signal where a signal ended it, as a shell has it).
//!
//! `kdistro-container-stub (--filter|--no-filter) DIRECTORY PROGRAM [ARGUMENT]…`

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::{Command, ExitCode};
use std::{env, fs};

use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, setsid};

/// The exit code that says the program was never started; the last line of the log says why.
const NOT_STARTED: u8 = 127;

fn main() -> ExitCode {
    match start() {
        Ok(code) => ExitCode::from(code),
        Err(reason) => {
            // Nobody is left to hear when even this fails.
            let _ = writeln!(io::stderr(), "kdistro-container-stub: {reason}");
            ExitCode::from(NOT_STARTED)
        }
    }
}

fn start() -> Result<u8, String> {
    if std::process::id() != 1 {
        return Err("runs only as the first process of a build container".to_owned());
    }
    let mut arguments = env::args_os().skip(1);
    let (Some(mode), Some(directory), Some(program)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("expected a mode, a directory and a program".to_owned());
    };
    // A session of its own, or the process group would be one outside, which reads as 0 in here.
    if let Err(error) = setsid() {
        return Err(format!("cannot start a session: {error}"));
    }
    if mode == "--filter" {
        for filter in
            kdistro_container_stub::filter::programs().map_err(|error| error.to_string())?
        {
            seccompiler::apply_filter(&filter)
                .map_err(|error| format!("cannot filter system calls: {error}"))?;
        }
    }
    run(&directory, &program, arguments.collect())
}

fn run(directory: &OsString, program: &OsString, arguments: Vec<OsString>) -> Result<u8, String> {
    if !fs::metadata(directory).is_ok_and(|found| found.is_dir()) {
        return Err(format!("there is no working directory {}", directory.display()));
    }
    let child = start_program(directory, program, arguments)?;
    loop {
        // Orphans become children of the first process; unreaped they would fill the process limit.
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => {
                return Ok(u8::try_from(code).unwrap_or(u8::MAX));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                return Ok(128_u8.saturating_add(u8::try_from(signal as i32).unwrap_or(0)));
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(format!("lost the program: {error}")),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "starting the step's program is what this is for")]
fn start_program(
    directory: &OsString,
    program: &OsString,
    arguments: Vec<OsString>,
) -> Result<Pid, String> {
    // Cleared and given again: that sorts the environment, whose order programs can see.
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(env::vars_os()).current_dir(directory);
    let child =
        command.spawn().map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    i32::try_from(child.id()).map(Pid::from_raw).map_err(|error| error.to_string())
}
