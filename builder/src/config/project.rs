//! `projects/<owner>/<repository>/project.yaml`: what is built and how, never which version.

use std::collections::BTreeMap;

use kdistro_formats::{
    Platform, ProjectName, Tag,
    plan::{FlatName, Limits, Unlicensed},
};
use semver::{Version, VersionReq};
use serde::Deserialize;

/// What is built and how.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Project {
    /// The component's name, as EKS-D has it.
    pub name: String,
    /// The public git address.
    pub repository: String,
    /// Its licence, as an SPDX expression.
    pub license: String,
    /// The project whose source, patches and lock it shares, where it is built once more from the same tree.
    #[serde(default)]
    pub source: Option<ProjectName>,
    /// One way to build a range of tags each; the first that matches counts.
    pub recipes: Vec<Recipe>,
}

/// How a range of tags is built.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Recipe {
    /// The tags, as a range of semantic versions such as `>=3.5.0, <3.6.0`.
    pub tags: VersionReq,
    /// Licence files of the source, put into every archive.
    pub licenses: Vec<String>,
    /// Steps that make source files, in order, once for all platforms.
    #[serde(default)]
    pub generate: Vec<Generate>,
    /// What is compiled, one Go module each.
    pub builds: Vec<Build>,
    /// Programs that Go does not build.
    #[serde(default)]
    pub commands: Vec<Command>,
    /// What programs must print where the host can run them.
    #[serde(default)]
    pub checks: Vec<ProgramCheck>,
    /// What is packed.
    #[serde(default)]
    pub archives: Vec<Archive>,
    /// Where loose programs are published, such as `bin/$(os)/$(arch)`.
    #[serde(default)]
    pub loose: Option<String>,
    /// Images.
    #[serde(default)]
    pub images: Vec<Image>,
    /// The patched source as an asset of this name, such as `kubernetes-src.tar.gz`.
    #[serde(default)]
    pub source: Option<String>,
    /// Go modules without a licence file that may be shipped all the same.
    #[serde(default)]
    pub unlicensed: Vec<Unlicensed>,
}

/// A step that makes source files.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Generate {
    /// Its name in the recipe.
    pub name: String,
    /// Where the source is mounted; `/src` unless said.
    #[serde(default = "source_path")]
    pub source: String,
    /// Earlier steps whose outputs it sees below `/tools`.
    #[serde(default)]
    pub uses: Vec<String>,
    /// Environment beside that of every Go step.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Files it leaves below `/out`.
    pub outputs: Vec<String>,
    /// Outputs that the compile steps find in the source, by path in the source.
    #[serde(default)]
    pub adds: BTreeMap<String, String>,
    /// What it may use, where that is less than usual.
    #[serde(default)]
    pub limits: StepLimits,
}

/// What every step may use. Generous: they catch run-aways, they do not tune.
pub const LIMITS: Limits = Limits {
    seconds: 2 * 60 * 60,
    memory_bytes: 12 << 30,
    processes: 4096,
    disk_bytes: 24 << 30,
    log_bytes: 64 << 20,
};

/// What a step may use, where that is less than every step may.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StepLimits {
    /// Wall time in seconds.
    #[serde(default)]
    pub seconds: Option<u64>,
    /// Memory in bytes.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    #[serde(default)]
    pub processes: Option<u64>,
    /// Bytes in `/out` and `/tmp` together.
    #[serde(default)]
    pub disk_bytes: Option<u64>,
    /// Bytes of standard output and error together.
    #[serde(default)]
    pub log_bytes: Option<u64>,
}

/// A program that Go does not build: one step a platform.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Command {
    /// Its name in the recipe.
    pub name: String,
    /// The build root it runs in.
    pub root: String,
    /// The program and its arguments; `$(triplet)` is GNU's name of the platform.
    pub argv: Vec<String>,
    /// Programs it leaves below `/out`.
    pub outputs: Vec<String>,
    /// Packages of the root whose code ends up in the programs; `$(cross)` is `-arm64-cross` and the like.
    #[serde(default)]
    pub links: Vec<String>,
    /// What it may use, where that is less than usual.
    #[serde(default)]
    pub limits: StepLimits,
}

fn source_path() -> String {
    "/src".to_owned()
}

/// One Go module: its programs are compiled by one `go build` a platform.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Build {
    /// The module's folder in the source.
    pub module: String,
    /// Where its dependencies come from.
    pub dependencies: Dependencies,
    /// True where the source has a go.work that counts.
    #[serde(default)]
    pub workspace: bool,
    /// Build tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// String variables set by the linker (`-X`), by symbol.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// The programs.
    pub programs: Vec<Program>,
    /// The platforms, where they are not the channel's.
    #[serde(default)]
    pub platforms: Vec<Platform>,
    /// What it may use, where that is less than usual.
    #[serde(default)]
    pub limits: StepLimits,
}

/// Where a module's dependencies come from.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Dependencies {
    /// The source's own `vendor` folder.
    Vendor,
    /// A module cache of pinned modules.
    Modules,
}

/// A program.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Program {
    /// Its name.
    pub name: String,
    /// Its main package, from the module's folder.
    pub package: String,
    /// Platforms beside the channel's that it is built for too.
    #[serde(default)]
    pub also: Vec<Platform>,
    /// True for the test binary of a package (`go test -c`), which is a step of its own.
    #[serde(default)]
    pub test: bool,
}

/// What a program must print.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ProgramCheck {
    /// The programs.
    pub programs: Vec<String>,
    /// The arguments they are run with.
    pub arguments: Vec<String>,
    /// Texts that must all be printed.
    pub expect: Vec<String>,
}

/// A gzipped tar.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Archive {
    /// Its file name, such as `etcd-$(os)-$(arch)-$(tag).tar.gz`.
    pub name: String,
    /// A sentence for people.
    pub description: String,
    /// The folder in it that programs lie in, and empty for none.
    #[serde(default)]
    pub folder: String,
    /// The folder in it that licences lie in; the same as `folder` unless said.
    #[serde(default)]
    pub license_folder: Option<String>,
    /// The programs in it.
    pub programs: Vec<String>,
}

/// An image for all Linux platforms.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Image {
    /// Its name, such as `kube-apiserver`; the asset's is `kube-apiserver-image`.
    pub name: String,
    /// Its repository, where that is not the project's owner and the name.
    #[serde(default)]
    pub repository: Option<String>,
    /// The base in `inputs.yaml`; none for an image from nothing.
    #[serde(default)]
    pub base: Option<String>,
    /// Programs by the path where they lie, without a leading slash.
    pub files: BTreeMap<String, String>,
    /// Files of the source by the path where they lie, without a leading slash.
    #[serde(default)]
    pub sources: BTreeMap<String, String>,
    /// The program that is started, and its first arguments.
    pub entrypoint: Vec<String>,
    /// Arguments that are used when none are given.
    #[serde(default)]
    pub command: Vec<String>,
    /// User, as a number; root unless said.
    #[serde(default)]
    pub user: String,
    /// The environment beside `PATH`.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Ports that it listens on, such as `2379/tcp`.
    #[serde(default)]
    pub ports: Vec<String>,
    /// Capabilities of files, such as `cap_net_bind_service`, by path.
    #[serde(default)]
    pub capabilities: BTreeMap<String, Vec<String>>,
    /// Name and tag that kubeadm asks for.
    #[serde(default)]
    pub flat: Option<FlatName>,
    /// Where it is published as a file too, such as `bin/$(os)/$(arch)/kube-apiserver`: `.tar` and `.docker_tag`.
    #[serde(default)]
    pub archive: Option<String>,
}

impl Project {
    /// Returns the recipe for a tag.
    pub fn recipe(&self, tag: &Tag) -> Option<&Recipe> {
        let version = version(tag)?;
        self.recipes.iter().find(|recipe| recipe.tags.matches(&version))
    }
}

impl Recipe {
    /// Returns the programs that no archive holds, where there are archives: parts of images only.
    pub fn inner_programs(&self) -> impl Iterator<Item = &str> {
        let packed = |name: &str| {
            let holds = |archive: &Archive| archive.programs.iter().any(|held| held == name);
            self.archives.is_empty() || self.archives.iter().any(holds)
        };
        self.programs().filter(move |name| !packed(name))
    }

    /// Returns every program's name.
    pub fn programs(&self) -> impl Iterator<Item = &str> {
        let built = self.builds.iter().flat_map(|build| &build.programs);
        let commanded = self.commands.iter().flat_map(|command| &command.outputs);
        built.map(|program| program.name.as_str()).chain(commanded.map(String::as_str))
    }
}

/// Reads a tag as a semantic version; `v` in front is left out.
pub fn version(tag: &Tag) -> Option<Version> {
    Version::parse(tag.as_str().trim_start_matches('v')).ok()
}
