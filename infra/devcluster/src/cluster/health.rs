//! How a cluster is, and waiting until it is well.

use std::{
    collections::BTreeMap,
    fs, io,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{Cluster, HEALTHY, LOOK, NEW_WORK, Result, State, supervisor_id};
use crate::{
    DevclusterError,
    component::{ComponentName, NODE},
    control::{Answer, Request},
    manifests,
    release::Release,
};

/// What a cluster says of itself.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// What is written down of it.
    #[serde(flatten)]
    pub state: State,
    /// The kubeconfig for programs of this machine.
    pub kubeconfig: PathBuf,
    /// Its first process, as this machine counts; none when it is gone.
    pub supervisor: Option<i32>,
    /// Its components; what is wrong with one, where something is.
    pub components: Vec<(ComponentName, Option<String>)>,
}

/// How long a component that was well may seem not to be, when another one was changed.
const SETTLED: Duration = Duration::from_secs(10);

impl Status {
    /// Whether everything is well.
    pub fn is_healthy(&self) -> bool {
        self.supervisor.is_some() && self.components.iter().all(|(_, wrong)| wrong.is_none())
    }
}

impl Cluster {
    /// Waits until a component says that it is well.
    pub fn await_health(&self, component: ComponentName) -> Result<()> {
        let log = || self.end_of_log(component.as_str());
        let what = (component.as_str(), HEALTHY);
        Self::wait(what, &log, || self.wrong_with(component))
    }

    /// Waits for a moment until a component is well, which may just have lost what it needs and found it again.
    pub(super) fn settles(&self, component: ComponentName) -> Result<()> {
        let what = (component.as_str(), SETTLED);
        Self::wait(what, &String::new, || self.wrong_with(component))
    }

    /// When the node's lease was renewed last: nothing while it has none.
    ///
    /// Source: Kubernetes, "Leases", "Node heartbeats".
    pub(super) fn node_lease(&self) -> Result<String> {
        let path = "jsonpath={.spec.renewTime}";
        let lease = ["get", "lease", NODE, "--namespace=kube-node-lease", "--output", path];
        let said = self.kubectl(&[&lease[..], &["--ignore-not-found"]].concat())?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    /// Waits until the node's lease is renewed, which was so last at `before`: by a kubelet that the API server knows.
    pub(super) fn await_node_lease(&self, before: &str) -> Result<()> {
        let log = || self.end_of_log("kubelet");
        Self::wait(("the node's lease", HEALTHY), &log, || {
            Ok(match self.node_lease() {
                Ok(renewed) if renewed != before => None,
                Ok(_) => Some("the kubelet does not renew it".to_owned()),
                Err(error) => Some(error.to_string()),
            })
        })
    }

    /// Waits until the node is ready.
    pub fn await_node(&self) -> Result<()> {
        let log = || self.end_of_log("kubelet");
        let path = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status} {.status.conditions[?(@.type=="Ready")].message}"#;
        Self::wait(("the node", HEALTHY), &log, || {
            let said = self.kubectl(&["get", "node", NODE, "--output", path]);
            let said = said.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            match said {
                Ok(text) if text.starts_with("True") => Ok(None),
                Ok(text) => Ok(Some(text)),
                Err(error) => Ok(Some(error.to_string())),
            }
        })
    }

    /// Notes which Deployments are available, for [`Cluster::await_deployments`].
    pub fn note_deployments(&self) -> Result<()> {
        let (mut noted, path) = (self.deployments()?, self.noted_deployments());
        noted.retain(|_, is_available| *is_available);
        let names: Vec<_> = noted.into_keys().collect();
        fs::write(&path, names.join("\n")).map_err(DevclusterError::io("write", &path))
    }

    /// Waits until all Deployments are available that were so when it was noted, but for those that are gone since.
    pub fn await_deployments(&self) -> Result<()> {
        let path = self.noted_deployments();
        let noted = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            read => read.map_err(DevclusterError::io("read", &path))?,
        };
        let log = || self.end_of_log("kubelet");
        Self::wait(("what ran before", NEW_WORK), &log, || {
            Ok(match self.deployments() {
                Ok(found) => {
                    let missing = |name: &&str| found.get(*name) == Some(&false);
                    let missing: Vec<_> = noted.lines().filter(missing).collect();
                    let what = || format!("not available: {}", missing.join(", "));
                    (!missing.is_empty()).then(what)
                }
                Err(error) => Some(error.to_string()),
            })
        })
    }

    /// All Deployments, by namespace and name, and whether each is available.
    ///
    /// Source: Kubernetes, "Deployments", "Deployment status", condition `Available`.
    fn deployments(&self) -> Result<BTreeMap<String, bool>> {
        let each = r#"{.metadata.namespace}/{.metadata.name} {.status.conditions[?(@.type=="Available")].status}{"\n"}"#;
        let output = format!("jsonpath={{range .items[*]}}{each}{{end}}");
        let said =
            self.kubectl(&["get", "deployments", "--all-namespaces", "--output", &output])?;
        let said = String::from_utf8_lossy(&said).into_owned();
        let lines = said.lines().filter_map(|line| line.split_once(' '));
        Ok(lines.map(|(name, is_available)| (name.to_owned(), is_available == "True")).collect())
    }

    fn noted_deployments(&self) -> PathBuf {
        self.folder.join("deployments.noted")
    }

    /// Lets the cluster do new work: fresh pods of a small Deployment, reached through their Service.
    ///
    /// What ran before goes on without any of the components; only new work shows that all of them do theirs. Without a
    /// node it is an object that is written and read.
    pub fn canary(&self, release: &Release) -> Result<()> {
        if !self.state.node {
            self.apply(&manifests::canary_object(&release.name))?;
            return self.insist(&["get", "configmap", manifests::CANARY]).map(drop);
        }
        self.apply(&manifests::canary(&release.name))?;
        let deployment = format!("deployment/{}", manifests::CANARY);
        self.insist(&["rollout", "restart", &deployment])?;
        let timeout = format!("--timeout={}s", NEW_WORK.as_secs());
        self.insist(&["rollout", "status", &deployment, &timeout])?;
        let path = "jsonpath={.spec.clusterIP}";
        let address = self.insist(&["get", "service", manifests::CANARY, "--output", path])?;
        let address = format!("http://{}/version", String::from_utf8_lossy(&address));
        let log = || self.end_of_log("kube-proxy");
        Self::wait(("the canary behind its Service", NEW_WORK), &log, || {
            let request = Request::Ask { address: address.clone() };
            Ok(match self.ask(&request)? {
                Answer::Answered(200, _) => None,
                Answer::Answered(code, text) => Some(format!("{code}: {text}")),
                Answer::Failed(said) => Some(said),
                Answer::Done | Answer::Processes(_) => Some("it says nothing".to_owned()),
            })
        })
    }

    /// Waits until the cluster's resolver knows the API server.
    pub(super) fn await_resolver(&self) -> Result<()> {
        let log = || self.end_of_log("kube-proxy");
        Self::wait(("the resolver", NEW_WORK), &log, || {
            Ok(match self.ask(&Request::Resolve)? {
                Answer::Done => None,
                Answer::Failed(said) => Some(said),
                Answer::Answered(..) | Answer::Processes(_) => Some("it says nothing".to_owned()),
            })
        })
    }

    /// Waits until nothing is wrong any more.
    fn wait(
        (what, patience): (&str, Duration),
        log: &dyn Fn() -> String,
        mut wrong: impl FnMut() -> Result<Option<String>>,
    ) -> Result<()> {
        let end = Instant::now() + patience;
        while let Some(said) = wrong()? {
            if Instant::now() > end {
                let (what, seconds) = (what.to_owned(), patience.as_secs());
                return Err(DevclusterError::Unhealthy { what, seconds, said, log: log() });
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    /// What is wrong with a component now; one that ended is an error.
    pub(super) fn wrong_with(&self, component: ComponentName) -> Result<Option<String>> {
        let processes = self.processes()?;
        let process = processes.iter().find(|process| process.name == component.as_str());
        let Some(process) = process else { return Ok(Some("it was not started".to_owned())) };
        if let Some(how) = &process.ended {
            if process.comes_again {
                return Ok(Some(format!("it ended ({how}) and is started again")));
            }
            return Err(DevclusterError::Ended {
                component: component.to_string(),
                how: how.clone(),
                log: self.end_of_log(component.as_str()),
            });
        }
        let Some(address) = component.health() else { return Ok(None) };
        Ok(match self.ask(&Request::Ask { address })? {
            Answer::Answered(200, _) => None,
            Answer::Answered(code, text) => Some(format!("{code}: {}", failing(&text))),
            Answer::Failed(said) => Some(said),
            Answer::Done | Answer::Processes(_) => Some("it says nothing".to_owned()),
        })
    }

    /// Says how the cluster is.
    pub fn status(&self) -> Status {
        let supervisor = supervisor_id(&self.folder).map(|id| id.as_raw_nonzero().get());
        let wrong = |component| match (supervisor, self.wrong_with(component)) {
            (None, _) => Some("it is gone".to_owned()),
            (_, Ok(wrong)) => wrong,
            (_, Err(DevclusterError::Ended { how, .. })) => Some(format!("ended ({how})")),
            (_, Err(error)) => Some(error.to_string()),
        };
        let components = self.components().into_iter().map(|one| (one, wrong(one))).collect();
        Status { state: self.state.clone(), kubeconfig: self.kubeconfig(), supervisor, components }
    }
}

/// What fails of a health check that lists what it looked at, in one line; all of another one.
///
/// Source: `k8s.io/apiserver/pkg/server/healthz/healthz.go`, `handleRootHealth`.
fn failing(text: &str) -> String {
    let failing: Vec<_> = text.lines().filter(|line| line.starts_with("[-]")).collect();
    if failing.is_empty() { text.trim_end().to_owned() } else { failing.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_list_only_what_fails_is_said() {
        let list =
            "[-]ping failed: reason withheld\n[+]log ok\n[-]etcd failed\nreadyz check failed\n";
        assert_eq!(failing(list), "[-]ping failed: reason withheld, [-]etcd failed");
        assert_eq!(failing("shutting down\n"), "shutting down");
    }
}
