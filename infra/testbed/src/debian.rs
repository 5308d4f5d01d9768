//! Programs of Debian's packages, unpacked once for all tests of a build and not installed.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use crate::{TestbedError, host};

/// Where this machine's own packages come from.
const SOURCES: &str = "/etc/apt/sources.list.d/debian.sources";

/// Which of Debian's suites packages are taken from.
#[derive(Clone, Copy)]
enum Suite {
    /// Those that this machine's own packages come from.
    Own,
    /// The newest, for programs that no released one has.
    Unstable,
}

impl Suite {
    fn name(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Unstable => "unstable",
        }
    }

    /// The sources of apt, made of this machine's.
    fn sources(self, listed: &str) -> String {
        match self {
            Self::Own => listed.to_owned(),
            Self::Unstable => unstable(listed),
        }
    }
}

/// Returns the path of the program that the package of its name has, such as `cosign` or `oras`, in the unstable suite.
///
/// At the first call it is fetched, from the archive that this machine's own packages come from.
pub fn debian_program(name: &str) -> Result<PathBuf, TestbedError> {
    let root = bring(Suite::Unstable, &[name])?;
    let program = root.join("usr/bin").join(name);
    if program.is_file() {
        return Ok(program);
    }
    Err(failed(name, "dpkg-deb", format!("it has no usr/bin/{name}")))
}

/// Returns a folder with the files of packages of this machine's own suite, without what they depend on.
///
/// At the first call they are fetched.
pub fn debian_packages(names: &[&str]) -> Result<PathBuf, TestbedError> {
    bring(Suite::Own, names)
}

fn bring(suite: Suite, names: &[&str]) -> Result<PathBuf, TestbedError> {
    let folder = host::cache().join(format!("debian-{}", suite.name()));
    fs::create_dir_all(&folder).map_err(TestbedError::io("make", &folder))?;
    let _locked = host::lock(&folder.join("lock"))?;
    let root = folder.join("programs").join(names.join("+"));
    if !root.is_dir() {
        unpack((&folder, suite), names, &root)?;
    }
    Ok(root)
}

fn failed(name: &str, program: &str, said: String) -> TestbedError {
    let action = format!("unpack Debian's package {name}");
    TestbedError::Preparation { action, program: program.to_owned(), said }
}

/// Unpacks packages into `root`, which is there whole or not at all.
fn unpack(
    (folder, suite): (&Path, Suite),
    names: &[&str],
    root: &Path,
) -> Result<(), TestbedError> {
    host::require(&["apt-get", "dpkg-deb", "setpriv"])?;
    let (packages, new) = (folder.join("new-packages"), folder.join("new-root"));
    for left in [&packages, &new] {
        if left.exists() {
            fs::remove_dir_all(left).map_err(TestbedError::io("remove", left))?;
        }
    }
    for needed in ["lists/partial", "cache/archives/partial", "sources", "programs"] {
        let needed = folder.join(needed);
        fs::create_dir_all(&needed).map_err(TestbedError::io("make", &needed))?;
    }
    fs::create_dir(&packages).map_err(TestbedError::io("make", &packages))?;
    let (settings, name) = (settle(folder, suite)?, names.join(", "));
    let download = [&["download", "-qq"][..], names].concat();
    for arguments in [&["update", "-qq"][..], &download] {
        let mut apt = host::bound("apt-get");
        apt.args(arguments).current_dir(&packages).env("APT_CONFIG", &settings);
        host::prepare(&mut apt, |said| failed(&name, "apt-get", said))?;
    }
    let listed = fs::read_dir(&packages).map_err(TestbedError::io("list", &packages))?;
    for package in listed {
        let package = package.map_err(TestbedError::io("list", &packages))?.path();
        let mut unpack = host::bound("dpkg-deb");
        unpack.args([OsStr::new("--extract"), package.as_os_str(), new.as_os_str()]);
        host::prepare(&mut unpack, |said| failed(&name, "dpkg-deb", said))?;
    }
    fs::rename(&new, root).map_err(TestbedError::io("make", root))?;
    fs::remove_dir_all(&packages).map_err(TestbedError::io("remove", &packages))
}

/// Writes the settings by which apt has its state in `folder` and changes nothing of this machine's; returns the file.
///
/// Source: `apt.conf(5)`, `sources.list(5)`.
fn settle(folder: &Path, suite: Suite) -> Result<PathBuf, TestbedError> {
    let sources = fs::read_to_string(SOURCES).map_err(TestbedError::io("read", SOURCES))?;
    let at = |name: &str| folder.join(name).display().to_string();
    let settings = format!(
        "Dir::State::Lists \"{}\";\nDir::State::status \"{}\";\nDir::Cache \"{}\";\n\
         Dir::Etc::SourceList \"/dev/null\";\nDir::Etc::SourceParts \"{}\";\n\
         APT::Sandbox::User \"\";\nAcquire::Languages \"none\";\n",
        at("lists"),
        at("status"),
        at("cache"),
        at("sources"),
    );
    let list = format!("sources/{}.sources", suite.name());
    let files = [
        (list.as_str(), suite.sources(&sources)),
        ("status", String::new()),
        ("apt.conf", settings),
    ];
    for (name, text) in files {
        let path = folder.join(name);
        fs::write(&path, text).map_err(TestbedError::io("write", &path))?;
    }
    Ok(folder.join("apt.conf"))
}

/// The unstable suite of the first archive that is listed.
fn unstable(sources: &str) -> String {
    let archive = sources.split("\n\n").next().unwrap_or_default().lines();
    let lines = archive.map(|line| match line.split_once(':') {
        Some(("Suites", _)) => "Suites: sid\n".to_owned(),
        _ => format!("{line}\n"),
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unstable_suite_is_asked_of_the_same_archive_with_the_same_key() {
        let listed = "Types: deb\nURIs: https://deb.example/debian\nSuites: a a-updates\nSigned-By: /k\n\nTypes: deb\nSuites: b\n";
        let wanted = "Types: deb\nURIs: https://deb.example/debian\nSuites: sid\nSigned-By: /k\n";
        assert_eq!(unstable(listed), wanted);
    }
}
