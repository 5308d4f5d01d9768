//! What SNS posts over https, signed by Amazon.
//!
//! Only messages of topics that the settings name are looked at; only their subscriptions are confirmed. A message without
//! its envelope ("raw message delivery") carries no signature, and is refused.
//!
//! Source: Amazon SNS, "Verifying the signatures of Amazon SNS messages"; what it leaves open (which host, whose
//! certificate) as aws-sdk-java-v2's `sns-message-manager` decides it.

mod address;
mod certificate;
mod https;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};

use self::certificate::Certificate;
pub use self::{
    address::{Address, Topic, TopicError},
    certificate::CertificateError,
    https::Https,
};
use super::{
    Heard, Ignored, MessageError, Source,
    http::{Desk, Request, Status, Taken},
    message::{self, Envelope, Kind, shown},
};

/// From this age on a message is a replay: SNS tries no longer either.
///
/// Source: Amazon SNS, "Message delivery retries": at most 3,600 seconds.
const OLDEST: SignedDuration = SignedDuration::from_hours(1);
/// How far ahead of ours the clock of SNS may be.
const AHEAD: SignedDuration = SignedDuration::from_mins(5);
/// How many certificates are kept; SNS changes its own once a year or so.
const MOST_CERTIFICATES: usize = 8;

/// Why a message of SNS is not believed to be one.
#[derive(Debug, thiserror::Error)]
pub enum SnsError {
    /// A field is missing that such a message has.
    #[error("it has no `{0}`")]
    Missing(&'static str),
    /// Its signature is of a version that is not known.
    #[error("its `SignatureVersion` is `{0}`; expected `1` or `2`")]
    Version(String),
    /// Its time is none.
    #[error("its `Timestamp` is `{0}`; expected a time as RFC 3339 writes it")]
    Time(String),
    /// It is old, so that somebody may be repeating it.
    #[error("it is of {sent} and came at {now}: more than an hour later")]
    Old {
        /// When it was sent.
        sent: Timestamp,
        /// When it came.
        now: Timestamp,
    },
    /// It is of a time that has not come.
    #[error("it is of {sent} and came at {now}\nhelp:  look at the clock of this machine")]
    Ahead {
        /// When it was sent.
        sent: Timestamp,
        /// When it came.
        now: Timestamp,
    },
    /// An address leads elsewhere than to SNS.
    #[error("its `{field}` is `{found}`; expected {expected}")]
    Address {
        /// Where it stands.
        field: &'static str,
        /// The address.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// The signature is another one.
    #[error("its signature is not by the key of {0}")]
    Forged(Address),
    /// The certificate is of no use.
    #[error("the certificate {address} {source}")]
    Certificate {
        /// Where it lies.
        address: Address,
        /// What is wrong.
        source: CertificateError,
    },
    /// SNS does not answer.
    #[error("cannot fetch {address}")]
    Fetch {
        /// What.
        address: Address,
        /// What the connection said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Fetches what lies at an address of SNS; nothing else is ever asked for.
pub trait Outside: Send + Sync {
    /// Asks once, follows no redirect, and fails unless the answer is 200.
    fn fetch(&self, address: &Address)
    -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>>;
}

/// Tells the time.
pub type Clock = dyn Fn() -> Timestamp + Send + Sync;

/// Takes what SNS posts.
pub struct Sns {
    topics: BTreeMap<String, Topic>,
    outside: Box<dyn Outside>,
    clock: Box<Clock>,
    certificates: Mutex<BTreeMap<Address, Arc<Certificate>>>,
}

impl Sns {
    /// Takes the ARNs of the topics, the way to SNS, and who tells the time.
    pub fn new(
        topics: &[String],
        outside: Box<dyn Outside>,
        clock: Box<Clock>,
    ) -> Result<Self, TopicError> {
        let topics = topics.iter().map(|arn| Ok((arn.clone(), Topic::read(arn)?)));
        let topics = topics.collect::<Result<_, TopicError>>()?;
        Ok(Self { topics, outside, clock, certificates: Mutex::default() })
    }

    /// Checks that SNS sent a message, for one of the topics, and not long ago.
    fn check(&self, said: &Envelope) -> Result<(), MessageError> {
        let topic = self.topic(said)?;
        let signature = said.signature.as_ref().ok_or(SnsError::Missing("Signature"))?;
        // What is no base64 is no signature.
        let signature = STANDARD.decode(signature).unwrap_or_default();
        let version = said.signature_version.as_deref();
        let algorithm = match version.ok_or(SnsError::Missing("SignatureVersion"))? {
            "1" => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            "2" => &RSA_PKCS1_2048_8192_SHA256,
            other => return Err(SnsError::Version(shown(other)).into()),
        };
        let now = (self.clock)();
        check_time(&said.timestamp, now)?;
        let address = said.signing_cert_url.as_ref().ok_or(SnsError::Missing("SigningCertURL"))?;
        let address = topic.certificate(address)?;
        let text = string_to_sign(said)?;
        let certificate = self.certificate(&address, topic)?;
        let of_it = |source| SnsError::Certificate { address: address.clone(), source };
        certificate.check_time(now).map_err(of_it)?;
        UnparsedPublicKey::new(algorithm, &certificate.key)
            .verify(text.as_bytes(), &signature)
            .map_err(|_| SnsError::Forged(address).into())
    }

    fn topic(&self, said: &Envelope) -> Result<&Topic, MessageError> {
        let topic = self.topics.get(&said.topic_arn);
        topic.ok_or_else(|| MessageError::Topic(shown(&said.topic_arn)))
    }

    /// Returns a certificate, which is fetched once.
    fn certificate(&self, address: &Address, topic: &Topic) -> Result<Arc<Certificate>, SnsError> {
        let kept = || self.certificates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(certificate) = kept().get(address) {
            return Ok(Arc::clone(certificate));
        }
        let fetched = self.fetch(address)?;
        let certificate = Certificate::read(&fetched, topic)
            .map_err(|source| SnsError::Certificate { address: address.clone(), source })?;
        let certificate = Arc::new(certificate);
        let mut kept = kept();
        if kept.len() >= MOST_CERTIFICATES {
            kept.clear();
        }
        kept.insert(address.clone(), Arc::clone(&certificate));
        Ok(certificate)
    }

    fn fetch(&self, address: &Address) -> Result<Vec<u8>, SnsError> {
        let fetched = self.outside.fetch(address);
        fetched.map_err(|source| SnsError::Fetch { address: address.clone(), source })
    }

    /// Confirms a subscription of one of the topics.
    fn confirm(&self, said: &Envelope) -> Result<(), MessageError> {
        let address = said.subscribe_url.as_ref().ok_or(SnsError::Missing("SubscribeURL"))?;
        let token = said.token.as_ref().ok_or(SnsError::Missing("Token"))?;
        let address = self.topic(said)?.confirmation(address, token)?;
        self.fetch(&address)?;
        Ok(())
    }

    /// Returns what to tell, if anything.
    fn read(&self, said: &Envelope) -> Result<Option<Heard>, MessageError> {
        self.check(said)?;
        match said.kind {
            Kind::Notification => {
                let said = message::announcement(said.message.as_bytes())?;
                Ok(Some(Heard::new(&said, Source::Sns)))
            }
            Kind::SubscriptionConfirmation => self.confirm(said).map(|()| None),
            // That nothing will come any more is told.
            Kind::UnsubscribeConfirmation => Err(MessageError::Kind(said.kind)),
        }
    }
}

impl Desk for Sns {
    fn take(&self, request: &Request) -> Taken {
        let refuse = |what: String, source| {
            let status = status(&source);
            Taken::Refused(status, Ignored { way: Source::Sns, what, source })
        };
        let said = match message::envelope(&request.body) {
            Ok(said) => said,
            Err(source) => return refuse("a request".to_owned(), source),
        };
        match self.read(&said) {
            Ok(Some(heard)) => Taken::News(heard),
            Ok(None) => Taken::Nothing,
            Err(source) => refuse(format!("message `{}`", shown(&said.message_id)), source),
        }
    }
}

/// SNS sends again what was answered with 503, and nothing that was answered with 400 or 401.
///
/// Source: Amazon SNS, "Message delivery retries", "client-side errors".
fn status(error: &MessageError) -> Status {
    match error {
        MessageError::Kind(_) => Status::NoContent,
        MessageError::Sns(SnsError::Fetch { .. }) => Status::ServiceUnavailable,
        MessageError::Sns(_) | MessageError::Topic(_) => Status::Unauthorized,
        _ => Status::BadRequest,
    }
}

fn check_time(text: &str, now: Timestamp) -> Result<(), SnsError> {
    let sent: Timestamp = text.parse().map_err(|_| SnsError::Time(shown(text)))?;
    let age = now.duration_since(sent);
    if age > OLDEST {
        return Err(SnsError::Old { sent, now });
    }
    if age < -AHEAD {
        return Err(SnsError::Ahead { sent, now });
    }
    Ok(())
}

/// Builds what was signed: each name and value on a line of its own.
///
/// Source: Amazon SNS, "Verifying the signature of an Amazon SNS message when using HTTP query-based requests".
fn string_to_sign(said: &Envelope) -> Result<String, SnsError> {
    let mut lines = vec![("Message", said.message.as_str()), ("MessageId", &said.message_id)];
    if said.kind == Kind::Notification {
        lines.extend(said.subject.as_deref().map(|subject| ("Subject", subject)));
        lines.push(("Timestamp", &said.timestamp));
    } else {
        let url = said.subscribe_url.as_ref().ok_or(SnsError::Missing("SubscribeURL"))?;
        lines.extend([("SubscribeURL", url.as_str()), ("Timestamp", &said.timestamp)]);
        lines.push(("Token", said.token.as_ref().ok_or(SnsError::Missing("Token"))?));
    }
    let kind = format!("{:?}", said.kind);
    lines.extend([("TopicArn", said.topic_arn.as_str()), ("Type", &kind)]);
    Ok(lines.into_iter().flat_map(|(name, value)| [name, "\n", value, "\n"]).collect())
}

impl fmt::Debug for Sns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sns").field("topics", &self.topics).finish_non_exhaustive()
    }
}
