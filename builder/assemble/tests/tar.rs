//! GNU tar and Python's tarfile agree with what is written, and what they write is read.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "tests run the real programs as judges")]

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use kdistro_assemble::{
    Entry, EntryKind, EntryPath,
    tar::{TarError, TarWriter, read_tar},
};
use kdistro_verify::hash::sha256;

const MTIME: u64 = 1_700_000_000;

fn path(text: impl Into<String>) -> EntryPath {
    EntryPath::new(text).unwrap()
}

/// An archive with every kind of entry, and names of every length that matters.
fn sample() -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new(), MTIME);
    let long = "n".repeat(90);
    let unsplittable = "u".repeat(200);
    let mut files: BTreeMap<String, (bool, &[u8])> = BTreeMap::new();
    files.insert("a-b".to_owned(), (false, b"hyphen sorts before slash"));
    files.insert("a/b".to_owned(), (true, b"#!/bin/sh\n"));
    files.insert("a/empty".to_owned(), (false, b""));
    files.insert(format!("p/{}", "x".repeat(98)), (false, b"exactly 100 bytes of path"));
    files.insert(format!("p/{}", "y".repeat(99)), (false, b"101 bytes: split at the slash"));
    files.insert(format!("{long}/{long}"), (true, b"split"));
    files.insert(format!("q/{unsplittable}"), (false, b"pax"));
    files.insert("z/F\u{151}tan\u{fa}s\u{ed}tv\u{e1}ny".to_owned(), (false, b"not ASCII"));
    let mut names: Vec<String> = files.keys().cloned().collect();
    let others = ["a", "a/z-link", "a/z-long", "b", "b-second", "tmp", "x"];
    names.extend(others.iter().map(|name| (*name).to_owned()));
    names.sort();
    for name in names {
        let at = path(name.clone());
        let result = match (name.as_str(), files.get(&name)) {
            (_, Some((executable, content))) => {
                writer.append(Entry::file(at, *executable, content.len() as u64, &mut &content[..]))
            }
            ("a" | "x", None) => writer.append(Entry::directory(at)),
            ("tmp", None) => writer.append(Entry::of(at, EntryKind::Directory { mode: 0o1777 })),
            ("a/z-link", None) => writer.append(Entry::symlink(at, "../b")),
            ("a/z-long", None) => {
                writer.append(Entry::symlink(at, format!("/{}", "t".repeat(150))))
            }
            ("b", None) => {
                let mut entry_content = &b"with a capability"[..];
                let mut entry = Entry::file(at, true, 17, &mut entry_content);
                let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
                entry.xattrs.insert("security.capability".to_owned(), capability);
                writer.append(entry)
            }
            (_, None) => writer.append(Entry::hardlink(at, path("b"))),
        };
        result.unwrap();
    }
    writer.finish().unwrap()
}

/// Kind, mode, time, size and link target of every entry, one a line, as `python3 -c LISTING` prints them too.
fn listing(archive: &[u8]) -> String {
    let mut lines = String::new();
    read_tar::<TarError>(archive, &mut |entry| {
        let line = match entry.kind {
            EntryKind::Directory { mode } => format!("5 {mode:o} 0 "),
            EntryKind::File { executable, size, content } => {
                let mut bytes = Vec::new();
                content.read_to_end(&mut bytes).unwrap();
                assert_eq!(bytes.len() as u64, size);
                format!("0 {} {size} ", if executable { "755" } else { "644" })
            }
            EntryKind::Symlink { target } => format!("2 777 0 {target}"),
            EntryKind::Hardlink { target } => format!("1 644 0 {target}"),
        };
        writeln!(lines, "{} {line}", entry.path).unwrap();
        Ok(())
    })
    .unwrap();
    lines
}

const LISTING: &str = "
import sys, tarfile
for m in tarfile.open(fileobj=sys.stdin.buffer, mode='r|'):
    if MTIME: assert (m.mtime, m.uid, m.gid, m.uname, m.gname) == (MTIME, 0, 0, '', ''), m.name
    print(m.name, m.type.decode(), '%o' % m.mode, m.size, m.linkname)
";

fn run(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .env("TZ", "UTC")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{program}: {}", output.status);
    output.stdout
}

#[test]
fn the_bytes_of_an_archive_never_change() {
    let archive = sample();
    assert_eq!(
        sha256(&archive).to_string(),
        "sha256:9de2f61984fc07822b6260789d379115a8a23df5d8b5633c1d0878d27f631ee3",
        "the canonical tar format changed: every published archive would"
    );
    assert_eq!(&archive[archive.len() - 1024..], [0; 1024]);
    assert_ne!(
        &archive[archive.len() - 1536..archive.len() - 1024],
        [0; 512],
        "padding after the end"
    );
}

#[test]
fn python_sees_the_same_entries() {
    let archive = sample();
    let script = LISTING.replace("MTIME", &MTIME.to_string());
    let seen = run("python3", &["-c", &script], &archive);
    assert_eq!(String::from_utf8(seen).unwrap(), listing(&archive));
}

#[test]
fn gnu_tar_sees_the_same_entries() {
    let archive = sample();
    let arguments =
        ["--list", "--verbose", "--numeric-owner", "--quoting-style=literal", "--full-time"];
    let seen =
        String::from_utf8(run("tar", &[&arguments[..], &["--file=-"]].concat(), &archive)).unwrap();
    assert!(seen.lines().all(|line| line.contains(" 0/0 ")), "{seen}");
    assert!(seen.lines().all(|line| line.contains(" 2023-11-14 22:13:20 ")), "{seen}");
    for part in ["drwxr-xr-x", "drwxrwxrwt", "-rwxr-xr-x", "a/z-link -> ../b", "b-second link to b"]
    {
        assert!(seen.contains(part), "{part} is missing in\n{seen}");
    }
    let names =
        String::from_utf8(run("tar", &["--list", "--quoting-style=literal", "--file=-"], &archive));
    let names = names.unwrap();
    let seen: Vec<&str> = names.lines().map(|name| name.trim_end_matches('/')).collect();
    let mut expected = Vec::new();
    read_tar::<TarError>(&archive[..], &mut |entry| {
        expected.push(entry.path.to_string());
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, expected);
}

#[test]
fn gnu_tar_restores_the_capability_record() {
    let seen =
        run("tar", &["--list", "-vv", "--xattrs", "--xattrs-include=*", "--file=-"], &sample());
    let seen = String::from_utf8(seen).unwrap();
    assert!(seen.contains("20 security.capability"), "{seen}");
}

/// Makes a small tree to pack.
fn tree(folder: &Path) {
    let deep = folder.join("d".repeat(90)).join("e".repeat(90));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("f".repeat(150)), b"long").unwrap();
    fs::write(folder.join("plain"), vec![7; 70_000]).unwrap();
    fs::hard_link(folder.join("plain"), folder.join("second")).unwrap();
    std::os::unix::fs::symlink("l".repeat(150), folder.join("link")).unwrap();
}

#[test]
fn archives_of_gnu_tar_are_read_as_python_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    tree(folder.path());
    let folder = folder.path().to_str().unwrap();
    for format in ["gnu", "pax", "ustar"] {
        let excluded =
            if format == "ustar" { ["--exclude=link", "--exclude=f*"] } else { ["--sort=name"; 2] };
        let format = format!("--format={format}");
        let arguments = ["--create", &format, "--mode=u+rwX,go=rX", "--directory", folder];
        let archive = run("tar", &[&arguments[..], &excluded, &["--file=-", "."]].concat(), b"");
        let seen = run("python3", &["-c", &LISTING.replace("MTIME", "0")], &archive);
        // --mode changes links too; their mode is the same everywhere and never restored.
        let seen =
            String::from_utf8(seen).unwrap().replace("./", "").replace(" 2 755 0 ", " 2 777 0 ");
        let expected: Vec<&str> = seen.lines().filter(|line| !line.starts_with(". ")).collect();
        let listed = listing(&archive);
        assert!(listed.lines().count() >= 4, "{format}: {listed}");
        assert_eq!(listed.lines().collect::<Vec<_>>(), expected, "{format}");
    }
}
