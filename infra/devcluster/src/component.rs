//! What a cluster consists of: how each component is started, and how it says that it is well.

use std::path::Path;

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::release::Release;

/// Where the API server listens inside of a cluster.
pub(crate) const API_PORT: u16 = 6443;
/// The one node.
pub(crate) const NODE: &str = "node1";
/// Its address, and the one that its default route names; every cluster has a network of its own.
pub(crate) const NODE_ADDRESS: &str = "10.200.0.1";
pub(crate) const GATEWAY: &str = "10.200.0.2";
/// The network of services; the API server's and the resolver's addresses in it.
pub(crate) const SERVICES: &str = "10.96.0.0/16";
pub(crate) const SERVICE_ADDRESS: &str = "10.96.0.1";
pub(crate) const SERVICE_NAME: &str = "kubernetes.default.svc.cluster.local";
pub(crate) const RESOLVER: &str = "10.96.0.10";
/// The network of pods.
pub(crate) const PODS: &str = "10.244.0.0/24";
/// Where etcd answers; nobody outside of the cluster's network reaches it.
pub(crate) const ETCD: &str = "http://127.0.0.1:2379";
/// Its one member, and where others would reach it.
pub(crate) const ETCD_NAME: &str = "devcluster";
pub(crate) const ETCD_PEER: &str = "http://127.0.0.1:2380";
/// Where containerd listens; the folder is the cluster's own.
pub(crate) const CONTAINERD: &str = "/run/containerd/containerd.sock";

/// A component that runs as a process, in the order in which they are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComponentName {
    /// etcd, one member.
    Etcd,
    /// The API server.
    KubeApiserver,
    /// The controllers.
    KubeControllerManager,
    /// The scheduler.
    KubeScheduler,
    /// Debian's containerd.
    Containerd,
    /// The kubelet.
    Kubelet,
    /// The proxy of services.
    KubeProxy,
}

use ComponentName::{
    Containerd, Etcd, KubeApiserver, KubeControllerManager, KubeProxy, KubeScheduler, Kubelet,
};

/// What every cluster has.
pub(crate) const CONTROL_PLANE: [ComponentName; 4] =
    [Etcd, KubeApiserver, KubeControllerManager, KubeScheduler];
/// What a cluster with a node has besides.
pub(crate) const OF_NODE: [ComponentName; 3] = [Containerd, Kubelet, KubeProxy];

impl ComponentName {
    /// Its name, as its program's.
    pub fn as_str(self) -> &'static str {
        match self {
            Etcd => "etcd",
            KubeApiserver => "kube-apiserver",
            KubeControllerManager => "kube-controller-manager",
            KubeScheduler => "kube-scheduler",
            Containerd => "containerd",
            Kubelet => "kubelet",
            KubeProxy => "kube-proxy",
        }
    }

    /// The address at which it says how it is; none where it has another way.
    pub(crate) fn health(self) -> Option<String> {
        Some(match self {
            Etcd => format!("{ETCD}/health"),
            KubeApiserver => format!("https://127.0.0.1:{API_PORT}/readyz"),
            KubeControllerManager => "https://127.0.0.1:10257/healthz".to_owned(),
            KubeScheduler => "https://127.0.0.1:10259/healthz".to_owned(),
            Kubelet => "http://127.0.0.1:10248/healthz".to_owned(),
            KubeProxy => "http://127.0.0.1:10256/healthz".to_owned(),
            Containerd => return None,
        })
    }

    /// How long it is given to end by itself, in seconds.
    ///
    /// An API server that cannot tell clients to try elsewhere waits a minute for their watches to end.
    pub(crate) fn patience(self) -> u64 {
        match self {
            KubeApiserver => 4,
            Etcd | Containerd | Kubelet => 10,
            KubeControllerManager | KubeScheduler | KubeProxy => 3,
        }
    }

    /// Program and arguments for a release, in a cluster's folder.
    pub(crate) fn command(self, folder: &Path, release: &Release, debian: &Path) -> Vec<String> {
        let at = |name: &str| folder.join(name).display().to_string();
        let own = |name: &str| at(&format!("pki/{name}"));
        let minor = Minor::of(&release.kubernetes);
        let arguments: Vec<String> = match self {
            Etcd => etcd(&at("etcd")),
            KubeApiserver => api_server(&own, minor),
            KubeControllerManager => [
                with("--kubeconfig", at("controller-manager.conf")),
                with("--service-account-private-key-file", own("sa.key")),
                with("--root-ca-file", own("ca.crt")),
                vec!["--use-service-account-credentials=true".to_owned()],
                serving(&own, self.as_str()),
            ]
            .concat(),
            KubeScheduler => {
                [with("--kubeconfig", at("scheduler.conf")), serving(&own, self.as_str())].concat()
            }
            Containerd => {
                let program = debian.join("usr/bin/containerd").display().to_string();
                return vec![program, "--config".to_owned(), at("containerd.toml")];
            }
            Kubelet => kubelet(&at, minor),
            KubeProxy => with("--config", at("kube-proxy.yaml")),
        };
        let program = release.program(self.as_str()).display().to_string();
        std::iter::once(program).chain(arguments).collect()
    }
}

impl std::fmt::Display for ComponentName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A minor version of Kubernetes 1: what flags there are depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Minor(u64);

impl Minor {
    pub(crate) fn of(version: &Version) -> Self {
        Self(version.minor)
    }

    /// Whether the API server tells clients to try elsewhere before it ends.
    fn sends_retry_after(self) -> bool {
        self.0 >= 24
    }

    /// Whether the kubelet knows other runtimes than containers of its own.
    fn has_container_runtime_flag(self) -> bool {
        self.0 < 24
    }

    /// Whether the address of the runtime stands in the kubelet's configuration, not among its flags.
    pub(crate) fn configures_runtime(self) -> bool {
        self.0 >= 27
    }

    /// Whether the kubelet refuses control groups of version 1 unless it is told not to.
    pub(crate) fn may_refuse_cgroup_v1(self) -> bool {
        self.0 >= 31
    }
}

fn with(flag: &str, value: impl std::fmt::Display) -> Vec<String> {
    vec![format!("{flag}={value}")]
}

fn etcd(folder: &str) -> Vec<String> {
    [
        with("--name", ETCD_NAME),
        with("--data-dir", folder),
        with("--listen-client-urls", ETCD),
        with("--advertise-client-urls", ETCD),
        with("--listen-peer-urls", ETCD_PEER),
        with("--initial-advertise-peer-urls", ETCD_PEER),
        with("--initial-cluster", format!("{ETCD_NAME}={ETCD_PEER}")),
    ]
    .concat()
}

fn api_server(own: &dyn Fn(&str) -> String, minor: Minor) -> Vec<String> {
    let mut flags = [
        with("--etcd-servers", ETCD),
        with("--advertise-address", NODE_ADDRESS),
        with("--secure-port", API_PORT),
        with("--tls-cert-file", own("apiserver.crt")),
        with("--tls-private-key-file", own("apiserver.key")),
        with("--client-ca-file", own("ca.crt")),
        with("--kubelet-certificate-authority", own("ca.crt")),
        with("--kubelet-client-certificate", own("apiserver-kubelet-client.crt")),
        with("--kubelet-client-key", own("apiserver-kubelet-client.key")),
        with("--kubelet-preferred-address-types", "InternalIP"),
        with("--service-cluster-ip-range", SERVICES),
        with("--service-account-issuer", "https://kubernetes.default.svc"),
        with("--service-account-key-file", own("sa.pub")),
        with("--service-account-signing-key-file", own("sa.key")),
        with("--authorization-mode", "Node,RBAC"),
        with("--enable-admission-plugins", "NodeRestriction"),
        with("--allow-privileged", "true"),
        // A new one may begin before the old one has ended.
        with("--permit-port-sharing", "true"),
    ]
    .concat();
    if minor.sends_retry_after() {
        flags.push("--shutdown-send-retry-after=true".to_owned());
    }
    flags
}

/// Flags of a component that serves nothing but its health, and needs nobody to take over from.
fn serving(own: &dyn Fn(&str) -> String, name: &str) -> Vec<String> {
    [
        with("--bind-address", "127.0.0.1"),
        with("--tls-cert-file", own(&format!("{name}.crt"))),
        with("--tls-private-key-file", own(&format!("{name}.key"))),
        with("--leader-elect", "false"),
    ]
    .concat()
}

fn kubelet(at: &dyn Fn(&str) -> String, minor: Minor) -> Vec<String> {
    let mut flags = [
        with("--config", at("kubelet.yaml")),
        with("--kubeconfig", at("kubelet.conf")),
        with("--node-ip", NODE_ADDRESS),
        with("--hostname-override", NODE),
    ]
    .concat();
    if minor.has_container_runtime_flag() {
        flags.push("--container-runtime=remote".to_owned());
    }
    if !minor.configures_runtime() {
        flags.push(format!("--container-runtime-endpoint=unix://{CONTAINERD}"));
    }
    flags
}
