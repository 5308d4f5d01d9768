//! The published formats of kdistro: what stands in a release, and how it is read.
//!
//! No I/O and no cryptography: an auditor reads this crate first. In the order of a release's life:
//! [`plan`] says what is built, [`claim`] takes a number, [`release`] is the manifest, [`channel`] the index,
//! [`announcement`] what subscribers hear, [`statement`] what a rebuilder signs; [`layout`] says where each lies,
//! and [`oci`] how an image is written. [`terminal`] makes what others wrote fit to be shown, and
//! [`failure`] is how every program tells what it could not do.

pub mod announcement;
pub mod canonical;
pub mod channel;
pub mod claim;
pub mod digest;
pub mod failure;
pub mod layout;
pub mod names;
pub mod oci;
pub mod plan;
pub mod release;
pub mod statement;
pub mod terminal;
pub mod time;
pub mod yaml;

pub use digest::{Digest, Sha512};
pub use names::{
    ChannelName, CommitId, ParseNameError, Platform, ProjectName, ReleaseName, Tag, TreeId,
};
