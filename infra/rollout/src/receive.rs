//! Hears of releases: a folder, a webhook, SNS over https, SQS.
//!
//! Every way in is a [`Receiver`] and tells what came as [`Heard`], which is a reason to look at the channel's signed
//! index and nothing else: no field of it is believed, a lie costs a look, and what is withheld is found by looking
//! without any message. So one call serves both uses:
//! ```text
//! once   receive(Duration::ZERO, tell) of each way in, then a look at the index
//! run    a thread for each way in, calling receive(Duration::from_secs(20), tell) again and again, tell sends on
//! ```
//! `tell` answers [`Outcome::Done`] for what is dealt with, and [`Outcome::Later`] for what shall come again where the way
//! in can do that: a queue hands it out again, and in the end to its dead letters. A repeat has the same [`Heard::id`],
//! whichever way it comes.

pub mod folder;
pub mod http;
pub mod message;
#[cfg(feature = "aws")]
pub mod queue;
pub mod sns;
pub mod webhook;

use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
    time::Duration,
};

use kdistro_formats::{
    ChannelName, Digest,
    announcement::{Announcement, Severity},
};
use kdistro_verify::hash::sha256;

pub use self::message::MessageError;

/// What a message says. Nothing of it is true before the signed index says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The digest of the other fields but `source`, and of the manifest's digest: repeats share it, and a lie about a
    /// release has another one than the truth, so that it cannot make a subscriber deaf.
    pub id: Digest,
    /// The channel.
    pub channel: ChannelName,
    /// The release's number.
    pub number: u32,
    /// The environment that announces.
    pub environment: String,
    /// How urgent it is.
    pub severity: Severity,
    /// Whether the news is that the release should not be used any more.
    pub yanked: bool,
    /// The way it came.
    pub source: Source,
}

/// A way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A folder.
    Folder,
    /// Our own webhook.
    Webhook,
    /// SNS over https.
    Sns,
    /// A queue of SQS.
    Queue,
}

/// Something that came and is not news; one that came often is told once where the way in can tell.
#[derive(Debug, thiserror::Error)]
#[error("{way} brought {what}, which is ignored")]
pub struct Ignored {
    /// The way it came.
    pub way: Source,
    /// What it is called there: a file, a message's id.
    pub what: String,
    /// What is wrong with it.
    pub source: MessageError,
}

/// What became of something that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It needs not come again.
    Done,
    /// It shall come again, if it can.
    Later,
}

/// What is called with everything that comes.
pub type Tell<'a> = dyn FnMut(Result<Heard, Ignored>) -> Outcome + 'a;

/// A way in that cannot be used at present.
#[derive(Debug, thiserror::Error)]
#[error("cannot receive from {place}")]
pub struct ReceiveError {
    /// The way in.
    pub place: String,
    /// What is wrong.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// A way in.
pub trait Receiver: Send {
    /// Tells what has come; waits for the first at most as long as `patience`, and returns how much was told.
    fn receive(&mut self, patience: Duration, tell: &mut Tell<'_>) -> Result<usize, ReceiveError>;
}

impl Heard {
    /// Takes from an announcement what is a reason to look.
    pub fn new(said: &Announcement, source: Source) -> Self {
        let yanked = said.yanked.is_some();
        let Announcement { environment, channel, number, manifest, severity, .. } = said;
        // None of them holds a space.
        let whole =
            format!("{environment} {channel} {number} {severity:?} {yanked} {}", manifest.sha256);
        Self {
            id: sha256(whole.as_bytes()),
            channel: channel.clone(),
            number: *number,
            environment: environment.clone(),
            severity: *severity,
            yanked,
            source,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Folder => "the folder",
            Self::Webhook => "the webhook",
            Self::Sns => "SNS",
            Self::Queue => "the queue",
        })
    }
}

/// What a subscriber wants to hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The environments; no others.
    pub environments: BTreeSet<String>,
    /// The channels; no others.
    pub channels: BTreeSet<ChannelName>,
    /// The least severity. That a release was yanked is heard whatever its severity.
    pub severity: Severity,
}

/// Why something that was heard is none of the subscriber's business.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unwanted {
    /// Another environment announces.
    #[error("the environment `{found}` announces; expected {}", either(expected))]
    Environment {
        /// The one that announces.
        found: String,
        /// Those that are heard.
        expected: BTreeSet<String>,
    },
    /// It is about another channel.
    #[error("it is about channel `{found}`; expected {}", either(expected))]
    Channel {
        /// That channel.
        found: ChannelName,
        /// Those that are followed.
        expected: BTreeSet<ChannelName>,
    },
    /// It is not urgent enough.
    #[error("its severity is {found:?}; expected at least {expected:?}")]
    Severity {
        /// How urgent it is.
        found: Severity,
        /// How urgent it should be.
        expected: Severity,
    },
}

fn either<T: fmt::Display>(names: &BTreeSet<T>) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "none at all".to_owned() } else { names.join(" or ") }
}

impl Filter {
    /// Says why something should not be looked at, if so.
    pub fn check(&self, heard: &Heard) -> Result<(), Unwanted> {
        let Heard { environment, channel, severity, yanked, .. } = heard;
        if !self.environments.contains(environment) {
            let expected = self.environments.clone();
            return Err(Unwanted::Environment { found: environment.clone(), expected });
        }
        if !self.channels.contains(channel) {
            let expected = self.channels.clone();
            return Err(Unwanted::Channel { found: channel.clone(), expected });
        }
        if *severity < self.severity && !yanked {
            return Err(Unwanted::Severity { found: *severity, expected: self.severity });
        }
        Ok(())
    }
}

/// The ids of what was told, the newest so many: a repeat of what is older costs a look.
#[derive(Clone, Debug, Default)]
pub struct Known {
    ids: BTreeSet<Digest>,
    order: VecDeque<Digest>,
}

/// How many ids are remembered.
const MOST_KNOWN: usize = 10_000;

impl Known {
    /// True for an id that was told.
    pub fn has(&self, id: &Digest) -> bool {
        self.ids.contains(id)
    }

    /// Remembers an id; `false` when it was known.
    pub fn add(&mut self, id: Digest) -> bool {
        if !self.ids.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > MOST_KNOWN
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        true
    }
}

impl FromIterator<Digest> for Known {
    fn from_iter<I: IntoIterator<Item = Digest>>(ids: I) -> Self {
        let mut known = Self::default();
        for id in ids {
            known.add(id);
        }
        known
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use kdistro_formats::announcement::{Document, SCHEMA};

    use super::*;

    /// An announcement of `1-36-<number>` by production.
    pub(crate) fn announcement(number: u32) -> Announcement {
        let document = |name: &str| Document {
            uri: format!("https://releases.example/{name}"),
            sha256: sha256(format!("{name} {number}").as_bytes()),
            content: None,
        };
        Announcement {
            schema: SCHEMA.to_owned(),
            environment: "production".to_owned(),
            channel: "1-36".parse().unwrap(),
            number,
            manifest: document("kubernetes-1-36.yaml"),
            bundle: document("kubernetes-1-36.yaml.sigstore.json"),
            previous: None,
            severity: Severity::Security,
            fixes: vec!["CVE-2026-1".to_owned()],
            yanked: None,
        }
    }

    #[test]
    fn a_repeat_has_the_same_id_whatever_way_it_comes_and_a_lie_another() {
        let said = announcement(7);
        let id = Heard::new(&said, Source::Queue).id;
        assert_eq!(Heard::new(&said, Source::Folder).id, id);
        let mut repeat = said.clone();
        repeat.manifest.content = Some("text".to_owned());
        assert_eq!(Heard::new(&repeat, Source::Queue).id, id);
        let lies: [fn(&mut Announcement); 6] = [
            |it| it.environment = "staging".to_owned(),
            |it| it.channel = "1-35".parse().unwrap(),
            |it| it.number = 8,
            |it| it.severity = Severity::Routine,
            |it| it.yanked = Some(String::new()),
            |it| it.manifest.sha256 = sha256(b"other"),
        ];
        for lie in lies {
            let mut said = said.clone();
            lie(&mut said);
            assert_ne!(Heard::new(&said, Source::Queue).id, id, "{said:?}");
        }
    }

    #[test]
    fn what_is_not_asked_for_is_unwanted_by_name() {
        let filter = Filter {
            environments: BTreeSet::from(["production".to_owned()]),
            channels: ["1-35", "1-36"].map(|name| name.parse().unwrap()).into(),
            severity: Severity::Security,
        };
        let mut heard = Heard::new(&announcement(7), Source::Queue);
        filter.check(&heard).unwrap();
        heard.severity = Severity::Routine;
        let told = |heard: &Heard| filter.check(heard).unwrap_err().to_string();
        assert_eq!(told(&heard), "its severity is Routine; expected at least Security");
        heard.yanked = true;
        filter.check(&heard).unwrap();
        heard.channel = "1-34".parse().unwrap();
        assert_eq!(told(&heard), "it is about channel `1-34`; expected `1-35` or `1-36`");
        heard.environment = "staging".to_owned();
        assert_eq!(told(&heard), "the environment `staging` announces; expected `production`");
        let nothing = Filter { environments: BTreeSet::new(), ..filter.clone() };
        let error = nothing.check(&heard).unwrap_err().to_string();
        assert_eq!(error, "the environment `staging` announces; expected none at all");
    }

    #[test]
    fn the_oldest_id_is_forgotten_first() {
        let ids: Vec<_> = (0..=MOST_KNOWN).map(|i| sha256(&i.to_be_bytes())).collect();
        let mut known: Known = ids.iter().copied().collect();
        assert!(!known.has(&ids[0]) && known.has(&ids[1]) && known.has(&ids[MOST_KNOWN]));
        assert!(!known.add(ids[MOST_KNOWN]), "a repeat is new");
        assert_eq!(known.ids.len(), MOST_KNOWN);
    }
}
