//! SBOMs: SPDX 2.3 documents in JSON, of one asset or of a whole release, written from facts.
//!
//! The bytes follow from the facts alone: compact JSON, keys in the order of their names, lists sorted, the time that
//! is passed in, and a namespace that is a digest of the rest.
//!
//! Source: SPDX Specification 2.3, ISO/IEC 5962 and its successors.

mod conclusion;
mod describe;
mod document;
mod names;

use describe::Description;
use kdistro_formats::{Digest, Sha512};
use serde::{Deserialize, Serialize};

use crate::{
    go_build_info::Dependency,
    licenses::{Extracted, Licensed},
};

pub use names::purl_golang;

/// Where and when a document is made, as the plan says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Address under which namespaces lie, such as `https://distro.example.org/spdx`. Nothing needs to be there.
    pub namespace: String,
    /// When, in seconds since 1970: `SOURCE_DATE_EPOCH` of the component, of a release the newest of them.
    pub created: u64,
    /// Who: the name of the distribution.
    pub organization: String,
}

/// A licence as a document states it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct License {
    /// The SPDX expression; empty where it is not known.
    pub expression: String,
    /// The texts that it names as `LicenseRef-…`.
    pub extracted: Vec<Extracted>,
}

impl From<&Licensed> for License {
    fn from(licensed: &Licensed) -> Self {
        Self { expression: licensed.expression.clone(), extracted: licensed.extracted.clone() }
    }
}

/// What is known of one asset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its name in the component, such as `bin/linux/amd64/kubelet`.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its platforms, such as `linux/amd64`, sorted.
    pub platforms: Vec<String>,
    /// Its SHA-256; of an image that of its index.
    pub sha256: Digest,
    /// Its SHA-512. Images have none.
    pub sha512: Option<Sha512>,
    /// Its length in bytes. Images have none.
    pub size: Option<u64>,
    /// What it is built from.
    pub component: Component,
    /// Programs in it; of [`Kind::Program`] exactly one, the asset itself.
    pub programs: Vec<Program>,
    /// Debian packages that it contains, in any order.
    pub packages: Vec<DebianPackage>,
    /// Other files in it, in any order.
    pub files: Vec<ContainedFile>,
}

/// What an asset is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One program.
    Program,
    /// A tar with programs and other files.
    Archive,
    /// The patched source.
    Source,
    /// An image: an OCI index, or one platform of it as a file.
    Image,
    /// Any other file.
    File,
}

/// The project that an asset is built from, as it was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Its name, such as `kubernetes`.
    pub name: String,
    /// Upstream's tag.
    pub tag: String,
    /// Where upstream keeps it, such as `https://github.com/etcd-io/etcd`; empty where it came as a source package.
    pub repository: String,
    /// The upstream commit.
    pub commit: String,
    /// The tree that was built: upstream's with the patches.
    pub tree: String,
    /// The patches, in order.
    pub patches: Vec<Patch>,
    /// The Go toolchain, such as `go1.26.8`; empty where Go was not used.
    pub toolchain: String,
    /// Its licence.
    pub license: License,
}

/// A patch that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Its file name.
    pub name: String,
    /// Its bytes.
    pub sha256: Digest,
    /// The CVEs that it fixes.
    pub fixes: Vec<String>,
}

/// A program, loose or in an archive or image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its path in the asset; of a loose program its file name.
    pub path: String,
    /// Its platform, such as `linux/arm64`.
    pub platform: String,
    /// Its bytes.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// What Go linked into it, where Go built it.
    pub go: Option<GoProgram>,
    /// Debian packages whose code is linked into it.
    pub packages: Vec<DebianPackage>,
}

/// What Go linked into a program.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct GoProgram {
    /// The path of the main package.
    pub package: String,
    /// The main module. Its version is the component's tag: the program itself only says `(devel)`.
    pub main_module: String,
    /// False where the program names no modules: they are then those whose files it names.
    pub names_modules: bool,
    /// The modules, in any order.
    pub modules: Vec<GoModule>,
    /// The licence of Go's standard library.
    pub standard_library: License,
}

/// A module that is linked.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct GoModule {
    /// Its path and version, and what stands in for it.
    pub module: Dependency,
    /// The folder of the component's source that holds it, where it is no module from elsewhere.
    pub folder: Option<String>,
    /// The sum of what is linked (`h1:…`), where it is known; the program of a vendored build does not say it.
    pub sum: Option<String>,
    /// Its licence.
    pub license: License,
}

/// A Debian package that is contained or linked.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct DebianPackage {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture, such as `arm64` or `all`.
    pub architecture: String,
    /// The suite, such as `bookworm`; empty where it is not known.
    pub suite: String,
    /// The bytes of the `.deb`.
    pub sha256: Option<Digest>,
    /// Its licence.
    pub license: License,
}

/// A file that is no program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainedFile {
    /// Its path in the asset.
    pub path: String,
    /// Its bytes.
    pub sha256: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// A document that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SpdxError {
    /// The time is outside of what a date can say.
    #[error("{0} seconds since 1970 is no date; expected one before the year 10000")]
    Time(u64),
    /// A licence is not written as SPDX does, or names a text that is not there.
    #[error(
        "`{name}` has the licence `{expression}`; expected an SPDX expression and every text it refers to"
    )]
    License {
        /// The module or package.
        name: String,
        /// What was given.
        expression: String,
    },
    /// The JSON writer refused.
    #[error("cannot write the SBOM of `{name}`")]
    Write {
        /// The asset or release.
        name: String,
        /// What it said.
        source: serde_json::Error,
    },
}

/// Writes the SBOM of one asset.
pub fn asset(facts: &Facts, stamp: &Stamp) -> Result<Vec<u8>, SpdxError> {
    let mut description = Description::default();
    let root = description.asset(facts)?;
    description.finish(&facts.name, &root, stamp)
}

/// Writes the SBOM of a release, such as `kubernetes-1-36-7`: everything that its assets' SBOMs say, once.
pub fn release(name: &str, assets: &[Facts], stamp: &Stamp) -> Result<Vec<u8>, SpdxError> {
    let mut description = Description::default();
    let root = description.release(name, assets)?;
    description.finish(name, &root, stamp)
}
