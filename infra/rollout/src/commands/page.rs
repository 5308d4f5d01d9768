//! `page`: the status page as a file.

use std::{path::Path, process::ExitCode};

use kdistro_rollout::{file, tell};

use super::{Failure, Program};
use crate::cli::Of;

impl Program {
    /// Writes the status page into a file.
    pub(super) fn page(&self, out: &Path, of: &Of) -> Result<ExitCode, Failure> {
        let standing = self.standing(of, tell::EVENTS)?;
        file::replace(out, tell::page::page(&standing, (self.now)()).as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}
