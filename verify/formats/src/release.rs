//! The release manifest: `kind: Release`, a superset of EKS-D's, and the index of a channel.
//!
//! Source: EKS Distro, `distro.eks.amazonaws.com/v1alpha1`; field names and meaning are the same, so that
//! existing scripts and users of the CRD can read ours.

mod bare_hex;

use serde::{Deserialize, Serialize};

use crate::{
    ChannelName, CommitId, Digest, ParseNameError, ReleaseName, Sha512, TreeId,
    names::is_word,
    yaml::{self, YamlError},
};

/// `apiVersion` of everything we write.
pub const API_VERSION: &str = "distro.kdistro.dev/v1alpha1";
/// `apiVersion` of EKS-D's manifests, which the reader accepts too.
pub const EKS_D_API_VERSION: &str = "distro.eks.amazonaws.com/v1alpha1";

/// The longest name of a document, in bytes: what file systems hold.
const LONGEST_DOCUMENT_NAME: usize = 255;

/// A release manifest.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Release {
    /// [`API_VERSION`] or [`EKS_D_API_VERSION`].
    pub api_version: String,
    /// `Release`.
    pub kind: String,
    /// The resource's name.
    pub metadata: Metadata,
    /// Which release it is.
    pub spec: ReleaseSpec,
    /// What it consists of.
    pub status: ReleaseStatus,
}

/// The metadata of a resource.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Metadata {
    /// Always null; EKS-D writes it.
    #[serde(default, skip_serializing)]
    pub creation_timestamp: Option<()>,
    /// The name.
    pub name: String,
}

/// Which release a manifest is about.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ReleaseSpec {
    /// The commit of the build repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build_repo_commit: Option<CommitId>,
    /// The channel.
    pub channel: ChannelName,
    /// The number in the channel, from 1 on.
    pub number: u32,
    /// The plan. Absent in EKS-D's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<PlanRef>,
    /// The release cut before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<ReleaseRef>,
}

/// A plan by address and content.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PlanRef {
    /// Its public address.
    pub uri: String,
    /// Its content: 64 hex digits.
    #[serde(with = "bare_hex")]
    pub sha256: Digest,
}

/// A release of the same channel by number and content of its manifest.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ReleaseRef {
    /// The number.
    pub number: u32,
    /// The manifest's digest.
    pub digest: Digest,
}

/// What a release consists of.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ReleaseStatus {
    /// When the number was claimed, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// The components, sorted by name.
    pub components: Vec<Component>,
    /// Files that belong to the release as a whole, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub documents: Vec<Document>,
}

/// A file that belongs to the release as a whole, such as `kubeadm.yaml`. It lies in the release's folder.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Document {
    /// Its name: letters, digits, `.`, `_` and `-`, the first a letter or digit.
    pub name: String,
    /// Its public address.
    pub uri: String,
    /// 64 hex digits, as of an asset.
    #[serde(with = "bare_hex")]
    pub sha256: Digest,
    /// 128 hex digits.
    pub sha512: Sha512,
    /// Length in bytes.
    pub size: u64,
}

/// One upstream project in a release.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Component {
    /// Its name, such as `etcd`.
    pub name: String,
    /// Upstream's tag.
    pub git_tag: String,
    /// Upstream's commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_commit: Option<CommitId>,
    /// The tree that was built: upstream's with the patches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_tree: Option<TreeId>,
    /// The patches, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<AppliedPatch>,
    /// The toolchain, such as `go1.26.8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toolchain: Option<String>,
    /// What is shipped, sorted by name.
    pub assets: Vec<Asset>,
}

/// A patch that the tree contains.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AppliedPatch {
    /// Its file name.
    pub name: String,
    /// Its bytes.
    pub digest: Digest,
    /// The CVEs it fixes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fixes: Vec<String>,
    /// Whether what it fixes waits for no maintenance window.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub critical: bool,
}

/// Whether a text is the name of a vulnerability, such as `CVE-2026-1234`.
///
/// Source: CVE, "CVE ID syntax": four digits of a year, and at least four more.
pub fn is_cve(text: &str) -> bool {
    let parts = text.strip_prefix("CVE-").and_then(|rest| rest.split_once('-'));
    let digits = |text: &str| text.len() >= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    parts.is_some_and(|(year, number)| year.len() == 4 && digits(year) && digits(number))
}

/// A published file or image.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Asset {
    /// Its name in the component.
    pub name: String,
    /// File or image.
    #[serde(rename = "type")]
    pub kind: AssetKind,
    /// The finer kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// A sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The operating system. Some assets of EKS-D lack it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub os: String,
    /// The architectures. Some assets of EKS-D lack them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arch: Vec<String>,
    /// Length in bytes; of an image, of everything that its index names, each blob once, and of the index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Where the file is, when it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<AssetArchive>,
    /// Where the image is, when it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<AssetImage>,
}

/// File or image.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum AssetKind {
    /// Any file.
    Archive,
    /// An image in a registry.
    Image,
}

/// The finer kind of an asset.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum MediaType {
    /// A gzipped tar.
    #[serde(rename = "application/gzip")]
    Gzip,
    /// A program.
    #[serde(rename = "application/octet-stream")]
    Program,
    /// A tar, not compressed.
    #[serde(rename = "application/x-tar")]
    Tar,
    /// A small text.
    #[serde(rename = "text/plain")]
    Text,
    /// An SBOM: what another asset consists of.
    #[serde(rename = "application/spdx+json")]
    Spdx,
    /// An image for several platforms.
    #[serde(rename = "application/vnd.oci.image.index.v1+json")]
    Index,
}

/// A published file.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AssetArchive {
    /// Its public address.
    pub uri: String,
    /// 64 hex digits, as EKS-D writes them.
    #[serde(with = "bare_hex")]
    pub sha256: Digest,
    /// 128 hex digits.
    pub sha512: Sha512,
}

/// A published image.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AssetImage {
    /// Registry, repository and tag.
    pub uri: String,
    /// The digest of its index. Some of EKS-D lack it, ours never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<Digest>,
}

/// A manifest that is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not the YAML of a manifest.
    #[error("not a manifest")]
    Yaml(#[from] YamlError),
    /// Another kind of document.
    #[error("`{field}` is `{found}`, expected {expected}")]
    Kind {
        /// Which field.
        field: &'static str,
        /// What stands there.
        found: String,
        /// What should.
        expected: &'static str,
    },
    /// The names in one manifest disagree.
    #[error("metadata.name is `{found}`, but spec says `{expected}`")]
    Name {
        /// `metadata.name`.
        found: String,
        /// What channel and number give.
        expected: String,
    },
    /// Two assets or components have one name.
    #[error("`{0}` is listed twice")]
    Twice(String),
    /// An asset is neither a file nor an image, or both.
    #[error("asset `{0}` must have exactly the `archive` or `image` that its type says")]
    Shape(String),
    /// One of our images does not say what it is.
    #[error("image `{name}` has no {lacks}")]
    Image {
        /// The asset.
        name: String,
        /// What it lacks.
        lacks: &'static str,
    },
    /// A document's name would lead out of the release's folder.
    #[error(
        "`{0}` is not the name of a document; expected at most 255 letters, digits, `.`, `_` and `-`"
    )]
    Document(String),
    /// A name is not well formed.
    #[error(transparent)]
    Grammar(#[from] ParseNameError),
}

impl Asset {
    /// Returns the SHA-256 of the file, or of the image's index.
    pub fn digest(&self) -> Option<Digest> {
        let archive = self.archive.as_ref().map(|archive| archive.sha256);
        archive.or(self.image.as_ref().and_then(|image| image.image_digest))
    }
}

impl Release {
    /// Reads a manifest and checks that it agrees with itself.
    pub fn from_yaml(text: &str) -> Result<Self, ManifestError> {
        let release: Self = yaml::from_str(text)?;
        let ours = release.api_version == API_VERSION;
        if !ours && release.api_version != EKS_D_API_VERSION {
            let expected = "`distro.kdistro.dev/v1alpha1` or EKS-D's";
            return Err(ManifestError::Kind {
                field: "apiVersion",
                found: release.api_version,
                expected,
            });
        }
        if release.kind != "Release" {
            return Err(ManifestError::Kind {
                field: "kind",
                found: release.kind,
                expected: "`Release`",
            });
        }
        release.check(ours)?;
        Ok(release)
    }

    /// Which release this is.
    pub fn name(&self) -> ReleaseName {
        ReleaseName { channel: self.spec.channel.clone(), number: self.spec.number }
    }

    fn check(&self, ours: bool) -> Result<(), ManifestError> {
        let expected = if ours {
            self.name().resource()
        } else {
            format!("kubernetes-{}-eks-{}", self.spec.channel, self.spec.number)
        };
        if self.metadata.name != expected || self.spec.number == 0 {
            return Err(ManifestError::Name { found: self.metadata.name.clone(), expected });
        }
        let mut components = std::collections::BTreeSet::new();
        for component in &self.status.components {
            if !components.insert(&component.name) {
                return Err(ManifestError::Twice(component.name.clone()));
            }
            let mut assets = std::collections::BTreeSet::new();
            for asset in &component.assets {
                if !assets.insert(&asset.name) {
                    return Err(ManifestError::Twice(asset.name.clone()));
                }
                let shape = (asset.kind, asset.archive.is_some(), asset.image.is_some());
                let right = [(AssetKind::Archive, true, false), (AssetKind::Image, false, true)];
                if !right.contains(&shape) {
                    return Err(ManifestError::Shape(asset.name.clone()));
                }
                if let (true, Some(image)) = (ours, &asset.image) {
                    check_image(asset, image)?;
                }
            }
        }
        self.check_documents()
    }

    fn check_documents(&self) -> Result<(), ManifestError> {
        let mut names = std::collections::BTreeSet::new();
        for Document { name, .. } in &self.status.documents {
            if !is_word(name, LONGEST_DOCUMENT_NAME, "._-") {
                return Err(ManifestError::Document(name.clone()));
            }
            if !names.insert(name) {
                return Err(ManifestError::Twice(name.clone()));
            }
        }
        Ok(())
    }
}

/// Without digest and platforms nothing could be said about an image.
fn check_image(asset: &Asset, image: &AssetImage) -> Result<(), ManifestError> {
    let lacks = if image.image_digest.is_none() {
        "imageDigest"
    } else if asset.arch.is_empty() {
        "arch"
    } else if asset.os.is_empty() {
        "os"
    } else {
        return Ok(());
    };
    Err(ManifestError::Image { name: asset.name.clone(), lacks })
}
