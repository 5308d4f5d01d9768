//! The announcement of a release, where it was made: a hint, which must not say other than what is signed.

use kdistro_formats::{
    announcement::{Announcement, LARGEST, SCHEMA},
    canonical, layout,
};

use super::{
    manifest::SignedManifest,
    reading::{Checker, SMALL},
    report::chain,
};
use crate::{hash, store};

impl Checker<'_> {
    /// Compares the announcements, which nothing signs, with the signed manifest and its bundle.
    pub(super) fn check_announcements(&mut self, signed: &SignedManifest) {
        self.check_announcement(signed, &layout::announcement(&signed.name), false);
        self.check_announcement(signed, &layout::yank_announcement(&signed.name), true);
    }

    fn check_announcement(&mut self, signed: &SignedManifest, file: &str, is_yanked: bool) {
        let Ok(Some(bytes)) = self.optional(file, LARGEST as u64) else { return };
        let said: Announcement = match canonical::from_slice(&bytes) {
            Ok(said) => said,
            Err(error) => return self.differs(file, chain(&error)),
        };
        let bundle = store::read(self.reader, &layout::bundle(&signed.file), SMALL);
        let bundle = bundle.ok().flatten().map(|bundle| hash::sha256(&bundle));
        let is_of_it = said.schema == SCHEMA
            && (&said.channel, said.number) == (&signed.name.channel, signed.name.number)
            && said.manifest.sha256 == signed.digest
            && Some(said.bundle.sha256) == bundle
            && said.previous == signed.release.spec.previous
            && said.yanked.is_some() == is_yanked
            && is_at(&said.manifest.uri, &signed.file)
            && is_at(&said.bundle.uri, &layout::bundle(&signed.file));
        let carried = [&said.manifest, &said.bundle].into_iter();
        let is_carried = carried.filter_map(|document| {
            let content = document.content.as_ref()?;
            Some(hash::sha256(content.as_bytes()) == document.sha256)
        });
        if !is_of_it || !is_carried.into_iter().all(|is_same| is_same) {
            self.differs(file, "announces something else than this release");
        }
    }
}

/// Tells whether an address is that of a name in some store.
fn is_at(uri: &str, name: &str) -> bool {
    uri.strip_suffix(name).is_some_and(|store| store.ends_with('/'))
}
