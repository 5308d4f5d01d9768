//! Attestations of a release: statements signed by the release key, and those of others, which are only reported.

use std::collections::BTreeSet;

use kdistro_formats::{layout, release::Asset, statement::PROVENANCE};
use serde::de::IgnoredAny;

use super::{
    manifest::SignedManifest,
    reading::{Checker, SMALL},
    report::chain,
};
use crate::{bundle, trust::Trust};

impl Checker<'_> {
    /// Checks every attestation that the store lists; provenances were checked before.
    pub(super) fn check_attestations(&mut self, signed: &SignedManifest, trust: &Trust) {
        let folder = layout::attestations(&signed.name);
        let status = &signed.release.status;
        let assets = status.components.iter().flat_map(|component| &component.assets);
        let mut subjects: BTreeSet<_> =
            assets.filter_map(Asset::digest).map(|digest| digest.hex()).collect();
        subjects.extend(status.documents.iter().map(|document| document.sha256.hex()));
        subjects.insert(signed.digest.hex());
        for file in self.listed(&folder) {
            if file.ends_with(layout::PROVENANCE) {
                if !self.known.contains(&file) {
                    self.differs(&file, "is the provenance of no component of this release");
                }
                continue;
            }
            let Some(json) = self.document(&file, SMALL) else { continue };
            if let Some(signer) = bundle::other_signer(&json, trust.key()) {
                self.note(
                    &file,
                    format!(
                        "says that another key ({signer}) signed it: its signature was not checked"
                    ),
                );
                continue;
            }
            match bundle::verify_statement::<IgnoredAny>(&json, trust) {
                Err(error) => self.differs(&file, chain(&error)),
                Ok((statement, logged)) => {
                    self.logged.push((file.clone(), logged));
                    let digests =
                        statement.subject.iter().filter_map(|subject| subject.digest.get("sha256"));
                    let mut digests = digests.peekable();
                    let is_about_it = digests.peek().is_some();
                    if !is_about_it || !digests.all(|digest| subjects.contains(digest)) {
                        self.differs(&file, "is not about this release alone");
                    }
                    if statement.predicate_type == PROVENANCE {
                        let rest = "its component, whose provenance is elsewhere";
                        self.differs(&file, format!("has not the name of a provenance of {rest}"));
                    }
                }
            }
        }
    }
}
