//! Why a cut did not end well.

use kdistro_border::{AnnounceError, StoreError};
use kdistro_formats::{ChannelName, canonical::CanonicalError};

use crate::{
    build::BuildError,
    config::environment::OnlyForDevelopment,
    content::ContentError,
    context::ContextError,
    fetch::FetchError,
    gate::{GateError, TryError},
    home::HomeError,
    journal::JournalError,
    package::PackageError,
    place::PlaceError,
    plan::PlanError,
    publish::{PublishError, announce::AnnouncementError, number::NumberError},
};

/// Why a cut did not end well.
#[derive(Debug, thiserror::Error)]
pub enum CutError {
    /// A document of the release cannot be made.
    #[error("cannot make `{name}`")]
    Document {
        /// Its name.
        name: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The command cannot begin.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The home folder cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// There is no plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The lock is older than the configuration.
    #[error(
        "release-manifests/{channel}/channel.lock.yaml {what}\nhelp:  run `kdistro lock {channel}`, look at the difference, and commit it"
    )]
    Stale {
        /// The channel.
        channel: ChannelName,
        /// Where they disagree.
        what: String,
    },
    /// There is no such channel.
    #[error("channel {0} is not configured")]
    NoChannel(ChannelName),
    /// An input cannot be had.
    #[error("cannot fetch the inputs")]
    Fetch(#[from] FetchError),
    /// A step failed.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// An asset cannot be made.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// A number cannot be had.
    #[error(transparent)]
    Number(#[from] NumberError),
    /// The release cannot be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The release could not be tried.
    #[error(transparent)]
    Gate(#[from] TryError),
    /// The release cannot be announced.
    #[error(transparent)]
    Announce(#[from] AnnouncementError),
    /// The announcer refused.
    #[error(transparent)]
    Announcer(#[from] AnnounceError),
    /// The environment cannot be used.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The plan cannot be written.
    #[error("cannot write the plan")]
    Canonical(#[from] CanonicalError),
    /// Content cannot be kept.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// Something that only a development environment may publish.
    #[error(transparent)]
    Development(#[from] OnlyForDevelopment),
}

impl From<GateError> for CutError {
    fn from(source: GateError) -> Self {
        Self::Gate(source.into())
    }
}
