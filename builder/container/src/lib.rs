//! The hermetic build container: runs one step with no network, seeing only what its description names, within limits.
//!
//! How it is made. [`run`] starts this same program again as a *supervisor* (see [`enter_if_helper`]). The supervisor
//! enters a private mount namespace, binds what the step may see under one folder of its own (so that a home folder
//! nobody else can enter does no harm), joins the step to a control group where there is one, and starts this program a
//! third time, as root under an unprivileged user id, as the *engine*. The engine makes the namespaces with `hakoniwa`
//! and becomes, in the end, the *stub*: a small static program that filters system calls and starts the step.
//! Whoever of them dies takes all below it along; the supervisor leaves no process, mount or control group behind.

mod cgroup;
mod disk;
mod engine;
mod host;
mod judge;
mod outcome;
mod outputs;
mod probe;
mod processes;
mod reexec;
mod run;
mod spec;
mod supervisor;
mod view;
mod watch;
mod world;

pub use host::{Fact, State, host_report};
pub use outcome::{Enforcement, Finished, Isolation, StepError};
#[doc(hidden)]
pub use probe::attempts_without_filter;
pub use probe::{ProbeResult, probe};
pub use reexec::enter_if_helper;
pub use run::{run, run_with};
pub use spec::{Limits, Mount, StepSpec};
