//! Who changes a cluster: one step at a time, each of which may be begun again.

mod devcluster;
mod exec;
mod gitops;
mod leased;

use kdistro_devcluster::ComponentName;

use crate::{
    history::Target,
    lease::LeaseError,
    limited::LimitedError,
    plan::{SkewError, Step},
};

pub use self::{
    devcluster::{Devcluster, Origin},
    exec::Exec,
    gitops::{COMPONENT, Gitops, GitopsError},
    leased::{Leased, RENEWED},
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
    /// A part of the cluster that is of another release than the rest.
    #[error("{component} is not of release {release}")]
    Other {
        /// Which.
        component: ComponentName,
        /// The release.
        release: String,
    },
    /// A step of another driver: the subscriber changed it while a roll-out was under way.
    #[error(
        "the roll-out that is under way was begun by another driver: this one knows no step `{0}`\nhelp:  name the other one in the subscriber's file again until the roll-out has come to its end"
    )]
    Foreign(Step),
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
    /// A command cannot be started, or takes too long.
    #[error(transparent)]
    Limited(#[from] LimitedError),
}

impl DriverError {
    /// True where this says nothing of the release: the roll-out cannot go on now, and is what it was.
    pub fn is_no_verdict(&self) -> bool {
        matches!(self, Self::Lease(_) | Self::Foreign(_))
    }
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

    /// Takes back what the programs of `to` may have written and those of `from` may not understand, where that is so:
    /// before any step is undone, as an older etcd does not begin on what a newer one wrote, and nothing goes back while
    /// etcd or the API server is away. Done already, it changes nothing.
    fn restore(&mut self, from: &Target, to: &Target) -> Result<(), DriverError>;

    /// Brings up again what has ended, after all steps are undone.
    fn revive(&mut self, from: &Target) -> Result<(), DriverError>;

    /// Looks whether the cluster does its work with a release: new work, not what runs already.
    fn check(&mut self, runs: &Target) -> Result<(), DriverError>;

    /// Takes note that the cluster runs a release now.
    fn keep(&mut self, runs: &Target) -> Result<(), DriverError>;
}
