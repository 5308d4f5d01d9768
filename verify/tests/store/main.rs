//! Checks whole stores: a small valid one is published with real signatures and a real log, then damaged.

mod defects;
mod every_byte;
mod http;
mod log;
mod program;
mod publisher;
