//! What is so now.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kdistro_formats::{ChannelName, Digest, ReleaseName, layout, release::ReleaseRef};
use serde::{Deserialize, Serialize};

use super::event::{Event, What};
use crate::{decide::Decision, plan::Step, policy::Subscriber};

/// How many looks that came to different things are remembered.
const MOST_LOOKS: usize = 10;
/// How many notices wait for being sent.
const MOST_NOTICES: usize = 64;

/// A release that a cluster runs, or is to run.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Target {
    /// Its name.
    pub name: ReleaseName,
    /// The digest of its manifest.
    pub digest: Digest,
}

impl Target {
    /// Where its manifest is in a store, a folder or an address.
    pub fn manifest(&self, store: &str) -> String {
        format!("{}/{}", store.trim_end_matches('/'), layout::manifest(&self.name))
    }

    /// As the channel's index names it.
    pub fn reference(&self) -> ReleaseRef {
        ReleaseRef { number: self.name.number, digest: self.digest }
    }
}

/// Whereto a roll-out goes.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// To the new release.
    Forward,
    /// To the one before: why.
    Back(String),
}

/// A roll-out that has begun and not ended.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnderWay {
    /// What ran before.
    pub from: Target,
    /// What is to run.
    pub to: Target,
    /// The steps, in their order.
    pub steps: Vec<Step>,
    /// How many of them are done; going back, how many are still to be undone.
    pub done: usize,
    /// Whereto it goes.
    pub direction: Direction,
}

/// A release that is not rolled out by itself.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Held {
    /// Which.
    pub release: ReleaseName,
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub why: String,
    /// Whether it was tried here and failed; else somebody keeps it away.
    #[serde(default)]
    pub failed: bool,
}

/// Which cluster this is, and what it follows.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Follows {
    /// The cluster's name.
    pub cluster: String,
    /// The environment whose releases it takes.
    pub environment: String,
    /// The channel whose releases it takes.
    pub channel: ChannelName,
}

impl From<&Subscriber> for Follows {
    fn from(subscriber: &Subscriber) -> Self {
        let Subscriber { cluster, environment, channel, .. } = subscriber;
        let (cluster, environment) = (cluster.clone(), environment.clone());
        Self { cluster, environment, channel: channel.clone() }
    }
}

/// What was decided last.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Decided {
    /// What is done, or waited for.
    pub what: Intent,
    /// The release that it is about, where there is one.
    pub release: Option<ReleaseName>,
    /// Why.
    pub why: String,
    /// When to decide again, where that is known.
    pub until: Option<Timestamp>,
    /// Since when that is so.
    pub since: Timestamp,
}

/// What a decision asks for.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Intent {
    /// Nothing.
    Nothing,
    /// Time: a window, a wave, or the end of a pause.
    Wait,
    /// Somebody's word.
    Approve,
    /// A roll-out.
    RollOut,
    /// Somebody's look.
    Alarm,
}

impl From<&Decision> for Intent {
    fn from(decision: &Decision) -> Self {
        match decision {
            Decision::Nothing { .. } => Self::Nothing,
            Decision::Wait { .. } => Self::Wait,
            Decision::Approve { .. } => Self::Approve,
            Decision::RollOut { .. } => Self::RollOut,
            Decision::Alarm { .. } => Self::Alarm,
        }
    }
}

/// Something that somebody has to look at, until it is over.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Alarm {
    /// Since when.
    pub since: Timestamp,
    /// What is the matter.
    pub text: String,
}

/// Looks that came to the same, one after the other.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Look {
    /// When the first was.
    pub since: Timestamp,
    /// When the last was.
    pub at: Timestamp,
    /// How many there were.
    pub times: u64,
    /// Whether the channel's index was read and believed, and what came of it went well.
    pub succeeded: bool,
    /// What came of it.
    pub text: String,
}

/// The last looks.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Looks {
    /// When the last was that succeeded.
    pub succeeded: Option<Timestamp>,
    /// What they came to, the newest last.
    pub last: Vec<Look>,
}

impl Looks {
    /// Adds a look: to the last one, where it came to the same.
    pub(super) fn add(&mut self, at: Timestamp, succeeded: bool, text: &str) {
        if succeeded {
            self.succeeded = Some(at);
        }
        match self.last.last_mut() {
            Some(last) if last.text == text && last.succeeded == succeeded => {
                last.at = at;
                last.times += 1;
            }
            _ => {
                let text = text.to_owned();
                self.last.push(Look { since: at, at, times: 1, succeeded, text });
                let too_many = self.last.len().saturating_sub(MOST_LOOKS);
                self.last.drain(..too_many);
            }
        }
    }
}

/// Something that others are to be notified of.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Notice {
    /// Its number among all notices of this history, from 1 on.
    pub number: u64,
    /// When it happened.
    pub at: Timestamp,
    /// `kept`, `rolled-back`, `held`, `waits-for-approval` or `alarm`.
    pub what: String,
    /// The release that it is about, where it is about one.
    pub release: Option<ReleaseName>,
    /// A sentence about it.
    pub text: String,
}

/// The notices that were not sent everywhere yet, and how far each receiver is.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Notices {
    /// The number of the newest.
    pub newest: u64,
    /// What waits, the oldest first.
    pub waiting: Vec<Notice>,
    /// Receivers, such as `webhook`.
    pub receivers: BTreeMap<String, Sent>,
}

/// How far a receiver is.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sent {
    /// The last notice that it has, or that was given up.
    pub up_to: u64,
    /// How often the next one was tried in vain.
    pub tries: u32,
}

impl Notices {
    /// Lets something wait for being sent; the oldest that waits is dropped where too much does.
    pub(super) fn add(
        &mut self,
        at: Timestamp,
        (what, text): (&str, &str),
        release: Option<&ReleaseName>,
    ) {
        self.newest += 1;
        self.waiting.push(Notice {
            number: self.newest,
            at,
            what: what.to_owned(),
            release: release.cloned(),
            text: text.to_owned(),
        });
        let too_many = self.waiting.len().saturating_sub(MOST_NOTICES);
        self.waiting.drain(..too_many);
    }
}

/// How things stand: all that is shown of a cluster, as of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Which cluster this is; none before its first look.
    pub follows: Option<Follows>,
    /// What it runs, as far as it is known here.
    pub running: Option<Target>,
    /// Since when.
    pub running_since: Option<Timestamp>,
    /// The roll-out that has not ended.
    pub under_way: Option<UnderWay>,
    /// What is not rolled out by itself.
    pub held: Vec<Held>,
    /// Why nothing is rolled out for now, where somebody said so.
    pub paused: Option<String>,
    /// What was decided last.
    pub decided: Option<Decided>,
    /// The last looks.
    pub looks: Looks,
    /// What somebody has to look at, by what it is about.
    pub alarms: BTreeMap<String, Alarm>,
    /// How often what happened.
    pub counts: BTreeMap<What, u64>,
    /// How many notices wait for somebody who is to be notified.
    pub notices_waiting: usize,
    /// The last events, the first first.
    #[serde(skip)]
    pub events: Vec<Event>,
}

/// What an event changes.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// Nothing.
    Nothing,
    /// A roll-out is under way, so far.
    UnderWay(&'a UnderWay),
    /// A roll-out has ended, and this runs.
    Runs(&'a Target),
    /// A release is held.
    Hold(&'a Held),
    /// The roll-out of a cluster's first release has ended, and it is held: what runs, nobody knows.
    Leave(&'a Held),
    /// A release is held no more.
    Release(&'a ReleaseName),
    /// A release is approved.
    Approve(&'a ReleaseRef),
    /// Nothing is rolled out: why.
    Pause(&'a str),
    /// Releases are rolled out again.
    Unpause,
}
