//! Inputs that changed, are damaged, or do not fit: each named, nothing half-published, and the next run completes.

mod archive;
mod debian;
mod programs;

use std::fs;

use crate::{
    run::Ran,
    shared::{DATE, commit_all, git},
    tiny::{CHANNEL, LOCK, MANIFEST, PATCHES, Tiny, write},
};

/// The input is mended: the next run completes with the first number, and everything verifies.
#[track_caller]
fn completes(tiny: &Tiny) {
    tiny.cut().expect(0).prints(&["released 9-1-1"]);
    tiny.verify(MANIFEST).expect(0);
}

#[track_caller]
fn nothing_is_published(tiny: &Tiny) {
    assert!(!tiny.store().join("kubernetes-9-1").exists(), "something is published");
}

#[test]
fn a_moved_tag_is_refused_with_both_commits_named() {
    let tiny = Tiny::ready();
    let upstream = tiny.path("upstream");
    let old = git(&upstream, &["rev-parse", "v1.0.0"]);
    write(&upstream.join("LICENSE"), "do nothing\n");
    let new = commit_all(&upstream, "another");
    git(&upstream, &["tag", "--force", "v1.0.0"]);
    tiny.run(&["mirror", CHANNEL, "--refresh"]).expect(2).says(&["v1.0.0", &old, &new]);
    tiny.run(&["lock", CHANNEL, "--refresh"]).expect(2).says(&["v1.0.0", &old, &new]);
    // An empty mirror knows nothing of the old commit; the lock does.
    fs::remove_dir_all(tiny.path("home/mirrors")).unwrap();
    fs::remove_file(tiny.content(&tiny.locked("project: tiny/hello", "archive: "))).unwrap();
    tiny.cut().expect(2).says(&["v1.0.0", &old, &new]);
    nothing_is_published(&tiny);
    git(&upstream, &["tag", "--force", "v1.0.0", &old]);
    completes(&tiny);
}

/// A patch as `git format-patch` writes it, which changes the first word of the licence.
fn patch(from: &str, to: &str) -> String {
    format!(
        "From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\nFrom: A <a@example.org>\nDate: Tue, 14 Nov 2023 22:13:20 +0000\nSubject: [PATCH] Say it otherwise\n\nUpstream: not submitted, because it is a test\nDrop-when: v2.0.0\n---\n LICENSE | 2 +-\n 1 file changed, 1 insertion(+), 1 deletion(-)\n\ndiff --git a/LICENSE b/LICENSE\n--- a/LICENSE\n+++ b/LICENSE\n@@ -1 +1 @@\n-{from}\n+{to}\n-- \n2.39.5\n\n"
    )
}

#[test]
fn a_changed_patch_makes_the_lock_stale_until_it_is_locked_again() {
    let tiny = Tiny::ready();
    let name = format!("{PATCHES}/0001-say-it-otherwise.patch");
    tiny.write(&name, &patch("do as you please", "do as we please"));
    tiny.cut().expect(2).says(&[LOCK, "kdistro lock 9-1"]);
    tiny.run(&["lock", CHANNEL, "--check"]).expect(1);
    tiny.run(&["lock", CHANNEL]).expect(0);
    tiny.commit();
    tiny.run(&["cut", CHANNEL, "--until", "package"]).expect(0);
    tiny.replace(&name, "+do as we please", "+do as they please");
    tiny.cut().expect(2).says(&[LOCK, "tiny/hello", "kdistro lock 9-1"]);
    nothing_is_published(&tiny);
    tiny.run(&["lock", CHANNEL]).expect(0);
    tiny.run(&["lock", CHANNEL, "--check"]).expect(0);
    tiny.commit();
    completes(&tiny);
}

#[test]
fn a_patch_that_does_not_apply_is_named_with_file_and_hunk_and_what_to_do() {
    let tiny = Tiny::ready();
    let name = "0001-say-it-otherwise.patch";
    tiny.write(&format!("{PATCHES}/{name}"), &patch("never was there", "do as we please"));
    let help = "help:  rebase it with `kdistro patch edit tiny/hello v1.0.0`";
    tiny.run(&["lock", CHANNEL]).expect(2).says(&[name, "LICENSE", "hunk 1", help]);
    tiny.run(&["patch", "status", CHANNEL])
        .expect(1)
        .prints(&[name, "conflicts in LICENSE, hunk 1"]);
    fs::remove_dir_all(tiny.path("repository/patches")).unwrap();
    completes(&tiny);
}

#[test]
fn a_changed_line_of_go_sum_is_refused_with_the_module_named() {
    let tiny = Tiny::ready();
    let upstream = tiny.path("upstream");
    let sums = fs::read_to_string(upstream.join("go.sum")).unwrap();
    let wrong = sums.replacen("h1:", "h1:AAAA", 1);
    let cut = wrong.find("AAAA").unwrap();
    let end = wrong[cut..].find('=').unwrap() + cut;
    let wrong = format!("{}{}", &wrong[..end - 4], &wrong[end..]);
    write(&upstream.join("go.sum"), &wrong);
    commit_all(&upstream, "a wrong sum");
    git(&upstream, &["tag", "v1.0.1"]);
    tiny.replace("release-manifests/9-1/channel.yaml", "v1.0.0", "v1.0.1");
    let ran = tiny.run(&["lock", CHANNEL]).expect(2);
    ran.says(&["tiny/hello", "example.org/greeting@v1.0.0", "checksum mismatch"]);
    assert!(tiny.read(LOCK).contains("v1.0.0\n"), "the old lock stays");
    tiny.replace("release-manifests/9-1/channel.yaml", "v1.0.1", "v1.0.0");
    completes(&tiny);
}

/// Runs a cut on damaged content; the damage must be found whether or not it is laid out already.
fn damaged(digest: impl Fn(&Tiny) -> String, damage: impl Fn(Vec<u8>) -> Vec<u8>) -> (Tiny, Ran) {
    let tiny = Tiny::unbuilt();
    fs::remove_dir_all(tiny.path("home/trees")).unwrap();
    let path = tiny.content(&digest(&tiny));
    let bytes = damage(fs::read(&path).unwrap());
    write(&path, bytes);
    let ran = tiny.cut();
    (tiny, ran)
}

fn toolchain(tiny: &Tiny) -> String {
    tiny.locked("toolchains:", "sha256: sha256:")
}

#[test]
fn one_changed_byte_in_the_toolchain_is_found_and_the_toolchain_fetched_again() {
    let (tiny, ran) = damaged(toolchain, |mut bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    });
    ran.expect(2).says(&[&toolchain(&tiny), "expected"]);
    nothing_is_published(&tiny);
    completes(&tiny);
}

#[test]
fn a_truncated_source_is_found_and_made_again() {
    let archive = |tiny: &Tiny| tiny.locked("project: tiny/hello", "archive: sha256:");
    let (tiny, ran) = damaged(archive, |bytes| bytes[..bytes.len() / 2].to_vec());
    ran.expect(2).says(&[&archive(&tiny)]);
    nothing_is_published(&tiny);
    completes(&tiny);
}

#[test]
fn a_changed_input_is_never_published_from_a_cache() {
    // Everything is built: nothing but publishing reads the toolchain.
    let tiny = Tiny::ready();
    let path = tiny.content(&toolchain(&tiny));
    let mut bytes = fs::read(&path).unwrap();
    bytes[1000] ^= 1;
    write(&path, bytes);
    tiny.cut().expect(2).says(&[&toolchain(&tiny)]);
    assert!(!tiny.store().join(MANIFEST).exists());
    completes(&tiny);
}

#[test]
fn a_truncated_download_is_refused_with_the_module_named() {
    let tiny = Tiny::unbuilt();
    let module = tiny.locked("path: example.org/greeting", "sha256: sha256:");
    fs::remove_file(tiny.content(&module)).unwrap();
    fs::remove_dir_all(tiny.path("home/trees")).unwrap();
    let whole = fs::read(tiny.module("zip")).unwrap();
    fs::write(tiny.module("zip"), &whole[..whole.len() / 2]).unwrap();
    tiny.cut().expect(2).says(&["example.org/greeting@v1.0.0"]);
    nothing_is_published(&tiny);
    fs::write(tiny.module("zip"), whole).unwrap();
    completes(&tiny);
}

#[test]
fn a_moved_debian_or_git_address_is_said_and_nothing_is_published() {
    let tiny = Tiny::unbuilt();
    fs::remove_dir_all(tiny.path("home/mirrors")).unwrap();
    fs::remove_file(tiny.content(&tiny.locked("project: tiny/hello", "archive: "))).unwrap();
    fs::rename(tiny.path("upstream"), tiny.path("away")).unwrap();
    tiny.cut().expect(2).says(&["upstream.example/tiny/hello"]);
    nothing_is_published(&tiny);
    fs::rename(tiny.path("away"), tiny.path("upstream")).unwrap();
    completes(&tiny);
}

#[test]
fn an_unfinished_release_with_another_plan_is_refused_until_it_is_abandoned() {
    let tiny = Tiny::ready();
    tiny.run(&["cut", CHANNEL, "--date", DATE, "--until", "package"]).expect(0);
    // The claim stands, and nothing behind it: as after a crash at once.
    let claim = stop_after_the_claim(&tiny);
    tiny.replace(crate::tiny::PROJECT, "hello tarball", "another description");
    tiny.commit();
    tiny.cut().expect(2).says(&["9-1-1", "kdistro abandon 9-1-1"]);
    tiny.run(&["abandon", "9-1-1", "--reason", "begun by mistake"]).expect(0);
    tiny.cut().expect(0).prints(&["released 9-1-2"]);
    let index = fs::read_to_string(tiny.store().join("releasechannels/9-1.yaml")).unwrap();
    for text in ["withheld:", "begun by mistake", "latestRelease: 2"] {
        assert!(index.contains(text), "`{text}` is not in:\n{index}");
    }
    let kept = fs::read(tiny.store().join("kubernetes-9-1/releases/1/claim")).unwrap();
    assert_eq!(kept, claim, "the claim of a number stays");
    tiny.verify("kubernetes-9-1/kubernetes-9-1-2.yaml").expect(0);
    tiny.run(&["abandon", "9-1-2", "--reason", "too late"]).expect(2).says(&["9-1-2"]);
}

/// Makes a cut fail right after the claim: a folder stands where the first input should go.
fn stop_after_the_claim(tiny: &Tiny) -> Vec<u8> {
    let inputs = tiny.store().join("inputs");
    fs::create_dir_all(inputs.parent().unwrap()).unwrap();
    fs::write(&inputs, "").unwrap();
    tiny.cut().expect(2).says(&["inputs"]);
    fs::remove_file(inputs).unwrap();
    fs::read(tiny.store().join("kubernetes-9-1/releases/1/claim")).unwrap()
}

#[test]
fn what_stands_under_a_published_name_is_never_overwritten() {
    let tiny = Tiny::ready();
    stop_after_the_claim(&tiny);
    let name = "kubernetes-9-1/releases/1/artifacts/tiny/v1.0.0/SHA256SUM";
    let wanted = tiny.store().join(name.replace("/tiny/", "/hello/"));
    write(&wanted, "something else\n");
    let ran = tiny.cut().expect(2);
    ran.says(&["SHA256SUM", "is already published with other content"]);
    assert_eq!(fs::read_to_string(&wanted).unwrap(), "something else\n");
    assert!(!tiny.store().join(MANIFEST).exists());
    fs::remove_file(wanted).unwrap();
    completes(&tiny);
}
