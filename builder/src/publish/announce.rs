//! The announcement of a published release.

use std::{collections::BTreeMap, fmt::Write as _};

use kdistro_border::{AnnounceError, Announced, Announcer, Content, StoreError};
use kdistro_formats::{
    ChannelName, ReleaseName,
    announcement::{Announcement, Document, Envelope, LARGEST, SCHEMA},
    canonical::{self, CanonicalError},
    claim::{Claim, Header},
    layout,
    plan::Plan,
};
use kdistro_verify::{hash, trust::Trust};

use super::{PublishError, Published, Publisher};
use crate::release;

/// Why a release could not be announced.
#[derive(Debug, thiserror::Error)]
pub enum AnnouncementError {
    /// The announcer refused.
    #[error(transparent)]
    Announce(#[from] AnnounceError),
    /// The message cannot be written, or what it is made of cannot be read.
    #[error("cannot write the announcement")]
    Write(#[from] CanonicalError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is to be announced is not there.
    #[error("`{0}` is missing in the store: nothing is announced that is not published")]
    Missing(String),
    /// The channel's index cannot be read.
    #[error(transparent)]
    Index(#[from] Box<PublishError>),
}

/// What an announcement is made of.
struct News<'a> {
    published: Published,
    plan: Plan,
    header: Header,
    environment: &'a str,
    url: &'a str,
    /// Why it should not be used any more, where that is the news.
    yanked: Option<&'a str>,
}

impl Publisher<'_> {
    /// Announces every release that the channel's index offers and of which the store does not say that this was done:
    /// the one that was just published, and those whose run died before it came to that. Returns which.
    ///
    /// A crash between the announcement and the record of it makes the next run announce once more, with the same id, by
    /// which subscribers drop it. `url` is the public address of the store.
    pub fn announce_all(
        &self,
        channel: &ChannelName,
        trust: &Trust,
        (announcer, url): (&dyn Announcer, &str),
    ) -> Result<Vec<ReleaseName>, AnnouncementError> {
        let Some(current) = self.index(channel, trust).map_err(Box::new)? else {
            return Ok(Vec::new());
        };
        let listed = self.store.list(&format!("kubernetes-{channel}/releases/"))?;
        let is_announced = |release: &ReleaseName| {
            let record = layout::announcement(release);
            listed.binary_search_by(|name| name.as_str().cmp(&record)).is_ok()
        };
        let mut announced = Vec::new();
        for offered in &current.index.status.releases {
            let release = ReleaseName { channel: channel.clone(), number: offered.number };
            if !is_announced(&release) {
                self.announce(&release, (announcer, url))?;
                announced.push(release);
            }
        }
        Ok(announced)
    }

    fn announce(
        &self,
        release: &ReleaseName,
        (announcer, url): (&dyn Announcer, &str),
    ) -> Result<(), AnnouncementError> {
        let news = self.news(release, url)?;
        let (default, message, attributes) = message(&news)?;
        let subject = format!("kdistro {release} is released");
        announcer.announce(&news.published.digest, &subject, &message, &attributes)?;
        self.store.create(&layout::announcement(release), Content::Bytes(default.as_bytes()))?;
        Ok(())
    }

    /// True when a release was announced.
    pub fn is_announced(&self, release: &ReleaseName) -> Result<bool, StoreError> {
        Ok(self.store.read(&layout::announcement(release))?.is_some())
    }

    /// Reads what is announced back from the store: nothing is announced that does not stand there.
    fn news<'a>(
        &'a self,
        release: &ReleaseName,
        url: &'a str,
    ) -> Result<News<'a>, AnnouncementError> {
        let read = |name: String| {
            let found = self.store.read(&name)?;
            found.ok_or(AnnouncementError::Missing(name))
        };
        let document = layout::manifest(release);
        let bytes = read(document.clone())?;
        let claim: Claim = canonical::from_slice(&read(layout::claim(release))?)?;
        let published = Published {
            name: release.clone(),
            digest: hash::sha256(&bytes),
            manifest: String::from_utf8_lossy(&bytes).into_owned(),
            bundle: read(layout::bundle(&document))?,
        };
        let plan = canonical::from_slice(&read(layout::plan(release))?)?;
        let (header, environment) = (claim.header, self.environment);
        Ok(News { published, plan, header, environment, url, yanked: None })
    }

    /// Announces that a release should not be used any more. Saying it once more carries the same id.
    pub fn announce_yank(
        &self,
        release: &ReleaseName,
        reason: &str,
        (announcer, url): (&dyn Announcer, &str),
    ) -> Result<Announced, AnnouncementError> {
        let news = News { yanked: Some(reason), ..self.news(release, url)? };
        let (document, message, attributes) = message(&news)?;
        let id = hash::sha256(document.as_bytes());
        let subject = format!("kdistro {release} is yanked");
        Ok(announcer.announce(&id, &subject, &message, &attributes)?)
    }
}

/// Writes the document, the message that carries it, and its attributes; manifest and bundle only by digest where the
/// whole would be too large.
fn message(news: &News<'_>) -> Result<(String, String, BTreeMap<String, String>), CanonicalError> {
    let severity = release::severity(&news.plan);
    let severity_word = serde_json::to_value(severity).map_err(CanonicalError::Json)?;
    let severity_word = severity_word.as_str().unwrap_or_default().to_owned();
    let attributes = BTreeMap::from([
        ("channel".to_owned(), news.header.channel.to_string()),
        ("environment".to_owned(), news.environment.to_owned()),
        ("event".to_owned(), if news.yanked.is_some() { "yanked" } else { "released" }.to_owned()),
        ("number".to_owned(), news.header.number.to_string()),
        ("severity".to_owned(), severity_word),
    ]);
    let overhead: usize =
        attributes.iter().map(|(name, value)| name.len() + value.len() + "String".len()).sum();
    let (mut document, mut message) = envelope(news, true)?;
    if message.len() + overhead > LARGEST {
        (document, message) = envelope(news, false)?;
    }
    Ok((document, message, attributes))
}

/// The document, and the message that carries it.
fn envelope(news: &News<'_>, with_content: bool) -> Result<(String, String), CanonicalError> {
    let Published { name, manifest, digest, bundle } = &news.published;
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
        severity: release::severity(&news.plan),
        fixes: release::fixes(&news.plan),
        yanked: news.yanked.map(str::to_owned),
    };
    let default = String::from_utf8_lossy(&canonical::to_vec(&announcement)?).into_owned();
    let envelope = Envelope { default: default.clone(), email: email(news) };
    Ok((default, String::from_utf8_lossy(&canonical::to_vec(&envelope)?).into_owned()))
}

/// A text for people. Writing to a string does not fail.
fn email(news: &News<'_>) -> String {
    let name = &news.published.name;
    if let Some(reason) = news.yanked {
        return format!(
            "kdistro release {name} should not be used any more: {reason}\n\nThe signed index of channel {} says so, too.\n",
            name.channel
        );
    }
    let mut text = format!("kdistro release {name} is published.\n\n");
    for component in &news.plan.components {
        let _ = writeln!(text, "  {:24} {}", component.name, component.tag);
    }
    let fixes = release::fixes(&news.plan);
    if !fixes.is_empty() {
        let _ = writeln!(text, "\nFixed: {}", fixes.join(", "));
    }
    let uri = format!("{}/{}", news.url, layout::manifest(name));
    let _ = writeln!(text, "\nManifest: {uri}\nDigest:   {}", news.published.digest);
    let _ = writeln!(text, "\nVerify it: kdistro-verify --key release.pub {uri}");
    text
}
