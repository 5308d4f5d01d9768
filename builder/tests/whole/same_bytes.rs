//! Two cuts that have nothing in common but the configuration publish the same bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use kdistro_formats::layout;
use kdistro_verify::hash::sha256;
use serde_json::Value;

use crate::{
    run::{self, KDISTRO, go_settings, is_root, must, not_judged, verifier, with},
    shared::{DATE, MANIFEST, PART, Shared, copy, files, scratch, shared},
};

/// Every kind of file that must be the same, by begin and end of its name: a comparison without one proves nothing
/// about it.
const SAME: [(&str, &str); 11] = [
    ("kubernetes-1-20/kubernetes-1-20-1", ".yaml"),
    ("kubernetes-1-20/releases/1/plan", ".json"),
    ("kubernetes-1-20/releases/1/release", ".spdx.json"),
    ("kubernetes-1-20/releases/1/artifacts/etcd/v3.4.23/etcd-image", ".spdx.json"),
    ("kubernetes-1-20/releases/1/artifacts/etcd/v3.4.23/etcd-linux", ".tar.gz.spdx.json"),
    ("kubernetes-1-20/releases/1/artifacts/plugins/", ".tar.gz"),
    ("kubernetes-1-20/releases/1/artifacts/plugins/", ".tar.gz.sha512"),
    ("kubernetes-1-20/releases/1/artifacts/", "/SHA256SUM"),
    ("containers/images/sha256:", ""),
    ("releasechannels/1-20", ".yaml"),
    ("crds/", ".yaml"),
];

fn is_like(name: &str, (begin, end): (&str, &str)) -> bool {
    name.starts_with(begin) && name.ends_with(end)
}

/// What a signature, a log or a key makes differ; everything else must be the same.
fn may_differ(name: &str) -> bool {
    let folders = ["log/", "keys/"].iter().any(|folder| name.starts_with(folder));
    // The announcement carries the bundle.
    let files =
        [".sigstore.json", "/claim", "/announcement.json"].iter().any(|end| name.ends_with(end));
    folders || files || name.contains("/attestations/")
}

/// Lists what one store has and the other has not, or with other content.
fn different(a: &Path, b: &Path) -> Vec<String> {
    let names: BTreeSet<String> = files(a).into_iter().chain(files(b)).collect();
    let read = |store: &Path, name: &String| fs::read(store.join(name)).ok();
    names.into_iter().filter(|name| read(a, name) != read(b, name)).collect()
}

/// Less what may differ: of that, only that both have it is looked at.
fn unexplained(a: &Path, b: &Path) -> Vec<String> {
    let both = |name: &String| a.join(name).is_file() && b.join(name).is_file();
    let (of_a, of_b) = (attested_blobs(a), attested_blobs(b));
    let is_explained = |name: &String| {
        (may_differ(name) && both(name)) || of_a.contains(name) || of_b.contains(name)
    };
    different(a, b).into_iter().filter(|name| !is_explained(name)).collect()
}

/// The blobs that are attestations: what differs there has another name here.
fn attested_blobs(store: &Path) -> BTreeSet<String> {
    let attestations = files(store).into_iter().filter(|name| name.contains("/attestations/"));
    let blob = |name: String| layout::image_blob(&sha256(&fs::read(store.join(name)).unwrap()));
    attestations.map(blob).collect()
}

#[test]
fn another_user_folder_time_zone_locale_umask_and_core_count_give_the_same_bytes() {
    let first = shared();
    // Below the system's folder for temporary files, which an ordinary user can reach.
    let folder = tempfile::Builder::new().prefix("kdistro-other-").tempdir().unwrap();
    let home = cut_differently(first, folder.path());
    let second = home.join("store");
    assert_eq!(unexplained(&first.store(), &second), Vec::<String>::new());
    let names = files(&second);
    for kind in SAME {
        assert!(names.iter().any(|name| is_like(name, kind)), "{kind:?}");
    }
    // Two keys signed: had nothing differed, one store was compared with itself.
    assert!(different(&first.store(), &second).contains(&"keys/release.pub".to_owned()));
    let images = tagged(&first.home.join("registry"));
    assert_eq!(images, tagged(&home.join("registry")));
    assert!(images.keys().any(|name| name.starts_with("etcd-io/etcd:")), "{images:#?}");
    assert_eq!(provenances(&first.store()), provenances(&second));
    let key = folder.path().join("key.pub");
    fs::copy(second.join("keys/release.pub"), &key).unwrap();
    must(with(verifier(), ["--key"]).arg(key).arg("--all").arg(second.join(MANIFEST)));
}

#[test]
fn one_other_byte_in_any_kind_of_file_is_noticed() {
    let (first, second) = (shared().copy_of_release(), shared().copy_of_release());
    let (first, second) = (first.path(), second.path());
    assert_eq!(different(first, second), Vec::<String>::new());
    let attested = attested_blobs(first);
    let names = files(first).into_iter().filter(|name| !attested.contains(name));
    let names: Vec<_> = names.collect();
    // Definitions are not copied: they are given, not made.
    for kind in SAME.into_iter().filter(|(begin, _)| *begin != "crds/") {
        let name = names.iter().find(|name| is_like(name, kind)).unwrap();
        let bytes = fs::read(second.join(name)).unwrap();
        let mut other = bytes.clone();
        *other.last_mut().unwrap() ^= 1;
        fs::write(second.join(name), &other).unwrap();
        assert_eq!(unexplained(first, second), [name.as_str()]);
        fs::remove_file(second.join(name)).unwrap();
        assert_eq!(unexplained(first, second), [name.as_str()]);
        fs::write(second.join(name), bytes).unwrap();
    }
    // Another key and its signatures are no difference, but a signature that is missing is.
    let bundle = format!("{MANIFEST}.sigstore.json");
    fs::write(second.join("keys/release.pub"), "another").unwrap();
    fs::write(second.join(&bundle), "another").unwrap();
    assert_eq!(unexplained(first, second), Vec::<String>::new());
    fs::remove_file(second.join(&bundle)).unwrap();
    assert_eq!(unexplained(first, second), [bundle]);
}

/// What a registry gives for each tag.
fn tagged(registry: &Path) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for name in files(registry) {
        let Some(repository) = name.strip_suffix("/index.json") else { continue };
        let index: Value =
            serde_json::from_slice(&fs::read(registry.join(&name)).unwrap()).unwrap();
        for manifest in index["manifests"].as_array().unwrap() {
            let tag = &manifest["annotations"]["org.opencontainers.image.ref.name"];
            if let Some(tag) = tag.as_str() {
                found.insert(format!("{repository}:{tag}"), manifest["digest"].clone());
            }
        }
    }
    found
}

/// What provenances say, less what the container could enforce for that user.
fn provenances(store: &Path) -> BTreeMap<String, Value> {
    let folder = scratch("provenance");
    let (text, mut found) = (folder.path().join("payload"), BTreeMap::new());
    for name in files(store).into_iter().filter(|name| name.contains("/attestations/")) {
        let bundle: Value = serde_json::from_slice(&fs::read(store.join(&name)).unwrap()).unwrap();
        fs::write(&text, bundle["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
        let statement = must(with("base64", ["--decode"]).arg(&text));
        let mut statement: Value = serde_json::from_str(&statement).unwrap();
        let definition = &mut statement["predicate"]["buildDefinition"];
        assert!(definition["internalParameters"]["isolation"].take().is_array(), "{name}");
        found.insert(name, statement);
    }
    assert_eq!(found.len(), 2, "one a component");
    found
}

/// Cuts the same release in a folder, as another user where the tests are root; returns its home.
fn cut_differently(first: &Shared, folder: &Path) -> PathBuf {
    let repository = folder.join("a/deeper/repository");
    let home = folder.join("another home");
    let user = folder.join("user");
    fs::create_dir_all(repository.parent().unwrap()).unwrap();
    fs::create_dir_all(&user).unwrap();
    copy(&first.repository, &repository);
    bring_inputs(first, &home.join("content/sha256"));
    let program = folder.join("kdistro");
    fs::copy(KDISTRO, &program).unwrap();
    let mut command = as_other_user(folder);
    let script = "umask 077; exec taskset --cpu-list 0 \"$@\"";
    command.args(["sh", "-c", script, "sh"]).arg(program);
    command.env_clear().env("PATH", run::path()).env("HOME", &user).env("TZ", "Pacific/Chatham");
    command.envs([("LANG", "tr_TR.UTF-8"), ("LC_ALL", "tr_TR.UTF-8"), ("USER", "somebody")]);
    command.envs(go_settings().iter().map(|(name, value)| (name, value)));
    command.args(["cut", "1-20", "--date", DATE]).args(PART).arg("--home").arg(&home);
    let cut = run::run(command.current_dir(&repository)).expect(0);
    assert!(cut.out.contains("1-20-1"), "{}", cut.out);
    home
}

/// Lays the published inputs into an otherwise empty content store, so that nothing is downloaded twice.
fn bring_inputs(first: &Shared, content: &Path) {
    for name in files(&first.store().join("inputs/sha256")) {
        let shard = content.join(&name[..2]);
        fs::create_dir_all(&shard).unwrap();
        fs::copy(first.store().join("inputs/sha256").join(&name), shard.join(&name)).unwrap();
    }
}

fn as_other_user(folder: &Path) -> Command {
    if is_root() {
        must(with("chown", ["-R", "nobody:nogroup"]).arg(folder));
        must(with("chmod", ["755"]).arg(folder));
        return with("setpriv", ["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]);
    }
    not_judged("a cut as root and one as an ordinary user", "the tests do not run as root");
    run::program("env")
}
