//! Lists what a release consists of in the store. Pure.

use std::collections::BTreeMap;

use kdistro_formats::{Digest, ReleaseName, layout};

use super::Ready;
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
}

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
    for (path, bytes) in ready.files {
        if let Some(file) = path.strip_prefix(CRDS) {
            uploads.push(Upload::Bytes { name: layout::crd(file), bytes: bytes.clone() });
        }
    }
    for (digest, size) in ready.packaged.images.values().flat_map(|image| &image.blobs) {
        let (name, digest, size) = (layout::image_blob(digest), *digest, *size);
        uploads.push(Upload::Stored { name, digest, size });
    }
    for (document, hashes) in ready.documents {
        let (digest, size) = (hashes.sha256, hashes.size);
        uploads.push(Upload::Stored { name: layout::document(name, document), digest, size });
    }
    uploads.push(Upload::Bytes { name: layout::plan(name), bytes: ready.plan_bytes.to_vec() });
    uploads
}

/// Every asset with its sidecars, and the sums of each folder, written last: the record of what is complete.
fn artifacts(ready: &Ready<'_>, name: &ReleaseName) -> Vec<Upload> {
    let mut uploads = Vec::new();
    let mut folders: BTreeMap<String, (String, String)> = BTreeMap::new();
    for (path, hashes) in &ready.packaged.assets {
        if ready.packaged.images.contains_key(path) {
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
        uploads.push(Upload::Bytes {
            name: format!("{folder}/SHA256SUM"),
            bytes: sums256.into_bytes(),
        });
        uploads.push(Upload::Bytes {
            name: format!("{folder}/SHA512SUM"),
            bytes: sums512.into_bytes(),
        });
    }
    uploads
}
