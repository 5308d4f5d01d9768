//! What happened, one event after the other.

use std::fmt;

use jiff::Timestamp;
use kdistro_formats::ReleaseName;
use serde::{Deserialize, Serialize};

/// Something that happened.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// The release that it is about; none where it is about all of them.
    pub release: Option<ReleaseName>,
    /// What.
    pub what: What,
    /// A sentence about it.
    pub text: String,
}

/// What may happen to a release, or to all of them.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The cluster is checked before it is rolled out.
    Checking,
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
    /// Nothing is rolled out from now on.
    Paused,
    /// Releases are rolled out again.
    Unpaused,
}

impl What {
    /// True for what is told to whoever wants to be notified.
    pub fn is_notable(self) -> bool {
        matches!(self, Self::Kept | Self::RolledBack | Self::Held)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Checking => "checking",
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
            Self::Paused => "paused",
            Self::Unpaused => "unpaused",
        })
    }
}
