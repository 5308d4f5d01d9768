//! A cluster of `infra/devcluster`: component after component.

use std::{collections::BTreeMap, path::PathBuf};

use kdistro_devcluster::{Cluster, ComponentName, Release};
use kdistro_formats::Digest;

use super::{Driver, DriverError};
use crate::{
    history::Target,
    plan::{self, Step, Versions},
};

/// A cluster of this machine, and the releases that it may run.
pub struct Devcluster {
    cluster: Cluster,
    releases: BTreeMap<Digest, Release>,
    debian: PathBuf,
}

impl Devcluster {
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
        Ok(Versions { kubernetes: release.kubernetes.clone(), etcd: release.etcd.clone() })
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
            Step::Snapshot => cluster.snapshot(release)?,
            Step::Images => cluster.bring_images(release, &self.debian)?,
            Step::Replace(component) => cluster.replace(component, release, &self.debian)?,
            Step::Dns => cluster.replace_dns(release)?,
            Step::Close => cluster.cordon(true)?,
            Step::Drain => cluster.drain()?,
            Step::Open => {
                cluster.cordon(false)?;
                cluster.await_dns(release)?;
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
        Ok(())
    }

    fn restore(&mut self, from: &Target, to: &Target) -> Result<(), DriverError> {
        let release = self.release(from)?;
        if plan::needs_snapshot(&self.versions(from)?, &self.versions(to)?) {
            self.cluster.restore(release, &self.debian)?;
        }
        Ok(())
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
