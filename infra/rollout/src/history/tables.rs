//! The two tables of the database within one transaction.

use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, TableError, WriteTransaction};
use serde::{Serialize, de::DeserializeOwned};

use super::{HistoryError, event::Event};

/// Everything that happened, in its order.
const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");
/// What is so now, by name.
const FACTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("facts");

/// A table that may not be there yet.
type Found<K> = Option<redb::ReadOnlyTable<K, &'static [u8]>>;

/// Both as of one moment.
pub(super) struct Reading {
    events: Found<u64>,
    facts: Found<&'static str>,
}

/// Both as they are to be.
pub(super) struct Writing<'a> {
    events: Table<'a, u64, &'static [u8]>,
    facts: Table<'a, &'static str, &'static [u8]>,
}

impl Reading {
    pub(super) fn of(read: &ReadTransaction) -> Result<Self, HistoryError> {
        let events = there(read.open_table(EVENTS))?;
        Ok(Self { events, facts: there(read.open_table(FACTS))? })
    }

    pub(super) fn fact<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, HistoryError> {
        self.facts.as_ref().map_or(Ok(None), |facts| fact(facts, name))
    }

    /// The newest events, at most so many, the first first.
    pub(super) fn events(&self, most: usize) -> Result<Vec<Event>, HistoryError> {
        self.events.as_ref().map_or(Ok(Vec::new()), |events| newest(events, most))
    }
}

impl<'a> Writing<'a> {
    pub(super) fn of(write: &'a WriteTransaction) -> Result<Self, HistoryError> {
        let events = write.open_table(EVENTS).map_err(redb::Error::from)?;
        Ok(Self { events, facts: write.open_table(FACTS).map_err(redb::Error::from)? })
    }

    pub(super) fn fact<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, HistoryError> {
        fact(&self.facts, name)
    }

    /// Every event so far.
    pub(super) fn events(&self) -> Result<Vec<Event>, HistoryError> {
        newest(&self.events, usize::MAX)
    }

    pub(super) fn put<T: Serialize + ?Sized>(
        &mut self,
        name: &str,
        value: &T,
    ) -> Result<(), HistoryError> {
        let bytes = serde_json::to_vec(value)?;
        self.facts.insert(name, bytes.as_slice()).map_err(redb::Error::from)?;
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &str) -> Result<(), HistoryError> {
        self.facts.remove(name).map_err(redb::Error::from)?;
        Ok(())
    }

    pub(super) fn add(&mut self, event: &Event) -> Result<(), HistoryError> {
        let last = self.events.last().map_err(redb::Error::from)?.map_or(0, |(key, _)| key.value());
        let bytes = serde_json::to_vec(event)?;
        self.events.insert(last + 1, bytes.as_slice()).map_err(redb::Error::from)?;
        Ok(())
    }
}

fn there<T>(opened: Result<T, TableError>) -> Result<Option<T>, HistoryError> {
    match opened {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(redb::Error::from(error).into()),
    }
}

fn fact<T: DeserializeOwned>(
    facts: &impl ReadableTable<&'static str, &'static [u8]>,
    name: &str,
) -> Result<Option<T>, HistoryError> {
    let found = facts.get(name).map_err(redb::Error::from)?;
    Ok(found.map(|bytes| serde_json::from_slice(bytes.value())).transpose()?)
}

fn newest(
    table: &impl ReadableTable<u64, &'static [u8]>,
    most: usize,
) -> Result<Vec<Event>, HistoryError> {
    let mut events = Vec::new();
    for entry in table.iter().map_err(redb::Error::from)?.rev().take(most) {
        let (_, bytes) = entry.map_err(redb::Error::from)?;
        events.push(serde_json::from_slice(bytes.value())?);
    }
    events.reverse();
    Ok(events)
}
