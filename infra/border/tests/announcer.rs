//! What every announcer promises, and what the files are.
#![cfg(test)]

#[path = "contract/announcer.rs"]
mod contract;

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, thread};

use kdistro_border::{Announced, Announcer, FileAnnouncer};
use kdistro_verify::hash::sha256;

#[test]
fn files_keep_the_promises_of_an_announcer() {
    let folder = tempfile::tempdir().unwrap();
    contract::check(&FileAnnouncer::new(folder.path().join("made/when/needed")));
}

#[test]
fn a_file_holds_what_was_announced() {
    let folder = tempfile::tempdir().unwrap();
    let announcer = FileAnnouncer::new(folder.path());
    let id = sha256(b"manifest");
    let attributes = BTreeMap::from([
        ("number".to_owned(), "7".to_owned()),
        ("channel".to_owned(), "1-36".to_owned()),
    ]);
    announcer.announce(&id, "Release 7", r#"{"default":"{}"}"#, &attributes).unwrap();
    let expected = r#"{
  "id": "ID",
  "subject": "Release 7",
  "message": "{\"default\":\"{}\"}",
  "attributes": {
    "channel": "1-36",
    "number": "7"
  }
}
"#
    .replace("ID", &id.to_string());
    let path = folder.path().join(format!("{}.json", id.hex()));
    assert_eq!(path, announcer.path(&id));
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o644);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn of_many_at_once_exactly_one_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let announcer = FileAnnouncer::new(folder.path());
    let announce =
        || announcer.announce(&sha256(b"x"), "s", r#"{"default":""}"#, &BTreeMap::new()).unwrap();
    let outcomes: Vec<Announced> = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(announce)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Announced::New).count(), 1);
}
