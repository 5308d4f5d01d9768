//! Real Debian packages, judged by dpkg-deb, GNU tar, diff and dpkg-query.
//!
//! Fetches with `apt-get download` into a temporary folder, which needs the host's package lists but no root.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "tests run the real programs as judges")]

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use kdistro_assemble::{
    Entry, EntryPath, deb,
    root::{Concatenation, RootError, RootPlan, RootRecipe},
    tar::TarWriter,
};

/// Small packages with what is difficult: hard links, merged directories, setuid programs, names that are not ASCII.
const PACKAGES: [&str; 7] =
    ["base-files", "libc6", "perl-base", "gzip", "mount", "ca-certificates", "libgcc-s1"];

fn run(program: &str, arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{errors}{text}", output.status);
    text
}

/// Fetches the packages and returns their files, sorted.
fn fetch(folder: &Path) -> Vec<PathBuf> {
    run("apt-get", &[&["download"], &PACKAGES[..]].concat(), folder);
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    files.sort();
    assert_eq!(files.len(), PACKAGES.len(), "{files:?}");
    files
}

/// Makes the root of the packages in the given order as a tar archive.
fn root(files: &[PathBuf], recipe: &RootRecipe, folder: &Path) -> Vec<u8> {
    let debs: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let debs: Vec<&[u8]> = debs.iter().map(Vec::as_slice).collect();
    let mut options = File::options();
    let spool = options.read(true).write(true).create(true).truncate(true);
    let spool = spool.open(folder.join("spool")).unwrap();
    let mut plan = RootPlan::read(&debs, recipe, spool).unwrap();
    let mut writer = TarWriter::new(Vec::new(), 0);
    plan.visit::<RootError>(&mut |entry| {
        writer.append(entry).unwrap();
        Ok(())
    })
    .unwrap();
    writer.finish().unwrap()
}

/// Lists kind, name and link target of everything below a folder.
fn tree(folder: &Path) -> String {
    let found = run("find", &[".", "-mindepth", "1", "-printf", "%P %y %l\\n"], folder);
    let mut lines: Vec<&str> = found.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// Unpacks packages as dpkg would on a system with merged directories.
fn unpack_as_dpkg(files: &[PathBuf], folder: &Path) {
    for alias in ["bin", "lib", "lib64", "sbin"] {
        fs::create_dir_all(folder.join("usr").join(alias)).unwrap();
        std::os::unix::fs::symlink(format!("usr/{alias}"), folder.join(alias)).unwrap();
    }
    for file in files {
        let script = "dpkg-deb --fsys-tarfile \"$1\" | tar --extract --preserve-permissions --keep-directory-symlink";
        run("sh", &["-c", script, "sh", file.to_str().unwrap()], folder);
    }
}

#[test]
fn a_root_is_what_dpkg_would_unpack() {
    let folder = tempfile::tempdir().unwrap();
    let files = fetch(folder.path());
    let recipe = RootRecipe { usrmerge: true, ..RootRecipe::default() };
    let archive = root(&files, &recipe, folder.path());
    let mut backwards = files.clone();
    backwards.reverse();
    assert!(
        archive == root(&backwards, &recipe, folder.path()),
        "the order of the packages matters"
    );

    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    fs::create_dir(&ours).unwrap();
    fs::create_dir(&theirs).unwrap();
    fs::write(folder.path().join("root.tar"), archive).unwrap();
    run("tar", &["--extract", "--no-same-owner", "--file=../root.tar"], &ours);
    unpack_as_dpkg(&files, &theirs);

    let status = run(
        "dpkg-query",
        &["--admindir=var/lib/dpkg", "-W", "-f=${Package} ${db:Status-Abbrev}\n"],
        &ours,
    );
    let mut names = PACKAGES.map(|name| format!("{name} ii ")).to_vec();
    names.sort();
    assert_eq!(status.lines().collect::<Vec<_>>(), names);
    let second = run("find", &["usr/bin", "-samefile", "usr/bin/perl"], &ours);
    assert_eq!(second.lines().count(), 2, "perl is no hard link any more: {second}");
    assert_eq!(run("find", &[".", "-perm", "/6000"], &ours), "", "a setuid bit is left");
    assert_ne!(run("find", &[".", "-perm", "/6000"], &theirs), "", "no package had a setuid bit");

    let programs =
        |folder: &Path| run("sh", &["-c", "find . -type f -perm /111 | LC_ALL=C sort"], folder);
    assert!(programs(&ours).lines().count() > 20);
    assert_eq!(programs(&ours), programs(&theirs));
    let others = ["-type", "f", "!", "-perm", "0644", "!", "-perm", "0755"];
    assert_eq!(run("find", &[&["."], &others[..]].concat(), &ours), "", "another mode is left");

    fs::remove_file(ours.join("var/lib/dpkg/status")).unwrap();
    assert_eq!(tree(&ours), tree(&theirs));
    run("diff", &["--recursive", "--no-dereference", "--brief", "ours", "theirs"], folder.path());
}

#[test]
fn the_bundle_of_certificates_is_what_openssl_reads() {
    let folder = tempfile::tempdir().unwrap();
    let files = fetch(folder.path());
    let path = |text: &str| EntryPath::new(text).unwrap();
    let bundle = Concatenation {
        path: path("etc/ssl/certs/ca-certificates.crt"),
        folder: path("usr/share/ca-certificates"),
        suffix: ".crt".to_owned(),
    };
    let recipe =
        RootRecipe { usrmerge: true, concatenations: vec![bundle], ..RootRecipe::default() };
    fs::write(folder.path().join("root.tar"), root(&files, &recipe, folder.path())).unwrap();
    run("tar", &["--extract", "--no-same-owner", "--file=root.tar"], folder.path());
    let script = "openssl storeutl -noout -certs etc/ssl/certs/ca-certificates.crt | tail -n 1; \
                  find usr/share/ca-certificates -name '*.crt' | wc -l";
    let counted = run("sh", &["-c", script], folder.path());
    let (found, parts) = counted.trim().split_once('\n').unwrap();
    assert!(parts.parse::<u32>().unwrap() > 100, "{parts}");
    assert_eq!(found, format!("Total found: {parts}"));
}

#[test]
fn control_files_are_what_dpkg_deb_shows() {
    let folder = tempfile::tempdir().unwrap();
    for file in fetch(folder.path()) {
        let bytes = fs::read(&file).unwrap();
        let file = file.to_str().unwrap();
        let control = deb::control(&bytes).unwrap();
        for (name, value) in [
            ("Package", control.package.as_str()),
            ("Version", &control.version),
            ("Architecture", &control.architecture),
            ("Maintainer", control.field("Maintainer").unwrap()),
        ] {
            assert_eq!(run("dpkg-deb", &["--field", file, name], folder.path()).trim_end(), value);
        }
        let listed = run(
            "sh",
            &["-c", "dpkg-deb --ctrl-tarfile \"$1\" | tar --list", "sh", file],
            folder.path(),
        );
        let scripts = deb::maintainer_scripts(&bytes).unwrap();
        for script in ["config", "postinst", "postrm", "preinst", "prerm"] {
            let is_there = listed.lines().any(|line| line == format!("./{script}"));
            assert_eq!(scripts.iter().any(|name| name == script), is_there, "{file}: {script}");
        }
    }
}

#[test]
fn packages_are_read_whatever_their_compression() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("p");
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    fs::create_dir_all(tree.join("usr/bin")).unwrap();
    fs::write(tree.join("usr/bin/p"), vec![b'x'; 300_000]).unwrap();
    let control = "Package: p\nVersion: 1\nArchitecture: all\nMaintainer: n <n@example.org>\nDescription: d\n";
    fs::write(tree.join("DEBIAN/control"), control).unwrap();
    for compression in ["none", "gzip", "xz", "zstd"] {
        // dpkg packs the control archive the same way.
        let option = format!("-Z{compression}");
        run("dpkg-deb", &["--build", "--root-owner-group", &option, "p", "p.deb"], folder.path());
        let bytes = fs::read(folder.path().join("p.deb")).unwrap();
        let mut names = Vec::new();
        deb::read_deb(&bytes, &mut |entry: Entry<'_>| -> Result<(), deb::DebError> {
            names.push(entry.path.to_string());
            Ok(())
        })
        .unwrap();
        assert_eq!(names, ["usr", "usr/bin", "usr/bin/p"], "{compression}");
        assert_eq!(deb::control(&bytes).unwrap().package, "p");
    }
}
