//! Container images as a registry holds them: descriptor, index, manifest and configuration.
//!
//! Written in one form only (canonical JSON), so that the same image has the same digest everywhere. Read as strictly
//! as is safe: what is not understood as an image is refused, unknown fields are skipped as the specification asks
//! (considerations.md, "Extensibility"). The caller limits how many bytes are read.
//!
//! Source: OCI image-spec 1.1, <https://github.com/opencontainers/image-spec>.

mod config;
pub mod layout;
mod manifest;
mod planned;
mod strict;
#[cfg(test)]
mod tests;

pub use config::{Config, Execution, History, RootFs};
pub use manifest::{Index, Manifest};
pub use planned::{BASE_LAYER, OWN_LAYER};

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    Digest,
    canonical::{self, CanonicalError},
    names::is_word,
    terminal::printable,
};

/// The media type of an image index.
///
/// Source: media-types.md.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// The media type of an image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an image configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The media type of a layer that is a plain tar.
pub const LAYER_TAR: &str = "application/vnd.oci.image.layer.v1.tar";
/// The media type of a layer that is a gzipped tar.
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// The media type of a layer that is a tar compressed with zstd.
pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// The media type of [`EMPTY_CONTENT`], the configuration of what is not an image.
///
/// Source: manifest.md, "Guidance for an Empty Descriptor".
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// The only content that has the media type [`EMPTY`].
pub const EMPTY_CONTENT: &[u8] = b"{}";
/// The annotation of an index entry in a layout that holds the image's name.
///
/// Source: annotations.md, "Pre-Defined Annotation Keys".
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The largest index, manifest or configuration that is written or read, in bytes.
///
/// Source: OCI distribution-spec, "Pushing Manifests": registries take at least 4 MiB, and many no more.
pub const LARGEST_DOCUMENT: u64 = 4 << 20;

/// The most that a layer may unpack to, in bytes: a small file can hold zeros without end.
pub const LARGEST_LAYER: u64 = 16 << 30;

/// The largest size of anything: what every JSON reader keeps exact.
const LARGEST: u64 = (1 << 53) - 1;

/// The SHA-256 of [`EMPTY_CONTENT`], as manifest.md prints it.
const EMPTY_DIGEST: Digest = Digest::from_bytes([
    0x44, 0x13, 0x6f, 0xa3, 0x55, 0xb3, 0x67, 0x8a, 0x11, 0x46, 0xad, 0x16, 0xf7, 0xe8, 0x64, 0x9e,
    0x94, 0xfb, 0x4f, 0xc2, 0x1f, 0xe7, 0x7e, 0x83, 0x10, 0xc0, 0x60, 0xf6, 0x1c, 0xaa, 0xff, 0x8a,
]);

/// Bytes that are not the document they should be, or cannot be written as it.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// Not JSON, or not of the wanted shape.
    #[error("not an OCI {what}")]
    Json {
        /// Such as `image index`.
        what: &'static str,
        /// What the reader said.
        source: serde_json::Error,
    },
    /// Another version of the document.
    #[error("schemaVersion is {found}; expected 2")]
    Schema {
        /// What stands there.
        found: u64,
    },
    /// A media type that is not understood at its place.
    #[error("the media type of {place} is `{found}`; expected {expected}")]
    MediaType {
        /// Such as `layers[0]`.
        place: String,
        /// What stands there.
        found: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// A document that another reader could take for another kind.
    #[error("the {what} has the field `{field}` of another kind of document")]
    Ambiguous {
        /// What it was read as.
        what: &'static str,
        /// The field that does not belong there.
        field: &'static str,
    },
    /// A field whose value breaks a rule of the specification.
    #[error("{place} is {found}; expected {expected}")]
    Value {
        /// Where.
        place: String,
        /// What stands there.
        found: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// A document that says the right things in another form than ours, or more than is understood.
    #[error("not as such a document is published")]
    Form(#[source] CanonicalError),
    /// The document cannot be written in canonical form.
    #[error("cannot write the {what}")]
    Write {
        /// Such as `image index`.
        what: &'static str,
        /// Why.
        source: CanonicalError,
    },
}

/// Names some content by type, digest and size.
///
/// Source: descriptor.md, "Properties". `urls` and `data` are skipped: content is had by its digest only.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// What the content runs on; only in an index (image-index.md, "manifests").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What else is to be said of it.
    #[serde(default, deserialize_with = "strict::map", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What the content is about, when it is a manifest of something that is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

impl Descriptor {
    /// Names content without saying more of it.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
            artifact_type: None,
        }
    }

    /// Names [`EMPTY_CONTENT`].
    pub fn empty() -> Self {
        Self::new(EMPTY, EMPTY_DIGEST, EMPTY_CONTENT.len() as u64)
    }

    /// Returns type, digest and size alone, as `subject`, `config` and `layers` name content.
    #[must_use]
    pub fn bare(&self) -> Self {
        Self::new(self.media_type.clone(), self.digest, self.size)
    }

    /// Checks what no type holds: the grammar of media types, and the size.
    fn check(&self, place: &str) -> Result<(), OciError> {
        check_media_type(&format!("{place}.mediaType"), &self.media_type)?;
        if let Some(artifact_type) = &self.artifact_type {
            check_media_type(&format!("{place}.artifactType"), artifact_type)?;
        }
        if self.size > LARGEST {
            return Err(OciError::Value {
                place: format!("{place}.size"),
                found: self.size.to_string(),
                expected: "at most 2^53-1",
            });
        }
        if self.digest == EMPTY_DIGEST && self.size != EMPTY_CONTENT.len() as u64 {
            return Err(OciError::Value {
                place: format!("{place}.size"),
                found: self.size.to_string(),
                expected: "2, the length of `{}`",
            });
        }
        Ok(())
    }
}

/// What an image runs on.
///
/// Source: image-index.md, "platform"; the words are Go's.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Platform {
    /// The architecture, such as `arm64`.
    pub architecture: String,
    /// The operating system, such as `linux`.
    pub os: String,
    /// The variant of the processor: `v8` for `arm64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl From<&crate::Platform> for Platform {
    fn from(platform: &crate::Platform) -> Self {
        Self {
            architecture: platform.arch().to_owned(),
            os: platform.os().to_owned(),
            variant: (platform.arch() == "arm64").then(|| "v8".to_owned()),
        }
    }
}

impl fmt::Display for Platform {
    /// Writes it as people do, such as `linux/arm64/v8`; harmless for a terminal whatever stands in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", printable(&self.os), printable(&self.architecture))?;
        self.variant.iter().try_for_each(|variant| write!(f, "/{}", printable(variant)))
    }
}

/// Demands that a document which was read has the very bytes that we would write.
fn check_form(bytes: &[u8], written: &[u8]) -> Result<(), OciError> {
    canonical::check_form(bytes, written).map_err(OciError::Form)
}

/// Checks the grammar of RFC 6838, section 4.2, to which descriptor.md refers.
fn check_media_type(place: &str, text: &str) -> Result<(), OciError> {
    let is_name = |name: &str| is_word(name, 127, "!#$&-^_.+");
    if text.split_once('/').is_some_and(|(kind, subtype)| is_name(kind) && is_name(subtype)) {
        return Ok(());
    }
    Err(OciError::Value {
        place: place.to_owned(),
        found: format!("{text:?}"),
        expected: "`<type>/<subtype>` (RFC 6838, section 4.2)",
    })
}
