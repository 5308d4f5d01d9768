//! Cuts a release: all stages of the pipeline in order, each of which can be killed and run again.

mod error;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use kdistro_formats::{
    ChannelName, CommitId, Digest, ReleaseName, canonical,
    claim::{Claim, Header},
    plan::{Plan, Step},
    statement::{TestResult, TestVerdict},
};
use kdistro_verify::hash::{self, Hashes};

pub use self::error::CutError;
use crate::{
    build::{self, BuildError, Builder, Records},
    config::{
        Workspace,
        channel::Channel,
        environment::{Environment as Target, Gate as GateKind, OnlyForDevelopment},
    },
    context::Context,
    fetch::Fetcher,
    gate::{self, AtGate, Gate},
    home::{Lock, write_whole},
    journal::Journal,
    package::{KnownPackages, Packaged, Packager},
    place::{self, Place},
    plan::{self, Selection},
    publish::{
        ImageParts, Offer, PublishError, Publisher, Ready,
        number::{self, State},
        provenance::{self, Built},
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
    /// What has to be passed besides what the environment demands.
    pub gate: Option<GateKind>,
}

/// How a cut ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The last stage asked for is done; nothing was published.
    Until(Stage),
    /// The newest release has this plan already.
    Unchanged {
        /// Which.
        name: ReleaseName,
        /// What its tests came to, where they were run.
        tests: Option<TestResult>,
    },
    /// A release was published, and announced where that was asked for.
    Released {
        /// Which.
        name: ReleaseName,
        /// The manifest's digest.
        digest: Digest,
        /// True when the announcement had been made before.
        repeated: bool,
        /// What its tests came to, where it passed a gate.
        tests: Option<TestResult>,
    },
    /// A release was published, failed at the gate, and is withheld.
    Withheld {
        /// Which.
        name: ReleaseName,
        /// What its tests came to.
        tests: TestResult,
    },
}

/// A channel that was read, locked against other runs and planned.
struct Cutting<'a> {
    context: &'a Context,
    workspace: Workspace,
    order: &'a Order,
    plan: Plan,
    plan_bytes: Vec<u8>,
    /// What a release has to pass before it is offered.
    gate: Option<Gate>,
    _lock: Lock,
}

/// Cuts a release, up to the stage that is asked for.
pub fn cut(context: &Context, order: &Order) -> Result<Outcome, CutError> {
    let target = context.target()?;
    let cutting = Cutting::begin(context, &target, order)?;
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
    fn begin(context: &'a Context, target: &Target, order: &'a Order) -> Result<Self, CutError> {
        let is_gated = order.until >= Stage::Publish && order.gate.or(target.gate).is_some();
        // What is missing is better said before hours of work than after.
        let gate = is_gated.then(|| gate::find(context)).transpose()?;
        let what = format!("a cut of channel {}", order.channel);
        let lock = context.home.lock(&format!("cut-{}", order.channel), what)?;
        let workspace = context.workspace()?;
        if let Some(what) = stale(&workspace, &order.channel) {
            return Err(CutError::Stale { channel: order.channel.clone(), what });
        }
        let plan = plan::plan(&workspace, &order.channel, &order.selection)?;
        let plan_bytes = canonical::to_vec(&plan)?;
        Ok(Self { context, workspace, order, plan, plan_bytes, gate, _lock: lock })
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
                let (what, environment) = (what.to_owned(), target.name.clone());
                return Err(OnlyForDevelopment { what, environment }.into());
            }
            let name = &target.name;
            self.context.reporter.note(format!(
                "{what}: fine here, as `{name}` is a development environment, and in no other"
            ));
        }
        Ok(())
    }

    fn plan_digest(&self) -> Digest {
        hash::sha256(&self.plan_bytes)
    }

    /// The release that has this plan already; its announcement is made up for, if a crash prevented it.
    fn unchanged(&self, place: &Place) -> Result<Option<Outcome>, CutError> {
        let State::Unchanged(claim) = self.state(place)? else { return Ok(None) };
        let name = claim.header.release();
        if self.order.until >= Stage::Announce {
            self.finish_announcements(place)?;
        }
        let tests = self.offered_tests(place, &name)?;
        Ok(Some(Outcome::Unchanged { name, tests }))
    }

    /// What the tests of a release came to that is offered: run now, where it passed no gate and is to pass one.
    fn offered_tests(
        &self,
        place: &Place,
        name: &ReleaseName,
    ) -> Result<Option<TestResult>, CutError> {
        // Where nothing is to be passed, that nothing changed is told without asking for more.
        let Some(gate) = &self.gate else { return Ok(None) };
        let signing = place.signing(self.context);
        let publisher = publisher(self.context, place, &signing);
        let Some(published) = publisher.published(name)? else { return Ok(None) };
        let mut journal = Journal::open(&journal(self.context, place, name))?;
        let at_gate = self.at_gate(place, &publisher)?;
        Ok(at_gate.tested(Some(gate), (&published, &self.plan), &mut journal)?)
    }

    fn at_gate<'b>(
        &'b self,
        place: &'b Place,
        publisher: &'b Publisher<'b>,
    ) -> Result<AtGate<'b>, CutError> {
        Ok(AtGate { context: self.context, place, publisher, channel: self.channel()? })
    }

    fn state(&self, place: &Place) -> Result<State, CutError> {
        let signing = place.signing(self.context);
        let publisher = publisher(self.context, place, &signing);
        let index = publisher.index(&self.order.channel)?;
        let index = index.map(|current| current.index);
        Ok(number::state(
            place.store.as_ref(),
            &self.order.channel,
            index.as_ref(),
            &self.plan_digest(),
        )?)
    }

    fn fetch(&self, place: &Place) -> Result<(), CutError> {
        self.context.reporter.stage("fetch");
        let fetcher = fetcher(self.context, &self.workspace);
        let wanted: BTreeSet<Digest> = self.plan.inputs.iter().map(|input| input.sha256).collect();
        // What an earlier release was made from is published with it; upstream may not have it any more.
        if place.store.folder().is_none_or(|folder| folder.is_dir()) {
            let published = place::reader(place.store.clone());
            fetcher.take_published(published.as_ref(), &self.plan, &wanted)?;
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

    /// Reads what the images consist of.
    fn images(&self, packaged: &Packaged) -> Result<BTreeMap<String, ImageParts>, CutError> {
        let read = |digest: &Digest| Ok(self.context.content.read(digest)?);
        let of = |path: &String| -> Result<ImageParts, PublishError> {
            let index = packaged.assets.get(path).map(|hashes| read(&hashes.sha256)).transpose()?;
            ImageParts::read(&index.unwrap_or_default(), read)
        };
        let images = packaged.images.keys().map(|path| Ok((path.clone(), of(path)?)));
        images.collect()
    }

    fn release(
        &self,
        place: &Place,
        (packaged, records): (&Packaged, &Records),
    ) -> Result<Outcome, CutError> {
        self.context.reporter.stage("publish");
        if self.order.until >= Stage::Announce {
            self.finish_announcements(place)?;
        }
        let claim = self.claim(place)?;
        let name = claim.header.release();
        let documents = self.documents(packaged, &name)?;
        let signing = place.signing(self.context);
        let publisher = publisher(self.context, place, &signing);
        let plan = (&self.plan, &self.plan_digest());
        let distribution = &self.workspace.distribution;
        let manifest = release::manifest(plan, (packaged, &documents), &claim.header, distribution);
        let (header, assets) = (&claim.header, &packaged.assets);
        let ready = Ready {
            plan: &self.plan,
            plan_bytes: &self.plan_bytes,
            manifest: &manifest.map_err(PublishError::Release)?,
            claim: &claim,
            assets,
            images: &self.images(packaged)?,
            documents: &documents,
            provenances: &provenance::statements(&Built { plan, assets, records, header }),
        };
        let offer = Offer {
            keys: &place.keys,
            channel: self.channel()?,
            topic: place.target.topic(),
            skipped: &[],
        };
        let mut journal = Journal::open(&journal(self.context, place, &name))?;
        let published = publisher.publish(&ready, &offer, &mut journal)?;
        let at_gate = self.at_gate(place, &publisher)?;
        let tests = at_gate.judge(self.gate.as_ref(), (&published, &self.plan), &mut journal)?;
        if let Some(tests) = tests.clone().filter(|tests| tests.result == TestVerdict::Failed) {
            return Ok(Outcome::Withheld { name, tests });
        }
        publisher.offer(&published, &offer, &mut journal)?;
        let announcing = self.order.until >= Stage::Announce;
        let repeated = announcing && !self.announce(place)?.contains(&name);
        Ok(Outcome::Released { name, digest: published.digest, repeated, tests })
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

    /// The channel as it is configured.
    fn channel(&self) -> Result<&Channel, CutError> {
        let channel = &self.order.channel;
        let found = self.workspace.channels.get(channel);
        found.ok_or_else(|| CutError::NoChannel(channel.clone()))
    }

    /// Announces what the channel offers and nobody was told of; returns which releases.
    fn announce(&self, place: &Place) -> Result<Vec<ReleaseName>, CutError> {
        let signing = place.signing(self.context);
        let publisher = publisher(self.context, place, &signing);
        let announcer = (place.announcer.as_ref(), self.workspace.distribution.url.as_str());
        Ok(publisher.announce_all(&self.order.channel, announcer)?)
    }

    /// Announces what earlier runs published and did not come to announce.
    fn finish_announcements(&self, place: &Place) -> Result<(), CutError> {
        for name in self.announce(place)? {
            self.context.reporter.note(format!("release {name} was not announced yet: it is now"));
        }
        Ok(())
    }
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

/// The journal of a release in an environment.
pub fn journal(context: &Context, place: &Place, release: &ReleaseName) -> PathBuf {
    context.home.journal(&place.target.name, release)
}

/// How many files are on their way at once: enough to hide what each waits for.
const AT_ONCE: usize = 8;

/// Of a cut all content is in the content store.
static NOWHERE: BTreeMap<Digest, PathBuf> = BTreeMap::new();

/// The publisher to a place.
pub fn publisher<'a>(
    context: &'a Context,
    place: &'a Place,
    signing: &'a Signing<'a>,
) -> Publisher<'a> {
    Publisher {
        store: place.store.as_ref(),
        registry: place.registry.as_ref(),
        content: &context.content,
        elsewhere: &NOWHERE,
        at_once: AT_ONCE,
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
