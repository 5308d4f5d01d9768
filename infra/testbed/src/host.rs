//! What this machine has: programs, and a folder that outlasts a test.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

use crate::TestbedError;

/// The Debian package that has a program.
const PACKAGES: [(&str, &str); 8] = [
    ("apt-get", "apt"),
    ("dpkg-deb", "dpkg"),
    ("docker-registry", "docker-registry"),
    ("git", "git"),
    ("go", "golang-go"),
    ("openssl", "openssl"),
    ("python3", "python3-venv"),
    ("setpriv", "util-linux"),
];

/// A program that is to be started.
#[expect(clippy::disallowed_methods, reason = "tests and trials start real servers")]
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

/// A program that dies with the thread that waits for it: whoever is next must not meet one that works on.
pub(crate) fn bound(program: impl AsRef<OsStr>) -> Command {
    let mut command = command("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Runs a program that prepares something; `failed` makes an error of what it said.
pub(crate) fn prepare(
    command: &mut Command,
    failed: impl FnOnce(String) -> TestbedError,
) -> Result<(), TestbedError> {
    let program = command.get_program().to_owned();
    let output = command.output().map_err(TestbedError::io("start", program))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// Waits until nobody else has the lock that a file is.
pub(crate) fn lock(path: &Path) -> Result<File, TestbedError> {
    let locked = File::create(path).and_then(|file| file.lock().map(|()| file));
    locked.map_err(TestbedError::io("lock", path))
}

#[expect(clippy::disallowed_methods, reason = "programs and caches are where the user has them")]
pub(crate) fn variable(name: &str) -> Option<OsString> {
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

/// A program of this workspace, which cargo builds beside the one that asks.
pub(crate) fn sibling(name: &str) -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    let folder = program.parent().unwrap_or(Path::new(""));
    // Source: Cargo puts tests into the folder `deps` beside the programs.
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    folder.join(name)
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
