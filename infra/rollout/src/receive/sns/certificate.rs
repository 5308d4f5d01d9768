//! The certificate by which SNS signs: whose it is, how long it lasts, and its key.
//!
//! Its chain is not followed: it was fetched by TLS from SNS itself, which the public authorities vouch for.

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_cert::der::{Decode, oid::ObjectIdentifier};

use super::{super::message::shown, address::Topic};

/// Source: RFC 8017, A.1, `rsaEncryption`; RFC 4519, 2.3, `cn`.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// What is used of a certificate.
#[derive(Debug)]
pub(super) struct Certificate {
    /// The public key, as RFC 8017, A.1.1, writes it.
    pub(super) key: Vec<u8>,
    begin: u64,
    end: u64,
}

/// Why a certificate is of no use; each is the rest of a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// It cannot be read.
    #[error("is not one in PEM")]
    Unreadable,
    /// It belongs to somebody else.
    #[error("is for `{found}`; expected `sns.amazonaws.com`, or SNS in {region}")]
    Name {
        /// Whose it is.
        found: String,
        /// The region of the topic.
        region: String,
    },
    /// Its key is for something else.
    #[error("has no RSA key")]
    Key,
    /// It does not last any more, or not yet.
    #[error("is not valid at {0}")]
    Time(Timestamp),
}

impl Certificate {
    /// Reads the first certificate in PEM, which must be that of SNS in the topic's region.
    pub(super) fn read(pem: &[u8], topic: &Topic) -> Result<Self, CertificateError> {
        // Not `load_pem_chain` of x509-cert, which subtracts below zero for what is none.
        let first = CertificateDer::pem_slice_iter(pem).next().and_then(Result::ok);
        let first = first.and_then(|der| x509_cert::Certificate::from_der(&der).ok());
        let body = first.ok_or(CertificateError::Unreadable)?.tbs_certificate;
        let names = body.subject.0.iter().flat_map(|part| part.0.iter());
        let mut names = names.filter(|it| it.oid == COMMON_NAME).map(|it| it.value.value());
        let found = names.next().and_then(|name| str::from_utf8(name).ok()).unwrap_or_default();
        if names.next().is_some() || !is_of_sns(found, topic) {
            let (found, region) = (shown(found), topic.region.clone());
            return Err(CertificateError::Name { found, region });
        }
        let key = body.subject_public_key_info;
        let bits = key.subject_public_key.as_bytes().filter(|_| key.algorithm.oid == RSA);
        let bits = bits.ok_or(CertificateError::Key)?.to_vec();
        let begin = body.validity.not_before.to_unix_duration().as_secs();
        let end = body.validity.not_after.to_unix_duration().as_secs();
        Ok(Self { key: bits, begin, end })
    }

    /// Checks that it lasts at a time, both ends included.
    pub(super) fn check_time(&self, now: Timestamp) -> Result<(), CertificateError> {
        let seconds = u64::try_from(now.as_second()).unwrap_or_default();
        if (self.begin..=self.end).contains(&seconds) {
            return Ok(());
        }
        Err(CertificateError::Time(now))
    }
}

/// Source: aws-sdk-java-v2, `sns-message-manager`: one name for most regions, others for those that came later, for China
/// and for the government, whose two regions share one.
fn is_of_sns(name: &str, topic: &Topic) -> bool {
    let Topic { region, domain, .. } = topic;
    let own = if region == "us-gov-east-1" { "us-gov-west-1" } else { region };
    name == "sns.amazonaws.com"
        || name == format!("sns-signing.{region}.{domain}")
        || name == format!("sns-{own}.{domain}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn topic() -> Topic {
        Topic::read("arn:aws:sns:af-south-1:123456789012:t").unwrap()
    }

    #[test]
    fn only_sns_has_the_name_of_sns() {
        for name in [
            "sns.amazonaws.com",
            "sns-signing.af-south-1.amazonaws.com",
            "sns-af-south-1.amazonaws.com",
        ] {
            assert!(is_of_sns(name, &topic()), "{name}");
        }
        for name in
            ["", "s3.amazonaws.com", "sns-signing.eu-west-1.amazonaws.com", "sns.amazonaws.com.x"]
        {
            assert!(!is_of_sns(name, &topic()), "{name}");
        }
        let east = Topic::read("arn:aws-us-gov:sns:us-gov-east-1:123456789012:t").unwrap();
        assert!(is_of_sns("sns-us-gov-west-1.amazonaws.com", &east));
    }

    proptest! {
        #[test]
        fn anything_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), body in "[A-Za-z0-9+/=\\n-]{0,120}") {
            let begin = "-----BEGIN CERTIFICATE-----\n";
            for pem in [
                bytes,
                format!("{begin}{body}\n-----END CERTIFICATE-----\n").into_bytes(),
                format!("{begin}{body}").into_bytes(),
                body.into_bytes(),
            ] {
                let error = Certificate::read(&pem, &topic()).unwrap_err();
                prop_assert_eq!(error, CertificateError::Unreadable);
            }
        }
    }
}
