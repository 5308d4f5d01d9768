//! The configuration files of a node.
//!
//! Each is JSON, which readers of YAML read too; containerd's is TOML.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    DevclusterError,
    component::{CONTAINERD, Minor, NODE, NODE_ADDRESS, PODS, RESOLVER},
    release::{Release, image_name},
};

type Result<T> = std::result::Result<T, DevclusterError>;

/// Writes those that the components of a release need, into a cluster's folder.
pub(crate) fn write(folder: &Path, group: &str, release: &Release, debian: &Path) -> Result<()> {
    let cni = folder.join("cni");
    fs::create_dir_all(&cni).map_err(DevclusterError::io("make", &cni))?;
    put(&cni.join("10-devcluster.conflist"), &network().to_string())?;
    put(&folder.join("containerd.toml"), &containerd(folder, release, debian))?;
    put(&folder.join("kubelet.yaml"), &kubelet(folder, group, release).to_string())?;
    put(&folder.join("kube-proxy.yaml"), &proxy(folder).to_string())
}

/// Writes a file unless it says that already: kube-proxy ends when its configuration is written anew.
fn put(path: &Path, text: &str) -> Result<()> {
    if fs::read(path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(());
    }
    fs::write(path, text).map_err(DevclusterError::io("write", path))
}

/// Source: CNI specification 1.0.0; plugins `ptp`, `host-local` and `portmap`. The cache is the cluster's own folder.
fn network() -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "devcluster",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": PODS}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

/// Source: containerd 1.6, `docs/cri/config.md`.
fn containerd(folder: &Path, release: &Release, debian: &Path) -> String {
    let pause = image_name("pause", &release.name);
    let path = |path: std::path::PathBuf| path.display().to_string();
    let (plugins, cni) = (path(release.plugins()), path(folder.join("cni")));
    let runc = path(debian.join("usr/sbin/runc"));
    format!(
        "version = 2\n\
         disabled_plugins = [\"io.containerd.internal.v1.opt\"]\n\
         [grpc]\n\
         address = {CONTAINERD:?}\n\
         [plugins.\"io.containerd.grpc.v1.cri\"]\n\
         sandbox_image = {pause:?}\n\
         restrict_oom_score_adj = true\n\
         disable_apparmor = true\n\
         netns_mounts_under_state_dir = true\n\
         [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\n\
         runtime_type = \"io.containerd.runc.v2\"\n\
         [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\n\
         BinaryName = {runc:?}\n\
         [plugins.\"io.containerd.grpc.v1.cri\".cni]\n\
         bin_dir = {plugins:?}\n\
         conf_dir = {cni:?}\n"
    )
}

/// Source: Kubernetes, `KubeletConfiguration` v1beta1.
fn kubelet(folder: &Path, group: &str, release: &Release) -> Value {
    let minor = Minor::of(&release.kubernetes);
    let pki = |name: &str| folder.join("pki").join(name).display().to_string();
    let mut config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "readOnlyPort": 0,
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": pki("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": pki("kubelet.crt"),
        "tlsPrivateKeyFile": pki("kubelet.key"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{group}"),
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        "oomScoreAdj": 0,
        // A machine that is nearly full is no reason to have no cluster.
        "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "100Mi"},
        "imageGCHighThresholdPercent": 100,
        "clusterDNS": [RESOLVER],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        // Looking for work more often than usual makes a small cluster ready sooner.
        "nodeStatusUpdateFrequency": "2s",
        "fileCheckFrequency": "5s",
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
    });
    if let Some(fields) = config.as_object_mut() {
        if minor.configures_runtime() {
            fields.insert("containerRuntimeEndpoint".into(), format!("unix://{CONTAINERD}").into());
        }
        if minor.may_refuse_cgroup_v1() {
            fields.insert("failCgroupV1".into(), false.into());
        }
    }
    config
}

/// Source: Kubernetes, `KubeProxyConfiguration` v1alpha1. What concerns connection tracking is the whole machine's.
fn proxy(folder: &Path) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": folder.join("kube-proxy.conf")},
        "hostnameOverride": NODE,
        "mode": "iptables",
        "clusterCIDR": PODS,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "oomScoreAdj": 0,
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    })
}
