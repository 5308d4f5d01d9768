//! oras from Debian's unstable suite, unpacked once below cargo's own folder and not installed.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

/// Returns the program.
#[track_caller]
pub(crate) fn oras() -> PathBuf {
    let top = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let lock = File::create(top.join("oras.lock")).unwrap();
    lock.lock().unwrap();
    let folder = top.join("oras");
    let program = folder.join("root/usr/bin/oras");
    if program.is_file() {
        return program;
    }
    for name in ["lists/partial", "cache/archives/partial", "sources", "packages"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    let sources = "/etc/apt/sources.list.d/debian.sources";
    let host = fs::read_to_string(sources).unwrap_or_else(|error| {
        panic!("oras judges here, out of the archive that {sources} names: {error}")
    });
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
    for arguments in [&["update", "-qq"][..], &["download", "-qq", "oras"]] {
        let mut apt = Command::new("apt-get");
        apt.args(arguments).current_dir(folder.join("packages"));
        must(apt.env("APT_CONFIG", folder.join("apt.conf")));
    }
    for package in fs::read_dir(folder.join("packages")).unwrap() {
        let mut unpack = Command::new("dpkg-deb");
        must(unpack.arg("--extract").arg(package.unwrap().path()).arg(folder.join("root")));
    }
    assert!(
        program.is_file(),
        "the package oras of Debian's unstable suite has no {}",
        program.display()
    );
    program
}

#[track_caller]
fn must(command: &mut Command) {
    let ran = command.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "oras judges here and could not be had ({command:?}): {said}");
}
