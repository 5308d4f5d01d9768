//! Changes of a running cluster: one component after the other to another release, and etcd's content there and back.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use kdistro_formats::Digest;

use super::{Cluster, HEALTHY, LOOK, NEW_WORK, Result};
use crate::{
    DevclusterError,
    component::{API_PORT, ComponentName, ETCD, ETCD_NAME, ETCD_PEER, NODE},
    config,
    control::{Answer, Process, Request},
    host, manifests,
    release::Release,
};

/// How often in turn two API servers behind one port must answer: either may be the one that is asked.
const ANSWERS: u32 = 20;

/// How long etcd may take to hand over its content, in seconds.
const SNAPSHOT: &str = "60";

/// More changes than there can have been since a snapshot was taken.
const REVISIONS: &str = "1000000000";

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
        match component {
            ComponentName::KubeApiserver => {
                self.replace_api_server((process, running(&processes, OLD)), release, debian)
            }
            ComponentName::Kubelet => self.replace_kubelet(process, release, debian),
            _ => {
                if process.and_then(release_of) != Some(release.digest) {
                    self.stop(component)?;
                    self.launch(component, release, debian)?;
                }
                self.await_health(component)
            }
        }
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

    /// Takes etcd and the API server to a release where they are not well: nothing else can be changed without them.
    pub fn rescue(&self, release: &Release, debian: &Path) -> Result<()> {
        for component in [ComponentName::Etcd, ComponentName::KubeApiserver] {
            if self.settles(component).is_err() {
                // Beside one that is ill no other can be well.
                self.stop(component)?;
                self.replace(component, release, debian)?;
            }
        }
        Ok(())
    }

    fn replace_kubelet(
        &self,
        current: Option<&Process>,
        release: &Release,
        debian: &Path,
    ) -> Result<()> {
        use ComponentName::{Containerd, Kubelet};
        let is_other = current.and_then(release_of) != Some(release.digest);
        // Of an API server that says nothing any lease is a new one.
        let renewed = is_other.then(|| self.node_lease().unwrap_or_default());
        if is_other {
            self.stop(Kubelet)?;
            config::write(&self.folder, &self.group(), release, debian)?;
            // It reads when it begins where the release's plugins of networks and its image of sandboxes are. Pods go on.
            self.stop(Containerd)?;
            self.launch(Containerd, release, debian)?;
            self.await_containerd(debian)?;
            self.launch(Kubelet, release, debian)?;
        }
        self.await_health(Kubelet)?;
        if let Some(renewed) = renewed {
            self.await_node_lease(&renewed)?;
        }
        self.await_node()
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
        let is_other = current.is_some() && !is_wanted(current);
        if is_other {
            self.stop_old()?;
            self.rename(KubeApiserver.as_str(), OLD)?;
        }
        if !is_wanted(current) {
            self.launch(KubeApiserver, release, debian)?;
        }
        let answered = self.await_answers();
        // The only one there is goes on, however it is.
        if answered.is_err() && (is_other || old.is_some()) {
            self.stop(KubeApiserver)?;
            self.rename(OLD, KubeApiserver.as_str())?;
            return answered;
        }
        self.stop_old()?;
        answered.and_then(|()| self.await_health(KubeApiserver))
    }

    /// Waits until the API server listens, and whoever is asked at its port is well, many times in turn: until it listens
    /// the one before answers alone.
    fn await_answers(&self) -> Result<()> {
        let mut answers = 0;
        let end = Instant::now() + HEALTHY;
        while answers < ANSWERS {
            let wrong = match self.wrong_with(ComponentName::KubeApiserver)? {
                None if answers == 0 => self.silence_of_api_server(),
                wrong => wrong,
            };
            match wrong {
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

    /// Why the API server itself cannot be asked yet.
    fn silence_of_api_server(&self) -> Option<String> {
        let name = ComponentName::KubeApiserver.as_str().to_owned();
        match self.ask(&Request::Listens { name, port: API_PORT }) {
            Ok(Answer::Failed(said)) => Some(said),
            // A supervisor of before does not know the question, and hangs up.
            Err(_) | Ok(_) => None,
        }
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

    /// Takes `CoreDNS` to a release, and waits until it is there; where the release does not ship it, there is none.
    pub fn replace_dns(&self, release: &Release) -> Result<()> {
        let manifests = manifests::coredns(&release.name);
        if release.coredns {
            self.apply(&manifests)?;
        } else {
            self.take_away(&manifests)?;
        }
        self.await_dns(release)
    }

    /// Waits until `CoreDNS` is there as a release ships it, and answers.
    pub fn await_dns(&self, release: &Release) -> Result<()> {
        if !release.coredns {
            return Ok(());
        }
        let timeout = format!("--timeout={}s", NEW_WORK.as_secs());
        let status = ["rollout", "status", "--namespace=kube-system", "deployment/coredns"];
        self.insist(&[&status[..], &[&timeout]].concat())?;
        self.await_resolver()
    }

    /// Says that pods may, or may not, come to the node.
    pub fn cordon(&self, is_closed: bool) -> Result<()> {
        let verb = if is_closed { "cordon" } else { "uncordon" };
        self.insist(&[verb, NODE]).map(drop)
    }

    /// Asks all pods to leave the node; their disruption budgets may refuse that for as long as new work may take.
    pub fn drain(&self) -> Result<()> {
        let timeout = format!("--timeout={}s", NEW_WORK.as_secs());
        let flags = ["--ignore-daemonsets", "--force", "--delete-emptydir-data", &timeout];
        self.insist(&[&["drain", NODE][..], &flags].concat()).map(drop)
    }

    /// Saves etcd's content in place of what was saved before, and looks whether the programs of `release` can restore it.
    pub fn snapshot(&self, release: &Release) -> Result<()> {
        let (snapshot, trial) = (self.saved(), self.folder.join("etcd.trial"));
        // An older one is of another time: what was written since then would be lost.
        remove(&snapshot)?;
        remove(&trial)?;
        self.await_health(ComponentName::Etcd)?;
        // It is saved where the cluster sees it: of some folders it has its own.
        let taken = self
            .etcdctl(release, &["snapshot", "save", &snapshot.display().to_string()])
            .and_then(|_| unpack_snapshot(&snapshot, &trial, release));
        remove(&trial)?;
        taken.or_else(|error| remove(&snapshot).and(Err(error)))
    }

    /// Takes etcd back to what was saved, with etcd and API server of `release`, and forgets it: what is written from then
    /// on is not lost again. Where nothing is saved, nothing is done. The API server is down meanwhile.
    ///
    /// Others of `release` begin anew; those of another one are left for [`Cluster::replace`].
    pub fn restore(&self, release: &Release, debian: &Path) -> Result<()> {
        use ComponentName::{Containerd, Etcd, KubeApiserver};
        let snapshot = self.saved();
        if !snapshot.exists() {
            return Ok(());
        }
        let (new, data) = (self.folder.join("etcd.new"), self.folder.join("etcd"));
        remove(&new)?;
        unpack_snapshot(&snapshot, &new, release)?;
        self.stop_old()?;
        self.stop(KubeApiserver)?;
        self.stop(Etcd)?;
        let away = self.folder.join("etcd.away");
        // An earlier attempt may have come to any point of this.
        if data.exists() {
            remove(&away)?;
            fs::rename(&data, &away).map_err(DevclusterError::io("rename", &data))?;
        }
        fs::rename(&new, &data).map_err(DevclusterError::io("rename", &new))?;
        remove(&away)?;
        for component in [Etcd, KubeApiserver] {
            self.launch(component, release, debian)?;
            self.await_health(component)?;
        }
        // They know of changes that are none any more, and would wait for later ones.
        let runs = self.runs()?;
        let others = self.components().into_iter().filter(|it| {
            let is_of_release = runs.get(it) == Some(&release.digest);
            is_of_release && !matches!(it, Etcd | KubeApiserver | Containerd)
        });
        for component in others {
            self.stop(component)?;
            self.launch(component, release, debian)?;
            self.await_health(component)?;
        }
        remove(&snapshot)
    }

    /// Where etcd's content is saved.
    fn saved(&self) -> PathBuf {
        self.folder.join("etcd.snapshot")
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
/// Who watches must not take what is written then for what they have seen: where etcd knows how, its revisions go on far
/// behind those of before.
///
/// Source: etcd, "Disaster recovery", "Restoring with revision bump"; from 3.5 on `etcdutl` does it.
fn unpack_snapshot(path: &Path, folder: &Path, release: &Release) -> Result<()> {
    let later = release.program("etcdutl");
    let program = if later.is_file() { later } else { release.program("etcdctl") };
    let restore = || {
        let mut restore = host::command(&program);
        restore.env("ETCDCTL_API", "3").args(["snapshot", "restore"]);
        restore
    };
    let help = host::run(restore().arg("--help"))?;
    let mut command = restore();
    command.arg(path).arg("--data-dir").arg(folder).args(["--name", ETCD_NAME]);
    command.arg("--initial-cluster").arg(format!("{ETCD_NAME}={ETCD_PEER}"));
    command.args(["--initial-advertise-peer-urls", ETCD_PEER]);
    if String::from_utf8_lossy(&help).contains("--bump-revision") {
        command.args(["--bump-revision", REVISIONS, "--mark-compacted"]);
    }
    host::run(&mut command).map(drop)
}

/// Removes a file or a folder that may be missing.
fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(DevclusterError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}
