//! Reads the signed index of a channel, and a release that it offers, and believes neither before it is proven.
//!
//! Only signed documents are read, and of the log what proves that it was neither cut nor forked: no asset, no image.

use std::{collections::BTreeSet, io};

use jiff::Timestamp;
use kdistro_formats::{
    ChannelName, Digest, ReleaseName,
    channel::ReleaseChannel,
    layout,
    release::{API_VERSION, Release, ReleaseRef},
};
use kdistro_verify::{
    bundle::{self, Logged},
    check::{Outcome, Report, Scope, TrustSource, check},
    hash,
    log::{Checkpoint, LogError, open_checkpoint},
    store::{self, Reader},
    trust::Trust,
};

use super::{
    choice::fixes,
    demand::{Demand, Place},
    documents::read_manifest,
    refused::Refused,
    seen::{Seen, SeenChannel},
};

/// The largest index, bundle, key, checkpoint or tile of hashes, in bytes.
pub(super) const SMALL: u64 = 4 * 1024 * 1024;

/// Where releases are published, whom to believe, and which of them are asked for.
pub struct Publication<'a> {
    /// The store.
    pub reader: &'a dyn Reader,
    /// Whom to believe.
    pub source: &'a TrustSource,
    /// The environment.
    pub environment: &'a str,
    /// The channel.
    pub channel: &'a ChannelName,
}

/// A channel's index that is authentic, and follows on what was seen before.
pub struct VerifiedChannel {
    /// The index.
    pub index: ReleaseChannel,
    /// Where in the log it stands.
    pub logged: Logged,
    /// The head of the log.
    pub head: Checkpoint,
    trust: Trust,
}

/// A release that is authentic and that the channel's index lists.
pub struct VerifiedRelease {
    /// Its name.
    pub name: ReleaseName,
    /// The digest of its manifest.
    pub digest: Digest,
    /// When its number was claimed.
    pub date: Timestamp,
    /// What it consists of.
    pub manifest: Release,
    /// What was checked.
    pub report: Report,
}

impl VerifiedChannel {
    /// What to keep of it until the next look, beside what was kept `before` of other channels.
    pub fn seen(&self, before: Option<&Seen>) -> Seen {
        let mut channels = before.map(|before| before.channels.clone()).unwrap_or_default();
        let seen = SeenChannel { entry: self.logged.index, index: self.index.clone() };
        channels.extend(self.index.spec.channel.clone().map(|channel| (channel, seen)));
        Seen {
            log_key: self.trust.log_key().fingerprint(),
            log_size: self.head.size,
            log_root: self.head.root,
            channels,
        }
    }
}

impl VerifiedRelease {
    /// The CVEs that its patches fix.
    pub fn fixes(&self) -> BTreeSet<String> {
        fixes(&self.manifest)
    }

    /// It by number and digest.
    pub fn reference(&self) -> ReleaseRef {
        ReleaseRef { number: self.name.number, digest: self.digest }
    }
}

impl Publication<'_> {
    /// Reads the channel's index; `seen` is what was kept of the environment before.
    pub fn look(&self, seen: Option<&Seen>) -> Result<VerifiedChannel, Refused> {
        let was_there = seen.is_some();
        let channel = seen.and_then(|seen| seen.channels.get(self.channel));
        let trust = self.trust(was_there)?;
        let log_key = trust.log_key().fingerprint();
        if let Some(seen) = seen.filter(|seen| seen.log_key != log_key) {
            return Err(Refused::OtherLog { found: log_key, seen: seen.log_key });
        }
        let (index, logged) = self.read_index(&trust, channel.is_some())?;
        // After the index: the log has at least what it had when the index was signed.
        let head = self.read_head(&trust, was_there)?;
        if let Some(seen) = seen {
            self.check_log(&head, (seen.log_size, &seen.log_root), "an earlier look")?;
        }
        if let Some(channel) = channel {
            channel.check_follows(&index, logged.index)?;
        }
        self.check_log(&head, (logged.tree_size, &logged.root), "the channel's index")?;
        Ok(VerifiedChannel { index, logged, head, trust })
    }

    /// Reads a release that the channel's index lists, and judges it by each demand, in order.
    pub fn release(
        &self,
        channel: &VerifiedChannel,
        number: u32,
        demands: &[Box<dyn Demand>],
    ) -> Result<VerifiedRelease, Refused> {
        let name = ReleaseName { channel: self.channel.clone(), number };
        let file = layout::manifest(&name);
        let listed = channel.index.status.releases.iter().find(|it| it.number == number);
        let digest = listed.map(|listed| listed.digest).ok_or_else(|| Refused::Other {
            file: layout::channel_index(self.channel),
            field: "status.releases",
            found: format!("without {number}"),
            expected: number.to_string(),
        })?;
        let report = check(self.reader, &file, self.source, Scope::Documents);
        if report.outcome != Outcome::Verified {
            return Err(Refused::Release { release: name.to_string(), report: Box::new(report) });
        }
        let manifest = read_manifest(self.reader, &file, digest)?;
        check_previous(&channel.index, &manifest, &file)?;
        let date = manifest.status.date.clone().unwrap_or_default();
        let date = date.parse().map_err(|_| Refused::Other {
            file,
            field: "status.date",
            found: date,
            expected: "2026-08-01T00:00:00Z, or another in this form".to_owned(),
        })?;
        let release = VerifiedRelease { name, digest, date, manifest, report };
        let place = Place { reader: self.reader, trust: &channel.trust };
        for demand in demands {
            demand.judge(&release, &place).map_err(|unmet| Refused::Unmet {
                release: release.name.to_string(),
                demand: demand.name(),
                what: unmet.what,
                outcome: unmet.outcome,
            })?;
        }
        Ok(release)
    }

    /// Whom to believe: the trusted root that was given, or the store's, if the release key signed it.
    fn trust(&self, was_there: bool) -> Result<Trust, Refused> {
        let file = layout::TRUSTED_ROOT;
        let root = if let Some(given) = &self.source.trusted_root {
            given.clone()
        } else {
            let root = self.read(file, was_there)?;
            let bundle = self.read_bundle(file, layout::bundle(file))?;
            let signed = bundle::verify_unlogged(&bundle, &root, &self.source.key);
            signed.map_err(|source| Refused::Forged { file: file.to_owned(), source })?;
            root
        };
        let trust = Trust::from_trusted_root(&root, &self.source.key);
        trust.map_err(|source| Refused::Root { file: file.to_owned(), source })
    }

    fn read_index(
        &self,
        trust: &Trust,
        was_there: bool,
    ) -> Result<(ReleaseChannel, Logged), Refused> {
        let file = layout::channel_index(self.channel);
        let bytes = self.read(&file, was_there)?;
        // The bundle's name is the index's digest: a changed index has none.
        let bundle = self.read_bundle(&file, layout::channel_bundle(&hash::sha256(&bytes)))?;
        let logged = bundle::verify_message(&bundle, &bytes, trust);
        let logged = logged.map_err(|source| Refused::Forged { file: file.clone(), source })?;
        let text = text(&file, bytes)?;
        let index = ReleaseChannel::from_yaml(&text);
        let index = index.map_err(|source| Refused::Form { file: file.clone(), source })?;
        let said = |text: Option<&str>| text.unwrap_or("nothing").to_owned();
        let channel = index.spec.channel.as_ref().map(ChannelName::as_str);
        let fields = [
            ("apiVersion", index.api_version.clone(), API_VERSION),
            ("spec.channel", said(channel), self.channel.as_str()),
            ("spec.environment", said(index.spec.environment.as_deref()), self.environment),
        ];
        for (field, found, expected) in fields {
            if found != expected {
                let expected = expected.to_owned();
                return Err(Refused::Other { file, field, found, expected });
            }
        }
        Ok((index, logged))
    }

    fn read_head(&self, trust: &Trust, was_there: bool) -> Result<Checkpoint, Refused> {
        let bytes = self.read(layout::CHECKPOINT, was_there)?;
        let text = text(layout::CHECKPOINT, bytes)?;
        let head = open_checkpoint(&text, trust.origin(), trust.log_key());
        head.map_err(|source| self.log_error("its signed head", source))
    }

    fn check_log(
        &self,
        head: &Checkpoint,
        tree: (u64, &Digest),
        by: &'static str,
    ) -> Result<(), Refused> {
        let fetch = |path: &str| -> io::Result<Option<Vec<u8>>> {
            store::read(self.reader, &format!("{}/{path}", layout::LOG), SMALL)
        };
        head.check_contains(tree, &fetch).map_err(|source| self.log_error(by, source))
    }

    fn log_error(&self, by: &'static str, source: LogError) -> Refused {
        Refused::Log { store: self.reader.place(), by, source }
    }

    fn read(&self, file: &str, was_there: bool) -> Result<Vec<u8>, Refused> {
        let read = self.try_read(file, SMALL)?;
        let (store, file) = (self.reader.place(), file.to_owned());
        read.ok_or(Refused::Missing { store, file, was_there })
    }

    fn read_bundle(&self, file: &str, bundle: String) -> Result<Vec<u8>, Refused> {
        let read = self.try_read(&bundle, SMALL)?;
        read.ok_or_else(|| Refused::Unsigned { file: file.to_owned(), bundle })
    }

    fn try_read(&self, file: &str, limit: u64) -> Result<Option<Vec<u8>>, Refused> {
        store::read(self.reader, file, limit).map_err(|source| Refused::Unread {
            store: self.reader.place(),
            file: file.to_owned(),
            source,
        })
    }
}

/// Demands that the release came after one that the index knows by the same content.
fn check_previous(index: &ReleaseChannel, manifest: &Release, file: &str) -> Result<(), Refused> {
    let Some(previous) = &manifest.spec.previous else { return Ok(()) };
    let (status, number) = (&index.status, previous.number);
    let offered = status.releases.iter().find(|it| it.number == number).map(|it| it.digest);
    let withheld = status.withheld.iter().find(|it| it.number == number);
    let known = offered.or_else(|| withheld?.digest);
    if known == Some(previous.digest) && number < manifest.spec.number {
        return Ok(());
    }
    Err(Refused::Other {
        file: file.to_owned(),
        field: "spec.previous",
        found: format!("{number} ({})", previous.digest),
        expected: match known {
            Some(digest) => format!("an earlier number, or {digest} as the channel's index has it"),
            None => "a release that the channel's index knows".to_owned(),
        },
    })
}

fn text(file: &str, bytes: Vec<u8>) -> Result<String, Refused> {
    String::from_utf8(bytes).map_err(|source| Refused::Text { file: file.to_owned(), source })
}
