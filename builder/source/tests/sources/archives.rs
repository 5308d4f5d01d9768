//! Trees as archives, and Debian tarballs as trees.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use flate2::{Compression, write::GzEncoder};
use kdistro_source::{SourceFile, SourcePackage, import::ImportError, tree::TreeError};
use kdistro_verify::hash::sha256;

use crate::world::{World, chain, commit_id, silent, tag};

#[test]
fn an_archive_is_canonical_whatever_the_tree_says() {
    let world = World::new();
    let long = format!("{}/{}.txt", "folder".repeat(20), "name".repeat(30));
    let files = [
        (".gitattributes", "hidden export-ignore\n*.txt text eol=crlf export-subst\n"),
        ("hidden", "h"),
        ("a/b.txt", "one\ntwo $Format:%H$\n"),
        ("a.txt", "x"),
        ("run.sh", "#!/bin/sh\n"),
        (long.as_str(), "deep"),
    ];
    let upstream = world.path("upstream");
    symlink("a/b.txt", upstream.join("link")).unwrap();
    fs::write(upstream.join("run.sh"), "").unwrap();
    fs::set_permissions(upstream.join("run.sh"), fs::Permissions::from_mode(0o775)).unwrap();
    world.commit("first", &files);
    let (mirror, found) = world.release("v1");
    let mut archive = Vec::new();
    mirror.tree_archive(&found.tree, &mut archive).unwrap();
    let mut listed = Vec::new();
    let mut reader = tar::Archive::new(&archive[..]);
    for entry in reader.entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header().clone();
        assert_eq!(
            (header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap()),
            (0, 0, 0)
        );
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        listed.push((path, header.mode().unwrap(), text));
    }
    let mut expected: Vec<_> = files
        .iter()
        .map(|(name, text)| {
            let mode = if *name == "run.sh" { 0o755 } else { 0o644 };
            ((*name).to_owned(), mode, (*text).to_owned())
        })
        .collect();
    expected.push(("link".to_owned(), 0o777, String::new()));
    expected.sort();
    assert_eq!(listed, expected);
    let read = |path| mirror.read_file(&found.tree, path).unwrap();
    assert_eq!(read("a/b.txt").unwrap(), b"one\ntwo $Format:%H$\n");
    assert_eq!((read("a"), read("link"), read("none")), (None, None, None));
    let lines: String = [("100644", ".gitattributes", files[0].1), ("100644", "a.txt", "x")]
        .map(|(mode, name, text)| format!("{mode} {}\t{name}\0", sha256(text.as_bytes()).hex()))
        .concat();
    world.git(&["rm", "--quiet", "-r", "hidden", "a", "run.sh", &long, "link"]);
    world.commit("fewer", &[]);
    let (_, fewer) = world.release("v2");
    assert_eq!(mirror.content_digest(&fewer.tree).unwrap(), sha256(lines.as_bytes()));
}

#[test]
fn a_submodule_is_refused_by_name() {
    let world = World::new();
    let first = world.commit("first", &[("a", "1")]);
    let entry = format!("160000,{first},third_party/lib");
    world.git(&["update-index", "--add", "--cacheinfo", &entry]);
    world.git(&["commit", "--quiet", "-m", "submodule"]);
    let (mirror, found) = world.release("v1");
    let error = mirror.tree_archive(&found.tree, Vec::new()).unwrap_err();
    assert!(matches!(error, TreeError::Submodule { .. }));
    assert!(chain(&error).contains("third_party/lib"));
}

/// An entry of a tarball to make: path, kind, mode, content or link target.
type Entry<'a> = (&'a str, tar::EntryType, u32, &'a str);

fn tarball(file: &Path, entries: &[Entry<'_>]) -> SourceFile {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (number, (path, kind, mode, content)) in (0..).zip(entries) {
        let mut header = tar::Header::new_gnu();
        // `set_path` would refuse what the reader must refuse.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_mtime(1_700_000_000 + number);
        let is_link = kind.is_symlink() || kind.is_hard_link();
        header.set_size(if is_link { 0 } else { content.len() as u64 });
        if is_link {
            header.set_link_name_literal(content).unwrap();
        }
        header.set_cksum();
        builder.append(&header, if is_link { &b""[..] } else { content.as_bytes() }).unwrap();
    }
    let bytes = builder.into_inner().unwrap().finish().unwrap();
    File::create(file).unwrap().write_all(&bytes).unwrap();
    SourceFile {
        name: file.file_name().unwrap().to_string_lossy().into_owned(),
        digest: sha256(&bytes),
        size: bytes.len() as u64,
        file: file.to_path_buf(),
    }
}

fn package(files: Vec<SourceFile>) -> SourcePackage {
    SourcePackage { package: "thing".to_owned(), version: "1-2".to_owned(), files }
}

#[test]
fn a_debian_tarball_becomes_the_same_commit_everywhere() {
    use tar::EntryType as Type;
    let world = World::new();
    let main = tarball(
        &world.path("thing_1.orig.tar.gz"),
        &[
            ("thing-1/", Type::Directory, 0o755, ""),
            ("thing-1/run", Type::Regular, 0o755, "run"),
            ("thing-1/read", Type::Regular, 0o644, "old"),
            ("thing-1/read", Type::Regular, 0o600, "read"),
            ("thing-1/link", Type::Symlink, 0o777, "../elsewhere"),
            ("thing-1/hard", Type::Link, 0o755, "thing-1/run"),
            ("thing-1/web/gone", Type::Regular, 0o644, "replaced by the component"),
        ],
    );
    let web = tarball(
        &world.path("thing_1.orig-web.tar.gz"),
        &[("./a", Type::Regular, 0o644, "a"), ("./b", Type::Regular, 0o644, "b")],
    );
    let debian = tarball(
        &world.path("thing_1-2.debian.tar.gz"),
        &[("debian/patches/series", Type::Regular, 0o644, "x")],
    );
    let package = package(vec![debian, web, main]);
    let (mirror, name) = (world.mirror(), tag("v1"));
    let found = mirror.import_debian(&name, &package, None, &silent).unwrap();
    let list = world.git_in(
        mirror.directory(),
        &["ls-tree", "-r", "--format=%(objectmode) %(path)", found.commit.as_str()],
    );
    assert_eq!(
        list,
        "100755 hard\n120000 link\n100644 read\n100755 run\n100644 web/a\n100644 web/b"
    );
    assert_eq!(mirror.read_file(&found.tree, "read").unwrap().unwrap(), b"read");
    assert_eq!(found.commit_time, 1_700_000_006);
    // The id is a promise: another one would break every lock.
    assert_eq!(found.commit.as_str(), "2b4cc84afdd2a1564b89b0cbf6e2651226c18f8f");
    assert_eq!(mirror.import_debian(&name, &package, Some(&found.commit), &silent).unwrap(), found);
    let other = commit_id(&"2".repeat(40));
    let text = chain(&mirror.import_debian(&name, &package, Some(&other), &silent).unwrap_err());
    assert!(text.contains(found.commit.as_str()) && text.contains(other.as_str()), "{text}");
}

#[test]
fn hostile_tarballs_are_refused_and_name_the_path() {
    use tar::EntryType as Type;
    let world = World::new();
    let cases: [Entry<'_>; 5] = [
        ("/etc/passwd", Type::Regular, 0o644, "x"),
        ("a/../../b", Type::Regular, 0o644, "x"),
        ("a/.git/config", Type::Regular, 0o644, "x"),
        ("a/device", Type::Block, 0o644, ""),
        ("a/hard", Type::Link, 0o644, "not/there"),
    ];
    for case in cases {
        let file = tarball(&world.path("thing_1.orig.tar.gz"), &[case]);
        let error = world.mirror().import_debian(&tag("v1"), &package(vec![file]), None, &silent);
        let text = chain(&error.unwrap_err());
        assert!(text.contains(case.0), "{text}");
        assert_eq!(world.mirror().tag(&tag("v1")).unwrap(), None);
    }
}

#[test]
fn a_changed_or_short_tarball_is_refused_and_a_good_one_then_works() {
    let world = World::new();
    let path = world.path("thing_1.orig.tar.gz");
    let file = tarball(&path, &[("a", tar::EntryType::Regular, 0o644, &"text ".repeat(5000))]);
    let good = fs::read(&path).unwrap();
    let import = |package| world.mirror().import_debian(&tag("v1"), &package, None, &silent);
    let mut changed = good.clone();
    changed[20] ^= 1;
    fs::write(&path, &changed).unwrap();
    let error = import(package(vec![file.clone()])).unwrap_err();
    assert!(matches!(error, ImportError::Digest { .. }), "{error}");
    assert!(chain(&error).contains(&file.digest.to_string()));
    // Cut off, with a digest that says so: the stream itself must notice.
    fs::write(&path, &good[..good.len() - 20]).unwrap();
    let cut = SourceFile { digest: sha256(&good[..good.len() - 20]), ..file.clone() };
    assert!(matches!(import(package(vec![cut])), Err(ImportError::Read { .. })));
    assert_eq!(world.mirror().tag(&tag("v1")).unwrap(), None);
    fs::write(&path, &good).unwrap();
    import(package(vec![file])).unwrap();
    let none = import(package(vec![]));
    assert!(matches!(none, Err(ImportError::NoUpstream { .. })));
}
