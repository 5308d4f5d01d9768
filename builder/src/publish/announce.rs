//! The announcement of a published release.

use std::{collections::BTreeMap, fmt::Write as _};

use kdistro_border::{AnnounceError, Announced, Announcer};
use kdistro_formats::{
    announcement::{Announcement, Document, Envelope, LARGEST, SCHEMA},
    canonical::{self, CanonicalError},
    claim::Header,
    layout,
    plan::Plan,
};
use kdistro_verify::hash;

use super::Published;
use crate::release;

/// Why a release could not be announced.
#[derive(Debug, thiserror::Error)]
pub enum AnnouncementError {
    /// The announcer refused.
    #[error(transparent)]
    Announce(#[from] AnnounceError),
    /// The message cannot be written.
    #[error("cannot write the announcement")]
    Write(#[from] CanonicalError),
}

/// What an announcement is made of.
pub struct News<'a> {
    /// The release.
    pub published: &'a Published,
    /// Its plan.
    pub plan: &'a Plan,
    /// Its header.
    pub header: &'a Header,
    /// The environment that announces.
    pub environment: &'a str,
    /// The public address of the store.
    pub url: &'a str,
}

/// Announces a release; a repeat carries the same id and is dropped by subscribers.
pub fn announce(
    news: &News<'_>,
    announcer: &dyn Announcer,
) -> Result<Announced, AnnouncementError> {
    let (message, attributes) = message(news)?;
    let subject = format!("kdistro {} is released", news.published.name);
    Ok(announcer.announce(&news.published.digest, &subject, &message, &attributes)?)
}

/// Writes the message and its attributes; manifest and bundle only by digest where the whole would be too large.
fn message(news: &News<'_>) -> Result<(String, BTreeMap<String, String>), CanonicalError> {
    let severity = release::severity(news.plan);
    let severity_word = serde_json::to_value(severity).map_err(CanonicalError::Json)?;
    let severity_word = severity_word.as_str().unwrap_or_default().to_owned();
    let attributes = BTreeMap::from([
        ("channel".to_owned(), news.header.channel.to_string()),
        ("environment".to_owned(), news.environment.to_owned()),
        ("number".to_owned(), news.header.number.to_string()),
        ("severity".to_owned(), severity_word),
    ]);
    let overhead: usize =
        attributes.iter().map(|(name, value)| name.len() + value.len() + "String".len()).sum();
    let whole = envelope(news, true)?;
    let message = if whole.len() + overhead <= LARGEST { whole } else { envelope(news, false)? };
    Ok((message, attributes))
}

fn envelope(news: &News<'_>, with_content: bool) -> Result<String, CanonicalError> {
    let Published { name, manifest, digest, bundle } = news.published;
    let document = layout::manifest(name);
    let bundle_text = String::from_utf8_lossy(bundle).into_owned();
    let announcement = Announcement {
        schema: SCHEMA.to_owned(),
        environment: news.environment.to_owned(),
        channel: news.header.channel.clone(),
        number: news.header.number,
        manifest: Document {
            uri: format!("{}/{document}", news.url),
            sha256: *digest,
            content: with_content.then(|| manifest.clone()),
        },
        bundle: Document {
            uri: format!("{}/{}", news.url, layout::bundle(&document)),
            sha256: hash::sha256(bundle),
            content: with_content.then_some(bundle_text),
        },
        previous: news.header.previous.clone(),
        severity: release::severity(news.plan),
        fixes: release::fixes(news.plan),
    };
    let default = String::from_utf8_lossy(&canonical::to_vec(&announcement)?).into_owned();
    let envelope = Envelope { default, email: email(news) };
    Ok(String::from_utf8_lossy(&canonical::to_vec(&envelope)?).into_owned())
}

/// A text for people. Writing to a string does not fail.
fn email(news: &News<'_>) -> String {
    let name = &news.published.name;
    let mut text = format!("kdistro release {name} is published.\n\n");
    for component in &news.plan.components {
        let _ = writeln!(text, "  {:24} {}", component.name, component.tag);
    }
    let fixes = release::fixes(news.plan);
    if !fixes.is_empty() {
        let _ = writeln!(text, "\nFixed: {}", fixes.join(", "));
    }
    let uri = format!("{}/{}", news.url, layout::manifest(name));
    let _ = writeln!(text, "\nManifest: {uri}\nDigest:   {}", news.published.digest);
    let _ = writeln!(text, "\nVerify it: kdistro-verify --key release.pub {uri}");
    text
}
