//! The documents of an image, each with the descriptor that names it.

use std::collections::BTreeMap;

use kdistro_formats::{
    Digest, Platform,
    oci::{self, Config, Descriptor, Index, Manifest},
    plan::ImageConfig,
};
use kdistro_verify::hash::sha256;

use super::{ImageError, Layer};

/// Some bytes, and what names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Media type, digest and size.
    pub descriptor: Descriptor,
    /// The content.
    pub bytes: Vec<u8>,
}

impl Blob {
    /// Names some bytes.
    pub fn of(media_type: &str, bytes: Vec<u8>) -> Self {
        let descriptor = Descriptor::new(media_type, sha256(&bytes), bytes.len() as u64);
        Self { descriptor, bytes }
    }
}

/// Writes the configuration of an image for one platform.
///
/// `layers` gives each layer's `diff_id` and what made it, the lowest first; `created` is in seconds since 1970 and
/// stands for the image and each of its layers.
pub fn config(
    platform: &Platform,
    config: &ImageConfig,
    layers: &[(Digest, &str)],
    created: u64,
) -> Result<Blob, ImageError> {
    let diff_ids = layers.iter().map(|(diff_id, _)| *diff_id).collect();
    let made_by = layers.iter().map(|(_, made_by)| *made_by);
    let config = Config::made(platform, config, (diff_ids, made_by), created)?;
    Ok(Blob::of(oci::CONFIG, config.to_vec()?))
}

/// Writes the manifest of an image for one platform: its configuration, and its layers from the lowest on.
pub fn manifest(
    config: &Descriptor,
    layers: &[Layer],
    annotations: &BTreeMap<String, String>,
) -> Result<Blob, ImageError> {
    let manifest = Manifest {
        config: config.bare(),
        layers: layers.iter().map(Layer::descriptor).collect(),
        artifact_type: None,
        subject: None,
        annotations: annotations.clone(),
    };
    Ok(Blob::of(oci::MANIFEST, manifest.to_vec()?))
}

/// Writes the index of an image: a manifest a platform, sorted by platform.
pub fn index(
    manifests: &[(Platform, Descriptor)],
    annotations: &BTreeMap<String, String>,
) -> Result<Blob, ImageError> {
    let mut sorted = BTreeMap::new();
    for (platform, manifest) in manifests {
        let named = Descriptor { platform: Some(platform.into()), ..manifest.bare() };
        if sorted.insert(platform, named).is_some() {
            return Err(ImageError::Platform(platform.clone()));
        }
    }
    let index = Index {
        manifests: sorted.into_values().collect(),
        annotations: annotations.clone(),
        ..Index::default()
    };
    Ok(Blob::of(oci::INDEX, index.to_vec()?))
}

/// Writes the manifest of something about an image, such as its provenance: one blob with the empty configuration.
///
/// `subject` is the image's index or manifest; its digest does not change by being referred to. The descriptor that
/// is returned has `artifact_type` and `annotations`, as a list of referrers shows them.
///
/// Source: OCI image-spec, manifest.md, "Guidelines for Artifact Usage"; distribution-spec, "Listing Referrers".
pub fn referrer(
    subject: &Descriptor,
    artifact_type: &str,
    blob: &Descriptor,
    annotations: &BTreeMap<String, String>,
) -> Result<Blob, ImageError> {
    let manifest = Manifest {
        config: Descriptor::empty(),
        layers: vec![blob.clone()],
        artifact_type: Some(artifact_type.to_owned()),
        subject: Some(subject.bare()),
        annotations: annotations.clone(),
    };
    let mut written = Blob::of(oci::MANIFEST, manifest.to_vec()?);
    written.descriptor.artifact_type = Some(artifact_type.to_owned());
    written.descriptor.annotations.clone_from(annotations);
    Ok(written)
}
