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
    sync::Arc,
};

use kdistro_border::{Address, Anonymous, Content, HttpRegistry, OciLayouts, Registry};
use kdistro_formats::oci::{CONFIG, Descriptor, LAYER_GZIP, Manifest};
use kdistro_testbed::{Server, Testbed};
use kdistro_verify::hash;
use serde_json::json;

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

/// Plays a role that a file says more of.
fn order(folder: &Path, role: &str, order: &serde_json::Value) {
    fs::write(folder.join("order.json"), order.to_string()).unwrap();
    let output = bench(folder, &[role, "order.json"]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn uploads_files_as_a_release() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::create_dir(path.join("kept")).unwrap();
    fs::write(path.join("abc"), "abc").unwrap();
    let hashes = hash::hashes_of(&b"abc"[..]).unwrap();
    let asset = json!({"path": "abc", "sha256": hashes.sha256, "sha512": hashes.sha512, "size": 3});
    let said = json!({"bucket": null, "kept": "kept", "folder": "", "assets": [asset]});
    order(path, "kdistro-bench:upload", &said);
    let store = path.join("kept/store");
    let artifacts = store.join("kubernetes-1-20/releases/1/artifacts");
    assert_eq!(fs::read_to_string(artifacts.join("abc")).unwrap(), "abc");
    let sums = fs::read_to_string(artifacts.join("SHA256SUM")).unwrap();
    assert_eq!(sums, format!("{}  abc\n", hashes.sha256.hex()));
    let index = fs::read_to_string(store.join("releasechannels/1-20.yaml")).unwrap();
    assert!(index.contains("latestRelease: 1"), "{index}");
    // Without the journal everything is compared with what is there.
    fs::remove_file(path.join("kept/journal.jsonl")).unwrap();
    order(path, "kdistro-bench:upload", &said);
    assert_eq!(fs::read_dir(&artifacts).unwrap().count(), 5);
}

#[test]
fn pushes_an_image_with_its_tag() {
    let folder = tempfile::tempdir().unwrap();
    let layouts = OciLayouts::new(folder.path().join("layouts"));
    let blob = |bytes: &[u8]| layouts.push_blob("image", Content::Bytes(bytes)).unwrap();
    let (config, layer) = (b"{}", b"layer");
    blob(config);
    blob(layer);
    let named = |kind, bytes: &[u8]| Descriptor::new(kind, hash::sha256(bytes), bytes.len() as u64);
    let manifest = Manifest {
        config: named(CONFIG, config),
        layers: vec![named(LAYER_GZIP, layer)],
        artifact_type: None,
        subject: None,
        annotations: std::collections::BTreeMap::new(),
    };
    let manifest = manifest.to_vec().unwrap();
    let digest = hash::sha256(&manifest);
    layouts.push_manifest("image", &manifest).unwrap();
    layouts.tag("image", "v1", &digest).unwrap();
    let bed = Testbed::start(&[Server::PlainRegistry]).unwrap();
    let url = format!("http://{}", bed.plain_registry());
    let said = json!({
        "layouts": "layouts", "registry": url, "authority": null,
        "credentials": "config.json", "repository": "bench/image",
    });
    order(folder.path(), "kdistro-bench:push", &said);
    let address = Address { url: &url, prefix: "", ca: None };
    let registry = HttpRegistry::open(address, Arc::new(Anonymous)).unwrap();
    assert_eq!(registry.resolve("bench/image", "v1").unwrap(), Some(digest));
    assert!(registry.has_blob("bench/image", &hash::sha256(layer)).unwrap());
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
        &["kdistro-bench:upload", "missing"],
        &["kdistro-bench:push", "missing"],
    ] {
        let output = bench(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("No such file"), "{output:?}");
    }
}
