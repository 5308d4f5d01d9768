//! A real cluster that somebody else changes is left alone.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
#[path = "cluster/started.rs"]
mod started;

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use kdistro_devcluster::Release;
use kdistro_rollout::{
    driver::{Driver, Exec, Leased},
    history::{Change, Direction, Event, History, Target, UnderWay, What},
    lease::{LENGTH, Lease, LeaseError},
    plan::Step,
    policy::{self, Length},
};
use serde_json::{Value, json};

use started::{Started, brought, subscriber};

const STATE: &str = "--state=state";

/// A cluster of the first release, and its subscriber's file.
struct Scene {
    started: Started,
}

impl Scene {
    fn new() -> Self {
        let started = Started::new(false);
        started.subscriber(&started.driver());
        Self { started }
    }

    fn run(&self, arguments: &[&str]) -> (i32, String) {
        run(self.started.folder.path(), &self.started.release, arguments)
    }

    fn lease(&self, holder: &str) -> Lease {
        Lease::of_devcluster(self.started.cluster.clone(), holder.to_owned())
    }

    /// What the cluster has of the lease.
    fn spec(&self) -> Value {
        let get = ["--namespace=kube-system", "get", "lease", "kdistro-rollout", "--output=json"];
        let object: Value =
            serde_json::from_slice(&self.started.cluster.kubectl(&get).unwrap()).unwrap();
        object["spec"].clone()
    }
}

/// Runs the program in a folder. Where a kubeconfig is all that is named, kubectl is the user's own: that of a release.
#[expect(clippy::disallowed_methods, reason = "the program is tested")]
fn run(folder: &Path, release: &Release, arguments: &[&str]) -> (i32, String) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_kdistro-rollout"));
    program.args(arguments).current_dir(folder);
    let kubectl = release.folder.join("bin");
    program.env("PATH", format!("{}:/usr/bin:/bin", kubectl.display()));
    let Output { status, stdout, stderr } = program.output().unwrap();
    (status.code().unwrap(), String::from_utf8([stdout, stderr].concat()).unwrap())
}

#[test]
fn a_cluster_that_cannot_be_asked_is_not_begun_with_but_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, release) = (folder.path(), brought(1, folder.path(), false));
    let driver = "driver: {exec: {command: [\"true\"]}}\nlease: {kubeconfig: none}";
    fs::write(folder.join("rollout.yaml"), subscriber(folder, driver)).unwrap();
    let (code, said) = run(folder, &release, &["once", STATE]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("error: `kubectl get` failed: "), "{said}");
    let history = History::open(&folder.join("state/history")).unwrap();
    assert!(history.under_way().unwrap().is_none());
    // Somebody's roll-out died half-way.
    let target = Target { name: "1-20-1".parse().unwrap(), digest: release.digest };
    let under_way = UnderWay {
        from: target.clone(),
        to: target.clone(),
        steps: vec![Step::Command],
        done: 0,
        direction: Direction::Forward,
    };
    let (at, text) = (Timestamp::UNIX_EPOCH, String::new());
    let event = Event { at, release: Some(target.name), what: What::Began, text };
    history.write(&event, &Change::UnderWay(&under_way)).unwrap();
    drop(history);
    let (code, said) = run(folder, &release, &["once", STATE]);
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("1-20-1 runs\n"), "{said}");
}

#[test]
fn one_of_two_has_the_lease_until_it_is_given_back_or_has_run_out() {
    let scene = Scene::new();
    let now: Timestamp = "2026-11-22T02:00:00Z".parse().unwrap();
    let (mine, other) = (scene.lease("mine"), scene.lease("other"));
    mine.take(now).unwrap();
    mine.take(now).unwrap();
    let expected = json!({
        "holderIdentity": "mine", "leaseDurationSeconds": 900, "renewTime": "2026-11-22T02:00:00.000000Z",
    });
    assert_eq!(scene.spec(), expected);
    let error = other.take(now).unwrap_err();
    let said = error.to_string();
    assert!(
        said.starts_with(
            "`mine` changes the cluster, at least until 2026-11-22T02:15:00Z\nhelp:  "
        ),
        "{said}"
    );
    // Nobody gives back what is another's.
    other.give_back(now).unwrap();
    assert_eq!(scene.spec(), expected);
    other.take(now + LENGTH).unwrap();
    let late = mine.take(now + LENGTH + SignedDuration::from_secs(1));
    assert!(matches!(late, Err(LeaseError::Held { holder, .. }) if holder == "other"));
    other.give_back(now).unwrap();
    mine.take(now).unwrap();
    mine.give_back(now).unwrap();

    // Both at once, again and again: never both.
    for _ in 0..5 {
        let take = |name: String| {
            let lease = scene.lease(&name);
            std::thread::spawn(move || lease.take(now).is_ok())
        };
        let names = ["a", "b", "c"];
        let taken = names.map(|name| take(name.to_owned())).map(|it| it.join().unwrap());
        let had: Vec<_> = names.iter().zip(taken).filter(|(_, taken)| *taken).collect();
        assert_eq!(had.len(), 1, "{had:?}");
        assert_eq!(scene.spec()["holderIdentity"], *had[0].0);
        scene.lease(had[0].0).give_back(now).unwrap();
    }
    a_cluster_that_somebody_else_changes_is_left_alone(&scene);
}

fn a_cluster_that_somebody_else_changes_is_left_alone(scene: &Scene) {
    let other = scene.lease("somebody");
    other.take(Timestamp::now()).unwrap();
    let (code, said) = scene.run(&["once", STATE]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("error: `somebody` changes the cluster, at least until "), "{said}");
    let (_, history) = scene.run(&["history", STATE]);
    assert!(!history.contains("began"), "{history}");
    assert!(scene.started.cluster.status().is_healthy());
    // Who was there an hour ago and is not heard of any more holds nobody up.
    other.take(Timestamp::now() - SignedDuration::from_hours(1)).unwrap();
    let (code, said) = scene.run(&["once", STATE]);
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("1-20-2 runs\n"), "{said}");
    assert_eq!(scene.spec()["holderIdentity"], Value::Null, "it is given back");
    a_cluster_that_a_kubeconfig_names_is_leased_too(scene);
    a_lease_is_renewed_meanwhile_and_who_loses_it_stops(scene);
}

/// While somebody works, however long a step takes, the lease is renewed by the time that passes; who loses it all the same
/// changes nothing any more, and that says nothing of the release.
fn a_lease_is_renewed_meanwhile_and_who_loses_it_stops(scene: &Scene) {
    let now: Timestamp = "2026-11-22T02:00:00Z".parse().unwrap();
    let command = ["sleep".to_owned(), "2".to_owned()].to_vec();
    let exec = policy::Exec { command, timeout: Length::from_secs(60) };
    let driver = Box::new(Exec::new(&exec, "store".to_owned()));
    let digest = scene.started.release.digest;
    let target = Target { name: "1-20-1".parse().unwrap(), digest };
    let every = Duration::from_millis(200);
    let mut leased = Leased::begin(driver, scene.lease("long"), (now, every)).unwrap();
    leased.carry_out(Step::Command, &target).unwrap();
    let renewed = scene.spec()["renewTime"].as_str().unwrap().parse::<Timestamp>().unwrap();
    let passed = renewed.duration_since(now);
    assert!(passed > SignedDuration::from_millis(500) && passed < SignedDuration::from_mins(1));
    // Somebody whose clock is far ahead.
    scene.lease("other").take(now + SignedDuration::from_hours(1)).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let error = leased.carry_out(Step::Command, &target).unwrap_err();
    assert!(error.is_no_verdict() && error.to_string().starts_with("`other` changes the cluster"));
    drop(leased);
    assert_eq!(scene.spec()["holderIdentity"], "other", "what is another's is not given back");
    scene.lease("other").give_back(now).unwrap();
    let driver = Box::new(Exec::new(&exec, "store".to_owned()));
    drop(Leased::begin(driver, scene.lease("short"), (now, every)).unwrap());
    assert_eq!(scene.spec()["holderIdentity"], Value::Null, "it is given back");
}

/// Any other driver: a command that says whether the cluster is leased while it runs.
fn a_cluster_that_a_kubeconfig_names_is_leased_too(scene: &Scene) {
    let kubeconfig = scene.started.cluster.kubeconfig().display().to_string();
    let show = "test -n \"$(kubectl -n default get lease kdistro-rollout -o 'jsonpath={.spec.holderIdentity}')\"";
    scene.started.subscriber(&format!(
        "driver: {{exec: {{command: [env, KUBECONFIG={kubeconfig}, sh, -c, {show:?}]}}}}\n\
         lease: {{kubeconfig: {kubeconfig}, namespace: default}}"
    ));
    let (code, said) = scene.run(&["once", "--state=other"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("1-20-2 runs\n"), "{said}");
}
