//! Checks a published release: what was signed, what was logged, and every byte that the signed manifest names.
//!
//! All problems are listed, each with the file it is about; what could not be read is told apart from what is
//! wrong. Nothing is believed but the key (and the trusted root, where it is given from outside).

mod announced;
mod assets;
mod attestations;
mod channel;
mod given;
mod images;
mod inputs;
mod keys;
mod log;
mod manifest;
mod parallel;
mod plan;
mod provenance;
mod reading;
mod report;
mod whole;

pub use report::{Note, Outcome, Problem, Report, chain};

use crate::{
    store::Reader,
    trust::{PublicKey, Trust, TrustError},
};
use kdistro_formats::{ReleaseName, plan::Plan};
use reading::Checker;

/// How much of a store is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// As [`Scope::Documents`], but for the channel's index, which need not offer the release yet: for publishers who try
    /// it first.
    Unoffered,
    /// The release's signed documents: manifest, plan, attestations, channel index, bundles, keys and log. Neither an
    /// asset nor an image is read, for subscribers who then compare with the manifest what they take of it.
    Documents,
    /// The release's manifest, folder, channel index, bundles, keys and log.
    Release,
    /// That, and every input and configuration file of its plan.
    Inputs,
    /// Every release of every channel with its inputs, what its images' layers unpack to, and that nothing else is in
    /// the store.
    All,
}

/// What a verifier brings along.
#[derive(Clone, Debug)]
pub struct TrustSource {
    /// The release key, and from where in the log on it is revoked.
    pub key: PublicKey,
    /// A trusted root from outside; without one the store's is taken, when the release key signed it. With a revoked key
    /// there must be one.
    pub trusted_root: Option<Vec<u8>>,
}

impl TrustSource {
    /// Takes a key, revoked from entry `revoked_from` of the log on, and a trusted root from outside.
    ///
    /// A revocation counts entries of one log: without the root that says which, it is an error.
    pub fn new(
        key: PublicKey,
        trusted_root: Option<Vec<u8>>,
        revoked_from: Option<u64>,
    ) -> Result<Self, TrustError> {
        let key = match revoked_from {
            Some(index) => key.revoke_from(index),
            None => key,
        };
        let source = Self { key, trusted_root };
        if source.is_unpinned() { Err(TrustError::Revocation) } else { Ok(source) }
    }

    /// True for a revoked key and no root from outside: whoever has the key could sign one.
    fn is_unpinned(&self) -> bool {
        self.key.revoked_from().is_some() && self.trusted_root.is_none()
    }
}

/// Checks the release whose manifest is `manifest`, a name in the store, as [`crate::store::locate`] returns it.
pub fn check(reader: &dyn Reader, manifest: &str, source: &TrustSource, scope: Scope) -> Report {
    let mut checker = Checker::new(reader, scope);
    checker.report.store = reader.place();
    manifest.clone_into(&mut checker.report.manifest);
    checker.report.key = Some(source.key.fingerprint());
    checker.report.revoked_from = source.key.revoked_from();
    if checker.is_unsigned_kind(manifest) {
        return checker.finish();
    }
    if let Some(trust) = checker.check_keys(source) {
        let release = checker.check_release(manifest, &trust, true);
        if let Some((_, Some(plan))) = &release
            && scope >= Scope::Inputs
        {
            checker.check_inputs(plan);
        }
        if scope == Scope::All {
            checker.check_others(release, &trust);
        }
        checker.check_log(&trust);
        if scope == Scope::All {
            checker.check_nothing_else_at_all();
        }
    }
    checker.finish()
}

impl Checker<'_> {
    /// Checks one release and returns its name and plan; `first` when it is the one that was asked for.
    fn check_release(
        &mut self,
        manifest: &str,
        trust: &Trust,
        first: bool,
    ) -> Option<(ReleaseName, Option<Plan>)> {
        let signed = self.check_manifest(manifest, trust)?;
        if first {
            self.report.describe(&signed);
        }
        let plan = self.check_plan(&signed);
        let is_whole = self.scope >= Scope::Release;
        if is_whole {
            self.check_assets(&signed);
            self.check_images(&signed, plan.as_ref());
        }
        self.check_provenances(&signed, plan.as_ref(), trust);
        self.check_attestations(&signed, trust);
        self.check_announcements(&signed);
        if first && self.scope > Scope::Unoffered {
            self.check_channel(&signed, trust);
        }
        if is_whole {
            self.check_nothing_else(&kdistro_formats::layout::release(&signed.name));
        }
        Some((signed.name, plan))
    }
}
