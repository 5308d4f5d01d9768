//! `approve`, `hold` and `resume`: what a person says of releases.

use std::process::ExitCode;

use kdistro_formats::ReleaseName;
use kdistro_rollout::history::{Change, Event, Held, What};

use super::{Failure, Program};

impl Program {
    /// Lets a release be rolled out that the policy asks somebody about.
    pub(super) fn approve(&self, release: &ReleaseName) -> Result<ExitCode, Failure> {
        let history = self.open(None)?;
        let follows = history.standing(0)?.follows;
        let seen = follows.map(|follows| history.seen(&follows.environment)).transpose()?.flatten();
        let Some(found) = seen.as_ref().and_then(|seen| seen.offered(release)) else {
            let text = "the channel did not offer release";
            self.log().note(&format!("{text} {release} when it was looked at last"));
            return Ok(ExitCode::from(1));
        };
        let event = self.event(release, What::Approved, format!("manifest {}", found.digest));
        history.write(&event, &Change::Approve(found))?;
        Ok(ExitCode::SUCCESS)
    }

    /// Keeps a release away, or all of them.
    pub(super) fn hold(
        &self,
        release: Option<&ReleaseName>,
        reason: &str,
    ) -> Result<ExitCode, Failure> {
        let history = self.open(None)?;
        let Some(release) = release else {
            history.pause(Some(reason))?;
            return Ok(ExitCode::SUCCESS);
        };
        let event = self.event(release, What::Held, reason.to_owned());
        let (release, why) = (release.clone(), reason.to_owned());
        let held = Held { release, since: event.at, why, failed: false };
        history.write(&event, &Change::Hold(&held))?;
        Ok(ExitCode::SUCCESS)
    }

    /// Lets a release that is held come after all, or all that are not held themselves.
    pub(super) fn resume(&self, release: Option<&ReleaseName>) -> Result<ExitCode, Failure> {
        let history = self.open(None)?;
        let Some(release) = release else {
            history.pause(None)?;
            return Ok(ExitCode::SUCCESS);
        };
        if !history.held()?.iter().any(|held| held.release == *release) {
            self.log().note(&format!("release {release} is not held"));
            return Ok(ExitCode::from(1));
        }
        let event = self.event(release, What::Released, "it may be rolled out again".to_owned());
        history.write(&event, &Change::Release(release))?;
        Ok(ExitCode::SUCCESS)
    }

    fn event(&self, release: &ReleaseName, what: What, text: String) -> Event {
        Event { at: (self.now)(), release: release.clone(), what, text }
    }
}
