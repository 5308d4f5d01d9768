//! The signed index of a channel: read back, extended, swapped.

use kdistro_border::{Content, Store, StoreError};
use kdistro_formats::{
    ChannelName, Digest, ReleaseName,
    channel::{ChannelSpec, ChannelStatus, ReleaseChannel, Withheld, Yanked},
    layout,
    release::{API_VERSION, ManifestError, Metadata, ReleaseRef},
    yaml,
};
use kdistro_verify::{
    bundle::{self, Logged},
    hash,
    trust::Trust,
};

use super::{PublishError, Publisher};
use crate::{config::channel::Channel, journal::Journal};

/// An index as it stands in the store.
#[derive(Clone, Debug)]
pub struct Current {
    /// Its exact bytes.
    pub bytes: Vec<u8>,
    /// What it says.
    pub index: ReleaseChannel,
}

/// What is to be said in the index.
#[derive(Clone, Debug)]
pub enum Change {
    /// A release is offered.
    Release {
        /// Which.
        offered: ReleaseRef,
        /// Earlier numbers that were cut elsewhere and are not offered here.
        skipped: Vec<Withheld>,
    },
    /// A number was cut and is not offered.
    Withhold(Withheld),
    /// A release should not be used any more; the first reason stays.
    Yank(Yanked),
}

impl Publisher<'_> {
    /// Reads the index of a channel and checks that this environment signed it, that the log still proves it, and that it
    /// is not older than the one which this machine saw last.
    pub fn index(&self, channel: &ChannelName) -> Result<Option<Current>, PublishError> {
        let document = layout::channel_index(channel);
        let trust = self.signing.trust()?;
        let (log, seen) = (&self.signing.log, self.seen(channel, &trust)?);
        let turned_back = || PublishError::TurnedBack(document.clone(), log.seen_file(channel));
        let Some(bytes) = self.store.read(&document)? else {
            return if seen.is_none() { Ok(None) } else { Err(turned_back()) };
        };
        let name = layout::channel_bundle(&hash::sha256(&bytes));
        let signed =
            self.store.read(&name)?.ok_or_else(|| PublishError::Unsigned(document.clone()))?;
        let logged = bundle::verify_message(&signed, &bytes, &trust)
            .map_err(|source| PublishError::Forged { document: document.clone(), source })?;
        if seen.is_some_and(|seen| seen.index > logged.index) {
            return Err(turned_back());
        }
        log.demand(&name, (logged.tree_size, &logged.root))?;
        log.see(channel, &signed)?;
        let text = String::from_utf8_lossy(&bytes);
        let index = ReleaseChannel::from_yaml(&text)
            .map_err(|source| PublishError::Published { document, source })?;
        Ok(Some(Current { bytes, index }))
    }

    /// Where the index stands in the log that this machine saw last.
    fn seen(&self, channel: &ChannelName, trust: &Trust) -> Result<Option<Logged>, PublishError> {
        let log = &self.signing.log;
        let Some(kept) = log.seen(channel)? else { return Ok(None) };
        let verified = bundle::verify_signed_digest(&kept, trust);
        let document = log.seen_file(channel).display().to_string();
        let (_, logged) = verified.map_err(|source| PublishError::Forged { document, source })?;
        Ok(Some(logged))
    }

    /// Says `change` in the index, unless it is said already. The bundle stands before the index is swapped.
    pub fn change_index(
        &self,
        channel: &Channel,
        topic: Option<&str>,
        change: &Change,
        journal: &mut Journal,
    ) -> Result<(), PublishError> {
        let document = layout::channel_index(&channel.channel);
        for _ in 0..20 {
            let current = self.index(&channel.channel)?;
            refuse_excluded(
                current.as_ref().map(|current| &current.index.status),
                channel,
                change,
            )?;
            let index = changed(
                current.as_ref().map(|current| &current.index),
                channel,
                (topic, self.environment),
                change,
            )
            .map_err(|source| PublishError::Published { document: document.clone(), source })?;
            if current.as_ref().is_some_and(|current| current.index == index) {
                return Ok(());
            }
            let bytes = yaml::to_string(&index)?.into_bytes();
            let name = layout::channel_bundle(&hash::sha256(&bytes));
            if self.store.read(&name)?.is_none() {
                let signed = self.signing.message(&bytes, journal);
                let signed = signed
                    .map_err(|source| PublishError::Sign { document: document.clone(), source })?;
                match self.store.create(&name, Content::Bytes(&signed)) {
                    // Another run says the same, and signed it meanwhile: either will do.
                    Ok(_) | Err(StoreError::Conflict { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            let old = current.as_ref().map(|current| current.bytes.as_slice());
            if self.store.swap(&document, old, &bytes)? {
                // What this machine said it must see again.
                self.index(&channel.channel)?;
                return Ok(());
            }
        }
        Err(PublishError::Crowded(document))
    }
}

/// Refuses to offer a number that somebody withheld meanwhile, and to withhold one that is offered.
fn refuse_excluded(
    status: Option<&ChannelStatus>,
    channel: &Channel,
    change: &Change,
) -> Result<(), PublishError> {
    let Some(status) = status else { return Ok(()) };
    let (number, other) = match change {
        Change::Release { offered, .. } => {
            let mut withheld = status.withheld.iter();
            let other = withheld.find(|withheld| withheld.number == offered.number);
            (offered.number, other.map(|withheld| format!("is withheld: {}", withheld.reason)))
        }
        Change::Withhold(withheld) => {
            let is_offered = is_offered(status, withheld.number);
            (withheld.number, is_offered.then(|| "is published, and cannot be withheld".to_owned()))
        }
        Change::Yank(_) => return Ok(()),
    };
    let release = ReleaseName { channel: channel.channel.clone(), number };
    other.map_or(Ok(()), |what| Err(PublishError::Settled { release, what }))
}

fn is_offered(status: &ChannelStatus, number: u32) -> bool {
    status.releases.iter().any(|release| release.number == number)
}

/// The index after a change. Pure.
///
/// # Errors
///
/// When the index holds the same number with another manifest: a number is used at most once.
pub fn changed(
    old: Option<&ReleaseChannel>,
    channel: &Channel,
    (topic, environment): (Option<&str>, &str),
    change: &Change,
) -> Result<ReleaseChannel, ManifestError> {
    let mut status = old.map_or_else(empty, |old| old.status.clone());
    match change {
        Change::Release { offered: release, skipped } => {
            for withheld in skipped {
                withhold(&mut status, withheld);
            }
            let same = status.releases.iter().find(|other| other.number == release.number);
            match same {
                Some(other) if other == release => {}
                Some(_) => {
                    return Err(ManifestError::Twice(format!(
                        "{}-{}",
                        channel.channel, release.number
                    )));
                }
                None => status.releases.push(release.clone()),
            }
        }
        Change::Withhold(withheld) => withhold(&mut status, withheld),
        Change::Yank(yanked) => {
            if !status.yanked.iter().any(|other| other.number == yanked.number) {
                status.yanked.push(yanked.clone());
            }
        }
    }
    status.releases.sort_by_key(|release| release.number);
    status.withheld.sort_by_key(|withheld| withheld.number);
    status.yanked.sort_by_key(|yanked| yanked.number);
    status.latest_release = status.releases.last().map_or(0, |release| release.number);
    status.active = channel.active;
    status.supported_until.clone_from(&channel.supported_until);
    Ok(ReleaseChannel {
        api_version: API_VERSION.to_owned(),
        kind: "ReleaseChannel".to_owned(),
        metadata: Metadata { creation_timestamp: None, name: channel.channel.to_string() },
        spec: ChannelSpec {
            channel: Some(channel.channel.clone()),
            environment: Some(environment.to_owned()),
            sns_topic_arn: topic.map(str::to_owned),
        },
        status,
    })
}

/// Says that a number is not offered, unless something is said of it already.
fn withhold(status: &mut ChannelStatus, withheld: &Withheld) {
    let is_withheld = status.withheld.iter().any(|other| other.number == withheld.number);
    if !is_withheld && !is_offered(status, withheld.number) {
        status.withheld.push(withheld.clone());
    }
}

/// What a channel says before anything was released in it.
pub fn empty() -> ChannelStatus {
    ChannelStatus {
        active: true,
        latest_release: 0,
        releases: Vec::new(),
        supported_until: None,
        withheld: Vec::new(),
        yanked: Vec::new(),
    }
}

/// The manifest of a release, where one stands in the store.
pub fn manifest_digest(
    store: &dyn Store,
    release: &ReleaseName,
) -> Result<Option<Digest>, StoreError> {
    Ok(store.stat(&layout::manifest(release))?.map(|stored| stored.digest))
}
