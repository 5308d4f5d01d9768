//! What is known to be in which repository, so that it is asked for and sent once only.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use kdistro_formats::Digest;

use super::locked;

/// What a digest stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Blob,
    Manifest,
}

/// In which repositories a digest was found, and how long it is where that was told.
type Places = BTreeMap<String, Option<u64>>;

/// What was found or pushed since the registry was opened.
#[derive(Clone, Default)]
pub(super) struct Seen(Arc<Mutex<BTreeMap<(Kind, Digest), Places>>>);

impl Seen {
    pub(super) fn note(&self, kind: Kind, digest: &Digest, repository: &str, size: Option<u64>) {
        let mut seen = locked(&self.0);
        seen.entry((kind, *digest)).or_default().insert(repository.to_owned(), size);
    }

    /// Returns the length of what is there, where that was told; `None` when nothing is known.
    #[expect(
        clippy::option_option,
        reason = "there or not, and its length where the registry tells it"
    )]
    pub(super) fn size(
        &self,
        kind: Kind,
        digest: &Digest,
        repository: &str,
    ) -> Option<Option<u64>> {
        locked(&self.0).get(&(kind, *digest))?.get(repository).copied()
    }

    /// Forgets what does not seem to be there any more.
    pub(super) fn forget(&self, kind: Kind, digest: &Digest, repository: &str) {
        if let Some(places) = locked(&self.0).get_mut(&(kind, *digest)) {
            places.remove(repository);
        }
    }

    /// Finds another repository that has a blob.
    pub(super) fn elsewhere(&self, digest: &Digest, repository: &str) -> Option<String> {
        let seen = locked(&self.0);
        let mut places = seen.get(&(Kind::Blob, *digest))?.keys();
        places.find(|place| *place != repository).cloned()
    }
}
