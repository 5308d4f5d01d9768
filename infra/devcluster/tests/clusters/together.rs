//! Several clusters with nodes at once: each in namespaces of its own.

use std::{collections::BTreeSet, fs, path::PathBuf};

use super::{Home, command, groups, is_root, processes_of, release::published};

/// Their names, which no other test's have.
const NAMES: [&str; 2] = ["left", "right"];

/// The networks of all processes of a cluster: its own, and those of its pods.
fn networks(home: &Home, name: &str) -> BTreeSet<String> {
    // One that ends meanwhile has none.
    let list = "readlink /proc/[0-9]*/ns/net 2>/dev/null; true";
    let said = home.expect(0, &["exec", "--name", name, "--", "sh", "-c", list]);
    said.lines().map(str::to_owned).collect()
}

/// The networks of all processes of this machine.
fn networks_here() -> BTreeSet<String> {
    let all = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path().join("ns/net"));
    let links = all.filter_map(|link| fs::read_link(link).ok());
    links.map(|link| link.to_str().unwrap().to_owned()).collect()
}

/// Devices of this machine's own network.
fn devices() -> Vec<u8> {
    command("ip").args(["-brief", "link"]).output().unwrap().stdout
}

/// Fails the test unless a cluster is healthy, its node ready, and its pods answer.
fn assert_works(home: &Home, name: &str) {
    home.status(name, 0);
    let path = r#"jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}"#;
    assert_eq!(home.kubectl(name, &["get", "nodes", "--output", path]), "True");
    home.assert_answers(name);
}

/// Fails the test unless nothing of a cluster is left.
fn assert_gone(home: &Home, name: &str, networks: &BTreeSet<String>) {
    let folder = home.path().join("clusters").join(name);
    assert!(!folder.exists());
    assert_eq!(processes_of(&folder), Vec::<PathBuf>::new());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(folder.to_str().unwrap()), "{mounts}");
    assert!(groups(name).is_empty(), "control groups of {name} are left");
    assert!(networks_here().is_disjoint(networks), "networks of {name} are left");
}

#[test]
#[expect(clippy::print_stdout, reason = "what was not tried is said")]
fn two_clusters_with_nodes_run_side_by_side_and_one_ends_without_the_other() {
    if !is_root() {
        println!("not tried: a node needs root");
        return;
    }
    let (published, before) = (published(), devices());
    let home = Home::new(false);
    for name in NAMES {
        home.up(name, published, &["--require-node"]);
    }
    for name in NAMES {
        home.serve_in(name, published);
    }
    for name in NAMES {
        assert_works(&home, name);
    }
    let [left, right] = NAMES.map(|name| networks(&home, name));
    assert!(left.len() > 1 && right.len() > 1, "a pod has none of its own: {left:?} {right:?}");
    assert!(left.is_disjoint(&right), "{left:?} {right:?}");
    let here = networks_here();
    assert!(left.is_subset(&here) && right.is_subset(&here), "{left:?} {right:?} {here:?}");
    home.kubectl("left", &["create", "configmap", "only-in-left"]);
    assert!(!home.kubectl("right", &["get", "configmaps"]).contains("only-in-left"));

    home.expect(0, &["down", "--name", "left"]);
    assert_gone(&home, "left", &left);
    assert!(home.path().join("releases").exists(), "the other one's programs lie there");
    assert_works(&home, "right");
    // What runs could go on without its node's parts; new work cannot.
    home.kubectl("right", &["rollout", "restart", "deployment", "web"]);
    home.kubectl("right", &["rollout", "status", "deployment", "web", "--timeout=60s"]);
    assert_works(&home, "right");

    let right = networks(&home, "right");
    home.expect(0, &["down", "--name", "right"]);
    assert_gone(&home, "right", &right);
    assert_eq!(processes_of(home.path()), Vec::<PathBuf>::new());
    assert_eq!(devices(), before, "devices are left");
    home.assert_empty();
}
