//! Why a release was not published.

use std::{io, path::PathBuf};

use kdistro_assemble::image::ImageError;
use kdistro_border::{RegistryError, StoreError};
use kdistro_formats::{
    ChannelName, Digest, ReleaseName, canonical::CanonicalError, oci::OciError,
    release::ManifestError, yaml::WriteError,
};
use kdistro_verify::{bundle::BundleError, trust::TrustError};

use super::number::NumberError;
use crate::{
    content::ContentError,
    journal::JournalError,
    release::ReleaseError,
    sign::{SigningError, keys::KeysError, log::LogError},
};

/// Why a release could not be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The registry refused.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// What is said about an image cannot be written.
    #[error("cannot write what refers to image `{repository}`")]
    Image {
        /// Its repository.
        repository: String,
        /// Why.
        source: ImageError,
    },
    /// A document could not be signed.
    #[error("cannot sign `{document}`")]
    Sign {
        /// Its name in the store.
        document: String,
        /// Why.
        source: SigningError,
    },
    /// The manifest cannot be made.
    #[error("cannot make the manifest")]
    Release(#[from] ReleaseError),
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A document in the store is not what it should be.
    #[error("`{document}` in the store")]
    Published {
        /// Its name.
        document: String,
        /// What is wrong.
        source: ManifestError,
    },
    /// A name that all releases share holds something else.
    #[error(
        "`{name}` is already published with other content: {published}, not {digest}\nhelp:  a published name never changes: give the changed file a new name"
    )]
    Taken {
        /// The name.
        name: String,
        /// What is there.
        published: Digest,
        /// What was to be stored.
        digest: Digest,
    },
    /// What is to be published is damaged on this machine.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// A file that holds what is to be published cannot be read.
    #[error("cannot publish from {}", path.display())]
    Elsewhere {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// What an image consists of cannot be read.
    #[error("cannot read what an image consists of")]
    Oci(#[from] OciError),
    /// A document in the store is not signed by this environment.
    #[error(
        "`{document}` in the store is not signed by this environment's key\nhelp:  find out who wrote it before anything else is published"
    )]
    Forged {
        /// Its name.
        document: String,
        /// What is wrong.
        source: BundleError,
    },
    /// A signed document has no bundle.
    #[error("`{0}` has no bundle in the store")]
    Unsigned(String),
    /// A document cannot be written as YAML.
    #[error("cannot write a document as YAML")]
    Write(#[from] WriteError),
    /// A document cannot be written as JSON.
    #[error("cannot write a document as JSON")]
    Canonical(#[from] CanonicalError),
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A public key is not one.
    #[error("the public key")]
    Trust(#[from] TrustError),
    /// Something that was to be there is not.
    #[error(
        "`{0}` is missing in the store although the journal says that it was published\nhelp:  move the journal away and run this again: everything is then compared with the store"
    )]
    Vanished(String),
    /// Somebody else decided otherwise about a number, maybe at this moment.
    #[error("release {release} {what}")]
    Settled {
        /// The release.
        release: ReleaseName,
        /// What the channel's index says of it.
        what: String,
    },
    /// The index is older than one that was seen.
    #[error(
        "`{0}` in the store is older than the one that {known} proves: it was turned back\nhelp:  put the newer one back; what it says of yanked releases would be lost", known = .1.display()
    )]
    TurnedBack(String, PathBuf),
    /// A release was to be published in another channel than it is of.
    #[error("release {release} is not of channel {channel}")]
    OtherChannel {
        /// The release.
        release: ReleaseName,
        /// The channel.
        channel: ChannelName,
    },
    /// The environment's keys are not what they should be.
    #[error("the environment's keys")]
    Signing(#[from] SigningError),
    /// The log cannot be trusted.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Others kept changing the index.
    #[error("`{0}` was changed by others again and again; try again")]
    Crowded(String),
    /// The claim of a number is held by others.
    #[error(transparent)]
    Number(#[from] NumberError),
}
