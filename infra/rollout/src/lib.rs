//! For subscribers: hears of a release, verifies it, rolls it out to a cluster, checks it, and goes back when it fails.
//!
//! ```text
//! receive → decide → plan → driver (step by step, a gate after each) → check → keep or roll back → tell, report
//! ```
//! A message is only a reason to look: what counts is the channel's signed index, which is also looked at without any
//! message. Nothing of a release is used before `decide` has verified it.

pub mod check;
pub mod decide;
pub mod driver;
pub mod file;
pub mod fleet;
pub mod history;
mod html;
pub mod inspect;
pub mod kubectl;
pub mod lease;
pub mod limited;
pub mod listen;
pub mod once;
pub mod plan;
pub mod policy;
pub mod receive;
pub mod report;
pub mod resource;
pub mod roll;
pub mod tell;
