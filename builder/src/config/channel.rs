//! `release-manifests/<channel>/channel.yaml`: which versions a channel ships.

use kdistro_formats::{ChannelName, Platform, ProjectName, Tag};
use serde::Deserialize;

/// Which versions a channel ships.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Channel {
    /// The channel, as its folder is named.
    pub channel: ChannelName,
    /// True while releases are made.
    pub active: bool,
    /// The last day of support, `YYYY-MM-DD`.
    #[serde(default)]
    pub supported_until: Option<String>,
    /// What is built unless the project says otherwise.
    pub platforms: Vec<Platform>,
    /// What is shipped.
    pub components: Vec<Component>,
}

/// One project at one tag.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Component {
    /// The project.
    pub project: ProjectName,
    /// Upstream's tag.
    pub tag: Tag,
    /// The minor version of Go, such as `1.26`.
    pub go: String,
    /// The commit that the tag must name, where it is known before the first mirroring.
    #[serde(default)]
    pub commit: Option<kdistro_formats::CommitId>,
    /// The Debian source package to take the upstream source from, in place of git.
    #[serde(default)]
    pub debian: Option<Debian>,
}

/// A Debian source package.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Debian {
    /// Its name.
    pub package: String,
    /// Its version.
    pub version: String,
}
