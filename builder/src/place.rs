//! Where an environment's files, announcements and keys are, opened for use.

use kdistro_border::{Directory, FileAnnouncer, OciLayouts};
use kdistro_verify::trust::{Trust, TrustError};

use crate::{
    config::environment::Environment as Target,
    context::Context,
    sign::{
        Signing,
        keys::{Keys, KeysError},
        log::Log,
    },
};

/// An environment that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The trusted root is not one.
    #[error("the trusted root")]
    Trust(#[from] TrustError),
}

/// Where an environment's files, announcements and keys are.
pub struct Place {
    /// The environment.
    pub target: Target,
    /// The store.
    pub store: Directory,
    /// The registry.
    pub registry: OciLayouts,
    /// The announcer.
    pub announcer: FileAnnouncer,
    /// The keys.
    pub keys: Keys,
}

impl Place {
    /// Opens an environment; a development environment makes its keys when there are none.
    pub fn open(context: &Context, target: Target) -> Result<Self, PlaceError> {
        let folder =
            |place: &crate::config::environment::Place| context.home.resolve(&place.directory);
        let keys = folder(&target.keys);
        let keys = if target.development { Keys::open_or_make(&keys)? } else { Keys::open(&keys)? };
        Ok(Self {
            store: Directory::new(folder(&target.store)),
            registry: OciLayouts::new(folder(&target.registry)),
            announcer: FileAnnouncer::new(folder(&target.announcements)),
            keys,
            target,
        })
    }

    /// The signer and its log.
    pub fn signing(&self, context: &Context) -> Signing<'_> {
        let log = Log {
            store: &self.store,
            origin: &self.target.log_origin,
            signer: &self.keys.log,
            head: context.home.log_head(&self.target.log_origin),
        };
        Signing { signer: &self.keys.release, log }
    }

    /// Whom this environment itself believes.
    pub fn trust(&self) -> Result<Trust, PlaceError> {
        let root = self.keys.trusted_root(&self.target.log_origin)?;
        Ok(Trust::from_trusted_root(&root, &self.keys.release_key()?)?)
    }
}
