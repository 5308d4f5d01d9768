//! Checks of any Kubernetes cluster that a kubeconfig reaches: our own, a subscriber's, upstream's conformance specs.
//!
//! ```text
//! run      which checks, on which cluster; blocks until all have ended
//! builtin  our own, against the API: each by its name, independent of the others
//! job, command   a subscriber's own
//! conformance    upstream's specs, by the end-to-end tests of the release
//! result   what each came to, and what a roll-out changed
//! ```
//! Before and after a roll-out:
//! ```no_run
//! use kdistro_checks::{Order, compare, run};
//!
//! let order = Order { owner: Some("rollout".to_owned()), ..Order::new("admin.conf") };
//! let before = run(&order, &mut |_| {})?;
//! // The roll-out; then, with the report from before:
//! let after = run(&order, &mut |result| println!("{}", result.line()))?;
//! if let Some(why) = compare(&before, &after).why() {
//!     println!("it goes back, as {why}");
//! }
//! # Ok::<(), kdistro_checks::ChecksError>(())
//! ```
//! A run makes one namespace and removes it, whatever happened in it. From Kubernetes 1.20 on. This is the only crate that
//! knows the `kube` crate.

mod builtin;
mod cluster;
mod command;
pub mod conformance;
mod error;
mod job;
mod junit;
mod process;
mod result;
mod run;
mod scene;

pub use builtin::{BUILTIN, Builtin, Needs};
pub use error::ChecksError;
pub use junit::write as write_junit;
pub use quick_xml::SeError as JunitError;
pub use result::{CheckResult, Comparison, Outcome, Report, compare};
pub use run::{Check, Expects, Order, run};
