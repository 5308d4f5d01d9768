//! The published formats of kdistro: what stands in a release, and how it is read.
//!
//! No I/O and no cryptography: an auditor reads this crate first.

pub mod digest;
pub mod names;

pub use digest::{Digest, Sha512};
pub use names::{ChannelName, CommitId, Platform, ProjectName, ReleaseName, Tag, TreeId};
