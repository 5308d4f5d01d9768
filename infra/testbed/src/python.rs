//! Servers and programs that are written in Python, in virtual environments for all tests of a build.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{TestbedError, host};

/// What is installed for the servers and their clients, with the version of each.
const REQUIREMENTS: &str = include_str!("../requirements.txt");

/// Returns the path of a program of the servers' virtual environment, such as `aws`, `cfn-lint` or `python`.
///
/// `requirements.txt` lists what is installed; that happens at the first call, and again when the list changes.
pub fn tool(name: &str) -> Result<PathBuf, TestbedError> {
    tool_of("testbed-python", REQUIREMENTS, name)
}

/// Returns the path of a program of a virtual environment of its own, which has what `requirements` lists.
///
/// `environment` names it among all of this build; it is made as that of [`tool`] is.
pub fn tool_of(environment: &str, requirements: &str, name: &str) -> Result<PathBuf, TestbedError> {
    Ok(made(&host::cache(), environment, requirements)?.join("bin").join(name))
}

/// Makes a virtual environment in `cache` unless it is there.
fn made(cache: &Path, environment: &str, requirements: &str) -> Result<PathBuf, TestbedError> {
    fs::create_dir_all(cache).map_err(TestbedError::io("make", cache))?;
    let _locked = host::lock(&cache.join(format!("{environment}.lock")))?;
    let folder = cache.join(environment);
    // Written last: it says that all of it is installed.
    let done = folder.join("requirements.txt");
    if fs::read(&done).is_ok_and(|installed| installed == requirements.as_bytes()) {
        return Ok(folder);
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(TestbedError::io("remove", &folder))?;
    }
    install(&folder, requirements)?;
    fs::write(&done, requirements).map_err(TestbedError::io("write", &done))?;
    Ok(folder)
}

fn install(folder: &Path, requirements: &str) -> Result<(), TestbedError> {
    host::require(&["python3", "setpriv"])?;
    run(host::bound("python3").args(["-m", "venv"]).arg(folder), "python3 -m venv", folder)?;
    let wanted = folder.join("wanted.txt");
    fs::write(&wanted, requirements).map_err(TestbedError::io("write", &wanted))?;
    let options = ["install", "--quiet", "--disable-pip-version-check", "--no-input", "-r"];
    let mut pip = host::bound(folder.join("bin/pip"));
    run(pip.args(options).arg(wanted), "pip install", folder)
}

fn run(command: &mut Command, program: &str, folder: &Path) -> Result<(), TestbedError> {
    host::prepare(command, |said| TestbedError::Preparation {
        action: format!("make the virtual environment {} of Python", folder.display()),
        program: program.to_owned(),
        said,
    })
}
