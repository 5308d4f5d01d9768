//! An OCI image layout: a folder with blobs by digest and an index of names. Only its texts; files are the caller's.
//!
//! Source: OCI image-spec, image-layout.md.

use std::collections::BTreeMap;

use super::{Descriptor, Index, OciError, REF_NAME};
use crate::Digest;

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

/// Writes [`INDEX`] for images by name, sorted by name.
pub fn write_index(images: &BTreeMap<String, Descriptor>) -> Result<Vec<u8>, OciError> {
    let named = images.iter().map(|(name, image)| {
        let mut named = image.clone();
        named.annotations.insert(REF_NAME.to_owned(), name.clone());
        named
    });
    Index { manifests: named.collect(), ..Index::default() }.to_vec()
}
