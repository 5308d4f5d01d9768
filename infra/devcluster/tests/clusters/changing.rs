//! Changes of a running cluster that must not be taken for done.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    thread,
    time::Duration,
};

use kdistro_devcluster::{Cluster, ComponentName::Kubelet, Release, packages};
use kdistro_formats::Digest;

use super::{Home, is_root, release::published, until};

/// How long a kubelet that is well may take until it says so, and how long one that is not is watched.
const SOON: Duration = Duration::from_secs(10);

/// Starts a cluster in one of its modes; returns it and what it runs.
fn started(home: &Home, mode: &str) -> (Cluster, Release) {
    home.up("dev", published(), &[mode]);
    let cluster = Cluster::open(home.path(), "dev").unwrap();
    let release = cluster.state().release.clone();
    (cluster, release)
}

/// A release as this one, with an etcdctl that spoils what it saves.
fn spoiling(folder: &Path, release: &Release) -> Release {
    fs::create_dir_all(folder.join("bin")).unwrap();
    let later = release.program("etcdutl");
    if later.is_file() {
        symlink(later, folder.join("bin/etcdutl")).unwrap();
    }
    let (path, real) = (folder.join("bin/etcdctl"), release.program("etcdctl"));
    let script = format!(
        "#!/bin/sh\n{} \"$@\" || exit\nfor last; do :; done\n\
         case \"$*\" in *'snapshot save '*) printf spoilt | dd of=\"$last\" bs=1 seek=4096 conv=notrunc;; esac\n",
        real.display()
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    Release { folder: folder.to_owned(), ..release.clone() }
}

#[test]
fn a_snapshot_that_cannot_be_restored_is_none() {
    let home = Home::new(false);
    let (cluster, release) = started(&home, "--control-plane-only");
    let left = |name: &str| home.path().join("clusters/dev").join(name).exists();

    cluster.snapshot(&release).unwrap();
    assert!(left("etcd.snapshot"));
    let spoilt = cluster.snapshot(&spoiling(&home.path().join("spoiling"), &release));
    let said = spoilt.unwrap_err().to_string();
    assert!(said.contains("snapshot restore") && said.contains("sha256"), "{said}");
    assert!(!left("etcd.snapshot"), "one that is spoilt, or the one before, is kept");
    assert!(!left("etcd.trial"));
    cluster.snapshot(&release).unwrap();
    assert!(left("etcd.snapshot") && !left("etcd.trial"));
}

/// An admission webhook whom nobody serves: the API server cannot do what is to be asked of it first.
const NOBODY: &str = r#"{
    "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
    "metadata": {"name": "nobody"},
    "webhooks": [{
        "name": "nobody.kdistro.local", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": "https://127.0.0.1:1/"}, "timeoutSeconds": 1,
        "rules": [{
            "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]
        }]
    }]
}"#;

#[test]
fn an_api_server_that_cannot_yet_is_asked_again() {
    let home = Home::new(false);
    let (cluster, release) = started(&home, "--control-plane-only");
    let file = home.path().join("nobody.json");
    fs::write(&file, NOBODY).unwrap();
    home.kubectl("dev", &["create", "--filename", file.to_str().unwrap()]);
    home.kubectl("dev", &["delete", "configmap", "--all"]);
    let create = ["create", "configmap", "one", "--dry-run=server"];
    let create = [&["kubectl", "--name", "dev", "--"], &create[..]].concat();
    until(|| home.run(&create).status.code() == Some(1));

    thread::scope(|scope| {
        let canary = scope.spawn(|| cluster.canary(&release));
        thread::sleep(SOON / 4);
        let is_over = canary.is_finished();
        home.kubectl("dev", &["delete", "--filename", file.to_str().unwrap()]);
        canary.join().unwrap().unwrap();
        assert!(!is_over, "the API server could do it all along");
    });
}

#[test]
#[expect(clippy::print_stdout, reason = "what was not tried is said")]
fn a_kubelet_that_is_healthy_on_a_node_that_is_not_is_waited_for() {
    if !is_root() {
        println!("not tried: a node needs root");
        return;
    }
    let home = Home::new(false);
    let ((cluster, release), debian) = (started(&home, "--require-node"), packages().unwrap());
    let digest = Digest::from_bytes([0xab; 32]);
    let folder = home.path().join("releases").join(digest.hex());
    symlink(&release.folder, &folder).unwrap();
    let other = Release { digest, folder, ..release };
    let condition = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
    let ready = || home.kubectl("dev", &["get", "node", "node1", "--output", condition]);
    let renewed = || {
        let lease = ["get", "lease", "node1", "--namespace=kube-node-lease", "--ignore-not-found"];
        home.kubectl("dev", &[&lease[..], &["--output", "jsonpath={.spec.renewTime}"]].concat())
    };

    // No network can be made from this, and it is the first that containerd reads.
    let spoilt = home.path().join("clusters/dev/cni/00-spoilt.conflist");
    fs::write(&spoilt, "{").unwrap();
    until(|| ready() == "False");
    thread::scope(|scope| {
        let before = renewed();
        let replaced = scope.spawn(|| cluster.replace(Kubelet, &other, &debian));
        until(|| cluster.runs().unwrap().get(&Kubelet) == Some(&digest));
        until(|| renewed() != before && cluster.status().is_healthy());
        thread::sleep(SOON);
        assert_eq!(ready(), "False", "the node is as it should not be");
        let is_over = replaced.is_finished();
        fs::remove_file(&spoilt).unwrap();
        replaced.join().unwrap().unwrap();
        assert!(!is_over, "a node that is not ready was taken for one that is");
    });
    assert_eq!(ready(), "True");
}
