//! Changes of a running cluster: one component after the other to another release, and etcd's content there and back.

use std::{collections::BTreeMap, fs, path::Path, thread, time::Instant};

use kdistro_formats::Digest;

use super::{Cluster, HEALTHY, LOOK, Result};
use crate::{
    DevclusterError,
    component::{ComponentName, ETCD, ETCD_NAME, ETCD_PEER, NODE},
    config,
    control::{Process, Request},
    host,
    release::Release,
};

/// How often in turn two API servers behind one port must answer: either may be the one that is asked.
const ANSWERS: u32 = 20;

/// How long etcd may take to hand over its content, in seconds.
const SNAPSHOT: &str = "60";

/// The name of an API server that another one is to take over from.
const OLD: &str = "kube-apiserver.old";

impl Cluster {
    /// The release that each component runs, by its manifest's digest; those that do not run are left out.
    ///
    /// It is what runs that says so: where each program lies.
    pub fn runs(&self) -> Result<BTreeMap<ComponentName, Digest>> {
        let processes = self.processes()?;
        let found = self.components().into_iter().filter_map(|component| {
            let process = running(&processes, component.as_str())?;
            Some((component, release_of(process)?))
        });
        Ok(found.collect())
    }

    /// Takes a component to a release, and waits until it is well. One that runs it already is left alone.
    ///
    /// A new API server begins beside the old one, which ends when the new one answers; where it does not, the old one
    /// goes on.
    pub fn replace(
        &self,
        component: ComponentName,
        release: &Release,
        debian: &Path,
    ) -> Result<()> {
        let processes = self.processes()?;
        let process = running(&processes, component.as_str());
        if component == ComponentName::KubeApiserver {
            return self.replace_api_server((process, running(&processes, OLD)), release, debian);
        }
        if process.and_then(release_of) != Some(release.digest) {
            if component == ComponentName::Kubelet {
                config::write(&self.folder, &self.group(), release, debian)?;
            }
            self.stop(component)?;
            self.launch(component, release, debian)?;
        }
        self.await_health(component)
    }

    /// Starts what has ended with the programs of a release, and waits until all is well.
    pub fn revive(&self, release: &Release, debian: &Path) -> Result<()> {
        for component in self.components() {
            if running(&self.processes()?, component.as_str()).is_none() {
                // The supervisor may have been faster. What is not well then is told next.
                let _ = self.launch(component, release, debian);
            }
            self.await_health(component)?;
        }
        Ok(())
    }

    fn replace_api_server(
        &self,
        (current, old): (Option<&Process>, Option<&Process>),
        release: &Release,
        debian: &Path,
    ) -> Result<()> {
        use ComponentName::KubeApiserver;
        let is_wanted = |process: Option<&Process>| {
            process.and_then(release_of).is_some_and(|digest| digest == release.digest)
        };
        if is_wanted(old) {
            // A change that did not come to its end is taken back.
            self.stop(KubeApiserver)?;
            self.rename(OLD, KubeApiserver.as_str())?;
            return self.await_health(KubeApiserver);
        }
        if !is_wanted(current) {
            if old.is_some() {
                self.stop_old()?;
            }
            if current.is_some() {
                self.rename(KubeApiserver.as_str(), OLD)?;
            }
            self.launch(KubeApiserver, release, debian)?;
        }
        let answered = self.await_answers();
        if answered.is_err() && (current.is_some() || old.is_some()) {
            self.stop(KubeApiserver)?;
            self.rename(OLD, KubeApiserver.as_str())?;
            return answered;
        }
        self.stop_old()?;
        answered.and_then(|()| self.await_health(KubeApiserver))
    }

    /// Waits until whoever is asked at the API server's port is well, many times in turn.
    fn await_answers(&self) -> Result<()> {
        let mut answers = 0;
        let end = Instant::now() + HEALTHY;
        while answers < ANSWERS {
            match self.wrong_with(ComponentName::KubeApiserver)? {
                None => answers += 1,
                Some(said) if Instant::now() > end => {
                    return Err(DevclusterError::Unhealthy {
                        what: "kube-apiserver".to_owned(),
                        seconds: HEALTHY.as_secs(),
                        said,
                        log: self.end_of_log("kube-apiserver"),
                    });
                }
                Some(_) => {
                    answers = 0;
                    thread::sleep(LOOK);
                }
            }
        }
        Ok(())
    }

    fn stop_old(&self) -> Result<()> {
        let (name, seconds) = (OLD.to_owned(), ComponentName::KubeApiserver.patience());
        self.demand(&Request::Stop { name, seconds }, &format!("stop {OLD}"))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let request = Request::Rename { from: from.to_owned(), to: to.to_owned() };
        self.demand(&request, &format!("take {from} for {to}"))
    }

    /// Brings the images of a release to the node.
    pub fn bring_images(&self, release: &Release, debian: &Path) -> Result<()> {
        if self.state.node { self.import_images(release, debian) } else { Ok(()) }
    }

    /// Says that pods may, or may not, come to the node.
    pub fn cordon(&self, is_closed: bool) -> Result<()> {
        let verb = if is_closed { "cordon" } else { "uncordon" };
        self.kubectl(&[verb, NODE]).map(drop)
    }

    /// Asks all pods to leave the node; their disruption budgets may refuse that for `seconds`.
    pub fn drain(&self, seconds: u64) -> Result<()> {
        let timeout = format!("--timeout={seconds}s");
        let flags = ["--ignore-daemonsets", "--force", "--delete-emptydir-data", &timeout];
        self.kubectl(&[&["drain", NODE][..], &flags].concat()).map(drop)
    }

    /// Writes a snapshot of etcd, and looks whether the programs of `release` can restore it.
    pub fn snapshot(&self, path: &Path, release: &Release) -> Result<()> {
        self.await_health(ComponentName::Etcd)?;
        self.etcdctl(release, &["snapshot", "save", &path.display().to_string()])?;
        let trial = path.with_extension("trial");
        unpack_snapshot(path, &trial, release)?;
        fs::remove_dir_all(&trial).map_err(DevclusterError::io("remove", &trial))
    }

    /// Takes etcd back to a snapshot, with the program of `release`. The API server is down meanwhile.
    pub fn restore(&self, path: &Path, release: &Release, debian: &Path) -> Result<()> {
        use ComponentName::{Etcd, KubeApiserver};
        let (new, data) = (self.folder.join("etcd.new"), self.folder.join("etcd"));
        if new.exists() {
            fs::remove_dir_all(&new).map_err(DevclusterError::io("remove", &new))?;
        }
        unpack_snapshot(path, &new, release)?;
        let server = self.state.release.clone();
        self.stop(KubeApiserver)?;
        self.stop(Etcd)?;
        let away = self.folder.join("etcd.away");
        // An earlier attempt may have come to any point of this.
        match (data.exists(), away.exists()) {
            (false, true) => {
                fs::rename(&away, &data).map_err(DevclusterError::io("rename", &away))?;
            }
            (true, true) => {
                fs::remove_dir_all(&away).map_err(DevclusterError::io("remove", &away))?;
            }
            (_, false) => {}
        }
        fs::rename(&data, &away).map_err(DevclusterError::io("rename", &data))?;
        fs::rename(&new, &data).map_err(DevclusterError::io("rename", &new))?;
        fs::remove_dir_all(&away).map_err(DevclusterError::io("remove", &away))?;
        self.launch(Etcd, release, debian)?;
        self.await_health(Etcd)?;
        self.launch(KubeApiserver, &server, debian)?;
        self.await_health(KubeApiserver)
    }

    fn etcdctl(&self, release: &Release, arguments: &[&str]) -> Result<Vec<u8>> {
        // It waits for ever for an etcd that is gone, whatever time it is given itself.
        let mut inside = self.command_inside("timeout")?;
        inside.arg(SNAPSHOT).arg(release.program("etcdctl")).env("ETCDCTL_API", "3");
        host::run(inside.args(["--endpoints", ETCD]).args(arguments))
    }

    /// Writes down that the cluster runs a release.
    pub fn record(&mut self, release: &Release) -> Result<()> {
        self.state.release = release.clone();
        self.write_state()
    }
}

/// A process that runs under a name.
fn running<'a>(processes: &'a [Process], name: &str) -> Option<&'a Process> {
    processes.iter().find(|process| process.name == name && process.ended.is_none())
}

/// The release of a program: `…/<digest of its manifest>/bin/<name>`.
fn release_of(process: &Process) -> Option<Digest> {
    let folder = Path::new(process.command.first()?).parent()?.parent()?;
    format!("sha256:{}", folder.file_name()?.to_str()?).parse().ok()
}

/// Restores a snapshot into a folder, where nothing runs.
///
/// Source: etcd, "Disaster recovery"; from 3.5 on `etcdutl` does it.
fn unpack_snapshot(path: &Path, folder: &Path, release: &Release) -> Result<()> {
    let path = path.display().to_string();
    let later = release.program("etcdutl");
    let program = if later.is_file() { later } else { release.program("etcdctl") };
    let mut restore = host::command(program);
    restore.env("ETCDCTL_API", "3").args(["snapshot", "restore", &path]).arg("--data-dir");
    restore.arg(folder).args(["--name", ETCD_NAME, "--initial-cluster"]);
    restore.arg(format!("{ETCD_NAME}={ETCD_PEER}"));
    restore.args(["--initial-advertise-peer-urls", ETCD_PEER]);
    host::run(&mut restore).map(drop)
}
