//! What happened, and what is under way: an embedded database that a crash leaves whole.
//!
//! It is open in one process only; another one is told so.

use std::{fmt, path::Path};

use jiff::Timestamp;
use kdistro_formats::{Digest, ReleaseName, layout, release::ReleaseRef};
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{decide::Seen, plan::Step};

/// Everything that happened, in its order.
const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");
/// What is so now, by name.
const FACTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("facts");

/// Names of facts.
const RUNNING: &str = "running";
const UNDER_WAY: &str = "under-way";
const HELD: &str = "held";
const SEEN: &str = "seen";
const PAUSED: &str = "paused";
const APPROVED: &str = "approved";
const IDENTITY: &str = "identity";

/// A history that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// Another process has it.
    #[error(
        "{0} is in use by another kdistro-rollout\nhelp:  one serves a cluster; ask that one, or end it first"
    )]
    InUse(String),
    /// The database cannot be used.
    #[error("cannot use the history")]
    Database(#[from] redb::Error),
    /// What it holds is not what this program writes.
    #[error("the history holds something else than this program writes")]
    Content(#[from] serde_json::Error),
}

/// Something that happened.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// The release that it is about.
    pub release: ReleaseName,
    /// What.
    pub what: What,
    /// A sentence about it.
    pub text: String,
}

/// What may happen to a release.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// It is rolled out from now on.
    Began,
    /// A step of that is done.
    Step,
    /// It runs and is kept.
    Kept,
    /// Something failed: the cluster goes back.
    Failed,
    /// The cluster is back.
    RolledBack,
    /// It is not rolled out again by itself.
    Held,
    /// It may be rolled out again.
    Released,
    /// A run began that found a roll-out under way.
    Resumed,
    /// Something was decided of it that was not decided before.
    Decided,
    /// Somebody approved it.
    Approved,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Began => "began",
            Self::Step => "step",
            Self::Kept => "kept",
            Self::Failed => "failed",
            Self::RolledBack => "rolled back",
            Self::Held => "held",
            Self::Released => "released",
            Self::Resumed => "resumed",
            Self::Decided => "decided",
            Self::Approved => "approved",
        })
    }
}

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
}

/// What happened to a cluster.
pub struct History {
    database: Database,
}

impl History {
    /// Opens the history in a file, which is made when there is none.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        let database = Database::create(path).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => HistoryError::InUse(path.display().to_string()),
            error => HistoryError::Database(error.into()),
        })?;
        Ok(Self { database })
    }

    /// Everything that happened, the first first.
    pub fn events(&self) -> Result<Vec<Event>, HistoryError> {
        let read = self.database.begin_read().map_err(redb::Error::from)?;
        let table = match read.open_table(EVENTS) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(redb::Error::from(error).into()),
        };
        let mut events = Vec::new();
        for entry in table.iter().map_err(redb::Error::from)? {
            let (_, bytes) = entry.map_err(redb::Error::from)?;
            events.push(serde_json::from_slice(bytes.value())?);
        }
        Ok(events)
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

    /// What was seen of the channel last.
    pub fn seen(&self) -> Result<Option<Seen>, HistoryError> {
        self.fact(SEEN)
    }

    /// Why nothing is rolled out for now, where somebody said so.
    pub fn paused(&self) -> Result<Option<String>, HistoryError> {
        self.fact(PAUSED)
    }

    /// The releases that somebody approved.
    pub fn approved(&self) -> Result<Vec<ReleaseRef>, HistoryError> {
        Ok(self.fact(APPROVED)?.unwrap_or_default())
    }

    /// What tells this history from all others: `fresh`, where it was not asked for before.
    pub fn identity(&self, fresh: &str) -> Result<String, HistoryError> {
        if let Some(kept) = self.fact(IDENTITY)? {
            return Ok(kept);
        }
        self.keep(IDENTITY, Some(serde_json::to_vec(fresh)?))?;
        Ok(fresh.to_owned())
    }

    /// Keeps what was seen of the channel.
    pub fn see(&self, seen: &Seen) -> Result<(), HistoryError> {
        self.keep(SEEN, Some(serde_json::to_vec(seen)?))
    }

    /// Says why nothing is rolled out for now, or that all may go on.
    pub fn pause(&self, why: Option<&str>) -> Result<(), HistoryError> {
        self.keep(PAUSED, why.map(serde_json::to_vec).transpose()?)
    }

    fn keep(&self, name: &str, bytes: Option<Vec<u8>>) -> Result<(), HistoryError> {
        let transaction = self.database.begin_write().map_err(redb::Error::from)?;
        {
            let mut facts = transaction.open_table(FACTS).map_err(redb::Error::from)?;
            match bytes {
                Some(bytes) => facts.insert(name, bytes.as_slice()),
                None => facts.remove(name),
            }
            .map_err(redb::Error::from)?;
        }
        transaction.commit().map_err(redb::Error::from)?;
        Ok(())
    }

    /// Writes down what happened and what is so from now on, both or neither.
    pub fn write(&self, event: &Event, change: &Change<'_>) -> Result<(), HistoryError> {
        let (held, mut approved) = (self.held()?, self.approved()?);
        let transaction = self.database.begin_write().map_err(redb::Error::from)?;
        {
            let mut events = transaction.open_table(EVENTS).map_err(redb::Error::from)?;
            let last = events.last().map_err(redb::Error::from)?.map_or(0, |(key, _)| key.value());
            let bytes = serde_json::to_vec(event)?;
            events.insert(last + 1, bytes.as_slice()).map_err(redb::Error::from)?;
            let mut facts = transaction.open_table(FACTS).map_err(redb::Error::from)?;
            let mut put = |name: &str, bytes: Option<Vec<u8>>| -> Result<(), HistoryError> {
                match bytes {
                    Some(bytes) => facts.insert(name, bytes.as_slice()),
                    None => facts.remove(name),
                }
                .map_err(redb::Error::from)?;
                Ok(())
            };
            match change {
                Change::Nothing => {}
                Change::UnderWay(under_way) => {
                    put(UNDER_WAY, Some(serde_json::to_vec(under_way)?))?;
                }
                Change::Runs(target) => {
                    put(UNDER_WAY, None)?;
                    put(RUNNING, Some(serde_json::to_vec(target)?))?;
                }
                Change::Hold(one) => {
                    let others = held.iter().filter(|other| other.release != one.release);
                    let all: Vec<_> = others.chain([*one]).collect();
                    put(HELD, Some(serde_json::to_vec(&all)?))?;
                }
                Change::Approve(release) => {
                    approved.retain(|other| other.number != release.number);
                    approved.push((*release).clone());
                    put(APPROVED, Some(serde_json::to_vec(&approved)?))?;
                }
                Change::Release(name) => {
                    let others: Vec<_> =
                        held.iter().filter(|other| other.release != **name).collect();
                    put(HELD, Some(serde_json::to_vec(&others)?))?;
                }
            }
        }
        transaction.commit().map_err(redb::Error::from)?;
        Ok(())
    }

    fn fact<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, HistoryError> {
        let read = self.database.begin_read().map_err(redb::Error::from)?;
        let table = match read.open_table(FACTS) {
            Ok(table) => table,
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(redb::Error::from(error).into()),
        };
        let found = table.get(name).map_err(redb::Error::from)?;
        Ok(found.map(|bytes| serde_json::from_slice(bytes.value())).transpose()?)
    }
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
    /// A release is held no more.
    Release(&'a ReleaseName),
    /// A release is approved.
    Approve(&'a ReleaseRef),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(what: What) -> Event {
        let at = Timestamp::UNIX_EPOCH;
        Event { at, release: "1-20-2".parse().unwrap(), what, text: "x".to_owned() }
    }

    #[test]
    fn what_was_written_is_there_when_it_is_opened_again_and_only_one_has_it_open() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history");
        let history = History::open(&path).unwrap();
        assert_eq!((history.events().unwrap(), history.running().unwrap()), (vec![], None));
        let target = |number| Target {
            name: format!("1-20-{number}").parse().unwrap(),
            digest: Digest::from_bytes([number; 32]),
        };
        let under_way = UnderWay {
            from: target(1),
            to: target(2),
            steps: vec![Step::Snapshot],
            done: 0,
            direction: Direction::Forward,
        };
        history.write(&event(What::Began), &Change::UnderWay(&under_way)).unwrap();
        assert!(matches!(History::open(&path), Err(HistoryError::InUse(_))));
        drop(history);
        let history = History::open(&path).unwrap();
        assert_eq!(history.under_way().unwrap(), Some(under_way));
        history.write(&event(What::Kept), &Change::Runs(&target(2))).unwrap();
        assert_eq!(history.under_way().unwrap(), None);
        assert_eq!(history.running().unwrap(), Some(target(2)));
        assert_eq!(history.events().unwrap(), [event(What::Began), event(What::Kept)]);
    }

    #[test]
    fn a_release_is_held_once_until_it_is_released() {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(&folder.path().join("history")).unwrap();
        let held = |why: &str| Held {
            release: "1-20-2".parse().unwrap(),
            since: Timestamp::UNIX_EPOCH,
            why: why.to_owned(),
        };
        for why in ["a", "b"] {
            history.write(&event(What::Held), &Change::Hold(&held(why))).unwrap();
        }
        assert_eq!(history.held().unwrap(), [held("b")]);
        let name = held("b").release;
        history.write(&event(What::Released), &Change::Release(&name)).unwrap();
        assert_eq!(history.held().unwrap(), []);
    }
}
