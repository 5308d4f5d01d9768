//! A cluster as a kubeconfig reaches it: what it has, and the namespace of a run.

use std::{path::Path, time::Duration};

use k8s_openapi::api::{
    apps::v1::Deployment,
    batch::v1::Job,
    core::v1::{Namespace, Node, Pod, Service, ServiceAccount},
};
use kube::{
    Api, Client, Config,
    api::{DeleteParams, ListParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;

use crate::{
    ChecksError, builtin,
    error::Fault,
    scene::{ACCOUNT, Scene, state},
};

/// How long the cluster may take to say what it has.
const PATIENCE: Duration = Duration::from_secs(20);

/// The label of a namespace that says whose run made it.
const OWNER: &str = "kdistro.dev/checks-of";

/// A cluster, and what it has.
pub(crate) struct Cluster {
    pub(crate) client: Client,
    config: Config,
    /// Its version of Kubernetes.
    pub(crate) version: String,
    /// Whether it has a node.
    pub(crate) has_node: bool,
    /// A node that has too little of something, and of what.
    pub(crate) without_room: Option<String>,
    /// Whether it has a resolver for pods.
    pub(crate) has_dns: bool,
    /// Every image that a node says it has.
    images: Vec<String>,
}

impl Cluster {
    /// Reaches a cluster and asks what it has.
    pub(crate) async fn reach(kubeconfig: &Path) -> Result<Self, ChecksError> {
        let looked = tokio::time::timeout(PATIENCE, Self::look(kubeconfig)).await;
        let (file, seconds) = (kubeconfig.to_owned(), PATIENCE.as_secs());
        looked.unwrap_or(Err(ChecksError::Silent { file, seconds }))
    }

    async fn look(kubeconfig: &Path) -> Result<Self, ChecksError> {
        let config = configure(kubeconfig).await.map_err(|source| ChecksError::Kubeconfig {
            file: kubeconfig.to_owned(),
            source: Box::new(source),
        })?;
        let failed = |action| {
            let file = kubeconfig.to_owned();
            move |source| ChecksError::Cluster { action, file, source: Box::new(source) }
        };
        let client = Client::try_from(config.clone()).map_err(failed("log in"))?;
        let version = client.apiserver_version().await.map_err(failed("ask the version"))?;
        let nodes: Api<Node> = Api::all(client.clone());
        let nodes = nodes.list(&ListParams::default()).await.map_err(failed("list nodes"))?;
        let resolvers: Api<Service> = Api::namespaced(client.clone(), "kube-system");
        let labelled = ListParams::default().labels("k8s-app=kube-dns");
        let resolvers = resolvers.list(&labelled).await.map_err(failed("look for a resolver"))?;
        let images = nodes.items.iter().filter_map(|node| node.status.as_ref()?.images.as_ref());
        let names = images.flatten().filter_map(|image| image.names.clone()).flatten();
        Ok(Self {
            images: names.collect(),
            version: version.git_version,
            has_node: !nodes.items.is_empty(),
            without_room: nodes.items.iter().find_map(without_room),
            has_dns: !resolvers.items.is_empty(),
            client,
            config,
        })
    }

    /// An image of etcd that a node has already; one of the release `release`, where there is.
    pub(crate) fn image(&self, release: Option<&str>) -> Option<String> {
        image(&self.images, release)
    }

    /// Makes a namespace with what every pod needs.
    pub(crate) async fn open(
        &self,
        image: &str,
        owner: Option<&str>,
    ) -> Result<Scene, kube::Error> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let namespace = namespaces.create(&PostParams::default(), &namespace(owner)).await?;
        let name = namespace.metadata.name.unwrap_or_default();
        let scene = self.scene(&name, image);
        let account = json!({"metadata": {"name": ACCOUNT}});
        if let Err(Fault::Api(error)) = scene.make::<ServiceAccount>(account).await {
            let _ = namespaces.delete(&name, &DeleteParams::default()).await;
            return Err(error);
        }
        Ok(scene)
    }

    fn scene(&self, namespace: &str, image: &str) -> Scene {
        Scene::new((self.client.clone(), self.config.clone()), namespace, image)
    }

    /// Removes what earlier runs of an owner left. What cannot be removed in time hinders nothing.
    pub(crate) async fn sweep(&self, owner: &str, limit: Duration) -> Result<(), kube::Error> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let of_owner = ListParams::default().labels(&format!("{OWNER}={owner}"));
        for namespace in namespaces.list(&of_owner).await?.items {
            let name = namespace.metadata.name.unwrap_or_default();
            let _ = self.close(&self.scene(&name, ""), limit).await;
        }
        Ok(())
    }

    /// Removes the namespace of a run and what checks made outside of it.
    pub(crate) async fn close(&self, scene: &Scene, limit: Duration) -> Result<(), Fault> {
        let removed = async {
            let definitions = builtin::remove(scene).await;
            // What does not end now ends with the namespace, if it can end at all.
            let _ = tokio::time::timeout(limit * 4 / 5, empty(scene)).await;
            let namespaces: Api<Namespace> = Api::all(self.client.clone());
            let place = (&namespaces, scene.namespace.as_str());
            scene.delete(place).await?;
            scene.gone("the namespace", place).await?;
            definitions
        };
        tokio::time::timeout(limit, removed).await.unwrap_or_else(|_| {
            let (name, seconds) = (&scene.namespace, limit.as_secs());
            Err(Fault::Wrong(format!("{name} is still there after {seconds} s")))
        })
    }
}

/// Ends every pod of a namespace, and what would make new ones.
///
/// The controller that empties a namespace asks for pods once and looks after ever longer pauses: where it finds one that is
/// still ending, minutes go by.
async fn empty(scene: &Scene) -> Result<(), Fault> {
    let (now, all) = (DeleteParams::background(), ListParams::default());
    scene.api::<Deployment>().delete_collection(&now, &all).await?;
    scene.api::<Job>().delete_collection(&now, &all).await?;
    let pods: Api<Pod> = scene.api();
    pods.delete_collection(&now, &all).await?;
    scene
        .until("pods do not end", async || {
            let left = pods.list(&all).await?.items;
            Ok(left.first().map(state))
        })
        .await
}

/// What a node says that it has too little of.
///
/// Source: Kubernetes, "Node Status", "Conditions".
fn without_room(node: &Node) -> Option<String> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    let pressed =
        conditions.iter().find(|it| it.type_.ends_with("Pressure") && it.status == "True")?;
    let name = node.metadata.name.as_deref().unwrap_or_default();
    Some(format!("{name} says {}", pressed.type_))
}

/// The kubeconfig's current context. A proxy is used only where the kubeconfig names it: the library also takes one for
/// addresses of the Internet out of the environment.
async fn configure(kubeconfig: &Path) -> Result<Config, kube::config::KubeconfigError> {
    let read = Kubeconfig::read_from(kubeconfig)?;
    let clusters = read.clusters.iter().filter_map(|one| one.cluster.as_ref());
    let names_proxy = clusters.into_iter().any(|cluster| cluster.proxy_url.is_some());
    let mut config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
    if !names_proxy {
        config.proxy_url = None;
    }
    config.connect_timeout = Some(PATIENCE);
    // A check wants to see each refusal.
    config.default_retry = false;
    Ok(config)
}

/// Chooses an image of etcd: of the release, else the last by name; a digest only where there is no name with a tag.
fn image(names: &[String], release: Option<&str>) -> Option<String> {
    let is_etcd = |name: &&String| {
        let end = name.rsplit('/').next().unwrap_or_default();
        end.split([':', '@']).next() == Some("etcd")
    };
    // The release is the end of a tag: `:1-20-1` in a cluster of ours, `:v3.4.23-1-20-1` in a registry.
    let of_release = |name: &str| {
        let before = release.and_then(|release| name.strip_suffix(release));
        before.is_some_and(|before| before.ends_with([':', '-']))
    };
    let rank = |name: &&String| (of_release(name), !name.contains('@'), (*name).clone());
    names.iter().filter(is_etcd).max_by_key(rank).cloned()
}

/// A namespace whose name the API server completes.
fn namespace(owner: Option<&str>) -> Namespace {
    let mut namespace = Namespace::default();
    namespace.metadata.generate_name = Some("kdistro-checks-".to_owned());
    let labels = [
        ("app.kubernetes.io/managed-by", "kdistro-checks"),
        // Where a cluster lets nobody in without it.
        ("pod-security.kubernetes.io/enforce", "baseline"),
    ];
    let labels = labels.into_iter().chain(owner.map(|owner| (OWNER, owner)));
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    namespace.metadata.labels = Some(labels.map(owned).collect());
    namespace
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_of_etcd_is_found_among_those_of_a_node() {
        let names =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let ours = names(&[
            "kdistro.local/pause:1-20-1",
            "kdistro.local/etcd@sha256:ff",
            "kdistro.local/etcd:1-20-1",
            "kdistro.local/etcd:1-20-2",
            "x/etcd-operator:1",
        ]);
        assert_eq!(image(&ours, Some("1-20-1")).unwrap(), "kdistro.local/etcd:1-20-1");
        assert_eq!(image(&ours, None).unwrap(), "kdistro.local/etcd:1-20-2");
        assert_eq!(image(&ours, Some("0-1")).unwrap(), "kdistro.local/etcd:1-20-2");
        assert_eq!(image(&ours, Some("1-36-1")).unwrap(), "kdistro.local/etcd:1-20-2");
        assert_eq!(image(&names(&["a/etcd@sha256:1"]), None).unwrap(), "a/etcd@sha256:1");
        assert_eq!(image(&names(&["a/etcd-operator:1", "registry:5000/x"]), None), None);
    }
}
