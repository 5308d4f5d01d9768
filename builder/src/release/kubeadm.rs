//! `kubeadm.yaml`: with it, `kubeadm init --config` takes every image from the flat repository of a release. Pure.

use kdistro_formats::{
    ReleaseName,
    plan::{Content, FlatName, Plan},
    yaml::{self, WriteError},
};
use serde::Serialize;

use crate::config::project;

/// The name of the document in a release.
pub const NAME: &str = "kubeadm.yaml";

/// Where images are that a channel does not ship.
const UPSTREAM: &str = "registry.k8s.io";

/// Source: kubeadm, `apis/kubeadm/v1beta4/types.go`, `ClusterConfiguration`; the older versions have the same fields.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClusterConfiguration {
    api_version: &'static str,
    kind: &'static str,
    kubernetes_version: String,
    image_repository: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    dns: Option<Images>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etcd: Option<Etcd>,
}

#[derive(Serialize)]
struct Etcd {
    local: Images,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Images {
    #[serde(skip_serializing_if = "Option::is_none")]
    image_repository: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image_tag: Option<String>,
}

/// The flat repository of a release, below the registry's name.
pub fn repository(name: &ReleaseName) -> String {
    name.to_string()
}

/// The repository of an image in the flat repository of a release.
pub fn flat(name: &ReleaseName, image: &str) -> String {
    format!("{}/{image}", repository(name))
}

/// Writes the configuration for a release; none where it ships no control plane.
pub fn configuration(
    plan: &Plan,
    name: &ReleaseName,
    registry: &str,
) -> Result<Option<String>, WriteError> {
    let flat = |wanted: &str| flat_names(plan).find(|flat| flat.name == wanted);
    let Some(server) = flat("kube-apiserver") else { return Ok(None) };
    let tagged =
        |flat: &FlatName| Images { image_repository: None, image_tag: Some(flat.tag.clone()) };
    let dns = match flat("coredns") {
        Some(coredns) => tagged(coredns),
        None => Images { image_repository: Some(UPSTREAM.to_owned()), image_tag: None },
    };
    let configuration = ClusterConfiguration {
        api_version: api_version(plan),
        kind: "ClusterConfiguration",
        // kubeadm itself writes `_` for `+` in tags.
        kubernetes_version: server.tag.replacen('_', "+", 1),
        image_repository: format!("{registry}/{}", repository(name)),
        dns: Some(dns),
        etcd: flat("etcd").map(|etcd| Etcd { local: tagged(etcd) }),
    };
    Ok(Some(yaml::to_string(&configuration)?))
}

fn flat_names(plan: &Plan) -> impl Iterator<Item = &FlatName> {
    let assets = plan.components.iter().flat_map(|component| &component.assets);
    assets.filter_map(|asset| match &asset.content {
        Content::Image(image) => image.flat.as_ref(),
        _ => None,
    })
}

/// The newest configuration version that this kubeadm reads.
///
/// Source: kubeadm's release notes: v1beta2 from 1.15, v1beta3 from 1.22, v1beta4 from 1.31 on.
fn api_version(plan: &Plan) -> &'static str {
    let component = plan.components.iter().find(|component| component.name == "kubernetes");
    let minor = component.and_then(|component| project::version(&component.tag));
    match minor.map_or(0, |version| version.minor) {
        0..=21 => "kubeadm.k8s.io/v1beta2",
        22..=30 => "kubeadm.k8s.io/v1beta3",
        _ => "kubeadm.k8s.io/v1beta4",
    }
}
