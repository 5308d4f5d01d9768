//! Real releases at the gate: cut, started as clusters, checked, and offered or withheld.
//!
//! They are made of what `kdistro_testbed::releases` built, so that only what a patch changes is built anew. As root the
//! clusters have a node.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod scene;

use std::{fs, thread, time::Duration};

use kdistro_formats::channel::ReleaseChannel;
use kdistro_testbed::TESTS;
use serde_json::Value;

use scene::{Scene, is_root};

const NO_ETCD: &str = include_str!("no-etcd.patch");
const NO_ADDRESS: &str = include_str!("no-address.patch");

const GATED: [&str; 2] = ["--gate", "devcluster"];

#[test]
fn a_release_is_offered_when_it_passed_and_withheld_when_it_failed() {
    let scene = Scene::new();
    passes(&scene);
    fails_without_a_cluster(&scene);
    if is_root() {
        fails_with_one(&scene);
    }
    assert_eq!(scene.cut(&["--component", TESTS], 0)["outcome"], "unchanged");
    assert!(scene.clusters().is_empty());
}

fn passes(scene: &Scene) {
    let cut = scene.cut(&[&GATED[..], &["--component", TESTS]].concat(), 0);
    let tests = &cut["tests"];
    assert_eq!(cut["release"], "1-20-1");
    assert_eq!(tests["result"], if is_root() { "PASSED" } else { "WARNED" }, "{tests:#}");
    assert!(tests["passedTests"].as_array().unwrap().len() > 3, "{tests:#}");
    let facts = &tests["configuration"][0]["annotations"];
    assert!(facts["kubernetes"].as_str().unwrap().starts_with("v1.20.2+kd.t"), "{facts}");
    if is_root() {
        assert_eq!(scene.attested(1), *tests);
        let passed = tests["passedTests"].as_array().unwrap().iter().map(|it| it.as_str().unwrap());
        assert!(passed.filter(|name| name.starts_with("conformance: ")).count() > 15, "{tests:#}");
    }
    assert!(scene.index().contains("latestRelease: 1\n"), "{}", scene.index());
    assert_eq!(scene.announced(), 1);
    scene.verify(1, 0);
}

/// etcd does not stay: there is nothing to try other tests on.
fn fails_without_a_cluster(scene: &Scene) {
    scene.patch("etcd-io/etcd/v3.4.23", NO_ETCD);
    let cut = scene.cut(&GATED, 1);
    assert_eq!((&cut["outcome"], &cut["release"]), (&"withheld".into(), &"1-20-2".into()));
    assert_eq!(cut["tests"]["failedTests"], Value::from(vec!["cluster-starts"]));
    assert_eq!(scene.attested(2), cut["tests"]);
    withholds(scene, 2, "failed at the gate: cluster-starts");
    scene.verify(1, 0);
    scene.unpatch("etcd-io/etcd/v3.4.23");
}

/// A cluster-starts, and none of its pods.
fn fails_with_one(scene: &Scene) {
    scene.patch("containernetworking/plugins/v1.1.1", NO_ADDRESS);
    let cut = scene.cut(&GATED, 1);
    let tests = |what: &str| cut["tests"][what].as_array().unwrap().len();
    assert!(tests("failedTests") > 2 && tests("passedTests") > 2, "{cut:#}");
    assert_eq!((&cut["outcome"], &cut["release"]), (&"withheld".into(), &"1-20-3".into()));
    let failed = cut["tests"]["failedTests"].as_array().unwrap();
    let named: Vec<_> = failed.iter().take(3).map(|name| name.as_str().unwrap()).collect();
    withholds(scene, 3, &format!("failed at the gate: {}", named.join(", ")));
    scene.unpatch("containernetworking/plugins/v1.1.1");
}

/// The channel says why it does not offer a release, and still offers the first alone.
fn withholds(scene: &Scene, number: u32, reason: &str) {
    let index = scene.index();
    let status = ReleaseChannel::from_yaml(&index).unwrap().status;
    let withheld = status.withheld.iter().find(|it| it.number == number).unwrap();
    assert!(withheld.reason.starts_with(reason), "{reason}: {index}");
    assert_eq!(status.latest_release, 1, "{index}");
    assert_eq!(scene.announced(), 1, "nobody is told");
}

#[test]
fn who_is_killed_at_the_gate_leaves_no_cluster_and_offers_nothing_until_the_next_run() {
    let scene = Scene::new();
    let mut cut = scene.start(&GATED);
    scene.until("a cluster-starts", || !scene.clusters().is_empty());
    thread::sleep(Duration::from_secs(2));
    cut.kill().unwrap();
    cut.wait().unwrap();
    scene.until("the cluster ends", || scene.clusters().is_empty());
    assert!(!scene.store().join("releasechannels").exists(), "nothing is offered");
    assert_eq!(scene.announced(), 0);
    // It is not forgotten that a gate was to be passed: the environment may demand it.
    scene.demand_gate();
    let cut = scene.cut(&[], 0);
    assert_eq!((&cut["outcome"], &cut["release"]), (&"released".into(), &"1-20-1".into()));
    assert_ne!(cut["tests"], Value::Null);
    assert_eq!(scene.announced(), 1);
}

#[test]
fn what_is_missing_is_said_before_anything_is_done() {
    let scene = Scene::new();
    let alone = scene.folder().join("alone/kdistro");
    fs::create_dir(alone.parent().unwrap()).unwrap();
    fs::copy(scene::sibling("kdistro"), &alone).unwrap();
    let said = scene.say(&alone, &GATED);
    assert!(said.contains("alone/devcluster, which is missing"), "{said}");
    assert!(said.contains("cargo build -p kdistro-devcluster -p kdistro-checks"), "{said}");
    let said = scene.say(&alone, &[&GATED[..], &["--until", "package"]].concat());
    assert!(said.contains("--until leaves out"), "{said}");
    assert!(!scene.store().exists());
}
