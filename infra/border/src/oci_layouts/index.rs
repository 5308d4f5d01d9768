//! The `index.json` of an OCI image layout: its tags, and the manifests that are about others.
//!
//! Entries are kept as they were read, with all that other programs wrote into them.

use kdistro_formats::{Digest, canonical, oci::REF_NAME as TAG};
use serde_json::{Map, Value, json};

use crate::manifest::Manifest;

/// One entry: a descriptor.
type Entry = Map<String, Value>;

/// The entries of an index, sorted by tag and digest when written.
#[derive(Default)]
pub(super) struct Index {
    entries: Vec<Entry>,
}

impl Index {
    /// Reads an index, or says what is wrong with it.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let document: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let entries = document.get("manifests").and_then(Value::as_array);
        let entries = entries.ok_or("it has no list of manifests")?.iter();
        let entries = entries.map(|entry| entry.as_object().cloned());
        let entries = entries.collect::<Option<Vec<_>>>().ok_or("an entry is no descriptor")?;
        let index = Self { entries };
        if let Some(entry) = index.entries.iter().find(|entry| digest(entry).is_none()) {
            let shown = Value::Object(entry.clone());
            return Err(format!("an entry has no digest: {shown}"));
        }
        let mut tags: Vec<_> = index.entries.iter().filter_map(tag).collect();
        tags.sort_unstable();
        match tags.windows(2).find(|pair| pair.first() == pair.last()) {
            Some(pair) => Err(format!("it has the tag {pair:?} twice")),
            None => Ok(index),
        }
    }

    /// Writes the index in canonical JSON.
    pub(super) fn write(mut self) -> Result<Vec<u8>, String> {
        let key = |entry: &Entry| (tag(entry).map(str::to_owned), digest(entry));
        self.entries.sort_by_cached_key(key);
        let document = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": self.entries,
        });
        canonical::to_vec(&document).map_err(|error| error.to_string())
    }

    /// Returns what a tag names.
    pub(super) fn resolve(&self, wanted: &str) -> Option<Digest> {
        self.entries.iter().find(|entry| tag(entry) == Some(wanted)).and_then(digest)
    }

    /// Lists what is there without a tag.
    pub(super) fn untagged(&self) -> impl Iterator<Item = Digest> {
        self.entries.iter().filter(|entry| tag(entry).is_none()).filter_map(digest)
    }

    /// Adds a tag.
    pub(super) fn add_tag(&mut self, tag: &str, manifest: &Manifest, digest: Digest, size: u64) {
        let mut entry = descriptor(manifest, digest, size);
        entry.insert("annotations".to_owned(), json!({ TAG: tag }));
        self.entries.push(entry);
    }

    /// Adds a manifest that is about another.
    pub(super) fn add_referrer(&mut self, manifest: &Manifest, digest: Digest, size: u64) {
        let mut entry = descriptor(manifest, digest, size);
        let referrer = manifest.clone().referrer(digest, size);
        if !referrer.artifact_type.is_empty() {
            entry.insert("artifactType".to_owned(), referrer.artifact_type.into());
        }
        self.entries.push(entry);
    }
}

fn descriptor(manifest: &Manifest, digest: Digest, size: u64) -> Entry {
    let fields = [
        ("mediaType", Value::from(manifest.media_type.as_str())),
        ("digest", digest.to_string().into()),
        ("size", size.into()),
    ];
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn digest(entry: &Entry) -> Option<Digest> {
    entry.get("digest")?.as_str()?.parse().ok()
}

fn tag(entry: &Entry) -> Option<&str> {
    entry.get("annotations")?.get(TAG)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_others_wrote_and_sorts_it() {
        let (one, two) =
            (format!("sha256:{}", "1".repeat(64)), format!("sha256:{}", "2".repeat(64)));
        let text = json!({"schemaVersion": 2, "manifests": [
            {"mediaType": "m", "digest": two, "size": 1, "platform": {"os": "linux"},
             "annotations": {TAG: "b", "other": "kept"}},
            {"mediaType": "m", "digest": one, "size": 1},
            {"mediaType": "m", "digest": one, "size": 1, "annotations": {TAG: "a"}},
        ]});
        let index = Index::read(text.to_string().as_bytes()).unwrap();
        assert_eq!(index.resolve("b").unwrap().to_string(), two);
        assert_eq!(index.resolve("c"), None);
        assert_eq!(index.untagged().map(|digest| digest.to_string()).collect::<Vec<_>>(), [one]);
        let written: Value = serde_json::from_slice(&index.write().unwrap()).unwrap();
        let kept = &text["manifests"];
        assert_eq!(written["manifests"], json!([kept[1], kept[2], kept[0]]));
    }

    #[test]
    fn refuses_what_is_no_index() {
        let twice =
            json!({"digest": format!("sha256:{}", "1".repeat(64)), "annotations": {TAG: "a"}});
        for (text, what) in [
            (json!({}), "no list"),
            (json!({"manifests": [1]}), "no descriptor"),
            (json!({"manifests": [{"digest": "sha256:1"}]}), "no digest"),
            (json!({"manifests": [twice, twice]}), "twice"),
        ] {
            let error = Index::read(text.to_string().as_bytes()).err().unwrap();
            assert!(error.contains(what), "{error}");
        }
    }
}
