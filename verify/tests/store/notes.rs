//! What is told without being wrong: a tree that nobody committed, and entries that somebody cleaned away.

use kdistro_formats::layout;
use kdistro_verify::{
    check::{Outcome, Report, Scope},
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
