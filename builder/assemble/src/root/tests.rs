//! Roots of small packages made here.

use std::io::Cursor;

use kdistro_verify::hash::sha256;

use super::*;
use crate::{deb::tests::deb as package, entry::SHARED_DIRECTORY};

fn path(text: &str) -> EntryPath {
    EntryPath::new(text).unwrap()
}

fn merged() -> RootRecipe {
    RootRecipe { usrmerge: true, ..RootRecipe::default() }
}

/// Lists a root, one entry a line.
fn listing(debs: &[Vec<u8>], recipe: &RootRecipe) -> Result<Vec<String>, RootError> {
    let debs: Vec<&[u8]> = debs.iter().map(Vec::as_slice).collect();
    let mut plan = RootPlan::read(&debs, recipe, Cursor::new(Vec::new()))?;
    let mut lines = Vec::new();
    plan.visit::<RootError>(&mut |entry| {
        lines.push(match entry.kind {
            EntryKind::Directory { mode: SHARED_DIRECTORY } => format!("{}/ shared", entry.path),
            EntryKind::Directory { .. } => format!("{}/", entry.path),
            EntryKind::File { content, size, executable } => {
                let mut text = String::new();
                content.read_to_string(&mut text).unwrap();
                assert_eq!(text.len() as u64, size);
                format!(
                    "{}{} {}",
                    entry.path,
                    if executable { "*" } else { "" },
                    text.escape_debug()
                )
            }
            EntryKind::Symlink { target } => format!("{} -> {target}", entry.path),
            EntryKind::Hardlink { target } => format!("{} == {target}", entry.path),
        });
        Ok(())
    })?;
    Ok(lines.into_iter().filter(|line| !line.starts_with("var/")).collect())
}

fn text(content: &[u8]) -> DeclaredFile {
    DeclaredFile { content: content.to_vec(), executable: false }
}

#[test]
fn directories_move_below_usr_and_leave_links() {
    let debs = [package("a", &[("bin/sh", "x"), ("lib64/ld.so", "y"), ("usr/bin/env", "z")])];
    assert_eq!(
        listing(&debs, &merged()).unwrap(),
        [
            "bin -> usr/bin",
            "lib -> usr/lib",
            "lib64 -> usr/lib64",
            "sbin -> usr/sbin",
            "usr/",
            "usr/bin/",
            "usr/bin/env z",
            "usr/bin/sh x",
            "usr/lib/",
            "usr/lib64/",
            "usr/lib64/ld.so y",
            "usr/sbin/",
        ]
    );
}

#[test]
fn entries_come_in_bytewise_order_whatever_the_order_of_packages() {
    let first = package("a", &[("usr/a-b", "1"), ("usr/a/x", "2")]);
    let second = package("b", &[("usr/a.c", "3"), ("etc/x", "4")]);
    let one = listing(&[first.clone(), second.clone()], &RootRecipe::default()).unwrap();
    let other = listing(&[second, first], &RootRecipe::default()).unwrap();
    assert_eq!(one, other);
    assert_eq!(one, ["etc/", "etc/x 4", "usr/", "usr/a/", "usr/a-b 1", "usr/a.c 3", "usr/a/x 2"]);
}

#[test]
fn two_owners_of_different_files_are_named() {
    let debs = [package("a", &[("etc/x", "1")]), package("b", &[("etc/x", "2")])];
    let error = listing(&debs, &RootRecipe::default()).unwrap_err();
    let (one, two) = (sha256(b"1"), sha256(b"2"));
    assert_eq!(
        error.to_string(),
        format!("`etc/x` is a file ({one}) of a and a file ({two}) of b")
    );
    let debs = [package("a", &[("etc/x", "1")]), package("b", &[("etc/x", "1")])];
    assert_eq!(listing(&debs, &RootRecipe::default()).unwrap(), ["etc/", "etc/x 1"]);
    let debs = [package("a", &[("etc/x", "1")]), package("b", &[("etc/x", "-> y")])];
    assert!(
        listing(&debs, &RootRecipe::default())
            .unwrap_err()
            .to_string()
            .ends_with("a link to `y` of b")
    );
    let debs = [package("a", &[("etc/x", "1")]), package("b", &[("etc/x/y", "2")])];
    let error = listing(&debs, &RootRecipe::default()).unwrap_err().to_string();
    assert!(error.starts_with("`etc/x/y` of b lies below `etc/x`, which is a file"), "{error}");
    let debs = [package("a", &[("etc/x", "-> /tmp")]), package("b", &[("etc/x/y/z", "2")])];
    let error = listing(&debs, &RootRecipe::default()).unwrap_err().to_string();
    assert!(error.contains("lies below `etc/x`, which is a link to `/tmp` of a"), "{error}");
}

#[test]
fn the_recipe_owns_no_file_of_a_package() {
    let debs = [package("a", &[("etc/passwd", "1")])];
    let recipe =
        RootRecipe { files: [(path("etc/passwd"), text(b"2"))].into(), ..RootRecipe::default() };
    assert!(listing(&debs, &recipe).unwrap_err().to_string().ends_with("of the recipe"));
}

#[test]
fn a_package_may_have_one_file_at_both_places_of_a_merged_directory() {
    let same = [package("a", &[("lib/x", "1"), ("usr/lib/x", "1")])];
    assert!(listing(&same, &merged()).unwrap().contains(&"usr/lib/x 1".to_owned()));
    for (real, link, target) in [
        ("lib/x", "usr/lib/x", "-> /lib/x"),
        ("lib/x", "usr/lib/x", "-> ../../lib/x"),
        ("usr/lib/x", "lib/x", "-> /usr/lib/x"),
        ("usr/lib/x", "lib/x", "-> ../usr/lib/x"),
    ] {
        let debs = [package("a", &[(real, "1"), (link, target)])];
        let listed = listing(&debs, &merged()).unwrap();
        assert!(listed.contains(&"usr/lib/x 1".to_owned()), "{link} {target}: {listed:?}");
    }
    let other = [package("a", &[("lib/x", "1"), ("usr/lib/x", "2")])];
    assert!(matches!(listing(&other, &merged()), Err(RootError::Conflict { .. })));
}

#[test]
fn a_package_may_bring_the_links_into_usr_itself() {
    let debs = [package("base", &[("bin", "-> usr/bin"), ("usr/bin/x", "1")])];
    let listed = listing(&debs, &merged()).unwrap();
    assert!(
        listed.contains(&"bin -> usr/bin".to_owned()) && listed.contains(&"usr/bin/x 1".to_owned())
    );
}

#[test]
fn second_names_stay_second_names() {
    let debs = [package("perl", &[("usr/bin/perl", "p"), ("usr/bin/perl5", "== usr/bin/perl")])];
    let listed = listing(&debs, &merged()).unwrap();
    assert!(listed.contains(&"usr/bin/perl5 == usr/bin/perl".to_owned()), "{listed:?}");
    let moved = [package("gzip", &[("bin/gunzip", "g"), ("bin/uncompress", "== bin/gunzip")])];
    let listed = listing(&moved, &merged()).unwrap();
    assert!(listed.contains(&"usr/bin/uncompress == usr/bin/gunzip".to_owned()), "{listed:?}");
}

#[test]
fn the_recipe_adds_what_scripts_would_have_made() {
    let debs = [package(
        "ca",
        &[("usr/share/ca/b.crt", "B"), ("usr/share/ca/a/a.crt", "A\n"), ("usr/share/ca/c", "C")],
    )];
    let recipe = RootRecipe {
        usrmerge: true,
        directories: [path("tmp"), path("proc"), path("sbin/x")].into(),
        links: [(path("usr/bin/awk"), "gawk".to_owned())].into(),
        files: [(path("etc/passwd"), text(b"root\n"))].into(),
        concatenations: vec![Concatenation {
            path: path("etc/ssl/ca.crt"),
            folder: path("usr/share/ca"),
            suffix: ".crt".to_owned(),
        }],
    };
    let listed = listing(&debs, &recipe).unwrap();
    for line in [
        "tmp/ shared",
        "proc/",
        "usr/sbin/x/",
        "usr/bin/awk -> gawk",
        "etc/passwd root\\n",
        "etc/ssl/ca.crt A\\nB\\n",
    ] {
        assert!(listed.contains(&line.to_owned()), "{line} is missing in {listed:#?}");
    }
    let nothing = listing(&[package("other", &[("a", "b")])], &recipe).unwrap_err();
    assert!(nothing.to_string().contains("`*.crt` below `usr/share/ca`, and there are none"));
}

#[test]
fn a_package_that_is_given_twice_is_refused() {
    let debs = [package("a", &[]), package("a", &[])];
    assert_eq!(
        listing(&debs, &merged()).unwrap_err().to_string(),
        "package a:amd64 is given twice"
    );
}

#[test]
fn a_broken_package_is_named_by_its_place() {
    let debs = [package("a", &[]), b"junk".to_vec()];
    let error = listing(&debs, &merged()).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the package at place 2");
}

#[test]
fn the_status_lists_the_packages_by_name() {
    let (one, two) = (package("zlib", &[]), package("awk", &[]));
    let plan =
        RootPlan::read(&[&one, &two], &RootRecipe::default(), Cursor::new(Vec::new())).unwrap();
    let names: Vec<&str> = plan.packages().iter().map(|control| control.package.as_str()).collect();
    assert_eq!(names, ["awk", "zlib"]);
    let expected = "Package: awk\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n\n\
                    Package: zlib\nStatus: install ok installed\nVersion: 1\nArchitecture: amd64\n\n";
    assert_eq!(
        plan.file(&path("var/lib/dpkg/status")).unwrap(),
        (sha256(expected.as_bytes()), expected.len() as u64)
    );
}
