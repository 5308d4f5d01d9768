//! The library behind `kdistro`: from pinned public sources to a signed release, and back.
//!
//! The way of the data, a module each:
//!
//! ```text
//! config → fetch → lock → plan → build → package → release → sign, publish → gate → cut
//!                                                                     └→ rebuild, diff
//! ```

pub mod build;
pub mod cli;
pub mod commands;
pub mod config;
pub mod content;
pub mod context;
pub mod cut;
pub mod diff;
pub mod fetch;
pub mod gate;
pub mod home;
pub mod image;
pub mod journal;
pub mod locking;
pub mod new_project;
pub mod package;
pub mod place;
pub mod plan;
pub mod promote;
pub mod publish;
pub mod rebuild;
pub mod release;
pub mod report;
pub mod sign;
pub mod time;
