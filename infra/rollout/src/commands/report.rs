//! `report`: a report of how things are now, and the key that it is believed by.

use std::{path::Path, process::ExitCode};

use kdistro_rollout::report;
use serde_json::json;

use super::{Failure, Program, subscriber};

impl Program {
    /// Writes a report, and says by which key it is believed.
    pub(super) fn report(&self, config: &Path) -> Result<ExitCode, Failure> {
        let subscriber = subscriber(config)?;
        if subscriber.report.is_none() {
            self.log().note(&format!("{} names no place for reports", config.display()));
            return Ok(ExitCode::from(1));
        }
        let key = report::key(&subscriber)?.public_key_pem()?;
        let history = self.open(Some(&subscriber))?;
        // Reports are numbered one after the other.
        let _turn = history.turn()?;
        let written = report::write(&history, &subscriber, (self.now)())?;
        self.print(&json!({"key": key, "report": written}), &key)?;
        Ok(ExitCode::SUCCESS)
    }
}
