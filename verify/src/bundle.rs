//! Verifies Sigstore bundles v0.3: a signature by one key, and the proof that the log holds it.
//!
//! The signature, the leaf and the proof are judged by `sigstore-verify`; what it leaves open (fields nobody
//! signs, two spellings of one value) is closed here, so that a bundle has one form only.

mod shape;

use kdistro_formats::{
    Digest,
    canonical::{self, CanonicalError},
    statement::{PAYLOAD_TYPE, STATEMENT, Statement},
};
use serde::de::DeserializeOwned;
use sigstore_types::{
    Bundle, Sha256Hash,
    encoding::{PayloadBytes, SignatureBytes},
};
use sigstore_verify::PublicKeyVerificationPolicy;

use crate::{
    hash,
    log::{self, LogError},
    trust::{PublicKey, Trust},
};
use shape::{Entry, Envelope, Shape};

/// A bundle that does not prove what it should.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Not a bundle, or one with another spelling.
    #[error("not a Sigstore bundle v0.3 of a plain key")]
    Form(#[from] CanonicalError),
    /// A field does not hold what it should.
    #[error("`{field}` is `{found}`, expected `{expected}`")]
    Field {
        /// Which.
        field: &'static str,
        /// What stands there.
        found: String,
        /// What should.
        expected: String,
    },
    /// Signed by somebody else.
    #[error("signed by another key: {found}, not {expected}")]
    OtherKey {
        /// The fingerprint of the key that the bundle names.
        found: String,
        /// The fingerprint of the key that is believed.
        expected: Digest,
    },
    /// No proof that the log holds the signature.
    #[error("the log's proof is missing: {0} log entries, expected one")]
    Proof(usize),
    /// The stapled checkpoint is not of the log.
    #[error("stapled checkpoint")]
    Checkpoint(#[from] LogError),
    /// Signature, leaf or proof is wrong.
    #[error("not proven")]
    Refused(#[source] Box<sigstore_verify::Error>),
    /// Signed when the key was revoked.
    #[error("the key is revoked from log index {from} on, and this was signed at index {index}")]
    Revoked {
        /// The first entry of the log for which the key is not believed.
        from: u64,
        /// Where in the log the signature stands.
        index: u64,
    },
    /// Signed by a revoked key, and no log says when.
    #[error(
        "the key is revoked from log index {0} on, and no log says that this was signed before"
    )]
    Unlogged(u64),
    /// The signature is not of the release key.
    #[error("the signature is not by the release key")]
    Signature(#[source] sigstore_crypto::Error),
    /// Not JSON that Sigstore's crates read.
    #[error("not a Sigstore bundle")]
    Sigstore(#[source] sigstore_types::Error),
    /// The bundle is right, and of another document.
    #[error("signed was {signed}, but the document is {found}")]
    Document {
        /// The digest that was signed.
        signed: Digest,
        /// The digest of what is there.
        found: Digest,
    },
    /// The statement is not one of ours.
    #[error("not the expected in-toto statement")]
    Statement(#[source] serde_json::Error),
}

/// The most signatures of an envelope that are tried.
const MOST_SIGNATURES: usize = 16;

impl BundleError {
    /// True when the bundle itself is sound, so that the document beside it is what was changed.
    pub fn is_about_the_document(&self) -> bool {
        matches!(self, Self::Document { .. })
    }
}

/// Where in the log a signature stands, as its bundle proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged {
    /// The leaf, from 0 on.
    pub index: u64,
    /// How many leaves the log had.
    pub tree_size: u64,
    /// The root of the log at that size.
    pub root: Digest,
}

/// Verifies that the release key signed exactly `document`, and that the log holds it.
pub fn verify_message(
    bundle_json: &[u8],
    document: &[u8],
    trust: &Trust,
) -> Result<Logged, BundleError> {
    let (signed, logged) = verify_signed_digest(bundle_json, trust)?;
    let found = hash::sha256(document);
    if signed == found { Ok(logged) } else { Err(BundleError::Document { signed, found }) }
}

/// Verifies that `key` signed exactly `document`, without asking for the log.
///
/// For what is in no log, and the trusted root, which is what states the key of the log. By a revoked key nothing is.
pub fn verify_unlogged(
    bundle_json: &[u8],
    document: &[u8],
    key: &PublicKey,
) -> Result<(), BundleError> {
    if let Some(from) = key.revoked_from() {
        return Err(BundleError::Unlogged(from));
    }
    let shape: Shape = canonical::from_slice(bundle_json)?;
    let Some(message) = &shape.message_signature else {
        return Err(other_content("messageSignature", "dsseEnvelope"));
    };
    let signed = Sha256Hash::from_base64(&message.message_digest.digest);
    let signed = signed.map_err(BundleError::Sigstore)?;
    let signature =
        SignatureBytes::from_base64(&message.signature).map_err(BundleError::Sigstore)?;
    sigstore_crypto::VerificationKey::from_spki(key.as_sigstore())
        .and_then(|key| key.verify_prehashed(signed.as_bytes(), &signature))
        .map_err(BundleError::Signature)?;
    let (signed, found) = (Digest::from_bytes(*signed.as_bytes()), hash::sha256(document));
    if signed == found { Ok(()) } else { Err(BundleError::Document { signed, found }) }
}

/// Verifies a message signature and returns the digest of the document that was signed.
///
/// For a document that is gone, such as a channel index that was replaced.
pub fn verify_signed_digest(
    bundle_json: &[u8],
    trust: &Trust,
) -> Result<(Digest, Logged), BundleError> {
    let shape: Shape = canonical::from_slice(bundle_json)?;
    let Some(message) = &shape.message_signature else {
        return Err(other_content("messageSignature", "dsseEnvelope"));
    };
    field("messageDigest.algorithm", &message.message_digest.algorithm, "SHA2_256")?;
    let digest =
        Sha256Hash::from_base64(&message.message_digest.digest).map_err(BundleError::Sigstore)?;
    field("messageDigest.digest", &message.message_digest.digest, &digest.to_base64())?;
    let logged = verify_shape(&shape, bundle_json, digest, trust)?;
    Ok((Digest::from_bytes(*digest.as_bytes()), logged))
}

/// Verifies that the release key signed the statement in a bundle, and that the log holds it.
pub fn verify_statement<P: DeserializeOwned>(
    bundle_json: &[u8],
    trust: &Trust,
) -> Result<(Statement<P>, Logged), BundleError> {
    let shape: Shape = canonical::from_slice(bundle_json)?;
    let Some(envelope) = &shape.dsse_envelope else {
        return Err(other_content("dsseEnvelope", "messageSignature"));
    };
    field("payloadType", &envelope.payload_type, PAYLOAD_TYPE)?;
    let payload = PayloadBytes::from_base64(&envelope.payload).map_err(BundleError::Sigstore)?;
    field("payload", &envelope.payload, &payload.to_base64())?;
    let statement: Statement<P> =
        serde_json::from_slice(payload.as_bytes()).map_err(BundleError::Statement)?;
    field("_type", &statement.kind, STATEMENT)?;
    let subjects: Vec<_> = statement.subject.iter().map(|subject| &subject.digest).collect();
    let digest = subjects.first().and_then(|digests| digests.get("sha256"));
    let digest = digest.and_then(|hex| Digest::from_hex(hex).ok());
    let Some(digest) = digest else {
        let found = format!("{subjects:?}");
        let expected = "a sha256".to_owned();
        return Err(BundleError::Field { field: "subject", found, expected });
    };
    let logged = verify_shape(&shape, bundle_json, Sha256Hash::from(*digest.as_bytes()), trust)?;
    Ok((statement, logged))
}

/// Who signed a bundle or bare DSSE envelope that has nothing to do with `key`: the key's fingerprint, as it is spelled there.
///
/// Nothing about it is proven. None for what is neither, and when any part of it speaks of `key`.
pub fn other_signer(bundle_json: &[u8], key: &PublicKey) -> Option<String> {
    // Rebuilders have no log, and so write no bundle.
    if let Ok(envelope) = serde_json::from_slice::<Envelope>(bundle_json) {
        return (!has_signed_envelope(&envelope, key)).then(|| "a bare envelope".to_owned());
    }
    let shape: Shape = serde_json::from_slice(bundle_json).ok()?;
    let hint = &shape.verification_material.public_key.hint;
    let ours = *hint == base64(key.fingerprint().as_bytes())
        || shape.dsse_envelope.iter().any(|envelope| has_signed_envelope(envelope, key))
        || shape.verification_material.tlog_entries.iter().any(|entry| names(entry, key));
    (!ours).then(|| hint.clone())
}

/// True when `key` made a signature of an envelope, or when it has more than anybody would want to try.
fn has_signed_envelope(envelope: &Envelope, key: &PublicKey) -> bool {
    if envelope.signatures.len() > MOST_SIGNATURES {
        return true;
    }
    let bytes = |text: &str| SignatureBytes::from_base64(text).ok().map(SignatureBytes::into_bytes);
    let Some(payload) = bytes(&envelope.payload) else { return false };
    let signed = sigstore_types::dsse::pae(&envelope.payload_type, &payload);
    let mut signatures = envelope.signatures.iter().filter_map(|signature| bytes(&signature.sig));
    signatures.any(|signature| key.has_signed(&signed, &signature))
}

/// True when the leaf of a log entry contains `key`.
fn names(entry: &Entry, key: &PublicKey) -> bool {
    let body = SignatureBytes::from_base64(&entry.canonicalized_body);
    let text = body.map(|body| String::from_utf8_lossy(body.as_bytes()).into_owned());
    text.is_ok_and(|text| text.contains(&base64(key.as_der())))
}

/// Verifies what all bundles have in common, and that the key was not revoked when it signed.
///
/// The index that this judges by is no claim of the bundle's: the inclusion proof holds for that leaf alone, under a
/// head that the log key of `trust` signed.
fn verify_shape(
    shape: &Shape,
    bundle_json: &[u8],
    artifact: Sha256Hash,
    trust: &Trust,
) -> Result<Logged, BundleError> {
    field("mediaType", &shape.media_type, shape::MEDIA_TYPE)?;
    if shape.message_signature.is_some() && shape.dsse_envelope.is_some() {
        return Err(other_content("one of messageSignature and dsseEnvelope", "both"));
    }
    let expected = trust.key().fingerprint();
    let hint = &shape.verification_material.public_key.hint;
    if *hint != base64(expected.as_bytes()) {
        // Written as what is expected, where it is a fingerprint.
        let found = Sha256Hash::from_base64(hint)
            .map_or_else(|_| hint.clone(), |hash| Digest::from_bytes(*hash.as_bytes()).to_string());
        return Err(BundleError::OtherKey { found, expected });
    }
    let [entry] = shape.verification_material.tlog_entries.as_slice() else {
        return Err(BundleError::Proof(shape.verification_material.tlog_entries.len()));
    };
    let logged = check_entry(entry, trust)?;
    check_signatures(shape)?;
    let text = std::str::from_utf8(bundle_json).unwrap_or_default();
    let bundle = Bundle::from_json(text).map_err(BundleError::Sigstore)?;
    let policy = PublicKeyVerificationPolicy::new(trust.key().as_sigstore().clone());
    let verified = trust.verifier().verify(artifact, &bundle, &policy);
    let verified = verified.map_err(|error| BundleError::Refused(Box::new(error)))?;
    if !verified.tlog_verified() {
        return Err(BundleError::Proof(0));
    }
    let index = logged.index;
    match trust.key().revoked_from().filter(|from| index >= *from) {
        Some(from) => Err(BundleError::Revoked { from, index }),
        None => Ok(logged),
    }
}

/// Checks what stands twice in an entry, and what the library treats as a hint.
fn check_entry(entry: &Entry, trust: &Trust) -> Result<Logged, BundleError> {
    let proof = &entry.inclusion_proof;
    let checkpoint =
        log::open_checkpoint(&proof.checkpoint.envelope, trust.origin(), trust.log_key())?;
    field("kindVersion.kind", &entry.kind_version.kind, "hashedrekord")?;
    field("kindVersion.version", &entry.kind_version.version, "0.0.2")?;
    field("logId.keyId", &entry.log_id.key_id, &base64(trust.log_key().fingerprint().as_bytes()))?;
    let index = entry.log_index.parse().unwrap_or(u64::MAX);
    field("logIndex", &entry.log_index, &index.to_string())?;
    field("inclusionProof.logIndex", &proof.log_index, &entry.log_index)?;
    field("inclusionProof.treeSize", &proof.tree_size, &checkpoint.size.to_string())?;
    field("inclusionProof.rootHash", &proof.root_hash, &base64(checkpoint.root.as_bytes()))?;
    one_spelling("canonicalizedBody", &entry.canonicalized_body)?;
    proof.hashes.iter().try_for_each(|hash| one_spelling("inclusionProof.hashes", hash))?;
    Ok(Logged { index, tree_size: checkpoint.size, root: checkpoint.root })
}

fn check_signatures(shape: &Shape) -> Result<(), BundleError> {
    if let Some(message) = &shape.message_signature {
        one_spelling("messageSignature.signature", &message.signature)?;
    }
    for signature in shape.dsse_envelope.iter().flat_map(|envelope| &envelope.signatures) {
        one_spelling("dsseEnvelope.signatures.sig", &signature.sig)?;
        field("dsseEnvelope.signatures.keyid", signature.keyid.as_deref().unwrap_or_default(), "")?;
    }
    Ok(())
}

/// Base64 has several spellings of one value, by the unused bits at its end: only one is right.
fn one_spelling(name: &'static str, text: &str) -> Result<(), BundleError> {
    let bytes = SignatureBytes::from_base64(text).map_err(BundleError::Sigstore)?;
    field(name, text, &bytes.to_base64())
}

fn field(field: &'static str, found: &str, expected: &str) -> Result<(), BundleError> {
    if found == expected {
        return Ok(());
    }
    Err(BundleError::Field { field, found: found.to_owned(), expected: expected.to_owned() })
}

fn other_content(expected: &str, found: &str) -> BundleError {
    BundleError::Field { field: "content", found: found.to_owned(), expected: expected.to_owned() }
}

fn base64(bytes: &[u8]) -> String {
    SignatureBytes::from_bytes(bytes).to_base64()
}
