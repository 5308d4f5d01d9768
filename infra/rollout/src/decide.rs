//! Decides what a subscriber runs next: verification under its own policy, then a pure choice.

pub mod demand;
mod refused;
mod seen;
mod verified;

pub use refused::Refused;
pub use seen::Seen;
pub use verified::{Publication, VerifiedChannel, VerifiedRelease};
