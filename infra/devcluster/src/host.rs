//! What this machine is and has: the one place where processes begin.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::DevclusterError;

/// Releases name platforms as Go does.
pub(crate) const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

/// A program that is to be started.
#[expect(clippy::disallowed_methods, reason = "a cluster is processes")]
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

/// Runs a program to its end; returns what it wrote.
pub(crate) fn run(command: &mut Command) -> Result<Vec<u8>, DevclusterError> {
    let program = said(command);
    let output = command.output().map_err(DevclusterError::io("start", command.get_program()))?;
    let Output { status, stdout, stderr } = output;
    if status.success() {
        return Ok(stdout);
    }
    let said = String::from_utf8_lossy(&stderr).trim_end().to_owned();
    Err(DevclusterError::Program { program, said })
}

/// A command as one would type it.
fn said(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[expect(clippy::disallowed_methods, reason = "programs and folders are where the user has them")]
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// Where programs are found; those of the system's administrator too, whoever asks.
pub(crate) fn path() -> OsString {
    let mut path = variable("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}

/// Finds a program.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    env::split_paths(&path()).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Where clusters lie when nobody says otherwise.
pub fn home() -> PathBuf {
    let cache = variable("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || Path::new(&variable("HOME").unwrap_or_default()).join(".cache");
    cache.unwrap_or_else(home).join("kdistro/devcluster")
}

/// Whether this is root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
