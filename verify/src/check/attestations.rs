//! Attestations of a release: statements signed by the release key, and what others signed, which is only reported.

use std::collections::BTreeSet;

use kdistro_formats::{
    Digest, layout,
    release::Asset,
    statement::{PROVENANCE, TEST_RESULT, TestResult},
};
use serde::de::IgnoredAny;
use sigstore_crypto::{parse_certificate_info, verify_signature_prehashed};
use sigstore_types::{Bundle, DerCertificate, HashAlgorithm, SignatureContent};

use super::{
    manifest::SignedManifest,
    reading::{Checker, SMALL},
    report::chain,
};
use crate::{bundle, trust::Trust};

impl Checker<'_> {
    /// Checks every attestation that the store lists; provenances were checked before.
    pub(super) fn check_attestations(&mut self, signed: &SignedManifest, trust: &Trust) {
        let folder = layout::attestations(&signed.name);
        let status = &signed.release.status;
        let assets = status.components.iter().flat_map(|component| &component.assets);
        let mut subjects: BTreeSet<_> =
            assets.filter_map(Asset::digest).map(|digest| digest.hex()).collect();
        subjects.extend(status.documents.iter().map(|document| document.sha256.hex()));
        subjects.insert(signed.digest.hex());
        for file in self.listed(&folder) {
            if file.ends_with(layout::PROVENANCE) {
                if !self.known.contains(&file) {
                    self.differs(&file, "is the provenance of no component of this release");
                }
                continue;
            }
            let Some(json) = self.document(&file, SMALL) else { continue };
            if let Some((bundle, certificate)) = &keyless(&json) {
                match certified_signer(bundle, certificate, &signed.digest) {
                    Err(problem) => self.differs(&file, problem),
                    Ok(signer) => {
                        self.note(&file, format!("{signer}: the certificate was not checked"));
                    }
                }
                continue;
            }
            if let Some(signer) = bundle::other_signer(&json, trust.key()) {
                self.note(
                    &file,
                    format!(
                        "says that another key ({signer}) signed it: its signature was not checked"
                    ),
                );
                continue;
            }
            match bundle::verify_statement::<IgnoredAny>(&json, trust) {
                Err(error) => self.differs(&file, chain(&error)),
                Ok((statement, logged)) => {
                    self.logged.push((file.clone(), logged));
                    let digests =
                        statement.subject.iter().filter_map(|subject| subject.digest.get("sha256"));
                    let mut digests = digests.peekable();
                    let is_about_it = digests.peek().is_some();
                    if !is_about_it || !digests.all(|digest| subjects.contains(digest)) {
                        self.differs(&file, "is not about this release alone");
                    }
                    if statement.predicate_type == TEST_RESULT {
                        match bundle::verify_statement::<TestResult>(&json, trust) {
                            Err(error) => self.differs(&file, chain(&error)),
                            Ok((tests, _)) => {
                                let result = tests.predicate.result;
                                self.note(&file, format!("says that its tests came to {result}"));
                            }
                        }
                    }
                    if statement.predicate_type == PROVENANCE {
                        let rest = "its component, whose provenance is elsewhere";
                        self.differs(&file, format!("has not the name of a provenance of {rest}"));
                    }
                }
            }
        }
    }
}

/// A bundle whose signer a certificate names, in place of the hint at a key.
fn keyless(json: &[u8]) -> Option<(Bundle, DerCertificate)> {
    let bundle = Bundle::from_json(str::from_utf8(json).ok()?).ok()?;
    let certificate = bundle.signing_certificate()?.clone();
    Some((bundle, certificate))
}

/// Says whom the certificate of a bundle names, once its key is seen to have signed the manifest with this digest.
///
/// Anybody can write a certificate: who believes it needs a root that knows the authority it is from.
fn certified_signer(
    bundle: &Bundle,
    certificate: &DerCertificate,
    manifest: &Digest,
) -> Result<String, &'static str> {
    let SignatureContent::MessageSignature(message) = &bundle.content else {
        return Err(
            "is a statement of a certificate's key; of such only a signature of the manifest is known",
        );
    };
    let named = message.message_digest.as_ref().filter(|named| {
        named.algorithm == HashAlgorithm::Sha2256 && named.digest.as_bytes() == manifest.as_bytes()
    });
    let info = parse_certificate_info(certificate);
    let info = info.map_err(|_| "has a certificate that cannot be read")?;
    let scheme = info.key_algorithm.resolve_signing_scheme(HashAlgorithm::Sha2256);
    let verified = scheme.and_then(|scheme| {
        let signature = &message.signature;
        verify_signature_prehashed(&info.public_key, manifest.as_bytes(), signature, scheme)
    });
    if named.is_none() || verified.is_err() {
        return Err("is no signature of the manifest by the key of its certificate");
    }
    let identity = info.identity.map_or_else(|| "nobody".to_owned(), |name| name.to_string());
    let issuer = info.issuer.unwrap_or_else(|| "nobody".to_owned());
    Ok(format!("says that {identity}, known to {issuer}, signed the manifest"))
}
