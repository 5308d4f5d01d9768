//! Yanks a release: its files stay and stay authentic, and the channel's signed index says not to use it.

use kdistro_formats::{ReleaseName, channel::Yanked};

use super::{PublishError, Publisher, index::Change};
use crate::{config::channel::Channel, journal::Journal};

/// Why a release cannot be yanked.
#[derive(Debug, thiserror::Error)]
pub enum YankError {
    /// The index cannot be read or changed.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The channel's index does not offer it.
    #[error("release {0} is not in the index of its channel: it is not published yet")]
    NotOffered(ReleaseName),
    /// The channel's index does not offer it, and says why.
    #[error("release {release} is withheld already: {reason}")]
    Withheld {
        /// The release.
        release: ReleaseName,
        /// Why.
        reason: String,
    },
    /// It is yanked for another reason, which readers of the index may hold on to.
    #[error("release {release} is yanked already, for another reason: {reason}")]
    Already {
        /// The release.
        release: ReleaseName,
        /// Why.
        reason: String,
    },
}

impl Publisher<'_> {
    /// Says in the index of the channel that a release should not be used. Saying it again changes nothing.
    pub fn yank(
        &self,
        release: &ReleaseName,
        reason: &str,
        (channel, topic): (&Channel, Option<&str>),
        journal: &mut Journal,
    ) -> Result<(), YankError> {
        let number = release.number;
        let not_offered = || YankError::NotOffered(release.clone());
        let current = self.index(&release.channel)?.ok_or_else(not_offered)?;
        let status = &current.index.status;
        if let Some(withheld) = status.withheld.iter().find(|withheld| withheld.number == number) {
            let (release, reason) = (release.clone(), withheld.reason.clone());
            return Err(YankError::Withheld { release, reason });
        }
        if !status.releases.iter().any(|offered| offered.number == number) {
            return Err(not_offered());
        }
        let change = Change::Yank(Yanked { number, reason: reason.to_owned() });
        self.change_index(channel, topic, &change, journal)?;
        // Somebody else may have been first, now or long ago.
        let said = self.index(&release.channel)?.ok_or_else(not_offered)?;
        let other = said.index.status.yanked.into_iter().find(|yanked| yanked.number == number);
        match other.filter(|yanked| yanked.reason != reason) {
            Some(Yanked { reason, .. }) => {
                Err(YankError::Already { release: release.clone(), reason })
            }
            None => Ok(()),
        }
    }
}
