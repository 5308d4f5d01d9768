//! Two images that differ: which platform, which layer, which file, or which field of the configuration.

use std::{fs, path::PathBuf};

use kdistro_formats::oci::{Descriptor, INDEX, Index};
use kdistro_verify::{explain::first_difference, hash};
use tempfile::TempDir;

use crate::image::Blobs;

/// Writes blobs as a store has them, and returns the folder and the index in it.
fn as_store(image: &Blobs) -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    for (digest, bytes) in &image.blobs {
        fs::write(folder.path().join(digest.to_string()), bytes).unwrap();
    }
    let index = folder.path().join(image.index.to_string());
    (folder, index)
}

/// Writes blobs as an OCI layout.
fn as_layout(image: &Blobs) -> TempDir {
    let folder = TempDir::new().unwrap();
    let blobs = folder.path().join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    for (digest, bytes) in &image.blobs {
        fs::write(blobs.join(digest.hex()), bytes).unwrap();
    }
    let size = image.blobs[&image.index].len() as u64;
    let top =
        Index { manifests: vec![Descriptor::new(INDEX, image.index, size)], ..Index::default() };
    fs::write(folder.path().join("index.json"), top.to_vec().unwrap()).unwrap();
    fs::write(folder.path().join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
    folder
}

fn explained(left: &Blobs, right: &Blobs) -> Option<String> {
    let ((_one, left), (_other, right)) = (as_store(left), as_store(right));
    first_difference(&left, &right).unwrap()
}

#[test]
fn names_platform_layer_and_file() {
    let text = explained(&Blobs::new(), &Blobs::holding("rqlite")).unwrap();
    assert_eq!(
        text,
        "linux/amd64: layer 2: `usr/local/bin/etcd`: line 1 is `etcd for amd64` and `rqlite for amd64`"
    );
}

#[test]
fn names_the_field_of_the_configuration() {
    let other = Blobs::with(
        &|config| {
            if config.architecture == "arm64" {
                config.config.entrypoint = vec!["/etcd".to_owned()];
            }
        },
        &|_| {},
        &|_| {},
    );
    let text = explained(&Blobs::new(), &other).unwrap();
    let place = "linux/arm64/v8: configuration: `config.Entrypoint[0]`";
    assert_eq!(text, format!("{place} is \"/usr/local/bin/etcd\" and \"/etcd\""));
}

#[test]
fn names_what_one_of_them_lacks() {
    let fewer = Blobs::with(&|_| {}, &|_| {}, &|index| drop(index.manifests.pop()));
    let text = explained(&Blobs::new(), &fewer).unwrap();
    assert_eq!(text, "linux/arm64/v8 is only in the first");
    let annotated = Blobs::with(
        &|_| {},
        &|manifest| drop(manifest.annotations.insert("a".to_owned(), "b".to_owned())),
        &|_| {},
    );
    let text = explained(&Blobs::new(), &annotated).unwrap();
    assert_eq!(text, "linux/amd64: `annotations.a`, \"b\", is only in the second");
    assert_eq!(explained(&annotated, &annotated), None);
}

#[test]
fn layouts_are_compared_as_images() {
    let (left, right) = (as_layout(&Blobs::new()), as_layout(&Blobs::holding("rqlite")));
    let text = first_difference(left.path(), right.path()).unwrap().unwrap();
    assert!(text.starts_with("image: linux/amd64: layer 2: `usr/local/bin/etcd`: "), "{text}");
    let same = as_layout(&Blobs::new());
    assert_eq!(first_difference(left.path(), same.path()).unwrap(), None);
    fs::write(same.path().join("more"), "x").unwrap();
    let text = first_difference(left.path(), same.path()).unwrap().unwrap();
    assert_eq!(text, "`more` is only in the second");
}

#[test]
fn a_blob_that_is_not_there_is_said() {
    let (one, other) = (Blobs::new(), Blobs::holding("rqlite"));
    let ((_left, index), (right, other_index)) = (as_store(&one), as_store(&other));
    let layer = other.layer("amd64", 1).digest;
    fs::remove_file(right.path().join(layer.to_string())).unwrap();
    let text = first_difference(&index, &other_index).unwrap().unwrap();
    assert!(text.ends_with(&format!("and {layer}; one of the two is not there")), "{text}");
}

#[test]
fn an_index_that_names_itself_comes_to_an_end() {
    let folder = TempDir::new().unwrap();
    let write = |name: &str| {
        let digest = hash::sha256(name.as_bytes());
        let manifests = vec![Descriptor::new(INDEX, digest, 1)];
        let index = Index { manifests, ..Index::default() };
        let path = folder.path().join(digest.to_string());
        fs::write(&path, index.to_vec().unwrap()).unwrap();
        path
    };
    let text = first_difference(&write("a"), &write("b")).unwrap().unwrap();
    assert!(text.contains("`manifests[0].digest` is"), "{text}");
}
