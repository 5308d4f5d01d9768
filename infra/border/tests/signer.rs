//! What every signer promises, and what openssl says of a key file.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "tests run the real programs as judges")]

#[path = "contract/signer.rs"]
mod contract;

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
};

use kdistro_border::{KeyFile, SignError, Signer};

fn openssl(arguments: &[&str], folder: &Path) -> String {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_key_file_keeps_the_promises_of_a_signer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/when/needed/key.pem");
    let made = KeyFile::generate(&path).unwrap();
    contract::check(&made);
    let opened = KeyFile::open(&path).unwrap();
    contract::check(&opened);
    assert_eq!(made.public_key(), opened.public_key());
    assert_eq!(mode(&path), 0o600);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn openssl_agrees() {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyFile::generate(&folder.path().join("key.pem")).unwrap();
    let public = openssl(&["pkey", "-in", "key.pem", "-pubout"], folder.path());
    assert_eq!(public, key.public_key_pem().unwrap());
    fs::write(folder.path().join("public.pem"), public).unwrap();
    fs::write(folder.path().join("message"), b"some message").unwrap();
    fs::write(folder.path().join("signature"), key.sign(b"some message").unwrap()).unwrap();
    let arguments =
        ["dgst", "-sha256", "-verify", "public.pem", "-signature", "signature", "message"];
    assert_eq!(openssl(&arguments, folder.path()), "Verified OK\n");
}

#[test]
fn keys_of_openssl_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let make =
        ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "key.pem"];
    openssl(&make, folder.path());
    let key = KeyFile::open(&folder.path().join("key.pem")).unwrap();
    contract::check(&key);
    let public = openssl(&["pkey", "-in", "key.pem", "-pubout"], folder.path());
    assert_eq!(public, key.public_key_pem().unwrap());
}

#[test]
fn what_is_no_key_for_p256_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    for make in [
        &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384", "-out", "key.pem"]
            [..],
        &["genpkey", "-algorithm", "ED25519", "-out", "key.pem"],
        &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "key.pem"],
    ] {
        openssl(make, folder.path());
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let error = KeyFile::open(&path).unwrap_err();
        assert!(matches!(error, SignError::Key { .. }), "{make:?}: {error}");
        let is_older_format = make.first() == Some(&"ecparam");
        assert_eq!(
            error.to_string().contains("it is labelled `EC PRIVATE KEY`"),
            is_older_format,
            "{error}"
        );
    }
    for text in ["", "junk", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        fs::write(&path, text).unwrap();
        assert!(matches!(KeyFile::open(&path), Err(SignError::Key { .. })), "{text:?}");
    }
}

#[test]
fn a_key_that_others_may_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    KeyFile::generate(&path).unwrap();
    for bits in [0o640, 0o604, 0o620, 0o610, 0o777] {
        fs::set_permissions(&path, Permissions::from_mode(bits)).unwrap();
        let shown = path.display();
        assert_eq!(
            KeyFile::open(&path).unwrap_err().to_string(),
            format!(
                "{shown} has mode {bits:04o} and can be read by others; run `chmod 600 {shown}`"
            )
        );
    }
    fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    KeyFile::open(&path).unwrap();
}

#[test]
fn a_key_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    KeyFile::generate(&path).unwrap();
    let before = fs::read(&path).unwrap();
    assert!(matches!(KeyFile::generate(&path), Err(SignError::Exists { .. })));
    assert_eq!(fs::read(&path).unwrap(), before);
    let dangling = folder.path().join("dangling");
    std::os::unix::fs::symlink(folder.path().join("elsewhere"), &dangling).unwrap();
    assert!(matches!(KeyFile::generate(&dangling), Err(SignError::Exists { .. })));
    assert!(!folder.path().join("elsewhere").exists());
    assert!(!format!("{:?}", KeyFile::open(&path).unwrap()).contains("private"));
}
