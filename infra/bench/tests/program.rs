//! Starts the program itself: the roles it plays for its subjects, and what it says where it cannot work.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the tests start the program that they judge"
)]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

fn bench(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kdistro-bench"));
    command.current_dir(directory).env("KDISTRO_HOME", directory.join("home")).args(arguments);
    command.output().unwrap()
}

#[test]
fn hashes_files_in_the_order_of_the_arguments() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("abc"), "abc").unwrap();
    fs::write(folder.path().join("empty"), "").unwrap();
    let output = bench(folder.path(), &["kdistro-bench:hash", "empty", "abc", "empty"]);
    assert!(output.status.success(), "{output:?}");
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let begins = |index: usize, digest: usize, hex: &str| {
        assert!(found["files"][index][digest].as_str().unwrap().starts_with(hex), "{found}");
    };
    // FIPS 180-4: of nothing, and of "abc".
    for index in [0, 2] {
        begins(index, 0, "e3b0c44298fc1c149afbf4c8996fb924");
        begins(index, 1, "cf83e1357eefb8bdf1542850d66d8007");
    }
    begins(1, 0, "ba7816bf8f01cfea414140de5dae2223");
    begins(1, 1, "ddaf35a193617abacc417349ae204131");
    assert!(found["peak_bytes"].as_u64().unwrap() > 1 << 20, "{found}");
}

#[test]
fn compresses_a_file_into_another() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("from"), "content ".repeat(1000)).unwrap();
    let output = bench(folder.path(), &["kdistro-bench:gzip", "from", "to"]);
    assert!(output.status.success(), "{output:?}");
    let compressed = fs::read(folder.path().join("to")).unwrap();
    assert!(compressed.starts_with(&[0x1f, 0x8b]) && compressed.len() < 200, "{compressed:?}");
}

#[test]
fn a_folder_that_is_no_build_repository_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let output = bench(folder.path(), &["hash"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("is no build repository"), "{said}");
    assert!(!folder.path().join("home").exists());
}

#[test]
fn a_file_that_is_missing_ends_a_role_with_2() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["kdistro-bench:hash", "missing"][..],
        &["kdistro-bench:gzip", "missing", "to"],
        &["kdistro-bench:package", "missing", "home"],
    ] {
        let output = bench(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("No such file"), "{output:?}");
    }
}
