//! What is told without being wrong: a tree that nobody committed, and entries that somebody cleaned away.

use kdistro_formats::{channel::Yanked, layout};
use kdistro_verify::{
    check::{Outcome, Report, Scope},
    hash,
    log::tile_path,
};

use crate::{content::name, publisher::Publisher};

fn has_note(report: &Report, file: &str, text: &str) -> bool {
    report.notes.iter().any(|note| note.file == file && note.message.contains(text))
}

#[test]
fn a_manifest_of_an_uncommitted_tree_is_told() {
    let mut publisher = Publisher::with_releases();
    let manifest = layout::manifest(&name(3));
    let told = |publisher: &Publisher| {
        let report = publisher.check(3, Scope::Release);
        has_note(&report, &manifest, "uncommitted tree")
    };
    let text = String::from_utf8(publisher.read(&manifest)).unwrap();
    let commit = format!("spec:\n  buildRepoCommit: '{}'\n", "0".repeat(40));
    let with = text.replacen("spec:\n", &commit, 1);
    assert_ne!(with, text);
    assert!(told(&publisher), "the sample names no commit");
    publisher.write_signed(&manifest, with);
    assert!(!told(&publisher));
}

#[test]
fn superseded_entries_that_were_cleaned_away_are_told() {
    let publisher = Publisher::with_releases();
    let tile = |width| format!("log/{}", tile_path("entries", 0, width));
    let verified = |publisher: &Publisher| {
        let report = publisher.check(3, Scope::All);
        assert_eq!(report.outcome, Outcome::Verified, "{report}");
        report
    };
    let whole = verified(&publisher);
    assert!(whole.notes.iter().all(|note| !note.file.starts_with("log/")), "{whole}");
    publisher.remove(&tile(2));
    assert!(has_note(&verified(&publisher), &tile(2), "is missing: entries tiles"));
    publisher.remove(&tile(4));
    assert!(has_note(&verified(&publisher), &tile(2), "is missing, and 1 more: entries tiles"));
    let publisher = Publisher::with_releases();
    publisher.remove(&format!("log/{}", tile_path("0", 0, 2)));
    let report = verified(&publisher);
    assert!(!report.notes.iter().any(|note| note.file.starts_with("log/")), "{report}");
}

#[test]
fn an_index_that_was_turned_back_is_told() {
    let mut publisher = Publisher::with_releases();
    let index = layout::channel_index(&name(1).channel);
    let before = publisher.read(&index);
    let told = |publisher: &Publisher| {
        let report = publisher.check(3, Scope::All);
        assert_eq!(report.outcome, Outcome::Verified, "{report}");
        let notes = report.notes.iter().filter(|note| note.message.contains("turned back"));
        notes.map(|note| note.file.clone()).collect::<Vec<_>>()
    };
    assert_eq!(told(&publisher), [""; 0]);
    let reason = "loses keys".to_owned();
    publisher.index.status.yanked.push(Yanked { number: 3, reason });
    publisher.write_index();
    assert_eq!(told(&publisher), [""; 0]);
    let bundle = layout::channel_bundle(&hash::sha256(&publisher.read(&index)));
    publisher.write(&index, before);
    assert_eq!(told(&publisher), [bundle.as_str()]);
    // Without its bundle, the log alone shows that something was signed.
    publisher.remove(&bundle);
    assert_eq!(told(&publisher), [""; 0]);
    let report = publisher.check(3, Scope::All);
    assert!(has_note(&report, layout::CHECKPOINT, "document is not in the store"), "{report}");
    assert!(!has_note(&publisher.check(3, Scope::Inputs), layout::CHECKPOINT, "in the store"));
}

#[test]
fn a_yank_that_was_taken_back_by_a_newer_index_cannot_be_told() {
    let mut publisher = Publisher::with_releases();
    let reason = "loses keys".to_owned();
    publisher.index.status.yanked.push(Yanked { number: 3, reason });
    publisher.write_index();
    publisher.index.status.yanked.clear();
    // Another index than the one before the yank: that one would have its bundle already.
    publisher.index.status.supported_until = Some("2027-01-01".to_owned());
    publisher.write_index();
    let report = publisher.check(3, Scope::All);
    assert_eq!(report.outcome, Outcome::Verified, "{report}");
    assert!(report.notes.iter().all(|note| note.message.contains("uncommitted tree")), "{report}");
}
