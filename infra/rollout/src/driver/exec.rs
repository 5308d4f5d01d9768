//! Any command: kops, Cluster API, whatever a subscriber has. The release stands in its environment.

use std::process::{Command, Stdio};

use super::{Driver, DriverError};
use crate::{history::Target, plan::Step};

/// How much of what a command wrote is kept, in bytes.
const SAID: usize = 4096;

/// A command that takes a cluster to a release, and says by its exit code whether it is there and well.
///
/// It is given `KDISTRO_RELEASE`, `KDISTRO_MANIFEST_DIGEST`, `KDISTRO_MANIFEST` (where the verified manifest is) and
/// `KDISTRO_STORE`. Going back it is run with the release before.
pub struct Exec {
    command: Vec<String>,
    store: String,
}

impl Exec {
    /// Takes program and arguments, and where releases are.
    pub fn new(command: Vec<String>, store: String) -> Self {
        Self { command, store }
    }

    #[expect(clippy::disallowed_methods, reason = "the subscriber's own command")]
    fn run(&self, to: &Target) -> Result<(), DriverError> {
        let said = self.command.join(" ");
        let (program, arguments) = self.command.split_first().unzip();
        let mut command = Command::new(program.map_or("", String::as_str));
        command.args(arguments.unwrap_or_default()).stdin(Stdio::null());
        command.env("KDISTRO_RELEASE", to.name.to_string());
        command.env("KDISTRO_MANIFEST_DIGEST", to.digest.to_string());
        command.env("KDISTRO_MANIFEST", to.manifest(&self.store));
        command.env("KDISTRO_STORE", self.store.trim_end_matches('/'));
        let output = command
            .output()
            .map_err(|source| DriverError::Start { command: said.clone(), source })?;
        if output.status.success() {
            return Ok(());
        }
        let text = [output.stdout, output.stderr].concat();
        let end = text.get(text.len().saturating_sub(SAID)..).unwrap_or_default();
        Err(DriverError::Command {
            command: said,
            how: output.status.to_string(),
            said: String::from_utf8_lossy(end).trim_end().to_owned(),
        })
    }
}

impl Driver for Exec {
    fn steps(&self, _: &Target, _: &Target) -> Result<Vec<Step>, DriverError> {
        Ok(vec![Step::Command])
    }

    fn carry_out(&mut self, step: Step, to: &Target) -> Result<(), DriverError> {
        if step == Step::Command { self.run(to) } else { Ok(()) }
    }

    fn gate(&self, _: Step) -> Result<(), DriverError> {
        Ok(())
    }

    fn restore(&mut self, _: &Target, _: &Target) -> Result<(), DriverError> {
        Ok(())
    }

    fn check(&mut self, _: &Target) -> Result<(), DriverError> {
        Ok(())
    }

    fn keep(&mut self, _: &Target) -> Result<(), DriverError> {
        Ok(())
    }
}
