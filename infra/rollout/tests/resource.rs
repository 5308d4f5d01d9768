//! The `Rollout` in a real cluster says how things stand, as the cluster's own kubectl shows it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
#[path = "cluster/started.rs"]
mod started;

use std::process::Command;

use serde_json::Value;
use started::Started;

fn read(started: &Started, arguments: &[&str]) -> Value {
    let all = [arguments, &["--namespace=kube-system", "--output=json"]].concat();
    serde_json::from_slice(&started.cluster.kubectl(&all).unwrap()).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the program is tested")]
fn once(started: &Started) -> String {
    let mut program = Command::new(env!("CARGO_BIN_EXE_kdistro-rollout"));
    let output = program.arg("once").current_dir(started.folder.path()).output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// The reason of a condition, and since when it is so.
fn condition(rollout: &Value, kind: &str) -> (String, String) {
    let all = rollout["status"]["conditions"].as_array().unwrap();
    let one = all.iter().find(|one| one["type"] == kind).unwrap();
    let text = |field: &str| one[field].as_str().unwrap().to_owned();
    (text("reason"), text("lastTransitionTime"))
}

#[test]
fn the_cluster_itself_says_what_it_runs_and_what_happened() {
    let started = Started::new(false);
    let more = "\nresource: {}\npolicy: {approval: manual}";
    started.subscriber(&(started.driver() + more));
    let said = once(&started);
    assert!(!said.contains("not as things stand"), "{said}");
    let waiting = read(&started, &["get", "rollout", "dev"]);
    assert_eq!(waiting["spec"]["channel"], "1-20");
    assert_eq!(waiting["status"]["running"]["release"], "1-20-1");
    let decision = waiting["status"]["decision"].as_str().unwrap();
    assert!(decision.contains("waits for somebody to approve it"), "{decision}");
    let (reason, since) = condition(&waiting, "Ready");
    assert_eq!(reason, "Runs");

    // A check that holds when the next release runs and the object says that it is on its way.
    let kubectl = started.release.program("kubectl").display().to_string();
    let under_way = format!(
        "test $KDISTRO_RELEASE = 1-20-1 && exit; for n in $(seq 100); do {kubectl} get rollout dev --namespace=kube-system \
         --output=jsonpath={{.status.underWay.direction}} | grep forward && exit; sleep 0.2; done; exit 1"
    );
    let more = format!("\nresource: {{}}\nchecks: [{{command: [sh, -c, {under_way:?}]}}]");
    started.subscriber(&(started.driver() + &more));
    let said = once(&started);
    assert!(said.contains("1-20-2 runs") && !said.contains("not as things stand"), "{said}");
    let kept = read(&started, &["get", "rollout", "dev"]);
    assert_eq!(kept["status"]["running"]["release"], "1-20-2");
    let ready = condition(&kept, "Ready");
    assert!(ready.0 == "Runs" && ready.1 > since, "{ready:?}: something was under way meanwhile");
    assert_eq!(condition(&kept, "Degraded").0, "Well");
    let columns = started.cluster.kubectl(&["get", "rollouts", "--namespace=kube-system"]).unwrap();
    let columns = String::from_utf8(columns).unwrap();
    assert!(columns.lines().next().unwrap().starts_with("NAME   CHANNEL   RUNS"), "{columns}");
    let events = read(&started, &["get", "events", "--field-selector=involvedObject.kind=Rollout"]);
    let events = events["items"].as_array().unwrap();
    let reasons: Vec<_> = events.iter().map(|event| event["reason"].as_str().unwrap()).collect();
    for reason in ["Decided", "Began", "Step", "Kept"] {
        assert!(reasons.contains(&reason), "{reason} is not among {reasons:?}");
    }
    let described = ["describe", "rollout", "dev", "--namespace=kube-system"];
    let described = String::from_utf8(started.cluster.kubectl(&described).unwrap()).unwrap();
    assert!(described.contains("Kept"), "{described}");
    // A look more tells nothing twice.
    once(&started);
    let again = read(&started, &["get", "events", "--field-selector=involvedObject.kind=Rollout"]);
    let news = again["items"].as_array().unwrap().len() - events.len();
    assert!(news <= 1, "only what was decided then");
}
