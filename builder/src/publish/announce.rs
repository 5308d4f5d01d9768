//! The announcement of a published release.

use std::{collections::BTreeMap, fmt::Write as _};

use kdistro_border::{AnnounceError, Announcer, Content, StoreError};
use kdistro_formats::{
    ChannelName, Digest, ReleaseName,
    announcement::{Announcement, Document, Envelope, LARGEST, SCHEMA},
    canonical::{self, CanonicalError},
    layout,
    plan::Plan,
    release::{Release, ReleaseRef},
};
use kdistro_verify::{bundle, hash, trust::Trust};

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
    /// What stands in the store is not what was signed.
    #[error(
        "`{0}` in the store is not what this environment signed, and is not announced\nhelp:  find out who wrote to the store before anything else is published"
    )]
    Forged(String),
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
    previous: Option<ReleaseRef>,
    environment: &'a str,
    url: &'a str,
    /// Why it should not be used any more, where that is the news.
    yanked: Option<&'a str>,
}

impl Publisher<'_> {
    /// Announces every release that the channel's index offers, or says is yanked, and of which the store does not say
    /// that this was done: the one of now, and those whose run died before it came to that. Returns which.
    ///
    /// A crash between the announcement and the record of it makes the next run announce once more, with the same id, by
    /// which subscribers drop it. `url` is the public address of the store.
    pub fn announce_all(
        &self,
        channel: &ChannelName,
        (announcer, url): (&dyn Announcer, &str),
    ) -> Result<Vec<ReleaseName>, AnnouncementError> {
        let Some(current) = self.index(channel).map_err(Box::new)? else {
            return Ok(Vec::new());
        };
        let trust = self.signing.trust().map_err(|source| Box::new(PublishError::from(source)))?;
        let status = current.index.status;
        let listed = self.store.list(&format!("kubernetes-{channel}/releases/"))?;
        let mut announced = Vec::new();
        for offered in &status.releases {
            let release = ReleaseName { channel: channel.clone(), number: offered.number };
            let yanked = status.yanked.iter().find(|yanked| yanked.number == offered.number);
            // That one is released which nobody should use is no news.
            let yanked = yanked.map(|yanked| yanked.reason.as_str());
            if listed.binary_search(&record(&release, yanked)).is_err() {
                let news = self.news((&release, &offered.digest), (url, yanked), &trust)?;
                self.announce(&news, announcer)?;
                announced.push(release);
            }
        }
        Ok(announced)
    }

    fn announce(
        &self,
        news: &News<'_>,
        announcer: &dyn Announcer,
    ) -> Result<(), AnnouncementError> {
        let (document, message, attributes) = message(news)?;
        let Published { name, digest, .. } = &news.published;
        let (id, what) = match news.yanked {
            Some(_) => (hash::sha256(document.as_bytes()), "yanked"),
            None => (id(news.environment, digest), "released"),
        };
        announcer.announce(&id, &format!("kdistro {name} is {what}"), &message, &attributes)?;
        let record = record(name, news.yanked);
        match self.store.create(&record, Content::Bytes(document.as_bytes())) {
            // Another run announced the same meanwhile, and wrote down how.
            Ok(_) | Err(StoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// True when a release was announced.
    pub fn is_announced(&self, release: &ReleaseName) -> Result<bool, StoreError> {
        Ok(self.store.read(&layout::announcement(release))?.is_some())
    }

    /// Reads what is announced back from the store: nothing is announced that does not stand there, signed.
    fn news<'a>(
        &'a self,
        (release, digest): (&ReleaseName, &Digest),
        (url, yanked): (&'a str, Option<&'a str>),
        trust: &Trust,
    ) -> Result<News<'a>, AnnouncementError> {
        let read = |name: String| {
            let found = self.store.read(&name)?;
            found.ok_or(AnnouncementError::Missing(name))
        };
        let document = layout::manifest(release);
        let manifest = read(document.clone())?;
        if hash::sha256(&manifest) != *digest {
            return Err(AnnouncementError::Forged(document));
        }
        let name = layout::bundle(&document);
        let bundle = read(name.clone())?;
        bundle::verify_message(&bundle, &manifest, trust)
            .map_err(|_| AnnouncementError::Forged(name))?;
        let manifest = String::from_utf8_lossy(&manifest).into_owned();
        let signed = Release::from_yaml(&manifest)
            .map_err(|source| PublishError::Published { document, source });
        let spec = signed.map_err(Box::new)?.spec;
        let plan = read(layout::plan(release))?;
        if spec.plan.is_none_or(|named| named.sha256 != hash::sha256(&plan)) {
            return Err(AnnouncementError::Forged(layout::plan(release)));
        }
        let (name, digest) = (release.clone(), *digest);
        Ok(News {
            published: Published { name, manifest, digest, bundle },
            plan: canonical::from_slice(&plan)?,
            previous: spec.previous,
            environment: self.environment,
            url,
            yanked,
        })
    }
}

/// The record of an announcement.
fn record(release: &ReleaseName, yanked: Option<&str>) -> String {
    match yanked {
        Some(_) => layout::yank_announcement(release),
        None => layout::announcement(release),
    }
}

/// What all announcements of a release in an environment share, and no others: by it subscribers drop repeats.
pub fn id(environment: &str, manifest: &Digest) -> Digest {
    hash::sha256(format!("{environment} {manifest}").as_bytes())
}

/// Writes the document, the message that carries it, and its attributes; manifest and bundle only by digest where the
/// whole would be too large.
fn message(news: &News<'_>) -> Result<(String, String, BTreeMap<String, String>), CanonicalError> {
    let severity = release::severity(&news.plan);
    let severity_word = serde_json::to_value(severity).map_err(CanonicalError::Json)?;
    let severity_word = severity_word.as_str().unwrap_or_default().to_owned();
    let attributes = BTreeMap::from([
        ("channel".to_owned(), news.published.name.channel.to_string()),
        ("environment".to_owned(), news.environment.to_owned()),
        ("event".to_owned(), if news.yanked.is_some() { "yanked" } else { "released" }.to_owned()),
        ("number".to_owned(), news.published.name.number.to_string()),
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
        channel: name.channel.clone(),
        number: name.number,
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
        previous: news.previous.clone(),
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
