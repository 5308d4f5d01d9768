//! What is shipped to run the program is judged by others: systemd, a real API server, and Kubernetes' own schemas.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "deploy/pod.rs"]
mod pod;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "cluster/started.rs"]
mod started;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use kdistro_rollout::policy::Subscriber;
use serde_json::{Value, json};

use started::{Started, store};

/// What judges by Kubernetes' schemas, and all that it needs.
const REQUIREMENTS: &str = include_str!("deploy/requirements.txt");
/// Who the program is in a cluster.
const ACCOUNT: &str = "system:serviceaccount:kdistro-rollout:kdistro-rollout";

fn deploy(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

#[expect(clippy::disallowed_methods, reason = "tests start real programs")]
fn command(program: impl AsRef<Path>) -> Command {
    Command::new(program.as_ref())
}

fn said(output: &Output) -> String {
    String::from_utf8([&*output.stdout, &output.stderr].concat()).unwrap()
}

/// The files for a cluster in a folder that ends with this, with what a subscriber lays beside them.
fn with_own_files() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(deploy("kubernetes")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    fs::copy(store().join("keys/release.pub"), folder.path().join("release.pub")).unwrap();
    fs::write(folder.path().join("webhook-secret"), "0123456789abcdef").unwrap();
    fs::write(folder.path().join("git-credentials"), "username=dev\npassword=p w\n").unwrap();
    folder
}

/// A cluster without a node, and the files that are applied to it.
struct Scene {
    started: Started,
    files: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        Self { started: Started::new(false), files: with_own_files() }
    }

    /// Runs the release's kubectl.
    fn kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.started.cluster.kubectl_command().args(arguments).output().unwrap();
        if output.status.success() { Ok(said(&output)) } else { Err(said(&output)) }
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let text = self.kubectl(&[arguments, &["--output", "json"]].concat()).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Writes an object and lets kubectl do something with it.
    fn with(&self, arguments: &[&str], object: &Value) -> Result<String, String> {
        let file = self.started.folder.path().join("object.json");
        fs::write(&file, object.to_string()).unwrap();
        self.kubectl(&[arguments, &["--filename", file.to_str().unwrap()]].concat())
    }
}

#[test]
fn a_real_api_server_takes_all_of_it_and_the_account_may_do_no_more_than_it_must() {
    let scene = Scene::new();
    let files = scene.files.path().display().to_string();
    // Nothing can be tried in a namespace that is not there.
    let namespace = scene.files.path().join("namespace.yaml").display().to_string();
    scene.kubectl(&["apply", "--filename", &namespace]).unwrap();
    scene.kubectl(&["apply", "--dry-run=server", "--kustomize", &files]).unwrap();
    let said = scene.kubectl(&["apply", "--kustomize", &files]).unwrap();
    assert_eq!(said.lines().count(), 13, "{said}");
    let wait = ["wait", "--for=condition=Established", "--timeout=30s"];
    scene.kubectl(&[&wait[..], &["crd/rollouts.distro.kdistro.dev"]].concat()).unwrap();
    let crd = scene.json(&["get", "crd", "rollouts.distro.kdistro.dev"]);
    let conditions = crd["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().all(|one| one["type"] != "NonStructuralSchema"), "{crd}");
    the_account_may_do_what_the_program_does_and_no_more(&scene);
    // The pod itself is judged when the Deployment makes it: no node has to run it for that.
    let namespace = ["--namespace", "kdistro-rollout"];
    let pods = || scene.json(&[&["get", "pods"][..], &namespace].concat())["items"].clone();
    for _ in 0..100 {
        if pods()[0].is_object() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(
        pods()[0]["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"],
        true
    );
    a_rollout_is_what_its_schema_says(&scene);
    the_program_needs_no_more_than_the_account_may_do(&scene);
}

fn the_account_may_do_what_the_program_does_and_no_more(scene: &Scene) {
    let role = scene.json(&["get", "role", "kdistro-rollout", "--namespace", "kdistro-rollout"]);
    let rule = |group: &str, resource: &str, verbs: &[&str]| json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
    let expected = json!([
        rule("distro.kdistro.dev", "rollouts", &["get", "create", "patch"]),
        rule("distro.kdistro.dev", "rollouts/status", &["update"]),
        rule("", "events", &["create"]),
        rule("coordination.k8s.io", "leases", &["get", "create", "update"]),
    ]);
    assert_eq!(role["rules"], expected);
    let may = |verb: &str, what: &str, namespace: &str| {
        let ask = ["auth", "can-i", "--quiet", "--as", ACCOUNT, "--namespace", namespace];
        let what: Vec<_> = what.split(' ').collect();
        scene.kubectl(&[&ask[..], &[verb], &what].concat()).is_ok()
    };
    for (verb, what) in [
        ("update", "rollouts.distro.kdistro.dev --subresource=status"),
        ("create", "rollouts.distro.kdistro.dev"),
        ("create", "events"),
        ("update", "leases.coordination.k8s.io"),
    ] {
        assert!(may(verb, what, "kdistro-rollout"), "{verb} {what}");
        assert!(!may(verb, what, "kube-system"), "{verb} {what}");
    }
    // There is no such object here, but it may be asked for.
    let wait = ["--as", ACCOUNT, "--namespace", "kube-system", "rollout", "status"];
    let wait = |what: &str| scene.kubectl(&[&wait[..], &[what]].concat()).unwrap_err();
    assert!(
        wait("daemonset/kube-proxy").contains("(NotFound)"),
        "{}",
        wait("daemonset/kube-proxy")
    );
    assert!(wait("daemonset/other").contains("(Forbidden)"), "{}", wait("daemonset/other"));
    for (verb, what) in [
        ("list", "rollouts.distro.kdistro.dev"),
        ("update", "rollouts.distro.kdistro.dev"),
        ("patch", "rollouts.distro.kdistro.dev --subresource=status"),
        ("delete", "rollouts.distro.kdistro.dev"),
        ("get", "secrets"),
        ("get", "configmaps"),
        ("get", "pods"),
        ("get", "nodes"),
        ("get", "deployments.apps"),
    ] {
        assert!(!may(verb, what, "kdistro-rollout"), "{verb} {what}");
    }
}

/// Looks as the account that the pod has: its lease, its `Rollout` and events about it, the first time and later.
fn the_program_needs_no_more_than_the_account_may_do(scene: &Scene) {
    let folder = scene.started.folder.path();
    let admin = scene.started.cluster.kubeconfig().display().to_string();
    let mut kubeconfig = scene.json(&["--kubeconfig", &admin, "config", "view", "--raw"]);
    kubeconfig["users"][0]["user"]["as"] = json!(ACCOUNT);
    let file = folder.join("account.json").display().to_string();
    fs::write(&file, kubeconfig.to_string()).unwrap();
    let place = format!("{{kubeconfig: {file}, namespace: kdistro-rollout}}");
    let driver = "driver: {exec: {command: [\"true\"]}}";
    let config = scene.started.subscriber(&format!("{driver}\nlease: {place}\nresource: {place}"));
    let once = || {
        let mut once = command(env!("CARGO_BIN_EXE_kdistro-rollout"));
        let kubectl = scene.started.release.program("kubectl");
        once.env("PATH", format!("{}:/usr/bin:/bin", kubectl.parent().unwrap().display()));
        said(&once.args(["once", "--config"]).arg(&config).output().unwrap())
    };
    let namespace = ["--namespace", "kdistro-rollout"];
    let rollout = ["rollout.distro.kdistro.dev", "dev"];
    scene.kubectl(&[&["delete"][..], &rollout, &namespace].concat()).unwrap();
    let first = once();
    assert!(first.starts_with("1-20-2 runs\n"), "{first}");
    let read = || scene.json(&[&["get"][..], &rollout, &namespace].concat());
    assert_eq!(read()["status"]["running"]["release"], "1-20-2", "{first}");
    let lease = scene.json(&[&["get", "lease", "kdistro-rollout"][..], &namespace].concat());
    assert!(lease["spec"]["renewTime"].is_string(), "{lease}");
    assert_eq!(lease["spec"]["holderIdentity"], Value::Null, "it is given back");
    // Another specification is put right.
    let patch = ["--type=merge", "--patch", r#"{"spec": {"environment": "other"}}"#];
    scene.kubectl(&[&["patch"][..], &rollout, &namespace, &patch].concat()).unwrap();
    let second = once();
    assert_eq!(read()["spec"]["environment"], "local", "{second}");
    for said in [first, second] {
        assert!(!said.contains("orbidden") && !said.contains("not as things stand"), "{said}");
    }
}

/// The object of a cluster.
fn rollout() -> Value {
    json!({
        "apiVersion": "distro.kdistro.dev/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "dev", "namespace": "kdistro-rollout"},
        "spec": {"cluster": "dev", "channel": "1-20", "environment": "production"},
    })
}

fn status() -> Value {
    let digest = format!("sha256:{}", "0a".repeat(32));
    json!({
        "observedGeneration": 1,
        "lookedAt": "2026-11-22T02:00:00Z",
        "decision": "1-20-2 is rolled out: it is newer",
        "running": {"release": "1-20-1", "manifest": digest, "since": "2026-11-01T02:00:00Z"},
        "underWay": {"release": "1-20-2", "manifest": digest, "direction": "forward", "done": 3, "steps": 6},
        "held": [{"release": "1-20-3", "reason": "kube-apiserver ended", "since": "2026-11-01T02:00:00Z"}],
        "conditions": [{
            "type": "Ready", "status": "False", "reason": "RollingOut", "message": "3 of 6 steps are done",
            "lastTransitionTime": "2026-11-22T02:00:00Z",
        }],
    })
}

fn a_rollout_is_what_its_schema_says(scene: &Scene) {
    scene.with(&["create"], &rollout()).unwrap();
    let read = || scene.json(&["get", "rollout", "dev", "--namespace", "kdistro-rollout"]);
    let mut object = read();
    let address =
        "/apis/distro.kdistro.dev/v1alpha1/namespaces/kdistro-rollout/rollouts/dev/status";
    object["status"] = status();
    scene.with(&["replace", "--raw", address], &object).unwrap();
    let written = read();
    assert_eq!(written["status"], object["status"], "nothing of it was dropped");
    let table = scene.kubectl(&["get", "rollouts", "--all-namespaces"]).unwrap();
    for word in
        ["CHANNEL", "RUNS", "UNDER WAY", "READY", "WHY", "1-20-1", "1-20-2", "False", "RollingOut"]
    {
        assert!(table.contains(word), "{word} is not in:\n{table}");
    }
    for (field, wrong) in [
        ("/running/release", json!("1-20")),
        ("/running/manifest", json!("sha256:0a")),
        ("/underWay/direction", json!("sideways")),
        ("/conditions/0/status", json!("Maybe")),
        ("/conditions/0/reason", json!("two words")),
        ("/held/0/release", json!(null)),
        ("/lookedAt", json!("yesterday")),
    ] {
        let mut changed = written.clone();
        *changed["status"].pointer_mut(field).unwrap() = wrong;
        let refused = scene.with(&["replace", "--raw", address], &changed);
        assert!(refused.is_err(), "{field} was taken");
    }
    for (field, wrong) in
        [("channel", json!("1.20")), ("cluster", json!("")), ("environment", json!(null))]
    {
        let mut changed = rollout();
        changed["metadata"]["name"] = json!("other");
        changed["spec"][field] = wrong;
        assert!(scene.with(&["create"], &changed).is_err(), "{field} was taken");
    }
}

#[test]
fn kubernetes_own_schemas_know_every_field() {
    let folder = with_own_files();
    let judge =
        kdistro_testbed::tool_of("kubernetes-validate", REQUIREMENTS, "kubernetes-validate");
    let judge = judge.unwrap();
    let judged =
        |file: &Path| command(&judge).args(["--strict", "--no-warn"]).arg(file).output().unwrap();
    let objects = ["namespace", "rollouts", "access", "state", "deployment", "network"];
    let listed = fs::read_to_string(deploy("kubernetes/kustomization.yaml")).unwrap();
    for name in objects {
        let file = folder.path().join(format!("{name}.yaml"));
        let output = judged(&file);
        assert!(output.status.success(), "{name}: {}", said(&output));
        assert!(listed.contains(&format!("- {name}.yaml\n")), "{name} is not listed");
    }
    let file = folder.path().join("deployment.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("readOnlyRootFilesystem", "readOnlyRootFileSystem")).unwrap();
    assert!(!judged(&file).status.success(), "it judges nothing");
}

#[test]
fn the_example_for_a_cluster_is_a_subscribers_file() {
    let file = deploy("kubernetes/rollout.yaml");
    let read = Subscriber::read(&file, &fs::read(&file).unwrap()).unwrap();
    let port = read.hear.webhook.unwrap().listen.port();
    let deployment = fs::read_to_string(deploy("kubernetes/deployment.yaml")).unwrap();
    assert!(deployment.contains(&format!("containerPort: {port}}}")));
}

#[test]
fn git_pushes_as_the_file_of_credentials_says() {
    let folder = with_own_files();
    let shipped = fs::read_to_string(folder.path().join("gitconfig")).unwrap();
    let own = folder.path().join("git-credentials").display().to_string();
    assert!(shipped.contains("/secret/git-credentials"));
    let config = folder.path().join("own");
    fs::write(&config, shipped.replace("/secret/git-credentials", &own)).unwrap();
    let mut git = command("git");
    git.args(["credential", "fill"]).env("GIT_CONFIG_GLOBAL", config);
    let asked = folder.path().join("asked");
    fs::write(&asked, "protocol=https\nhost=git.example.org\n\n").unwrap();
    let filled = said(&git.stdin(fs::File::open(asked).unwrap()).output().unwrap());
    assert!(filled.contains("username=dev\npassword=p w\n"), "{filled}");
}

fn systemd_analyze() -> Command {
    let program = Path::new("/usr/bin/systemd-analyze");
    assert!(program.is_file(), "it judges here and is not installed: apt-get install systemd");
    command(program)
}

#[test]
fn systemd_takes_the_units_and_finds_them_hardened() {
    let folder = tempfile::tempdir().unwrap();
    let units = [
        "kdistro-rollout.service",
        "kdistro-rollout-inspect.service",
        "kdistro-rollout-inspect.timer",
    ];
    // It looks whether the program is there.
    let write = |unit: &str, change: &dyn Fn(String) -> String| {
        let text = fs::read_to_string(deploy("systemd").join(unit)).unwrap();
        let text =
            text.replace("/usr/local/bin/kdistro-rollout", env!("CARGO_BIN_EXE_kdistro-rollout"));
        let file = folder.path().join(unit);
        fs::write(&file, change(text)).unwrap();
        file
    };
    let verify = |files: &[PathBuf]| {
        let output = systemd_analyze().arg("verify").args(files).output().unwrap();
        (output.status.success(), said(&output))
    };
    let files: Vec<_> = units.iter().map(|unit| write(unit, &|text| text)).collect();
    let (is_well, text) = verify(&files);
    assert!(is_well && text.is_empty(), "{text}");
    let exposure = |file: &Path, threshold: &str| {
        let mut security = systemd_analyze();
        security
            .args(["security", "--offline=true", "--no-pager"])
            .arg(format!("--threshold={threshold}"));
        let output = security.arg(file).output().unwrap();
        (output.status.success(), said(&output))
    };
    // In tenths: 10 is naked, and what must look at everybody's processes cannot be as tight.
    for (file, threshold) in files.iter().zip(["12", "24"]) {
        let (is_well, text) = exposure(file, threshold);
        assert!(is_well, "{text}");
    }
    let file = write(units[0], &|text| text.replace("ProtectSystem=strict", "ProtectSytem=strict"));
    assert!(!verify(&[file]).1.is_empty(), "it verifies nothing");
    let file = write(units[0], &|text| text.replace("PrivateUsers=yes\nPrivateDevices=yes\n", ""));
    assert!(!exposure(&file, "12").0, "it judges nothing");
}
