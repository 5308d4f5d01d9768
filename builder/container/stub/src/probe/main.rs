//! A hostile program for the build container: tries to get out, or to use up the host, and reports how far it came.
//!
//! Refuses to run anywhere else. Even where nothing stops it, each attack ends by itself before it does harm.

mod attack;
mod attempts;

use std::io::{self, Write};
use std::process::ExitCode;
use std::{env, fs};

use nix::unistd::gethostname;

/// More processes than this, and the process list is a host's.
const FEW_PROCESSES: usize = 16;

fn main() -> ExitCode {
    let outcome = surroundings().and_then(|()| act(&env::args().skip(1).collect::<Vec<_>>()));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            let _ = writeln!(io::stderr(), "kdistro-container-probe: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Refuses to go on unless everything says that this is a build container.
fn surroundings() -> Result<(), String> {
    let name = gethostname().map_err(|error| error.to_string())?;
    if name != "kdistro" {
        return Err(format!(
            "runs only inside a build container, and this host is called {}",
            name.display()
        ));
    }
    if !fs::exists("/.kdistro-stub").unwrap_or(false) {
        return Err("runs only inside a build container, and there is no /.kdistro-stub".to_owned());
    }
    let first = fs::read_to_string("/proc/1/comm").unwrap_or_default();
    let count = attempts::processes().len();
    if first.trim() != ".kdistro-stub" || count > FEW_PROCESSES {
        return Err(format!(
            "runs only inside a build container, and here are {count} processes, the first called {}",
            first.trim()
        ));
    }
    Ok(())
}

fn act(arguments: &[String]) -> Result<(), String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["attempts", key_file, port, socket, process] => {
            attempts::all(&attempts::Host { key_file, port, socket, process })
        }
        ["fork"] => attack::fork(),
        ["disk"] => attack::disk(),
        ["files"] => attack::files(),
        ["hidden-disk"] => attack::hidden_disk(),
        ["memory"] => attack::memory(),
        ["log"] => attack::log(),
        ["forever", ..] => attack::forever(),
        ["outlive", mark] => attack::outlive(mark),
        ["link"] => attack::link(),
        ["set-user-id"] => attack::set_user_id(),
        ["pipe"] => attack::pipe(),
        ["nothing"] => Ok(()),
        _ => Err(format!("does not know {words:?}")),
    }
}
