//! Checks whole stores: a small valid one is published with real signatures and a real log, then damaged.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod announced;
mod content;
mod defects;
mod every_byte;
mod explain;
mod http;
mod image;
mod images;
mod keyless;
mod log;
mod notes;
mod pipe;
mod program;
mod provenance;
mod publisher;
mod revoked;
