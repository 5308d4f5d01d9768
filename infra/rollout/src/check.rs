//! What is checked before a roll-out and after it: whatever passed before must pass after.

use std::path::PathBuf;

use kdistro_checks::{
    Check, ChecksError, JunitError, Order, Report, compare, conformance::Conformance, run,
    write_junit,
};
use kdistro_devcluster::{Cluster, DevclusterError, REGISTRY, TESTS, brought, packages, releases};

use crate::{
    file::{self, FileError},
    history::Target,
    policy::{self, RollOutBy, Specs, Subscriber},
};

/// Where results lie below the folder that remembers, as `JUnit` XML.
const FOLDER: &str = "checks";

/// Results that are not there.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Nothing can be told of the cluster.
    #[error(transparent)]
    Checks(#[from] ChecksError),
    /// What upstream's specs need is not there.
    #[error("upstream's specs")]
    Specs(#[from] DevclusterError),
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
    wanted: Vec<policy::Check>,
    /// A devcluster, and the folder of its releases.
    devcluster: Option<(Cluster, PathBuf)>,
    /// Where the results are kept.
    folder: PathBuf,
}

impl Checks {
    /// The checks that a subscriber wants; none where he wants none.
    pub fn of(subscriber: &Subscriber) -> Result<Option<Self>, DevclusterError> {
        if subscriber.checks.is_empty() {
            return Ok(None);
        }
        let devcluster = match &subscriber.driver {
            RollOutBy::Devcluster(place) => {
                Some((Cluster::open(&place.home, &place.name)?, releases(&place.home)))
            }
            RollOutBy::Exec(_) | RollOutBy::Gitops(_) => None,
        };
        let own = devcluster.as_ref().map(|(cluster, _)| cluster.kubeconfig());
        let Some(kubeconfig) = own.or_else(|| subscriber.kubeconfig.clone()) else {
            return Ok(None);
        };
        let owner = Some("kdistro-rollout".to_owned());
        let order = Order { owner, ..Order::new(kubeconfig) };
        let (wanted, folder) = (subscriber.checks.clone(), subscriber.state.join(FOLDER));
        Ok(Some(Self { order, wanted, devcluster, folder }))
    }

    /// Checks the cluster, which should run a release.
    pub fn run(&self, runs: &Target) -> Result<Report, CheckError> {
        let checks = self.wanted.iter().map(|check| {
            Ok(match check {
                policy::Check::Builtin(_) => Check::Builtin,
                policy::Check::Command(command) => Check::Command(command.clone()),
                policy::Check::Job(file) => Check::Job(file.clone()),
                policy::Check::Conformance(specs) => {
                    Check::Conformance(self.conformance(specs, runs)?)
                }
            })
        });
        let checks = checks.collect::<Result<_, DevclusterError>>()?;
        let release = Some(runs.name.to_string());
        let order = Order { release, checks, ..self.order.clone() };
        Ok(run(&order, &mut |_| {})?)
    }

    /// Upstream's specs as the subscriber names them, or as the release that runs on a devcluster has them.
    fn conformance(&self, specs: &Specs, runs: &Target) -> Result<Conformance, DevclusterError> {
        let limit = self.order.own_limit;
        let of = |e2e_test: PathBuf, registry: Option<String>| {
            let kubectl = e2e_test.with_file_name("kubectl");
            Conformance { e2e_test, kubectl, registry, limit }
        };
        let (e2e_test, cluster) = match (&specs.e2e_test, &self.devcluster) {
            (None, Some(cluster)) => (PathBuf::from(TESTS), cluster),
            (given, _) => return Ok(of(given.clone().unwrap_or_default(), specs.registry.clone())),
        };
        let (cluster, folder) = cluster;
        // Without a node none of them is run.
        let brought = brought(folder, &runs.digest, true).filter(|_| cluster.state().node);
        let Some(release) = brought else { return Ok(of(e2e_test, None)) };
        cluster.bring_image_of_tests(&release, &packages()?)?;
        Ok(of(release.program(TESTS), Some(REGISTRY.to_owned())))
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
