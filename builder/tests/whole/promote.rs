//! A release goes from one environment to another: the same bytes, verified first, signed anew; or it stays where it is.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use kdistro_formats::channel::ReleaseChannel;
use serde_json::Value;

use crate::{
    run::{Ran, must, run, verifier, with},
    shared::files,
    tiny::{MANIFEST, PROJECT, Tiny},
};

/// An environment beside `local`, which takes only whole channels from a clean tree.
pub(crate) fn add_environment(tiny: &Tiny, name: &str) {
    let file = format!("infra/environments/{name}.yaml");
    let text = format!(
        "name: {name}\nstore: {{directory: {name}/store}}\nregistry: {{directory: {name}/registry}}\n\
         announcements: {{directory: {name}/announcements}}\nkeys: {{directory: {name}/keys}}\n\
         logOrigin: log.{name}.kdistro.dev\n"
    );
    tiny.write(&file, &text);
    tiny.commit();
    tiny.run(&["key", "new", "--environment", name]).expect(0);
}

pub(crate) fn store(tiny: &Tiny, environment: &str) -> PathBuf {
    match environment {
        "local" => tiny.store(),
        other => tiny.path("home").join(other).join("store"),
    }
}

/// Verifies everything in the store of one environment with the key of another.
pub(crate) fn verify(tiny: &Tiny, environment: &str, signed_by: &str, manifest: &str) -> Ran {
    let key = tiny.path("user").join(format!("{signed_by}.pub"));
    let show = ["key", "show", "--environment", signed_by];
    fs::write(&key, must(&mut tiny.kdistro(&show))).unwrap();
    let mut verify = with(verifier(), ["--all", "--key"]);
    run(verify.arg(key).arg(store(tiny, environment).join(manifest)))
}

pub(crate) fn index(tiny: &Tiny, environment: &str) -> ReleaseChannel {
    let file = store(tiny, environment).join("releasechannels/9-1.yaml");
    ReleaseChannel::from_yaml(&fs::read_to_string(file).unwrap()).unwrap()
}

pub(crate) fn promote(tiny: &Tiny, release: &str, more: &[&str]) -> Ran {
    let words = ["promote", release, "--from", "local", "--to", "production"];
    tiny.run(&[&words[..], more].concat())
}

pub(crate) fn manifest(number: u32) -> String {
    format!("kubernetes-9-1/kubernetes-9-1-{number}.yaml")
}

/// Cuts a release with another plan than the one before.
pub(crate) fn cut_another(tiny: &Tiny, from: &str, to: &str) {
    tiny.replace(PROJECT, from, to);
    tiny.commit();
    tiny.cut().expect(0);
}

/// A world with a release, and a second environment without any.
pub(crate) fn world() -> Tiny {
    let tiny = Tiny::ready();
    tiny.cut().expect(0);
    add_environment(&tiny, "production");
    tiny
}

pub(crate) fn count(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

#[test]
fn a_promoted_release_is_the_same_bytes_signed_by_the_other_key() {
    let tiny = world();
    cut_another(&tiny, "hello tarball", "hello archive");
    let production = store(&tiny, "production");
    // First it only says what it would do.
    promote(&tiny, "9-1-2", &["--dry-run"]).expect(0).prints(&[
        "release 9-1-2 of local, manifest sha256:",
        "would copy ",
        "would sign kubernetes-9-1/kubernetes-9-1-2.yaml.sigstore.json",
        "withheld in production: 1, which was not promoted from local",
        "would announce it",
    ]);
    assert!(!production.exists(), "a dry run wrote something");
    let promoted = promote(&tiny, "9-1-2", &["--json"]).expect(0);
    let promoted: Value = serde_json::from_str(&promoted.out).unwrap();
    assert_eq!(promoted["to"], "production");
    assert_eq!(promoted["withheld"]["1"], "was not promoted from local");

    let (here, there) = (manifest(2), production.join(manifest(2)));
    assert_eq!(fs::read(tiny.store().join(&here)).unwrap(), fs::read(&there).unwrap());
    let told = verify(&tiny, "production", "production", &here).expect(0);
    told.prints(&["verified", "cut in another environment"]);
    verify(&tiny, "local", "local", &here).expect(0);
    // What one environment does to its files is nothing to the other.
    let inodes = |store: &Path| -> BTreeSet<_> {
        let inode = |name: String| fs::metadata(store.join(name)).unwrap().ino();
        files(store).into_iter().map(inode).collect()
    };
    assert!(inodes(&production).is_disjoint(&inodes(&tiny.store())));
    // No key satisfies the other environment.
    verify(&tiny, "production", "local", &here).expect(1);
    verify(&tiny, "local", "production", &here).expect(1);
    let bundle = format!("{here}.sigstore.json");
    fs::copy(tiny.store().join(&bundle), production.join(&bundle)).unwrap();
    verify(&tiny, "production", "production", &here).expect(1);
}

#[test]
fn an_environment_with_a_gate_takes_only_what_passed_one() {
    let tiny = world();
    let file = "infra/environments/production.yaml";
    tiny.replace(file, "logOrigin", "gate: devcluster\nlogOrigin");
    tiny.commit();
    for more in [&["--dry-run"][..], &[]] {
        promote(&tiny, "9-1-1", more).expect(2).says(&[
            "release 9-1-1 has not passed a gate with a node in `local`",
            "its tests were not run",
            "--gate devcluster",
        ]);
    }
    assert!(!store(&tiny, "production").join("releasechannels").exists());
}

#[test]
fn the_index_of_the_other_environment_says_its_name_and_has_no_hole() {
    let tiny = world();
    cut_another(&tiny, "hello tarball", "hello archive");
    promote(&tiny, "9-1-2", &[]).expect(0).prints(&["release 9-1-2 is promoted to production"]);
    let said = index(&tiny, "production");
    assert_eq!(said.spec.environment.as_deref(), Some("production"));
    assert_eq!(said.status.latest_release, 2);
    let withheld = &said.status.withheld[0];
    assert_eq!(
        (withheld.number, withheld.digest),
        (1, Some(index(&tiny, "local").status.releases[0].digest))
    );
    // What was passed over stays so.
    promote(&tiny, "9-1-1", &[])
        .expect(2)
        .says(&["release 9-1-1 is withheld in `production`: was not promoted from local"]);
    cut_another(&tiny, "hello archive", "hello again");
    promote(&tiny, "9-1-3", &[]).expect(0);
    assert_eq!(index(&tiny, "production").status.releases.len(), 2);
    // Once more changes nothing and announces nothing.
    let before = files(&store(&tiny, "production"));
    promote(&tiny, "9-1-3", &[]).expect(0).prints(&["nothing to do: it was promoted"]);
    assert_eq!(files(&store(&tiny, "production")), before);
    assert_eq!(count(&tiny.path("home/production/announcements")), 2);
    verify(&tiny, "production", "production", &manifest(3)).expect(0);
}

#[test]
fn what_is_not_verified_is_not_promoted() {
    let tiny = world();
    let artifact = files(&tiny.store()).into_iter().find(|name| name.ends_with(".tar.gz")).unwrap();
    let path = tiny.store().join(&artifact);
    let good = fs::read(&path).unwrap();
    let mut bad = good.clone();
    bad[100] ^= 1;
    crate::tiny::write(&path, &bad);
    promote(&tiny, "9-1-1", &[])
        .expect(1)
        .prints(&["is not verified, so nothing was copied", &artifact]);
    assert_eq!(files(&store(&tiny, "production")), [""; 0], "what was copied meanwhile stayed");
    crate::tiny::write(&path, &good);
    // Signed by another key than the one that must have.
    let key = tiny.path("user/production.pub");
    fs::write(&key, must(&mut tiny.kdistro(&["key", "show", "--environment", "production"])))
        .unwrap();
    promote(&tiny, "9-1-1", &["--key", key.to_str().unwrap()]).expect(1);
    promote(&tiny, "9-1-7", &[]).expect(2).says(&["there is no release 9-1-7 in "]);
    promote(&tiny, "9-1-1", &[]).expect(0);
}

#[test]
fn what_was_yanked_or_cut_from_a_dirty_tree_is_not_promoted() {
    let tiny = world();
    tiny.run(&["yank", "9-1-1", "--reason", "it bites"]).expect(0);
    promote(&tiny, "9-1-1", &[]).expect(2).says(&["withheld or yanked where it was cut: it bites"]);
    tiny.replace(PROJECT, "hello tarball", "hello archive");
    tiny.cut().expect(0);
    tiny.commit();
    promote(&tiny, "9-1-2", &[])
        .expect(2)
        .says(&["was cut from an uncommitted tree, and environment `production` takes only"]);
    assert_eq!(files(&store(&tiny, "production")), [""; 0]);
}

#[test]
fn a_yank_is_announced_with_its_reason() {
    let tiny = world();
    let folder = tiny.path("home/announcements");
    assert_eq!(count(&folder), 1);
    for _ in 0..2 {
        tiny.run(&["yank", "9-1-1", "--reason", "it bites"]).expect(0);
        assert_eq!(count(&folder), 2, "a repeat has another id");
    }
    let texts =
        files(&folder).into_iter().map(|name| fs::read_to_string(folder.join(name)).unwrap());
    let yanked: Vec<_> = texts.filter(|text| text.contains("it bites")).collect();
    let document: Value = serde_json::from_str(&yanked[0]).unwrap();
    assert_eq!(document["attributes"]["event"], "yanked");
    assert_eq!(document["subject"], "kdistro 9-1-1 is yanked");
}

#[test]
fn a_promotion_that_is_killed_is_finished_by_the_next_run() {
    let tiny = world();
    let mut killed = 0;
    loop {
        let words = ["promote", "9-1-1", "--from", "local", "--to", "production", "--json"];
        let mut child = tiny.kdistro(&words);
        let child = child.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let event = lines.map_while(Result::ok).nth(killed);
        child.kill().unwrap();
        child.wait().unwrap();
        if event.is_none() {
            break;
        }
        killed += 1;
    }
    assert!(killed > 10, "only {killed} were killed");
    promote(&tiny, "9-1-1", &[]).expect(0);
    verify(&tiny, "production", "production", MANIFEST).expect(0);
    assert_eq!(count(&tiny.path("home/production/announcements")), 1);
}

/// A new key is a new environment: everything that should stay is promoted into it, and its bytes stay what they are.
#[test]
fn a_key_is_rotated_by_promoting_into_an_environment_with_another() {
    let tiny = world();
    promote(&tiny, "9-1-1", &[]).expect(0);
    cut_another(&tiny, "hello tarball", "hello archive");
    promote(&tiny, "9-1-2", &[]).expect(0);
    add_environment(&tiny, "successor");
    for number in ["9-1-1", "9-1-2"] {
        let words = ["promote", number, "--from", "production", "--to", "successor"];
        tiny.run(&words).expect(0);
    }
    for number in [1, 2] {
        let name = manifest(number);
        verify(&tiny, "successor", "successor", &name).expect(0);
        verify(&tiny, "successor", "production", &name).expect(1);
        let of = |environment| fs::read(store(&tiny, environment).join(&name)).unwrap();
        assert_eq!(of("local"), of("successor"));
    }
    assert!(index(&tiny, "successor").status.withheld.is_empty());
}
