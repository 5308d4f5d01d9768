//! What the two static programs of the build container share: the system call filter.

pub mod filter;
