//! What happened, and what is under way: an embedded database that a crash leaves whole.
//!
//! Any number of processes may have it open, so that others can ask and steer while a roll-out is under way. Only one
//! looks and rolls out at a time: whoever has the [`Turn`].

mod event;
mod facts;
mod opening;
mod tables;
mod turn;
mod wake;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use kdistro_checks::Report;
use kdistro_formats::release::ReleaseRef;
use redb::{Database, ReadableDatabase};
use serde::{Serialize, de::DeserializeOwned};

use self::tables::{Reading, Writing};
use crate::decide::Seen;

pub use self::{
    event::{Event, What},
    facts::{
        Alarm, Change, Decided, Direction, Follows, Held, Intent, Look, Looks, Notice, Notices,
        Sent, Standing, Target, UnderWay,
    },
    opening::HistoryError,
    turn::Turn,
    wake::Wake,
};

/// Names of facts.
const RUNNING: &str = "running";
const RUNNING_SINCE: &str = "running-since";
const UNDER_WAY: &str = "under-way";
const HELD: &str = "held";
const SEEN: &str = "seen";
const PAUSED: &str = "paused";
const APPROVED: &str = "approved";
const FOLLOWS: &str = "follows";
const DECIDED: &str = "decided";
const LOOKS: &str = "looks";
const ALARMS: &str = "alarms";
const COUNTS: &str = "counts";
const CHECKED: &str = "checked";
const IDENTITY: &str = "identity";
const NOTICES: &str = "notices";
const REPORTED: &str = "reported";

/// What alarms are about: an index or release that is not to be believed, and a roll-out that goes neither on nor back.
pub const CHANNEL: &str = "channel";
/// See [`CHANNEL`].
pub const ROLL_OUT: &str = "roll-out";

/// What others are notified of where a release waits for somebody's word.
const WAITS: &str = "waits-for-approval";

/// What happened to a cluster.
pub struct History {
    /// There until it is dropped.
    database: Option<Database>,
    path: PathBuf,
}

impl History {
    /// Opens the history in a file, which is made when there is none, as is its folder.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        let database = opening::open(path)?;
        Ok(Self { database: Some(database), path: path.to_owned() })
    }

    /// Takes the turn to look and to roll out; fails while another has it.
    pub fn turn(&self) -> Result<Turn, HistoryError> {
        Turn::take(&self.path)
    }

    /// What tells who waits that somebody steered.
    pub fn wake(&self) -> Wake {
        Wake::of(&self.path)
    }

    /// Everything that happened, the first first.
    pub fn events(&self) -> Result<Vec<Event>, HistoryError> {
        self.read(|read| read.events(usize::MAX))
    }

    /// How things stand, with at most so many of the last events.
    pub fn standing(&self, events: usize) -> Result<Standing, HistoryError> {
        self.read(|read| {
            let notices: Notices = read.fact(NOTICES)?.unwrap_or_default();
            Ok(Standing {
                follows: read.fact(FOLLOWS)?,
                running: read.fact(RUNNING)?,
                running_since: read.fact(RUNNING_SINCE)?,
                under_way: read.fact(UNDER_WAY)?,
                held: read.fact(HELD)?.unwrap_or_default(),
                paused: read.fact(PAUSED)?,
                decided: read.fact(DECIDED)?,
                looks: read.fact(LOOKS)?.unwrap_or_default(),
                alarms: read.fact(ALARMS)?.unwrap_or_default(),
                counts: read.fact(COUNTS)?.unwrap_or_default(),
                notices_waiting: notices.waiting.len(),
                events: read.events(events)?,
            })
        })
    }

    /// What the cluster runs, as far as it is known here.
    pub fn running(&self) -> Result<Option<Target>, HistoryError> {
        self.fact(RUNNING)
    }

    /// The roll-out that has not ended.
    pub fn under_way(&self) -> Result<Option<UnderWay>, HistoryError> {
        self.fact(UNDER_WAY)
    }

    /// What is not rolled out by itself.
    pub fn held(&self) -> Result<Vec<Held>, HistoryError> {
        Ok(self.fact(HELD)?.unwrap_or_default())
    }

    /// What was seen of an environment.
    pub fn seen(&self, environment: &str) -> Result<Option<Seen>, HistoryError> {
        self.fact(&seen_of(environment))
    }

    /// Why nothing is rolled out for now, where somebody said so.
    pub fn paused(&self) -> Result<Option<String>, HistoryError> {
        self.fact(PAUSED)
    }

    /// The releases that somebody approved.
    pub fn approved(&self) -> Result<Vec<ReleaseRef>, HistoryError> {
        Ok(self.fact(APPROVED)?.unwrap_or_default())
    }

    /// What was decided last.
    pub fn decided(&self) -> Result<Option<Decided>, HistoryError> {
        self.fact(DECIDED)
    }

    /// What others are to be notified of.
    pub fn notices(&self) -> Result<Notices, HistoryError> {
        Ok(self.fact(NOTICES)?.unwrap_or_default())
    }

    /// What was reported last.
    pub(crate) fn reported<T: DeserializeOwned>(&self) -> Result<Option<T>, HistoryError> {
        self.fact(REPORTED)
    }

    /// What tells this history from all others: `fresh`, where it was not asked for before.
    pub fn identity(&self, fresh: &str) -> Result<String, HistoryError> {
        if let Some(kept) = self.fact(IDENTITY)? {
            return Ok(kept);
        }
        self.change(|facts| facts.put(IDENTITY, fresh))?;
        Ok(fresh.to_owned())
    }

    /// Keeps what was seen of an environment.
    pub fn see(&self, environment: &str, seen: &Seen) -> Result<(), HistoryError> {
        self.change(|facts| facts.put(&seen_of(environment), seen))
    }

    /// What was checked before the last roll-out.
    pub fn checked(&self) -> Result<Option<Report>, HistoryError> {
        self.fact(CHECKED)
    }

    /// Keeps what was checked before a roll-out.
    pub fn check(&self, report: &Report) -> Result<(), HistoryError> {
        self.change(|facts| facts.put(CHECKED, report))
    }

    /// Keeps what the cluster was found to run, before anything was rolled out.
    pub fn find(&self, running: &Target, at: Timestamp) -> Result<(), HistoryError> {
        self.change(|facts| {
            facts.put(RUNNING_SINCE, &at)?;
            facts.put(RUNNING, running)
        })
    }

    /// Says which cluster this is.
    pub fn follow(&self, follows: &Follows) -> Result<(), HistoryError> {
        if self.fact(FOLLOWS)?.as_ref() == Some(follows) {
            return Ok(());
        }
        self.change(|facts| facts.put(FOLLOWS, follows))
    }

    /// Keeps what was decided; with an event, where it is another than before. Others are notified where it is somebody's
    /// turn.
    pub fn decide(&self, decided: &Decided, event: Option<&Event>) -> Result<(), HistoryError> {
        self.change(|facts| {
            facts.put(DECIDED, decided)?;
            let Some(event) = event else { return Ok(()) };
            if decided.what == Intent::Approve {
                let release = event.release.as_ref();
                change_notices(facts, |it| it.add(event.at, (WAITS, &event.text), release))?;
            }
            note(facts, event)
        })
    }

    /// Keeps that a look came to an end, and to which.
    pub fn looked(&self, at: Timestamp, succeeded: bool, text: &str) -> Result<(), HistoryError> {
        self.change(|facts| {
            let mut looks: Looks = facts.fact(LOOKS)?.unwrap_or_default();
            looks.add(at, succeeded, text);
            facts.put(LOOKS, &looks)
        })
    }

    /// Raises an alarm about something, such as [`CHANNEL`], or says with `None` that it is over. Others are notified of
    /// what is new; a roll-out that does not come to its end is one matter, whatever each try says.
    pub fn alarm(&self, about: &str, alarm: Option<&Alarm>) -> Result<(), HistoryError> {
        self.change(|facts| {
            let mut alarms: BTreeMap<String, Alarm> = facts.fact(ALARMS)?.unwrap_or_default();
            let before = alarms.remove(about);
            let Some(alarm) = alarm else {
                return before.map_or(Ok(()), |_| facts.put(ALARMS, &alarms));
            };
            if before.as_ref().is_some_and(|before| before.text == alarm.text) {
                return Ok(());
            }
            if let Some(before) = before.filter(|_| about == ROLL_OUT) {
                let alarm = Alarm { since: before.since, text: alarm.text.clone() };
                alarms.insert(about.to_owned(), alarm);
                return facts.put(ALARMS, &alarms);
            }
            alarms.insert(about.to_owned(), alarm.clone());
            change_notices(facts, |it| it.add(alarm.since, ("alarm", &alarm.text), None))?;
            facts.put(ALARMS, &alarms)
        })
    }

    /// Changes what others are to be notified of, and how far each receiver is.
    pub fn change_notices(&self, change: impl FnOnce(&mut Notices)) -> Result<(), HistoryError> {
        self.change(|facts| change_notices(facts, change))
    }

    /// Keeps what was reported.
    pub(crate) fn report<T: Serialize>(&self, reported: &T) -> Result<(), HistoryError> {
        self.change(|facts| facts.put(REPORTED, reported))
    }

    /// Writes down what happened and what is so from now on, both or neither.
    pub fn write(&self, event: &Event, change: &Change<'_>) -> Result<(), HistoryError> {
        self.change(|facts| {
            note(facts, event)?;
            apply(facts, change, event.at)
        })
    }

    fn database(&self) -> Result<&Database, HistoryError> {
        self.database.as_ref().ok_or_else(|| HistoryError::Damaged(self.path.display().to_string()))
    }

    /// The one place that reads: all as of one moment.
    fn read<T>(
        &self,
        read: impl FnOnce(&Reading) -> Result<T, HistoryError>,
    ) -> Result<T, HistoryError> {
        opening::guarded(&self.path, || {
            read(&Reading::of(&self.database()?.begin_read().map_err(redb::Error::from)?)?)
        })
    }

    fn fact<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, HistoryError> {
        self.read(|read| read.fact(name))
    }

    /// The one place that writes: all of a change or nothing of it.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Writing<'_>) -> Result<T, HistoryError>,
    ) -> Result<T, HistoryError> {
        opening::guarded(&self.path, || {
            let transaction = self.database()?.begin_write().map_err(redb::Error::from)?;
            let changed = change(&mut Writing::of(&transaction)?)?;
            transaction.commit().map_err(redb::Error::from)?;
            Ok(changed)
        })
    }
}

impl Drop for History {
    fn drop(&mut self) {
        // What panicked before may do so again while it is closed, and nothing is lost: what was written lies on the disk.
        let database = self.database.take();
        let _ = opening::guarded(&self.path, || {
            drop(database);
            Ok(())
        });
    }
}

/// The name of what was seen of an environment.
fn seen_of(environment: &str) -> String {
    format!("{SEEN}/{environment}")
}

/// Adds an event, counts it, and lets others be notified of it where they want to know.
fn note(facts: &mut Writing<'_>, event: &Event) -> Result<(), HistoryError> {
    let mut counts: BTreeMap<What, u64> = match facts.fact(COUNTS)? {
        Some(counts) => counts,
        // The history began before it counted.
        None => count(&facts.events()?),
    };
    *counts.entry(event.what).or_default() += 1;
    facts.put(COUNTS, &counts)?;
    if event.what.is_notable() {
        let what = event.what.to_string().replace(' ', "-");
        let release = event.release.as_ref();
        change_notices(facts, |it| it.add(event.at, (&what, &event.text), release))?;
    }
    facts.add(event)
}

fn change_notices(
    facts: &mut Writing<'_>,
    change: impl FnOnce(&mut Notices),
) -> Result<(), HistoryError> {
    let mut notices: Notices = facts.fact(NOTICES)?.unwrap_or_default();
    change(&mut notices);
    facts.put(NOTICES, &notices)
}

fn count(events: &[Event]) -> BTreeMap<What, u64> {
    let mut counts = BTreeMap::new();
    for event in events {
        *counts.entry(event.what).or_default() += 1;
    }
    counts
}

fn apply(facts: &mut Writing<'_>, change: &Change<'_>, at: Timestamp) -> Result<(), HistoryError> {
    match change {
        Change::Nothing => Ok(()),
        Change::UnderWay(under_way) => facts.put(UNDER_WAY, under_way),
        Change::Runs(target) => {
            facts.remove(UNDER_WAY)?;
            if facts.fact::<Target>(RUNNING)?.as_ref() != Some(target) {
                facts.put(RUNNING_SINCE, &at)?;
            }
            facts.put(RUNNING, target)
        }
        Change::Hold(one) => hold(facts, one),
        Change::Leave(one) => {
            facts.remove(UNDER_WAY)?;
            hold(facts, one)
        }
        Change::Release(name) => {
            let mut held: Vec<Held> = facts.fact(HELD)?.unwrap_or_default();
            held.retain(|other| other.release != **name);
            facts.put(HELD, &held)
        }
        Change::Approve(release) => {
            let mut approved: Vec<ReleaseRef> = facts.fact(APPROVED)?.unwrap_or_default();
            approved.retain(|other| other.number != release.number);
            approved.push((*release).clone());
            facts.put(APPROVED, &approved)
        }
        Change::Pause(why) => facts.put(PAUSED, *why),
        Change::Unpause => facts.remove(PAUSED),
    }
}

fn hold(facts: &mut Writing<'_>, one: &Held) -> Result<(), HistoryError> {
    let mut held: Vec<Held> = facts.fact(HELD)?.unwrap_or_default();
    held.retain(|other| other.release != one.release);
    held.push(one.clone());
    facts.put(HELD, &held)
}

#[cfg(test)]
mod tests;
