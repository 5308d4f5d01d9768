//! The index, which names a manifest a platform, and the manifest, which names configuration and layers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::{
    CONFIG, Descriptor, EMPTY, INDEX, LAYER_GZIP, LAYER_TAR, LAYER_ZSTD, MANIFEST, OciError,
    check_form, check_media_type, strict,
};
use crate::canonical;

/// The manifests of an image, one a platform.
///
/// Source: image-index.md, "Image Index Property Descriptions".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// The manifests, in the order in which a reader prefers them.
    pub manifests: Vec<Descriptor>,
    /// What this index is, when it is no image.
    pub artifact_type: Option<String>,
    /// What this index is about.
    pub subject: Option<Descriptor>,
    /// What else is to be said of it.
    pub annotations: BTreeMap<String, String>,
}

/// Configuration and layers of an image for one platform, or the parts of another artifact.
///
/// Source: manifest.md, "Image Manifest Property Descriptions".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The configuration; [`Descriptor::empty`] of what is no image.
    pub config: Descriptor,
    /// The layers, the lowest first.
    pub layers: Vec<Descriptor>,
    /// What this manifest is, when it is no image.
    pub artifact_type: Option<String>,
    /// What this manifest is about.
    pub subject: Option<Descriptor>,
    /// What else is to be said of it.
    pub annotations: BTreeMap<String, String>,
}

/// An index or a manifest as it is written. The fields of both are known, so that neither passes for the other
/// (CVE-2021-41190).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read {
    schema_version: u64,
    media_type: Option<String>,
    artifact_type: Option<String>,
    subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "strict::map")]
    annotations: BTreeMap<String, String>,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    // Docker's first schema, which some readers guess by these fields.
    fs_layers: Option<IgnoredAny>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written<'a> {
    schema_version: u64,
    media_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a Descriptor>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifests: Option<&'a [Descriptor]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<&'a Descriptor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    layers: Option<&'a [Descriptor]>,
}

impl Read {
    fn from_slice(bytes: &[u8], what: &'static str) -> Result<Self, OciError> {
        let read: Self =
            serde_json::from_slice(bytes).map_err(|source| OciError::Json { what, source })?;
        let foreign = [
            ("manifests", what != INDEX_WORDS && read.manifests.is_some()),
            ("config", what != MANIFEST_WORDS && read.config.is_some()),
            ("layers", what != MANIFEST_WORDS && read.layers.is_some()),
            ("fsLayers", read.fs_layers.is_some()),
        ];
        if let Some((field, _)) = foreign.into_iter().find(|(_, is_there)| *is_there) {
            return Err(OciError::Ambiguous { what, field });
        }
        if read.schema_version != 2 {
            return Err(OciError::Schema { found: read.schema_version });
        }
        Ok(read)
    }

    fn is_of(&self, what: &'static str, expected: &'static str) -> Result<(), OciError> {
        match &self.media_type {
            Some(found) if found != expected => Err(OciError::MediaType {
                place: format!("the {what}"),
                found: found.clone(),
                expected,
            }),
            _ => Ok(()),
        }
    }
}

/// What an index is called in errors.
const INDEX_WORDS: &str = "image index";
/// What a manifest is called in errors.
const MANIFEST_WORDS: &str = "image manifest";

impl Index {
    /// Reads an index of manifests, such as that of an image or of the referrers of one.
    ///
    /// An index within an index is refused, so that nobody who follows one goes deeper than one step.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, OciError> {
        Self::read(bytes, &[MANIFEST])
    }

    /// Reads an index that we published: in canonical form, byte for byte.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, OciError> {
        let index = Self::from_slice(bytes)?;
        check_form(bytes, &index.to_vec()?)?;
        Ok(index)
    }

    /// Reads `index.json` of a layout, whose entries may be indexes.
    ///
    /// Source: image-layout.md, "index.json file".
    pub fn from_layout(bytes: &[u8]) -> Result<Self, OciError> {
        Self::read(bytes, &[MANIFEST, INDEX])
    }

    fn read(bytes: &[u8], entries: &[&str]) -> Result<Self, OciError> {
        let read = Read::from_slice(bytes, INDEX_WORDS)?;
        read.is_of(INDEX_WORDS, INDEX)?;
        let index = Self {
            manifests: needed(read.manifests, INDEX_WORDS, "manifests")?,
            artifact_type: read.artifact_type,
            subject: read.subject,
            annotations: read.annotations,
        };
        index.check(entries)?;
        Ok(index)
    }

    /// Writes the index in canonical form.
    pub fn to_vec(&self) -> Result<Vec<u8>, OciError> {
        self.check(&[MANIFEST, INDEX])?;
        let written = Written {
            manifests: Some(&self.manifests),
            ..Written::of(
                INDEX,
                self.artifact_type.as_deref(),
                self.subject.as_ref(),
                &self.annotations,
            )
        };
        canonical::to_vec(&written).map_err(|source| OciError::Write { what: INDEX_WORDS, source })
    }

    fn check(&self, entries: &[&str]) -> Result<(), OciError> {
        check_about(self.artifact_type.as_deref(), self.subject.as_ref())?;
        for (number, descriptor) in self.manifests.iter().enumerate() {
            let place = format!("manifests[{number}]");
            descriptor.check(&place)?;
            if !entries.contains(&descriptor.media_type.as_str()) {
                let expected = if entries.contains(&INDEX) {
                    "an image manifest or an image index"
                } else {
                    "an image manifest"
                };
                let found = descriptor.media_type.clone();
                return Err(OciError::MediaType { place, found, expected });
            }
        }
        Ok(())
    }
}

impl Manifest {
    /// Reads a manifest of an image or of another artifact.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, OciError> {
        let read = Read::from_slice(bytes, MANIFEST_WORDS)?;
        read.is_of(MANIFEST_WORDS, MANIFEST)?;
        let manifest = Self {
            config: needed(read.config, MANIFEST_WORDS, "config")?,
            layers: needed(read.layers, MANIFEST_WORDS, "layers")?,
            artifact_type: read.artifact_type,
            subject: read.subject,
            annotations: read.annotations,
        };
        manifest.check()?;
        Ok(manifest)
    }

    /// Reads a manifest that we published: in canonical form, byte for byte.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, OciError> {
        let manifest = Self::from_slice(bytes)?;
        check_form(bytes, &manifest.to_vec()?)?;
        Ok(manifest)
    }

    /// Tells whether this is an image that can be run.
    pub fn is_image(&self) -> bool {
        self.config.media_type == CONFIG
    }

    /// Writes the manifest in canonical form.
    pub fn to_vec(&self) -> Result<Vec<u8>, OciError> {
        self.check()?;
        let written = Written {
            config: Some(&self.config),
            layers: Some(&self.layers),
            ..Written::of(
                MANIFEST,
                self.artifact_type.as_deref(),
                self.subject.as_ref(),
                &self.annotations,
            )
        };
        canonical::to_vec(&written)
            .map_err(|source| OciError::Write { what: MANIFEST_WORDS, source })
    }

    fn check(&self) -> Result<(), OciError> {
        check_about(self.artifact_type.as_deref(), self.subject.as_ref())?;
        self.config.check("config")?;
        for (number, layer) in self.layers.iter().enumerate() {
            let place = format!("layers[{number}]");
            layer.check(&place)?;
            let known = [LAYER_TAR, LAYER_GZIP, LAYER_ZSTD].contains(&layer.media_type.as_str());
            if self.is_image() && !known {
                let (found, expected) = (layer.media_type.clone(), "a tar, plain, +gzip or +zstd");
                return Err(OciError::MediaType { place, found, expected });
            }
        }
        // manifest.md, "artifactType": it must be there when the configuration is the empty one.
        if self.config.media_type == EMPTY && self.artifact_type.is_none() {
            return Err(OciError::Value {
                place: "artifactType".to_owned(),
                found: "absent".to_owned(),
                expected: "a media type, since the configuration is empty",
            });
        }
        Ok(())
    }
}

impl<'a> Written<'a> {
    fn of(
        media_type: &'static str,
        artifact_type: Option<&'a str>,
        subject: Option<&'a Descriptor>,
        annotations: &'a BTreeMap<String, String>,
    ) -> Self {
        Self {
            schema_version: 2,
            media_type,
            artifact_type,
            subject,
            annotations,
            manifests: None,
            config: None,
            layers: None,
        }
    }
}

fn needed<T>(value: Option<T>, what: &'static str, field: &'static str) -> Result<T, OciError> {
    let missing = || serde::de::Error::missing_field(field);
    value.ok_or_else(|| OciError::Json { what, source: missing() })
}

fn check_about(artifact_type: Option<&str>, subject: Option<&Descriptor>) -> Result<(), OciError> {
    if let Some(artifact_type) = artifact_type {
        check_media_type("artifactType", artifact_type)?;
    }
    subject.map_or(Ok(()), |subject| subject.check("subject"))
}
