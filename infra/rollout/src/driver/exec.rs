//! Any command: kops, Cluster API, whatever a subscriber has. The release stands in its environment.

use std::{collections::BTreeMap, process::Command, time::Duration};

use kdistro_formats::Digest;

use super::{Driver, DriverError};
use crate::{
    history::Target,
    limited::{self, Limits},
    plan::{self, Step, Versions},
    policy,
};

/// How much of what a command wrote is kept of each of its outputs, in bytes.
const SAID: usize = 4096;

/// A command that takes a cluster to a release, and says by its exit code whether it is there and well.
///
/// It is given `KDISTRO_RELEASE`, `KDISTRO_MANIFEST_DIGEST`, `KDISTRO_MANIFEST` (where the verified manifest is) and
/// `KDISTRO_STORE`. Going back it is run with the release before.
pub struct Exec {
    command: Vec<String>,
    timeout: Duration,
    store: String,
    versions: BTreeMap<Digest, Versions>,
}

impl Exec {
    /// Takes what the subscriber says of it, and where releases are.
    pub fn new(exec: &policy::Exec, store: String) -> Self {
        let timeout = exec.timeout.as_duration().unsigned_abs();
        Self { command: exec.command.clone(), timeout, store, versions: BTreeMap::new() }
    }

    /// Takes the versions of a release. Of the way between two that are known the rules are looked at before the command is
    /// run; of others it knows best itself.
    pub fn know(&mut self, digest: Digest, versions: Versions) {
        self.versions.insert(digest, versions);
    }

    #[expect(clippy::disallowed_methods, reason = "the subscriber's own command")]
    fn run(&self, to: &Target) -> Result<(), DriverError> {
        let (program, arguments) = self.command.split_first().unzip();
        let mut command = Command::new(program.map_or("", String::as_str));
        command.args(arguments.unwrap_or_default());
        command.env("KDISTRO_RELEASE", to.name.to_string());
        command.env("KDISTRO_MANIFEST_DIGEST", to.digest.to_string());
        command.env("KDISTRO_MANIFEST", to.manifest(&self.store));
        command.env("KDISTRO_STORE", self.store.trim_end_matches('/'));
        let limits = Limits { time: self.timeout, bytes: SAID, is_part: true };
        let ended = limited::run(&mut command, b"", limits)?;
        if ended.status.success() {
            return Ok(());
        }
        let (command, how) = (limited::typed(&command), ended.status.to_string());
        Err(DriverError::Command { command, how, said: ended.text() })
    }
}

impl Driver for Exec {
    fn steps(&self, from: &Target, to: &Target) -> Result<Vec<Step>, DriverError> {
        let known = [from, to].map(|target| self.versions.get(&target.digest));
        if let [Some(from), Some(to)] = known {
            plan::check(from, to)?;
        }
        Ok(vec![Step::Command])
    }

    fn carry_out(&mut self, step: Step, to: &Target) -> Result<(), DriverError> {
        if step == Step::Command { self.run(to) } else { Err(DriverError::Foreign(step)) }
    }

    fn gate(&self, _: Step) -> Result<(), DriverError> {
        Ok(())
    }

    fn restore(&mut self, _: &Target, _: &Target) -> Result<(), DriverError> {
        Ok(())
    }

    fn revive(&mut self, _: &Target) -> Result<(), DriverError> {
        Ok(())
    }

    fn check(&mut self, _: &Target) -> Result<(), DriverError> {
        Ok(())
    }

    fn keep(&mut self, _: &Target) -> Result<(), DriverError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use kdistro_formats::yaml;
    use kdistro_verify::hash::sha256;

    use super::*;

    #[test]
    fn the_rules_of_versions_count_where_both_releases_are_known() {
        let text = "command: [\"true\"]";
        let mut exec = Exec::new(&yaml::from_str(text).unwrap(), "store".to_owned());
        let target = |name: &str| {
            let release = name.parse().unwrap();
            Target { name: release, digest: sha256(name.as_bytes()) }
        };
        let (from, to) = (target("1-20-1"), target("1-20-2"));
        let versions = |etcd: &str| Versions { kubernetes: None, etcd: etcd.parse().ok() };
        exec.know(from.digest, versions("3.4.0"));
        assert_eq!(exec.steps(&from, &to).unwrap(), [Step::Command]);
        exec.know(to.digest, versions("3.6.0"));
        let error = exec.steps(&from, &to).unwrap_err();
        assert!(error.to_string().starts_with("etcd would go from 3.4.0 to 3.6.0 at once"));
    }
}
