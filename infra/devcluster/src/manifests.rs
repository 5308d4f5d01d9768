//! What a new cluster is given to run.

use serde_json::{Value, json};

use crate::{component::RESOLVER, release::image_name};

/// The cluster's resolver.
///
/// Source: `CoreDNS`, `deployment/kubernetes/coredns.yaml.sed`.
pub(crate) fn coredns(release: &str) -> String {
    let namespace = "kube-system";
    let rules = json!([
        {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]);
    let corefile = ".:53 {\n    errors\n    health\n    ready\n    kubernetes cluster.local in-addr.arpa ip6.arpa\n    cache 5\n    loop\n    reload\n}\n";
    let pod = json!({
        "serviceAccountName": "coredns",
        "dnsPolicy": "Default",
        "containers": [{
            "name": "coredns",
            "image": image_name("coredns", release),
            "args": ["-conf", "/etc/coredns/Corefile"],
            "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
            "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": true}],
        }],
        "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
    });
    let labels = json!({"k8s-app": "kube-dns"});
    let items: Vec<Value> = vec![
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "coredns", "namespace": namespace}}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "system:coredns"}, "rules": rules}),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "system:coredns"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"},
            "subjects": [{"kind": "ServiceAccount", "name": "coredns", "namespace": namespace}],
        }),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "coredns", "namespace": namespace}, "data": {"Corefile": corefile}}),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "coredns", "namespace": namespace, "labels": labels},
            "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}},
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "kube-dns", "namespace": namespace, "labels": labels},
            "spec": {
                "clusterIP": RESOLVER, "selector": labels,
                "ports": [
                    {"name": "dns", "port": 53, "protocol": "UDP"},
                    {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
                ],
            },
        }),
    ];
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

/// What shows that a cluster does new work.
pub(crate) const CANARY: &str = "kdistro-canary";

/// A Deployment of the release's etcd, which answers `/version`, and its Service.
pub(crate) fn canary(release: &str) -> String {
    let labels = json!({"app": CANARY});
    let pod = json!({
        "terminationGracePeriodSeconds": 1,
        "containers": [{
            "name": "canary",
            "image": image_name("etcd", release),
            "command": [
                "etcd", "--data-dir=/tmp/canary",
                "--listen-client-urls=http://0.0.0.0:2379", "--advertise-client-urls=http://127.0.0.1:2379",
            ],
            "readinessProbe": {"httpGet": {"path": "/version", "port": 2379}, "periodSeconds": 1},
            "volumeMounts": [{"name": "data", "mountPath": "/tmp"}],
        }],
        "volumes": [{"name": "data", "emptyDir": {}}],
    });
    let items = json!([
        {
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": CANARY, "labels": labels},
            "spec": {
                "replicas": 1, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": CANARY, "labels": labels},
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 2379}]},
        },
    ]);
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

/// An object that says which release was looked at last.
pub(crate) fn canary_object(release: &str) -> String {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CANARY}, "data": {"release": release},
    })
    .to_string()
}
