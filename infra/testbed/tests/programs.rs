//! The programs of others that tests are judged by: had once, whole, and not installed.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "the tests start what was fetched")]

use std::{fs, os::unix::fs::MetadataExt, process::Command};

use kdistro_testbed::{debian_program, tool_of};

#[test]
fn a_program_of_debians_unstable_suite_is_fetched_once_and_not_installed() {
    let oras = debian_program("oras").unwrap();
    let version = Command::new(&oras).arg("version").output().unwrap();
    assert!(String::from_utf8_lossy(&version.stdout).contains("Version:"), "{version:?}");
    assert!(!oras.starts_with("/usr"), "{}", oras.display());
    let file = fs::metadata(&oras).unwrap().ino();
    assert_eq!(fs::metadata(debian_program("oras").unwrap()).unwrap().ino(), file);
}

#[test]
fn a_package_that_is_not_there_is_named() {
    let refused = debian_program("kdistro-no-such-package").unwrap_err().to_string();
    assert!(
        refused.starts_with("cannot unpack Debian's package kdistro-no-such-package"),
        "{refused}"
    );
    assert!(refused.contains("`apt-get` said:\nE: "), "{refused}");
    // One without a program of its name is not taken for one.
    let refused = debian_program("base-files").unwrap_err().to_string();
    assert!(refused.contains("it has no "), "{refused}");
}

#[test]
fn a_virtual_environment_is_made_again_when_its_list_changes() {
    let python = |list: &str| tool_of("testbed-test-python", list, "python");
    let first = python("# nothing\n").unwrap();
    let folder = first.ancestors().nth(2).unwrap();
    let marker = folder.join("marker");
    fs::write(&marker, "").unwrap();
    assert_eq!(python("# nothing\n").unwrap(), first);
    assert!(marker.exists(), "it was made again for nothing");
    let refused = python("no requirement at all\n").unwrap_err().to_string();
    assert!(refused.contains("`pip install` said:\n"), "{refused}");
    assert!(!marker.exists(), "it was not made again");
    let started = Command::new(python("# other\n").unwrap()).args(["-c", "print(7)"]).output();
    assert_eq!(started.unwrap().stdout, b"7\n");
    fs::remove_dir_all(folder).unwrap();
    fs::remove_file(folder.with_extension("lock")).unwrap();
}
