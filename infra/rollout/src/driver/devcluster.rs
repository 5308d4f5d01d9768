//! A cluster of `infra/devcluster`: component after component.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use kdistro_devcluster::{
    Cluster, ComponentName, DevclusterError, Release, Source, TESTS, bring, bring_tests, brought,
    packages,
};
use kdistro_formats::Digest;
use kdistro_verify::check::{Scope, TrustSource};

use super::{Driver, DriverError};
use crate::{
    history::Target,
    plan::{self, Step, Versions},
    policy,
};

/// A cluster of this machine, and the releases that it may run.
pub struct Devcluster {
    cluster: Cluster,
    releases: BTreeMap<Digest, Release>,
    debian: PathBuf,
}

/// Where releases come from.
pub struct Origin<'a> {
    /// The store.
    pub store: &'a str,
    /// Whom to believe.
    pub trust: &'a TrustSource,
    /// A proxy for https.
    pub proxy: Option<&'a str>,
    /// Whether a roll-out is under way. Half-way there it matters more to arrive than where a release came from: it was
    /// proven then.
    pub goes_on: bool,
    /// Whether upstream's specs are wanted, too.
    pub has_specs: bool,
}

impl Origin<'_> {
    /// Verifies a release and brings it to a folder.
    fn bring(
        &self,
        target: &Target,
        (folder, node): (&Path, bool),
    ) -> Result<Release, DevclusterError> {
        let source = Source {
            manifest: target.manifest(self.store),
            store: None,
            trust: self.trust.clone(),
            proxy: self.proxy.map(str::to_owned),
            scope: Scope::Documents,
        };
        if node && self.has_specs {
            return bring_tests(&source, folder, &mut |_| {});
        }
        bring(&source, (folder, node), &mut |_| {})
    }
}

impl Devcluster {
    /// Opens a subscriber's cluster, and brings the releases that it may run.
    pub fn open(
        place: &policy::Devcluster,
        targets: &[&Target],
        origin: &Origin<'_>,
    ) -> Result<Self, DevclusterError> {
        let cluster = Cluster::open(&place.home, &place.name)?;
        let (own, node) = (cluster.state().release.clone(), cluster.state().node);
        let folder = kdistro_devcluster::releases(&place.home);
        let mut releases = vec![own.clone()];
        for target in targets {
            let is_complete =
                |release: &Release| !origin.has_specs || !node || release.program(TESTS).is_file();
            let there = if own.digest == target.digest {
                Some(own.clone()).filter(is_complete)
            } else {
                origin.goes_on.then(|| brought(&folder, &target.digest, node)).flatten()
            };
            let release = there.map_or_else(|| origin.bring(target, (&folder, node)), Ok)?;
            releases.push(release);
        }
        let debian = if node { packages()? } else { PathBuf::from("/") };
        Ok(Self::new(cluster, releases, debian))
    }

    /// Takes a cluster; `releases` are those that it runs and is to run, `debian` is where containerd lies.
    pub fn new(
        cluster: Cluster,
        releases: impl IntoIterator<Item = Release>,
        debian: PathBuf,
    ) -> Self {
        let releases = releases.into_iter().map(|release| (release.digest, release)).collect();
        Self { cluster, releases, debian }
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    fn release(&self, target: &Target) -> Result<&Release, DriverError> {
        let found = self.releases.get(&target.digest);
        found.ok_or_else(|| DriverError::Unknown(target.name.to_string()))
    }

    fn versions(&self, target: &Target) -> Result<Versions, DriverError> {
        let release = self.release(target)?;
        let (kubernetes, etcd) = (release.kubernetes.clone(), release.etcd.clone());
        Ok(Versions { kubernetes: Some(kubernetes), etcd: Some(etcd) })
    }
}

impl Driver for Devcluster {
    fn steps(&self, from: &Target, to: &Target) -> Result<Vec<Step>, DriverError> {
        plan::check(&self.versions(from)?, &self.versions(to)?)?;
        let dns = self.release(from)?.coredns || self.release(to)?.coredns;
        Ok(plan::steps(self.cluster.state().node, dns))
    }

    fn carry_out(&mut self, step: Step, to: &Target) -> Result<(), DriverError> {
        let (release, cluster) = (self.release(to)?, &self.cluster);
        match step {
            Step::Snapshot => {
                if cluster.state().node {
                    cluster.note_deployments()?;
                }
                cluster.snapshot(release)?;
            }
            Step::Images => cluster.bring_images(release, &self.debian)?,
            Step::Replace(component) => cluster.replace(component, release, &self.debian)?,
            Step::Dns => cluster.replace_dns(release)?,
            Step::Close => cluster.cordon(true)?,
            Step::Drain => cluster.drain()?,
            Step::Open => {
                cluster.cordon(false)?;
                cluster.await_dns(release)?;
                cluster.await_deployments()?;
            }
            Step::Command | Step::Commit => return Err(DriverError::Foreign(step)),
        }
        Ok(())
    }

    fn gate(&self, step: Step) -> Result<(), DriverError> {
        // Who talks to the API server may take a moment to find the new one.
        let affected = match step {
            Step::Replace(ComponentName::Etcd | ComponentName::KubeApiserver) => {
                self.cluster.components()
            }
            Step::Replace(component) => vec![component],
            _ => Vec::new(),
        };
        for component in affected {
            self.cluster.await_health(component)?;
        }
        if self.cluster.state().node { Ok(self.cluster.await_node()?) } else { Ok(()) }
    }

    fn restore(&mut self, from: &Target, to: &Target) -> Result<(), DriverError> {
        let release = self.release(from)?;
        if plan::needs_snapshot(&self.versions(from)?, &self.versions(to)?) {
            self.cluster.restore(release, &self.debian)?;
        }
        Ok(self.cluster.rescue(release, &self.debian)?)
    }

    fn revive(&mut self, from: &Target) -> Result<(), DriverError> {
        // What others needed and did not get may have ended meanwhile.
        Ok(self.cluster.revive(self.release(from)?, &self.debian)?)
    }

    fn check(&mut self, runs: &Target) -> Result<(), DriverError> {
        let release = self.release(runs)?;
        for component in self.cluster.components() {
            self.cluster.await_health(component)?;
        }
        let running = self.cluster.runs()?;
        let of_release = |component: &ComponentName| *component != ComponentName::Containerd;
        for component in self.cluster.components().into_iter().filter(of_release) {
            if running.get(&component) != Some(&release.digest) {
                let release = release.name.clone();
                return Err(DriverError::Other { component, release });
            }
        }
        Ok(self.cluster.canary(release)?)
    }

    fn keep(&mut self, runs: &Target) -> Result<(), DriverError> {
        let release = self.release(runs)?.clone();
        Ok(self.cluster.record(&release)?)
    }
}
