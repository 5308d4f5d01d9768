//! Attestations of a release: statements signed by the release key, and those of others, which are only reported.

use std::collections::BTreeSet;

use kdistro_formats::layout;
use serde::de::IgnoredAny;

use super::{
    manifest::SignedManifest,
    reading::{Checker, SMALL},
    report::chain,
};
use crate::{bundle, trust::Trust};

impl Checker<'_> {
    /// Checks every attestation that the store lists.
    pub(super) fn check_attestations(&mut self, signed: &SignedManifest, trust: &Trust) {
        let folder = layout::attestations(&signed.name);
        let assets =
            signed.release.status.components.iter().flat_map(|component| &component.assets);
        let archives = assets.filter_map(|asset| asset.archive.as_ref());
        let mut subjects: BTreeSet<_> = archives.map(|archive| archive.sha256.hex()).collect();
        subjects.insert(signed.digest.hex());
        for file in self.listed(&folder) {
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
                    if !digests.into_iter().any(|digest| subjects.contains(digest)) {
                        self.differs(&file, "is about nothing of this release");
                    }
                }
            }
        }
    }
}
