//! Reads the reports of many clusters and answers: which one runs what, which lacks a fix, which holds what since when, and
//! which has not been heard of.
//!
//! A report counts only when it is signed by the key that is known for its cluster. What does not count is said.

pub mod fixes;
pub mod forerunners;
pub mod page;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io, panic,
    path::{Path, PathBuf},
    thread,
};

use jiff::{SignedDuration, Timestamp};
use kdistro_verify::{
    check::{Outcome, chain},
    trust::{PublicKey, TrustError},
};
use serde::{Deserialize, Serialize};

use self::fixes::Fix;
use crate::{
    file::{self, FileError},
    policy::Length,
    report::{Place, PlaceError, Report, Reported, Verdict, place},
};

/// How the files of keys end.
const KEY: &str = ".pub";
/// How many reports are read at the same time: a bucket answers each one slowly.
const READERS: usize = 16;

/// How far the clocks of a cluster and of this machine may be apart.
const CLOCKS: SignedDuration = SignedDuration::from_hours(1);

/// Reports or keys that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// Nobody knows which reports there are.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The system refused.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A key is none.
    #[error("{}", file.display())]
    Key {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        source: TrustError,
    },
    /// What was seen before is none.
    #[error("{}", file.display())]
    Seen {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// What was seen cannot be kept.
    #[error(transparent)]
    File(#[from] FileError),
}

/// All clusters of which a key is known, and what does not count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fleet {
    /// Clusters whose report is believed, by name.
    pub clusters: Vec<Cluster>,
    /// Clusters whose key is known, and that have no report that counts.
    pub missing: Vec<String>,
    /// Reports that do not count.
    pub ignored: Vec<Ignored>,
}

/// A cluster as it reported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// The number of its report.
    pub number: u64,
    /// When it reported.
    pub reported: Timestamp,
    /// Whether that is longer ago than asked for, or still to come.
    pub silent: bool,
    /// What it runs.
    pub runs: Option<Reported>,
    /// What it holds.
    pub holds: Vec<Reported>,
    /// Whether it has the fix that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<Fix>,
}

/// A report that does not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ignored {
    /// Its file.
    pub file: String,
    /// Why.
    pub why: String,
}

/// The number of the newest report that was seen of each cluster.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Seen(BTreeMap<String, u64>);

impl Seen {
    /// Reads what was seen before: nothing, where there is no such file yet.
    pub fn read(file: &Path) -> Result<Self, FleetError> {
        match fs::read(file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| FleetError::Seen { file: file.to_owned(), source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(FleetError::Io { path: file.to_owned(), source }),
        }
    }

    /// Keeps it in a file.
    pub fn write(&self, file: &Path) -> Result<(), FleetError> {
        let bytes = serde_json::to_vec(self)
            .map_err(|source| FleetError::Seen { file: file.to_owned(), source })?;
        Ok(file::replace(file, &bytes)?)
    }

    /// What was seen and what is there now, whichever is newer.
    #[must_use]
    pub fn with(mut self, fleet: &Fleet) -> Self {
        for cluster in &fleet.clusters {
            let seen = self.0.entry(cluster.name.clone()).or_default();
            *seen = cluster.number.max(*seen);
        }
        self
    }
}

/// Reads the public keys of clusters from a folder: `<cluster>.pub`, PEM.
pub fn keys(folder: &Path) -> Result<BTreeMap<String, PublicKey>, FleetError> {
    let mut keys = BTreeMap::new();
    let failed = |source| FleetError::Io { path: folder.to_owned(), source };
    for cluster in place::names(folder, KEY).map_err(failed)? {
        let key = key(&folder.join(format!("{cluster}{KEY}")))?;
        keys.insert(cluster, key);
    }
    Ok(keys)
}

/// Reads the public key of a cluster, PEM.
fn key(file: &Path) -> Result<PublicKey, FleetError> {
    let failed = |source| FleetError::Io { path: file.to_owned(), source };
    let pem = fs::read_to_string(file).map_err(failed)?;
    PublicKey::from_pem(&pem).map_err(|source| FleetError::Key { file: file.to_owned(), source })
}

/// Reads the reports of a place, one reading a cluster. `seen` is what was there before.
pub fn gather(
    place: &Place,
    keys: &BTreeMap<String, PublicKey>,
    seen: &Seen,
) -> Result<Fleet, FleetError> {
    Ok(ask(place, &place.clusters()?, (keys, seen)))
}

/// Reads the reports of these clusters.
fn ask(
    place: &Place,
    clusters: &[String],
    (keys, seen): (&BTreeMap<String, PublicKey>, &Seen),
) -> Fleet {
    let mut fleet = Fleet::default();
    let believed = |name: &String| {
        let bytes = place.read(name).map_err(|error| chain(&error))?;
        judge(name, &bytes, (keys.get(name), seen))
    };
    for (name, judged) in clusters.iter().zip(at_once(clusters, &believed)) {
        match judged {
            Ok(report) => fleet.clusters.push(Cluster::of(report)),
            Err(why) => fleet.ignored.push(Ignored { file: place::file_of(name), why }),
        }
    }
    let heard: BTreeSet<_> = fleet.clusters.iter().map(|cluster| &cluster.name).collect();
    fleet.missing = keys.keys().filter(|name| !heard.contains(name)).cloned().collect();
    fleet
}

/// Does the same with each of them, several at the same time; returns what came of it, in their order.
fn at_once<T: Sync, R: Send>(all: &[T], each: &(impl Fn(&T) -> R + Sync)) -> Vec<R> {
    thread::scope(|scope| {
        let parts = all.chunks(all.len().div_ceil(READERS).max(1));
        let running: Vec<_> = parts
            .map(|part| scope.spawn(move || part.iter().map(each).collect::<Vec<_>>()))
            .collect();
        let done = running.into_iter().map(thread::ScopedJoinHandle::join);
        done.flat_map(|part| part.unwrap_or_else(|panic| panic::resume_unwind(panic))).collect()
    })
}

/// Believes a report, or says why not.
fn judge(
    name: &str,
    bytes: &[u8],
    (key, seen): (Option<&PublicKey>, &Seen),
) -> Result<Report, String> {
    let key = key.ok_or_else(|| "the key of this cluster is not known".to_owned())?;
    let report = Report::open(bytes, key).map_err(|error| chain(&error))?;
    if report.cluster != name {
        return Err(format!("it is a report of another cluster, {}", report.cluster));
    }
    match seen.0.get(name) {
        Some(newest) if report.number < *newest => {
            Err(format!("it is report {}, and report {newest} was seen before", report.number))
        }
        _ => Ok(report),
    }
}

impl Cluster {
    fn of(report: Report) -> Self {
        let runs = report.running().cloned();
        let Report { cluster: name, number, time: reported, mut releases, .. } = report;
        releases.retain(|it| it.verdict != Verdict::Kept);
        Self { name, number, reported, silent: false, runs, holds: releases, fix: None }
    }
}

impl Fleet {
    /// Marks the clusters that have been silent for longer than `most`, and those whose report is of a time still to come:
    /// that would be a sign of life for as long.
    pub fn mark_silent(&mut self, most: Length, now: Timestamp) {
        for cluster in &mut self.clusters {
            let age = now.duration_since(cluster.reported);
            cluster.silent = age > most.as_duration() || age < -CLOCKS;
        }
    }

    /// Whether everything counts, nobody is silent, everybody has what was asked for, and nothing that tells it is forged;
    /// unknown where nobody is known.
    pub fn outcome(&self) -> Outcome {
        let is_wrong =
            |it: &Cluster| it.silent || matches!(it.fix, Some(Fix::Lacks | Fix::Forged(_)));
        let is_unknown = |it: &Cluster| matches!(it.fix, Some(Fix::Unknown(_)));
        let counts = self.ignored.is_empty() && self.missing.is_empty();
        if !counts || self.clusters.iter().any(is_wrong) {
            Outcome::Differs
        } else if self.clusters.is_empty() || self.clusters.iter().any(is_unknown) {
            Outcome::Unknown
        } else {
            Outcome::Verified
        }
    }
}

#[cfg(test)]
mod tests;
