//! Fetches sources, toolchains, modules and packages: the one place that runs git, apt and go.
//!
//! Whatever comes in is pinned by content and kept whole or not at all. Only [`command`] starts processes; every
//! function takes the variables they see, the folders they use and whom to tell about progress as arguments.

pub mod apt;
mod apt_answer;
mod apt_sources;
pub mod checkout;
pub mod command;
pub mod credentials;
pub mod debian;
mod git;
pub mod golang;
pub mod import;
mod keyring;
pub mod mirror;
pub mod module;
mod module_cache;
pub mod module_hash;
mod offset;
pub mod packages;
pub mod patch;
pub mod series;
pub mod stored;
pub mod tools;
pub mod tree;
mod ustar;
pub mod worktree;

pub use apt::{Apt, AptError, AptSettings};
pub use checkout::{clean_commit, reaches};
pub use command::{Environment, Progress};
pub use debian::{FilePin, SourceFile, SourcePackage, SourceRequest};
pub use golang::{Go, GoError, Module, ModuleFile, ModulePin, ModuleRequest};
pub use mirror::{Mirror, MirrorError, Revision, TagSource};
pub use module_hash::{mod_file_hash, module_hash};
pub use packages::{Package, PackagePin, Reach};
pub use patch::{Patch, PatchProblem, Upstream};
pub use series::{PatchError, PatchState, PatchStatus, Series, apply, status};
pub use tools::{Tool, tools};
pub use worktree::{CheckedOut, WorktreeError, check_out, write_back};
