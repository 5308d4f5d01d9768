//! What is checked before a roll-out and after it: whatever passed before must pass after.

use std::path::PathBuf;

use kdistro_checks::{Check, ChecksError, JunitError, Order, Report, compare, run, write_junit};
use kdistro_devcluster::{Cluster, DevclusterError};

use crate::{
    file::{self, FileError},
    history::Target,
    policy::{self, RollOutBy, Subscriber},
};

/// Where results lie below the folder that remembers, as `JUnit` XML.
const FOLDER: &str = "checks";

/// Results that are not there.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Nothing can be told of the cluster.
    #[error(transparent)]
    Checks(#[from] ChecksError),
    /// The results cannot be put into words.
    #[error("the results as `JUnit` XML")]
    Junit(#[from] JunitError),
    /// The results cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// When it is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before anything is changed.
    Before,
    /// When all steps are done.
    After,
}

/// The checks of one cluster.
#[derive(Clone, Debug)]
pub struct Checks {
    order: Order,
    /// Where the results are kept.
    folder: PathBuf,
}

impl Checks {
    /// The checks that a subscriber wants; none where he wants none.
    pub fn of(subscriber: &Subscriber) -> Result<Option<Self>, DevclusterError> {
        let kubeconfig = match (&subscriber.driver, &subscriber.kubeconfig) {
            (RollOutBy::Devcluster(place), _) => {
                Some(Cluster::open(&place.home, &place.name)?.kubeconfig())
            }
            (_, given) => given.clone(),
        };
        let Some(kubeconfig) = kubeconfig.filter(|_| !subscriber.checks.is_empty()) else {
            return Ok(None);
        };
        let checks = subscriber.checks.iter().map(|check| match check {
            policy::Check::Builtin(_) => Check::Builtin,
            policy::Check::Command(command) => Check::Command(command.clone()),
            policy::Check::Job(file) => Check::Job(file.clone()),
        });
        let order = Order {
            owner: Some("kdistro-rollout".to_owned()),
            checks: checks.collect(),
            ..Order::new(kubeconfig)
        };
        Ok(Some(Self { order, folder: subscriber.state.join(FOLDER) }))
    }

    /// Checks the cluster, which should run a release.
    pub fn run(&self, runs: &Target) -> Result<Report, CheckError> {
        let order = Order { release: Some(runs.name.to_string()), ..self.order.clone() };
        Ok(run(&order, &mut |_| {})?)
    }

    /// Keeps the results of a check for the roll-out of a release.
    pub fn keep(
        &self,
        report: &Report,
        (release, when): (&Target, When),
    ) -> Result<(), CheckError> {
        let when = match when {
            When::Before => "before",
            When::After => "after",
        };
        let name = format!("{}-{when}", release.name);
        let results = write_junit(report, &name)?;
        Ok(file::replace(&self.folder.join(name + ".xml"), results.as_bytes())?)
    }
}

impl CheckError {
    /// True where it is the cluster that does not answer.
    pub fn is_of_cluster(&self) -> bool {
        use ChecksError::{Cluster, NoImage, Silent};
        matches!(self, Self::Checks(Cluster { .. } | Silent { .. } | NoImage))
    }
}

/// How many checks came to what, in words, and which failed.
pub fn counted(report: &Report) -> String {
    let [passed, failed, skipped] = report.counts();
    let names = report.failed().into_iter().map(|one| one.name.as_str()).collect::<Vec<_>>();
    let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    format!("{passed} checks passed, {failed} failed{names}, {skipped} skipped")
}

/// What passed before and does not after, or fails only after, in words; none where the roll-out broke nothing.
pub fn broken(before: Option<&Report>, after: &Report) -> Option<String> {
    compare(before.unwrap_or(&Report::default()), after).why()
}
