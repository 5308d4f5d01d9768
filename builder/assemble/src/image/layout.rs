//! An OCI image layout: a folder with blobs by digest and an index of names. Only its texts; files are the caller's.
//!
//! Source: OCI image-spec, image-layout.md.

use std::collections::BTreeMap;

use kdistro_formats::{
    Digest,
    oci::{Descriptor, Index, REF_NAME},
};
use serde_json::{Value, json};

use super::ImageError;

/// The file that marks a folder as a layout.
pub const MARK: &str = "oci-layout";
/// What [`MARK`] holds.
pub const MARK_CONTENT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// The file that names the images of a layout.
pub const INDEX: &str = "index.json";

/// Returns where a blob lies in a layout, such as `blobs/sha256/44136f…`.
pub fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Checks the content of [`MARK`].
pub fn check_mark(bytes: &[u8]) -> Result<(), ImageError> {
    let version: Option<Value> = serde_json::from_slice(bytes).ok();
    if version.is_some_and(|mark| mark.get("imageLayoutVersion") == Some(&json!("1.0.0"))) {
        return Ok(());
    }
    let shown = bytes.get(..bytes.len().min(100)).unwrap_or_default();
    Err(ImageError::Layout(String::from_utf8_lossy(shown).into_owned()))
}

/// Writes [`INDEX`] for images by name, sorted by name.
pub fn write_index(images: &BTreeMap<String, Descriptor>) -> Result<Vec<u8>, ImageError> {
    let named = images.iter().map(|(name, image)| {
        let mut named = image.clone();
        named.annotations.insert(REF_NAME.to_owned(), name.clone());
        named
    });
    let index = Index { manifests: named.collect(), ..Index::default() };
    Ok(index.to_vec()?)
}

/// Reads [`INDEX`]: the images that have a name, without the annotation that holds it.
///
/// Images without a name are left out; a name that stands there twice is refused.
pub fn read_index(bytes: &[u8]) -> Result<BTreeMap<String, Descriptor>, ImageError> {
    let mut images = BTreeMap::new();
    for mut image in Index::from_layout(bytes)?.manifests {
        let Some(name) = image.annotations.remove(REF_NAME) else { continue };
        if images.contains_key(&name) {
            return Err(ImageError::NameTwice(name));
        }
        images.insert(name, image);
    }
    Ok(images)
}
