//! Signatures, keys and the log: nothing that anybody makes up is by the key.

use std::sync::OnceLock;

use kdistro::sign::keyless::{Identity, Root};
use kdistro_formats::Digest;
use kdistro_verify::{
    bundle,
    log::{Tree, TreeFile, open_checkpoint, tile_path, unpack_entries},
    trust::{PublicKey, Trust},
};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::seeds::{
    BUNDLE, CHECKPOINT, DOCUMENT, KEY, KEYLESS, KEYLESS_ROOT, STATEMENT, TRUSTED_ROOT,
};

/// The key of the seeds.
pub(crate) fn key() -> &'static PublicKey {
    static KEPT: OnceLock<PublicKey> = OnceLock::new();
    KEPT.get_or_init(|| PublicKey::from_pem(KEY).expect("a kept key"))
}

/// Whom all believe.
fn believed() -> &'static Trust {
    static KEPT: OnceLock<Trust> = OnceLock::new();
    KEPT.get_or_init(|| Trust::from_trusted_root(TRUSTED_ROOT, key()).expect("a kept root"))
}

/// Sigstore bundles and bare envelopes.
pub fn bundle(data: &[u8]) {
    let trust = believed();
    let _ = bundle::other_signer(data, trust.key());
    // Two seeds are true; whatever else is accepted must be one of them in its one spelling.
    if bundle::verify_message(data, DOCUMENT, trust).is_ok() {
        assert_eq!(data, BUNDLE, "forged");
    }
    if bundle::verify_statement::<IgnoredAny>(data, trust).is_ok() {
        assert_eq!(data, STATEMENT, "forged");
    }
    let _ = bundle::verify_signed_digest(data, trust);
    let _ = bundle::verify_unlogged(data, DOCUMENT, trust.key());
}

/// Bundles without a key, and the roots that say whom to believe about identities.
pub fn keyless(data: &[u8]) {
    let said = |bundle: &[u8]| -> Option<[Value; 2]> {
        let bundle: Value = serde_json::from_slice(bundle).ok()?;
        let certificate = bundle.pointer("/verificationMaterial/certificate/rawBytes")?;
        Some([certificate.clone(), bundle.pointer("/messageSignature/signature")?.clone()])
    };
    if is_by_person(data) {
        // Space and order are free; who signed what is not.
        assert!(KEYLESS.iter().any(|seed| said(seed) == said(data)), "forged");
    }
    let _ = Root::from_json(data);
}

/// True when a bundle proves that the person whom the seeds are by signed the document.
fn is_by_person(bundle: &[u8]) -> bool {
    static ROOT: OnceLock<Root> = OnceLock::new();
    let root = ROOT.get_or_init(|| Root::from_json(KEYLESS_ROOT).expect("a kept root"));
    let issuer = "http://127.0.0.1:38083/issuer";
    let identity = Identity { name: "release@tiny.example", issuer };
    root.verify(bundle, DOCUMENT, &identity).is_ok()
}

/// Trusted roots and public keys.
pub fn trust(data: &[u8]) {
    let _ = Trust::from_trusted_root(data, key());
    if let Ok(key) = PublicKey::from_spki_der(data) {
        assert_eq!(key.as_der(), data);
    }
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(key) = PublicKey::from_pem(text) {
        assert_eq!(PublicKey::from_pem(&key.to_pem()).expect("it was written"), key);
    }
}

/// Checkpoints of the log: one form only.
pub fn checkpoint(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let trust = believed();
    if open_checkpoint(text, trust.origin(), trust.log_key()).is_ok() {
        assert_eq!(text, CHECKPOINT, "another spelling of a signed checkpoint");
    }
}

/// Names and tiles of the log, and proofs over tiles that lie.
pub fn log(data: &[u8]) {
    if let Some(entries) = unpack_entries(data) {
        let length: usize = entries.iter().map(|entry| entry.len() + 2).sum();
        assert_eq!(length, data.len());
    }
    if let Ok(text) = str::from_utf8(data) {
        match TreeFile::parse(text) {
            Some(TreeFile::Tile { level, index, width }) => {
                assert_eq!(tile_path(&level.to_string(), index, width), text);
            }
            Some(TreeFile::Entries { index, width }) => {
                assert_eq!(tile_path("entries", index, width), text);
            }
            Some(TreeFile::Checkpoint) | None => {}
        }
    }
    let Some((sizes, tile)) = data.split_first_chunk::<16>() else { return };
    let (old, size) = sizes.split_at(8);
    let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let (old, size) = (number(old), number(size));
    let fetch = |_: &str| Ok(Some(tile.to_vec()));
    let mut tree = Tree::new(size, &fetch);
    let _ = tree.root();
    let _ = tree.inclusion(old);
    let any = Digest::from_bytes([7; 32]);
    let _ = tree.check_contains(old, &any, &any);
    let _ = tree.entries(old >> 8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where nothing is ever accepted, nothing forged would be either.
    #[test]
    fn what_was_really_signed_is_accepted() {
        bundle::verify_message(BUNDLE, DOCUMENT, believed()).unwrap();
        bundle::verify_statement::<IgnoredAny>(STATEMENT, believed()).unwrap();
        open_checkpoint(CHECKPOINT, believed().origin(), believed().log_key()).unwrap();
        assert!(KEYLESS.iter().all(|seed| is_by_person(seed)));
    }
}
