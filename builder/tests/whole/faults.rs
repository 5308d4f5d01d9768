//! One changed byte in any published file is found, and the file is named.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
};

use crate::{
    run::{Ran, run, verifier, with},
    shared::{MANIFEST, copy, files, scratch, shared},
};

#[test]
fn one_changed_byte_in_any_file_of_the_release_is_found_and_its_file_named() {
    let copy = shared().copy_of_release();
    verify(copy.path(), &[]).expect(0);
    for name in files(copy.path()) {
        let path = copy.path().join(&name);
        let size = fs::metadata(&path).unwrap().len();
        for position in positions(size) {
            flip(&path, position);
            let ran = verify(copy.path(), &[]);
            assert_eq!(ran.code, 1, "{name} at {position}: {}", ran.out);
            assert!(names(&ran, &name), "{name} at {position}: {}", ran.out);
            flip(&path, position);
        }
    }
    verify(copy.path(), &[]).expect(0);
}

#[test]
fn every_changed_input_and_definition_is_named() {
    let copied = scratch("inputs");
    for name in
        ["containers", "crds", "inputs", "keys", "kubernetes-1-20", "log", "releasechannels"]
    {
        if shared().store().join(name).is_dir() {
            copy(&shared().store().join(name), copied.path());
        }
    }
    verify(copied.path(), &["--all"]).expect(0);
    let inputs = files(&copied.path().join("inputs"));
    for name in &inputs {
        flip_input(copied.path(), name);
    }
    verify(copied.path(), &[]).expect(0);
    let ran = verify(copied.path(), &["--inputs"]).expect(1);
    for name in inputs {
        assert!(names(&ran, &format!("inputs/{name}")), "{name} is not in: {}", ran.out);
        flip_input(copied.path(), &name);
    }
    verify(copied.path(), &["--all"]).expect(0);
    for name in files(&copied.path().join("crds")) {
        let path = copied.path().join("crds").join(&name);
        flip(&path, 100);
        assert!(names(&verify(copied.path(), &["--all"]).expect(1), &format!("crds/{name}")));
        flip(&path, 100);
    }
}

#[test]
fn a_missing_file_and_one_too_many_are_found_and_named() {
    let copy = shared().copy_of_release();
    let newest = files(&copy.path().join("log/tile/0/000.p")).last().unwrap().clone();
    for name in files(copy.path()) {
        // Shorter tiles that a longer one holds are not needed.
        let is_superseded = name.starts_with("log/tile/") && !name.ends_with(&format!("/{newest}"));
        // A release need not have been announced.
        if is_superseded || name.ends_with("/announcement.json") {
            continue;
        }
        let (path, aside) = (copy.path().join(&name), copy.path().with_extension("aside"));
        fs::rename(&path, &aside).unwrap();
        let ran = verify(copy.path(), &[]);
        fs::rename(&aside, &path).unwrap();
        assert_ne!(ran.code, 0, "{name} is missing: {}", ran.out);
        // A bundle is missed by the document that it signs.
        assert!(
            names(&ran, &name) || ran.out.contains(&format!("{name} is missing")),
            "{}",
            ran.out
        );
    }
    let extra = "kubernetes-1-20/releases/1/artifacts/etcd/v3.4.23/etcd-extra.tar.gz";
    fs::write(copy.path().join(extra), "").unwrap();
    assert!(names(&verify(copy.path(), &[]).expect(1), extra));
}

fn verify(store: &Path, arguments: &[&str]) -> Ran {
    let mut command = with(verifier(), ["--json", "--key"]);
    run(command.arg(&shared().key).args(arguments).arg(store.join(MANIFEST)))
}

/// True when a problem is about this file.
fn names(ran: &Ran, name: &str) -> bool {
    let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    report["problems"].as_array().unwrap().iter().any(|problem| problem["file"] == name)
}

/// Changes a byte of an input, or changes it back: one at a place that follows from its digest.
fn flip_input(store: &Path, name: &str) {
    let path = store.join("inputs").join(name);
    let size = fs::metadata(&path).unwrap().len();
    let hex = name.rsplit('/').next().unwrap();
    flip(&path, u64::from_str_radix(&hex[..8], 16).unwrap() % size);
}

/// The first and last byte and some between.
fn positions(size: u64) -> Vec<u64> {
    let mut positions: Vec<u64> = (0..4).map(|part| size.saturating_sub(1) * part / 3).collect();
    positions.dedup();
    positions
}

fn flip(path: &Path, position: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, position).unwrap();
    file.write_all_at(&[byte[0] ^ 1], position).unwrap();
}
