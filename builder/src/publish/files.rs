//! Lists what a release consists of in the store. Pure.

use std::collections::BTreeMap;

use kdistro_formats::{Digest, ReleaseName, layout, oci::EMPTY_CONTENT};
use kdistro_verify::hash;

use super::{Ready, images};
use crate::config::CRDS;

/// Something to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upload {
    /// A document that is made here.
    Bytes {
        /// Its name in the store.
        name: String,
        /// Its content.
        bytes: Vec<u8>,
    },
    /// A file of the content store.
    Stored {
        /// Its name in the store.
        name: String,
        /// Its content.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
    },
}

impl Upload {
    /// Its name in the store.
    pub fn name(&self) -> &str {
        match self {
            Self::Bytes { name, .. } | Self::Stored { name, .. } => name,
        }
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Bytes { bytes, .. } => bytes.len() as u64,
            Self::Stored { size, .. } => *size,
        }
    }

    /// The digest of its content.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Bytes { bytes, .. } => hash::sha256(bytes),
            Self::Stored { digest, .. } => *digest,
        }
    }

    /// True for what is written before all else: by the plan everybody can tell what is left of a number that was given up.
    pub fn is_first(&self) -> bool {
        self.name().rsplit('/').next() == Some(PLAN)
    }

    /// True for what is written after all else in its folder: the record of what is complete.
    pub fn is_last(&self) -> bool {
        self.name().rsplit('/').next() == Some(SHORT_SUMS)
    }
}

/// The last part of the name of a plan.
const PLAN: &str = "plan.json";
/// The sums of a folder's files.
const SHORT_SUMS: &str = "SHA256SUM";
const LONG_SUMS: &str = "SHA512SUM";

/// Lists everything that must be there before the manifest: inputs, artifacts with their sums, images, CRDs, documents,
/// the plan.
pub fn uploads(ready: &Ready<'_>, name: &ReleaseName) -> Vec<Upload> {
    let mut uploads = Vec::new();
    for input in &ready.plan.inputs {
        let (digest, size) = (input.sha256, input.size);
        uploads.push(Upload::Stored { name: layout::input(&digest), digest, size });
    }
    for file in &ready.plan.configuration {
        let (digest, size) = (file.sha256, file.size);
        uploads.push(Upload::Stored { name: layout::input(&digest), digest, size });
    }
    uploads.extend(artifacts(ready, name));
    for file in &ready.plan.configuration {
        if let Some(crd) = file.path.strip_prefix(CRDS) {
            let (name, digest, size) = (layout::crd(crd), file.sha256, file.size);
            uploads.push(Upload::Stored { name, digest, size });
        }
    }
    for (digest, size) in images(ready) {
        uploads.push(Upload::Stored { name: layout::image_blob(&digest), digest, size });
    }
    if !ready.images.is_empty() {
        let (name, bytes) =
            (layout::image_blob(&hash::sha256(EMPTY_CONTENT)), EMPTY_CONTENT.to_vec());
        uploads.push(Upload::Bytes { name, bytes });
    }
    for (document, hashes) in ready.documents {
        let (digest, size) = (hashes.sha256, hashes.size);
        uploads.push(Upload::Stored { name: layout::document(name, document), digest, size });
    }
    uploads.push(Upload::Bytes { name: layout::plan(name), bytes: ready.plan_bytes.to_vec() });
    uploads
}

/// Every blob of every image, and its SBOM, with their sizes; images share some.
///
/// Registries send their clients to the store for all blobs, so that it has also those of what refers to an image.
fn images(ready: &Ready<'_>) -> BTreeMap<Digest, u64> {
    let sboms = images::planned(ready).filter_map(|(component, asset, _)| {
        images::sbom(ready, component, asset).map(|sbom| (sbom.sha256, sbom.size))
    });
    let mut blobs: BTreeMap<_, _> = sboms.collect();
    for (path, parts) in ready.images {
        blobs.extend(parts.sizes());
        // The size of an image is that of all of it; its index is what the manifests leave.
        if let Some(whole) = ready.assets.get(path) {
            let rest = parts.sizes().values().sum::<u64>();
            blobs.insert(whole.sha256, whole.size.saturating_sub(rest));
        }
    }
    blobs
}

/// Every asset with its sidecars, and the sums of each folder, written last: the record of what is complete.
fn artifacts(ready: &Ready<'_>, name: &ReleaseName) -> Vec<Upload> {
    let mut uploads = Vec::new();
    let mut folders: BTreeMap<String, (String, String)> = BTreeMap::new();
    for (path, hashes) in ready.assets {
        if ready.images.contains_key(path) {
            continue;
        }
        let full = layout::artifact(name, path);
        let (folder, file) = full.rsplit_once('/').unwrap_or(("", &full));
        let short = format!("{}  {file}\n", hashes.sha256.hex());
        let long = format!("{}  {file}\n", hashes.sha512);
        let (sums256, sums512) = folders.entry(folder.to_owned()).or_default();
        sums256.push_str(&short);
        sums512.push_str(&long);
        let (digest, size) = (hashes.sha256, hashes.size);
        uploads.push(Upload::Stored { name: full.clone(), digest, size });
        uploads.push(Upload::Bytes { name: format!("{full}.sha256"), bytes: short.into_bytes() });
        uploads.push(Upload::Bytes { name: format!("{full}.sha512"), bytes: long.into_bytes() });
    }
    for (folder, (sums256, sums512)) in folders {
        for (name, sums) in [(LONG_SUMS, sums512), (SHORT_SUMS, sums256)] {
            let (name, bytes) = (format!("{folder}/{name}"), sums.into_bytes());
            uploads.push(Upload::Bytes { name, bytes });
        }
    }
    uploads
}
