//! The borders to the outside world: where published bytes, images, announcements and keys live.
//!
//! Each trait has several real implementations; those of this crate need no cloud: directories, files, keys in files, any OCI registry, a
//! web address.
//! A contract test runs one list of promises on every implementation of a trait.

pub mod announcer;
pub mod challenge;
pub mod credentials;
pub mod directory;
pub mod docker_config;
mod durable;
pub mod file;
mod http;
pub mod http_registry;
pub mod incoming;
pub mod key_file;
mod manifest;
pub mod oci_layouts;
pub mod plain;
pub mod registry;
pub mod signer;
pub mod store;
pub mod webhook;

pub use announcer::{AnnounceError, Announced, Announcer};
pub use credentials::{Anonymous, Credential, Credentials, CredentialsError};
pub use directory::Directory;
pub use docker_config::DockerConfig;
pub use file::FileAnnouncer;
pub use http::is_address;
pub use http_registry::{Address, HttpRegistry};
pub use incoming::{Incoming, Whole};
pub use key_file::KeyFile;
pub use oci_layouts::OciLayouts;
pub use registry::{Referrer, Registry, RegistryError};
pub use signer::{SignError, Signer};
pub use store::{Content, Created, Store, StoreError, Stored};
pub use webhook::{WebhookAnnouncer, WebhookError};
