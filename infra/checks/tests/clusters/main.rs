//! Checks of real clusters that are well, and of the same ones broken on purpose.
//!
//! Releases are those of `kdistro_testbed::releases`. Pods need root.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it did not try"
)]

mod scene;

use std::time::Duration;

use kdistro_checks::{
    Check, CheckResult, ChecksError, Expects, Order, compare, conformance::Conformance, run,
};
use kdistro_devcluster::ComponentName::{
    KubeApiserver, KubeControllerManager, KubeProxy, KubeScheduler,
};
use serde_json::{Value, json};

use scene::{Scene, failed, names, passed, program, skipped, why};

/// The checks that need no node.
const OF_API: [&str; 5] = [
    "rbac-refuses-and-lets",
    "custom-resource-works",
    "watch-in-order",
    "garbage-collected",
    "namespace-removed",
];
/// Those that need one.
const OF_NODE: [&str; 6] = [
    "pod-runs",
    "service-answers",
    "configmap-and-secret-mounted",
    "exec-and-logs",
    "deployment-rolls-out",
    "eviction-honours-budget",
];

/// The node's address.
const NODE: &str = "10.200.0.1";

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Refuses whatever is done so to such resources: nobody answers for it.
fn refuse(group: &str, resource: &str, operations: &[&str]) -> String {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "refuse"},
        "webhooks": [{
            "name": "refuse.kdistro.dev",
            "clientConfig": {"url": "https://127.0.0.1:1/"},
            "rules": [{
                "apiGroups": [group], "apiVersions": ["*"], "resources": [resource], "operations": operations,
            }],
            "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        }],
    })
    .to_string()
}

#[test]
fn a_control_plane_without_a_node_is_checked_as_far_as_it_goes() {
    let scene = Scene::new(false);
    let job = scene.write("job.yaml", &job("true", "etcd", &["etcd", "--version"]));
    let well = ["sh", "-c", "test -s \"$KUBECONFIG\" && test \"$KDISTRO_RELEASE\" = 1-20-1"];
    let ill = ["sh", "-c", "echo it is broken; exit 3"];
    let command =
        |words: &[&str]| Check::Command(words.iter().map(|word| (*word).to_owned()).collect());
    scene.cluster.kubectl(&["create", "namespace", "kdistro-checks-killed"]).unwrap();
    let label = ["label", "namespace", "kdistro-checks-killed", "kdistro.dev/checks-of=us"];
    scene.cluster.kubectl(&label).unwrap();
    let checks = vec![Check::Builtin, Check::Job(job.into()), command(&well), command(&ill)];
    let order = Order { checks, owner: Some("us".to_owned()), ..scene.order() };
    let before = run(&order, &mut |_| {}).unwrap();
    let name_of_well = format!("command {}", well.join(" "));
    let all_passed = [&OF_API[..4], &[&name_of_well], &OF_API[4..]].concat();
    assert_eq!(names(&before, passed), all_passed, "{}", before.text());
    assert_eq!(names(&before, skipped).len(), OF_NODE.len() + 2, "{}", before.text());
    assert_eq!(why(&before, "pod-runs"), "the cluster has no node");
    let broken = before.failed();
    assert_eq!(broken.iter().map(|one| one.output.as_str()).collect::<Vec<_>>(), ["it is broken"]);
    assert_eq!(why(&before, &broken[0].name), "it ended with exit status: 3: it is broken");
    assert_eq!(scene.left(), "", "this run, or the one before, left something");

    let after = scene.check_without(&[KubeControllerManager]);
    assert_eq!(
        names(&after, failed),
        ["garbage-collected", "namespace-removed"],
        "{}",
        after.text()
    );
    assert_eq!(
        why(&after, "garbage-collected"),
        "what the removed object owned: it is there (for 8 s)"
    );
    let said = compare(&scene.check(), &after).why().unwrap();
    assert!(said.starts_with("garbage-collected failed: what "), "{said}");

    // What should be there and is not was lost.
    let order = Order { expects: Expects { node: true, dns: true }, ..scene.order() };
    let lost = run(&order, &mut |_| {}).unwrap();
    assert_eq!(names(&lost, failed).len(), OF_NODE.len() + 1, "{}", lost.text());
    let full = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "full"},
        "status": {"conditions": [{"type": "DiskPressure", "status": "True"}]},
    });
    let without_room = |_: &Scene| run(&order, &mut |_| {}).unwrap_err();
    let error = scene.with(&full.to_string(), without_room).to_string();
    assert!(error.contains("without room: node full says DiskPressure\nhelp:  "), "{error}");
    images_are_waited_for(&scene);
}

/// A kubelet says later which images it has.
fn images_are_waited_for(scene: &Scene) {
    let late = |images: &Value| {
        json!({
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": "late"},
            "spec": {"unschedulable": true}, "status": {"images": images},
        })
        .to_string()
    };
    let begun = late(&json!([]));
    let images = json!([{"names": ["kdistro.local/etcd:1-20-1"], "sizeBytes": 1}]);
    let status = scene.write("late.json", &late(&images));
    let report = scene.with(&begun, |scene| {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_secs(3));
                let path = "/api/v1/nodes/late/status";
                scene.cluster.kubectl(&["replace", "--raw", path, "--filename", &status]).unwrap();
            });
            run(&Order { limit: Duration::from_secs(2), ..scene.order() }, &mut |_| {}).unwrap()
        })
    });
    assert!(why(&report, "pod-runs").contains("unschedulable"), "{}", report.text());
}

#[test]
fn a_broken_api_fails_the_checks_of_what_is_broken_and_one_that_is_silent_is_no_verdict() {
    let scene = Scene::new(false);
    let report = scene.check_with(&refuse("", "configmaps", &["UPDATE"]));
    assert_eq!(names(&report, failed), ["watch-in-order"], "{}", report.text());
    let report =
        scene.check_with(&refuse("apiextensions.k8s.io", "customresourcedefinitions", &["CREATE"]));
    assert_eq!(names(&report, failed), ["custom-resource-works"], "{}", report.text());
    let all_may = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "all-may-all"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:serviceaccounts"}],
    });
    let report = scene.check_with(&all_may.to_string());
    assert_eq!(names(&report, failed), ["rbac-refuses-and-lets"], "{}", report.text());
    assert_eq!(
        why(&report, "rbac-refuses-and-lets"),
        "a ServiceAccount that may not list ConfigMaps is let"
    );

    let kubeconfig = scene.cluster.kubeconfig().display().to_string();
    scene.cluster.stop(KubeApiserver).unwrap();
    let error = run(&scene.order(), &mut |_: &CheckResult| {}).unwrap_err();
    assert!(matches!(error, ChecksError::Cluster { .. } | ChecksError::Silent { .. }), "{error}");
    let output = program(&["run", "--kubeconfig", &kubeconfig]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("error: cannot ask the version at the cluster of "), "{said}");
}

#[test]
fn a_node_is_checked_and_a_part_that_is_broken_is_named() {
    if !is_root() {
        println!("not tried: a node needs root");
        return;
    }
    let scene = Scene::new(true);
    let resolver = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
        "spec": {"clusterIP": "10.96.0.10", "ports": [{"port": 53, "protocol": "UDP"}]},
    });
    let behind = json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": "kube-dns", "namespace": "kube-system"},
        "subsets": [{"addresses": [{"ip": NODE}], "ports": [{"port": 53, "protocol": "UDP"}]}],
    });
    scene.resolve(NODE);
    let both = json!({"apiVersion": "v1", "kind": "List", "items": [resolver, behind]});
    let before = scene.with(&both.to_string(), Scene::check);
    let expected = [&OF_NODE[..2], &["dns-answers"], &OF_NODE[2..], &OF_API].concat();
    assert_eq!(names(&before, passed), expected, "{}", before.text());
    assert_eq!(scene.left(), "", "the run left something");

    let report = scene.check_without(&[KubeScheduler]);
    assert_eq!(names(&report, failed), OF_NODE, "{}", report.text());
    assert!(why(&report, "pod-runs").contains("no node was chosen for it"), "{}", report.text());
    let report = scene.check_without(&[KubeControllerManager]);
    let by_controllers = ["service-answers", "deployment-rolls-out", "eviction-honours-budget"];
    let expected = [&by_controllers[..], &OF_API[3..]].concat();
    assert_eq!(names(&report, failed), expected, "{}", report.text());
    let broken = compare(&before, &report).why().unwrap();
    assert!(broken.contains("dns-answers passed before, and cannot now: "), "{broken}");

    // Each of these is what one check alone needs.
    let kubelet = ["INPUT", "-p", "tcp", "--dport", "10250", "-j", "REJECT"];
    scene.inside("iptables", &[&["-I"], &kubelet[..]].concat());
    scene.cluster.stop(KubeProxy).unwrap();
    let report = scene.check_with(&resolver.to_string());
    let expected = ["service-answers", "dns-answers", "exec-and-logs"];
    assert_eq!(names(&report, failed), expected, "{}", report.text());
    assert!(why(&report, "exec-and-logs").contains(":10250: "), "{}", report.text());
}

#[test]
fn a_subscribers_jobs_are_run_and_the_log_of_one_that_fails_is_kept() {
    if !is_root() {
        println!("not tried: a node needs root");
        return;
    }
    let scene = Scene::new(true);
    let image = kdistro_devcluster::image_name("etcd", &scene.release.name);
    let well = scene.write("well.yaml", &job("well", &image, &["etcd", "--version"]));
    let ill = scene.write("ill.yaml", &job("ill", &image, &["etcdctl", "no-such-command"]));
    let slow = scene.write("slow.yaml", &job("slow", &image, &["etcd", "--data-dir=/tmp/x"]));
    let (junit, kubeconfig) = (scene.path("junit.xml"), scene.cluster.kubeconfig());
    let kubeconfig = kubeconfig.display().to_string();
    let run = |code: i32, arguments: &[&str]| {
        let always = ["--json", "run", "--kubeconfig", &kubeconfig, "--own-limit", "20"];
        let output = program(&[&always[..], arguments].concat());
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let report = run(0, &["--builtin", "--job", &well, "--junit", &junit, "--", "true"]);
    assert_eq!(report["results"][11]["name"], format!("job {well}"), "{report:#}");
    assert_eq!(report["results"][12]["name"], "command true");
    let text = std::fs::read_to_string(&junit).unwrap();
    assert!(text.contains(r#"tests="14" failures="0" skipped="1""#), "{text}");

    let report = run(1, &["--job", &ill, "--job", &slow, "--", "sh", "-c", "echo no >&2; false"]);
    let result = |index: usize| &report["results"][index];
    let why = |index: usize| result(index)["outcome"]["failed"].as_str().unwrap();
    assert_eq!(why(0), "the Job failed: Job has reached the specified backoff limit");
    let log = result(0)["output"].as_str().unwrap();
    assert!(log.contains(r#"unknown command "no-such-command""#), "{log}");
    assert_eq!(
        why(1),
        "it did not end within 20 s: the Job has not completed: 1 pods run, 0 succeeded, 0 failed"
    );
    assert_eq!(
        (why(2), result(2)["output"].as_str()),
        ("it ended with exit status: 1: no", Some("no"))
    );
    assert_eq!(scene.left(), "", "the run left something");
}

/// The file of a Job.
fn job(name: &str, image: &str, command: &[&str]) -> String {
    let container = json!({"name": "main", "image": image, "command": command});
    let pod = json!({"restartPolicy": "Never", "containers": [container]});
    let spec = json!({"backoffLimit": 0, "template": {"spec": pod}});
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec})
        .to_string()
}

#[test]
fn upstreams_specs_pass_and_named_ones_fail_with_a_broken_proxy() {
    if !is_root() {
        println!("not tried: a node needs root");
        return;
    }
    let Some(scene) = Scene::with_tests() else {
        println!("not tried: the release has no tests of upstream's");
        return;
    };
    let conformance = Conformance {
        e2e_test: scene.release.program("e2e.test"),
        kubectl: scene.release.program("kubectl"),
        registry: Some(kdistro_devcluster::REGISTRY.to_owned()),
        limit: Duration::from_mins(10),
    };
    let check = || {
        let checks = vec![Check::Conformance(conformance.clone())];
        run(&Order { checks, ..scene.order() }, &mut |_| {}).unwrap()
    };
    let before = check();
    assert_eq!(names(&before, failed), [""; 0], "{}", before.text());
    assert_eq!(names(&before, passed).len(), 17, "{}", before.text());
    assert_eq!(names(&before, skipped).len(), 1, "{}", before.text());
    scene.cluster.stop(KubeProxy).unwrap();
    let after = check();
    let broken = [
        "conformance: AdmissionWebhook [Privileged:ClusterAdmin] should mutate configmap [Conformance]",
        "conformance: CustomResourceConversionWebhook [Privileged:ClusterAdmin] should be able to convert from CR v1 to CR v2 [Conformance]",
    ];
    assert_eq!(names(&after, failed), broken, "{}", after.text());
}
