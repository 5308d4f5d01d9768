//! What steps gave, by key: the cache.

use std::{collections::BTreeMap, fs, io, path::PathBuf};

use kdistro_container::Isolation;
use kdistro_formats::{
    Digest,
    plan::{Check, OutputRef, StepBody},
};
use serde::{Deserialize, Serialize};

use crate::home::{Home, write_whole};

/// What one step gave, and how it ran.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StepRecord {
    /// The step's name.
    pub name: String,
    /// What it did, so that a later plan can say what changed.
    pub body: StepBody,
    /// Its outputs.
    pub outputs: BTreeMap<String, Output>,
    /// The checks that were passed.
    pub checks: Vec<Check>,
    /// Wall time in seconds.
    pub seconds: f64,
    /// CPU time in seconds.
    pub cpu_seconds: f64,
    /// The most memory it used, where that could be measured.
    pub peak_memory_bytes: Option<u64>,
    /// What the container really enforced.
    pub isolation: Isolation,
}

/// One output.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Output {
    /// Its content.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// A record that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file system refused.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What steps gave, by key.
#[derive(Clone, Debug, Default)]
pub struct Records(BTreeMap<Digest, StepRecord>);

impl Records {
    /// Remembers what a step gave.
    pub fn insert(&mut self, key: Digest, record: StepRecord) {
        self.0.insert(key, record);
    }

    /// True when the step has run.
    pub fn has(&self, key: &Digest) -> bool {
        self.0.contains_key(key)
    }

    /// Returns what one step gave.
    pub fn record(&self, key: &Digest) -> Option<&StepRecord> {
        self.0.get(key)
    }

    /// Returns an output's content.
    pub fn output(&self, output: &OutputRef) -> Option<Digest> {
        Some(self.0.get(&output.step)?.outputs.get(&output.name)?.digest)
    }
}

impl StepRecord {
    /// Reads what a step gave; a record that cannot be understood counts as none.
    pub fn read(home: &Home, key: &Digest) -> Result<Option<Self>, RecordError> {
        let path = path(home, key);
        match fs::read(&path) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(RecordError::Io { path, source }),
        }
    }

    /// Writes the record, whole or not at all.
    pub fn write(&self, home: &Home, key: &Digest) -> Result<(), RecordError> {
        let bytes = serde_json::to_vec(self).map_err(io::Error::from);
        let path = path(home, key);
        let failed = |source| RecordError::Io { path: path.clone(), source };
        write_whole(&path, &bytes.map_err(failed)?).map_err(failed)
    }
}

fn path(home: &Home, key: &Digest) -> PathBuf {
    home.steps().join(format!("{}.json", key.hex()))
}
