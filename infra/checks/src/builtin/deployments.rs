//! What replaces and removes pods: Deployments, and evictions under a disruption budget.

use std::collections::BTreeSet;

use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, Patch, PatchParams, PostParams},
    core::response::Status,
    discovery,
};
use serde_json::{Value, json};

use crate::{
    error::Fault,
    scene::{self, Scene, wrong},
};

/// A Deployment runs its pods, and replaces them when it is changed.
pub(super) async fn rolls_out(scene: Scene) -> Result<(), Fault> {
    let (name, labels) = ("rolls-out", json!({"app": "rolls-out"}));
    let template =
        json!({"metadata": {"labels": labels}, "spec": scene::server(&scene.image, name)});
    let spec = json!({"replicas": 2, "selector": {"matchLabels": labels}, "template": template});
    scene.make::<Deployment>(json!({"metadata": {"name": name}, "spec": spec})).await?;
    await_replicas(&scene, name).await?;
    let before = pods_of(&scene, name).await?;

    let changed = json!({"spec": {"template": {"metadata": {"annotations": {"changed": "yes"}}}}});
    let deployments: Api<Deployment> = scene.api();
    deployments.patch(name, &PatchParams::default(), &Patch::Merge(&changed)).await?;
    await_replicas(&scene, name).await?;
    let after = pods_of(&scene, name).await?;
    if after.is_empty() || after.intersection(&before).next().is_some() {
        return Err(wrong("the changed Deployment is done, and still has pods from before"));
    }
    Ok(())
}

/// Waits until a Deployment has as many available pods of its newest kind as it wants, and no others.
async fn await_replicas(scene: &Scene, name: &str) -> Result<(), Fault> {
    let deployments: Api<Deployment> = scene.api();
    scene
        .until(&format!("deployment {name} is not done"), async || {
            let now = deployments.get(name).await?;
            let wanted = now.spec.replicas;
            let status = now.status.unwrap_or_default();
            let is_seen = status.observed_generation >= now.metadata.generation;
            let counts = [status.replicas, status.updated_replicas, status.available_replicas];
            let is_done = is_seen && counts.iter().all(|count| *count == wanted);
            let [all, new, available] = counts.map(Option::unwrap_or_default);
            Ok((!is_done).then(|| format!("of {all} pods {new} are new, {available} available")))
        })
        .await
}

/// The pods of a Deployment that are not going.
async fn pods_of(scene: &Scene, name: &str) -> Result<BTreeSet<String>, Fault> {
    let pods =
        scene.api::<Pod>().list(&ListParams::default().labels(&format!("app={name}"))).await?;
    let pods = pods.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    Ok(pods.filter_map(|pod| pod.metadata.uid).collect())
}

/// A pod stays while its budget says so, and goes when nothing does.
pub(super) async fn eviction_honours_budget(scene: Scene) -> Result<(), Fault> {
    let name = "evicted";
    scene.make_pod(name, scene::server(&scene.image, name)).await?;
    scene.ready(name).await?;
    let budgets = budgets(&scene).await?;
    let spec = json!({"minAvailable": 1, "selector": {"matchLabels": {"app": name}}});
    let budget = json!({"metadata": {"name": name}, "spec": spec});
    let budget = serde_json::from_value(budget).map_err(|error| wrong(error.to_string()))?;
    budgets.create(&PostParams::default(), &budget).await?;
    scene
        .until("the disruption budget does not count its pod", async || {
            let budget = budgets.get(name).await?.data;
            let healthy = budget.pointer("/status/currentHealthy").and_then(Value::as_u64);
            Ok((healthy != Some(1)).then(|| format!("currentHealthy is {healthy:?}")))
        })
        .await?;
    match evict(&scene, name).await {
        Err(fault) if fault.code() == Some(429) => {}
        Err(fault) => return Err(fault),
        Ok(()) => return Err(wrong("a pod was evicted against its disruption budget")),
    }
    scene.delete((&budgets, name)).await?;
    evict(&scene, name).await?;
    // It may take its time to end.
    let pods: Api<Pod> = scene.api();
    let left = pods.get_opt(name).await?.filter(|pod| pod.metadata.deletion_timestamp.is_none());
    if left.is_some() { Err(wrong("an evicted pod stays")) } else { Ok(()) }
}

/// Budgets in the version that the cluster prefers: 1.20 has only `v1beta1`, 1.25 and later only `v1`.
async fn budgets(scene: &Scene) -> Result<Api<DynamicObject>, Fault> {
    let group = discovery::group(&scene.client, "policy").await?;
    let kind = group.recommended_kind("PodDisruptionBudget");
    let (kind, _) = kind.ok_or_else(|| wrong("the cluster knows no PodDisruptionBudget"))?;
    Ok(Api::namespaced_with(scene.client.clone(), &scene.namespace, &kind))
}

async fn evict(scene: &Scene, pod: &str) -> Result<(), Fault> {
    let version = eviction_version(&scene.client).await?;
    let eviction = json!({
        "apiVersion": format!("policy/{version}"),
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": scene.namespace},
    });
    let pods: Api<Pod> = scene.api();
    let _: Status =
        pods.create_subresource("eviction", pod, &PostParams::default(), &eviction).await?;
    Ok(())
}

/// The version of an eviction, which is not always that of budgets: 1.21 has budgets in `v1`, evictions in `v1beta1` only.
async fn eviction_version(client: &Client) -> Result<String, Fault> {
    let resources = client.list_core_api_resources("v1").await?.resources;
    let eviction = resources.into_iter().find(|one| one.name == "pods/eviction");
    eviction.and_then(|one| one.version).ok_or_else(|| wrong("the cluster knows no eviction"))
}
