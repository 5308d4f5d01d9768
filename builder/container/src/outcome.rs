//! How a step ended: what was enforced when it went well, and the named reason when it did not.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A step that ended well.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Finished {
    /// From the call to the end, the container's own set-up included.
    pub wall: Duration,
    /// User and system time of all processes of the step.
    pub cpu: Duration,
    /// The most memory the step held at once; `None` where no control group counted it.
    pub peak_memory_bytes: Option<u64>,
    /// What was really enforced.
    pub isolation: Isolation,
}

/// What kept the step in, fact by fact, sorted by name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Isolation {
    /// The facts.
    pub facts: Vec<Enforcement>,
}

/// One promise of the container, and whether this host let it be kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enforcement {
    /// What is promised, such as `network` or `memory limit`.
    pub name: String,
    /// Whether it was enforced.
    pub enforced: bool,
    /// By what it was enforced, or why it was not.
    pub how: String,
}

impl Isolation {
    /// Lists what was not enforced.
    pub fn gaps(&self) -> impl Iterator<Item = &Enforcement> {
        self.facts.iter().filter(|fact| !fact.enforced)
    }
}

/// Why a step did not end well.
///
/// The reason can cross from the helper process, so it holds texts instead of source errors. Its help calls limits as
/// recipes and plans spell them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum StepError {
    /// The program ended by itself with another code than 0.
    #[error("the step exited with code {code}")]
    Exited {
        /// Its exit code.
        code: i32,
    },
    /// A signal ended the program (or it exited with 128 and a signal's number, as a shell does for its last command).
    #[error("the step was ended by signal {signal} ({name})")]
    Signal {
        /// The number of the signal.
        signal: i32,
        /// Its name, such as `SIGSEGV`.
        name: String,
    },
    /// The kernel ended a process because the step's memory was used up.
    #[error(
        "the step ran out of memory (limit {limit} bytes)\nhelp:  raise `memoryBytes` of its limits, or lower how much it does at once"
    )]
    OutOfMemory {
        /// Bytes.
        limit: u64,
    },
    /// The step did not end in time.
    #[error(
        "the step ran longer than its time limit ({limit} s)\nhelp:  raise `seconds` of its limits if it was still at work; the end of its log shows where it stood"
    )]
    TimeLimit {
        /// Seconds.
        limit: u64,
    },
    /// The step wrote too much to standard output and standard error.
    #[error(
        "the step wrote more to its log than allowed (limit {limit} bytes)\nhelp:  raise `logBytes` of its limits if it needs that much"
    )]
    LogLimit {
        /// Bytes.
        limit: u64,
    },
    /// The step filled `/out` and `/tmp`.
    #[error(
        "the step used more disk in /out and /tmp than allowed (limit {limit} bytes)\nhelp:  raise `diskBytes` of its limits if it needs that much"
    )]
    DiskLimit {
        /// Bytes.
        limit: u64,
    },
    /// The step wanted more processes and threads than allowed.
    #[error(
        "the step started more processes and threads than allowed (limit {limit})\nhelp:  raise `processes` of its limits if it needs that many"
    )]
    ProcessLimit {
        /// Processes and threads together.
        limit: u64,
    },
    /// The step left something in `/out` that must not become an output.
    #[error("/out/{path}: {reason}")]
    EscapingOutput {
        /// Path below `/out`.
        path: String,
        /// What it is and why that is refused; the target, where it is a link.
        reason: String,
    },
    /// Something that the step names is missing or wrong; the step did not run.
    #[error("the step cannot start: {subject}: {reason}")]
    CannotStart {
        /// What it is about.
        subject: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The container could not be made or was lost; says nothing about the step.
    #[error(
        "the build container failed at {at}: {reason}\nhelp:  `kdistro doctor` says what this host is missing"
    )]
    Engine {
        /// What was being done.
        at: String,
        /// What the system said.
        reason: String,
    },
}

impl StepError {
    /// Makes the error of a container that could not be set up.
    #[expect(clippy::needless_pass_by_value, reason = "errors are handed over in map_err")]
    pub(crate) fn engine(at: impl Into<String>, reason: impl ToString) -> Self {
        Self::Engine { at: at.into(), reason: reason.to_string() }
    }
}
