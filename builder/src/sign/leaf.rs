//! The leaf of the log: `hashedrekord` 0.0.2 over a digest, a signature and a public key.
//!
//! Source: Sigstore, `rekor-tiles`, `api/proto/rekor/v2/hashedrekord.proto`, as canonical JSON.

use kdistro_formats::{
    Digest,
    canonical::{self, CanonicalError},
};
use kdistro_verify::trust::PublicKey;
use serde_json::{Value, json};
use sigstore_crypto::VerificationKey;
use sigstore_types::{DerPublicKey, encoding::SignatureBytes};

use super::base64;

/// The entry type.
pub const KIND: &str = "hashedrekord";
/// Its version.
pub const VERSION: &str = "0.0.2";

/// Writes the leaf for a signature over content with this digest.
pub fn hashedrekord(
    digest: &Digest,
    signature: &[u8],
    key: &PublicKey,
) -> Result<Vec<u8>, CanonicalError> {
    canonical::to_vec(&json!({
        "apiVersion": VERSION,
        "kind": KIND,
        "spec": { "hashedRekordV002": {
            "data": { "algorithm": "SHA2_256", "digest": base64(digest.as_bytes()) },
            "signature": {
                "content": base64(signature),
                "verifier": {
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "publicKey": { "rawBytes": base64(key.as_der()) },
                },
            },
        } },
    }))
}

/// True for a leaf with a good signature by `key`: only such a leaf, left by a dead writer, is finished for it.
pub fn is_signed_by(leaf: &[u8], key: &PublicKey) -> bool {
    parts(leaf, key).is_some_and(|(digest, signature)| {
        let der = DerPublicKey::from_bytes(key.as_der());
        let key = VerificationKey::from_spki(&der);
        key.is_ok_and(|key| key.verify_prehashed(&digest, &signature).is_ok())
    })
}

fn parts(leaf: &[u8], key: &PublicKey) -> Option<(Vec<u8>, SignatureBytes)> {
    let value: Value = serde_json::from_slice(leaf).ok()?;
    let record = value.get("spec")?.get("hashedRekordV002")?;
    let signature = record.get("signature")?;
    let named = signature.get("verifier")?.get("publicKey")?.get("rawBytes")?.as_str()?;
    if named != base64(key.as_der()) {
        return None;
    }
    let digest = SignatureBytes::from_base64(record.get("data")?.get("digest")?.as_str()?).ok()?;
    let content = SignatureBytes::from_base64(signature.get("content")?.as_str()?).ok()?;
    Some((digest.as_bytes().to_vec(), content))
}
