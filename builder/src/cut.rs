//! Cuts a release: all stages of the pipeline in order, each of which can be killed and run again.

mod error;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::OnceLock,
};

use kdistro_border::{Announced, Announcer, Store};
use kdistro_formats::{
    ChannelName, CommitId, Digest, ReleaseName, canonical,
    claim::{Claim, Header},
    layout,
    plan::{Plan, Step},
};
use kdistro_verify::{
    hash::{self, Hashes},
    store,
};

pub use self::error::CutError;
use crate::{
    build::{self, BuildError, Builder, Records},
    config::{Workspace, environment::Environment as Target},
    context::Context,
    fetch::Fetcher,
    home::{Lock, write_whole},
    journal::{Entry, Journal},
    package::{KnownPackages, Packaged, Packager},
    place::Place,
    plan::{self, Selection},
    publish::{
        PublishError, Published, Publisher, Ready,
        announce::{self, News},
        index::Change,
        number::{self, State},
    },
    release::{self, kubeadm},
    sign::Signing,
    time,
};

/// The stages, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Stage {
    /// Mirror sources and fetch every other input.
    Fetch,
    /// Run the steps that are not cached.
    Build,
    /// Make archives and sums.
    Package,
    /// Claim the number, publish, sign, offer in the channel index.
    Publish,
    /// Announce.
    Announce,
}

/// What is to be cut.
#[derive(Clone, Debug)]
pub struct Order {
    /// The channel.
    pub channel: ChannelName,
    /// Which part of it.
    pub selection: Selection,
    /// The last stage to run.
    pub until: Stage,
    /// The claim's date, where it is to be given; RFC 3339.
    pub date: Option<String>,
    /// The build repository's commit, when its tree is clean.
    pub commit: Option<CommitId>,
}

/// How a cut ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The last stage asked for is done; nothing was published.
    Until(Stage),
    /// The newest release has this plan already.
    Unchanged(ReleaseName),
    /// A release was published, and announced where that was asked for.
    Released {
        /// Which.
        name: ReleaseName,
        /// The manifest's digest.
        digest: Digest,
        /// True when the announcement had been made before.
        repeated: bool,
    },
}

/// A channel that was read, locked against other runs and planned.
struct Cutting<'a> {
    context: &'a Context,
    workspace: Workspace,
    order: &'a Order,
    plan: Plan,
    plan_bytes: Vec<u8>,
    _lock: Lock,
}

/// Cuts a release, up to the stage that is asked for.
pub fn cut(context: &Context, order: &Order) -> Result<Outcome, CutError> {
    let target = context.target()?;
    let cutting = Cutting::begin(context, order)?;
    cutting.refuse_in(&target)?;
    let place = Place::open(context, target)?;
    if order.until >= Stage::Publish
        && let Some(outcome) = cutting.unchanged(&place)?
    {
        return Ok(outcome);
    }
    cutting.fetch(&place)?;
    if order.until == Stage::Fetch {
        return Ok(Outcome::Until(Stage::Fetch));
    }
    let records = cutting.build()?;
    if order.until == Stage::Build {
        return Ok(Outcome::Until(Stage::Build));
    }
    let packaged = cutting.package(&records)?;
    if order.until == Stage::Package {
        return Ok(Outcome::Until(Stage::Package));
    }
    cutting.release(&place, (&packaged, &records))
}

impl<'a> Cutting<'a> {
    fn begin(context: &'a Context, order: &'a Order) -> Result<Self, CutError> {
        let what = format!("a cut of channel {}", order.channel);
        let lock = context.home.lock(&format!("cut-{}", order.channel), what)?;
        let workspace = context.workspace()?;
        if let Some(what) = stale(&workspace, &order.channel) {
            return Err(CutError::Stale { channel: order.channel.clone(), what });
        }
        let plan = plan::plan(&workspace, &order.channel, &order.selection)?;
        let plan_bytes = canonical::to_vec(&plan)?;
        Ok(Self { context, workspace, order, plan, plan_bytes, _lock: lock })
    }

    /// A part of a channel or a dirty tree goes into development environments only, and says so.
    fn refuse_in(&self, target: &Target) -> Result<(), CutError> {
        let (part, dirty) = (!self.plan.whole, self.order.commit.is_none());
        let found = [
            (part, "this is a part of the channel"),
            (dirty, "the build repository has uncommitted changes"),
        ];
        for (_, what) in found.into_iter().filter(|(found, _)| *found) {
            if !target.development {
                return Err(CutError::Development { what, environment: target.name.clone() });
            }
            self.context.reporter.note(format!("{what}: for environment `{}` only", target.name));
        }
        Ok(())
    }

    fn plan_digest(&self) -> Digest {
        hash::sha256(&self.plan_bytes)
    }

    /// The release that has this plan already; its announcement is made up for, if a crash prevented it.
    fn unchanged(&self, place: &Place) -> Result<Option<Outcome>, CutError> {
        let State::Unchanged(claim) = self.state(place)? else { return Ok(None) };
        let name =
            ReleaseName { channel: claim.header.channel.clone(), number: claim.header.number };
        if self.order.until >= Stage::Announce {
            self.announce(place, &name)?;
        }
        Ok(Some(Outcome::Unchanged(name)))
    }

    fn state(&self, place: &Place) -> Result<State, CutError> {
        let signing = place.signing(self.context);
        let publisher = publisher(self.context, place, &signing);
        let index = publisher.index(&self.order.channel, &place.trust()?)?;
        let index = index.map(|current| current.index);
        Ok(number::state(&place.store, &self.order.channel, index.as_ref(), &self.plan_digest())?)
    }

    fn fetch(&self, place: &Place) -> Result<(), CutError> {
        self.context.reporter.stage("fetch");
        let fetcher = fetcher(self.context, &self.workspace);
        let wanted: BTreeSet<Digest> = self.plan.inputs.iter().map(|input| input.sha256).collect();
        // What an earlier release was made from is published with it; upstream may not have it any more.
        let published = self.context.home.resolve(&place.target.store.directory);
        if published.is_dir() {
            fetcher.take_published(&store::Directory::new(published), &self.plan, &wanted)?;
        }
        if let Some(lock) = self.workspace.locks.get(&self.order.channel) {
            fetcher.ensure(lock, &wanted)?;
        }
        for file in &self.plan.configuration {
            if let Some(bytes) = self.workspace.files.get(&file.path) {
                self.context.content.insert_bytes(bytes)?;
            }
        }
        Ok(())
    }

    fn build(&self) -> Result<Records, CutError> {
        self.context.reporter.stage("build");
        let steps: Vec<&Step> = build::needed(&self.plan, None);
        let records =
            run_steps(self.context, &self.context.home, &self.context.content, &self.plan, &steps)?;
        let kept = self.context.home.last_plan(&self.order.channel);
        // Only for `kdistro plan`, which says what changed since. Of a part it would say that all else is new.
        if self.plan.whole || !kept.exists() {
            let _ = write_whole(&kept, &self.plan_bytes);
        }
        Ok(records)
    }

    fn package(&self, records: &Records) -> Result<Packaged, CutError> {
        self.context.reporter.stage("package");
        let packager = Packager {
            plan: &self.plan,
            records,
            home: &self.context.home,
            content: &self.context.content,
            reporter: &self.context.reporter,
            jobs: self.context.surroundings.host.cores,
            packages: KnownPackages::default(),
        };
        Ok(packager.package(None)?)
    }

    /// Makes the files of the release as a whole.
    fn documents(
        &self,
        packaged: &Packaged,
        name: &ReleaseName,
    ) -> Result<BTreeMap<String, Hashes>, CutError> {
        let mut documents = BTreeMap::new();
        if let Some(sbom) = &packaged.sbom {
            documents.insert(release::SBOM.to_owned(), *sbom);
        }
        let registry = &self.workspace.distribution.registry;
        let kubeadm = kubeadm::configuration(&self.plan, name, registry);
        if let Some(text) = kubeadm.map_err(PublishError::Write)? {
            self.context.content.insert_bytes(text.as_bytes())?;
            let hashes = hash::hashes_of(text.as_bytes());
            let hashes =
                hashes.map_err(|source| CutError::Document { name: kubeadm::NAME, source })?;
            documents.insert(kubeadm::NAME.to_owned(), hashes);
        }
        Ok(documents)
    }

    fn release(
        &self,
        place: &Place,
        (packaged, records): (&Packaged, &Records),
    ) -> Result<Outcome, CutError> {
        self.context.reporter.stage("publish");
        if self.order.until >= Stage::Announce {
            self.finish_announcement(place)?;
        }
        let claim = self.claim(place)?;
        let name =
            ReleaseName { channel: claim.header.channel.clone(), number: claim.header.number };
        let documents = self.documents(packaged, &name)?;
        let signing = place.signing(self.context);
        let publisher = publisher(self.context, place, &signing);
        let ready = Ready {
            plan: &self.plan,
            plan_bytes: &self.plan_bytes,
            packaged,
            claim: &claim,
            distribution: &self.workspace.distribution,
            documents: &documents,
            records,
            files: &self.workspace.files,
        };
        publisher.refuse_early(&ready, &name)?;
        number::take(&place.store, &claim)?;
        let mut journal = Journal::open(&self.context.home.journal(&name))?;
        journal.write(&Entry::Claimed { claim: hash::sha256(&canonical::to_vec(&claim)?) })?;
        publisher.publish_keys(&place.keys, &mut journal)?;
        let published = publisher.publish(&ready, &mut journal)?;
        let offer =
            kdistro_formats::release::ReleaseRef { number: name.number, digest: published.digest };
        let topic = self.workspace.distribution.sns_topic_arn.as_deref();
        if let Some(channel) = self.workspace.channels.get(&self.order.channel) {
            let change = Change::Release(offer);
            publisher.change_index(channel, topic, &change, (&place.trust()?, &mut journal))?;
        }
        let digest = published.digest;
        let announcing = self.order.until >= Stage::Announce;
        let repeated = announcing && self.announce(place, &name)? == Announced::Repeated;
        Ok(Outcome::Released { name, digest, repeated })
    }

    /// The claim that was begun with this plan, or the one to make.
    fn claim(&self, place: &Place) -> Result<Claim, CutError> {
        let (number, previous) = match self.state(place)? {
            State::Resume(claim) | State::Unchanged(claim) => return Ok(claim),
            State::Free { number, previous } => (number, previous),
        };
        let now = time::rfc3339(self.context.surroundings.now);
        let header = Header {
            channel: self.order.channel.clone(),
            number,
            previous,
            build_repo_commit: self.order.commit.clone(),
            date: self.order.date.clone().unwrap_or(now),
        };
        Ok(Claim { plan: self.plan_digest(), header })
    }

    /// Announces a release as it stands in the store.
    fn announce(&self, place: &Place, name: &ReleaseName) -> Result<Announced, CutError> {
        let published = published(place, name)?;
        let gone = |name: String| CutError::Publish(PublishError::Vanished(name));
        let claim = number::read_claim(&place.store, name)?;
        let claim = claim.ok_or_else(|| gone(layout::claim(name)))?;
        let plan = place.store.read(&layout::plan(name))?;
        let plan: Plan = canonical::from_slice(&plan.ok_or_else(|| gone(layout::plan(name)))?)?;
        let news = News {
            published: &published,
            plan: &plan,
            header: &claim.header,
            environment: &place.target.name,
            url: &self.workspace.distribution.url,
        };
        let announcer: &dyn Announcer = &place.announcer;
        let announced = announce::announce(&news, announcer)?;
        let mut journal = Journal::open(&self.context.home.journal(name))?;
        if !journal.is_announced() {
            journal.write(&Entry::Announced { manifest: published.digest })?;
        }
        Ok(announced)
    }

    /// Announces the newest release first, where a crash came between its publication here and its announcement.
    fn finish_announcement(&self, place: &Place) -> Result<(), CutError> {
        let signing = place.signing(self.context);
        let index =
            publisher(self.context, place, &signing).index(&self.order.channel, &place.trust()?)?;
        let number = index.map_or(0, |current| current.index.status.latest_release);
        let name = ReleaseName { channel: self.order.channel.clone(), number };
        let path = self.context.home.journal(&name);
        if number == 0 || !path.exists() {
            return Ok(());
        }
        let journal = Journal::open(&path)?;
        if !journal.is_empty() && !journal.is_announced() {
            self.context.reporter.note(format!("release {name} was not announced yet: it is now"));
            self.announce(place, &name)?;
        }
        Ok(())
    }
}

/// Reads back a release that is published.
fn published(place: &Place, name: &ReleaseName) -> Result<Published, CutError> {
    let document = layout::manifest(name);
    let read = |name: &str| {
        let found = place.store.read(name)?;
        found.ok_or_else(|| CutError::Publish(PublishError::Vanished(name.to_owned())))
    };
    let bytes = read(&document)?;
    Ok(Published {
        name: name.clone(),
        digest: hash::sha256(&bytes),
        manifest: String::from_utf8_lossy(&bytes).into_owned(),
        bundle: read(&layout::bundle(&document))?,
    })
}

/// Where lock and configuration disagree, as one line.
fn stale(workspace: &Workspace, channel: &ChannelName) -> Option<String> {
    if !workspace.channels.contains_key(channel) {
        return None;
    }
    let found = plan::stale(workspace, channel);
    (!found.is_empty()).then(|| found.join("; "))
}

/// The fetcher of a context.
pub fn fetcher<'a>(context: &'a Context, workspace: &'a Workspace) -> Fetcher<'a> {
    Fetcher {
        home: &context.home,
        content: &context.content,
        workspace,
        environment: &context.environment,
        apt_sources: context.apt_sources.as_deref().map(Path::new),
        reporter: &context.reporter,
        apt: OnceLock::new(),
    }
}

/// The publisher to a place.
pub fn publisher<'a>(
    context: &'a Context,
    place: &'a Place,
    signing: &'a Signing<'a>,
) -> Publisher<'a> {
    Publisher {
        store: &place.store,
        registry: &place.registry,
        content: &context.content,
        signing,
        environment: &place.target.name,
        reporter: &context.reporter,
    }
}

/// Runs steps of a plan on this machine.
pub fn run_steps(
    context: &Context,
    home: &crate::home::Home,
    content: &crate::content::ContentStore,
    plan: &Plan,
    steps: &[&Step],
) -> Result<Records, BuildError> {
    let host = &context.surroundings.host;
    let jobs = build::jobs(host.cores, host.memory_bytes);
    let builder =
        Builder { plan, home, content, reporter: &context.reporter, jobs, host: &host.platform };
    builder.build(steps)
}
