//! Other people's programs, fetched or built into temporary folders. Where one cannot be had, that is said.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::run::{self, must, path, program, run, with};

/// Folder of the judges that were written for these tests.
pub(crate) fn judges() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judges")
}

/// True when a program with this name is installed.
pub(crate) fn is_installed(name: &str) -> bool {
    run(with("sh", ["-c", "command -v \"$1\"", "sh", name]).env("PATH", path())).code == 0
}

/// Unpacks cosign from Debian's unstable suite without installing it.
///
/// # Errors
///
/// Why it cannot be had.
pub(crate) fn cosign(folder: &Path) -> Result<PathBuf, String> {
    let sources = "/etc/apt/sources.list.d/debian.sources";
    let host = fs::read_to_string(sources).map_err(|error| format!("{sources}: {error}"))?;
    for name in ["lists/partial", "cache/archives/partial", "sources", "packages"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    let archive = host.split("\n\n").next().unwrap_or_default();
    let unstable = archive.lines().map(|line| match line.split_once(':') {
        Some(("Suites", _)) => "Suites: sid\n".to_owned(),
        _ => format!("{line}\n"),
    });
    fs::write(folder.join("sources/sid.sources"), unstable.collect::<String>()).unwrap();
    fs::write(folder.join("status"), "").unwrap();
    let at = |name: &str| folder.join(name).display().to_string();
    let settings = format!(
        "Dir::State::Lists \"{}\";\nDir::Cache \"{}\";\nDir::State::status \"{}\";\nDir::Etc::SourceList \"/dev/null\";\nDir::Etc::SourceParts \"{}\";\nAPT::Sandbox::User \"\";\nAcquire::Languages \"none\";\n",
        at("lists"),
        at("cache"),
        at("status"),
        at("sources")
    );
    fs::write(folder.join("apt.conf"), settings).unwrap();
    let packages = folder.join("packages");
    for arguments in [&["update", "-qq"][..], &["download", "-qq", "cosign"]] {
        let mut apt = with("apt-get", arguments);
        apt.current_dir(&packages).env("APT_CONFIG", folder.join("apt.conf"));
        let ran = run(&mut apt);
        if ran.code != 0 {
            return Err(ran.err);
        }
    }
    let root = folder.join("root");
    for package in fs::read_dir(&packages).unwrap() {
        must(with("dpkg-deb", ["--extract"]).arg(package.unwrap().path()).arg(&root));
    }
    Ok(root.join("usr/bin/cosign"))
}

/// Installs sigstore-js into a folder; returns the script that asks it.
///
/// # Errors
///
/// Why it cannot be had.
pub(crate) fn sigstore_js(folder: &Path) -> Result<PathBuf, String> {
    if !is_installed("npm") {
        return Err("npm is not installed".to_owned());
    }
    for name in ["package.json", "verify.cjs"] {
        fs::copy(judges().join(name), folder.join(name)).unwrap();
    }
    let install = ["install", "--no-fund", "--no-audit", "--no-package-lock", "--ignore-scripts"];
    let ran = run(with("npm", install).current_dir(folder));
    if ran.code == 0 { Ok(folder.join("verify.cjs")) } else { Err(ran.err) }
}

/// Builds Tessera's fsck with the toolchain that built the release.
///
/// # Errors
///
/// Why it cannot be had.
pub(crate) fn tessera_fsck(folder: &Path, toolchain: &Path) -> Result<PathBuf, String> {
    let built = folder.join("fsck");
    let mut build = go(toolchain, folder);
    let arguments = ["build", "-mod=readonly", "-modcacherw", "-o"];
    build.args(arguments).arg(&built).arg(".").current_dir(judges().join("fsck"));
    let ran = run(&mut build);
    if ran.code == 0 { Ok(built) } else { Err(ran.err) }
}

/// A toolchain's `go` with caches in a folder and the host's module proxy.
fn go(toolchain: &Path, folder: &Path) -> Command {
    let mut command = program(toolchain.join("bin/go"));
    command.env_remove("GOROOT").env("GOTOOLCHAIN", "local").env("GOFLAGS", "");
    command.env("GOCACHE", folder.join("cache")).env("GOMODCACHE", folder.join("modules"));
    command.envs(run::go_settings().iter().map(|(name, value)| (name, value)));
    command
}
