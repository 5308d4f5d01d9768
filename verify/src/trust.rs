//! Whom a verifier believes: the release key, and the log key that the release key vouches for.

use aws_lc_rs::{
    error::KeyRejected,
    signature::{ECDSA_P256_SHA256_ASN1, ParsedPublicKey},
};
use kdistro_formats::Digest;
use sigstore_crypto::VerificationKey;
use sigstore_trust_root::TrustedRoot;
use sigstore_types::{DerPublicKey, encoding::SignatureBytes};
use sigstore_verify::Verifier;

use crate::hash;

/// What the `SubjectPublicKeyInfo` of every uncompressed P-256 key starts with.
///
/// Source: RFC 5480, sections 2.1.1 and 2.2.
const P256: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];
/// The length of such a key.
const P256_LENGTH: usize = P256.len() + 64;
/// Characters a line of PEM has.
const PEM_LINE: usize = 64;

/// A key or trusted root that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Not a PEM public key.
    #[error("not a public key: expected PEM, `BEGIN PUBLIC KEY`")]
    Pem(#[source] sigstore_types::Error),
    /// A key of another kind.
    #[error("not a P-256 public key: expected a SubjectPublicKeyInfo of {P256_LENGTH} bytes")]
    Curve,
    /// The point is not on the curve.
    #[error("not a P-256 public key: {0}")]
    Point(KeyRejected),
    /// Not a trusted root.
    #[error("not a Sigstore trusted root")]
    Root(#[source] sigstore_trust_root::Error),
    /// The trusted root is not text.
    #[error("a trusted root is UTF-8")]
    Text(#[source] std::str::Utf8Error),
    /// Not exactly one log.
    #[error("the trusted root names {0} logs, expected one")]
    Logs(usize),
    /// The address of the log has no plain host.
    #[error("the log's address `{0}` is not `https://<host>`, with a path or none")]
    BaseUrl(String),
    /// The log's id is not that of its key.
    #[error("the log's id is not the SHA-256 of its key")]
    LogId,
    /// The trusted root cannot be used.
    #[error("the trusted root cannot be used")]
    Verifier(#[source] sigstore_verify::Error),
    /// A revoked key, and nothing from outside that says which log counts.
    #[error(
        "a revocation needs a trusted root from outside (`--trusted-root`): whoever has the stolen key can sign another, of a log of their own"
    )]
    Revocation,
}

/// A P-256 public key, and where in the log one ceases to believe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    der: DerPublicKey,
    revoked_from: Option<u64>,
}

impl PublicKey {
    /// Reads a PEM public key.
    pub fn from_pem(text: &str) -> Result<Self, TrustError> {
        Self::checked(DerPublicKey::from_pem(text).map_err(TrustError::Pem)?)
    }

    /// Takes a key as DER, `SubjectPublicKeyInfo`.
    pub fn from_spki_der(bytes: &[u8]) -> Result<Self, TrustError> {
        Self::checked(DerPublicKey::from_bytes(bytes))
    }

    fn checked(key: DerPublicKey) -> Result<Self, TrustError> {
        if key.len() != P256_LENGTH || !key.as_bytes().starts_with(&P256) {
            return Err(TrustError::Curve);
        }
        // Sigstore's crates take any bytes here, and refuse the key at its first use only.
        let point = key.as_bytes().get(P256.len() - 1..).unwrap_or_default();
        ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).map_err(TrustError::Point)?;
        Ok(Self { der: key, revoked_from: None })
    }

    /// Revokes the key: what it signed stays good where the log has it before entry `index`, and nowhere else.
    ///
    /// The log has no clock, but an order. Where an entry stands is proven by its inclusion proof under a head that the log
    /// key signed, so that who has this key alone cannot put one before `index`; who has the log key too can fork the log
    /// and do it.
    #[must_use]
    pub fn revoke_from(self, index: u64) -> Self {
        Self { revoked_from: Some(index), ..self }
    }

    /// Returns the first entry of the log for which the key is not believed any more; none while it is not revoked.
    pub fn revoked_from(&self) -> Option<u64> {
        self.revoked_from
    }

    /// Returns the key as DER, `SubjectPublicKeyInfo`.
    pub fn as_der(&self) -> &[u8] {
        self.der.as_bytes()
    }

    /// Writes the key as PEM, in the one form in which it is published: lines of 64 characters, ended by LF.
    pub fn to_pem(&self) -> String {
        let text = self.der.to_base64();
        let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(PEM_LINE));
            pem.push_str(line);
            pem.push('\n');
            rest = after;
        }
        pem.push_str("-----END PUBLIC KEY-----\n");
        pem
    }

    /// Returns the SHA-256 of the DER form: the key's name in bundles and logs.
    pub fn fingerprint(&self) -> Digest {
        hash::sha256(self.as_der())
    }

    /// Returns the key as Sigstore's crates take it.
    pub(crate) fn as_sigstore(&self) -> &DerPublicKey {
        &self.der
    }

    /// True when `signature` (DER) was made by this key over `message`, whether it is revoked or not.
    pub fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        VerificationKey::from_spki(&self.der)
            .is_ok_and(|key| key.verify(message, &SignatureBytes::from_bytes(signature)).is_ok())
    }
}

/// Whom one believes: who signs releases, and which log they are in.
pub struct Trust {
    key: PublicKey,
    log_key: PublicKey,
    origin: String,
    verifier: Verifier,
}

impl Trust {
    /// Reads a `trusted_root.json` that is itself believed: signed by `key`, or given from outside.
    ///
    /// The log's origin is the host of its `baseUrl`.
    pub fn from_trusted_root(bytes: &[u8], key: &PublicKey) -> Result<Self, TrustError> {
        let text = std::str::from_utf8(bytes).map_err(TrustError::Text)?;
        let root = TrustedRoot::from_json(text).map_err(TrustError::Root)?;
        let [log] = root.tlogs.as_slice() else { return Err(TrustError::Logs(root.tlogs.len())) };
        let log_key = PublicKey::from_spki_der(log.public_key.raw_bytes.as_bytes())?;
        if log.log_id.key_id.as_bytes() != log_key.fingerprint().as_bytes() {
            return Err(TrustError::LogId);
        }
        let origin =
            host(&log.base_url).ok_or_else(|| TrustError::BaseUrl(log.base_url.clone()))?;
        let origin = origin.to_owned();
        let verifier = Verifier::new(&root).map_err(TrustError::Verifier)?;
        Ok(Self { key: key.clone(), log_key, origin, verifier })
    }

    /// Returns the key that signs releases.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Returns the key that signs checkpoints of the log.
    pub fn log_key(&self) -> &PublicKey {
        &self.log_key
    }

    /// Returns the log's name: the first line of its checkpoints.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    pub(crate) fn verifier(&self) -> &Verifier {
        &self.verifier
    }
}

/// The host of an address, when it is a plain name: a port or user would make readers disagree on the origin.
fn host(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let host = rest.split('/').next()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    (!host.is_empty() && host.chars().all(plain)).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEXDqy9XLSn3NpcoekDC8kUIzsqTJb\n\
        2So0MDrqpLQwKSJLpQ+YxU5kRFO8CJJbgN2imRAo6ziqV+g7ILJP2nxG0w==\n\
        -----END PUBLIC KEY-----\n";

    #[test]
    fn a_key_is_written_as_openssl_writes_it() {
        let key = PublicKey::from_pem(KEY).unwrap();
        assert_eq!(key.to_pem(), KEY);
        assert_eq!(PublicKey::from_spki_der(key.as_der()).unwrap(), key);
    }

    #[test]
    fn refuses_what_is_no_point_of_the_curve() {
        let key = PublicKey::from_pem(KEY).unwrap();
        let mut bytes = key.as_der().to_vec();
        bytes[60] ^= 1;
        assert!(matches!(PublicKey::from_spki_der(&bytes), Err(TrustError::Point(_))));
        assert!(matches!(PublicKey::from_spki_der(&bytes[..90]), Err(TrustError::Curve)));
        assert!(PublicKey::from_pem(&KEY.replace("PUBLIC", "PRIVATE")).is_err());
    }

    #[test]
    fn the_origin_is_a_plain_host() {
        assert_eq!(host("https://log.releases.example/eks-d"), Some("log.releases.example"));
        assert_eq!(host("https://log.releases.example"), Some("log.releases.example"));
        for url in ["log.example", "https://", "https://a@b/", "https://a:1/", "ftp://a/"] {
            assert_eq!(host(url), None, "{url}");
        }
    }
}
