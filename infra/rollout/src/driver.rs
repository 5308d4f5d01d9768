//! Who changes a cluster: one step at a time, each of which may be begun again.

mod devcluster;
mod exec;
mod gitops;
mod leased;

use crate::{
    history::Target,
    lease::LeaseError,
    plan::{SkewError, Step},
};

pub use self::{
    devcluster::Devcluster,
    exec::Exec,
    gitops::{COMPONENT, Gitops, GitopsError},
    leased::Leased,
};

/// A step that was not done, or after which the cluster is not well.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The versions forbid it.
    #[error(transparent)]
    Skew(#[from] SkewError),
    /// The cluster refused, or is not well.
    #[error(transparent)]
    Cluster(#[from] kdistro_devcluster::DevclusterError),
    /// The repository cannot be used, or the cluster does not follow it.
    #[error(transparent)]
    Gitops(#[from] GitopsError),
    /// Somebody else changes the cluster.
    #[error(transparent)]
    Lease(#[from] LeaseError),
    /// A release that the driver was not given.
    #[error("release {0} was not brought here")]
    Unknown(String),
    /// A command failed.
    #[error("`{command}` failed ({how}): {said}")]
    Command {
        /// The command.
        command: String,
        /// Its exit code or signal.
        how: String,
        /// The end of what it wrote.
        said: String,
    },
    /// A command cannot be started.
    #[error("cannot start `{command}`")]
    Start {
        /// The command.
        command: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Changes a cluster.
pub trait Driver {
    /// The steps to a release, in their order.
    ///
    /// # Errors
    ///
    /// When the versions forbid the way from one to the other.
    fn steps(&self, from: &Target, to: &Target) -> Result<Vec<Step>, DriverError>;

    /// Does a step towards a release. A step that is done already changes nothing.
    fn carry_out(&mut self, step: Step, to: &Target) -> Result<(), DriverError>;

    /// Asks whether the cluster is well after a step, as far as that can be seen at once.
    fn gate(&self, step: Step) -> Result<(), DriverError>;

    /// Takes back what the programs of `to` wrote and those of `from` may not understand, where that is so, and brings up
    /// again what has ended.
    fn restore(&mut self, from: &Target, to: &Target) -> Result<(), DriverError>;

    /// Looks whether the cluster does its work with a release: new work, not what runs already.
    fn check(&mut self, runs: &Target) -> Result<(), DriverError>;

    /// Takes note that the cluster runs a release now.
    fn keep(&mut self, runs: &Target) -> Result<(), DriverError>;
}
