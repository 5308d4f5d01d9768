//! The promises of a store.

use std::{
    error::Error, fs, io::Read, os::unix::fs::symlink, path::Path, process::Command, sync::Barrier,
    thread,
};

use kdistro_border::{Content, Created, Store, StoreError, Stored};
use kdistro_verify::hash::sha256;

/// One promise, kept or broken by an empty store.
pub(crate) type Promise = fn(&dyn Store, &Path);

/// All promises; each gets a store of its own, empty, and a folder to work in.
pub(crate) const PROMISES: [(&str, Promise); 10] = [
    ("what was never stored is not there", absent_is_none),
    ("what is stored is read again", stored_is_read),
    ("a name never changes its content", content_is_for_ever),
    ("a file is stored if it is what was said", files_are_checked),
    ("what is no plain file is refused", endless_files_are_refused),
    ("bad names are refused everywhere", bad_names_are_refused),
    ("a swap replaces what the caller has seen", swaps_compare),
    ("only three names may be swapped, and are never created", kinds_are_kept_apart),
    ("a list is sorted and whole", lists_are_sorted),
    ("of many at once exactly one wins", one_of_many_wins),
];

fn bytes(content: &[u8]) -> Content<'_> {
    Content::Bytes(content)
}

fn absent_is_none(store: &dyn Store, _: &Path) {
    assert_eq!(store.read("a/b").unwrap(), None);
    assert!(store.open("a/b").unwrap().is_none());
    assert_eq!(store.stat("a/b").unwrap(), None);
    assert_eq!(store.list("").unwrap().len(), 0);
    assert_eq!(store.list("a/").unwrap().len(), 0);
    store.create("a", bytes(b"x")).unwrap();
    assert_eq!(store.read("a/b").unwrap(), None);
    assert_eq!(store.stat("a/b").unwrap(), None);
    assert_eq!(store.list("a/").unwrap().len(), 0);
}

fn stored_is_read(store: &dyn Store, _: &Path) {
    for content in [&b""[..], b"x", &vec![7; 3_000_000]] {
        let name = format!("deep/er/{}", content.len());
        assert_eq!(store.create(&name, bytes(content)).unwrap(), Created::New);
        assert_eq!(store.read(&name).unwrap().unwrap(), content);
        let mut read = Vec::new();
        store.open(&name).unwrap().unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, content);
        let stored = Stored { digest: sha256(content), size: content.len() as u64 };
        assert_eq!(store.stat(&name).unwrap(), Some(stored));
    }
}

fn content_is_for_ever(store: &dyn Store, _: &Path) {
    store.create("x", bytes(b"one")).unwrap();
    assert_eq!(store.create("x", bytes(b"one")).unwrap(), Created::Same);
    let error = store.create("x", bytes(b"two")).unwrap_err();
    let (one, two) = (sha256(b"one"), sha256(b"two"));
    assert_eq!(
        error.to_string(),
        format!("`x` is already published with other content: {one}, not {two}")
    );
    assert_eq!(store.read("x").unwrap().unwrap(), b"one");
}

fn files_are_checked(store: &dyn Store, folder: &Path) {
    let path = folder.join("source");
    fs::write(&path, b"content").unwrap();
    let (digest, size) = (sha256(b"content"), 7);
    let file = Content::File { path: &path, digest, size };
    assert_eq!(store.create("good", file).unwrap(), Created::New);
    assert_eq!(store.create("good", file).unwrap(), Created::Same);
    assert_eq!(store.read("good").unwrap().unwrap(), b"content");
    let other = Content::File { path: &path, digest: sha256(b"other"), size };
    assert!(matches!(store.create("good", other), Err(StoreError::Conflict { .. })));
    for (digest, size) in [(sha256(b"other"), 7), (digest, 8)] {
        let changed = Content::File { path: &path, digest, size };
        let error = store.create("bad", changed).unwrap_err();
        assert!(matches!(error, StoreError::Changed { .. }), "{error}");
        assert_eq!(store.stat("bad").unwrap(), None);
    }
    let missing = Content::File { path: &folder.join("missing"), digest, size };
    let error = store.create("bad", missing).unwrap_err().to_string();
    assert!(error.starts_with("cannot read ") && error.contains("missing"), "{error}");
    assert_eq!(store.list("").unwrap(), ["good"]);
}

/// What has no end, or keeps whoever opens it waiting; of any size that is stored in another way.
fn endless_files_are_refused(store: &dyn Store, folder: &Path) {
    let (zero, pipe) = (folder.join("zero"), folder.join("pipe"));
    symlink("/dev/zero", &zero).unwrap();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [&zero, &pipe] {
        for size in [7, 300_000, 17 << 20] {
            let endless = Content::File { path, digest: sha256(b"content"), size };
            let error = store.create("bad", endless).unwrap_err();
            let said = format!("{error}: {}", error.source().unwrap());
            let expected =
                format!("cannot read {} for `bad`: it is not a plain file", path.display());
            assert_eq!(said, expected);
        }
    }
    assert_eq!(store.list("").unwrap(), [""; 0]);
}

fn bad_names_are_refused(store: &dyn Store, _: &Path) {
    for name in ["", "/x", "../x", "a/../../x", "a//b", "a/", "a\0b", ".kdistro-store/x"] {
        let is_refused = |error: Option<StoreError>| matches!(error, Some(StoreError::Name { .. }));
        assert!(is_refused(store.read(name).err()), "read {name:?}");
        assert!(is_refused(store.stat(name).err()), "stat {name:?}");
        assert!(is_refused(store.open(name).err()), "open {name:?}");
        assert!(is_refused(store.create(name, bytes(b"")).err()), "create {name:?}");
        assert!(is_refused(store.swap(name, None, b"").err()), "swap {name:?}");
    }
    assert!(store.list("../").is_err());
    assert!(store.list("/").unwrap_or_default().is_empty());
}

fn swaps_compare(store: &dyn Store, _: &Path) {
    let name = "log/checkpoint";
    assert!(!store.swap(name, Some(b"one"), b"two").unwrap(), "swapped what is not there");
    assert!(store.swap(name, None, b"one").unwrap());
    assert!(!store.swap(name, None, b"two").unwrap(), "swapped what is there");
    assert!(!store.swap(name, Some(b"two"), b"three").unwrap(), "swapped what nobody saw");
    assert_eq!(store.read(name).unwrap().unwrap(), b"one");
    assert!(store.swap(name, Some(b"one"), b"two").unwrap());
    assert_eq!(store.read(name).unwrap().unwrap(), b"two");
    assert!(store.swap("releasechannels/1-36.yaml", None, b"").unwrap());
    assert!(store.swap("tuf/timestamp.json", None, b"").unwrap());
    assert!(store.swap("tuf/timestamp.json", Some(b""), b"x").unwrap());
}

fn kinds_are_kept_apart(store: &dyn Store, _: &Path) {
    let error = store.swap("x", None, b"x").unwrap_err();
    assert_eq!(
        error.to_string(),
        "`x` is a name whose content never changes: it is created once, never swapped"
    );
    let error = store.create("log/checkpoint", bytes(b"x")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`log/checkpoint` is a name whose content changes: it is swapped, never created"
    );
    assert_eq!(store.list("").unwrap().len(), 0);
}

fn lists_are_sorted(store: &dyn Store, _: &Path) {
    let names = ["a-b", "a/b", "a/b.c/d", "a/bc", "b", "log/x"];
    for name in names.iter().rev() {
        store.create(name, bytes(b"x")).unwrap();
    }
    store.swap("log/checkpoint", None, b"x").unwrap();
    assert_eq!(
        store.list("").unwrap(),
        ["a-b", "a/b", "a/b.c/d", "a/bc", "b", "log/checkpoint", "log/x"]
    );
    assert_eq!(store.list("a").unwrap(), ["a-b", "a/b", "a/b.c/d", "a/bc"]);
    assert_eq!(store.list("a/").unwrap(), ["a/b", "a/b.c/d", "a/bc"]);
    assert_eq!(store.list("a/b.").unwrap(), ["a/b.c/d"]);
    assert_eq!(store.list("a/b.c/d").unwrap(), ["a/b.c/d"]);
    assert_eq!(store.list("c").unwrap().len(), 0);
}

fn one_of_many_wins(store: &dyn Store, _: &Path) {
    const MANY: u8 = 8;
    let barrier = Barrier::new(usize::from(MANY));
    let outcomes: Vec<_> = thread::scope(|scope| {
        let start = |number| {
            let barrier = &barrier;
            scope.spawn(move || {
                let content = vec![number; 200_000];
                barrier.wait();
                store.create("contested/name", bytes(&content)).map(|created| (created, number))
            })
        };
        let threads: Vec<_> = (0..MANY).map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let winners: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    assert_eq!(winners[0].0, Created::New);
    assert_eq!(store.read("contested/name").unwrap().unwrap(), vec![winners[0].1; 200_000]);
    let lost =
        outcomes.iter().filter(|outcome| matches!(outcome, Err(StoreError::Conflict { .. })));
    assert_eq!(lost.count(), usize::from(MANY) - 1, "{outcomes:?}");
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| count_up(store, 10));
        }
    });
    assert_eq!(store.read("log/checkpoint").unwrap().unwrap(), b"40");
}

/// Adds 1 so many times to the number in the checkpoint, each time as a swap.
pub(crate) fn count_up(store: &dyn Store, times: u32) {
    for _ in 0..times {
        loop {
            let old = store.read("log/checkpoint").unwrap();
            let text = String::from_utf8(old.clone().unwrap_or_default()).unwrap();
            let next = text.parse().unwrap_or(0) + 1_u32;
            if store.swap("log/checkpoint", old.as_deref(), next.to_string().as_bytes()).unwrap() {
                break;
            }
        }
    }
}
