//! What really runs on real clusters is compared with real releases.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

use kdistro_devcluster::{Cluster, Order, Release, Source, bring, packages};
use kdistro_verify::{check::TrustSource, trust::PublicKey};
use serde_json::Value;

/// One cluster at a time: they are to fail for other reasons than a busy machine.
static TURN: Mutex<()> = Mutex::new(());

/// A cluster in a folder that ends with it.
struct Scene {
    _turn: MutexGuard<'static, ()>,
    folder: tempfile::TempDir,
    cluster: Cluster,
    release: Release,
    debian: PathBuf,
}

impl Scene {
    /// Starts the first release.
    fn new(node: bool) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = tempfile::tempdir().unwrap();
        let store = store();
        let key = fs::read_to_string(store.join("keys/release.pub")).unwrap();
        let source = Source {
            manifest: store.join("kubernetes-1-20/kubernetes-1-20-1.yaml").display().to_string(),
            store: None,
            trust: TrustSource { key: PublicKey::from_pem(&key).unwrap(), trusted_root: None },
            proxy: None,
        };
        let releases = folder.path().join("releases");
        let release = bring(&source, (&releases, node), &mut |_| {}).unwrap();
        let debian = if node { packages().unwrap() } else { PathBuf::from("/") };
        let order = Order { name: "dev".to_owned(), node, release: release.clone() };
        let program = Path::new(env!("CARGO_BIN_EXE_kdistro-rollout")).with_file_name("devcluster");
        assert!(program.is_file(), "build it first: cargo build -p kdistro-devcluster");
        let cluster = Cluster::start(folder.path(), (&program, &debian), &order, &mut |_| {});
        let scene = Self { _turn: turn, folder, cluster: cluster.unwrap(), release, debian };
        let (store, home) = (store.display(), scene.folder.path().display());
        let text = format!(
            "cluster: dev\nstore: {store}\nkey: {store}/keys/release.pub\nenvironment: local\nchannel: \"1-20\"\n\
             driver: {{devcluster: {{name: dev, home: {home}}}}}\nstate: {home}/state\n"
        );
        fs::write(scene.config(), text).unwrap();
        scene
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("rollout.yaml")
    }

    /// Looks at the cluster.
    fn inspect(&self, more: &[&str]) -> (i32, Value) {
        let config = self.config().display().to_string();
        let state = self.folder.path().join("state").display().to_string();
        let look = ["--json", "--state", &state, "inspect", "--config", &config];
        inspect(&[&look[..], more].concat())
    }

    /// Takes a component to another release without anybody's knowledge.
    fn replace(&self, component: kdistro_devcluster::ComponentName, release: &Release) {
        self.cluster.replace(component, release, &self.debian).unwrap();
    }

    /// The release, but for one program that has one byte more.
    fn strange(&self, name: &str) -> Release {
        let folder = self.folder.path().join("releases").join("0".repeat(64));
        fs::create_dir_all(folder.join("bin")).unwrap();
        let program = folder.join("bin").join(name);
        fs::copy(self.release.program(name), &program).unwrap();
        fs::OpenOptions::new().append(true).open(program).unwrap().write_all(b"!").unwrap();
        let digest = kdistro_formats::Digest::from_bytes([0; 32]);
        Release { folder, digest, ..self.release.clone() }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = Cluster::end(self.folder.path(), "dev");
    }
}

fn store() -> PathBuf {
    kdistro_testbed::releases().unwrap().join("store")
}

fn inspect(arguments: &[&str]) -> (i32, Value) {
    let mut program = command(Path::new(env!("CARGO_BIN_EXE_kdistro-rollout")));
    result(program.args(arguments))
}

/// The exit code, and the report, or else what was complained of.
fn result(program: &mut Command) -> (i32, Value) {
    let output = program.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::from(said));
    (output.status.code().unwrap(), report)
}

#[expect(clippy::disallowed_methods, reason = "tests start real programs")]
fn command(program: &Path) -> Command {
    Command::new(program)
}

/// The verdict on each program and image, by its name; with the release where it is another one's.
fn verdicts(report: &Value) -> Vec<(String, String)> {
    let findings = report["report"]["findings"].as_array().unwrap_or_else(|| panic!("{report}"));
    let verdict = |finding: &Value| {
        let subject = &finding["subject"];
        let place = subject["process"]["path"].as_str().or(subject["image"]["name"].as_str());
        let name = place.unwrap().rsplit('/').next().unwrap().to_owned();
        let release = finding["release"].as_str().map(|name| format!(" {name}"));
        let verdict = finding["verdict"].as_str().unwrap();
        (name, format!("{verdict}{}", release.unwrap_or_default()))
    };
    let mut all: Vec<_> = findings.iter().map(verdict).collect();
    // How many containers there are of an image is of one moment.
    all.sort();
    all.dedup();
    all
}

/// All of the release, but for some.
fn expected(names: &[&str], but: &[(&str, &str)]) -> Vec<(String, String)> {
    let verdict =
        |name: &str| but.iter().find(|(other, _)| *other == name).map_or("of-release", |it| it.1);
    names.iter().map(|name| ((*name).to_owned(), verdict(name).to_owned())).collect()
}

const CONTROL_PLANE: [&str; 4] =
    ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

#[test]
fn a_control_plane_is_the_release_and_not_the_next_until_one_byte_is_strange() {
    use kdistro_devcluster::ComponentName::KubeScheduler;
    let scene = Scene::new(false);
    let (code, report) = scene.inspect(&[]);
    assert_eq!((code, verdicts(&report)), (0, expected(&CONTROL_PLANE, &[])), "{report}");
    assert_eq!(report["report"]["release"], "1-20-1");
    assert_eq!(report["outcome"], "verified");
    what_the_release_before_left_behind_is_named(&scene);

    scene.replace(KubeScheduler, &scene.strange("kube-scheduler"));
    let (code, report) = scene.inspect(&[]);
    let strange = expected(&CONTROL_PLANE, &[("kube-scheduler", "strange")]);
    assert_eq!((code, verdicts(&report)), (1, strange), "{report}");
    let finding = &report["report"]["findings"].as_array().unwrap()[3]["subject"]["process"];
    let digest = finding["digest"].as_str().unwrap();
    let (code, report) = scene.inspect(&["--known", digest]);
    let known = expected(&CONTROL_PLANE, &[("kube-scheduler", "known")]);
    assert_eq!((code, verdicts(&report)), (0, known), "{report}");
}

/// Compares a cluster of the first release with the second.
fn what_the_release_before_left_behind_is_named(scene: &Scene) {
    let store = store();
    let [key, release] = ["keys/release.pub", "kubernetes-1-20/kubernetes-1-20-2.yaml"]
        .map(|file| store.join(file).display().to_string());
    let id = scene.cluster.status().supervisor.unwrap().to_string();
    let look = ["--json", "inspect", "--key", &key, "--release", &release, "--below", &id];
    // Only etcd has a patch more in the second: everything else is the same in both.
    let (code, report) = inspect(&look);
    let before = expected(&CONTROL_PLANE, &[("etcd", "of-other-release 1-20-1")]);
    assert_eq!((code, verdicts(&report)), (1, before), "{report}");
}

/// A process that runs, until it is dropped, a program that this is given the path of.
struct Runs(Child);

impl Runs {
    fn start(program: &Path) -> Self {
        let mut program = command(program);
        Self(program.arg("600").stdin(Stdio::null()).spawn().unwrap())
    }

    fn look(&self, more: &[&str]) -> (i32, Value) {
        self.look_in(&store(), more)
    }

    fn look_in(&self, store: &Path, more: &[&str]) -> (i32, Value) {
        result(&mut self.command(store, more))
    }

    /// Compares it with the first release of a store.
    fn command(&self, store: &Path, more: &[&str]) -> Command {
        let mut look = command(Path::new(env!("CARGO_BIN_EXE_kdistro-rollout")));
        look.args(["--json", "inspect", "--key"]).arg(store.join("keys/release.pub"));
        look.arg("--release").arg(store.join("kubernetes-1-20/kubernetes-1-20-1.yaml"));
        look.arg("--below").arg(self.0.id().to_string()).args(more);
        look
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_program_that_was_deleted_while_it_runs_is_still_read() {
    let folder = tempfile::tempdir().unwrap();
    let copy = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy("/usr/bin/sleep", &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let kubelet = copy("kubelet");
    let runs = Runs::start(&kubelet);
    fs::remove_file(&kubelet).unwrap();
    let (code, report) = runs.look(&[]);
    assert_eq!((code, verdicts(&report)), (1, expected(&["kubelet"], &[("kubelet", "strange")])));
    assert_eq!(report["report"]["findings"][0]["subject"]["process"]["deleted"], true);
    // A plugin's name is anybody's, but not where plugins lie.
    let bridge = Runs::start(&copy("bridge"));
    let (code, report) = bridge.look(&[]);
    assert_eq!((code, verdicts(&report), &report["report"]["others"]), (2, vec![], &1.into()));
    let (code, report) = Runs::start(&copy("cni/bin/bridge")).look(&[]);
    assert_eq!((code, verdicts(&report)), (1, expected(&["bridge"], &[("bridge", "strange")])));
}

/// A copy of the store in which one byte of a file is another.
fn changed_store(file: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for part in ["keys", "kubernetes-1-20", "log", "releasechannels"] {
        let mut copy = command(Path::new("cp"));
        copy.args(["--recursive", "--link"]).arg(store().join(part)).arg(folder.path());
        assert!(copy.status().unwrap().success());
    }
    let path = folder.path().join(file);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    folder
}

#[test]
fn nothing_is_compared_with_what_its_key_did_not_sign() {
    let folder = tempfile::tempdir().unwrap();
    let etcd = folder.path().join("etcd");
    fs::copy("/usr/bin/sleep", &etcd).unwrap();
    let runs = Runs::start(&etcd);
    let archive =
        "kubernetes-1-20/releases/1/artifacts/etcd/v3.4.23/etcd-linux-amd64-v3.4.23.tar.gz";
    for (file, expected) in [
        ("kubernetes-1-20/kubernetes-1-20-1.yaml", "is not verified: "),
        ("kubernetes-1-20/releases/1/plan.json", "is not verified: "),
        (archive, "of the store is sha256:"),
    ] {
        let store = changed_store(file);
        let (code, said) = runs.look_in(store.path(), &[]);
        assert_eq!(code, 1, "{said}");
        assert!(said.as_str().unwrap().contains(expected), "{said}");
    }
}

#[test]
fn it_is_looked_again_and_again_and_each_look_is_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let kubelet = folder.path().join("kubelet");
    fs::copy("/usr/bin/sleep", &kubelet).unwrap();
    let runs = Runs::start(&kubelet);
    let mut look = runs.command(&store(), &["--every", "1s"]);
    let mut child = look.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    let (first, second) = (next(), next());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!([&first["outcome"], &second["outcome"]], ["differs", "differs"]);
    assert_ne!(first["at"], second["at"]);
}

#[test]
#[expect(clippy::print_stdout, reason = "what was not tried is said")]
fn whoever_may_not_look_at_a_process_cannot_tell() {
    if !rustix::process::geteuid().is_root() {
        println!("not tried: to become somebody else needs root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let kubelet = folder.path().join("kubelet");
    fs::copy("/usr/bin/sleep", &kubelet).unwrap();
    let program = folder.path().join("kdistro-rollout");
    fs::copy(env!("CARGO_BIN_EXE_kdistro-rollout"), &program).unwrap();
    let runs = Runs::start(&kubelet);
    let (key, id) = (folder.path().join("key"), runs.0.id().to_string());
    fs::copy(store().join("keys/release.pub"), &key).unwrap();
    let server = serve(&store());
    let manifest = format!("http://127.0.0.1:{}/kubernetes-1-20/kubernetes-1-20-1.yaml", server.1);
    let mut look = command(Path::new("setpriv"));
    look.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]).arg(program);
    look.args(["--json", "inspect", "--below", &id, "--release", &manifest, "--key"]).arg(key);
    let output = look.output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(2), "{report}");
    assert_eq!(verdicts(&report), expected(&["kubelet"], &[("kubelet", "not-looked-at")]));
    drop(server.0);
}

/// Serves a folder on a free port of this machine, for as long as the first one lives.
fn serve(folder: &Path) -> (Runs, u16) {
    let mut server = command(Path::new("python3"));
    server.args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"]);
    let mut server =
        server.arg(folder).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let port = said.split_whitespace().nth(5).and_then(|port| port.parse().ok());
    (Runs(server), port.unwrap())
}

#[test]
#[expect(clippy::print_stdout, reason = "what was not tried is said")]
fn a_node_is_the_release_with_its_containers() {
    use kdistro_devcluster::ComponentName::Kubelet;
    if !rustix::process::geteuid().is_root() {
        println!("not tried: a node needs root");
        return;
    }
    let scene = Scene::new(true);
    scene.cluster.canary(&scene.release).unwrap();
    // The canary is a pod of etcd's image, in a sandbox of the release's pause.
    let of_pods = ["etcd:1-20-1", "kube-proxy", "kubelet", "pause", "pause:1-20-1"];
    let mut names = [&CONTROL_PLANE[..], &of_pods].concat();
    names.sort_unstable();
    let (code, report) = scene.inspect(&[]);
    assert_eq!((code, verdicts(&report)), (0, expected(&names, &[])), "{report}");
    assert_eq!(report["containers"], true);
    let strange = scene.strange("kubelet");
    std::os::unix::fs::symlink(scene.release.plugins(), strange.plugins()).unwrap();
    scene.replace(Kubelet, &strange);
    let (code, report) = scene.inspect(&[]);
    assert_eq!(
        (code, verdicts(&report)),
        (1, expected(&names, &[("kubelet", "strange")])),
        "{report}"
    );
}
