//! Reads what arrives: an announcement as it is, in the envelope of SNS, or as our own webhook and folder carry it.

use std::collections::BTreeMap;

use kdistro_formats::{
    Digest,
    announcement::{Announcement, LARGEST, SCHEMA},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::error::Category;

/// The most that is read, in bytes: what is counted before it is sent is escaped once more on the way, and quotes and
/// backslashes double.
pub const LARGEST_MESSAGE: usize = 4 * LARGEST;
/// How much of a text from outside an error shows, in characters.
const SHOWN: usize = 120;
/// The longest name of an environment.
const LONGEST_ENVIRONMENT: usize = 64;

/// A message that is no news.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// It is too long.
    #[error("it has more than {LARGEST_MESSAGE} bytes")]
    TooLarge,
    /// It breaks off.
    #[error("it breaks off after {0} bytes")]
    Truncated(usize),
    /// It is not JSON.
    #[error("it is not JSON: {0}")]
    NotJson(String),
    /// It is JSON of another kind.
    #[error("it is not {expected}: {found}")]
    Other {
        /// What it should be.
        expected: &'static str,
        /// What the reader of JSON found.
        found: String,
    },
    /// It follows another version of the format, or another format.
    #[error(
        "its schema is `{0}`; expected `{SCHEMA}`\nhelp:  a newer schema needs a newer kdistro-rollout"
    )]
    Schema(String),
    /// The environment that it names cannot be one.
    #[error("it names the environment `{0}`; expected letters, digits, `.`, `_` and `-`")]
    Environment(String),
    /// The number is none.
    #[error("it announces release 0; expected 1 or more")]
    Number,
    /// The topic is not one that was subscribed to.
    #[error("it comes from the topic `{0}`, which the settings do not name")]
    Topic(String),
    /// Not a notification but one of SNS's own messages.
    #[error("it is a {0:?} of SNS")]
    Kind(Kind),
    /// The signature is missing or another one.
    #[error("it is not signed with the secret of the webhook")]
    Unsigned,
    /// SNS did not sign it, or not lately.
    #[error(transparent)]
    Sns(#[from] super::sns::SnsError),
    /// Two places that name the announcement differ.
    #[error("it calls itself `{found}`; expected `{expected}`, as {place} says")]
    Id {
        /// What the document says.
        found: String,
        /// What stands outside it.
        expected: String,
        /// Where that stands.
        place: &'static str,
    },
    /// It has no name that an announcement has.
    #[error("it is no file of an announcer; expected `<64 hex digits>.json`")]
    Name,
    /// It cannot be read.
    #[error("it cannot be read")]
    Unreadable(#[from] std::io::Error),
}

/// What SNS sends.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub enum Kind {
    /// What was published.
    Notification,
    /// Somebody subscribed this address.
    SubscriptionConfirmation,
    /// Somebody ended the subscription.
    UnsubscribeConfirmation,
}

/// A message of SNS, as it is posted to an address or lies in a queue. Whatever else stands in it is not read.
///
/// Source: Amazon SNS, "Parsing message formats".
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are those of SNS")]
pub struct Envelope {
    #[serde(rename = "Type")]
    pub kind: Kind,
    pub message_id: String,
    pub topic_arn: String,
    pub subject: Option<String>,
    pub message: String,
    pub timestamp: String,
    pub signature_version: Option<String>,
    pub signature: Option<String>,
    #[serde(rename = "SigningCertURL")]
    pub signing_cert_url: Option<String>,
    #[serde(rename = "SubscribeURL")]
    pub subscribe_url: Option<String>,
    pub token: Option<String>,
}

/// What our webhook posts and our folder holds.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Posted {
    /// What the sender calls the announcement.
    pub id: Digest,
    /// A line for people.
    pub subject: String,
    /// A JSON object of texts, [`Announcement`] under `default`.
    pub message: String,
    /// What filters look at; not read here.
    pub attributes: BTreeMap<String, String>,
}

/// Whether something is an envelope: announcements have other names.
#[derive(Deserialize)]
struct Probe {
    #[serde(rename = "Type")]
    kind: Option<serde::de::IgnoredAny>,
}

/// The texts for the protocols; that for people may be missing.
#[derive(Deserialize)]
struct Texts {
    default: String,
}

/// Reads an announcement as it is: what SNS delivers raw.
pub fn announcement(bytes: &[u8]) -> Result<Announcement, MessageError> {
    let said: Announcement = read(bytes, "an announcement")?;
    if said.schema != SCHEMA {
        return Err(MessageError::Schema(shown(&said.schema)));
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let environment = &said.environment;
    if !(1..=LONGEST_ENVIRONMENT).contains(&environment.len()) || !environment.chars().all(is_plain)
    {
        return Err(MessageError::Environment(shown(environment)));
    }
    if said.number == 0 {
        return Err(MessageError::Number);
    }
    Ok(said)
}

/// Reads a message of SNS. Its signature is not looked at.
pub fn envelope(bytes: &[u8]) -> Result<Envelope, MessageError> {
    read(bytes, "a message of SNS")
}

/// Reads what our webhook posts and our folder holds.
pub fn posted(bytes: &[u8]) -> Result<Posted, MessageError> {
    read(bytes, "a posted announcement")
}

impl Envelope {
    /// Reads the announcement within a notification from one of these topics.
    pub fn announcement(&self, topics: &[String]) -> Result<Announcement, MessageError> {
        if !topics.contains(&self.topic_arn) {
            return Err(MessageError::Topic(shown(&self.topic_arn)));
        }
        self.content()
    }

    fn content(&self) -> Result<Announcement, MessageError> {
        if self.kind != Kind::Notification {
            return Err(MessageError::Kind(self.kind));
        }
        announcement(self.message.as_bytes())
    }
}

impl Posted {
    /// Reads the announcement within.
    pub fn announcement(&self) -> Result<Announcement, MessageError> {
        let texts: Texts = read(self.message.as_bytes(), "an object of texts")?;
        announcement(texts.default.as_bytes())
    }
}

/// Reads what lies in a queue: a notification from one of these topics, or from any where none is given, or an
/// announcement that SNS delivered raw, of which nothing says where it comes from. Who may write to the queue is its
/// policy's business.
pub fn queued(bytes: &[u8], topics: &[String]) -> Result<Announcement, MessageError> {
    if read::<Probe>(bytes, "a message")?.kind.is_none() {
        return announcement(bytes);
    }
    let envelope = envelope(bytes)?;
    if topics.is_empty() { envelope.content() } else { envelope.announcement(topics) }
}

fn read<T: DeserializeOwned>(bytes: &[u8], expected: &'static str) -> Result<T, MessageError> {
    if bytes.len() > LARGEST_MESSAGE {
        return Err(MessageError::TooLarge);
    }
    // A list would be taken for the fields of an object in their order.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(MessageError::Other { expected, found: "a list".to_owned() });
    }
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        Category::Eof => MessageError::Truncated(bytes.len()),
        Category::Data => MessageError::Other { expected, found: shown(&error.to_string()) },
        Category::Syntax | Category::Io => MessageError::NotJson(shown(&error.to_string())),
    })
}

/// A text from outside, as an error shows it: one line, and not a long one.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::receive::tests::announcement as example;

    const TOPIC: &str = "arn:aws:sns:us-east-1:000000000000:updates";

    fn topics() -> Vec<String> {
        vec![TOPIC.to_owned()]
    }

    fn wrapped(text: &str) -> Value {
        json!({
            "Type": "Notification",
            "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": TOPIC,
            "Subject": "kdistro 1-36-7 is released",
            "Message": text,
            "Timestamp": "2026-05-02T00:54:06.655Z",
            "MessageAttributes": {"channel": {"Type": "String", "Value": "1-36"}},
        })
    }

    fn raw() -> String {
        serde_json::to_string(&example(7)).unwrap()
    }

    #[test]
    fn an_announcement_is_read_raw_wrapped_and_posted() {
        let text = raw();
        assert_eq!(queued(text.as_bytes(), &[]).unwrap(), example(7));
        let whole = wrapped(&text).to_string();
        assert_eq!(queued(whole.as_bytes(), &topics()).unwrap(), example(7));
        assert_eq!(queued(whole.as_bytes(), &[]).unwrap(), example(7), "from any topic");
        let texts = json!({"default": text, "email": "A text"}).to_string();
        let id = kdistro_verify::hash::sha256(b"x");
        let whole = json!({"id": id, "subject": "s", "message": texts, "attributes": {}});
        let read = posted(whole.to_string().as_bytes()).unwrap();
        assert_eq!((read.id, read.announcement().unwrap()), (id, example(7)));
    }

    #[test]
    fn the_largest_that_is_sent_is_read_in_every_form() {
        let mut said = example(7);
        // Quotes, which double with each escaping.
        let mut length = LARGEST / 4;
        let message = loop {
            said.manifest.content = Some("\"".repeat(length));
            let text = serde_json::to_string(&said).unwrap();
            let message = json!({"default": text, "email": ""}).to_string();
            if message.len() <= LARGEST {
                break message;
            }
            length -= 1000;
        };
        let id = kdistro_verify::hash::sha256(b"x");
        let posted_text = json!({"id": id, "subject": "s", "message": message, "attributes": {}});
        let posted_text = posted_text.to_string();
        assert!(posted_text.len() > LARGEST, "the test is weaker than it looks");
        assert_eq!(posted(posted_text.as_bytes()).unwrap().announcement().unwrap(), said);
    }

    #[test]
    fn each_thing_that_is_no_news_is_named() {
        let text = raw();
        let told = |bytes: &[u8]| queued(bytes, &topics()).unwrap_err().to_string();
        let change = |field: &str, value: Value| {
            let mut document: Value = serde_json::from_str(&text).unwrap();
            document[field] = value;
            document.to_string()
        };
        let rewrap = |field: &str, value: Value| {
            let mut document = wrapped(&text);
            document[field] = value;
            document.to_string()
        };
        for (bytes, expected) in [
            (String::new(), "it breaks off after 0 bytes"),
            (text[..100].to_owned(), "it breaks off after 100 bytes"),
            (wrapped(&text[..50]).to_string(), "it breaks off after 50 bytes"),
            ("Hello".to_owned(), "it is not JSON: expected value at line 1 column 1"),
            (format!("{text}x"), "it is not JSON: trailing characters"),
            ("[]".to_owned(), "it is not a message: a list"),
            (wrapped(&format!("[\"{SCHEMA}\"]")).to_string(), "it is not an announcement: a list"),
            ("7".to_owned(), "it is not a message: invalid type: integer `7`"),
            (change("extra", json!(1)), "it is not an announcement: unknown field `extra`"),
            (
                change("schema", json!("kdistro.dev/announcement/v2\n")),
                "its schema is `kdistro.dev/announcement/v2\\n`; expected `kdistro.dev/announcement/v1`",
            ),
            (change("number", json!(0)), "it announces release 0"),
            (change("number", json!(-1)), "it is not an announcement: invalid value"),
            (
                change("channel", json!("../x")),
                "it is not an announcement: `../x` is not a channel",
            ),
            (change("environment", json!("a b")), "it names the environment `a b`"),
            (change("environment", json!("")), "it names the environment ``"),
            (change("severity", json!("CRITICAL")), "it is not an announcement: unknown variant"),
            (rewrap("TopicArn", json!("arn:x")), "it comes from the topic `arn:x`"),
            (
                rewrap("Type", json!("SubscriptionConfirmation")),
                "it is a SubscriptionConfirmation of SNS",
            ),
            (rewrap("Type", json!("Hello")), "it is not a message of SNS: unknown variant `Hello`"),
            (rewrap("Message", json!("Hello")), "it is not JSON: expected value"),
        ] {
            let told = told(bytes.as_bytes());
            assert!(told.starts_with(expected), "{bytes}: {told}");
        }
        let twice = text.replacen('{', r#"{"number":9,"#, 1);
        assert!(told(twice.as_bytes()).contains("duplicate field `number`"));
        let large = " ".repeat(LARGEST_MESSAGE + 1);
        assert_eq!(told(large.as_bytes()), "it has more than 1048576 bytes");
        let deep = format!("{{\"x\":{}", "[".repeat(100_000));
        assert!(told(deep.as_bytes()).starts_with("it breaks off"));
    }

    #[test]
    fn a_long_text_from_outside_is_not_repeated() {
        let told = shown(&"\u{1b}x".repeat(1000));
        assert!(told.ends_with('…') && told.len() < 1000 && !told.contains('\u{1b}'), "{told}");
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = queued(&bytes, &topics());
            let _ = posted(&bytes).map(|posted| posted.announcement());
            let _ = envelope(&bytes);
        }

        #[test]
        fn one_changed_byte_is_read_or_refused(at in 0..10_000_usize, byte in any::<u8>()) {
            let mut bytes = wrapped(&raw()).to_string().into_bytes();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(said) = queued(&bytes, &topics()) {
                prop_assert_eq!(said.schema, SCHEMA);
                prop_assert!(said.number > 0);
            }
        }

        #[test]
        fn no_part_of_a_message_is_a_message(at in 0..10_000_usize) {
            for whole in [raw(), wrapped(&raw()).to_string()] {
                let part = &whole[..at % whole.len()];
                let error = queued(part.as_bytes(), &topics()).unwrap_err();
                prop_assert!(matches!(error, MessageError::Truncated(_)), "{}", error);
            }
        }

        #[test]
        fn every_announcement_is_read_as_it_was_written(
            number in 1..u32::MAX, text in any::<String>(), environment in "[a-z0-9._-]{1,64}",
        ) {
            let mut said = example(number);
            said.environment = environment;
            said.yanked = Some(text.clone());
            said.manifest.content = Some(text);
            let written = serde_json::to_string(&said).unwrap();
            prop_assert_eq!(queued(written.as_bytes(), &[]).unwrap(), said.clone());
            let whole = wrapped(&written).to_string();
            prop_assert_eq!(queued(whole.as_bytes(), &topics()).unwrap(), said);
        }
    }
}
