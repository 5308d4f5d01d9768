//! What the home folder keeps, as the system is asked for it.
#![cfg(test)]

use std::{fs, path::Path, process::Command};

use kdistro::home::write_whole;

#[test]
#[ignore = "a part of the other test, which watches it"]
fn a_watched_file_is_written() {
    write_whole(&Path::new("watched").join("head"), b"checkpoint").unwrap();
}

#[test]
#[expect(clippy::disallowed_methods, reason = "strace tells what is asked of the system")]
fn a_file_is_on_the_disk_before_and_after_it_gets_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-e", "trace=fsync,fdatasync,rename,renameat,renameat2", "-o"]);
    strace.arg(&log).arg(std::env::current_exe().unwrap());
    strace.args(["--exact", "--ignored", "a_watched_file_is_written"]);
    let output = strace.current_dir(folder.path()).output();
    let output = output.expect("`strace` is not installed: apt-get install strace");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read(folder.path().join("watched/head")).unwrap(), b"checkpoint");
    let log = fs::read_to_string(log).unwrap();
    let calls: Vec<_> = log.lines().filter(|line| line.contains("= 0")).collect();
    let [content, name, parent, above] = calls.as_slice() else { panic!("{log}") };
    assert!(content.contains("sync(") && content.contains("/watched/.tmp"), "{log}");
    assert!(name.contains("rename") && name.contains("watched/head"), "{log}");
    assert!(parent.contains("sync(") && parent.contains("/watched>"), "{log}");
    assert!(above.contains("sync(") && !above.contains("watched"), "{log}");
}
