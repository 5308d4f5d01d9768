//! The borders to the outside world: where published bytes, images, announcements and keys live.
//!
//! Each trait has several real implementations; those of this crate need no account and no network: directories, files, keys in files.
//! A contract test runs one list of promises on every implementation of a trait.

pub mod announcer;
pub mod directory;
mod durable;
pub mod file;
pub mod key_file;
mod manifest;
pub mod oci_layouts;
pub mod registry;
pub mod signer;
pub mod store;

pub use announcer::{AnnounceError, Announced, Announcer};
pub use directory::Directory;
pub use file::FileAnnouncer;
pub use key_file::KeyFile;
pub use oci_layouts::OciLayouts;
pub use registry::{Referrer, Registry, RegistryError};
pub use signer::{SignError, Signer};
pub use store::{Content, Created, Store, StoreError, Stored};
