//! `projects/inputs.yaml`: exact toolchains and build roots.

use kdistro_formats::plan::{Concatenation, Link, TextFile};
use serde::Deserialize;

/// Exact toolchains and build roots.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Inputs {
    /// Where Debian packages come from, binary and source.
    pub debian: Suite,
    /// Go toolchains, one a minor version.
    pub go: Vec<Go>,
    /// Build roots.
    pub roots: Vec<Root>,
    /// Bases of images.
    #[serde(default)]
    pub bases: Vec<Root>,
}

/// A Debian suite.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Suite {
    /// Its code name, such as `bookworm`.
    pub suite: String,
    /// Fingerprints of the keys that may sign it, uppercase hex.
    pub keys: Vec<String>,
}

/// A Go toolchain.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Go {
    /// What a channel asks for, such as `1.26`.
    pub minor: String,
    /// What it gets, such as `1.26.8`.
    pub version: String,
    /// The build root it runs in.
    pub root: String,
}

/// A build root or the base of images: pinned Debian packages, or none for programs that are static.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Root {
    /// Its name.
    pub name: String,
    /// The packages whose closure it holds.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Whether it holds what the packages depend on, too.
    #[serde(default = "yes")]
    pub closure: bool,
    /// Links that maintainer scripts would have made.
    #[serde(default)]
    pub links: Vec<Link>,
    /// Files that they would have made.
    #[serde(default)]
    pub files: Vec<TextFile>,
    /// Files that they would have made of others.
    #[serde(default)]
    pub concatenations: Vec<Concatenation>,
    /// Empty directories; `tmp` and `var/tmp` are for everybody.
    #[serde(default)]
    pub directories: Vec<String>,
    /// Packages whose maintainer scripts were read, and what matters of them is declared here. Of a base, packages
    /// with scripts that are not listed are refused.
    #[serde(default)]
    pub scripts: Vec<String>,
}

fn yes() -> bool {
    true
}

impl Inputs {
    /// Returns the toolchain for a minor version.
    pub fn go(&self, minor: &str) -> Option<&Go> {
        self.go.iter().find(|go| go.minor == minor)
    }

    /// Returns the base of images by name.
    pub fn base(&self, name: &str) -> Option<&Root> {
        self.bases.iter().find(|base| base.name == name)
    }

    /// Returns a build root by name.
    pub fn root(&self, name: &str) -> Option<&Root> {
        self.roots.iter().find(|root| root.name == name)
    }
}
