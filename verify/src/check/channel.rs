//! The channel index: signed, logged, and that it lists the release and what came before it.
//!
//! What an index said that was replaced is not in the store: the bundles that stay and the log prove that it was signed,
//! its digest, and in which order, but not its words, so that a yank which was taken back is shown only by somebody who
//! kept the index that said it. Where everything is checked, it is told when a newer index was signed than the channels
//! have, and when the log has entries whose documents are gone.

use kdistro_formats::{
    ChannelName, Digest,
    channel::{ChannelStatus, ReleaseChannel},
    layout,
    release::API_VERSION,
};

use super::{
    manifest::SignedManifest,
    reading::{Checker, DOCUMENT},
    report::chain,
};
use crate::{hash, trust::Trust};

/// Where a release stands in its channel.
enum Standing<'a> {
    Offered(Digest),
    Withheld(Option<Digest>, &'a str),
    Absent,
}

fn standing(status: &ChannelStatus, number: u32) -> Standing<'_> {
    if let Some(release) = status.releases.iter().find(|release| release.number == number) {
        return Standing::Offered(release.digest);
    }
    let withheld = status.withheld.iter().find(|withheld| withheld.number == number);
    withheld
        .map_or(Standing::Absent, |withheld| Standing::Withheld(withheld.digest, &withheld.reason))
}

impl Checker<'_> {
    /// Reads the signed index of a channel.
    pub(super) fn read_index(
        &mut self,
        channel: &ChannelName,
        trust: &Trust,
    ) -> Option<ReleaseChannel> {
        let file = layout::channel_index(channel);
        let bytes = self.document(&file, DOCUMENT)?;
        let bundle = layout::channel_bundle(&hash::sha256(&bytes));
        // The bundle's name is the index's digest: a changed index has none, and is what was changed.
        self.known.insert(bundle.clone());
        match self.reader.open(&bundle) {
            Ok(Some(_)) => {}
            Ok(None) => {
                self.differs(&file, format!("nothing signs this content: {bundle} is missing"));
                return None;
            }
            Err(error) => {
                self.unreadable(&bundle, &error);
                return None;
            }
        }
        self.check_bundle((&file, &bytes), &bundle, trust)?;
        self.indexes.insert(bundle);
        let index = match ReleaseChannel::from_yaml(&String::from_utf8_lossy(&bytes)) {
            Ok(index) => index,
            Err(error) => {
                self.differs(&file, chain(&error));
                return None;
            }
        };
        if index.api_version != API_VERSION || index.spec.channel.as_ref() != Some(channel) {
            self.differs(&file, format!("is not the index of channel `{channel}`"));
            return None;
        }
        Some(index)
    }

    /// Checks that the channel's index lists the release, and the one before it, with the right digests.
    pub(super) fn check_channel(&mut self, signed: &SignedManifest, trust: &Trust) {
        let file = layout::channel_index(&signed.name.channel);
        let Some(index) = self.read_index(&signed.name.channel, trust) else { return };
        let number = signed.name.number;
        match standing(&index.status, number) {
            Standing::Offered(digest) if digest == signed.digest => {}
            Standing::Withheld(Some(digest), reason) if digest == signed.digest => {
                self.known.insert(layout::abandoned(&signed.name));
                self.note(&signed.file, format!("is withheld: {reason}"));
            }
            Standing::Offered(digest) | Standing::Withheld(Some(digest), _) => {
                let found = signed.digest;
                self.differs(
                    &file,
                    format!("lists {number} as {digest}, but the manifest is {found}"),
                );
            }
            Standing::Withheld(None, _) => {
                self.differs(&file, format!("says that {number} was never made"));
            }
            Standing::Absent => self.differs(&file, format!("does not list {number}")),
        }
        if let Some(yanked) = index.status.yanked.iter().find(|yanked| yanked.number == number) {
            self.note(&signed.file, format!("is authentic, but was yanked: {}", yanked.reason));
        }
        self.check_previous(signed, &index, &file);
    }

    fn check_previous(&mut self, signed: &SignedManifest, index: &ReleaseChannel, file: &str) {
        let Some(previous) = &signed.release.spec.previous else { return };
        let number = previous.number;
        if number >= signed.name.number {
            self.differs(&signed.file, format!("says that {number} came before it"));
        }
        let digest = match standing(&index.status, number) {
            Standing::Offered(digest) => Some(digest),
            Standing::Withheld(digest, _) => digest,
            Standing::Absent => None,
        };
        if digest != Some(previous.digest) {
            let expected = previous.digest;
            self.differs(
                file,
                format!("does not list {number} as {expected}, as the manifest does"),
            );
        }
    }
}
