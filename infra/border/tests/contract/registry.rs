//! The promises of a registry.

use std::{
    error::Error, fs, os::unix::fs::symlink, path::Path, process::Command, sync::Barrier, thread,
};

use kdistro_border::{Content, Created, Registry, RegistryError};
use kdistro_formats::Digest;
use kdistro_verify::hash::sha256;
use serde_json::{Value, json};

/// One promise, kept or broken by an empty registry.
pub(crate) type Promise = fn(&dyn Registry, &Path);

/// All promises; each gets a registry of its own, or one without these repositories, and a folder to work in.
pub(crate) const PROMISES: [(&str, Promise); 11] = [
    ("what was never pushed is not there", absent_is_none),
    ("what is pushed is there, in its repository only", pushed_is_there),
    ("a file is pushed if it is what was said", files_are_checked),
    ("a manifest is read again byte for byte", manifests_are_exact),
    ("what is no manifest is refused", other_bytes_are_refused),
    ("a manifest whose parts are missing is refused", parts_come_first),
    ("a tag never moves", tags_are_for_ever),
    ("referrers are found by their subject", referrers_are_found),
    ("bad names are refused everywhere", bad_names_are_refused),
    ("of many tags at once exactly one wins", one_of_many_wins),
    ("what is no plain file is refused", endless_files_are_refused),
];

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": sha256(content), "size": content.len()})
}

/// A manifest of a configuration and one layer.
fn manifest(config: &[u8], layer: &[u8]) -> Value {
    json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor(CONFIG, config), "layers": [descriptor(LAYER, layer)],
    })
}

fn bytes(document: &Value) -> Vec<u8> {
    serde_json::to_vec(document).unwrap()
}

/// Pushes an image whose layer is `text`; returns its manifest.
pub(crate) fn push_image(registry: &dyn Registry, repository: &str, text: &str) -> Vec<u8> {
    let config = bytes(&json!({"architecture": "amd64", "os": "linux", "text": text}));
    registry.push_blob(repository, Content::Bytes(&config)).unwrap();
    registry.push_blob(repository, Content::Bytes(text.as_bytes())).unwrap();
    let manifest = bytes(&manifest(&config, text.as_bytes()));
    registry.push_manifest(repository, &manifest).unwrap();
    manifest
}

/// Pushes an artifact about `subject`; returns its digest.
pub(crate) fn push_referrer(
    registry: &dyn Registry,
    repository: &str,
    (subject, kind, text): (&[u8], &str, &str),
) -> Digest {
    for blob in ["{}", text] {
        registry.push_blob(repository, Content::Bytes(blob.as_bytes())).unwrap();
    }
    let document = bytes(&json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind,
        "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": [descriptor("text/plain", text.as_bytes())],
        "subject": descriptor(MANIFEST, subject), "annotations": {"text": text},
    }));
    registry.push_manifest(repository, &document).unwrap();
    sha256(&document)
}

fn absent_is_none(registry: &dyn Registry, _: &Path) {
    let digest = sha256(b"absent");
    for repository in ["a", "a/b"] {
        assert!(!registry.has_blob(repository, &digest).unwrap());
        assert_eq!(registry.read_manifest(repository, &digest).unwrap(), None);
        assert_eq!(registry.resolve(repository, "v1").unwrap(), None);
        assert_eq!(registry.referrers(repository, &digest).unwrap(), []);
        let error = registry.tag(repository, "v1", &digest).unwrap_err();
        assert_eq!(error.to_string(), format!("`{repository}` has no {digest}, which `v1` names"));
    }
}

fn pushed_is_there(registry: &dyn Registry, _: &Path) {
    for content in [&b""[..], b"x", &vec![7; 3_000_000]] {
        let digest = sha256(content);
        let push = |repository| registry.push_blob(repository, Content::Bytes(content)).unwrap();
        assert_eq!(push("one/a"), Created::New);
        assert_eq!(push("one/a"), Created::Same);
        assert!(registry.has_blob("one/a", &digest).unwrap());
        assert!(!registry.has_blob("one", &digest).unwrap());
        assert!(!registry.has_blob("two", &digest).unwrap());
        assert_eq!(push("two"), Created::New);
        assert!(registry.has_blob("two", &digest).unwrap());
    }
}

fn files_are_checked(registry: &dyn Registry, folder: &Path) {
    let path = folder.join("source");
    fs::write(&path, b"content").unwrap();
    let (digest, size) = (sha256(b"content"), 7);
    for (digest, size) in [(sha256(b"other"), 7), (digest, 8)] {
        let changed = Content::File { path: &path, digest, size };
        let error = registry.push_blob("a", changed).unwrap_err();
        assert!(matches!(error, RegistryError::Changed { .. }), "{error}");
        assert!(!registry.has_blob("a", &digest).unwrap());
    }
    let file = Content::File { path: &path, digest, size };
    assert_eq!(registry.push_blob("a", file).unwrap(), Created::New);
    assert_eq!(registry.push_blob("a", file).unwrap(), Created::Same);
    assert_eq!(registry.push_blob("b", file).unwrap(), Created::New);
    assert!(registry.has_blob("a", &digest).unwrap());
    let missing = Content::File { path: &folder.join("missing"), digest: sha256(b"missing"), size };
    let error = registry.push_blob("a", missing).unwrap_err().to_string();
    assert!(error.starts_with("cannot read ") && error.contains("missing"), "{error}");
}

/// What has no end, or keeps whoever opens it waiting.
fn endless_files_are_refused(registry: &dyn Registry, folder: &Path) {
    let (zero, pipe) = (folder.join("zero"), folder.join("pipe"));
    symlink("/dev/zero", &zero).unwrap();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let digest = sha256(b"content");
    for path in [&zero, &pipe] {
        let endless = Content::File { path, digest, size: 7 };
        let error = registry.push_blob("a", endless).unwrap_err();
        let said = format!("{error}: {}", error.source().unwrap());
        let file = format!("cannot read {} ", path.display());
        assert!(said.starts_with(&file) && said.ends_with(": it is not a plain file"), "{said}");
        assert!(!registry.has_blob("a", &digest).unwrap());
    }
}

fn manifests_are_exact(registry: &dyn Registry, _: &Path) {
    let image = push_image(registry, "a/b", "layer");
    let spaced = [image.as_slice(), b"\n"].concat();
    assert_eq!(registry.push_manifest("a/b", &image).unwrap(), Created::Same);
    assert_eq!(registry.push_manifest("a/b", &spaced).unwrap(), Created::New);
    for wanted in [&image, &spaced] {
        assert_eq!(registry.read_manifest("a/b", &sha256(wanted)).unwrap().as_ref(), Some(wanted));
    }
    let index = bytes(&json!({
        "schemaVersion": 2, "mediaType": INDEX,
        "manifests": [descriptor(MANIFEST, &image)], "annotations": {"a": "b"},
    }));
    assert_eq!(registry.push_manifest("a/b", &index).unwrap(), Created::New);
    assert_eq!(registry.read_manifest("a/b", &sha256(&index)).unwrap(), Some(index.clone()));
    assert_eq!(registry.tag("a/b", "v1", &sha256(&index)).unwrap(), Created::New);
    assert_eq!(registry.resolve("a/b", "v1").unwrap(), Some(sha256(&index)));
    assert_eq!(registry.read_manifest("a", &sha256(&index)).unwrap(), None);
}

fn other_bytes_are_refused(registry: &dyn Registry, _: &Path) {
    push_image(registry, "a", "layer");
    for document in [json!({}), json!({"schemaVersion": 2, "mediaType": MANIFEST}), json!([])] {
        let document = bytes(&document);
        let error = registry.push_manifest("a", &document).unwrap_err();
        assert!(matches!(error, RegistryError::Manifest { .. }), "{error}");
        assert_eq!(registry.read_manifest("a", &sha256(&document)).unwrap(), None);
    }
}

fn parts_come_first(registry: &dyn Registry, _: &Path) {
    let image = push_image(registry, "a", "layer");
    let (config, layer) = (b"{\"x\":1}", b"another");
    let lacking = bytes(&manifest(config, layer));
    let lacking_manifest = bytes(
        &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(MANIFEST, &lacking)]}),
    );
    let is_refused = |document: &[u8]| {
        let error = registry.push_manifest("a", document).unwrap_err();
        assert!(matches!(error, RegistryError::Missing { .. }), "{error}");
        assert_eq!(registry.read_manifest("a", &sha256(document)).unwrap(), None);
    };
    is_refused(&lacking);
    registry.push_blob("a", Content::Bytes(config)).unwrap();
    is_refused(&lacking);
    is_refused(&lacking_manifest);
    registry.push_blob("a", Content::Bytes(layer)).unwrap();
    is_refused(&lacking_manifest);
    registry.push_manifest("a", &lacking).unwrap();
    registry.push_manifest("a", &lacking_manifest).unwrap();
    // Another repository has none of it.
    let error = registry.push_manifest("b", &image).unwrap_err();
    assert!(matches!(error, RegistryError::Missing { .. }), "{error}");
}

fn tags_are_for_ever(registry: &dyn Registry, _: &Path) {
    let (one, two) = (push_image(registry, "a", "one"), push_image(registry, "a", "two"));
    let (one, two) = (sha256(&one), sha256(&two));
    assert_eq!(registry.tag("a", "v1", &one).unwrap(), Created::New);
    assert_eq!(registry.tag("a", "v1", &one).unwrap(), Created::Same);
    let error = registry.tag("a", "v1", &two).unwrap_err();
    assert!(matches!(error, RegistryError::Moved { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        format!("`a:v1` is {one} already, and a tag never moves to {two}")
    );
    assert_eq!(registry.resolve("a", "v1").unwrap(), Some(one));
    assert_eq!(registry.tag("a", "v2", &one).unwrap(), Created::New);
    assert_eq!(registry.tag("a", "v3", &two).unwrap(), Created::New);
    assert_eq!(registry.resolve("a", "v2").unwrap(), Some(one));
    assert_eq!(registry.resolve("a", "v3").unwrap(), Some(two));
    assert_eq!(registry.resolve("a", "v").unwrap(), None);
    let error = registry.tag("b", "v1", &one).unwrap_err();
    assert!(matches!(error, RegistryError::Missing { .. }), "{error}");
}

fn referrers_are_found(registry: &dyn Registry, _: &Path) {
    let (one, two) = (push_image(registry, "a", "one"), push_image(registry, "a", "two"));
    let sbom = push_referrer(registry, "a", (&one, "application/spdx+json", "sbom"));
    let signature = push_referrer(registry, "a", (&one, "application/x-bundle", "signature"));
    let other = push_referrer(registry, "a", (&two, "application/spdx+json", "other"));
    // Once more, as after a crash.
    push_referrer(registry, "a", (&one, "application/spdx+json", "sbom"));
    let found = registry.referrers("a", &sha256(&one)).unwrap();
    let mut wanted = vec![(sbom, "sbom"), (signature, "signature")];
    wanted.sort_unstable();
    let listed: Vec<_> =
        found.iter().map(|found| (found.digest, found.annotations["text"].as_str())).collect();
    assert_eq!(listed, wanted);
    let found = registry.referrers("a", &sha256(&two)).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].digest, found[0].artifact_type.as_str()),
        (other, "application/spdx+json")
    );
    let document = registry.read_manifest("a", &other).unwrap().unwrap();
    assert_eq!(found[0].size, document.len() as u64);
    assert_eq!(found[0].media_type, MANIFEST);
    assert_eq!(registry.referrers("b", &sha256(&one)).unwrap(), []);
    // A subject may come later, or never.
    push_referrer(registry, "c", (b"never pushed", "x/y", "early"));
    assert_eq!(registry.referrers("c", &sha256(b"never pushed")).unwrap().len(), 1);
}

fn bad_names_are_refused(registry: &dyn Registry, _: &Path) {
    let digest = sha256(b"x");
    let is_refused = |error: Option<RegistryError>| {
        assert!(matches!(error, Some(RegistryError::Name { .. })), "{error:?}");
    };
    for name in ["", "/x", "../x", "a/../../x", "a//b", "a/", "a\0b", "A", "a:b", "a?b"] {
        is_refused(registry.has_blob(name, &digest).err());
        is_refused(registry.push_blob(name, Content::Bytes(b"x")).err());
        is_refused(registry.push_manifest(name, &bytes(&manifest(b"", b""))).err());
        is_refused(registry.read_manifest(name, &digest).err());
        is_refused(registry.tag(name, "v1", &digest).err());
        is_refused(registry.resolve(name, "v1").err());
        is_refused(registry.referrers(name, &digest).err());
    }
    let image = sha256(&push_image(registry, "a", "x"));
    for tag in ["", "a/b", "../x", ".x", "-x", "a+b", "a b", &image.to_string()] {
        is_refused(registry.tag("a", tag, &image).err());
        is_refused(registry.resolve("a", tag).err());
    }
}

fn one_of_many_wins(registry: &dyn Registry, _: &Path) {
    const MANY: usize = 6;
    let images: Vec<Digest> = (0..MANY)
        .map(|number| sha256(&push_image(registry, "contested", &format!("image {number}"))))
        .collect();
    let barrier = Barrier::new(MANY);
    let outcomes: Vec<_> = thread::scope(|scope| {
        let start = |digest| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                registry.tag("contested", "v1", digest).map(|created| (created, *digest))
            })
        };
        let threads: Vec<_> = images.iter().map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let winners: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
    assert_eq!(winners.len(), 1, "{outcomes:?}");
    assert_eq!(winners[0].0, Created::New);
    assert_eq!(registry.resolve("contested", "v1").unwrap(), Some(winners[0].1));
    let moved =
        outcomes.iter().filter(|outcome| matches!(outcome, Err(RegistryError::Moved { .. })));
    assert_eq!(moved.count(), MANY - 1, "{outcomes:?}");
    // The same image from many at once is whole in the end.
    thread::scope(|scope| {
        for _ in 0..MANY {
            scope.spawn(|| push_image(registry, "shared", "the same"));
        }
    });
    assert_eq!(
        push_image(registry, "shared", "the same"),
        push_image(registry, "shared", "the same")
    );
}
