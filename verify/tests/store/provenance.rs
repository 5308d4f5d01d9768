//! Provenances: exactly one a component, about exactly its assets, of the plan that the manifest names.

use kdistro_formats::{
    canonical, layout,
    release::Release,
    statement::{Provenance, REBUILD, Statement, Subject},
};
use kdistro_verify::{
    check::{Outcome, Scope},
    hash,
};

use crate::{
    content::{name, provenance},
    defects::{assert_differs, the_manifest},
    publisher::Publisher,
};

/// Publishes a changed provenance of etcd in release 3 and says what its file is called.
fn changed(change: impl Fn(&mut Statement<Provenance>)) -> (Publisher, String) {
    let mut publisher = Publisher::with_releases();
    let text = String::from_utf8(publisher.read(&the_manifest())).unwrap();
    let manifest = Release::from_yaml(&text).unwrap();
    let mut statement = provenance(&manifest, &manifest.status.components[1]);
    change(&mut statement);
    let file = layout::provenance(&name(3), "etcd");
    let bundle = canonical::to_vec(&publisher.attest_statement(&statement)).unwrap();
    // It lies among the blobs of images, too.
    let blob = |content: &[u8]| layout::image_blob(&hash::sha256(content));
    publisher.remove(&blob(&publisher.read(&file)));
    publisher.write(&blob(&bundle), &bundle);
    publisher.write(&file, bundle);
    (publisher, file)
}

#[test]
fn a_provenance_may_be_signed_again() {
    let (publisher, _) = changed(|statement| statement.subject.reverse());
    let report = publisher.check(3, Scope::All);
    assert_eq!(report.outcome, Outcome::Verified, "{report}");
}

#[test]
fn provenance_missing() {
    let publisher = Publisher::with_releases();
    for component in ["etcd", "cni-plugins"] {
        let file = layout::provenance(&name(3), component);
        publisher.remove(&file);
        assert_differs(&publisher.check(3, Scope::Release), &file, "is missing");
    }
}

#[test]
fn provenance_of_another_component() {
    let publisher = Publisher::with_releases();
    let file = layout::provenance(&name(3), "etcd");
    let original = publisher.read(&file);
    publisher.write(&file, publisher.read(&layout::provenance(&name(3), "cni-plugins")));
    let report = publisher.check(3, Scope::Release);
    assert_differs(&report, &file, "does not speak of `etcd/etcd-image`");
    assert_differs(&report, &file, "which is no asset of it");
    assert_differs(&report, &file, "`externalParameters.component` is `cni-plugins`");
    publisher.write(&file, original);
    let stray = layout::provenance(&name(3), "coredns");
    publisher.write(&stray, publisher.read(&file));
    let report = publisher.check(3, Scope::Release);
    assert_differs(&report, &stray, "is the provenance of no component of this release");
}

#[test]
fn provenance_of_another_release() {
    let publisher = Publisher::with_releases();
    let file = layout::provenance(&name(3), "etcd");
    publisher.write(&file, publisher.read(&layout::provenance(&name(1), "etcd")));
    assert_differs(
        &publisher.check(3, Scope::Release),
        &file,
        "`externalParameters.release` is `1-20-1`, expected `1-20-3`",
    );
}

#[test]
fn provenance_of_another_signer() {
    let publisher = Publisher::with_releases();
    let other = Publisher::with_releases();
    let file = layout::provenance(&name(3), "etcd");
    publisher.write(&file, other.read(&file));
    assert_differs(&publisher.check(3, Scope::Release), &file, "signed by another key");
}

#[test]
fn provenance_that_says_something_else() {
    type Change = fn(&mut Statement<Provenance>);
    let cases: [(Change, &str); 10] = [
        (|s| s.predicate_type = REBUILD.to_owned(), "`predicateType` is"),
        (|s| s.predicate.build_definition.build_type.push('0'), "`buildType` is"),
        (
            |s| {
                let other = hash::sha256(b"another plan");
                s.predicate.build_definition.external_parameters.plan = other;
            },
            "`externalParameters.plan` is",
        ),
        (|s| drop(s.subject.pop()), "does not speak of `etcd/etcd-image`"),
        (|s| s.subject.push(s.subject[0].clone()), "speaks of `bin/linux/amd64/etcd` twice"),
        (
            |s| s.subject.push(Subject::new("extra", &hash::sha256(b""))),
            "speaks of `extra`, which is no asset of it",
        ),
        (
            |s| s.subject[2] = Subject::new("etcd-image", &hash::sha256(b"")),
            "speaks of `etcd/etcd-image` with another digest",
        ),
        (
            |s| drop(s.subject[1].digest.insert("sha1".to_owned(), "0".to_owned())),
            "speaks of `etcd/etcd-linux-amd64-v3.4.23.tar.gz` with another digest",
        ),
        (
            |s| {
                let dependency = &mut s.predicate.build_definition.resolved_dependencies[0];
                *dependency.digest.get_mut("sha256").unwrap() = "00".repeat(32);
            },
            "depends on `etcd`, which is no input of the plan",
        ),
        (
            |s| s.predicate.build_definition.resolved_dependencies[0].digest.clear(),
            "depends on `etcd`, which is no input of the plan",
        ),
    ];
    for (change, why) in cases {
        let (publisher, file) = changed(change);
        assert_differs(&publisher.check(3, Scope::Release), &file, why);
    }
}
