//! A store whose files somebody else exchanges while they are read.

use std::{
    fs,
    process::Command,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use kdistro_verify::store::{Directory, Reader};

#[test]
#[expect(clippy::disallowed_methods, reason = "a test makes a pipe")]
fn a_pipe_that_takes_the_place_of_a_file_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("file"), b"content").unwrap();
    assert!(Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
    let (store, (sender, opened)) = (Directory::new(folder.path()), mpsc::channel());
    assert!(store.open("pipe").ok().flatten().is_none());
    thread::spawn(move || {
        for _ in 0..20_000 {
            // Either of them, or that it is not there.
            let _ = store.open("name").map(drop);
        }
        let _ = sender.send(());
    });
    // It ends long before, or never.
    for _ in 0..200_000 {
        for name in ["file", "pipe"] {
            fs::hard_link(at(name), at("name")).unwrap();
            fs::remove_file(at("name")).unwrap();
        }
        if opened.try_recv().is_ok() {
            return;
        }
    }
    let waited = opened.recv_timeout(Duration::from_secs(10));
    assert_ne!(waited, Err(RecvTimeoutError::Timeout), "it waits for who writes to the pipe");
}
