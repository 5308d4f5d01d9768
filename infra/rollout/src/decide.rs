//! Decides what a subscriber runs next: verification under its own policy, then a pure choice.
//!
//! [`Publication::look`] proves the channel's index, [`candidate`] names the release that could be next,
//! [`Publication::release`] proves that one, and [`choose`] says what is done.

mod choice;
pub mod demand;
mod documents;
mod refused;
mod seen;
mod verified;

pub use choice::{Decision, Facts, Held, Situation, candidate, choose, fixes};
pub use documents::{Proven, prove};
pub use refused::Refused;
pub use seen::{Seen, SeenChannel};
pub use verified::{Publication, VerifiedChannel, VerifiedRelease};
