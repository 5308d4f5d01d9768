//! Gives up a number that was claimed and cannot be finished.

use kdistro_border::Content;
use kdistro_formats::{ReleaseName, channel::Withheld, layout};

use super::{
    PublishError, Publisher,
    index::{self, Change},
};
use crate::{config::channel::Channel, journal::Journal};

impl Publisher<'_> {
    /// Says in the index of the channel that a number is not offered, and leaves a record beside its claim.
    ///
    /// The index decides: where a run publishes the number at the same moment, one of both is refused.
    pub fn abandon(
        &self,
        release: &ReleaseName,
        reason: &str,
        (channel, topic): (&Channel, Option<&str>),
        journal: &mut Journal,
    ) -> Result<(), PublishError> {
        let digest = index::manifest_digest(self.store, release)?;
        let withheld = Withheld { number: release.number, digest, reason: reason.to_owned() };
        self.change_index(channel, topic, &Change::Withhold(withheld), journal)?;
        let said = format!("{reason}\n");
        self.store.create(&layout::abandoned(release), Content::Bytes(said.as_bytes()))?;
        Ok(())
    }
}
