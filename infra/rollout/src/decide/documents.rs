//! Reads a release that is known already, and believes it only when it is proven: no channel is asked, no asset read.

use kdistro_formats::{Digest, ReleaseName, canonical, layout, plan::Plan, release::Release};
use kdistro_verify::{
    check::{Outcome, Scope, TrustSource, check},
    hash,
    store::{self, Reader},
};

use super::refused::Refused;

/// A release that is authentic by its documents.
#[derive(Clone, Debug)]
pub struct Proven {
    /// Its name.
    pub name: ReleaseName,
    /// The digest of its manifest.
    pub digest: Digest,
    /// What it consists of.
    pub manifest: Release,
}

/// Proves the release whose manifest is `file` in a store; with a `digest` that one and no other of its name.
pub fn prove(
    reader: &dyn Reader,
    source: &TrustSource,
    (file, digest): (&str, Option<Digest>),
) -> Result<Proven, Refused> {
    let report = check(reader, file, source, Scope::Documents);
    let (Outcome::Verified, Some(verified)) = (report.outcome, report.manifest_digest) else {
        return Err(Refused::Release { release: file.to_owned(), report: Box::new(report) });
    };
    let digest = digest.unwrap_or(verified);
    let manifest = read_manifest(reader, file, digest)?;
    Ok(Proven { name: manifest.name(), digest, manifest })
}

/// Reads the manifest again that was verified: what was verified is what counts.
pub(super) fn read_manifest(
    reader: &dyn Reader,
    file: &str,
    digest: Digest,
) -> Result<Release, Refused> {
    let bytes = read(reader, file, digest)?;
    let text = String::from_utf8(bytes);
    let text = text.map_err(|source| Refused::Text { file: file.to_owned(), source })?;
    Release::from_yaml(&text).map_err(|source| Refused::Form { file: file.to_owned(), source })
}

impl Proven {
    /// Reads the plan that it was built from.
    pub fn plan(&self, reader: &dyn Reader) -> Result<Plan, Refused> {
        let file = layout::plan(&self.name);
        let named = self.manifest.spec.plan.as_ref().ok_or_else(|| Refused::Missing {
            store: reader.place(),
            file: file.clone(),
            was_there: true,
        })?;
        let bytes = read(reader, &file, named.sha256)?;
        canonical::from_slice(&bytes).map_err(|source| Refused::Plan { file, source })
    }
}

/// Reads a document that has this digest.
fn read(reader: &dyn Reader, file: &str, digest: Digest) -> Result<Vec<u8>, Refused> {
    let read = store::read(reader, file, layout::LARGEST_DOCUMENT);
    let (store, named) = (reader.place(), file.to_owned());
    let bytes = match read {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Err(Refused::Missing { store, file: named, was_there: true }),
        Err(source) => return Err(Refused::Unread { store, file: named, source }),
    };
    let found = hash::sha256(&bytes);
    if found == digest {
        return Ok(bytes);
    }
    let (found, expected) = (found.to_string(), digest.to_string());
    Err(Refused::Other { file: named, field: "sha256", found, expected })
}
