//! What a subscriber keeps of channels, so that nobody shows it older ones.

use std::collections::BTreeMap;

use kdistro_formats::{
    ChannelName, Digest, ReleaseName, channel::ReleaseChannel, layout, release::ReleaseRef,
};
use serde::{Deserialize, Serialize};

use super::refused::Refused;

/// What was seen of an environment, kept between one look and the next.
///
/// It belongs to the log, not to the address that it was read from: a mirror must not show less.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Seen {
    /// The fingerprint of the key that signs the log's checkpoints.
    pub log_key: Digest,
    /// How many leaves the log had.
    pub log_size: u64,
    /// Its root then.
    pub log_root: Digest,
    /// The channels that were looked at, each as it was then: one may be left for another.
    pub channels: BTreeMap<ChannelName, SeenChannel>,
}

/// What was seen of a channel.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SeenChannel {
    /// Where in the log its index stands.
    pub entry: u64,
    /// The index.
    pub index: ReleaseChannel,
}

impl Seen {
    /// A release as its channel offered it.
    pub fn offered(&self, release: &ReleaseName) -> Option<&ReleaseRef> {
        let offered = &self.channels.get(&release.channel)?.index.status.releases;
        offered.iter().find(|it| it.number == release.number)
    }
}

impl SeenChannel {
    /// Demands that an index, entry `entry` of the log, follows on this one: it is not older, no release's content
    /// changed, no number vanished, and nothing is offered any more of which was said that it should not be used.
    pub(super) fn check_follows(&self, index: &ReleaseChannel, entry: u64) -> Result<(), Refused> {
        let file = self.index.spec.channel.as_ref().map(layout::channel_index).unwrap_or_default();
        if entry < self.entry {
            return Err(Refused::RolledBack { file, found: entry, seen: self.entry });
        }
        match self.taken_back(index) {
            None => Ok(()),
            Some(what) => Err(Refused::TakenBack { file, what }),
        }
    }

    fn taken_back(&self, index: &ReleaseChannel) -> Option<String> {
        let (old, new) = (&self.index.status, &index.status);
        let withheld = |number| new.withheld.iter().find(|it| it.number == number);
        for release in &old.releases {
            let number = release.number;
            let offered = new.releases.iter().find(|it| it.number == number);
            let digest = match (offered, withheld(number)) {
                (Some(offered), _) => Some(offered.digest),
                (None, Some(withheld)) => withheld.digest,
                (None, None) => {
                    return Some(format!("{number} was offered, and is not listed any more"));
                }
            };
            if digest.is_some_and(|digest| digest != release.digest) {
                return Some(format!("{number} was {}, and is another now", release.digest));
            }
        }
        for yanked in &old.yanked {
            let number = yanked.number;
            let is_yanked = new.yanked.iter().any(|it| it.number == number);
            if !is_yanked && withheld(number).is_none() {
                return Some(format!(
                    "{number} was yanked ({}), and is not any more",
                    yanked.reason
                ));
            }
        }
        let lost = old.withheld.iter().find(|it| withheld(it.number).is_none());
        lost.map(|it| format!("{} was withheld ({}), and is not any more", it.number, it.reason))
    }
}
