//! Go modules as they are asked for and kept, and what can go wrong.

use std::{
    io,
    path::{Path, PathBuf},
};

use kdistro_formats::{Digest, Platform};

use crate::{command::CommandError, module_hash::ModuleHashError, stored::StoredError};

/// A version of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its path, such as `golang.org/x/text`.
    pub path: String,
    /// Its version, such as `v0.3.8`.
    pub version: String,
    /// Its `go.mod`.
    pub mod_file: ModuleFile,
    /// Its content; none when only the requirements of this version count.
    pub zip: Option<ModuleFile>,
}

/// A file of a module version, at `<escaped path>/@v/<escaped version>.{mod,zip}` under the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleFile {
    /// Where it stands.
    pub file: PathBuf,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The sum that go.sum and the checksum database have, `h1:…`.
    pub sum: String,
}

/// A version of a module that the lock names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModulePin {
    /// Its path.
    pub path: String,
    /// Its version.
    pub version: String,
    /// The digest of its `go.mod`.
    pub mod_file: Digest,
    /// The digest of its zip, when it is wanted.
    pub zip: Option<Digest>,
}

/// What is to be built, so far as it decides which modules are needed.
#[derive(Clone, Copy, Debug)]
pub struct ModuleRequest<'a> {
    /// The source tree; it is only read.
    pub source: &'a Path,
    /// The folder of the module in it, `.` or such as `server`.
    pub module: &'a str,
    /// The packages to build, as `go build` takes them.
    pub packages: &'a [String],
    /// The platforms to build for.
    pub platforms: &'a [Platform],
    /// The build tags.
    pub tags: &'a [String],
    /// Whether to build as if there were no `go.work`.
    pub workspace_off: bool,
}

/// A module that could not be fetched, or is refused.
#[derive(Debug, thiserror::Error)]
pub enum GoError {
    /// The host would fetch from version control only.
    #[error("GOPROXY of this host is `{0}`; expected the address of a module proxy in it")]
    NoProxy(String),
    /// A word that is no module, version, package or folder.
    #[error("`{text}` is not a {kind}")]
    Name {
        /// What it should be.
        kind: &'static str,
        /// The word.
        text: String,
    },
    /// go failed.
    #[error("{what}")]
    Command {
        /// What was tried.
        what: String,
        /// What it said.
        source: CommandError,
    },
    /// go fetched something else than it was asked for.
    #[error("go fetched no {what}")]
    Missing {
        /// What was asked for.
        what: String,
    },
    /// The zip does not have the sum that go says.
    #[error("`{module}` has {found}, expected {expected}")]
    Sum {
        /// Module and version.
        module: String,
        /// What go noted.
        expected: String,
        /// What was computed here.
        found: String,
    },
    /// The zip could not be read.
    #[error("cannot compute the sum of `{module}`")]
    Zip {
        /// Module and version.
        module: String,
        /// Why.
        source: ModuleHashError,
    },
    /// The file system refused.
    #[error("cannot use {}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A fetched file is not the pinned one, or could not be kept.
    #[error(transparent)]
    Stored(#[from] StoredError),
}
