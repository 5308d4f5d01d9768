//! What this machine has: programs, and a folder that outlasts a test.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Command,
};

use crate::TestbedError;

/// The Debian package that has a program.
const PACKAGES: [(&str, &str); 5] = [
    ("docker-registry", "docker-registry"),
    ("git", "git"),
    ("openssl", "openssl"),
    ("python3", "python3-venv"),
    ("setpriv", "util-linux"),
];

/// A program that is to be started.
#[expect(clippy::disallowed_methods, reason = "tests and trials start real servers")]
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

#[expect(clippy::disallowed_methods, reason = "programs and caches are where the user has them")]
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name)
}

/// Where programs are found.
pub(crate) fn path() -> OsString {
    variable("PATH").unwrap_or_default()
}

/// Finds programs, or says which package has the one that is missing.
pub(crate) fn require(programs: &[&'static str]) -> Result<(), TestbedError> {
    let path = path();
    for program in programs {
        if env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
            continue;
        }
        let package = PACKAGES.iter().find(|(name, _)| name == program);
        let package = package.map_or(*program, |(_, package)| package);
        return Err(TestbedError::Missing { program, package });
    }
    Ok(())
}

/// The folder for what is installed once: beside what cargo builds, when this program lies there, else the user's
/// cache.
pub(crate) fn cache() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    // Source: Cargo writes the tag into its build folder, and gives tests the folder `tmp` in it.
    let target = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    if let Some(target) = target {
        return target.join("tmp");
    }
    let cache = variable("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || Path::new(&variable("HOME").unwrap_or_default()).join(".cache");
    cache.unwrap_or_else(home).join("kdistro")
}
