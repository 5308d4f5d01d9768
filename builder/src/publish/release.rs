//! The way of a packaged release into the store and into its channel's index. Every step finds done what an earlier
//! run did.

use kdistro_formats::{canonical, channel::Withheld, release::ReleaseRef};
use kdistro_verify::hash;

use super::{PublishError, Published, Publisher, Ready, images, index::Change, number};
use crate::{
    config::channel::Channel,
    journal::{Entry, Journal},
    sign::keys::Keys,
};

/// Who offers a release, and where.
pub struct Offer<'a> {
    /// The keys that are published with it.
    pub keys: &'a Keys,
    /// The channel that it is offered in.
    pub channel: &'a Channel,
    /// The topic that announces the channel's releases.
    pub topic: Option<&'a str>,
    /// Earlier numbers that were cut elsewhere and are not offered here.
    pub skipped: &'a [Withheld],
}

impl Publisher<'_> {
    /// Claims the number of a release, and publishes all of it up to the signed manifest: nobody looks for it yet.
    pub fn publish(
        &self,
        ready: &Ready<'_>,
        offer: &Offer<'_>,
        journal: &mut Journal,
    ) -> Result<Published, PublishError> {
        let (release, channel) = (ready.name(), &offer.channel.channel);
        if release.channel != *channel {
            return Err(PublishError::OtherChannel { release, channel: channel.clone() });
        }
        self.refuse_early(ready, &release)?;
        // Before anything is claimed or signed: a log that was cut, and an index that was turned back.
        self.index(channel)?;
        self.registry.prepare(&images::repositories(ready))?;
        number::take(self.store, ready.claim)?;
        journal.write(&Entry::Claimed { claim: hash::sha256(&canonical::to_vec(ready.claim)?) })?;
        self.publish_keys(offer.keys, journal)?;
        self.publish_all(ready, journal)
    }

    /// Offers a published release in the index of its channel.
    pub fn offer(
        &self,
        published: &Published,
        offer: &Offer<'_>,
        journal: &mut Journal,
    ) -> Result<(), PublishError> {
        let offered = ReleaseRef { number: published.name.number, digest: published.digest };
        let change = Change::Release { offered, skipped: offer.skipped.to_vec() };
        self.change_index(offer.channel, offer.topic, &change, journal)
    }
}
