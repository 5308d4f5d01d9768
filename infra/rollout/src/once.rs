//! One look: goes on with what is under way, reads the channel's index, decides, and rolls out what is to be.

use std::{
    error::Error,
    fmt, fs,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use kdistro_devcluster::{Cluster, DevclusterError};
use kdistro_formats::{ReleaseName, layout, release::ReleaseRef};
use kdistro_verify::{
    check::{self, TrustSource, chain},
    store::{self, LocateError, Reader},
    trust::{PublicKey, TrustError},
};

use crate::{
    check::Checks,
    decide::{
        Decision, Facts, Held, Proven, Publication, Refused, Situation, VerifiedChannel,
        VerifiedRelease, candidate, choose, demand::demands, fixes, prove,
    },
    driver::{Devcluster, Driver, Exec, Gitops, Leased, Origin, RENEWED},
    fleet::forerunners,
    history::{
        Alarm, CHANNEL, Decided, Event, Follows, History, HistoryError, Intent, ROLL_OUT, Target,
        What,
    },
    lease::{Lease, LeaseError},
    plan::Versions,
    policy::{Check, RollOutBy, Subscriber},
    roll::{Outcome, RollError, Roller},
};

/// How much is kept of what a look came to, in bytes.
const LONGEST_TEXT: usize = 4096;

/// What one look came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked {
    /// A roll-out came to its end.
    Rolled(ReleaseName, Outcome),
    /// Nothing was rolled out.
    Decided(Decision),
}

impl fmt::Display for Looked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rolled(name, Outcome::Kept) => write!(f, "{name} runs"),
            Self::Rolled(name, Outcome::RolledBack(why)) => {
                write!(f, "{name} failed and is held, the release before runs again: {why}")
            }
            Self::Rolled(name, Outcome::Failed(why)) => {
                write!(f, "{name} failed and is held, and nothing ran before it: {why}")
            }
            Self::Decided(decision) => f.write_str(decision.why()),
        }
    }
}

/// A look that came to no end.
#[derive(Debug, thiserror::Error)]
pub enum OnceError {
    /// The index or the release cannot be believed, or not be read.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The history cannot be used.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A roll-out did not come to its end.
    #[error(transparent)]
    Roll(#[from] RollError),
    /// The cluster cannot be used, or a release not be brought to it.
    #[error(transparent)]
    Cluster(#[from] DevclusterError),
    /// Somebody else changes the cluster.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// The machine gives no random numbers.
    #[error("the machine gives no random numbers")]
    Random,
    /// The store's address is none.
    #[error(transparent)]
    Store(#[from] LocateError),
    /// A file that the subscriber names cannot be read.
    #[error("cannot read {}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The key is none.
    #[error("{}", file.display())]
    Key {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        source: TrustError,
    },
}

/// A subscriber's cluster, its history, and the outside.
pub struct Once<'a> {
    /// The subscriber's file.
    pub subscriber: &'a Subscriber,
    /// What happened to the cluster.
    pub history: &'a History,
    /// Tells the time.
    pub now: &'a dyn Fn() -> Timestamp,
    /// Is told of each event.
    pub say: &'a mut dyn FnMut(&Event),
    /// A proxy for https.
    pub proxy: Option<String>,
}

impl<'a> Once<'a> {
    /// Looks once, while nobody else does, and writes down what came of it.
    pub fn run(&mut self) -> Result<Looked, OnceError> {
        let _turn = self.history.turn()?;
        self.history.follow(&Follows::from(self.subscriber))?;
        let looked = self.look();
        let remembered = self.remember(&looked);
        // What went wrong first says most.
        let looked = looked?;
        remembered?;
        Ok(looked)
    }

    fn look(&mut self) -> Result<Looked, OnceError> {
        let trust = self.trust()?;
        let checks = Checks::of(self.subscriber)?;
        if let Some(under_way) = self.history.under_way()? {
            let release = under_way.to.name.clone();
            let doubt = self.doubt(&under_way.to, &trust);
            let mut driver = self.driver(&[&under_way.from, &under_way.to], &trust)?;
            let mut roller = self.roller(&mut *driver, checks.as_ref());
            if let Some(why) = doubt {
                roller.give_up(why)?;
            }
            if let Some(outcome) = roller.resume()? {
                return Ok(Looked::Rolled(release, outcome));
            }
        }
        let store = self.subscriber.store.as_str();
        let reader = store::open(store, self.proxy.as_deref())?;
        let decided = self.decide(&*reader, &trust)?;
        let Decision::RollOut { release, .. } = &decided else {
            return Ok(Looked::Decided(decided));
        };
        // What it says is believed: what was wrong with it before is no alarm any more.
        self.history.alarm(CHANNEL, None)?;
        self.find_checks()?;
        let to = self.target(release);
        let Some(from) = self.running()? else {
            // Nothing ran that could be gone back to: a command is all that begins from nothing.
            let mut driver = self.driver(&[&to], &trust)?;
            let outcome = self.roller(&mut *driver, checks.as_ref()).roll_out(&to, &to)?;
            return Ok(Looked::Rolled(to.name, outcome));
        };
        let mut driver = self.driver(&[&from, &to], &trust)?;
        let outcome = self.roller(&mut *driver, checks.as_ref()).roll_out(&from, &to)?;
        Ok(Looked::Rolled(to.name, outcome))
    }

    /// Why a release that is under way is not to be believed any more, since its key was revoked; none where that cannot be
    /// told now: half-way there it matters more to arrive.
    fn doubt(&self, to: &Target, trust: &TrustSource) -> Option<String> {
        self.subscriber.revoked_from?;
        let reader = store::open(&self.subscriber.store, self.proxy.as_deref()).ok()?;
        let refused = proven(&*reader, trust, to).err()?;
        let is_forged = refused.outcome() == check::Outcome::Differs;
        is_forged.then(|| format!("it is not to be believed any more: {}", chain(&refused)))
    }

    /// Refuses checks whose files are not there: what fails before a roll-out as after it holds nothing up.
    fn find_checks(&self) -> Result<(), OnceError> {
        for check in &self.subscriber.checks {
            let file = match check {
                Check::Builtin(_) => None,
                Check::Conformance(specs) => specs.e2e_test.as_deref(),
                // One without a slash is looked for by the system.
                Check::Command(words) => words.first().filter(|it| it.contains('/')).map(Path::new),
                Check::Job(file) => Some(file.as_path()),
            };
            if let Some(file) = file {
                let failed = |source| OnceError::File { file: file.to_owned(), source };
                fs::metadata(file).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn roller<'b>(
        &'b mut self,
        driver: &'b mut dyn Driver,
        checks: Option<&'b Checks>,
    ) -> Roller<'b> {
        Roller { driver, history: self.history, now: self.now, say: self.say, checks }
    }

    fn trust(&self) -> Result<TrustSource, OnceError> {
        let Subscriber { key, trusted_root, revoked_from, .. } = self.subscriber;
        trust((key, *revoked_from), trusted_root.as_deref())
    }

    fn target(&self, release: &ReleaseRef) -> Target {
        let channel = self.subscriber.channel.clone();
        Target { name: ReleaseName { channel, number: release.number }, digest: release.digest }
    }

    /// What the cluster runs: as the history says, else as the cluster does.
    fn running(&self) -> Result<Option<Target>, OnceError> {
        if let Some(running) = self.history.running()? {
            return Ok(Some(running));
        }
        let RollOutBy::Devcluster(place) = &self.subscriber.driver else { return Ok(None) };
        let cluster = Cluster::open(&place.home, &place.name)?;
        let release = &cluster.state().release;
        let Ok(name) = release.name.parse() else { return Ok(None) };
        let found = Target { name, digest: release.digest };
        self.history.find(&found, (self.now)())?;
        Ok(Some(found))
    }

    /// Who rolls out, with the releases at hand that it goes between.
    fn driver(
        &self,
        targets: &[&Target],
        trust: &TrustSource,
    ) -> Result<Box<dyn Driver + 'a>, OnceError> {
        let driver = self.bare_driver(targets, trust)?;
        let Some(lease) = self.lease()? else { return Ok(driver) };
        let leased = match self.history.under_way()? {
            Some(_) => Leased::go_on(driver, lease, ((self.now)(), RENEWED)),
            None => Leased::begin(driver, lease, ((self.now)(), RENEWED)),
        };
        Ok(Box::new(leased?))
    }

    /// What keeps others from changing the cluster meanwhile.
    fn lease(&self) -> Result<Option<Lease>, OnceError> {
        let Subscriber { cluster, driver, lease, .. } = self.subscriber;
        if lease.is_none() && !matches!(driver, RollOutBy::Devcluster(_)) {
            return Ok(None);
        }
        let mut random = [0; 8];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| OnceError::Random)?;
        let random = u64::from_le_bytes(random);
        let identity = self.history.identity(&format!("{random:016x}"))?;
        let holder = format!("{cluster}-{identity}");
        Ok(match (driver, lease) {
            (_, Some(place)) => Some(Lease::of_cluster(place, holder)),
            (RollOutBy::Devcluster(place), None) => {
                Some(Lease::of_devcluster(Cluster::open(&place.home, &place.name)?, holder))
            }
            _ => None,
        })
    }

    fn bare_driver(
        &self,
        targets: &[&Target],
        trust: &TrustSource,
    ) -> Result<Box<dyn Driver>, OnceError> {
        let store = &self.subscriber.store;
        match &self.subscriber.driver {
            RollOutBy::Exec(exec) => {
                let mut driver = Exec::new(exec, store.clone());
                if self.history.under_way()?.is_none() {
                    let reader = store::open(store, self.proxy.as_deref())?;
                    for target in targets {
                        // What runs may be of another store.
                        if let Ok(proven) = proven(&*reader, trust, target) {
                            driver.know(target.digest, Versions::of(&proven.manifest));
                        }
                    }
                }
                Ok(Box::new(driver))
            }
            RollOutBy::Gitops(place) => {
                let reader = store::open(store, self.proxy.as_deref())?;
                let mut releases = Vec::new();
                for target in targets {
                    releases.push((target.digest, proven(&*reader, trust, target)?.manifest));
                }
                Ok(Box::new(Gitops::new(place.clone(), releases, &self.subscriber.state)))
            }
            RollOutBy::Devcluster(place) => {
                let origin = Origin {
                    store,
                    trust,
                    proxy: self.proxy.as_deref(),
                    goes_on: self.history.under_way()?.is_some(),
                    has_specs: self.subscriber.checks.iter().any(Check::is_of_release),
                };
                Ok(Box::new(Devcluster::open(place, targets, &origin)?))
            }
        }
    }

    /// Proves the index and the release that could be next, and chooses.
    fn decide(&mut self, reader: &dyn Reader, trust: &TrustSource) -> Result<Decision, OnceError> {
        let Subscriber { environment, channel, policy, wave, state, .. } = self.subscriber;
        let publication = Publication { reader, source: trust, environment, channel };
        let before = self.history.seen(environment)?;
        let seen = publication.look(before.as_ref())?;
        self.history.see(environment, &seen.seen(before.as_ref()))?;
        let runs = self.running()?;
        let (here, left) = match &runs {
            Some(runs) if runs.name.channel == *channel => (Some(runs.reference()), None),
            other => (None, other.as_ref().map(|runs| &runs.name)),
        };
        let running = here.as_ref();
        let held = self.held()?;
        let next = candidate(&seen.index, running, &held);
        let release =
            next.map(|next| self.prove(&publication, (&seen, next), running)).transpose()?;
        // Where this cannot be read, or not be believed, every fix is new.
        let fixed = runs.as_ref().filter(|_| release.is_some()).and_then(|runs| {
            proven(reader, trust, runs).ok().map(|proven| fixes(&proven.manifest))
        });
        let facts = release.map(|release| Facts::of(&release, fixed.as_ref()));
        let ahead = facts.as_ref().map(|_| forerunners::hear(wave, state)).unwrap_or_default();
        let (approved, paused) = (self.history.approved()?, self.history.paused()?);
        let decision = choose(&Situation {
            channel,
            index: &seen.index,
            running,
            left,
            held: &held,
            approved: &approved,
            paused: paused.as_deref(),
            facts: facts.as_ref(),
            policy,
            wave,
            ahead: &ahead,
            now: (self.now)(),
        });
        self.note(&decision, running, facts.as_ref())?;
        Ok(decision)
    }

    fn prove(
        &self,
        publication: &Publication<'_>,
        (seen, next): (&VerifiedChannel, &ReleaseRef),
        running: Option<&ReleaseRef>,
    ) -> Result<VerifiedRelease, OnceError> {
        let demands = demands(&self.subscriber.policy, running);
        Ok(publication.release(seen, next.number, &demands)?)
    }

    fn held(&self) -> Result<Vec<Held>, OnceError> {
        let channel = &self.subscriber.channel;
        let held = self.history.held()?.into_iter();
        let held = held.filter(|held| held.release.channel == *channel);
        Ok(held.map(|held| Held { number: held.release.number, reason: held.why }).collect())
    }

    /// Keeps what was decided; it is an event where it is another than last time.
    fn note(
        &mut self,
        decision: &Decision,
        running: Option<&ReleaseRef>,
        facts: Option<&Facts>,
    ) -> Result<(), OnceError> {
        let about = facts.map(|facts| &facts.release).or(running);
        let (release, why) = (about.map(|about| self.target(about).name), decision.why());
        let last = self.history.decided()?;
        if last.is_some_and(|last| last.release == release && last.why == why) {
            return Ok(());
        }
        let (what, at) = (Intent::from(decision), (self.now)());
        let (why, until) = (why.to_owned(), decision.until());
        let event = release.clone().map(|release| {
            let text = why.clone();
            Event { at, release: Some(release), what: What::Decided, text }
        });
        let decided = Decided { what, release, why, until, since: at };
        self.history.decide(&decided, event.as_ref())?;
        if let Some(event) = event {
            (self.say)(&event);
        }
        Ok(())
    }

    /// Keeps that this look was, and what somebody has to look at because of it.
    fn remember(&self, looked: &Result<Looked, OnceError>) -> Result<(), OnceError> {
        let at = (self.now)();
        let mut text = match looked {
            Ok(looked) => looked.to_string(),
            Err(error) => line(error),
        };
        // What is wrong with a release may be a page a file.
        text.truncate(text.floor_char_boundary(LONGEST_TEXT));
        self.history.looked(at, looked.is_ok(), &text)?;
        let raise = |about, alarms: bool| {
            let alarm = Alarm { since: at, text: text.clone() };
            self.history.alarm(about, alarms.then_some(&alarm))
        };
        match looked {
            Err(OnceError::Roll(RollError::Stuck { .. })) => raise(ROLL_OUT, true)?,
            Err(OnceError::Cluster(error)) if error.is_forged() => raise(CHANNEL, true)?,
            Err(OnceError::Refused(refused)) => {
                // A store that cannot be read says nothing about what it holds.
                if refused.outcome() == check::Outcome::Differs {
                    raise(CHANNEL, true)?;
                }
            }
            Err(_) => {}
            Ok(Looked::Rolled(..)) => raise(ROLL_OUT, false)?,
            Ok(Looked::Decided(decision)) => {
                raise(ROLL_OUT, false)?;
                raise(CHANNEL, matches!(decision, Decision::Alarm { .. }))?;
            }
        }
        Ok(())
    }
}

/// Proves a release that is known by its digest.
fn proven(reader: &dyn Reader, trust: &TrustSource, target: &Target) -> Result<Proven, Refused> {
    prove(reader, trust, (&*layout::manifest(&target.name), Some(target.digest)))
}

/// An error with its causes in one line, without advice and without the ends of logs: those differ at each look.
fn line(error: &OnceError) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next: Option<&dyn Error> = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        let cut = ["\nhelp:  ", "; its log:\n"].iter().filter_map(|end| text.find(end)).min();
        said.push(text.get(..cut.unwrap_or(text.len())).unwrap_or_default().to_owned());
        next = error.source();
    }
    said.dedup();
    said.join(": ")
}

/// Reads whom to believe: the release key, revoked from some entry of the log on or not, and the trusted root where one is
/// given.
pub fn trust(
    (key, revoked_from): (&Path, Option<u64>),
    trusted_root: Option<&Path>,
) -> Result<TrustSource, OnceError> {
    let read = |file: &Path| {
        fs::read(file).map_err(|source| OnceError::File { file: file.to_owned(), source })
    };
    let pem = read(key)?;
    let failed = |source| OnceError::Key { file: key.to_owned(), source };
    let public = PublicKey::from_pem(&String::from_utf8_lossy(&pem)).map_err(failed)?;
    let root = trusted_root.map(read).transpose()?;
    TrustSource::new(public, root, revoked_from).map_err(failed)
}
