//! `approve`, `hold` and `resume`: what a person says of releases.

use std::process::ExitCode;

use kdistro_formats::ReleaseName;
use kdistro_rollout::history::{Change, Event, Held, History, What};

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
        let text = format!("manifest {}", found.digest);
        self.say(&history, (Some(release), What::Approved, text), &Change::Approve(found))
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
            let said = (None, What::Paused, reason.to_owned());
            return self.say(&history, said, &Change::Pause(reason));
        };
        let (why, since) = (reason.to_owned(), (self.now)());
        let held = Held { release: release.clone(), since, why, failed: false };
        let said = (Some(release), What::Held, reason.to_owned());
        self.say(&history, said, &Change::Hold(&held))
    }

    /// Lets a release that is held come after all, or all that are not held themselves.
    pub(super) fn resume(
        &self,
        release: Option<&ReleaseName>,
        of: &Of,
    ) -> Result<ExitCode, Failure> {
        let history = self.open_of(of)?;
        let Some(release) = release else {
            if history.paused()?.is_none() {
                self.log().note(
                    "roll-outs are not paused; a release that is held is named: `resume RELEASE`",
                );
                return Ok(ExitCode::from(1));
            }
            let said = (None, What::Unpaused, "releases are rolled out again".to_owned());
            return self.say(&history, said, &Change::Unpause);
        };
        if !history.held()?.iter().any(|held| held.release == *release) {
            self.log().note(&format!("release {release} is not held"));
            return Ok(ExitCode::from(1));
        }
        let said = (Some(release), What::Released, "it may be rolled out again".to_owned());
        self.say(&history, said, &Change::Release(release))
    }

    /// Writes down what was said, and wakes who waits for the next look.
    fn say(
        &self,
        history: &History,
        (release, what, text): (Option<&ReleaseName>, What, String),
        change: &Change<'_>,
    ) -> Result<ExitCode, Failure> {
        let about = release.map_or("roll-outs".to_owned(), ToString::to_string);
        let event = Event { at: (self.now)(), release: release.cloned(), what, text };
        history.write(&event, change)?;
        let done = format!("{about} {what}; the next look heeds it");
        if let Err(error) = history.wake().call() {
            self.log().note(&format!("nobody is woken: {error}"));
        }
        self.print(&json!({"done": done}), &format!("{done}\n"))?;
        Ok(ExitCode::SUCCESS)
    }
}
