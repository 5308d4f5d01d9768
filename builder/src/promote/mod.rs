//! Promotes a release from one environment to another: verified as a stranger would, the same bytes copied by digest,
//! signed anew with the other's key into the other's log, offered in its channel index, announced. Nothing is built.
//!
//! What this leaves behind when it is killed is what a cut leaves behind, and the next run finishes it.

mod copying;
mod error;
mod subject;

use std::{collections::BTreeMap, sync::Arc};

use kdistro_border::Store;
use kdistro_formats::{
    Digest, ReleaseName,
    channel::{ChannelStatus, Withheld},
    layout,
};
use kdistro_verify::{
    check::{self, Outcome as Verdict, Report, Scope, TrustSource},
    store::Reader,
    trust::PublicKey,
};
use serde::Serialize;

pub use self::error::PromoteError;
use self::{copying::Copying, subject::Subject};
use crate::{
    config::{Workspace, channel::Channel},
    context::Context,
    cut,
    journal::Journal,
    place::{self, Place},
    publish::{Offer, Publisher, files::Upload, images, index},
};

/// Where a release comes from: nothing of it is believed but what its key signed.
pub struct Origin {
    /// The environment's name.
    pub name: String,
    /// Its store.
    pub store: Arc<dyn Store>,
    /// The key that must have signed the release.
    pub key: PublicKey,
}

/// What became of a promotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// Nothing was done: it was only to be said what would be.
    Planned,
    /// It was carried out.
    Promoted,
    /// It had been carried out before.
    Unchanged,
}

/// What a promotion does, or would do.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Promotion {
    /// Whether it was done.
    pub outcome: Outcome,
    /// The release.
    pub release: String,
    /// The manifest's digest, in both environments.
    pub digest: Digest,
    /// Where it comes from.
    pub from: String,
    /// Where it goes.
    pub to: String,
    /// Files that the other store lacks, with their sizes.
    pub copied: BTreeMap<String, u64>,
    /// Files that it has.
    pub present: usize,
    /// Every image, as repository and tag.
    pub images: Vec<String>,
    /// What is signed there.
    pub signed: Vec<String>,
    /// Numbers that were cut and are not offered there, with the reason.
    pub withheld: BTreeMap<u32, String>,
    /// True when the announcement had been made before.
    pub announced_before: bool,
}

/// Promotes a release; with `only_say` nothing is written anywhere.
pub fn promote(
    context: &Context,
    (origin, to): (&Origin, &Place),
    release: &ReleaseName,
    only_say: bool,
) -> Result<Promotion, PromoteError> {
    let what = format!("a promotion to channel {}", release.channel);
    let _lock = context.home.lock(&format!("cut-{}", release.channel), what)?;
    let workspace = context.workspace()?;
    let channel = workspace.channels.get(&release.channel);
    let channel = channel.ok_or_else(|| PromoteError::NoChannel(release.channel.clone()))?;
    context.reporter.stage("verify");
    let reader = place::reader(origin.store.clone());
    let reading = if only_say {
        Copying::nothing(reader.as_ref())
    } else {
        let into = (to.store.as_ref(), &context.content);
        Copying::new((origin, reader.as_ref()), into, release)?
    };
    let report = verify((origin, &reading), release)?;
    let subject = Subject::read((origin, &reading), release, &report)?;
    subject.refuse_in(&to.target)?;
    subject.refuse_untested(&origin.name, &to.target)?;
    let promoting = Promoting { context, workspace: &workspace, channel, origin, to, subject };
    let there = promoting.status_there()?;
    let skipped = promoting.skipped(&there)?;
    let promotion = promoting.describe(&there, &skipped)?;
    if only_say {
        return Ok(promotion);
    }
    reading.hand_over(&promoting.subject.uploads());
    promoting.carry_out(&skipped, promotion)
}

/// Verifies the release with its plan and inputs, by its environment's public key alone.
fn verify(
    (origin, reader): (&Origin, &dyn Reader),
    release: &ReleaseName,
) -> Result<Report, PromoteError> {
    let source = TrustSource { key: origin.key.clone(), trusted_root: None };
    let report = check::check(reader, &layout::manifest(release), &source, Scope::Inputs);
    if report.outcome == Verdict::Verified {
        return Ok(report);
    }
    Err(PromoteError::NotVerified { from: origin.name.clone(), report: Box::new(report) })
}

/// A verified release on its way.
struct Promoting<'a> {
    context: &'a Context,
    workspace: &'a Workspace,
    channel: &'a Channel,
    origin: &'a Origin,
    to: &'a Place,
    subject: Subject,
}

impl Promoting<'_> {
    /// The numbers below this one that the other environment was never given: said in its index, so that the chain of
    /// numbers has no hole there. Refuses what does not fit to what that says.
    fn skipped(&self, there: &ChannelStatus) -> Result<Vec<Withheld>, PromoteError> {
        let (name, to) = (&self.subject.name, &self.to.target.name);
        let is_it = |number: u32| number == name.number;
        if let Some(passed) = there.withheld.iter().find(|withheld| is_it(withheld.number)) {
            let (release, to, reason) = (name.clone(), to.clone(), passed.reason.clone());
            return Err(PromoteError::Passed { release, to, reason });
        }
        if let Some(yanked) = there.yanked.iter().find(|yanked| is_it(yanked.number)) {
            let (release, to, reason) = (name.clone(), to.clone(), yanked.reason.clone());
            return Err(PromoteError::Yanked { release, to, reason });
        }
        let digest = self.subject.digest;
        let offered = there.releases.iter().find(|offered| is_it(offered.number));
        if let Some(other) = offered.filter(|offered| offered.digest != digest) {
            let (release, to, there) = (name.clone(), to.clone(), other.digest);
            return Err(PromoteError::Other { release, to, there, digest });
        }
        let is_known = |number: u32| {
            there.releases.iter().any(|offered| offered.number == number)
                || there.withheld.iter().any(|withheld| withheld.number == number)
        };
        let here = &self.subject.index.status;
        let offered = here.releases.iter().map(|offered| Withheld {
            number: offered.number,
            digest: Some(offered.digest),
            reason: format!("was not promoted from {}", self.origin.name),
        });
        let all = offered.chain(here.withheld.iter().cloned());
        let mut skipped: Vec<_> =
            all.filter(|one| one.number < name.number && !is_known(one.number)).collect();
        skipped.sort_by_key(|withheld| withheld.number);
        self.refuse_other_chain(there, &skipped)?;
        Ok(skipped)
    }

    /// Refuses a release that follows another one than the other environment has, or will say that it was not given.
    fn refuse_other_chain(
        &self,
        there: &ChannelStatus,
        skipped: &[Withheld],
    ) -> Result<(), PromoteError> {
        let Some(previous) = self.subject.previous() else { return Ok(()) };
        let offered = there.releases.iter().map(|offered| (offered.number, Some(offered.digest)));
        let withheld = there.withheld.iter().chain(skipped);
        let withheld = withheld.map(|withheld| (withheld.number, withheld.digest));
        if offered.chain(withheld).any(|known| known == (previous.number, Some(previous.digest))) {
            return Ok(());
        }
        Err(PromoteError::Chain {
            release: self.subject.name.clone(),
            to: self.to.target.name.clone(),
            number: previous.number,
            expected: previous.digest,
        })
    }

    /// What the other environment says of the channel.
    fn status_there(&self) -> Result<ChannelStatus, PromoteError> {
        let signing = self.to.signing(self.context);
        let publisher = cut::publisher(self.context, self.to, &signing);
        let current = publisher.index(&self.channel.channel)?;
        Ok(current.map_or_else(index::empty, |current| current.index.status))
    }

    /// Says what is to be done.
    fn describe(
        &self,
        there: &ChannelStatus,
        skipped: &[Withheld],
    ) -> Result<Promotion, PromoteError> {
        let (subject, name) = (&self.subject, &self.subject.name);
        let signing = self.to.signing(self.context);
        let publisher = cut::publisher(self.context, self.to, &signing);
        let ready = subject.ready();
        let (missing, present) = publisher.missing(&ready)?;
        let size = |upload: &Upload| (upload.name().to_owned(), upload.size());
        let images = images::planned(&ready).flat_map(|(component, _, image)| {
            let places = images::places(image, component, name);
            places.into_iter().map(|(repository, tag)| format!("{repository}:{tag}"))
        });
        let is_offered = there.releases.iter().any(|offered| offered.number == name.number);
        let announced_before = publisher.is_announced(name)?;
        let is_done = is_offered && announced_before && missing.is_empty();
        let provenances = subject.provenances.keys();
        let signed = provenances
            .map(|component| layout::provenance(name, component))
            .chain(subject.tests.iter().map(|_| layout::test_result(name)))
            .chain([layout::bundle(&layout::manifest(name)), layout::channel_index(&name.channel)]);
        Ok(Promotion {
            outcome: if is_done { Outcome::Unchanged } else { Outcome::Planned },
            release: name.to_string(),
            digest: subject.digest,
            from: self.origin.name.clone(),
            to: self.to.target.name.clone(),
            copied: missing.iter().map(size).collect(),
            present,
            images: if is_done { Vec::new() } else { images.collect() },
            signed: if is_done { Vec::new() } else { signed.collect() },
            withheld: skipped.iter().map(|one| (one.number, one.reason.clone())).collect(),
            announced_before,
        })
    }

    fn carry_out(
        &self,
        skipped: &[Withheld],
        promotion: Promotion,
    ) -> Result<Promotion, PromoteError> {
        let Self { context, to, subject, .. } = self;
        context.reporter.stage("copy");
        let elsewhere = self.at_hand(&promotion.copied)?;
        let signing = to.signing(context);
        let publisher =
            Publisher { elsewhere: &elsewhere, ..cut::publisher(context, to, &signing) };
        let mut journal = Journal::open(&cut::journal(context, to, &subject.name))?;
        let offer =
            Offer { keys: &to.keys, channel: self.channel, topic: to.target.topic(), skipped };
        let published = publisher.publish(&subject.ready(), &offer, &mut journal)?;
        if published.digest != subject.digest {
            let (found, expected) = (published.digest, subject.digest);
            return Err(PromoteError::Changed { release: subject.name.clone(), found, expected });
        }
        if let Some(tests) = &subject.tests {
            publisher.write_tested(&published, tests, &mut journal)?;
        }
        publisher.offer(&published, &offer, &mut journal)?;
        context.reporter.stage("announce");
        let announcer = (to.announcer.as_ref(), self.workspace.distribution.url.as_str());
        let announced = publisher.announce_all(&subject.name.channel, announcer)?;
        let announced_before = !announced.contains(&subject.name);
        // What was there is looked at again all the same: a registry, for one, is not listed before.
        let outcome = match promotion.outcome {
            Outcome::Planned => Outcome::Promoted,
            done => done,
        };
        Ok(Promotion { outcome, announced_before, ..promotion })
    }

    /// Where the content is that is to be published: files of the other store, where it is a folder; what lies
    /// elsewhere is brought into the content store first.
    fn at_hand(
        &self,
        copied: &BTreeMap<String, u64>,
    ) -> Result<BTreeMap<Digest, std::path::PathBuf>, PromoteError> {
        let uploads = self.subject.uploads();
        if let Some(folder) = self.origin.store.folder() {
            let place = |upload: &Upload| (upload.digest(), folder.join(upload.name()));
            let stored = uploads.iter().filter(|upload| matches!(upload, Upload::Stored { .. }));
            return Ok(stored.map(place).collect());
        }
        let content = &self.context.content;
        for upload in &uploads {
            // What is pushed as an image is needed even where the store has it.
            let needed =
                copied.contains_key(upload.name()) || upload.name().starts_with(layout::IMAGES);
            let is_sbom = self.subject.is_sbom(upload.name());
            if let Upload::Stored { name, digest, size } = upload
                && (needed || is_sbom)
                && !content.has(digest)
            {
                self.context.reporter.progress(format!("fetching {name}"));
                subject::fetch(self.origin, content, (name, digest, *size))?;
            }
        }
        Ok(BTreeMap::new())
    }
}
