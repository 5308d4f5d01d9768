//! Packages that break the rules.

use proptest::prelude::*;

use super::*;
use crate::{entry::EntryPath, gzip::gzip, tar::TarWriter};

const CONTROL: &str =
    "Package: p\nVersion: 1.0-1\nArchitecture: amd64\nDescription: short\n long\n";

/// Packs files as a tar archive.
fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new(), 0);
    for (name, content) in files {
        let path = EntryPath::new(*name).unwrap();
        let mut reader = content.as_bytes();
        writer.append(Entry::file(path, false, content.len() as u64, &mut reader)).unwrap();
    }
    writer.finish().unwrap()
}

/// Packs members as an ar archive.
fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in members {
        let header =
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, content.len());
        bytes.extend(header.as_bytes());
        bytes.extend(*content);
        if content.len() % 2 == 1 {
            bytes.push(b'\n');
        }
    }
    bytes
}

/// Makes a package of files, links (`-> target`) and second names (`== target`).
pub(crate) fn deb(name: &str, entries: &[(&str, &str)]) -> Vec<u8> {
    let mut sorted = entries.to_vec();
    sorted.sort_unstable();
    let mut writer = TarWriter::new(Vec::new(), 0);
    for (path, content) in sorted {
        let path = EntryPath::new(path).unwrap();
        let mut reader = content.as_bytes();
        let entry = if let Some(target) = content.strip_prefix("-> ") {
            Entry::symlink(path, target)
        } else if let Some(target) = content.strip_prefix("== ") {
            Entry::hardlink(path, EntryPath::new(target).unwrap())
        } else {
            Entry::file(path, false, content.len() as u64, &mut reader)
        };
        writer.append(entry).unwrap();
    }
    let control = format!("Package: {name}\nVersion: 1\nArchitecture: amd64\n");
    package(&control, &writer.finish().unwrap())
}

fn package(control: &str, data: &[u8]) -> Vec<u8> {
    let control =
        gzip(&tar(&[("control", control), ("postinst", "#!/bin/sh\n")])[..], Vec::new()).unwrap();
    ar(&[("debian-binary", b"2.0\n"), ("control.tar.gz", &control), ("data.tar", data)])
}

fn names(deb: &[u8]) -> Result<Vec<String>, DebError> {
    let mut names = Vec::new();
    read_deb(deb, &mut |entry: Entry<'_>| -> Result<(), DebError> {
        EntryPath::new(entry.path.as_str()).expect("an unsafe path came out");
        names.push(entry.path.to_string());
        Ok(())
    })?;
    Ok(names)
}

#[test]
fn a_package_is_read() {
    let deb = package(CONTROL, &tar(&[("usr/bin/p", "x")]));
    assert_eq!(names(&deb).unwrap(), ["usr/bin/p"]);
    let control = control(&deb).unwrap();
    assert_eq!((control.package.as_str(), control.version.as_str()), ("p", "1.0-1"));
    assert_eq!(control.field("description"), Some("short"));
    assert_eq!(control.field("Depends"), None);
    assert_eq!(maintainer_scripts(&deb).unwrap(), ["postinst"]);
    assert!(
        control.status().starts_with("Package: p\nStatus: install ok installed\nVersion: 1.0-1\n")
    );
}

#[test]
fn members_must_be_the_three_in_their_order() {
    let data = tar(&[]);
    for members in [
        &[("debian-binary", &b"2.0\n"[..]), ("data.tar", &data), ("control.tar", &data)][..],
        &[("control.tar", &data), ("data.tar", &data)],
        &[("debian-binary", b"3.0\n"), ("control.tar", &data), ("data.tar", &data)],
        &[
            ("debian-binary", b"2.0\n"),
            ("control.tar", &data),
            ("data.tar", &data),
            ("data.tar", &data),
        ],
    ] {
        let error = names(&ar(members)).unwrap_err().to_string();
        assert!(error.contains("expected debian-binary, control.tar.*, data.tar.*"), "{error}");
    }
    let signed = ar(&[
        ("debian-binary", b"2.0\n"),
        ("control.tar", &data),
        ("_gpgorigin", b"x"),
        ("data.tar", &data),
    ]);
    assert_eq!(names(&signed).unwrap().len(), 0);
}

#[test]
fn an_unknown_compression_is_named() {
    let data = tar(&[]);
    let deb = ar(&[("debian-binary", b"2.0\n"), ("control.tar", &data), ("data.tar.lzma", b"")]);
    assert!(
        names(&deb)
            .unwrap_err()
            .to_string()
            .starts_with("`data.tar.lzma` of the Debian package is not")
    );
}

#[test]
fn a_package_that_is_cut_short_is_refused() {
    let deb = package(CONTROL, &tar(&[("usr/bin/p", "x")]));
    for length in (0..deb.len() - 1).step_by(7) {
        assert!(names(&deb[..length]).is_err(), "accepted {length} of {} bytes", deb.len());
    }
}

#[test]
fn a_control_file_must_have_its_fields() {
    for (text, expected) in [
        ("Version: 1\nArchitecture: all\n", "it has no Package"),
        ("Package: p\nArchitecture: all\n", "it has no Version"),
        ("Package: p\nVersion: 1\nArchitecture: a b\n", "its Architecture is `a b`"),
        ("Package: p\nVersion: 1\nArchitecture: all\nPackage: q\n", "line 4 has `package` again"),
        ("Package: p\n\nPackage: q\n", "line 2 is not `Name: value`"),
        (" Package: p\n", "line 1 is not"),
    ] {
        let error = control(&package(text, &tar(&[]))).unwrap_err().to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic_or_lead_outside(
        bytes in prop::collection::vec(any::<u8>(), 0..800),
        text in "[A-Za-z: \n\t]{0,200}",
        suffix in prop::sample::select(vec!["", ".gz", ".xz", ".zst", ".x"]),
    ) {
        let _ = names(&bytes);
        let _ = names(&[b"!<arch>\n", &bytes[..]].concat());
        let data = format!("data.tar{suffix}");
        let _ = names(&ar(&[("debian-binary", b"2.0\n"), ("control.tar", b""), (&data, &bytes)]));
        let xz = [b"\xfd7zXZ\0", &bytes[..]].concat();
        let _ = names(&ar(&[("debian-binary", b"2.0\n"), ("control.tar", b""), ("data.tar.xz", &xz)]));
        let _ = control(&package(&text, &[]));
    }

    #[test]
    fn no_changed_byte_makes_the_reader_panic(position in 0..4096_usize, value in any::<u8>()) {
        let mut deb = package(CONTROL, &tar(&[("usr/bin/p", "x")]));
        let length = deb.len();
        deb[position % length] = value;
        let _ = names(&deb);
        let _ = control(&deb);
        let _ = maintainer_scripts(&deb);
    }
}
