//! Signs published documents: a Sigstore bundle each, with the log's proof stapled to it.
//!
//! Source: Sigstore, `protobuf-specs`, `sigstore_bundle.proto`; leaf type and fields as three verifiers accept them.

pub mod keyless;
pub mod keys;
pub mod leaf;
pub mod log;

use kdistro_border::{SignError, Signer};
use kdistro_formats::{
    canonical::{self, CanonicalError},
    statement::{PAYLOAD_TYPE, Statement},
};
use kdistro_verify::{
    hash,
    trust::{PublicKey, Trust, TrustError},
};
use serde::Serialize;
use serde_json::{Value, json};
use sigstore_types::encoding::SignatureBytes;

use self::log::{Appended, Log, LogError};
use crate::journal::{Entry, Journal, JournalError};

/// Why a document could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The key refused.
    #[error("cannot sign")]
    Sign(#[from] SignError),
    /// The log refused.
    #[error("cannot append to the log")]
    Log(#[from] LogError),
    /// The bundle cannot be written.
    #[error("cannot write the bundle")]
    Write(#[from] CanonicalError),
    /// A key is not one.
    #[error("the signer's key")]
    Key(#[from] TrustError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A signature in the journal is not base64.
    #[error("the journal holds a signature that is not base64: {0}")]
    Kept(String),
}

/// A signer and the log that holds what it signs.
pub struct Signing<'a> {
    /// Signs documents.
    pub signer: &'a dyn Signer,
    /// Holds every signature.
    pub log: Log<'a>,
}

impl Signing<'_> {
    /// The trusted root of what is signed here.
    pub fn trusted_root(&self) -> Result<Vec<u8>, SigningError> {
        Ok(keys::trusted_root(self.log.origin, &self.log.public_key()?)?)
    }

    /// Whom to believe about what is signed here.
    pub fn trust(&self) -> Result<Trust, SigningError> {
        let key = PublicKey::from_spki_der(self.signer.public_key())?;
        Ok(Trust::from_trusted_root(&self.trusted_root()?, &key)?)
    }

    /// Signs a document and returns its bundle. What the journal has signed before is not signed again.
    pub fn message(&self, document: &[u8], journal: &mut Journal) -> Result<Vec<u8>, SigningError> {
        let digest = hash::sha256(document);
        let (signature, appended) = self.sign_and_log(document, journal)?;
        let content = json!({
            "messageDigest": { "algorithm": "SHA2_256", "digest": base64(digest.as_bytes()) },
            "signature": base64(&signature),
        });
        self.bundle("messageSignature", &content, &appended)
    }

    /// Signs a statement as a DSSE envelope and returns its bundle.
    pub fn statement<P: Serialize>(
        &self,
        statement: &Statement<P>,
        journal: &mut Journal,
    ) -> Result<Vec<u8>, SigningError> {
        let payload = canonical::to_vec(statement)?;
        let (signature, appended) = self.sign_and_log(&pae(&payload), journal)?;
        self.bundle("dsseEnvelope", &envelope(&payload, &signature), &appended)
    }

    fn sign_and_log(
        &self,
        message: &[u8],
        journal: &mut Journal,
    ) -> Result<(Vec<u8>, Appended), SigningError> {
        let digest = hash::sha256(message);
        let key = PublicKey::from_spki_der(self.signer.public_key())?;
        let kept = journal.signature(&digest).map(str::to_owned);
        let signature = if let Some(kept) = kept {
            unbase64(&kept).ok_or(SigningError::Kept(kept))?
        } else {
            let signature = self.signer.sign(message)?;
            // Written down first: ECDSA signs differently each time, and the log wants one leaf a document.
            let entry = Entry::Signed { document: digest, signature: base64(&signature) };
            journal.write(&entry)?;
            signature
        };
        let leaf = leaf::hashedrekord(&digest, &signature, &key)?;
        let appended = self.log.append(&leaf, &|other| leaf::is_signed_by(other, &key))?;
        Ok((signature, appended))
    }

    fn bundle(
        &self,
        kind: &str,
        content: &Value,
        appended: &Appended,
    ) -> Result<Vec<u8>, SigningError> {
        let key = PublicKey::from_spki_der(self.signer.public_key())?;
        let log_key = self.log.public_key()?;
        let index = appended.index.to_string();
        let hashes: Vec<_> = appended.proof.iter().map(|hash| base64(hash.as_bytes())).collect();
        let entry = json!({
            "canonicalizedBody": base64(&appended.leaf),
            "inclusionProof": {
                "checkpoint": { "envelope": appended.checkpoint },
                "hashes": hashes,
                "logIndex": index,
                "rootHash": base64(appended.root.as_bytes()),
                "treeSize": appended.tree_size.to_string(),
            },
            "kindVersion": { "kind": leaf::KIND, "version": leaf::VERSION },
            "logId": { "keyId": base64(log_key.fingerprint().as_bytes()) },
            "logIndex": index,
        });
        let bundle = json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            kind: content,
            "verificationMaterial": {
                "publicKey": { "hint": base64(key.fingerprint().as_bytes()) },
                "timestampVerificationData": { "rfc3161Timestamps": [] },
                "tlogEntries": [entry],
            },
        });
        Ok(canonical::to_vec(&bundle)?)
    }
}

/// Signs a statement without any log, as a bare DSSE envelope: for rebuilders, who have none.
pub fn bare_statement<P: Serialize>(
    statement: &Statement<P>,
    signer: &dyn Signer,
) -> Result<Vec<u8>, SigningError> {
    let payload = canonical::to_vec(statement)?;
    let signature = signer.sign(&pae(&payload))?;
    Ok(canonical::to_vec(&envelope(&payload, &signature))?)
}

fn envelope(payload: &[u8], signature: &[u8]) -> Value {
    json!({
        "payload": base64(payload),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{ "keyid": "", "sig": base64(signature) }],
    })
}

/// The bytes that a DSSE signature covers.
///
/// Source: DSSE v1, `protocol.md`, "Signature Definition".
fn pae(payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    SignatureBytes::from_bytes(bytes).to_base64()
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    SignatureBytes::from_base64(text).ok().map(|bytes| bytes.as_bytes().to_vec())
}
