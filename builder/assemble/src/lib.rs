//! Archives and root file systems, as pure functions: bytes in, bytes out, the same bytes for the same input.
//!
//! Nothing here opens a file, starts a process or reads the clock. Every reader calls a visitor with one
//! [`Entry`] at a time, so that an archive of any size passes through in little memory.

pub mod deb;
pub mod entry;
pub mod gzip;
pub mod module_zip;
pub mod root;
pub mod tar;

pub use entry::{Entry, EntryKind, EntryPath};
