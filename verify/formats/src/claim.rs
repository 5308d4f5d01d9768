//! The claim on a release number: what makes a number be used at most once.

use serde::{Deserialize, Serialize};

use crate::{ChannelName, CommitId, Digest, ReleaseName, release::ReleaseRef};

/// Who holds a number: the same claim resumes, another is refused.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Claim {
    /// The plan.
    pub plan: Digest,
    /// What the manifest holds beside plan and outputs.
    pub header: Header,
}

/// What the manifest holds beside plan and outputs.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Header {
    /// The channel.
    pub channel: ChannelName,
    /// The number.
    pub number: u32,
    /// The release cut before.
    pub previous: Option<ReleaseRef>,
    /// The commit of the build repository, when there is one and its tree is clean.
    pub build_repo_commit: Option<CommitId>,
    /// When the number was claimed, RFC 3339 in UTC, whole seconds.
    pub date: String,
}

impl Header {
    /// The release that it is of.
    pub fn release(&self) -> ReleaseName {
        ReleaseName { channel: self.channel.clone(), number: self.number }
    }
}
