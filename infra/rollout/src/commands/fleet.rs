//! `fleet`: what the reports of many clusters say.

use std::{fs, process::ExitCode};

use kdistro_rollout::{
    file,
    fleet::{self, Fleet, Seen, fixes::Published, page},
    report::Place,
};
use kdistro_verify::{check::TrustSource, store, trust::PublicKey};

use super::{Failure, Program};
use crate::cli::{Asked, Releases};

impl Program {
    /// Reads the reports, answers, and remembers what was seen.
    pub(super) fn fleet(&self, asked: &Asked) -> Result<ExitCode, Failure> {
        let now = (self.now)();
        let seen = asked.seen.as_deref().map_or(Ok(Seen::default()), Seen::read)?;
        let place = Place::open(&asked.reports, asked.endpoint.as_deref())?;
        let mut fleet = fleet::gather(&place, &fleet::keys(&asked.keys)?, &seen)?;
        if let Some(most) = asked.silent_for {
            fleet.mark_silent(most, now);
        }
        if let (Some(cve), Some(releases)) = (&asked.lacks, &asked.releases) {
            self.mark(&mut fleet, cve, releases)?;
        }
        if let Some(out) = &asked.html {
            let written = page::page(&fleet, asked.lacks.as_deref(), now);
            file::replace(out, written.as_bytes())?;
        }
        self.print(&fleet, &page::table(&fleet, now))?;
        if let Some(file) = &asked.seen {
            seen.with(&fleet).write(file)?;
        }
        Ok(ExitCode::from(fleet.outcome().exit_code()))
    }

    fn mark(&self, fleet: &mut Fleet, cve: &str, releases: &Releases) -> Result<(), Failure> {
        let Releases { store, key, environment } = releases;
        let pem = fs::read_to_string(key).map_err(|error| format!("{}: {error}", key.display()))?;
        let key = PublicKey::from_pem(&pem)?;
        let reader = store::open(store, self.proxy.as_deref())?;
        let source = TrustSource { key, trusted_root: None };
        let published = Published { reader: &*reader, source: &source, environment };
        published.mark(fleet, cve);
        Ok(())
    }
}
