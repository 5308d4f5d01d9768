//! The signed index of a channel: `kind: ReleaseChannel`.
//!
//! Source: EKS Distro, `distro.eks.amazonaws.com/v1alpha1`, with the chain of releases added.

use serde::{Deserialize, Serialize};

use crate::{
    ChannelName, Digest,
    release::{API_VERSION, EKS_D_API_VERSION, ManifestError, Metadata, ReleaseRef},
    yaml,
};

/// The index of a channel.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ReleaseChannel {
    /// [`API_VERSION`], or EKS-D's.
    pub api_version: String,
    /// `ReleaseChannel`.
    pub kind: String,
    /// The resource's name: the channel.
    pub metadata: Metadata,
    /// Where releases are announced.
    pub spec: ChannelSpec,
    /// What was released.
    pub status: ChannelStatus,
}

/// Where a channel's releases are announced.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ChannelSpec {
    /// The channel. EKS-D leaves it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<ChannelName>,
    /// Which environment signed this index. EKS-D leaves it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The topic, when there is one.
    #[serde(default, rename = "snsTopicARN", skip_serializing_if = "Option::is_none")]
    pub sns_topic_arn: Option<String>,
}

/// What was released in a channel.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ChannelStatus {
    /// True while releases are made.
    pub active: bool,
    /// The number of the newest release, 0 before the first.
    pub latest_release: u32,
    /// Every published release, ascending by number.
    #[serde(default)]
    pub releases: Vec<ReleaseRef>,
    /// The day after which no more releases are made, `YYYY-MM-DD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supported_until: Option<String>,
    /// Numbers that were cut and are not offered, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<Withheld>,
    /// Releases that should no longer be used, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub yanked: Vec<Yanked>,
}

/// A number that was cut and is not offered.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Withheld {
    /// The number.
    pub number: u32,
    /// The manifest's digest, where one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Why.
    pub reason: String,
}

/// A release that should no longer be used.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Yanked {
    /// The number.
    pub number: u32,
    /// Why.
    pub reason: String,
}

impl ReleaseChannel {
    /// Reads an index and checks that it agrees with itself.
    pub fn from_yaml(text: &str) -> Result<Self, ManifestError> {
        let index: Self = yaml::from_str(text)?;
        if ![API_VERSION, EKS_D_API_VERSION].contains(&index.api_version.as_str()) {
            let expected = "`distro.kdistro.dev/v1alpha1` or EKS-D's";
            return Err(ManifestError::Kind {
                field: "apiVersion",
                found: index.api_version,
                expected,
            });
        }
        if index.kind != "ReleaseChannel" {
            let expected = "`ReleaseChannel`";
            return Err(ManifestError::Kind { field: "kind", found: index.kind, expected });
        }
        if let Some(channel) = &index.spec.channel
            && index.metadata.name != channel.as_str()
        {
            let expected = channel.to_string();
            return Err(ManifestError::Name { found: index.metadata.name, expected });
        }
        index.check_numbers()?;
        Ok(index)
    }

    fn check_numbers(&self) -> Result<(), ManifestError> {
        let status = &self.status;
        let mut seen = std::collections::BTreeSet::new();
        let numbers = status.releases.iter().map(|release| release.number);
        for number in numbers.chain(status.withheld.iter().map(|withheld| withheld.number)) {
            if number == 0 || !seen.insert(number) {
                return Err(ManifestError::Twice(format!("{}-{number}", self.metadata.name)));
            }
        }
        let latest = status.releases.iter().map(|release| release.number).max();
        // EKS-D's index names the latest release only.
        if latest.is_some_and(|latest| latest != status.latest_release) {
            return Err(ManifestError::Kind {
                field: "status.latestRelease",
                found: status.latest_release.to_string(),
                expected: "the highest number in `status.releases`",
            });
        }
        Ok(())
    }
}
