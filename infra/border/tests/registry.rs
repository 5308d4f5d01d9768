//! What every registry promises, and what a directory of layouts promises besides.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "tests start the judges")]
#![expect(clippy::print_stdout, reason = "a child answers its parent")]

#[path = "contract/registry.rs"]
mod contract;
#[path = "contract/process.rs"]
mod process;

use std::{
    fs,
    fs::File,
    io,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use kdistro_border::{Content, Created, Directory, OciLayouts, Registry, RegistryError, Store};
use kdistro_verify::hash::{sha256, sha256_of};
use serde_json::{Value, json};

use crate::process::{large_file, order, outcome, small_disk, start};

#[test]
fn a_directory_of_layouts_keeps_the_promises_of_a_registry() {
    for (promise, check) in contract::PROMISES {
        println!("{promise}");
        let folder = tempfile::tempdir().unwrap();
        let registry = OciLayouts::new(folder.path().join("made/when/needed"));
        check(&registry, folder.path());
        assert_eq!(leftovers(registry.path()), 0, "{promise}: something temporary is left");
    }
}

/// Counts what lies in the registry's own folder, but for the lock.
fn leftovers(root: &Path) -> usize {
    process::leftovers(&root.join(".kdistro-registry"))
}

fn blob(registry: &OciLayouts, repository: &str, content: &[u8]) -> PathBuf {
    registry.layout(repository).unwrap().join("blobs/sha256").join(sha256(content).hex())
}

#[test]
fn a_blob_of_a_store_or_of_another_repository_is_not_copied() {
    let folder = tempfile::tempdir().unwrap();
    let store = Directory::new(folder.path().join("store"));
    store.create("blob", Content::Bytes(b"content")).unwrap();
    let (path, registry) = (store.path().join("blob"), OciLayouts::new(folder.path().join("r")));
    let file = Content::File { path: &path, digest: sha256(b"content"), size: 7 };
    registry.push_blob("a", file).unwrap();
    registry.push_blob("b/c", Content::Bytes(b"content")).unwrap();
    assert_eq!(path.metadata().unwrap().nlink(), 3);
    assert_eq!(blob(&registry, "b/c", b"content").metadata().unwrap().mode() & 0o7777, 0o644);
    // What others may not read would be published unreadable, and a link is not what it points to.
    let (secret, link) = (folder.path().join("secret"), folder.path().join("link"));
    fs::write(&secret, b"secret").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    symlink(&path, &link).unwrap();
    let registry = OciLayouts::new(folder.path().join("r2"));
    for (path, content) in [(&secret, &b"secret"[..]), (&link, b"content")] {
        let size = content.len() as u64;
        let file = Content::File { path, digest: sha256(content), size };
        assert_eq!(registry.push_blob("a", file).unwrap(), Created::New);
        let metadata = blob(&registry, "a", content).symlink_metadata().unwrap();
        assert!(metadata.is_file());
        assert_eq!((metadata.nlink(), metadata.mode() & 0o7777), (1, 0o644));
    }
    assert_eq!(leftovers(registry.path()), 0);
}

#[test]
fn a_blob_that_was_changed_since_it_was_read_is_not_linked() {
    let folder = tempfile::tempdir().unwrap();
    let registry = OciLayouts::new(folder.path());
    let push = |repository| registry.push_blob(repository, Content::Bytes(b"content")).unwrap();
    push("a");
    // File systems tell times by the tick of a clock.
    thread::sleep(Duration::from_millis(20));
    fs::write(blob(&registry, "a", b"content"), b"another").unwrap();
    push("b");
    assert_eq!(fs::read(blob(&registry, "b", b"content")).unwrap(), b"content");
}

#[test]
fn what_is_damaged_is_neither_content_nor_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let registry = OciLayouts::new(folder.path());
    let image = contract::push_image(&registry, "a", "layer");
    registry.tag("a", "v1", &sha256(&image)).unwrap();
    let layer = blob(&registry, "a", b"layer");
    fs::write(&layer, b"lazer").unwrap();
    let error = registry.push_blob("a", Content::Bytes(b"layer")).unwrap_err();
    assert!(matches!(error, RegistryError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains(&sha256(b"lazer").to_string()), "{error}");
    fs::write(blob(&registry, "a", &image), b"{}").unwrap();
    for error in [
        registry.read_manifest("a", &sha256(&image)).unwrap_err(),
        registry.tag("a", "v2", &sha256(&image)).unwrap_err(),
    ] {
        assert!(matches!(error, RegistryError::Damaged { .. }), "{error}");
    }
    fs::remove_file(&layer).unwrap();
    symlink("/dev/zero", &layer).unwrap();
    let error = registry.has_blob("a", &sha256(b"layer")).unwrap_err();
    assert!(error.to_string().ends_with("is not a plain file"), "{error}");
    let index = registry.layout("a").unwrap().join("index.json");
    fs::write(&index, b"{").unwrap();
    let error = registry.resolve("a", "v1").unwrap_err();
    assert!(error.to_string().contains("index.json: EOF"), "{error}");
    let other = sha256(&contract::push_image(&registry, "a", "other"));
    assert!(matches!(registry.tag("a", "v3", &other), Err(RegistryError::Damaged { .. })));
    assert_eq!(fs::read(&index).unwrap(), b"{");
}

#[test]
fn a_repository_inside_another_is_refused_only_where_they_would_mix() {
    let folder = tempfile::tempdir().unwrap();
    let registry = OciLayouts::new(folder.path());
    for repository in ["a", "a/b", "a/b/c"] {
        let image = contract::push_image(&registry, repository, repository);
        registry.tag(repository, "v1", &sha256(&image)).unwrap();
    }
    for repository in ["a/blobs", "blobs", "a/index.json/b", "oci-layout"] {
        let error = registry.push_blob(repository, Content::Bytes(b"x")).unwrap_err();
        assert!(matches!(error, RegistryError::Name { .. }), "{error}");
    }
}

/// Pushes an image whose layer is a file, and tags it `v1`.
fn push(layer: &Path, root: &Path, repository: &str) -> Result<Created, RegistryError> {
    let registry = OciLayouts::new(root);
    let (digest, size) = sha256_of(File::open(layer).unwrap()).unwrap();
    registry.push_blob(repository, Content::File { path: layer, digest, size })?;
    registry.push_blob(repository, Content::Bytes(b"{}"))?;
    let named =
        |kind: &str, digest, size: u64| json!({"mediaType": kind, "digest": digest, "size": size});
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2, "mediaType": contract::MANIFEST,
        "config": named(contract::CONFIG, sha256(b"{}"), 2),
        "layers": [named(contract::LAYER, digest, size)],
    }));
    let manifest = manifest.unwrap();
    registry.push_manifest(repository, &manifest)?;
    registry.tag(repository, "v1", &sha256(&manifest))
}

/// Checks that a tag, if it is there, names something whole.
fn is_tagged(root: &Path, repository: &str) -> bool {
    let registry = OciLayouts::new(root);
    let Some(digest) = registry.resolve(repository, "v1").unwrap() else { return false };
    let manifest = registry.read_manifest(repository, &digest).unwrap().unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let layer = manifest["layers"][0]["digest"].as_str().unwrap().parse().unwrap();
    assert!(registry.has_blob(repository, &layer).unwrap());
    true
}

/// Not a test: what this program does when a test below starts it again. It is told what by its first line of input.
#[test]
#[ignore = "a part of the other tests, which start it"]
fn child() {
    let words = order();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["push", layer, root] => format!("{:?}", push(Path::new(layer), Path::new(root), "a").ok()),
        ["full", layer, root] => {
            on_a_full_disk(Path::new(layer), Path::new(root));
            "full".to_owned()
        }
        // Somebody runs the ignored tests by hand.
        _ => "nothing to do".to_owned(),
    };
    println!("\noutcome: {outcome}");
}

#[test]
fn a_killed_push_leaves_no_tag_of_half_an_image() {
    let folder = tempfile::tempdir().unwrap();
    let layer = large_file(folder.path(), "layer", 100_000_000);
    // Not readable for all: so it is copied, which takes a while.
    fs::set_permissions(&layer, fs::Permissions::from_mode(0o600)).unwrap();
    let mut killed_in_the_middle = 0;
    for delay in [0, 1, 10, 40, 100, 200] {
        let root = folder.path().join(format!("registry-{delay}"));
        let mut child = start(&[], &["push", layer.to_str().unwrap(), root.to_str().unwrap()]);
        let begun = Instant::now();
        while leftovers(&root) == 0 && !root.join("a").exists() {
            assert!(begun.elapsed() < Duration::from_secs(20), "nothing is written");
            thread::sleep(Duration::from_micros(200));
        }
        thread::sleep(Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        killed_in_the_middle += u8::from(!is_tagged(&root, "a"));
        push(&layer, &root, "a").unwrap();
        assert!(is_tagged(&root, "a"), "after {delay} ms");
        push(&layer, &root, "b").unwrap();
        assert_eq!(leftovers(&root), 0, "after {delay} ms the dead writer's file is still there");
        fs::remove_dir_all(&root).unwrap();
    }
    assert!(killed_in_the_middle > 0, "no push was killed before it was done");
}

#[test]
fn of_many_processes_none_disturbs_another() {
    let folder = tempfile::tempdir().unwrap();
    let layer = large_file(folder.path(), "layer", 2_000_000);
    let root = folder.path().join("registry");
    let words = ["push", layer.to_str().unwrap(), root.to_str().unwrap()];
    let children: Vec<_> = (0..6).map(|_| start(&[], &words)).collect();
    let mut outcomes: Vec<String> = children.into_iter().map(outcome).collect();
    outcomes.sort();
    let same = ["Some(Same)"; 5];
    assert_eq!(outcomes, [&["Some(New)"], &same[..]].concat());
    assert!(is_tagged(&root, "a"));
    assert_eq!(leftovers(&root), 0);
}

#[test]
fn on_a_full_disk_nothing_is_half_there() {
    let folder = tempfile::tempdir().unwrap();
    let layer = large_file(folder.path(), "layer", 4_000_000);
    let option = small_disk();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let disk = disk.to_str().unwrap();
    for limit in ["size=2m", "size=64m,nr_inodes=9"] {
        let script = format!("mount -t tmpfs -o {limit} none {disk} && exec \"$@\"");
        let words = ["full", layer.to_str().unwrap(), disk];
        let child = start(&["unshare", option, "sh", "-c", &script, "sh"], &words);
        assert_eq!(outcome(child), "full", "{limit}");
    }
    assert_eq!(fs::read_dir(disk).unwrap().count(), 0, "the small disk was mounted for everybody");
}

/// Pushes to the full disk, and checks that this shows and harms nothing.
fn on_a_full_disk(layer: &Path, root: &Path) {
    let error = push(layer, root, "a").unwrap_err();
    let RegistryError::Io { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.kind(), io::ErrorKind::StorageFull, "{error}");
    assert!(!is_tagged(root, "a"));
    assert_eq!(leftovers(root), 0);
}

/// Runs a program that judges and returns what it prints. Without it the test fails: what nobody judged has not passed.
#[track_caller]
fn judge(program: &str, arguments: &[&str]) -> String {
    let ran = Command::new(program).args(arguments).output();
    let ran = ran.unwrap_or_else(|error| panic!("{error}: install the Debian package {program}"));
    assert!(ran.status.success(), "{program}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn skopeo_and_umoci_read_the_layouts() {
    let folder = tempfile::tempdir().unwrap();
    let registry = OciLayouts::new(folder.path().join("registry"));
    let index = push_two_platforms(&registry, "etcd-io/etcd", folder.path());
    registry.tag("etcd-io/etcd", "v1", &index.0).unwrap();
    registry.tag("etcd-io/etcd", "amd64", &index.1).unwrap();
    let about = json!({
        "schemaVersion": 2, "mediaType": contract::MANIFEST, "artifactType": "text/plain",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": sha256(b"{}"), "size": 2},
        "layers": [], "subject": {"mediaType": contract::INDEX, "digest": index.0, "size": 1},
    });
    registry.push_blob("etcd-io/etcd", Content::Bytes(b"{}")).unwrap();
    registry.push_manifest("etcd-io/etcd", &serde_json::to_vec(&about).unwrap()).unwrap();
    let layout = registry.layout("etcd-io/etcd").unwrap().display().to_string();
    let image = format!("oci:{layout}:v1");
    let raw = judge("skopeo", &["inspect", "--raw", &image]);
    assert_eq!(sha256(raw.as_bytes()), index.0);
    let copied = folder.path().join("copied");
    let to = format!("dir:{}", copied.display());
    judge("skopeo", &["copy", "--all", "--quiet", "--insecure-policy", &image, &to]);
    assert_eq!(sha256(&fs::read(copied.join("manifest.json")).unwrap()), index.0);
    let listed = judge("umoci", &["ls", "--layout", &layout]);
    let mut listed: Vec<_> = listed.lines().collect();
    listed.sort_unstable();
    assert_eq!(listed, ["amd64", "v1"]);
    let bundle = folder.path().join("bundle");
    let (image, to) = (format!("{layout}:amd64"), bundle.to_str().unwrap());
    judge("umoci", &["unpack", "--rootless", "--image", &image, to]);
    assert_eq!(fs::read(bundle.join("rootfs/etc/arch")).unwrap(), b"amd64");
}

/// Pushes an image for two platforms with one file each; returns the digests of the index and of amd64's manifest.
fn push_two_platforms(
    registry: &dyn Registry,
    repository: &str,
    folder: &Path,
) -> (kdistro_formats::Digest, kdistro_formats::Digest) {
    let named = |kind: &str, content: &[u8]| {
        registry.push_blob(repository, Content::Bytes(content)).unwrap();
        json!({"mediaType": kind, "digest": sha256(content), "size": content.len()})
    };
    let mut manifests = Vec::new();
    for arch in ["amd64", "arm64"] {
        let tree = folder.join(arch);
        fs::create_dir_all(tree.join("etc")).unwrap();
        fs::write(tree.join("etc/arch"), arch).unwrap();
        let tar = |option: &str| {
            let tar = Command::new("tar").args([option, "-", "-C"]).arg(&tree).arg("etc").output();
            tar.unwrap().stdout
        };
        let config = json!({
            "architecture": arch, "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [sha256(&tar("-cf"))]},
        });
        let manifest = json!({
            "schemaVersion": 2, "mediaType": contract::MANIFEST,
            "config": named(contract::CONFIG, &serde_json::to_vec(&config).unwrap()),
            "layers": [named(contract::LAYER, &tar("-czf"))],
        });
        let manifest = serde_json::to_vec(&manifest).unwrap();
        registry.push_manifest(repository, &manifest).unwrap();
        manifests.push(json!({
            "mediaType": contract::MANIFEST, "digest": sha256(&manifest), "size": manifest.len(),
            "platform": {"architecture": arch, "os": "linux"},
        }));
    }
    let index = json!({"schemaVersion": 2, "mediaType": contract::INDEX, "manifests": manifests});
    let index = serde_json::to_vec(&index).unwrap();
    registry.push_manifest(repository, &index).unwrap();
    (sha256(&index), manifests[0]["digest"].as_str().unwrap().parse().unwrap())
}
