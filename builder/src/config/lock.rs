//! `release-manifests/<channel>/channel.lock.yaml`: the content of every input. Written by `kdistro lock`.

use kdistro_formats::{ChannelName, CommitId, Digest, Platform, ProjectName, Tag, TreeId};
use serde::{Deserialize, Serialize};

/// The content of every input of a channel.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Lock {
    /// The channel.
    pub channel: ChannelName,
    /// Sources, in the channel's order.
    pub sources: Vec<Source>,
    /// Go toolchains, sorted by version.
    pub toolchains: Vec<Toolchain>,
    /// Packages of build roots, sorted by root.
    pub roots: Vec<Root>,
    /// Packages of image bases, sorted by base and architecture.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bases: Vec<Base>,
}

/// The packages of an image base for one architecture.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Base {
    /// The base's name.
    pub name: String,
    /// Debian's word for the architecture, such as `arm64`.
    pub architecture: String,
    /// Its packages, sorted by name.
    pub packages: Vec<Package>,
}

/// The source of one component.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Source {
    /// The project.
    pub project: ProjectName,
    /// Upstream's tag.
    pub tag: Tag,
    /// Upstream's commit, or that of the import.
    pub commit: CommitId,
    /// The Debian source package, where the source comes from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debian: Option<DebianSource>,
    /// The rest, once the source was mirrored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
}

/// A Debian source package by content.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DebianSource {
    /// Its name.
    pub package: String,
    /// Its version.
    pub version: String,
    /// Its files, sorted by name.
    pub files: Vec<DebianFile>,
}

/// A file of a Debian source package.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DebianFile {
    /// Its name.
    pub name: String,
    /// Its content.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// What a mirrored and patched source consists of.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Content {
    /// Committer time of the upstream commit, seconds since 1970: `SOURCE_DATE_EPOCH`.
    pub commit_time: u64,
    /// The patches, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<Patch>,
    /// The commit after the last patch.
    pub patched_commit: CommitId,
    /// Its tree.
    pub patched_tree: TreeId,
    /// The canonical tar of that tree.
    pub archive: Digest,
    /// The tar's length in bytes.
    pub archive_size: u64,
    /// Go modules, sorted by path and version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<Module>,
}

/// A patch by content.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Patch {
    /// Its file name.
    pub name: String,
    /// Its bytes.
    pub sha256: Digest,
}

/// A Go module by content.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Module {
    /// Its path.
    pub path: String,
    /// Its version.
    pub version: String,
    /// Its go.mod file.
    pub go_mod: Digest,
    /// The go.mod's length in bytes.
    pub go_mod_size: u64,
    /// Its zip, where its content is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zip: Option<Zip>,
}

/// A module zip by content.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Zip {
    /// The file.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Go's own hash over the files in it, `h1:…`, as in go.sum.
    pub sum: String,
}

/// A Go toolchain by content.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Toolchain {
    /// Its version, such as `1.26.8`.
    pub version: String,
    /// The platform it runs on.
    pub platform: Platform,
    /// Its module zip.
    pub zip: Zip,
}

/// The packages of a build root.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Root {
    /// The root's name.
    pub name: String,
    /// Its packages, sorted by name.
    pub packages: Vec<Package>,
}

/// A Debian binary package by content.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Debian's word for the architecture, such as `amd64` or `all`.
    pub architecture: String,
    /// The .deb file.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
}

impl Lock {
    /// Returns the source of a project.
    pub fn source(&self, project: &ProjectName) -> Option<&Source> {
        self.sources.iter().find(|source| source.project == *project)
    }

    /// Returns a toolchain by version.
    pub fn toolchain(&self, version: &str) -> Option<&Toolchain> {
        self.toolchains.iter().find(|toolchain| toolchain.version == version)
    }

    /// Returns the packages of an image base.
    pub fn base(&self, name: &str, architecture: &str) -> Option<&Base> {
        self.bases.iter().find(|base| base.name == name && base.architecture == architecture)
    }

    /// Returns the packages of a build root.
    pub fn root(&self, name: &str) -> Option<&Root> {
        self.roots.iter().find(|root| root.name == name)
    }
}
