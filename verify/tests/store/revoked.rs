//! A stolen release key: what it signed before the entry of the log that its owner names stays good, the rest is refused.

use kdistro_formats::{
    canonical, layout,
    statement::{STATEMENT, Statement, Subject, TEST_RESULT},
};
use kdistro_verify::{
    bundle::{self, BundleError},
    check::{Outcome, Report, Scope, TrustSource, check},
    hash,
    store::Directory,
    trust::{PublicKey, Trust, TrustError},
};
use serde::de::IgnoredAny;

use crate::{
    content::{manifest, name, provenance},
    defects::assert_differs,
    publisher::Publisher,
};

/// A publisher whose key was stolen between two releases.
pub(crate) struct Stolen {
    pub(crate) publisher: Publisher,
    /// The first entry of the log that is the thief's.
    pub(crate) from: u64,
    /// The index of the channel, as its owner signed it last.
    pub(crate) index: Vec<u8>,
}

impl Stolen {
    pub(crate) fn new() -> Self {
        let mut publisher = Publisher::new();
        let first = publisher.release(1, None);
        publisher.write_index();
        let from = publisher.leaf_count();
        let index = publisher.read(&index());
        publisher.release(2, Some(first));
        publisher.write_index();
        Self { publisher, from, index }
    }

    /// The owner puts the index of before back.
    pub(crate) fn turn_back(&self) {
        self.publisher.write(&index(), &self.index);
    }

    fn check(&self, number: u32, from: u64) -> Report {
        let root = self.publisher.read(layout::TRUSTED_ROOT);
        let source = TrustSource::new(self.publisher.key(), Some(root), Some(from)).unwrap();
        check_in(&self.publisher, number, &source)
    }
}

fn check_in(publisher: &Publisher, number: u32, source: &TrustSource) -> Report {
    let store = Directory::new(publisher.root());
    check(&store, &layout::manifest(&name(number)), source, Scope::Release)
}

fn index() -> String {
    layout::channel_index(&name(1).channel)
}

fn index_bundle(publisher: &Publisher) -> String {
    layout::channel_bundle(&hash::sha256(&publisher.read(&index())))
}

#[test]
fn the_release_of_before_is_good_and_the_one_of_the_thief_differs() {
    let stolen = Stolen::new();
    let from = stolen.from;
    let manifest = layout::bundle(&layout::manifest(&name(2)));
    let why = format!("revoked from log index {from} on, and this was signed at index ");
    assert_differs(&stolen.check(2, from), &manifest, &why);
    // The index of the channel is the thief's, too, and the only thing that is wrong with the release of before.
    let report = stolen.check(1, from);
    assert_differs(&report, &index_bundle(&stolen.publisher), &why);
    assert_eq!(report.problems.len(), 1, "{report}");
    stolen.turn_back();
    let report = stolen.check(1, from);
    assert_eq!(report.outcome, Outcome::Verified, "{report}");
    assert!(report.to_string().contains(&format!("revoked     from entry {from} of the log on\n")));
    assert_differs(&stolen.check(2, from), &manifest, &why);
}

#[test]
fn the_entry_that_is_named_is_the_first_that_is_not_believed() {
    let stolen = Stolen::new();
    let last = stolen.publisher.leaf_count() - 1;
    let report = stolen.check(2, last + 1);
    assert_eq!(report.outcome, Outcome::Verified, "{report}");
    // The last entry is the index's.
    assert_differs(&stolen.check(2, last), &index_bundle(&stolen.publisher), "at index");
    // The first is the trusted root's, and nothing comes before it.
    let report = stolen.check(2, 0);
    assert_differs(&report, &layout::bundle(layout::TRUSTED_ROOT), "signed at index 0");
}

#[test]
fn statements_of_the_thief_about_a_release_of_before_are_refused() {
    let mut stolen = Stolen::new();
    stolen.turn_back();
    let (first, from) = (name(1), stolen.from);
    let release = manifest(&first, hash::sha256(b""), None);
    let component = &release.status.components[0];
    let claims = stolen.publisher.attest_statement(&provenance(&release, component));
    let subject =
        Subject::new("it", &hash::sha256(&stolen.publisher.read(&layout::manifest(&first))));
    let tests = stolen.publisher.attest_statement(&Statement {
        kind: STATEMENT.to_owned(),
        subject: vec![subject.clone()],
        predicate_type: TEST_RESULT.to_owned(),
        predicate: serde_json::json!({ "result": "PASSED" }),
    });
    let rebuilt = stolen.publisher.attest(subject);
    let folder = layout::attestations(&first);
    for (file, statement) in [
        (layout::provenance(&first, &component.name), claims),
        (format!("{folder}/gate.sigstore.json"), tests),
        (format!("{folder}/rebuild.sigstore.json"), rebuilt),
    ] {
        let kept = stolen.publisher.root().join(&file).exists();
        let kept = kept.then(|| stolen.publisher.read(&file));
        stolen.publisher.write(&file, canonical::to_vec(&statement).unwrap());
        assert_differs(&stolen.check(1, from), &file, "the key is revoked from log index");
        match kept {
            Some(kept) => stolen.publisher.write(&file, kept),
            None => stolen.publisher.remove(&file),
        }
    }
    let report = stolen.check(1, from);
    assert_eq!(report.outcome, Outcome::Verified, "{report}");
}

#[test]
fn every_kind_of_bundle_is_judged_by_its_entry() {
    let mut publisher = Publisher::new();
    let root = publisher.read(layout::TRUSTED_ROOT);
    let message = (publisher.leaf_count(), canonical::to_vec(&publisher.sign(b"text")).unwrap());
    let subject = Subject::new("it", &hash::sha256(b"it"));
    let statement =
        (publisher.leaf_count(), canonical::to_vec(&publisher.attest(subject)).unwrap());
    let trust = |from| Trust::from_trusted_root(&root, &revoked(&publisher, from)).unwrap();
    let is_refused = |error: Option<BundleError>, entry| {
        let is_it = |error| matches!(error, BundleError::Revoked { from, index } if from == entry && index == entry);
        assert!(error.is_some_and(is_it), "entry {entry}");
    };
    let (entry, json) = &message;
    is_refused(bundle::verify_message(json, b"text", &trust(*entry)).err(), *entry);
    is_refused(bundle::verify_signed_digest(json, &trust(*entry)).err(), *entry);
    assert_eq!(bundle::verify_message(json, b"text", &trust(entry + 1)).unwrap().index, *entry);
    let unlogged = bundle::verify_unlogged(json, b"text", &revoked(&publisher, entry + 1));
    assert!(matches!(unlogged, Err(BundleError::Unlogged(_))), "no log says when");
    let (entry, json) = &statement;
    let read = |from| bundle::verify_statement::<IgnoredAny>(json, &trust(from));
    is_refused(read(*entry).err(), *entry);
    assert_eq!(read(entry + 1).unwrap().1.index, *entry);
}

#[test]
fn a_bundle_cannot_claim_an_earlier_entry_than_its_own() {
    let mut publisher = Publisher::new();
    let root = publisher.read(layout::TRUSTED_ROOT);
    for text in ["a", "b", "c"] {
        publisher.sign(text.as_bytes());
    }
    let from = publisher.leaf_count();
    let json = canonical::to_vec(&publisher.sign(b"text")).unwrap();
    let json = String::from_utf8(json).unwrap();
    let trust = Trust::from_trusted_root(&root, &revoked(&publisher, from)).unwrap();
    let own = format!("\"logIndex\":\"{from}\"");
    assert_eq!(json.matches(&own).count(), 2, "{json}");
    for index in 0..from {
        let claimed = json.replace(&own, &format!("\"logIndex\":\"{index}\""));
        let error = bundle::verify_message(claimed.as_bytes(), b"text", &trust).unwrap_err();
        assert!(matches!(error, BundleError::Refused(_)), "{index}: {error}");
    }
}

fn revoked(publisher: &Publisher, from: u64) -> PublicKey {
    publisher.key().revoke_from(from)
}

#[test]
fn a_revocation_counts_in_no_log_of_the_thief() {
    let stolen = Stolen::new();
    let (key, from) = (stolen.publisher.key(), stolen.from);
    let root = stolen.publisher.read(layout::TRUSTED_ROOT);
    // All that the thief signs there comes before the entry.
    let mut thief = stolen.publisher.with_another_log();
    thief.release(1, None);
    thief.write_index();
    assert!(thief.leaf_count() <= from);
    let believed = check_in(&thief, 1, &thief.source());
    assert_eq!(believed.outcome, Outcome::Verified, "{believed}");
    let given = TrustSource::new(key.clone(), Some(root), Some(from)).unwrap();
    let report = check_in(&thief, 1, &given);
    assert_differs(&report, layout::TRUSTED_ROOT, "is not the trusted root that was given");
    let manifest = layout::bundle(&layout::manifest(&name(1)));
    assert_differs(&report, &manifest, "stapled checkpoint");
    // Without a root from outside nothing is said, however the source was made.
    let refused = TrustSource::new(key.clone(), None, Some(from));
    assert!(matches!(refused, Err(TrustError::Revocation)));
    let source = TrustSource { key: key.revoke_from(from), trusted_root: None };
    let report = check_in(&thief, 1, &source);
    assert_eq!(report.outcome, Outcome::Unknown, "{report}");
    assert!(report.to_string().contains("needs a trusted root from outside"), "{report}");
}
