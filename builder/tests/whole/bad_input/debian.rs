//! Debian packages: changed, badly signed, vanished, quarrelling, with scripts that nobody read.

use std::fs;

use super::{
    archive::{Debian, Package, Signed},
    nothing_is_published,
};
use crate::{
    shared::files,
    tiny::{CHANNEL, LOCK, MANIFEST, PROJECT, write},
};

fn certificates() -> Package {
    Package::new("certificates", "etc/certificates", "one and another\n")
}

fn zones() -> Package {
    Package::new("zones", "usr/share/zones", "here and there\n")
}

/// The input is mended: it is locked, cut with the first number, and everything verifies.
#[track_caller]
fn locks_and_completes(world: &Debian) {
    world.lock().expect(0);
    completes(world);
}

#[track_caller]
fn completes(world: &Debian) {
    world.tiny.commit();
    world.cut().expect(0).prints(&["released 9-1-1"]);
    world.tiny.verify(MANIFEST).expect(0);
}

#[test]
fn a_package_index_that_is_not_rightly_signed_is_refused_and_nothing_is_locked() {
    let world = Debian::new(&["certificates"]);
    let before = world.tiny.read(LOCK);
    let unwanted = &world.archive.unwanted()[24..];
    for (signed, reasons) in [
        (Signed::ByAnother, &["NO_PUBKEY", unwanted][..]),
        (Signed::ByNobody, &["is not signed"]),
        (Signed::Before, &["BADSIG"]),
        (Signed::ByExpired, &["EXPKEYSIG"]),
        (Signed::Expired, &["EXPSIG"]),
        (Signed::TooOld, &["is expired"]),
    ] {
        world.archive.publish(&[certificates()], signed);
        world.lock().expect(2).says(reasons).says(&[
            "image base little",
            "lists of suite `small`",
            &world.archive.wanted(),
            "file:",
        ]);
        assert_eq!(world.tiny.read(LOCK), before, "{signed:?} is locked");
        nothing_is_published(&world.tiny);
    }
    world.archive.publish(&[certificates()], Signed::Well);
    locks_and_completes(&world);
}

#[test]
fn a_package_with_one_changed_byte_is_refused_wherever_it_lies() {
    let world = Debian::new(&["certificates"]);
    let before = world.tiny.read(LOCK);
    world.archive.publish(&[certificates()], Signed::Well);
    let file = world.archive.file(&certificates());
    let good = fs::read(&file).unwrap();
    let mut changed = good.clone();
    changed[good.len() / 2] ^= 1;
    // In the archive, before it is locked.
    write(&file, &changed);
    world.lock().expect(2).says(&["image base little", "certificates=1.0-1", "Hash Sum mismatch"]);
    assert_eq!(world.tiny.read(LOCK), before);
    write(&file, &good);
    world.lock().expect(0);
    world.tiny.commit();
    // In our own store, after it was locked.
    let digest = world.tiny.locked("name: certificates", "sha256: ");
    let kept = world.tiny.content(&digest);
    write(&kept, &changed);
    let named = "pkg:deb/debian/certificates@1.0-1?arch=all&distro=small";
    world.cut().expect(2).says(&["`hello-image`", named, &digest, "expected", "help:"]);
    nothing_is_published(&world.tiny);
    assert!(!kept.exists(), "what is damaged stays");
    // In the archive, which has a new index of it: the same name and version with other content.
    let other = Package::new("certificates", "etc/certificates", "one and a forged one\n");
    world.archive.publish(&[other], Signed::Well);
    world.cut().expect(2).says(&["certificates_1.0-1_all.deb", &digest, "expected", "help:"]);
    nothing_is_published(&world.tiny);
    world.archive.publish(&[certificates()], Signed::Well);
    completes(&world);
}

#[test]
fn a_package_that_vanished_upstream_is_taken_from_our_store() {
    let world = Debian::new(&["certificates"]);
    world.archive.publish(&[certificates()], Signed::Well);
    world.lock().expect(0);
    world.tiny.commit();
    let newer = Package { version: "1.1-1", ..certificates() };
    world.archive.publish(&[newer], Signed::Well);
    // Locked again without being asked for new packages, the lock stays as it is.
    world.lock().expect(0).prints(&["is current"]);
    // Where nobody has it any more, package and version are named, and what to do.
    let digest = world.tiny.locked("name: certificates", "sha256: ");
    let (kept, aside) = (world.tiny.content(&digest), world.tiny.path("aside"));
    fs::rename(&kept, &aside).unwrap();
    world.cut().expect(2).says(&[
        "cannot have `certificates` as locked",
        "Version '1.0-1' for 'certificates' was not found",
        "help:",
        "`kdistro lock --refresh`",
    ]);
    nothing_is_published(&world.tiny);
    fs::rename(&aside, &kept).unwrap();
    completes(&world);
    // Whoever has not fetched it before finds it beside the release; it must be what was published.
    fs::remove_file(&kept).unwrap();
    world.tiny.replace(PROJECT, "hello tarball", "the same otherwise");
    world.tiny.commit();
    let hex = digest.trim_start_matches("sha256:");
    let published = files(&world.tiny.store().join("inputs"));
    let published = published.iter().find(|name| name.ends_with(hex)).unwrap();
    let published = world.tiny.store().join("inputs").join(published);
    let good = fs::read(&published).unwrap();
    write(&published, &good[1..]);
    world.cut().expect(2).says(&["in the store", &digest, "inputs/sha256/"]);
    write(&published, &good);
    world.cut().expect(0).prints(&["released 9-1-2"]);
    // The newer one is what a refreshed lock takes.
    world.run(&["lock", CHANNEL, "--refresh"]).expect(0).prints(&["image bases: other packages"]);
    assert!(world.tiny.read(LOCK).contains("1.1-1"));
}

#[test]
fn two_packages_that_own_one_file_are_named_with_the_file() {
    let world = Debian::new(&["certificates", "zones"]);
    let mut both = [certificates(), zones()];
    both[1].files.push(("etc/certificates", "mine alone\n"));
    world.archive.publish(&both, Signed::Well);
    world.lock().expect(0);
    world.tiny.commit();
    world.cut().expect(2).says(&[
        "the base of `hello-image` for linux/amd64",
        "`etc/certificates` is a file",
        "of certificates and a file",
        "of zones",
        "help:",
        "`packages`",
    ]);
    nothing_is_published(&world.tiny);
    world.archive.publish(&[certificates(), Package { version: "1.1-1", ..zones() }], Signed::Well);
    world.run(&["lock", CHANNEL, "--refresh"]).expect(0);
    completes(&world);
}

#[test]
fn a_maintainer_script_is_reported_until_somebody_has_read_it() {
    let world = Debian::new(&["certificates", "zones"]);
    let before = world.tiny.read(LOCK);
    let mut both = [certificates(), zones()];
    both[1].scripts = vec!["postinst", "preinst"];
    world.archive.publish(&both, Signed::Well);
    world.lock().expect(2).says(&[
        "`zones 1.0-1` of image base `little`",
        "(postinst, preinst)",
        "help:  read them",
        "`scripts`",
    ]);
    assert_eq!(world.tiny.read(LOCK), before);
    let named = "packages: [certificates, zones]\n";
    let read = format!(
        "{named}    scripts: [zones]\n    links: [{{path: usr/bin/greet, target: hello}}]\n"
    );
    world.tiny.replace("projects/inputs.yaml", named, &read);
    locks_and_completes(&world);
}
