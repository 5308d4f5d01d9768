//! Checks signatures that others made keyless: a bundle with the certificate that Fulcio gave to an identity for some
//! minutes, and the proof of a log that it was used within them. Pure; the network is not asked.
//!
//! Source: Sigstore, `client-spec.md`, "Verification"; `protobuf-specs`, `sigstore_bundle.proto`.

use jiff::Timestamp;
use kdistro_formats::{Digest, ReleaseName, layout};
use kdistro_verify::hash;
use serde::{Deserialize, de::IgnoredAny};
use sigstore_types::{
    Bundle, HashAlgorithm, MediaType, SignatureContent, TransparencyLogEntry,
    bundle::{
        CertificateContent, MessageSignature, TimestampVerificationData, VerificationMaterial,
        VerificationMaterialContent,
    },
};
use sigstore_verify::{
    VerificationPolicy, Verifier,
    trust_root::{SIGSTORE_PRODUCTION_TRUSTED_ROOT, TrustedRoot},
};

/// The largest bundle or trusted root that is read, in bytes; those that there are have some kilobytes.
pub const LARGEST: u64 = 1 << 20;

/// A keyless signature that is none, or not the one that was expected.
#[derive(Debug, thiserror::Error)]
pub enum KeylessError {
    /// Not a bundle.
    #[error("not a Sigstore bundle")]
    Form(#[source] serde_json::Error),
    /// Not a trusted root.
    #[error("not a Sigstore trusted root")]
    Root(#[source] sigstore_verify::trust_root::Error),
    /// A trusted root of no use.
    #[error("the trusted root cannot be used")]
    Trust(#[source] Box<sigstore_verify::Error>),
    /// A bundle of another version.
    #[error("its media type is `{0}`, expected `{expected}`", expected = MediaType::Bundle0_3.as_str())]
    Version(String),
    /// Signed with a key of which nobody says whose it is.
    #[error(
        "it was signed with a plain key, which no identity stands behind\nhelp:  the key of an environment signs when it publishes; bring in what `cosign sign-blob` makes without --key"
    )]
    PlainKey,
    /// A part is missing, or there is one that should not be.
    #[error("{0}")]
    Part(&'static str),
    /// The bundle is of another document.
    #[error("signed was {signed}, but the document is {found}")]
    Document {
        /// The digest that was signed.
        signed: String,
        /// The digest of what is there.
        found: Digest,
    },
    /// Certificate, identity, time, log entry or signature is wrong.
    #[error("not proven")]
    Refused(#[source] Box<sigstore_verify::Error>),
}

impl KeylessError {
    /// True when there is a bundle, which does not prove what it should; false when there is nothing to be judged.
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::Form(_) | Self::Root(_) | Self::Trust(_))
    }
}

/// Whom a certificate must name.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// The subject's alternative name: an email address, or the URI of a workflow.
    pub name: &'a str,
    /// Who vouched for it to Fulcio: the address of an identity provider.
    pub issuer: &'a str,
}

/// Whom one believes about identities: authorities for certificates and times, and logs.
pub struct Root(Verifier);

impl Root {
    /// Sigstore's public services, as they were when this program was built.
    pub fn of_sigstore() -> Result<Self, KeylessError> {
        Self::from_json(SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes())
    }

    /// Reads a `trusted_root.json`.
    pub fn from_json(bytes: &[u8]) -> Result<Self, KeylessError> {
        let root = TrustedRoot::from_json(&String::from_utf8_lossy(bytes));
        let verifier = Verifier::new(&root.map_err(KeylessError::Root)?);
        Ok(Self(verifier.map_err(|error| KeylessError::Trust(Box::new(error)))?))
    }

    /// Verifies that an identity signed exactly `document` while its certificate was valid, and that a log holds the
    /// signature. Returns the earliest time that a log or a timestamp authority witnesses.
    pub fn verify(
        &self,
        bundle_json: &[u8],
        document: &[u8],
        identity: &Identity<'_>,
    ) -> Result<Timestamp, KeylessError> {
        let bundle = read(bundle_json, &hash::sha256(document))?;
        let policy = VerificationPolicy::new(identity.name, identity.issuer);
        let verified = self.0.verify(document, &bundle, &policy);
        let verified = verified.map_err(|error| KeylessError::Refused(Box::new(error)))?;
        let has_all = verified.certificate_verified()
            && verified.sct_verified()
            && verified.tlog_verified()
            && verified.identity_policy_checked();
        let time = verified.verified_timestamps().iter().min().filter(|_| has_all);
        time.copied().ok_or(KeylessError::Part("something of it was not verified"))
    }
}

/// The name of a keyless signature of a release in the store, which follows from its content.
pub fn path(release: &ReleaseName, bundle_json: &[u8]) -> String {
    let digest = hash::sha256(bundle_json).hex();
    layout::bundle(&format!("{}/keyless-{digest:.16}", layout::attestations(release)))
}

/// What stands in a bundle.
///
/// Sigstore's own types pass over a second content, which other readers may take for the one that was signed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a bundle", rename_all = "camelCase")]
struct Parts {
    media_type: String,
    verification_material: Material,
    message_signature: Option<MessageSignature>,
    dsse_envelope: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "verification material", rename_all = "camelCase")]
struct Material {
    certificate: Option<CertificateContent>,
    x509_certificate_chain: Option<IgnoredAny>,
    public_key: Option<IgnoredAny>,
    #[serde(default)]
    tlog_entries: Vec<TransparencyLogEntry>,
    timestamp_verification_data: Option<TimestampVerificationData>,
}

/// Reads a bundle, which must be of a certificate and of the document with this digest.
fn read(bundle_json: &[u8], document: &Digest) -> Result<Bundle, KeylessError> {
    let parts: Parts = serde_json::from_slice(bundle_json).map_err(KeylessError::Form)?;
    if parts.media_type != MediaType::Bundle0_3.as_str() {
        return Err(KeylessError::Version(parts.media_type));
    }
    let material = parts.verification_material;
    if material.public_key.is_some() {
        return Err(KeylessError::PlainKey);
    }
    if material.x509_certificate_chain.is_some() {
        return Err(KeylessError::Part("it has a chain of certificates, expected one of them"));
    }
    if parts.dsse_envelope.is_some() {
        return Err(KeylessError::Part("it is a statement, expected a signature of the manifest"));
    }
    let (Some(certificate), Some(message)) = (material.certificate, parts.message_signature) else {
        return Err(KeylessError::Part("it has no certificate, or no signature"));
    };
    check_document(&message, document)?;
    if material.tlog_entries.is_empty()
        || material.tlog_entries.iter().any(|entry| entry.inclusion_proof.is_none())
    {
        return Err(KeylessError::Part("it has no proof that a log holds the signature"));
    }
    let content = VerificationMaterialContent::Certificate(certificate);
    let material = VerificationMaterial::new(content)
        .with_tlog_entries(material.tlog_entries)
        .with_timestamp_verification_data(material.timestamp_verification_data.unwrap_or_default());
    let content = SignatureContent::MessageSignature(message);
    Ok(Bundle::new(MediaType::Bundle0_3, material, content))
}

/// Compares what a bundle says that it is of, so that the wrong one is told as such; whether that was signed is another
/// question.
fn check_document(message: &MessageSignature, found: &Digest) -> Result<(), KeylessError> {
    let Some(named) = &message.message_digest else {
        return Err(KeylessError::Part("it does not say what was signed"));
    };
    if named.algorithm != HashAlgorithm::Sha2256 {
        return Err(KeylessError::Part("it is of another digest than SHA-256"));
    }
    let signed = named.digest.as_bytes();
    if signed == found.as_bytes() {
        return Ok(());
    }
    let signed = <[u8; 32]>::try_from(signed).map(|bytes| Digest::from_bytes(bytes).to_string());
    let signed = signed.unwrap_or_else(|_| "no SHA-256".to_owned());
    Err(KeylessError::Document { signed, found: *found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_follows_from_the_content() {
        let release: ReleaseName = "1-36-7".parse().unwrap();
        assert_eq!(
            path(&release, b"{}"),
            "kubernetes-1-36/releases/7/attestations/keyless-44136fa355b3678a.sigstore.json"
        );
        assert_ne!(path(&release, b"{}"), path(&release, b"{ }"));
    }

    #[test]
    fn sigstores_own_root_can_be_used_and_other_text_is_none() {
        Root::of_sigstore().unwrap();
        for text in ["", "{}", "[]", "\u{fffd}"] {
            let refused = Root::from_json(text.as_bytes()).map(|_| ());
            assert!(!refused.unwrap_err().is_refusal(), "{text}");
        }
    }
}
