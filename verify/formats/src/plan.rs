//! The plan: everything a release is made of and by, as one canonical JSON document.
//!
//! It knows no release number, no date and no address of today, so the same configuration gives the same
//! plan everywhere. Its digest stands in the manifest; its inputs are published by digest.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    ChannelName, CommitId, Digest, Platform, ProjectName, Tag, TreeId,
    release::{AppliedPatch, MediaType},
};

/// The version of this format.
pub const SCHEMA: &str = "kdistro.dev/plan/v1";

/// Everything a release is made of and by.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Plan {
    /// [`SCHEMA`].
    pub schema: String,
    /// The channel.
    pub channel: ChannelName,
    /// The platforms that are built, sorted.
    pub platforms: Vec<Platform>,
    /// False when components or platforms of the channel were left out.
    pub whole: bool,
    /// The configuration files that the plan was made from, sorted by path.
    pub configuration: Vec<ConfigurationFile>,
    /// Every input, sorted by digest.
    pub inputs: Vec<Input>,
    /// Directory trees that steps see, by the digest of their definition.
    pub trees: BTreeMap<Digest, Tree>,
    /// What is run, in an order in which it can run.
    pub steps: Vec<Step>,
    /// What the release consists of, in the channel's order.
    pub components: Vec<Component>,
    /// How archives are made of outputs.
    pub assembly: AssemblyRules,
}

/// A configuration file by content.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ConfigurationFile {
    /// Path from the top of the build repository.
    pub path: String,
    /// Its content.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// Something that was fetched, by content.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Input {
    /// Its content.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// What it is.
    pub kind: InputKind,
    /// Where it comes from, as a name and never an address: `pkg:golang/…`, `pkg:deb/…`, or `git+<url>@<commit>`.
    pub origin: String,
}

/// What an input is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputKind {
    /// The canonical tar of a patched source tree.
    Source,
    /// The module zip of a Go toolchain.
    GoToolchain,
    /// The zip of a Go module.
    GoModule,
    /// The go.mod file of a Go module.
    GoMod,
    /// A binary package of Debian.
    DebianPackage,
}

/// A directory tree that a step sees, read-only.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum Tree {
    /// A source archive, and files that earlier steps made.
    Source {
        /// The canonical tar.
        archive: Digest,
        /// Files laid into it, sorted by path.
        additions: Vec<Addition>,
    },
    /// A Go toolchain.
    Toolchain {
        /// The module zip.
        zip: Digest,
    },
    /// A Go module cache.
    Modules {
        /// Its modules, sorted by path and version.
        modules: Vec<Module>,
    },
    /// Outputs of earlier steps.
    Outputs {
        /// The files, sorted by path.
        files: Vec<Addition>,
    },
    /// A root file system.
    Root {
        /// Debian packages, in the order in which they are unpacked.
        packages: Vec<Digest>,
        /// Symbolic links that maintainer scripts would have made, sorted by path.
        links: Vec<Link>,
        /// Empty directories, such as mount points, sorted.
        directories: Vec<String>,
        /// Files that maintainer scripts would have made, sorted by path.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        files: Vec<TextFile>,
        /// Files made of other files of the root, sorted by path.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        concatenations: Vec<Concatenation>,
    },
}

/// A small file by its text.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TextFile {
    /// Where it is, from the root, without a leading slash.
    pub path: String,
    /// What it holds.
    pub text: String,
    /// True for mode 0755, false for 0644.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub executable: bool,
}

/// A file made of all files below a folder whose names end alike, in bytewise order of their paths.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Concatenation {
    /// The file to make, such as `etc/ssl/certs/ca-certificates.crt`.
    pub path: String,
    /// Where the parts lie.
    pub folder: String,
    /// How the names of the parts end, such as `.crt`.
    pub suffix: String,
}

/// A file that a step made, laid into a tree.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Addition {
    /// Where in the tree.
    pub path: String,
    /// What.
    pub output: OutputRef,
}

/// A module of a module cache.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Module {
    /// The module's path.
    pub path: String,
    /// Its version.
    pub version: String,
    /// Its go.mod.
    pub go_mod: Digest,
    /// Its zip, where its content is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zip: Option<Digest>,
}

/// A symbolic link.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Link {
    /// Where it is, from the root, without a leading slash.
    pub path: String,
    /// What it points to.
    pub target: String,
}

/// One run of a program in the container.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Step {
    /// The digest of [`StepBody`]'s canonical JSON: the step's cache key.
    pub key: Digest,
    /// What people call it, such as `etcd-io/etcd linux/amd64`. Not part of the key.
    pub name: String,
    /// The project it belongs to. Not part of the key.
    pub project: ProjectName,
    /// The platform it builds for. Not part of the key.
    pub platform: Platform,
    /// What it does.
    pub body: StepBody,
    /// What its outputs must say, where the host can run them. Not part of the key.
    pub checks: Vec<Check>,
}

/// What a step does and sees; nothing else reaches it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StepBody {
    /// The root file system.
    pub root: Digest,
    /// Trees by the path where they are mounted.
    pub mounts: BTreeMap<String, Digest>,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// The working directory.
    pub directory: String,
    /// What it may use.
    pub limits: Limits,
    /// The files it must leave below `/out`, sorted. Others are an error.
    pub outputs: Vec<String>,
}

/// What a step may use.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Limits {
    /// Wall time in seconds.
    pub seconds: u64,
    /// Memory in bytes, where the host can enforce it.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub processes: u64,
    /// Bytes in `/out` and `/tmp` together.
    pub disk_bytes: u64,
    /// Bytes of standard output and error together.
    pub log_bytes: u64,
}

/// A program that is run after the build, and what it must print.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Check {
    /// The output that is run.
    pub output: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Texts that must all stand in what it prints.
    pub expect: Vec<String>,
}

/// One output of one step.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OutputRef {
    /// The step's key.
    pub step: Digest,
    /// The output's name.
    pub name: String,
}

/// A component as the plan knows it; the manifest adds digests and sizes.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Component {
    /// Its name, as EKS-D has it, such as `etcd`.
    pub name: String,
    /// The project it is built from.
    pub project: ProjectName,
    /// Upstream's tag.
    pub tag: Tag,
    /// The upstream commit (of the import, for a Debian source).
    pub commit: CommitId,
    /// The tree that is built: upstream's with the patches.
    pub source_tree: TreeId,
    /// The patches, in order.
    pub patches: Vec<AppliedPatch>,
    /// The toolchain, such as `go1.26.8`.
    pub toolchain: String,
    /// The public git address of upstream.
    pub repository: String,
    /// Committer time of the upstream commit, in seconds since 1970.
    pub commit_time: u64,
    /// Whose licences its programs carry.
    pub licensing: Licensing,
    /// What is shipped, sorted by name.
    pub assets: Vec<PlannedAsset>,
}

/// Where the licences of everything that is linked into a component's programs stand.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Licensing {
    /// The canonical tar of the source; vendored modules lie in it.
    pub source: Digest,
    /// Licence files of the source itself.
    pub files: Vec<String>,
    /// The module zip of the Go toolchain, whose standard library is linked.
    pub toolchain: Digest,
    /// The [`Tree::Modules`] that programs are linked from, where they are not vendored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modules: Option<Digest>,
    /// Modules without a licence file, sorted by module.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<Unlicensed>,
    /// Debian packages whose code is linked into outputs, sorted by output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<LinkedPackages>,
}

/// A Go module that carries no licence file, and why it may be shipped all the same.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Unlicensed {
    /// The module's path.
    pub module: String,
    /// Its licence, as an SPDX expression.
    pub license: String,
    /// Where that is known from.
    pub reason: String,
}

/// Debian packages whose code ends up in an output.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LinkedPackages {
    /// The output.
    pub output: OutputRef,
    /// The `.deb` files.
    pub packages: Vec<Digest>,
}

/// An asset before its bytes are known.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PlannedAsset {
    /// Its name, such as `etcd-linux-amd64-v3.4.23.tar.gz` or `bin/linux/amd64/kubelet`.
    pub name: String,
    /// A sentence for people.
    pub description: String,
    /// The finer kind.
    pub media_type: MediaType,
    /// The operating system; empty for what is the same on all.
    pub os: String,
    /// The architectures; empty for what is the same on all.
    pub arch: Vec<String>,
    /// Its path below the release's `artifacts/`; of an image, its repository.
    pub path: String,
    /// What it holds.
    pub content: Content,
}

/// What an asset holds.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum Content {
    /// One output, as it is.
    File {
        /// The output.
        output: OutputRef,
    },
    /// A gzipped tar.
    Archive {
        /// Modification time of every entry, in seconds since 1970.
        mtime: u64,
        /// Its entries, sorted by path.
        entries: Vec<ArchiveEntry>,
    },
    /// The patched source as one gzipped tar.
    Source {
        /// The canonical tar.
        archive: Digest,
    },
    /// An image for several platforms.
    Image(Image),
    /// One platform of an image, as `docker save` writes it.
    DockerArchive(DockerArchive),
    /// A small text.
    Text {
        /// What it holds.
        text: String,
    },
    /// What another asset consists of, as an SPDX document.
    Sbom {
        /// The asset's name in the component.
        asset: String,
    },
}

/// One platform of an image under a name for `docker load`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DockerArchive {
    /// The image asset's name in the component.
    pub image: String,
    /// Which platform.
    pub platform: Platform,
    /// Repository and tag, such as `registry.k8s.io/kube-apiserver-amd64:v1.20.2`.
    pub tag: String,
}

/// An image for several platforms.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Image {
    /// Its repository below the registry's name, such as `kubernetes/kube-apiserver`.
    pub repository: String,
    /// When it was made: committer time of the source, in seconds since 1970.
    pub created: u64,
    /// The name under which kubeadm asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flat: Option<FlatName>,
    /// OCI annotations of index and manifests.
    pub annotations: BTreeMap<String, String>,
    /// One image a platform, sorted by platform.
    pub platforms: Vec<PlatformImage>,
}

/// A name in the flat repository of a release, where kubeadm looks for images.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FlatName {
    /// The name, such as `kube-apiserver`.
    pub name: String,
    /// The tag, such as `v1.36.2_kd.t0123456789ab`.
    pub tag: String,
}

/// An image for one platform: a base, and a layer of ours.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PlatformImage {
    /// The platform.
    pub platform: Platform,
    /// The [`Tree::Root`] of the lowest layer; none for an image from nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Digest>,
    /// What our layer holds, sorted by path.
    pub entries: Vec<ImageEntry>,
    /// How it is started.
    pub config: ImageConfig,
}

/// A file of our layer of an image.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ImageEntry {
    /// Its path, without a leading slash.
    pub path: String,
    /// True for mode 0755, false for 0644.
    pub executable: bool,
    /// Capabilities of the file, such as `cap_net_bind_service`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// What it holds.
    pub from: EntryContent,
}

/// How a container of an image is started.
///
/// Source: OCI image-spec, config.md, "Properties".
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ImageConfig {
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// Arguments that are used when none are given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// User, as a number; empty for root.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// The working directory; empty for the root.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub working_directory: String,
    /// Ports that it listens on, such as `2379/tcp`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A file in an archive.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ArchiveEntry {
    /// Its path in the archive.
    pub path: String,
    /// True for mode 0755, false for 0644.
    pub executable: bool,
    /// What it holds.
    pub from: EntryContent,
}

/// Where a file in an archive comes from.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub enum EntryContent {
    /// An output of a step.
    Output(OutputRef),
    /// A file of a source archive.
    Source {
        /// The canonical tar.
        archive: Digest,
        /// The path in it.
        path: String,
    },
    /// The licence texts of everything that is linked into these outputs.
    Attribution {
        /// The outputs, sorted.
        programs: Vec<OutputRef>,
    },
}

/// How archives are made of outputs: part of the plan, since encoders age.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AssemblyRules {
    /// The version of the rules.
    pub rules: String,
    /// The gzip encoder and its version.
    pub gzip: String,
    /// The list of licences that texts are compared with, and its version.
    pub licenses: String,
}

impl Content {
    /// Returns every output of a step that goes into the asset.
    pub fn outputs(&self) -> BTreeSet<&OutputRef> {
        let sources: Vec<&EntryContent> = match self {
            Self::File { output } => return BTreeSet::from([output]),
            Self::Archive { entries, .. } => entries.iter().map(|entry| &entry.from).collect(),
            Self::Image(image) => {
                let entries = image.platforms.iter().flat_map(|platform| &platform.entries);
                entries.map(|entry| &entry.from).collect()
            }
            Self::Source { .. }
            | Self::DockerArchive(_)
            | Self::Text { .. }
            | Self::Sbom { .. } => Vec::new(),
        };
        let outputs = sources.into_iter().flat_map(|from| match from {
            EntryContent::Output(output) => std::slice::from_ref(output),
            EntryContent::Attribution { programs } => programs,
            EntryContent::Source { .. } => &[],
        });
        outputs.collect()
    }
}

impl Plan {
    /// Returns the input with this digest.
    pub fn input(&self, digest: &Digest) -> Option<&Input> {
        let found = self.inputs.binary_search_by_key(digest, |input| input.sha256);
        found.ok().and_then(|index| self.inputs.get(index))
    }

    /// Returns the step with this key.
    pub fn step(&self, key: &Digest) -> Option<&Step> {
        self.steps.iter().find(|step| step.key == *key)
    }
}
