//! The promises of a signer.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use kdistro_border::Signer;

/// Runs all promises on a signer.
pub(crate) fn check(signer: &dyn Signer) {
    let public = signer.public_key();
    // SubjectPublicKeyInfo of P-256: 26 fixed bytes, then an uncompressed point of 65 (RFC 5480).
    assert_eq!(public.len(), 91);
    let point = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &public[26..]);
    for message in [&b""[..], b"message", &vec![0; 100_000]] {
        let signature = signer.sign(message).unwrap();
        point.verify(message, &signature).unwrap();
        assert!(point.verify(b"another message", &signature).is_err());
        assert_ne!(signer.sign(message).unwrap(), signature, "the same nonce twice");
    }
}
