//! What a check is given: the cluster, a namespace, and ways to make things and to wait for them.

use std::{cell::RefCell, fmt::Debug, rc::Rc, time::Duration};

use k8s_openapi::{NamespaceResourceScope, api::core::v1::Pod};
use kube::{
    Api, Client, Config, Resource,
    api::{DeleteParams, LogParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::error::Fault;

/// The `ServiceAccount` of every pod: one of the run's own, as that of a namespace appears only some time after it.
pub(crate) const ACCOUNT: &str = "checks";
/// Where the servers of pods answer.
pub(crate) const PORT: u16 = 2379;
/// How long to wait before the next look.
const LOOK: Duration = Duration::from_millis(200);
/// How much of a pod's log is read: its last lines, and of these so many bytes.
const LOG_LINES: i64 = 200;
const LOG_BYTES: i64 = 64 * 1024;

/// A namespace of a cluster, for one check.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) client: Client,
    /// How the cluster is reached, for those who come as somebody else.
    pub(crate) config: Config,
    pub(crate) namespace: String,
    /// An image with `etcd` and `etcdctl`.
    pub(crate) image: String,
    /// What is waited for now.
    waiting: Rc<RefCell<String>>,
}

impl Scene {
    pub(crate) fn new((client, config): (Client, Config), namespace: &str, image: &str) -> Self {
        let (namespace, image) = (namespace.to_owned(), image.to_owned());
        Self { client, config, namespace, image, waiting: Rc::default() }
    }

    /// The same for another check.
    pub(crate) fn again(&self) -> Self {
        Self { waiting: Rc::default(), ..self.clone() }
    }

    /// What is waited for now; empty while nothing is.
    pub(crate) fn waiting(&self) -> String {
        self.waiting.borrow().clone()
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Makes an object in the namespace.
    pub(crate) async fn make<K>(&self, object: Value) -> Result<K, Fault>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
        K: Clone + Debug + DeserializeOwned + Serialize,
    {
        let object = serde_json::from_value(object).map_err(|error| wrong(error.to_string()))?;
        Ok(self.api().create(&PostParams::default(), &object).await?)
    }

    /// Makes a pod.
    pub(crate) async fn make_pod(&self, name: &str, spec: Value) -> Result<Pod, Fault> {
        self.make(json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": spec})).await
    }

    /// Waits until nothing is wrong any more, as long as the check may take.
    pub(crate) async fn until(
        &self,
        what: &str,
        mut wrong: impl AsyncFnMut() -> Result<Option<String>, Fault>,
    ) -> Result<(), Fault> {
        while let Some(said) = wrong().await? {
            self.waiting.replace(format!("{what}: {said}"));
            tokio::time::sleep(LOOK).await;
        }
        self.waiting.take();
        Ok(())
    }

    /// Waits until a pod is ready.
    pub(crate) async fn ready(&self, name: &str) -> Result<(), Fault> {
        let pods: Api<Pod> = self.api();
        self.until(&format!("pod {name} is not ready"), async || {
            let pod = pods.get(name).await?;
            if phase(&pod) == "Failed" {
                return Err(self.ended(&pod).await);
            }
            Ok((!is_so(&pod, "Ready")).then(|| state(&pod)))
        })
        .await
    }

    /// Waits until a pod has done its work.
    pub(crate) async fn succeeded(&self, name: &str) -> Result<(), Fault> {
        let pods: Api<Pod> = self.api();
        self.until(&format!("pod {name} has not ended"), async || {
            let pod = pods.get(name).await?;
            match phase(&pod) {
                "Succeeded" => Ok(None),
                "Failed" => Err(self.ended(&pod).await),
                _ => Ok(Some(state(&pod))),
            }
        })
        .await
    }

    /// Waits until an object is gone.
    pub(crate) async fn gone<K>(
        &self,
        what: &str,
        (api, name): (&Api<K>, &str),
    ) -> Result<(), Fault>
    where
        K: Clone + Debug + DeserializeOwned,
    {
        self.until(what, async || Ok(api.get_opt(name).await?.map(|_| "it is there".to_owned())))
            .await
    }

    /// Deletes an object, without waiting.
    pub(crate) async fn delete<K>(&self, (api, name): (&Api<K>, &str)) -> Result<(), Fault>
    where
        K: Clone + Debug + DeserializeOwned,
    {
        api.delete(name, &DeleteParams::background()).await?;
        Ok(())
    }

    async fn ended(&self, pod: &Pod) -> Fault {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let log = self.log(name, None).await.unwrap_or_else(|error| error.to_string());
        let last = log.trim_end().lines().last().unwrap_or_default();
        wrong(format!("pod {name} failed ({}): {last}", state(pod)))
    }

    /// The end of a pod's log.
    pub(crate) async fn log(&self, pod: &str, container: Option<&str>) -> Result<String, Fault> {
        let container = container.map(str::to_owned);
        let (tail_lines, limit_bytes) = (Some(LOG_LINES), Some(LOG_BYTES));
        let end = LogParams { container, tail_lines, limit_bytes, ..LogParams::default() };
        Ok(self.api::<Pod>().logs(pod, &end).await?)
    }
}

/// Something is not as it should be.
pub(crate) fn wrong(why: impl Into<String>) -> Fault {
    Fault::Wrong(why.into())
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

fn is_so(pod: &Pod, condition: &str) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref());
    let mut conditions = conditions.unwrap_or_default().iter();
    conditions.any(|one| one.type_ == condition && one.status == "True")
}

/// How a pod is: its phase, why it is not scheduled, why its containers do not run.
pub(crate) fn state(pod: &Pod) -> String {
    let mut said = vec![phase(pod).to_owned()];
    let Some(status) = &pod.status else { return said.concat() };
    for one in status.conditions.iter().flatten() {
        if one.type_ == "PodScheduled" && one.status != "True" {
            said.extend(one.message.clone().or_else(|| one.reason.clone()));
        }
    }
    if pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_none()) {
        said.push("no node was chosen for it".to_owned());
    }
    for one in status.container_statuses.iter().flatten() {
        let Some(state) = &one.state else { continue };
        if let Some(waiting) = &state.waiting {
            let reason = waiting.reason.iter().chain(&waiting.message).cloned();
            said.push(format!("{}: {}", one.name, reason.collect::<Vec<_>>().join(": ")));
        }
        if let Some(ended) = &state.terminated {
            said.push(format!("{} ended with exit code {}", one.name, ended.exit_code));
        }
    }
    said.join(", ")
}

/// What a pod consists of; besides `volumes` each has a folder of its own, `data`.
pub(crate) fn pod(containers: &[Value], volumes: &[Value], restart: &str) -> Value {
    let data = json!({"name": "data", "emptyDir": {}});
    let volumes: Vec<_> = volumes.iter().chain([&data]).collect();
    json!({
        "serviceAccountName": ACCOUNT,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": 1,
        "restartPolicy": restart,
        "containers": containers,
        "volumes": volumes,
    })
}

/// What a pod runs that answers `/version` at [`PORT`], and calls itself `name` in its log.
pub(crate) fn server(image: &str, name: &str) -> Value {
    let container = json!({
        "name": "main",
        "image": image,
        "command": [
            "etcd",
            format!("--name={name}"),
            "--data-dir=/tmp/etcd",
            format!("--listen-client-urls=http://0.0.0.0:{PORT}"),
            format!("--advertise-client-urls=http://127.0.0.1:{PORT}"),
            format!("--initial-cluster={name}=http://localhost:2380"),
        ],
        "readinessProbe": probe(PORT),
        "volumeMounts": [{"name": "data", "mountPath": "/tmp"}],
    });
    pod(&[container], &[], "Always")
}

/// Asks a server whether it is ready.
pub(crate) fn probe(port: u16) -> Value {
    json!({"httpGet": {"path": "/version", "port": port}, "periodSeconds": 1})
}
