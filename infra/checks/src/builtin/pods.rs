//! Pods: scheduled and run, given files, spoken to.

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::{Api, api::AttachParams};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::{
    error::Fault,
    scene::{self, Scene, wrong},
};

/// How much is read of what a command in a container writes, in bytes.
const SAID: u64 = 16 * 1024;

/// A pod is scheduled, runs and becomes ready.
pub(super) async fn runs(scene: Scene) -> Result<(), Fault> {
    scene.make_pod("runs", scene::server(&scene.image, "runs")).await?;
    scene.ready("runs").await
}

/// A `ConfigMap` and a `Secret` reach containers as files.
///
/// The image has no shell: each container is an etcd whose configuration is the mounted file, so that it answers at the
/// port that the file says only if it could read it.
pub(super) async fn mounts(scene: Scene) -> Result<(), Fault> {
    let (plain, secret) = (configuration(12379), configuration(22379));
    let metadata = json!({"name": "mounted"});
    scene.make::<ConfigMap>(json!({"metadata": metadata, "data": {"etcd.yaml": plain}})).await?;
    let stored = json!({"metadata": metadata, "stringData": {"etcd.yaml": secret}});
    scene.make::<Secret>(stored).await?;
    let container = |name: &str, port: u16| {
        json!({
            "name": name,
            "image": scene.image,
            "command": ["etcd", format!("--config-file=/mounted/{name}/etcd.yaml")],
            "readinessProbe": scene::probe(port),
            "volumeMounts": [
                {"name": "data", "mountPath": "/tmp"},
                {"name": name, "mountPath": format!("/mounted/{name}"), "readOnly": true},
            ],
        })
    };
    let volumes = [
        json!({"name": "config", "configMap": {"name": "mounted"}}),
        json!({"name": "secret", "secret": {"secretName": "mounted"}}),
    ];
    let containers = [container("config", 12379), container("secret", 22379)];
    let pod = scene::pod(&containers, &volumes, "Always");
    scene.make_pod("mounts", pod).await?;
    scene.ready("mounts").await
}

/// The configuration of an etcd that answers at `port`; JSON, which is YAML, too.
fn configuration(port: u16) -> String {
    let (client, peer) =
        (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{}", port + 1));
    let configuration: Value = json!({
        "name": "mounted",
        "data-dir": format!("/tmp/{port}"),
        "listen-client-urls": format!("http://0.0.0.0:{port}"),
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": format!("mounted={peer}"),
    });
    configuration.to_string()
}

/// A command runs in a container, and what the container writes can be read.
pub(super) async fn exec_and_logs(scene: Scene) -> Result<(), Fault> {
    // Its name is what its log is known by.
    let mark = format!("log-of-{}", scene.namespace);
    scene.make_pod("spoken-to", scene::server(&scene.image, &mark)).await?;
    scene.ready("spoken-to").await?;
    let (well, said) = exec(&scene, &["etcd", "--version"]).await?;
    if !well || !said.contains("etcd Version") {
        return Err(wrong(format!("`etcd --version` in a container said: {said}")));
    }
    let nowhere = "--endpoints=http://127.0.0.1:1";
    let (well, said) =
        exec(&scene, &["etcdctl", nowhere, "--command-timeout=1s", "endpoint", "health"]).await?;
    if well {
        return Err(wrong(format!(
            "a command that fails in a container passes for a success: {said}"
        )));
    }
    scene
        .until("the log does not say what the container wrote", async || {
            let log = scene.log("spoken-to", None).await?;
            let last = log.lines().last().unwrap_or_default().to_owned();
            Ok((!log.contains(&mark)).then_some(last))
        })
        .await
}

/// Whether a command in the pod's container ended well, and what it wrote.
async fn exec(scene: &Scene, command: &[&str]) -> Result<(bool, String), Fault> {
    let pods: Api<Pod> = scene.api();
    let attach = AttachParams::default().stdin(false);
    let mut process = pods.exec("spoken-to", command.iter().copied(), &attach).await?;
    let (stdout, stderr) = (process.stdout(), process.stderr());
    let status = process.take_status();
    let (first, second) = futures::join!(read(stdout), read(stderr));
    let status = match status {
        Some(status) => status.await,
        None => None,
    };
    let well = status.is_some_and(|status| status.status.as_deref() == Some("Success"));
    Ok((well, first + &second))
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        // What was read until then counts.
        let _ = stream.take(SAID).read_to_end(&mut bytes).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
