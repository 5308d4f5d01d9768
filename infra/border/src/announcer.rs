//! Who tells subscribers that there is a new release.

use std::{collections::BTreeMap, error::Error, io};

use kdistro_formats::Digest;
pub use kdistro_formats::announcement::LARGEST;
use serde::Serialize;

/// The longest subject in characters.
///
/// Source: Amazon SNS, `Publish`, "Subject".
const LONGEST_SUBJECT: usize = 100;

/// A channel of announcements, at least once each.
///
/// Every implementation passes `tests/announcer.rs`.
pub trait Announcer: Send + Sync {
    /// Announces something once more, or for the first time.
    ///
    /// `id` is the digest of what is announced: a repeat carries the same, and subscribers drop it, whatever else it
    /// says. `message` is a
    /// JSON object with a text for each protocol, at least `default`, as SNS takes it with `MessageStructure: json`.
    ///
    /// One that only hands on cannot know of repeats, and says [`Announced::New`].
    fn announce(
        &self,
        id: &Digest,
        subject: &str,
        message: &str,
        attributes: &BTreeMap<String, String>,
    ) -> Result<Announced, AnnounceError>;
}

/// What is written into a file, or posted to an address.
#[derive(Serialize)]
pub(crate) struct Document<'a> {
    pub(crate) id: &'a Digest,
    pub(crate) subject: &'a str,
    pub(crate) message: &'a str,
    pub(crate) attributes: &'a BTreeMap<String, String>,
}

/// What announcing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// It was announced now.
    New,
    /// It had been announced before.
    Repeated,
}

/// An announcement that was not made.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    /// The subject is not one that e-mail takes.
    #[error("`{}` is not a subject; expected 1 to {LONGEST_SUBJECT} printable ASCII characters", subject.escape_debug())]
    Subject {
        /// The subject.
        subject: String,
    },
    /// The message is not a JSON object of texts with a default.
    #[error("the message of {id} is not a JSON object of texts with the key `default`")]
    Message {
        /// What is announced.
        id: Digest,
    },
    /// The announcement is too long.
    #[error("the announcement of {id} has {size} bytes; expected at most {LARGEST}")]
    TooLarge {
        /// What is announced.
        id: Digest,
        /// Its length with the attributes.
        size: usize,
    },
    /// The disk refused.
    #[error("cannot write {path}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A service refused or did not answer.
    #[error("cannot announce `{subject}`")]
    Service {
        /// The subject, which names what is announced.
        subject: String,
        /// What the service said.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Checks what every implementation must refuse.
pub fn check(
    id: &Digest,
    subject: &str,
    message: &str,
    attributes: &BTreeMap<String, String>,
) -> Result<(), AnnounceError> {
    let is_printable = subject.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if subject.trim().is_empty() || subject.len() > LONGEST_SUBJECT || !is_printable {
        return Err(AnnounceError::Subject { subject: subject.to_owned() });
    }
    let texts: Result<BTreeMap<String, String>, _> = serde_json::from_str(message);
    if !texts.is_ok_and(|texts| texts.contains_key("default")) {
        return Err(AnnounceError::Message { id: *id });
    }
    // SNS counts name, type and value of each attribute.
    let counted = attributes.iter().map(|(name, value)| name.len() + "String".len() + value.len());
    let size = message.len() + counted.sum::<usize>();
    if size > LARGEST {
        return Err(AnnounceError::TooLarge { id: *id, size });
    }
    Ok(())
}
