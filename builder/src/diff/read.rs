//! Reads the facts of a release out of a store: manifest, plan and SBOMs, each checked against what names it.

use std::io;

use kdistro_formats::{
    Digest,
    canonical::{self, CanonicalError},
    layout,
    plan::Plan,
    release::{Asset, ManifestError, Release},
    yaml,
};
use kdistro_verify::{
    hash,
    store::{self, Reader},
};

use super::{Facts, Partial, Parts, SbomError, parts_of_sbom};
use crate::config::{self, channel::Channel};

/// What the name of an SBOM ends with.
const SBOM: &str = ".spdx.json";

/// Why the facts of a release cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The store does not answer.
    #[error("cannot read `{name}` in the store")]
    Store {
        /// Which file.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The store lacks something.
    #[error("`{name}` is missing in {place}")]
    Missing {
        /// Which file.
        name: String,
        /// The store.
        place: String,
    },
    /// The manifest is not one.
    #[error("`{name}`")]
    Manifest {
        /// Which file.
        name: String,
        /// What is wrong.
        source: ManifestError,
    },
    /// Something has not the digest that the manifest names.
    #[error("`{name}` has digest {found}, but the manifest says {expected}")]
    Digest {
        /// Which file.
        name: String,
        /// What was found.
        found: Digest,
        /// What the manifest says.
        expected: Digest,
    },
    /// The plan is not one of this version.
    #[error("`{name}`")]
    Plan {
        /// Which file.
        name: String,
        /// What is wrong.
        source: CanonicalError,
    },
    /// An SBOM is not one.
    #[error("`{name}`")]
    Sbom {
        /// Which file.
        name: String,
        /// What is wrong.
        source: SbomError,
    },
}

/// Reads the facts of the release with this manifest. What the store does not have beside the manifest is left out.
pub fn read(reader: &dyn Reader, manifest: &str) -> Result<Facts, ReadError> {
    let missing = || ReadError::Missing { name: manifest.to_owned(), place: reader.place() };
    let bytes = document(reader, manifest, None)?.ok_or_else(missing)?;
    let release = Release::from_yaml(&String::from_utf8_lossy(&bytes))
        .map_err(|source| ReadError::Manifest { name: manifest.to_owned(), source })?;
    let mut facts = Facts::of_manifest(&release);
    if let Some(plan) = plan(reader, &release)? {
        facts.add_plan(&plan);
        facts.partial = partial(reader, &facts.release, &plan)?;
    }
    for component in &release.status.components {
        let mut shipped = None;
        for asset in component.assets.iter().filter(|asset| asset.name.ends_with(SBOM)) {
            if let Some(parts) = sbom(reader, &release, asset)? {
                shipped.get_or_insert_with(Parts::default).extend(parts);
            }
        }
        if let Some(facts) = facts.components.get_mut(&component.name) {
            facts.shipped = shipped;
        }
    }
    Ok(facts)
}

/// Says what a release holds with this plan, where that is not the whole of its channel.
pub fn partial(
    reader: &dyn Reader,
    release: &str,
    plan: &Plan,
) -> Result<Option<Partial>, ReadError> {
    let file = config::channel_file(&plan.channel);
    let named = plan.configuration.iter().find(|named| named.path == file).filter(|_| !plan.whole);
    let bytes = match named {
        Some(named) => document(reader, &layout::input(&named.sha256), Some(named.sha256))?,
        None => None,
    };
    // Inputs need not be published, and another version may write the file in another way.
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let channel: Option<Channel> = text.and_then(|text| yaml::from_str(&text).ok());
    Ok(Partial::of_plan(release, plan, channel.as_ref()))
}

fn plan(reader: &dyn Reader, release: &Release) -> Result<Option<Plan>, ReadError> {
    let Some(named) = &release.spec.plan else { return Ok(None) };
    let name = layout::plan(&release.name());
    let Some(bytes) = document(reader, &name, Some(named.sha256))? else { return Ok(None) };
    let plan = canonical::from_slice(&bytes);
    plan.map(Some).map_err(|source| ReadError::Plan { name, source })
}

fn sbom(reader: &dyn Reader, release: &Release, asset: &Asset) -> Result<Option<Parts>, ReadError> {
    let Some(archive) = &asset.archive else { return Ok(None) };
    let folder = layout::artifact(&release.name(), "");
    let below = archive.uri.rsplit_once(&format!("/{folder}"));
    let Some((_, path)) = below else { return Ok(None) };
    let name = layout::artifact(&release.name(), path);
    let Some(bytes) = document(reader, &name, Some(archive.sha256))? else { return Ok(None) };
    let parts = parts_of_sbom(&bytes);
    parts.map(Some).map_err(|source| ReadError::Sbom { name, source })
}

fn document(
    reader: &dyn Reader,
    name: &str,
    expected: Option<Digest>,
) -> Result<Option<Vec<u8>>, ReadError> {
    let failed = |source| ReadError::Store { name: name.to_owned(), source };
    let Some(bytes) = store::read(reader, name, layout::LARGEST_DOCUMENT).map_err(failed)? else {
        return Ok(None);
    };
    let found = hash::sha256(&bytes);
    match expected {
        Some(expected) if expected != found => {
            Err(ReadError::Digest { name: name.to_owned(), found, expected })
        }
        _ => Ok(Some(bytes)),
    }
}
