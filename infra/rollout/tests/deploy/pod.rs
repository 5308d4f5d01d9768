//! The Deployment as it is shipped, with an image of this program: its pod runs, and writes its `Rollout`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use kdistro_verify::hash::sha256_of;
use serde_json::{Value, json};

use super::{Scene, command, said, with_own_files};
use crate::started::Started;

const IMAGE: &str = "kdistro.local/kdistro-rollout";

/// What a subscriber lays over the files: our image, which no registry has.
const OVERLAY: &str = "apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
bases: [base]
images:
- {name: registry.example.org/kdistro-rollout, newName: kdistro.local/kdistro-rollout, newTag: \"1\"}
patchesJson6902:
- target: {group: apps, version: v1, kind: Deployment, name: kdistro-rollout}
  path: pull.yaml
";
const PULL: &str =
    "- {op: replace, path: /spec/template/spec/containers/0/imagePullPolicy, value: Never}\n";

/// The pod cannot reach any store here: what it writes is that.
const SUBSCRIBER: &str = "cluster: dev
store: https://store.invalid
key: release.pub
environment: production
channel: \"1-20\"
hear: {poll: 1s, webhook: {listen: \"0.0.0.0:8443\", secret: /secret/webhook-secret}}
driver: {exec: {command: [\"true\"]}}
resource: {namespace: kdistro-rollout}
state: /state
";

/// The libraries that a program is linked with, and what links it.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let listed = said(&command("ldd").arg(program).output().unwrap());
    let words = listed.split_ascii_whitespace();
    words.filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

/// Writes an image with this program and kubectl, and what they need, in the form of `docker save`.
fn image(folder: &Path, kubectl: &Path) -> PathBuf {
    let ours = Path::new(env!("CARGO_BIN_EXE_kdistro-rollout"));
    let layer = folder.join("layer.tar");
    let mut builder = tar::Builder::new(File::create(&layer).unwrap());
    let mut add = |from: &Path, to: &Path| {
        let content = File::open(from).unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_size(content.metadata().unwrap().len());
        header.set_mode(0o755);
        builder.append_data(&mut header, to, content).unwrap();
    };
    add(ours, Path::new("usr/local/bin/kdistro-rollout"));
    add(kubectl, Path::new("usr/local/bin/kubectl"));
    for library in libraries(ours) {
        add(&fs::canonicalize(&library).unwrap(), library.strip_prefix("/").unwrap());
    }
    builder.finish().unwrap();
    let (digest, _) = sha256_of(File::open(&layer).unwrap()).unwrap();
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {"Env": ["PATH=/usr/local/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [digest]},
    });
    let tagged = format!("{IMAGE}:1");
    let manifest =
        json!([{"Config": "config.json", "RepoTags": [tagged], "Layers": ["layer.tar"]}]);
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
    let archive = folder.join("image.tar");
    let mut builder = tar::Builder::new(File::create(&archive).unwrap());
    for name in ["layer.tar", "config.json", "manifest.json"] {
        builder.append_path_with_name(folder.join(name), name).unwrap();
    }
    builder.finish().unwrap();
    archive
}

/// Runs a program in the cluster's namespaces.
fn inside(scene: &Scene, program: &str, arguments: &[&str]) {
    let output = scene.started.cluster.command_inside(program).unwrap().args(arguments).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", said(&output));
}

/// A volume on the node, as a cluster with a storage class would make one.
fn volume() -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "state"},
        "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "local": {"path": "/var/lib/state"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "Exists"},
            ]}]}},
        },
    })
}

#[test]
#[expect(clippy::print_stdout, reason = "what was not tried is said")]
fn the_pod_of_the_deployment_runs_and_writes_its_rollout() {
    if !rustix::process::geteuid().is_root() {
        println!("not tried: a node needs root");
        return;
    }
    let scene = Scene { started: Started::new(true), files: with_own_files() };
    let archive = image(scene.started.folder.path(), &scene.started.release.program("kubectl"));
    let ctr = scene.started.debian.join("usr/bin/ctr").display().to_string();
    let archive = archive.display().to_string();
    inside(&scene, &ctr, &["--namespace", "k8s.io", "images", "import", &archive]);
    inside(&scene, "mkdir", &["/var/lib/state"]);
    scene.with(&["create"], &volume()).unwrap();

    let overlay = tempfile::tempdir().unwrap();
    let base = overlay.path().join("base");
    fs::create_dir(&base).unwrap();
    for entry in fs::read_dir(scene.files.path()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, base.join(path.file_name().unwrap())).unwrap();
    }
    fs::write(base.join("rollout.yaml"), SUBSCRIBER).unwrap();
    fs::write(overlay.path().join("kustomization.yaml"), OVERLAY).unwrap();
    fs::write(overlay.path().join("pull.yaml"), PULL).unwrap();
    scene.kubectl(&["apply", "--kustomize", overlay.path().to_str().unwrap()]).unwrap();
    let namespace = ["--namespace", "kdistro-rollout"];
    let status = ["rollout", "status", "deployment/kdistro-rollout", "--timeout=90s"];
    if let Err(why) = scene.kubectl(&[&namespace[..], &status].concat()) {
        let told = scene.kubectl(&[&namespace[..], &["describe", "pods"]].concat());
        let log =
            scene.kubectl(&[&namespace[..], &["logs", "deployment/kdistro-rollout"]].concat());
        panic!("{why}\n{told:?}\n{log:?}");
    }
    let end = Instant::now() + Duration::from_secs(30);
    let written = loop {
        let found =
            scene.kubectl(&[&namespace[..], &["get", "rollouts", "--output=json"]].concat());
        let found: Value = serde_json::from_str(&found.unwrap()).unwrap();
        let first = found["items"][0].clone();
        if !first["status"]["conditions"].is_null() {
            break first;
        }
        let log =
            || scene.kubectl(&[&namespace[..], &["logs", "deployment/kdistro-rollout"]].concat());
        assert!(Instant::now() < end, "{first}: {}", log().unwrap());
        std::thread::sleep(Duration::from_millis(200));
    };
    assert_eq!(written["metadata"]["name"], "dev");
    assert_eq!(written["spec"]["channel"], "1-20");
    // What it remembers is its own, and lasts.
    let list = ["exec", "deployment/kdistro-rollout", "--", "kdistro-rollout", "--state", "/state"];
    let shown = scene.kubectl(&[&namespace[..], &list, &["--json", "status"]].concat()).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()["follows"]["cluster"], "dev");
}
