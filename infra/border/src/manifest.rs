//! Reads of an image's manifest or index what a registry must know: what it names, and what it is about.
//!
//! A registry keeps manifests byte for byte and does not judge what else is in them, so unknown fields are left alone.

use std::collections::{BTreeMap, BTreeSet};

use kdistro_formats::Digest;
use serde::Deserialize;

use crate::registry::{LARGEST_MANIFEST, Referrer, RegistryError};

/// The media types of what can be pushed as a manifest.
///
/// Source: OCI image-spec, media-types.md; Docker's two for images that others made.
pub(crate) const INDEXES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
pub(crate) const MANIFESTS: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// What a registry reads of a manifest or index.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    /// What it says it is.
    pub(crate) media_type: String,
    /// What it names and must be there: blobs of a manifest, manifests of an index.
    pub(crate) parts: BTreeSet<Part>,
    /// True when those are manifests.
    pub(crate) is_index: bool,
    /// What it is about.
    pub(crate) subject: Option<Digest>,
    artifact_type: String,
    annotations: BTreeMap<String, String>,
}

/// Something that a manifest names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Part {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u64,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Named>,
    layers: Option<Vec<Named>>,
    manifests: Option<Vec<Named>>,
    subject: Option<Named>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Named {
    media_type: String,
    digest: Digest,
    size: u64,
}

impl Manifest {
    /// Reads a manifest, or says what is wrong with it.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, String> {
        let size = bytes.len() as u64;
        if size > LARGEST_MANIFEST {
            return Err(format!("it has {size} bytes; expected at most {LARGEST_MANIFEST}"));
        }
        // Serde would read a list of the values as well.
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return Err("it is not a JSON object".to_owned());
        }
        let document: Document =
            serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if document.schema_version != 2 {
            return Err(format!("schemaVersion is {}, expected 2", document.schema_version));
        }
        let media_type = document.media_type.ok_or("it does not say its mediaType")?;
        let is_index = INDEXES.contains(&media_type.as_str());
        if !is_index && !MANIFESTS.contains(&media_type.as_str()) {
            return Err(format!("its mediaType `{media_type}` is not that of one"));
        }
        let config_type = document.config.as_ref().map(|config| config.media_type.clone());
        let named = match (is_index, document.config, document.layers, document.manifests) {
            (true, None, None, Some(manifests)) => manifests,
            (false, Some(config), Some(layers), None) => {
                [config].into_iter().chain(layers).collect()
            }
            // The same bytes read as one or the other would name different things.
            _ => return Err("an index has manifests, a manifest has config and layers".to_owned()),
        };
        Ok(Self {
            media_type,
            parts: named.iter().map(|n| Part { digest: n.digest, size: n.size }).collect(),
            is_index,
            subject: document.subject.map(|subject| subject.digest),
            artifact_type: document.artifact_type.or(config_type).unwrap_or_default(),
            annotations: document.annotations,
        })
    }

    /// Reads what is to be pushed to a repository, or lies there.
    pub(crate) fn parse(
        repository: &str,
        digest: &Digest,
        bytes: &[u8],
    ) -> Result<Self, RegistryError> {
        Self::read(bytes).map_err(|what| RegistryError::Manifest {
            repository: repository.to_owned(),
            digest: *digest,
            what,
        })
    }

    /// Describes it as a referrer of its subject.
    pub(crate) fn referrer(self, digest: Digest, size: u64) -> Referrer {
        let Self { media_type, artifact_type, annotations, .. } = self;
        Referrer { digest, size, media_type, artifact_type, annotations }
    }
}

#[cfg(test)]
mod tests {
    use kdistro_verify::hash::sha256;
    use serde_json::{Value, json};

    use super::*;

    fn named(content: &[u8], media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": sha256(content), "size": content.len()})
    }

    fn read(document: &Value) -> Result<Manifest, String> {
        Manifest::read(&serde_json::to_vec(document).unwrap())
    }

    #[test]
    fn reads_what_a_manifest_names() {
        let mut document = json!({
            "schemaVersion": 2, "mediaType": MANIFESTS[0], "unknown": true,
            "config": named(b"c", "application/x"), "layers": [named(b"l", "y"), named(b"l", "y")],
        });
        let manifest = read(&document).unwrap();
        assert_eq!(manifest.parts.len(), 2);
        assert_eq!((manifest.is_index, manifest.subject), (false, None));
        document["subject"] = named(b"s", MANIFESTS[0]);
        document["annotations"] = json!({"a": "b"});
        let manifest = read(&document).unwrap();
        assert_eq!(manifest.subject, Some(sha256(b"s")));
        let referrer = manifest.referrer(sha256(b"m"), 7);
        assert_eq!((referrer.artifact_type.as_str(), referrer.size), ("application/x", 7));
        assert_eq!(referrer.annotations["a"], "b");
        document["artifactType"] = "z".into();
        assert_eq!(read(&document).unwrap().referrer(sha256(b"m"), 7).artifact_type, "z");
    }

    #[test]
    fn refuses_what_could_be_read_in_two_ways() {
        let (config, layers) = (named(b"c", "x"), json!([named(b"l", "y")]));
        for (document, what) in [
            (json!([2]), "JSON object"),
            (
                json!({"schemaVersion": 1, "mediaType": INDEXES[0], "manifests": []}),
                "schemaVersion",
            ),
            (json!({"schemaVersion": 2, "manifests": []}), "mediaType"),
            (json!({"schemaVersion": 2, "mediaType": "x", "manifests": []}), "`x`"),
            (json!({"schemaVersion": 2, "mediaType": INDEXES[0]}), "an index has"),
            (
                json!({"schemaVersion": 2, "mediaType": INDEXES[0], "manifests": [], "layers": layers}),
                "an index has",
            ),
            (
                json!({"schemaVersion": 2, "mediaType": MANIFESTS[0], "config": config}),
                "a manifest has",
            ),
            (
                json!({"schemaVersion": 2, "mediaType": MANIFESTS[0], "config": config, "layers": layers, "manifests": []}),
                "a manifest has",
            ),
            (
                json!({"schemaVersion": 2, "mediaType": INDEXES[0], "manifests": [{"mediaType": "x", "digest": "sha256:00", "size": 1}]}),
                "sha256:00",
            ),
        ] {
            let error = read(&document).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
        let large = vec![b' '; usize::try_from(LARGEST_MANIFEST).unwrap() + 1];
        assert!(Manifest::read(&large).unwrap_err().contains("at most"));
    }
}
