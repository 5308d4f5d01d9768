//! Archives and root file systems, as pure functions: bytes in, bytes out, the same bytes for the same input.
//!
//! Nothing here opens a file, starts a process or reads the clock. Every reader calls a visitor with one
//! [`Entry`] at a time, so that an archive of any size passes through in little memory.

pub mod attribution;
pub mod deb;
pub mod entry;
pub mod go_build_info;
pub mod gzip;
pub mod image;
pub mod licenses;
pub mod module_zip;
pub mod root;
pub mod spdx;
pub mod tar;

pub use entry::{Entry, EntryKind, EntryPath};
