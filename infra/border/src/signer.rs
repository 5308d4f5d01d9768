//! Who signs: a key that stays where it is.

use std::{error::Error, io};

/// A P-256 key that signs, wherever it is kept.
///
/// Every implementation passes `tests/signer.rs`.
pub trait Signer: Send + Sync {
    /// Returns the public key as DER of a `SubjectPublicKeyInfo` (RFC 5480).
    fn public_key(&self) -> &[u8];

    /// Signs with ECDSA over P-256 and SHA-256; returns the DER of an `Ecdsa-Sig-Value` (RFC 3279).
    ///
    /// Signatures of the same message differ.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// A key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// There is a file already: keys are never overwritten.
    #[error("{path} exists already; a key is never overwritten")]
    Exists {
        /// The file.
        path: String,
    },
    /// The file can be read by others.
    #[error("{path} has mode {mode:04o} and can be read by others; run `chmod 600 {path}`")]
    Readable {
        /// The file.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// The file does not hold a P-256 key.
    #[error("{path} does not hold a private key for ECDSA over P-256 in PEM (PKCS #8): {what}")]
    Key {
        /// The file.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// The disk refused.
    #[error("cannot {action} {path}")]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The cryptographic library refused.
    #[error("the cryptographic library cannot {action}")]
    Library {
        /// What was to be done.
        action: &'static str,
    },
    /// A service refused or did not answer.
    #[error("cannot sign with {key}")]
    Service {
        /// Which key.
        key: String,
        /// What the service said.
        source: Box<dyn Error + Send + Sync>,
    },
}
