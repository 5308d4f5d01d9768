//! What a subscriber demands of a release beyond its own signatures.

use kdistro_formats::{
    ReleaseName, layout,
    release::{Asset, ReleaseRef},
    statement::{PROVENANCE, Statement, TEST_RESULT, TestResult, TestVerdict},
};
use kdistro_verify::{
    bundle,
    check::{Outcome, chain},
    store::{self, Reader},
    trust::Trust,
};
use serde::de::IgnoredAny;

use super::verified::{SMALL, VerifiedRelease};
use crate::policy::{Attestation, Policy};

/// Something that must hold of a release that is authentic. It reads what it needs from the store.
pub trait Demand {
    /// What is demanded, in a few words.
    fn name(&self) -> String;

    /// Judges a release.
    fn judge(&self, release: &VerifiedRelease, place: &Place<'_>) -> Result<(), Unmet>;
}

/// Lists what a policy demands of a release, for a cluster on which `running` runs.
pub fn demands(policy: &Policy, running: Option<&ReleaseRef>) -> Vec<Box<dyn Demand>> {
    let mut demands: Vec<Box<dyn Demand>> = Vec::new();
    if let Some(running) = running {
        demands.push(Box::new(NotOlderThan(running.clone())));
    }
    for attestation in &policy.required_attestations {
        demands.push(Box::new(Attested(attestation.clone())));
    }
    demands
}

/// Where a release lies and whom to believe.
pub struct Place<'a> {
    /// The store.
    pub reader: &'a dyn Reader,
    /// Whom to believe.
    pub trust: &'a Trust,
}

/// Why a demand is not met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// What is missing or wrong.
    pub what: String,
    /// [`Outcome::Differs`], or [`Outcome::Unknown`] where it could not be told.
    pub outcome: Outcome,
}

impl Unmet {
    /// It is not so.
    pub fn differs(what: impl Into<String>) -> Self {
        Self { what: what.into(), outcome: Outcome::Differs }
    }

    /// It could not be told.
    pub fn unknown(what: impl Into<String>) -> Self {
        Self { what: what.into(), outcome: Outcome::Unknown }
    }
}

/// Demands that a release is not older than the one that runs, and not another of the same number.
#[derive(Clone, Debug)]
pub struct NotOlderThan(pub ReleaseRef);

impl Demand for NotOlderThan {
    fn name(&self) -> String {
        "no downgrade".to_owned()
    }

    fn judge(&self, release: &VerifiedRelease, _: &Place<'_>) -> Result<(), Unmet> {
        let Self(running) = self;
        let number = release.name.number;
        if number < running.number {
            return Err(Unmet::differs(format!("{} runs, which is newer", running.number)));
        }
        if number == running.number && release.digest != running.digest {
            let runs = running.digest;
            return Err(Unmet::differs(format!("{number} runs with another content, {runs}")));
        }
        Ok(())
    }
}

/// Demands a statement about the release, signed by the release key.
#[derive(Clone, Debug)]
pub struct Attested(pub Attestation);

impl Demand for Attested {
    fn name(&self) -> String {
        match &self.0 {
            Attestation::Predicate(predicate) => format!("attested as {predicate}"),
            Attestation::File(file) => format!("attested by {file}"),
        }
    }

    fn judge(&self, release: &VerifiedRelease, place: &Place<'_>) -> Result<(), Unmet> {
        let folder = layout::attestations(&release.name);
        match &self.0 {
            Attestation::File(file) => {
                let file = format!("{folder}/{file}");
                if file == layout::test_result(&release.name) {
                    return tested(release, place);
                }
                let found = attested(release, place, &file)?;
                found.map(drop).ok_or_else(|| Unmet::differs(format!("`{file}` is missing")))
            }
            // Every component must have one, or the release is not verified.
            Attestation::Predicate(predicate) if predicate == PROVENANCE => {
                let is_any = !release.manifest.status.components.is_empty();
                if is_any { Ok(()) } else { Err(Unmet::differs("it has no component")) }
            }
            Attestation::Predicate(predicate) if predicate == TEST_RESULT => tested(release, place),
            Attestation::Predicate(predicate) => listed(release, place, &folder, predicate),
        }
    }
}

/// Demands that the release passed tests. The statement has a name of its own, and no other stands for it.
fn tested(release: &VerifiedRelease, place: &Place<'_>) -> Result<(), Unmet> {
    let file = layout::test_result(&release.name);
    match attested(release, place, &file)? {
        None => Err(Unmet::differs(format!("`{file}` is missing"))),
        Some(found) if found == TEST_RESULT => Ok(()),
        Some(found) => Err(Unmet::differs(format!("`{file}` is {found}, not {TEST_RESULT}"))),
    }
}

/// Looks for a statement with this predicate type among all attestations.
fn listed(
    release: &VerifiedRelease,
    place: &Place<'_>,
    folder: &str,
    predicate: &str,
) -> Result<(), Unmet> {
    let files = place.reader.list(folder);
    let files = files.map_err(|error| Unmet::unknown(format!("`{folder}`: {}", chain(&error))))?;
    let Some(files) = files else {
        return Err(Unmet::unknown(
            "the store cannot be listed over its address; name the attestation's file, such as `rebuild`",
        ));
    };
    for file in files.iter().filter(|file| !file.ends_with(layout::PROVENANCE)) {
        // Whatever else lies there was judged with the release.
        if attested(release, place, file).is_ok_and(|found| found.as_deref() == Some(predicate)) {
            return Ok(());
        }
    }
    Err(Unmet::differs("there is none"))
}

/// Reads the predicate type of a statement that the release key signed about this release; none where there is no such
/// file. One about tests counts only where they passed.
fn attested(
    release: &VerifiedRelease,
    place: &Place<'_>,
    file: &str,
) -> Result<Option<String>, Unmet> {
    let read = store::read(place.reader, file, SMALL);
    let read = read.map_err(|error| Unmet::unknown(format!("`{file}`: {}", chain(&error))))?;
    let Some(json) = read else { return Ok(None) };
    let verified = bundle::verify_statement::<IgnoredAny>(&json, place.trust);
    let verified = verified.map_err(|error| Unmet::differs(format!("`{file}`: {}", chain(&error))));
    let (statement, _): (Statement<IgnoredAny>, _) = verified?;
    let status = &release.manifest.status;
    let assets = status.components.iter().flat_map(|it| &it.assets);
    let known: Vec<_> = assets
        .filter_map(Asset::digest)
        .chain(status.documents.iter().map(|document| document.sha256))
        .chain([release.digest])
        .map(|digest| digest.hex())
        .collect();
    let is_about_it = statement
        .subject
        .iter()
        .all(|subject| subject.digest.get("sha256").is_some_and(|digest| known.contains(digest)));
    if statement.subject.is_empty() || !is_about_it {
        let name: &ReleaseName = &release.name;
        return Err(Unmet::differs(format!("`{file}` is not about {name} alone")));
    }
    let kind = statement.predicate_type.as_str();
    let has_its_name = match kind {
        PROVENANCE => file.ends_with(layout::PROVENANCE),
        TEST_RESULT => file == layout::test_result(&release.name),
        _ => true,
    };
    if !has_its_name {
        return Err(Unmet::differs(format!("`{file}` is {kind}, which stands under another name")));
    }
    if kind == TEST_RESULT {
        if !statement.is_about(&release.digest) {
            return Err(Unmet::differs(format!("`{file}` is not about {}", release.digest)));
        }
        let tests = bundle::verify_statement::<TestResult>(&json, place.trust);
        let (tests, _) =
            tests.map_err(|error| Unmet::differs(format!("`{file}`: {}", chain(&error))))?;
        if tests.predicate.result != TestVerdict::Passed {
            let found = tests.predicate.result;
            return Err(Unmet::differs(format!("`{file}` says {found}, not PASSED")));
        }
    }
    Ok(Some(statement.predicate_type))
}
