//! Why a release was not promoted.

use std::io;

use kdistro_border::StoreError;
use kdistro_formats::{
    ChannelName, Digest, ReleaseName, canonical::CanonicalError, oci::OciError,
    release::ManifestError,
};
use kdistro_verify::{bundle::BundleError, check::Report, trust::TrustError};

use crate::{
    config::environment::OnlyForDevelopment,
    content::ContentError,
    context::ContextError,
    home::HomeError,
    journal::JournalError,
    place::PlaceError,
    publish::{PublishError, announce::AnnouncementError},
};

/// Why a release was not promoted.
#[derive(Debug, thiserror::Error)]
pub enum PromoteError {
    /// The release is not what its environment signed, or nobody can tell.
    #[error("the release in `{from}` is not verified, so nothing was copied{}", problems(report))]
    NotVerified {
        /// The environment.
        from: String,
        /// What was found.
        report: Box<Report>,
    },
    /// Its own channel says that it should not be used.
    #[error("release {release} is withheld or yanked where it was cut: {reason}")]
    Settled {
        /// The release.
        release: ReleaseName,
        /// Why.
        reason: String,
    },
    /// A later number was promoted without it.
    #[error(
        "release {release} is withheld in `{to}`: {reason}\nhelp:  a number that was passed over stays so; cut and promote a new one"
    )]
    Passed {
        /// The release.
        release: ReleaseName,
        /// Where it was to go.
        to: String,
        /// Why.
        reason: String,
    },
    /// The other environment has this number with something else.
    #[error(
        "`{to}` has a release {release} of its own, with manifest {there}, not {digest}\nhelp:  a number is used once: let one environment alone feed `{to}`"
    )]
    Other {
        /// The release.
        release: ReleaseName,
        /// Where it was to go.
        to: String,
        /// What it is there.
        there: Digest,
        /// What was to be promoted.
        digest: Digest,
    },
    /// The other environment says that it should not be used.
    #[error("release {release} is yanked in `{to}`: {reason}")]
    Yanked {
        /// The release.
        release: ReleaseName,
        /// Where it was to go.
        to: String,
        /// Why.
        reason: String,
    },
    /// The release before it is another one in the other environment.
    #[error(
        "release {release} follows {number} with manifest {expected}, of which `{to}` does not know\nhelp:  let one environment alone feed `{to}`, and promote its releases in their order"
    )]
    Chain {
        /// The release.
        release: ReleaseName,
        /// Where it was to go.
        to: String,
        /// The number before it.
        number: u32,
        /// That one's manifest.
        expected: Digest,
    },
    /// Something that only a development environment takes.
    #[error(transparent)]
    Development(#[from] OnlyForDevelopment),
    /// Its tests did not pass, and must have.
    #[error(
        "release {release} has not passed a gate with a node in `{from}`, so `{to}` does not take it: its tests {found}\nhelp:  where they were not run, `kdistro cut {channel} --environment {from} --gate devcluster` as root runs them", channel = release.channel
    )]
    Untested {
        /// The release.
        release: ReleaseName,
        /// Where it is.
        from: String,
        /// Where it was to go.
        to: String,
        /// What is known of its tests.
        found: String,
    },
    /// It changed while it was promoted.
    #[error(
        "release {release} changed while it was promoted: its manifest is {found}, not {expected}"
    )]
    Changed {
        /// The release.
        release: ReleaseName,
        /// What there is.
        found: Digest,
        /// What there was.
        expected: Digest,
    },
    /// There is no such channel.
    #[error("channel {0} is not configured")]
    NoChannel(ChannelName),
    /// Something that was verified is gone.
    #[error("`{0}` is gone since it was verified")]
    Missing(String),
    /// Something that was verified cannot be read again.
    #[error("cannot read `{name}`")]
    Read {
        /// Its name in the store.
        name: String,
        /// What is wrong.
        source: io::Error,
    },
    /// An attestation is not what it should be.
    #[error("`{document}`")]
    Attestation {
        /// Its name in the store.
        document: String,
        /// What is wrong.
        source: BundleError,
    },
    /// A document cannot be read.
    #[error("cannot read a document of the release")]
    Manifest(#[from] ManifestError),
    /// A document cannot be read.
    #[error("cannot read a document of the release")]
    Canonical(#[from] CanonicalError),
    /// An image cannot be read.
    #[error("cannot read an image of the release")]
    Oci(#[from] OciError),
    /// The trusted root is not one.
    #[error("the trusted root")]
    Trust(#[from] TrustError),
    /// The command cannot begin.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The home folder cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The environment cannot be used.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// A store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Content cannot be kept.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// It cannot be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// It cannot be announced.
    #[error(transparent)]
    Announce(#[from] AnnouncementError),
}

/// The problems of a report, a line each.
fn problems(report: &Report) -> String {
    let line = |problem: &kdistro_verify::check::Problem| {
        format!("\n  {}: {}", problem.file, problem.message)
    };
    report.problems.iter().map(line).collect()
}
