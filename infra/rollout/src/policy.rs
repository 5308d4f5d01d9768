//! What a subscriber wants: `rollout.yaml`, one file for one cluster.
//!
//! Folders and files that it names are read from the folder that it lies in, unless they are absolute.

mod checks;
mod length;
mod names;
mod places;
mod telling;
mod wave;
mod windows;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use kdistro_formats::{
    ChannelName,
    announcement::Severity,
    yaml::{self, YamlError},
};
use serde::Deserialize;

pub use length::Length;
pub use places::{
    Author, Check, Devcluster, Exec, Gitops, Hear, HearSns, HearSqs, HearWebhook, InCluster,
    RollOutBy, Specs,
};
pub use telling::{Notify, NotifySns, NotifyWebhook, Reports, Tell};
pub use wave::{Forerunner, Wave};
pub use windows::{Window, Zone, opens};

/// A subscriber: which cluster follows which channel, and how.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Subscriber {
    /// The cluster's name, as it stands in reports.
    pub cluster: String,
    /// Where releases are published: an address, or a folder.
    pub store: String,
    /// The file with the public key, PEM, that signs them.
    pub key: PathBuf,
    /// The file with the trusted root, where the store's own is not believed on the key's word.
    pub trusted_root: Option<PathBuf>,
    /// The first entry of the log for which a stolen key is not believed any more.
    pub revoked_from: Option<u64>,
    /// The environment whose releases are taken.
    pub environment: String,
    /// The channel whose releases are taken.
    pub channel: ChannelName,
    /// What is listened to.
    #[serde(default)]
    pub hear: Hear,
    /// Which releases are rolled out, and when.
    #[serde(default)]
    pub policy: Policy,
    /// When it is this cluster's turn among others.
    #[serde(default)]
    pub wave: Wave,
    /// What rolls out.
    pub driver: RollOutBy,
    /// Where the lease is that keeps others from changing the cluster meanwhile; a devcluster always has one.
    pub lease: Option<InCluster>,
    /// Where the `Rollout` of this cluster is kept, an object that says how things stand; a devcluster's own, where no
    /// kubeconfig is given.
    pub resource: Option<InCluster>,
    /// The file that says where the cluster is that is checked; a devcluster has its own.
    pub kubeconfig: Option<PathBuf>,
    /// What is checked before and after, in order.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// Where reports go, if the subscriber gives any.
    pub report: Option<Reports>,
    /// Where it is shown how things stand, if anywhere.
    pub tell: Option<Tell>,
    /// Who is notified of what happened.
    #[serde(default)]
    pub notify: Notify,
    /// The folder that remembers.
    pub state: PathBuf,
}

/// Which releases are rolled out, and when.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Policy {
    /// The smallest severity that is rolled out.
    pub severity: Severity,
    /// How long after its date a release is still believed to be the newest. Where it is older, newer ones may be kept
    /// from this subscriber.
    pub maximum_age: Option<Length>,
    /// What must attest a release, signed by the release key.
    pub required_attestations: Vec<Attestation>,
    /// When the cluster may be changed; always where none is given.
    pub windows: Vec<Window>,
    /// The clock that the windows are meant by; UTC where none is given.
    pub time_zone: Zone,
    /// The smallest severity that waits for no window; none where all do.
    pub emergency: Option<Severity>,
    /// Who says that a release is rolled out.
    pub approval: Approval,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            severity: Severity::Routine,
            maximum_age: None,
            required_attestations: Vec::new(),
            windows: Vec::new(),
            time_zone: Zone::default(),
            emergency: None,
            approval: Approval::Automatic,
        }
    }
}

impl Policy {
    /// Returns when the cluster may be changed next: `now` while it may be.
    pub fn opens(&self, now: Timestamp) -> Option<Timestamp> {
        opens(&self.windows, &self.time_zone, now)
    }

    /// True for a release that waits for no window.
    pub fn is_emergency(&self, severity: Severity) -> bool {
        self.emergency.is_some_and(|smallest| severity >= smallest)
    }
}

/// Who says that a release is rolled out.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Approval {
    /// The rest of the policy.
    Automatic,
    /// Somebody, for each release.
    Manual,
}

/// A statement about a release that must be there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Attestation {
    /// Of this kind, such as `https://slsa.dev/provenance/v1`.
    Predicate(String),
    /// In this file of the release's attestations, such as `rebuild.sigstore.json`.
    File(String),
}

/// A file that says no subscriber.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Not text.
    #[error("{}: is not UTF-8", file.display())]
    Text {
        /// The file.
        file: PathBuf,
    },
    /// Not YAML, or not of this form.
    #[error("{}", file.display())]
    Yaml {
        /// The file.
        file: PathBuf,
        /// What is wrong where.
        source: YamlError,
    },
    /// A field that does not hold what it should.
    #[error("{}: `{field}` {found}; expected {expected}", file.display())]
    Field {
        /// The file.
        file: PathBuf,
        /// The field's path.
        field: String,
        /// What stands there. It is repeated only where it can be no secret.
        found: String,
        /// What should.
        expected: &'static str,
    },
}

impl Subscriber {
    /// Reads a subscriber's file. `file` is its path, which errors name and other paths begin at.
    pub fn read(file: &Path, bytes: &[u8]) -> Result<Self, PolicyError> {
        let text =
            str::from_utf8(bytes).map_err(|_| PolicyError::Text { file: file.to_owned() })?;
        let read = yaml::from_str(text);
        let mut subscriber: Self = read.map_err(|source| PolicyError::Yaml {
            file: file.to_owned(),
            source: without_addresses(source),
        })?;
        names::check(&subscriber).map_err(|wrong| PolicyError::Field {
            file: file.to_owned(),
            field: wrong.field,
            found: wrong.found,
            expected: wrong.expected,
        })?;
        subscriber.begin_at(file.parent().unwrap_or(Path::new("")));
        Ok(subscriber)
    }
}

/// An address may hold a password: where one stands in a wrong place, it is not repeated.
fn without_addresses(mut error: YamlError) -> YamlError {
    if error.message.contains("://") {
        "an address stands where none is expected".clone_into(&mut error.message);
    }
    if error.path.contains("://") {
        ".".clone_into(&mut error.path);
    }
    error
}

#[cfg(test)]
mod tests;
