//! What this machine is and has: the one place where processes begin.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use rustix::thread::{CapabilitySet, capabilities};

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

/// What is needed of root to make namespaces and their networks; without it root is as anybody else.
const OF_ROOT: CapabilitySet = CapabilitySet::SYS_ADMIN.union(CapabilitySet::NET_ADMIN);

/// What containers are given, which only who has it can do.
///
/// Source: containerd, `oci/spec.go`, `defaultUnixCaps`.
const OF_CONTAINERS: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// Whether this is root, who can make namespaces and networks: in a container root may be unable to.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root() && (OF_ROOT - effective()).is_empty()
}

/// The capabilities that containers need and this process has not, by name.
pub(crate) fn lacking_for_containers() -> Vec<String> {
    let lacking = OF_ROOT.union(OF_CONTAINERS) - effective();
    lacking.iter_names().map(|(name, _)| format!("CAP_{name}")).collect()
}

fn effective() -> CapabilitySet {
    // A kernel that cannot say it has none to speak of.
    capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective)
}
