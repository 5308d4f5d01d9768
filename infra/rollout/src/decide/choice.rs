//! The choice itself: from what is known to what is done next, with a sentence that says why. It reads nothing.

mod turn;

use std::collections::BTreeSet;

use jiff::Timestamp;
use kdistro_formats::{
    ChannelName, Digest, ReleaseName,
    announcement::Severity,
    channel::{ChannelStatus, ReleaseChannel},
    release::{AppliedPatch, Release, ReleaseRef},
};

use super::verified::VerifiedRelease;
use crate::{
    fleet::Fleet,
    policy::{Approval, Length, Policy, Wave},
};

/// All that a decision depends on.
#[derive(Clone, Debug)]
pub struct Situation<'a> {
    /// The channel that is followed.
    pub channel: &'a ChannelName,
    /// Its verified index.
    pub index: &'a ReleaseChannel,
    /// What runs of this channel; none before the first roll-out.
    pub running: Option<&'a ReleaseRef>,
    /// What runs of another channel, which is left for this one.
    pub left: Option<&'a ReleaseName>,
    /// Releases that are not to be rolled out, each with the reason.
    pub held: &'a [Held],
    /// Releases that somebody approved.
    pub approved: &'a [ReleaseRef],
    /// Why nothing is rolled out for now, where somebody said so.
    pub paused: Option<&'a str>,
    /// What is known of the [`candidate`], once it was verified.
    pub facts: Option<&'a Facts>,
    /// Which releases are wanted, and when.
    pub policy: &'a Policy,
    /// When it is this cluster's turn.
    pub wave: &'a Wave,
    /// What the clusters report that go before; nobody is believed of whom it says nothing.
    pub ahead: &'a Fleet,
    /// The time.
    pub now: Timestamp,
}

/// A release that is not to be rolled out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its number.
    pub number: u32,
    /// Why.
    pub reason: String,
}

/// What is known of a verified release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Which one.
    pub release: ReleaseRef,
    /// When its number was claimed.
    pub date: Timestamp,
    /// How urgent it is for this cluster.
    pub severity: Severity,
}

/// What is done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing is to be done.
    Nothing {
        /// Why.
        why: String,
    },
    /// A release will be rolled out later.
    Wait {
        /// Which.
        release: ReleaseRef,
        /// When to decide again; none where it depends on somebody, or on other clusters.
        until: Option<Timestamp>,
        /// Why.
        why: String,
    },
    /// Somebody has to approve a release.
    Approve {
        /// Which.
        release: ReleaseRef,
        /// Why.
        why: String,
    },
    /// A release is rolled out now.
    RollOut {
        /// Which.
        release: ReleaseRef,
        /// Why.
        why: String,
    },
    /// Somebody has to look: nothing is done by itself.
    Alarm {
        /// What is the matter.
        why: String,
    },
}

impl Decision {
    /// The sentence that says why, in plain words.
    pub fn why(&self) -> &str {
        match self {
            Self::Nothing { why }
            | Self::Wait { why, .. }
            | Self::Approve { why, .. }
            | Self::RollOut { why, .. }
            | Self::Alarm { why } => why,
        }
    }

    /// When to decide again, where that is known.
    pub fn until(&self) -> Option<Timestamp> {
        if let Self::Wait { until, .. } = self { *until } else { None }
    }
}

impl Facts {
    /// Tells what a choice needs of a verified release.
    ///
    /// That is as its most urgent patch which fixes what the running release (`fixed`) does not; where that is not known, as
    /// the most urgent which fixes anything. What an announcement said of it counts for nothing.
    pub fn of(release: &VerifiedRelease, fixed: Option<&BTreeSet<String>>) -> Self {
        let severity = severity(patches(&release.manifest), fixed);
        Self { release: release.reference(), date: release.date, severity }
    }
}

/// The CVEs that the patches of a release fix.
pub fn fixes(manifest: &Release) -> BTreeSet<String> {
    patches(manifest).flat_map(|patch| patch.fixes.iter().cloned()).collect()
}

fn patches(manifest: &Release) -> impl Iterator<Item = &AppliedPatch> {
    manifest.status.components.iter().flat_map(|it| &it.patches)
}

fn severity<'a>(
    patches: impl Iterator<Item = &'a AppliedPatch>,
    fixed: Option<&BTreeSet<String>>,
) -> Severity {
    let is_new = |fix: &String| !fixed.is_some_and(|fixed| fixed.contains(fix));
    let new = patches.filter(|patch| patch.fixes.iter().any(is_new));
    let severity = |patch: &AppliedPatch| {
        if patch.critical { Severity::Critical } else { Severity::Security }
    };
    new.map(severity).max().unwrap_or(Severity::Routine)
}

/// Returns the newest release that may follow on the running one: offered, not yanked, not withheld, not held, and of a
/// higher number. It is what has to be verified before [`choose`].
pub fn candidate<'a>(
    index: &'a ReleaseChannel,
    running: Option<&ReleaseRef>,
    held: &[Held],
) -> Option<&'a ReleaseRef> {
    let status = &index.status;
    let newest = running.map_or(0, |running| running.number);
    let ahead = status.releases.iter().filter(|it| it.number > newest);
    ahead
        .filter(|it| unfit(status, it.number).is_none())
        .filter(|it| !held.iter().any(|held| held.number == it.number))
        .max_by_key(|it| it.number)
}

/// Chooses what is done next. Never a downgrade, never a release that is yanked, withheld, held or not verified.
///
/// In this order: whether the running release is known, whether there is a newer one, whether it is wanted at all
/// (pause, severity, age), whether it is approved, whether it is this cluster's turn (some time after the release's date,
/// and behind the clusters that go before), whether a window is open. An emergency waits for no window, and for the rest,
/// its turn too, as any other. A yanked release is left for any newer one.
pub fn choose(situation: &Situation<'_>) -> Decision {
    if let Some(why) = situation.strange() {
        return Decision::Alarm { why };
    }
    let Some(release) = candidate(situation.index, situation.running, situation.held) else {
        return situation.nothing_newer();
    };
    let Some(facts) = situation.facts.filter(|facts| facts.release == *release) else {
        let why = format!("{} is not verified yet", situation.named(release.number));
        return Decision::Nothing { why };
    };
    situation.admit(facts).unwrap_or_else(|| situation.when(facts))
}

impl Situation<'_> {
    fn named(&self, number: u32) -> String {
        ReleaseName { channel: self.channel.clone(), number }.to_string()
    }

    /// As what the index lists a number.
    fn listed(&self, number: u32) -> Option<Digest> {
        let status = &self.index.status;
        let offered = status.releases.iter().find(|it| it.number == number).map(|it| it.digest);
        offered.or_else(|| status.withheld.iter().find(|it| it.number == number)?.digest)
    }

    /// Why the running release should be left, where that is so.
    fn unfit_running(&self) -> Option<String> {
        unfit(&self.index.status, self.running?.number)
    }

    /// Says what is strange about the running release in the eyes of the index.
    fn strange(&self) -> Option<String> {
        if let Some(left) = self.left {
            return out_of_reach(left, self.channel);
        }
        let running = self.running?;
        let name = self.named(running.number);
        let withheld = self.index.status.withheld.iter().find(|it| it.number == running.number);
        match (self.listed(running.number), withheld) {
            (Some(digest), _) if digest != running.digest => Some(format!(
                "{name} runs as {}, but the channel's index lists it as {digest}",
                running.digest
            )),
            (None, None) => Some(format!("{name} runs, but the channel's index does not list it")),
            _ => None,
        }
    }

    /// Nothing can be rolled out.
    fn nothing_newer(&self) -> Decision {
        let status = &self.index.status;
        let Some(running) = self.running else {
            let why = format!("channel {} offers no release that can be used", self.channel);
            return Decision::Nothing { why: why + &self.passed_over(0) };
        };
        let (name, passed) = (self.named(running.number), self.passed_over(running.number));
        if let Some(reason) = self.unfit_running() {
            let why =
                format!("{name}, which runs, {reason}; there is nothing newer to go to{passed}");
            return Decision::Alarm { why };
        }
        let newest = status.releases.iter().map(|it| it.number).max();
        let why = if newest == Some(running.number) {
            format!("{name} runs, which is the newest of channel {}", self.channel)
        } else {
            format!("{name} runs, and nothing newer can be used{passed}")
        };
        Decision::Nothing { why }
    }

    /// Says which newer releases are not used, and why.
    fn passed_over(&self, running: u32) -> String {
        let status = &self.index.status;
        let ahead = status.releases.iter().map(|it| it.number).filter(|number| *number > running);
        let reasons = ahead.filter_map(|number| {
            let held = || {
                let held = self.held.iter().find(|held| held.number == number)?;
                Some(format!("is held: {}", held.reason))
            };
            let reason = unfit(status, number).or_else(held)?;
            Some(format!("; {} {reason}", self.named(number)))
        });
        reasons.collect()
    }

    /// Says why a release is not rolled out at all, or not before somebody says so.
    fn admit(&self, facts: &Facts) -> Option<Decision> {
        let release = facts.release.clone();
        let name = self.named(release.number);
        if let Some(reason) = self.paused {
            let why = format!("{name} waits, since roll-outs are paused: {reason}");
            return Some(Decision::Wait { release, until: None, why });
        }
        let smallest = self.policy.severity;
        if facts.severity < smallest && self.unfit_running().is_none() && self.running.is_some() {
            let (found, smallest) = (word(facts.severity), word(smallest));
            let why = format!("{name} is {found}; the policy asks for {smallest} at least");
            return Some(Decision::Nothing { why });
        }
        if let Some(most) = self.policy.maximum_age.filter(|most| self.is_older(facts, *most)) {
            let why = format!(
                "{name}, the newest that can be used, is of {}, more than {most} ago: newer ones may be kept from this cluster",
                facts.date
            );
            return Some(Decision::Alarm { why });
        }
        let is_approved = self.approved.contains(&release);
        if self.policy.approval == Approval::Manual && !is_approved {
            let why = format!("{name} is verified, and waits for somebody to approve it");
            return Some(Decision::Approve { release, why });
        }
        None
    }

    fn is_older(&self, facts: &Facts, most: Length) -> bool {
        self.now.duration_since(facts.date) > most.as_duration()
    }

    /// Says when a release is rolled out.
    fn when(&self, facts: &Facts) -> Decision {
        let release = facts.release.clone();
        let name = self.named(release.number);
        let turn = facts.date.saturating_add(self.wave.after.as_duration());
        // Beyond all time there is no turn.
        let turn = turn.unwrap_or(Timestamp::MAX);
        if self.now < turn {
            let why = format!(
                "{name} is rolled out here {} after its date, {}",
                self.wave.after, facts.date
            );
            return Decision::Wait { release, until: Some(turn), why };
        }
        if let Some(lagging) = self.lagging(&release) {
            let why = format!("{name} waits: {lagging}");
            return Decision::Wait { release, until: None, why };
        }
        let is_emergency = self.policy.is_emergency(facts.severity);
        let opens = self.policy.opens(self.now);
        if opens != Some(self.now) && !is_emergency {
            let why = match opens {
                Some(opens) => format!("{name} waits for the next window, which opens at {opens}"),
                None => format!("{name} waits for a window, and none opens"),
            };
            return Decision::Wait { release, until: opens, why };
        }
        let mut why = match (self.running, self.unfit_running()) {
            (Some(running), Some(reason)) => {
                format!(
                    "{name} is rolled out: {}, which runs, {reason}",
                    self.named(running.number)
                )
            }
            (Some(running), None) => {
                format!("{name} is rolled out: it is newer than {}", self.named(running.number))
            }
            (None, _) => match self.left {
                Some(left) => {
                    format!("{name} is rolled out: channel {} follows on {left}", self.channel)
                }
                None => format!("{name} is rolled out: it is the first here"),
            },
        };
        if opens != Some(self.now) {
            why = format!("{why}, and {} releases wait for no window", word(facts.severity));
        }
        Decision::RollOut { release, why }
    }
}

/// Why a cluster that runs a release of another channel cannot go to this one.
///
/// Source: Kubernetes, "Version Skew Policy": minor versions are not skipped, and there is no way back.
fn out_of_reach(left: &ReleaseName, channel: &ChannelName) -> Option<String> {
    let minor = |channel: &ChannelName| {
        let (major, minor) = channel.major_minor();
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    let (found, wanted) = (minor(&left.channel), minor(channel));
    if wanted < found {
        return Some(format!("{left} runs, and channel {channel} is an older one"));
    }
    let next = found.map(|(major, minor)| (major, minor.saturating_add(1)));
    (wanted != next).then(|| {
        format!("{left} runs, and from there channel {channel} cannot be reached at once: follow each minor version in turn")
    })
}

/// Why a number should not be used, where the index says so.
fn unfit(status: &ChannelStatus, number: u32) -> Option<String> {
    let yanked = status.yanked.iter().find(|it| it.number == number);
    let withheld = status.withheld.iter().find(|it| it.number == number);
    let yanked = yanked.map(|it| format!("was yanked: {}", it.reason));
    yanked.or_else(|| withheld.map(|it| format!("is withheld: {}", it.reason)))
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Routine => "routine",
        Severity::Security => "security",
        Severity::Critical => "critical",
    }
}

#[cfg(test)]
mod tests;
