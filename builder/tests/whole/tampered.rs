//! Somebody else writes to the store, or takes away from it, between two runs: nothing of that is signed, offered or
//! announced.

use std::fs;

use serde_json::json;

use crate::{
    promote::{
        add_environment, count, cut_another, index, manifest, promote, store, verify, world,
    },
    run::{Ran, must},
    shared::files,
    tiny::{Tiny, write},
};

/// The index of the channel, with the bundle of which it is named.
const INDEX: &str = "releasechannels/9-1.yaml";

/// Lets the next announcements into `production` fail.
fn silence(tiny: &Tiny) {
    let folder = tiny.path("home/production/announcements");
    if folder.exists() {
        fs::rename(&folder, tiny.path("home/production/told")).unwrap();
    }
    write(&folder, b"no folder");
}

/// Lets them through again.
fn unsilence(tiny: &Tiny) {
    let folder = tiny.path("home/production/announcements");
    fs::remove_file(&folder).unwrap();
    let told = tiny.path("home/production/told");
    if told.exists() {
        fs::rename(told, folder).unwrap();
    }
}

/// A release that is promoted, and of which nobody was told.
fn untold() -> Tiny {
    let tiny = world();
    silence(&tiny);
    promote(&tiny, "9-1-1", &[]).expect(2);
    unsilence(&tiny);
    tiny
}

fn announcements(tiny: &Tiny) -> usize {
    count(&tiny.path("home/production/announcements"))
}

fn yank(tiny: &Tiny, release: &str) -> Ran {
    tiny.run(&["yank", release, "--reason", "it bites", "--environment", "production"])
}

/// What is announced, newest text last in no order: subjects alone.
fn subjects(tiny: &Tiny) -> Vec<String> {
    let folder = tiny.path("home/production/announcements");
    let read = |name: String| fs::read_to_string(folder.join(name)).unwrap();
    let subject = |text: String| {
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        document["subject"].as_str().unwrap().to_owned()
    };
    files(&folder).into_iter().map(read).map(subject).collect()
}

#[test]
fn nothing_is_announced_of_which_something_was_taken_away() {
    let tiny = untold();
    let production = store(&tiny, "production");
    let inputs = production.join("inputs");
    let kept = tiny.path("kept");
    fs::rename(&inputs, &kept).unwrap();
    let told = "is missing in the store although the journal says";
    promote(&tiny, "9-1-1", &[]).expect(2).says(&[told]);
    assert_eq!(announcements(&tiny), 0);
    fs::rename(&kept, &inputs).unwrap();
    // What is made here is put back.
    fs::remove_dir_all(production.join("keys")).unwrap();
    promote(&tiny, "9-1-1", &[]).expect(0);
    verify(&tiny, "production", "production", &manifest(1)).expect(0);
    assert_eq!(announcements(&tiny), 1);
}

#[test]
fn a_manifest_that_was_changed_is_not_announced() {
    let tiny = untold();
    let path = store(&tiny, "production").join(manifest(1));
    let good = fs::read(&path).unwrap();
    write(&path, [&good[..], b"# more\n"].concat());
    promote(&tiny, "9-1-1", &[]).expect(2).says(&["is already published with other content"]);
    // A cut, which announces what earlier runs could not, does not either.
    let cut = ["cut", "9-1", "--environment", "production"];
    tiny.run(&cut).expect(2).says(&["is not what this environment signed, and is not announced"]);
    assert_eq!(announcements(&tiny), 0);
    write(&path, &good);
    promote(&tiny, "9-1-1", &[]).expect(0);
    assert_eq!(announcements(&tiny), 1);
}

#[test]
fn a_bundle_of_another_key_is_not_taken_for_ours() {
    let tiny = world();
    let production = store(&tiny, "production");
    let bundle = format!("{}.sigstore.json", manifest(1));
    let of_dev = fs::read(tiny.store().join(&bundle)).unwrap();
    write(&production.join(&bundle), &of_dev);
    promote(&tiny, "9-1-1", &[]).expect(2).says(&["is not signed by this environment's key"]);
    assert_eq!(announcements(&tiny), 0);
    fs::remove_file(production.join(&bundle)).unwrap();
    promote(&tiny, "9-1-1", &[]).expect(0);
    verify(&tiny, "production", "production", &manifest(1)).expect(0);
}

#[test]
fn an_index_that_was_turned_back_is_not_extended() {
    let tiny = world();
    cut_another(&tiny, "hello tarball", "hello archive");
    promote(&tiny, "9-1-1", &[]).expect(0);
    let path = store(&tiny, "production").join(INDEX);
    let older = fs::read(&path).unwrap();
    yank(&tiny, "9-1-1").expect(0);
    let newer = fs::read(&path).unwrap();
    write(&path, &older);
    let says = ["is older than the one that", "it was turned back"];
    promote(&tiny, "9-1-2", &[]).expect(2).says(&says);
    fs::remove_file(&path).unwrap();
    promote(&tiny, "9-1-2", &[]).expect(2).says(&says);
    write(&path, &newer);
    promote(&tiny, "9-1-2", &[]).expect(0);
    let said = index(&tiny, "production");
    assert_eq!(said.status.yanked.len(), 1);
    assert_eq!(said.status.releases.len(), 2);
}

#[test]
fn a_log_that_was_cut_is_seen_by_a_machine_that_never_saw_it() {
    let tiny = world();
    cut_another(&tiny, "hello tarball", "hello archive");
    promote(&tiny, "9-1-1", &[]).expect(0);
    let checkpoint = store(&tiny, "production").join("log/checkpoint");
    let older = fs::read(&checkpoint).unwrap();
    yank(&tiny, "9-1-1").expect(0);
    let newer = fs::read(&checkpoint).unwrap();
    write(&checkpoint, &older);
    fs::remove_dir_all(tiny.path("home/log-heads")).unwrap();
    promote(&tiny, "9-1-2", &[]).expect(2).says(&["it was cut or forked"]);
    write(&checkpoint, &newer);
    promote(&tiny, "9-1-2", &[]).expect(0);
}

#[test]
fn a_claim_of_another_number_is_refused() {
    let tiny = world();
    let claim = tiny.store().join("kubernetes-9-1/releases/1/claim");
    let planted = tiny.store().join("kubernetes-9-1/releases/2/claim");
    write(&planted, fs::read(&claim).unwrap());
    tiny.replace(crate::tiny::PROJECT, "hello tarball", "hello archive");
    tiny.commit();
    tiny.cut().expect(2).says(&["releases/2/claim", "is the claim of 9-1-1"]);
    fs::remove_file(planted).unwrap();
    // A number is written in one way only.
    let other = tiny.store().join("kubernetes-9-1/releases/007/claim");
    write(&other, fs::read(&claim).unwrap());
    tiny.cut().expect(0).prints(&["released 9-1-2"]);
}

#[test]
fn a_release_that_was_yanked_before_it_was_announced_is_announced_as_yanked_alone() {
    let tiny = untold();
    silence(&tiny);
    yank(&tiny, "9-1-1").expect(2).says(&["it was not announced", "run this again"]);
    unsilence(&tiny);
    yank(&tiny, "9-1-1").expect(0);
    assert_eq!(subjects(&tiny), ["kdistro 9-1-1 is yanked"]);
    promote(&tiny, "9-1-1", &[]).expect(2).says(&["is yanked in `production`: it bites"]);
    verify(&tiny, "production", "production", &manifest(1)).expect(0);
    // The next run makes up for a yank that could not be announced.
    let tiny = world();
    promote(&tiny, "9-1-1", &[]).expect(0);
    silence(&tiny);
    yank(&tiny, "9-1-1").expect(2);
    unsilence(&tiny);
    cut_another(&tiny, "hello tarball", "hello archive");
    promote(&tiny, "9-1-2", &[]).expect(0);
    assert!(subjects(&tiny).contains(&"kdistro 9-1-1 is yanked".to_owned()));
}

#[test]
fn one_environment_is_fed_by_one_chain_of_releases() {
    let tiny = world();
    add_environment(&tiny, "other");
    cut_another(&tiny, "hello tarball", "hello archive");
    let date = "2026-03-03T00:00:00Z";
    let cut = ["cut", "9-1", "--environment", "other", "--date", date];
    tiny.run(&cut).expect(0);
    tiny.replace(crate::tiny::PROJECT, "hello archive", "hello again");
    tiny.commit();
    tiny.run(&cut).expect(0);
    promote(&tiny, "9-1-1", &[]).expect(0);
    let from_other = |release: &str, more: &[&str]| {
        let words = ["promote", release, "--from", "other", "--to", "production"];
        tiny.run(&[&words[..], more].concat())
    };
    // A dry run says the same.
    for more in [&["--dry-run"][..], &[]] {
        from_other("9-1-1", more).expect(2).says(&["has a release 9-1-1 of its own"]);
        from_other("9-1-2", more).expect(2).says(&["follows 1 with manifest sha256:"]);
    }
    assert_eq!(announcements(&tiny), 1);
}

#[test]
fn a_promotion_says_what_became_of_it() {
    let tiny = world();
    let outcome = |more: &[&str]| {
        let said = promote(&tiny, "9-1-1", &[more, &["--json"]].concat()).expect(0);
        let said: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        said["outcome"].clone()
    };
    assert_eq!(outcome(&["--dry-run"]), json!("planned"));
    assert_eq!(outcome(&[]), json!("promoted"));
    assert_eq!(outcome(&["--dry-run"]), json!("unchanged"));
    assert_eq!(outcome(&[]), json!("unchanged"));
    promote(&tiny, "9-1-1", &[]).expect(0).prints(&["nothing to do: it was promoted"]);
}

#[test]
fn reasons_are_lines_that_can_be_shown() {
    let tiny = world();
    let long = "x".repeat(501);
    for reason in ["", " ", "a\nb", "\u{1b}[31mred", "\u{202e}x", &long] {
        let words = ["yank", "9-1-1", "--reason", reason];
        tiny.run(&words).expect(2).says(&["printable characters"]);
    }
    assert!(must(&mut tiny.kdistro(&["status"])).contains("9-1-1"));
}
