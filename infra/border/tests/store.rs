//! What every store promises, and what a directory promises besides: in crashes, on a full disk, among processes.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "tests start processes of their own, and kill them")]
#![expect(clippy::print_stdout, reason = "a child answers its parent")]

#[path = "contract/store.rs"]
mod contract;
#[path = "contract/process.rs"]
mod process;

use std::{
    fs,
    fs::File,
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::Path,
    process::Child,
    thread,
    time::{Duration, Instant},
};

use kdistro_border::{Content, Created, Directory, Store, StoreError, Stored};
use kdistro_verify::hash::{sha256, sha256_of};

use crate::process::{large_file, order, outcome, small_disk, start};

#[test]
fn a_directory_keeps_the_promises_of_a_store() {
    for (promise, check) in contract::PROMISES {
        println!("{promise}");
        let folder = tempfile::tempdir().unwrap();
        let store = Directory::new(folder.path().join("made/when/needed"));
        check(&store, folder.path());
        assert_eq!(leftovers(store.path()), 0, "{promise}: something temporary is left");
    }
}

/// Counts what lies in the store's own folder, but for the lock.
fn leftovers(root: &Path) -> usize {
    process::leftovers(&root.join(".kdistro-store"))
}

fn store(content: &Path, root: &Path, name: &str) -> Result<Created, StoreError> {
    let (digest, size) = sha256_of(File::open(content).unwrap()).unwrap();
    Directory::new(root).create(name, Content::File { path: content, digest, size })
}

#[test]
fn what_a_directory_takes_in_gets_its_name_later_and_needs_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = Directory::new(folder.path().join("store"));
    let nowhere = folder.path().join("nowhere");
    let take_in = |bytes: &[u8]| {
        let mut incoming = store.receive().unwrap().unwrap();
        incoming.write_all(bytes).unwrap();
        let whole = incoming.finish().unwrap();
        let stored = Stored { digest: sha256(bytes), size: whole.size() };
        whole.keep(stored.digest).unwrap();
        stored
    };
    let stored = take_in(b"taken in");
    assert_eq!(store.list("").unwrap(), [""; 0], "it has a name already");
    let Stored { digest, size } = stored;
    let content = Content::File { path: &nowhere, digest, size };
    assert_eq!(store.create("a/name", content).unwrap(), Created::New);
    assert_eq!(store.read("a/name").unwrap().unwrap(), b"taken in");
    assert_eq!(fs::metadata(store.path().join("a/name")).unwrap().mode() & 0o7777, 0o644);
    // It is used up: another name needs the file.
    let error = store.create("another/name", content).unwrap_err();
    assert!(matches!(error, StoreError::Io { action: "read", .. }), "{error}");
    // A name that is taken stays so, whatever comes in.
    let Stored { digest, size } = take_in(b"something else");
    let content = Content::File { path: &nowhere, digest, size };
    let error = store.create("a/name", content).unwrap_err();
    assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
    // What was not ended, not kept, or never got a name, leaves nothing.
    drop(store.receive().unwrap().unwrap().finish().unwrap());
    let mut dropped = store.receive().unwrap().unwrap();
    dropped.write_all(b"half of").unwrap();
    drop(dropped);
    assert_eq!(leftovers(store.path()), 1);
    let root = store.path().to_owned();
    drop(store);
    assert_eq!(leftovers(&root), 0);
}

/// Not a test: what this program does when a test below starts it again. It is told what by its first line of input.
#[test]
#[ignore = "a part of the other tests, which start it"]
fn child() {
    let words = order();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["store", content, root, name] => {
            format!("{:?}", store(Path::new(content), Path::new(root), name).ok())
        }
        ["count", root] => {
            contract::count_up(&Directory::new(root), 25);
            "counted".to_owned()
        }
        ["full", content, root] => {
            on_a_full_disk(Path::new(content), Path::new(root));
            "full".to_owned()
        }
        // Somebody runs the ignored tests by hand.
        _ => "nothing to do".to_owned(),
    };
    println!("\noutcome: {outcome}");
}

#[test]
fn of_many_processes_exactly_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let children: Vec<Child> = (0..6)
        .map(|number| {
            let content = large_file(folder.path(), &format!("content-{number}"), 2_000_000);
            start(&[], &["store", content.to_str().unwrap(), root.to_str().unwrap(), "a/name"])
        })
        .collect();
    let outcomes: Vec<String> = children.into_iter().map(outcome).collect();
    let count = |wanted: &str| outcomes.iter().filter(|outcome| *outcome == wanted).count();
    assert_eq!((count("Some(New)"), count("None")), (1, 5), "{outcomes:?}");
    assert_eq!(Directory::new(&root).stat("a/name").unwrap().unwrap().size, 2_000_000);

    let children: Vec<Child> =
        (0..4).map(|_| start(&[], &["count", root.to_str().unwrap()])).collect();
    for child in children {
        assert_eq!(outcome(child), "counted");
    }
    assert_eq!(Directory::new(&root).read("log/checkpoint").unwrap().unwrap(), b"100");
    assert_eq!(leftovers(&root), 0);
}

/// Waits until something is being written, and a little more.
fn wait_until_it_writes(root: &Path, more: Duration) {
    let start = Instant::now();
    while leftovers(root) == 0 && !root.join("a/name").exists() {
        assert!(start.elapsed() < Duration::from_secs(20), "nothing is written");
        thread::sleep(Duration::from_micros(200));
    }
    thread::sleep(more);
}

#[test]
fn a_killed_writer_leaves_no_half_file_under_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let content = large_file(folder.path(), "content", 200_000_000);
    let mut killed_in_the_middle = 0;
    for delay in [0, 1, 10, 40, 100, 200] {
        let root = folder.path().join(format!("store-{delay}"));
        let words = ["store", content.to_str().unwrap(), root.to_str().unwrap(), "a/name"];
        let mut child = start(&[], &words);
        wait_until_it_writes(&root, Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        let directory = Directory::new(&root);
        match directory.stat("a/name").unwrap() {
            None => {
                killed_in_the_middle += 1;
                assert_eq!(leftovers(&root), 1, "after {delay} ms");
                assert_eq!(directory.list("").unwrap().len(), 0, "after {delay} ms");
            }
            Some(stored) => assert_eq!(stored.size, 200_000_000, "after {delay} ms"),
        }
        let again = store(&content, &root, "a/name").unwrap();
        assert!(matches!(again, Created::New | Created::Same));
        directory.create("another", Content::Bytes(b"x")).unwrap();
        assert_eq!(leftovers(&root), 0, "after {delay} ms the dead writer's file is still there");
        assert_eq!(directory.list("").unwrap(), ["a/name", "another"]);
        fs::remove_dir_all(&root).unwrap();
    }
    assert!(killed_in_the_middle > 0, "no writer was killed before it was done");
}

#[test]
fn a_living_writer_is_not_disturbed_by_those_who_clear_up() {
    let folder = tempfile::tempdir().unwrap();
    let content = large_file(folder.path(), "content", 200_000_000);
    let root = folder.path().join("store");
    let words = ["store", content.to_str().unwrap(), root.to_str().unwrap(), "a/name"];
    let child = start(&[], &words);
    wait_until_it_writes(&root, Duration::ZERO);
    let directory = Directory::new(&root);
    for number in 0..20 {
        directory.create(&format!("other/{number}"), Content::Bytes(b"x")).unwrap();
    }
    assert_eq!(outcome(child), "Some(New)");
    assert_eq!(directory.list("other/").unwrap().len(), 20);
}

#[test]
fn modes_are_the_same_whatever_the_umask() {
    let folder = tempfile::tempdir().unwrap();
    let content = large_file(folder.path(), "content", 10);
    for mask in ["000", "077"] {
        let root = folder.path().join(mask);
        let words = ["store", content.to_str().unwrap(), root.to_str().unwrap(), "a/b/name"];
        let masked = ["sh", "-c", &format!("umask {mask}; exec \"$@\""), "sh"];
        assert_eq!(outcome(start(&masked, &words)), "Some(New)");
        let mode = |path: &str| root.join(path).metadata().unwrap().mode() & 0o7777;
        assert_eq!(
            [mode(""), mode("a"), mode("a/b"), mode("a/b/name")],
            [0o755, 0o755, 0o755, 0o644],
            "{mask}"
        );
        assert_eq!(root.join("a/b/name").metadata().unwrap().nlink(), 1);
    }
}

#[test]
fn a_link_or_folder_in_place_of_a_file_is_no_content() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let directory = Directory::new(&root);
    directory.create("a/b", Content::Bytes(b"x")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", root.join("link")).unwrap();
    for name in ["a", "link"] {
        let error = directory.read(name).unwrap_err().to_string();
        assert!(error.starts_with("cannot read "), "{error}");
        directory.stat(name).unwrap_err();
        directory.create(name, Content::Bytes(b"x")).unwrap_err();
    }
    let error = directory.create("a/b/c", Content::Bytes(b"x")).unwrap_err();
    assert!(error.to_string().contains("for `a/b/c`"), "{error}");
    assert_eq!(leftovers(&root), 0);
}

#[test]
fn on_a_full_disk_nothing_is_half_there() {
    let folder = tempfile::tempdir().unwrap();
    let content = large_file(folder.path(), "content", 4_000_000);
    let option = small_disk();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let disk = disk.to_str().unwrap();
    for limit in ["size=2m", "size=64m,nr_inodes=7"] {
        let script = format!("mount -t tmpfs -o {limit} none {disk} && exec \"$@\"");
        let child = start(
            &["unshare", option, "sh", "-c", &script, "sh"],
            &["full", content.to_str().unwrap(), disk],
        );
        assert_eq!(outcome(child), "full", "{limit}");
    }
    assert_eq!(fs::read_dir(disk).unwrap().count(), 0, "the small disk was mounted for everybody");
}

/// Stores until the disk is full, and checks that this shows and harms nothing.
fn on_a_full_disk(content: &Path, root: &Path) {
    let directory = Directory::new(root);
    directory.create("small", Content::Bytes(b"x")).unwrap();
    directory.swap("log/checkpoint", None, b"one").unwrap();
    let mut number = 0;
    let error = loop {
        number += 1;
        match store(content, root, &format!("large-{number}")) {
            Ok(_) => assert!(number < 20, "the disk is never full"),
            Err(error) => break error,
        }
    };
    let StoreError::Io { name, source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), io::ErrorKind::StorageFull, "{error}");
    assert_eq!(*name, format!("large-{number}"));
    assert_eq!(directory.stat(name).unwrap(), None);
    assert_eq!(leftovers(root), 0);
    // Whether or not there is room for a new checkpoint, there is always a whole one.
    let swapped = directory.swap("log/checkpoint", Some(b"one"), b"two").unwrap_or(false);
    let expected: &[u8] = if swapped { b"two" } else { b"one" };
    assert_eq!(directory.read("log/checkpoint").unwrap().unwrap(), expected);
    assert_eq!(directory.read("small").unwrap().unwrap(), b"x");
    assert_eq!(leftovers(root), 0);
}
