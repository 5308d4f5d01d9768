//! No changed byte of any published file is overlooked, and the file is named.

use std::collections::BTreeSet;

use kdistro_formats::layout;
use kdistro_verify::{
    check::{Outcome, Problem, Scope},
    store::{Directory, Reader},
};

use crate::{content::name, publisher::Publisher};

/// Changes one byte of `file` in about `positions` places, and requires that it is named each time.
///
/// Every place is tried in a file of at most twice as many bytes.
fn flip(publisher: &Publisher, file: &str, scope: Scope, positions: usize) -> usize {
    let original = publisher.read(file);
    let step = if original.len() <= 2 * positions { 1 } else { original.len() / positions };
    let places: BTreeSet<_> =
        (0..original.len()).step_by(step).chain([original.len() - 1]).collect();
    for (index, &place) in places.iter().enumerate() {
        // In turn the lowest bit, the case bit and the highest.
        let bit = [0x01, 0x20, 0x80][index % 3];
        let mut changed = original.clone();
        changed[place] ^= bit;
        publisher.write(file, &changed);
        let report = publisher.check(3, scope);
        let is_named =
            |problem: &Problem| problem.file == file && problem.outcome == Outcome::Differs;
        let named = report.problems.iter().any(is_named);
        let around = place.saturating_sub(12)..(place + 12).min(original.len());
        let around = original[around].escape_ascii();
        assert!(
            report.outcome == Outcome::Differs && named,
            "{file}: byte {place} changed by {bit:#x} in {around}\n{report}",
        );
    }
    publisher.write(file, &original);
    places.len()
}

#[test]
fn every_changed_byte_of_a_store_is_found_and_its_file_named() {
    let publisher = Publisher::with_releases();
    let report = publisher.check(3, Scope::All);
    assert_eq!(report.outcome, Outcome::Verified, "{report}");
    let files = Directory::new(publisher.root()).list("").unwrap().unwrap();
    assert!(files.len() > 60, "{files:#?}");
    // What lies in the folder of a number that was never published is signed by nothing.
    let abandoned = layout::release(&name(2));
    let tried: usize = files
        .iter()
        .filter(|file| !file.starts_with(&abandoned))
        .map(|file| flip(&publisher, file, Scope::All, 12))
        .sum();
    assert!(tried > 900, "{tried}");
    assert_eq!(publisher.check(3, Scope::All).outcome, Outcome::Verified);
}

#[test]
fn every_changed_byte_of_a_release_is_found_by_its_own_check() {
    let publisher = Publisher::with_releases();
    let files = Directory::new(publisher.root()).list("").unwrap().unwrap();
    let release = layout::release(&name(3));
    let manifest = layout::manifest(&name(3));
    let mine = |file: &&String| {
        let starts = [release.as_str(), manifest.as_str(), "keys/", "log/"];
        starts.iter().any(|start| file.starts_with(start))
    };
    let tried: usize =
        files.iter().filter(mine).map(|file| flip(&publisher, file, Scope::Release, 40)).sum();
    assert!(tried > 1500, "{tried}");
    assert_eq!(publisher.check(3, Scope::Release).outcome, Outcome::Verified);
}

#[test]
fn every_missing_file_of_a_store_is_named() {
    let publisher = Publisher::with_releases();
    let files = Directory::new(publisher.root()).list("").unwrap().unwrap();
    let manifest = layout::manifest(&name(3));
    let optional = |file: &String| {
        // Superseded tiles and index bundles may be cleaned away; nothing says how many rebuilds there were.
        file.contains(".p/")
            || file.ends_with("attestations/rebuild.sigstore.json")
            || file.starts_with("releasechannels/bundles/")
            || file.starts_with(&layout::abandoned(&name(2)))
            || *file == manifest
    };
    for file in files.iter().filter(|file| !optional(file)) {
        let original = publisher.read(file);
        publisher.remove(file);
        let report = publisher.check(3, Scope::All);
        let named = report.problems.iter().any(|problem| problem.file == *file);
        assert!(report.outcome == Outcome::Differs && named, "{file}\n{report}");
        publisher.write(file, original);
    }
}
