//! Services: found by their pods' labels, reached at their address, and by name.

use k8s_openapi::api::core::v1::{Endpoints, Service};
use kube::Api;
use serde_json::json;

use crate::{
    error::Fault,
    scene::{self, PORT, Scene, wrong},
};

/// Where the Service answers.
const FRONT: u16 = 8080;

/// A Service finds its pod, and answers at its address.
pub(super) async fn answers(scene: Scene) -> Result<(), Fault> {
    let service = serve(&scene, "answers").await?;
    let address = service.spec.and_then(|spec| spec.cluster_ip).unwrap_or_default();
    if address.is_empty() || address == "None" {
        return Err(wrong("the Service was given no address"));
    }
    let address = if address.contains(':') { format!("[{address}]") } else { address };
    ask(&scene, "answers-asked", &address).await
}

/// A Service answers by its name.
pub(super) async fn has_a_name(scene: Scene) -> Result<(), Fault> {
    serve(&scene, "named").await?;
    let name = format!("named.{}.svc", scene.namespace);
    ask(&scene, "named-asked", &name).await
}

/// Makes a pod and its Service, and waits until they have found each other.
async fn serve(scene: &Scene, name: &str) -> Result<Service, Fault> {
    scene.make_pod(name, scene::server(&scene.image, name)).await?;
    let ports = json!([{"port": FRONT, "targetPort": PORT}]);
    let spec = json!({"selector": {"app": name}, "ports": ports});
    let service = scene.make(json!({"metadata": {"name": name}, "spec": spec})).await?;
    scene.ready(name).await?;
    let endpoints: Api<Endpoints> = scene.api();
    scene
        .until("the Service has not found its pod", async || {
            let found = endpoints.get_opt(name).await?.and_then(|found| found.subsets);
            let addresses = found.iter().flatten().filter_map(|subset| subset.addresses.as_ref());
            let is_empty = addresses.flatten().next().is_none();
            Ok(is_empty.then(|| "it has no endpoints".to_owned()))
        })
        .await?;
    Ok(service)
}

/// Lets another pod ask the server behind a Service, once and again until it answers.
async fn ask(scene: &Scene, name: &str, host: &str) -> Result<(), Fault> {
    let endpoint = format!("--endpoints=http://{host}:{FRONT}");
    let command = ["etcdctl", &endpoint, "--dial-timeout=5s", "--command-timeout=5s", "get", "x"];
    let container = json!({"name": "main", "image": scene.image, "command": command});
    let pod = scene::pod(&[container], &[], "OnFailure");
    scene.make_pod(name, pod).await?;
    scene.succeeded(name).await
}
