//! `projects/<owner>/<repository>/project.yaml`: what is built and how, never which version.

use std::collections::BTreeMap;

use kdistro_formats::{Platform, Tag};
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
    /// What programs must print where the host can run them.
    #[serde(default)]
    pub checks: Vec<ProgramCheck>,
    /// What is packed.
    #[serde(default)]
    pub archives: Vec<Archive>,
    /// Where loose programs are published, such as `bin/$(os)/$(arch)`.
    #[serde(default)]
    pub loose: Option<String>,
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

impl Project {
    /// Returns the recipe for a tag.
    pub fn recipe(&self, tag: &Tag) -> Option<&Recipe> {
        let version = version(tag)?;
        self.recipes.iter().find(|recipe| recipe.tags.matches(&version))
    }
}

impl Recipe {
    /// Returns every program's name.
    pub fn programs(&self) -> impl Iterator<Item = &str> {
        self.builds.iter().flat_map(|build| &build.programs).map(|program| program.name.as_str())
    }
}

/// Reads a tag as a semantic version; `v` in front is left out.
pub fn version(tag: &Tag) -> Option<Version> {
    Version::parse(tag.as_str().trim_start_matches('v')).ok()
}
