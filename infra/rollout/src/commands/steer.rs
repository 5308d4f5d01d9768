//! `approve`, `hold` and `resume`: what a person says of releases.

use std::process::ExitCode;

use kdistro_formats::ReleaseName;
use kdistro_rollout::history::{Change, Event, Held, What};

use serde_json::json;

use super::{Failure, Program};
use crate::cli::Of;

impl Program {
    /// Lets a release be rolled out that the policy asks somebody about.
    pub(super) fn approve(&self, release: &ReleaseName, of: &Of) -> Result<ExitCode, Failure> {
        let history = self.open_of(of)?;
        let follows = history.standing(0)?.follows;
        let seen = follows.map(|follows| history.seen(&follows.environment)).transpose()?.flatten();
        let Some(found) = seen.as_ref().and_then(|seen| seen.offered(release)) else {
            let text = "the channel did not offer release";
            self.log().note(&format!("{text} {release} when it was looked at last"));
            return Ok(ExitCode::from(1));
        };
        let event = self.event(release, What::Approved, format!("manifest {}", found.digest));
        history.write(&event, &Change::Approve(found))?;
        self.said(&event)
    }

    /// Keeps a release away, or all of them.
    pub(super) fn hold(
        &self,
        release: Option<&ReleaseName>,
        reason: &str,
        of: &Of,
    ) -> Result<ExitCode, Failure> {
        let history = self.open_of(of)?;
        let Some(release) = release else {
            history.pause(Some(reason))?;
            return self.done("nothing is rolled out until `resume`");
        };
        let event = self.event(release, What::Held, reason.to_owned());
        let (release, why) = (release.clone(), reason.to_owned());
        let held = Held { release, since: event.at, why, failed: false };
        history.write(&event, &Change::Hold(&held))?;
        self.said(&event)
    }

    /// Lets a release that is held come after all, or all that are not held themselves.
    pub(super) fn resume(
        &self,
        release: Option<&ReleaseName>,
        of: &Of,
    ) -> Result<ExitCode, Failure> {
        let history = self.open_of(of)?;
        let Some(release) = release else {
            history.pause(None)?;
            return self.done("releases are rolled out again, from the next look on");
        };
        if !history.held()?.iter().any(|held| held.release == *release) {
            self.log().note(&format!("release {release} is not held"));
            return Ok(ExitCode::from(1));
        }
        let event = self.event(release, What::Released, "it may be rolled out again".to_owned());
        history.write(&event, &Change::Release(release))?;
        self.said(&event)
    }

    /// Says what was written down; nobody is woken by it.
    fn said(&self, event: &Event) -> Result<ExitCode, Failure> {
        self.done(&format!("{} {}, which the next look heeds", event.release, event.what))
    }

    fn done(&self, text: &str) -> Result<ExitCode, Failure> {
        self.print(&json!({"done": text}), &format!("{text}\n"))?;
        Ok(ExitCode::SUCCESS)
    }

    fn event(&self, release: &ReleaseName, what: What, text: String) -> Event {
        Event { at: (self.now)(), release: release.clone(), what, text }
    }
}
