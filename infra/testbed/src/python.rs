//! The servers and programs that are written in Python, in one virtual environment for all tests of a build.

use std::{
    ffi::OsStr,
    fs::{self, File},
    path::{Path, PathBuf},
};

use crate::{TestbedError, host};

/// What is installed, with the version of each.
const REQUIREMENTS: &str = include_str!("../requirements.txt");

/// Returns the path of a program of the virtual environment, such as `aws`, `cfn-lint` or `python`.
///
/// `requirements.txt` lists what is installed; that happens at the first call, and again when the list changes.
pub fn tool(name: &str) -> Result<PathBuf, TestbedError> {
    Ok(environment(&host::cache())?.join("bin").join(name))
}

/// Makes the virtual environment in `cache` unless it is there.
fn environment(cache: &Path) -> Result<PathBuf, TestbedError> {
    fs::create_dir_all(cache).map_err(TestbedError::io("make", cache))?;
    let lock = cache.join("testbed-python.lock");
    let locked = File::create(&lock).and_then(|file| file.lock().map(|()| file));
    let _locked = locked.map_err(TestbedError::io("lock", &lock))?;
    let folder = cache.join("testbed-python");
    // Written last: it says that all of it is installed.
    let done = folder.join("requirements.txt");
    if fs::read(&done).is_ok_and(|installed| installed == REQUIREMENTS.as_bytes()) {
        return Ok(folder);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(TestbedError::io("remove", &folder))?;
    }
    install(&folder)?;
    fs::write(&done, REQUIREMENTS).map_err(TestbedError::io("write", &done))?;
    Ok(folder)
}

fn install(folder: &Path) -> Result<(), TestbedError> {
    host::require(&["python3", "setpriv"])?;
    run("python3", &[OsStr::new("-m"), OsStr::new("venv"), folder.as_os_str()])?;
    let wanted = folder.join("wanted.txt");
    fs::write(&wanted, REQUIREMENTS).map_err(TestbedError::io("write", &wanted))?;
    let options = ["install", "--quiet", "--disable-pip-version-check", "--no-input", "-r"];
    let options = options.iter().map(OsStr::new).chain([wanted.as_os_str()]);
    run(folder.join("bin/pip"), &options.collect::<Vec<_>>())
}

fn run(program: impl AsRef<Path>, arguments: &[&OsStr]) -> Result<(), TestbedError> {
    let program = program.as_ref();
    // Whoever is next must not meet one that works on: it dies with the thread that waits for it here.
    let mut command = host::command("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(arguments);
    let output = command.output().map_err(TestbedError::io("start", program))?;
    if output.status.success() {
        return Ok(());
    }
    Err(TestbedError::Preparation {
        action: "install what infra/testbed/requirements.txt lists".to_owned(),
        program: program.display().to_string(),
        said: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
