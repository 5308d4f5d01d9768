//! The whole way of README's third door: releases are cut, promoted and announced over SNS; a cluster hears of them by its
//! queue, takes the good one, and goes back from the one whose API server is never healthy.
//!
//! Kubernetes is built twice here, and so it runs where it is asked for, as root:
//!
//! ```text
//! cargo build --workspace && cargo test -p kdistro-rollout --features aws --test third_door -- --ignored --nocapture
//! ```
#![cfg(test)]
#![cfg(feature = "aws")]
#![expect(clippy::print_stdout, reason = "the transcript is what it is for")]

#[expect(dead_code, reason = "other tests use the rest")]
mod amazon;

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kdistro_devcluster::Cluster;
use kdistro_testbed::{COMPONENTS, Server, Testbed, copy_configuration, releases};

const PROJECT: &str = "kubernetes/kubernetes";
const TAG: &str = "v1.20.2";
/// What each patch changes: a file, what stands there, and what is put in its place.
const WORDING: [&str; 3] = [
    "cmd/kube-apiserver/app/server.go",
    "klog.Infof(\"Version: %+v\"",
    "klog.Infof(\"Version here: %+v\"",
];
const ILL: [&str; 3] = [
    "staging/src/k8s.io/apiserver/pkg/server/healthz/healthz.go",
    "func (ping) Check(_ *http.Request) error {\n\treturn nil",
    "func (ping) Check(_ *http.Request) error {\n\treturn fmt.Errorf(\"this is a trial\")",
];

/// A publisher with two environments, and a subscriber of the second one.
struct Scene {
    bed: Testbed,
    folder: tempfile::TempDir,
    begin: Instant,
}

impl Scene {
    fn new() -> Self {
        let bed = Testbed::start(&[Server::Aws]).unwrap();
        let scene = Self { bed, folder: tempfile::tempdir().unwrap(), begin: Instant::now() };
        // Other tests have the releases, too, and these here are cut after them.
        let copy = ["--archive", "--reflink=auto"];
        let mut copied = command("cp");
        copied.args(copy).arg(releases().unwrap()).arg(scene.path("home"));
        assert!(copied.status().unwrap().success());
        copy_configuration(&scene.path("repository")).unwrap();
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn say(&self, what: &str) {
        println!("== {:5.0} s  {what}", self.begin.elapsed().as_secs_f64());
    }

    /// Runs a program that is built beside this one; returns what it printed.
    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let file = Path::new(env!("CARGO_BIN_EXE_kdistro-rollout")).with_file_name(program);
        assert!(file.is_file(), "build it first: cargo build --workspace");
        let mut command = command(file);
        command.args(arguments).current_dir(self.path("repository")).envs(self.bed.environment());
        let output = command.env("KDISTRO_HOME", self.path("home")).output().unwrap();
        let (said, failed) = (String::from_utf8(output.stdout).unwrap(), output.stderr);
        let failed = String::from_utf8_lossy(&failed);
        assert!(output.status.success(), "{program} {arguments:?}: {failed}\n{said}");
        said
    }

    /// Cuts a release with one more patch of Kubernetes.
    fn cut(&self, [file, before, after]: [&str; 3]) {
        let tree = self.path("tree");
        let place = tree.display().to_string();
        self.run("kdistro", &["patch", "new", PROJECT, TAG, "--into", &place]);
        let text = fs::read_to_string(tree.join(file)).unwrap();
        assert!(text.contains(before), "{file} is another");
        fs::write(tree.join(file), text.replacen(before, after, 1)).unwrap();
        let message = "apiserver: a trial\n\nUpstream: not submitted, because it is a trial";
        let identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"];
        let mut commit = command("git");
        commit.arg("-C").arg(&tree).args(identity).args(["commit", "-qam", message]);
        assert!(commit.status().unwrap().success());
        self.run("kdistro", &["patch", "refresh", PROJECT, TAG, "--from", &place]);
        fs::remove_dir_all(&tree).unwrap();
        self.run("kdistro", &["lock", "1-20"]);
        let components = COMPONENTS.iter().flat_map(|component| ["--component", component]);
        let arguments = ["--quiet", "cut", "1-20", "--platform", "linux/amd64"];
        self.run("kdistro", &arguments.into_iter().chain(components).collect::<Vec<_>>());
    }

    fn promote(&self, release: &str) {
        self.say(&format!("promote {release}: announced over SNS"));
        self.run("kdistro", &["promote", release, "--from", "local", "--to", "trial"]);
    }

    /// What `kubectl` says of the node.
    fn node(&self) -> String {
        let cluster = Cluster::open(&self.path("clusters"), "dev").unwrap();
        let version = "jsonpath={.status.nodeInfo.kubeletVersion}";
        let said = cluster.kubectl(&["get", "node", "node1", "--output", version]).unwrap();
        let table = cluster.kubectl(&["get", "nodes"]).unwrap();
        println!("{}", String::from_utf8_lossy(&table).trim_end());
        String::from_utf8(said).unwrap()
    }
}

/// A cluster, and who follows for it, that end with the test.
struct Following<'a> {
    scene: &'a Scene,
    program: Child,
    shown: usize,
}

impl Following<'_> {
    /// Waits until the log has a line with these words, and shows it as far as that.
    fn until(&mut self, words: &str) {
        let end = Instant::now() + Duration::from_mins(6);
        loop {
            let log = fs::read_to_string(self.scene.path("log")).unwrap();
            let new = log.get(self.shown..).unwrap();
            if let Some(found) = new.find(words) {
                let line = new[found..].find('\n').map_or(new.len(), |at| found + at + 1);
                print!("{}", &new[..line]);
                self.shown += line;
                return;
            }
            assert!(Instant::now() < end, "{words} is not in {log}");
            thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
        let _ = Cluster::end(&self.scene.path("clusters"), "dev");
    }
}

#[expect(clippy::disallowed_methods, reason = "programs are tested")]
fn command(program: impl AsRef<Path>) -> Command {
    Command::new(program.as_ref())
}

/// Makes a topic, a queue of it, and an environment that announces there; returns the queue's address.
fn environment(scene: &Scene) -> String {
    let topic = amazon::cli(&scene.bed, &["sns", "create-topic", "--name", "releases"]);
    let topic = topic["TopicArn"].as_str().unwrap().to_owned();
    amazon::cli(&scene.bed, &["sqs", "create-queue", "--queue-name", "dev"]);
    let queue = topic.replace(":sns:", ":sqs:").replace(":releases", ":dev");
    let subscribe = ["sns", "subscribe", "--protocol", "sqs", "--topic-arn", &topic];
    amazon::cli(&scene.bed, &[&subscribe[..], &["--notification-endpoint", &queue]].concat());
    let text = format!(
        "name: trial\ndevelopment: true\nstore: {{directory: trial/store}}\nregistry: {{directory: trial/registry}}\n\
         announcements: {{sns: {{topic: \"{topic}\", endpoint: \"{}\"}}}}\nkeys: {{directory: trial/keys}}\n\
         logOrigin: log.trial.kdistro.dev\n",
        scene.bed.aws()
    );
    fs::write(scene.path("repository/infra/environments/trial.yaml"), text).unwrap();
    scene.run("kdistro", &["key", "new", "--environment", "trial"]);
    let key = scene.run("kdistro", &["key", "show", "--environment", "trial"]);
    fs::write(scene.path("release.pub"), key).unwrap();
    format!("sqs: {{queue: dev, endpoint: \"{}\"}}", scene.bed.aws())
}

/// Starts who follows; returns it with where it shows its page.
fn follow<'a>(scene: &'a Scene, hear: &str) -> (Following<'a>, String) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let folder = scene.folder.path().display();
    let text = format!(
        "cluster: dev\nstore: {folder}/home/trial/store\nkey: release.pub\nenvironment: trial\nchannel: \"1-20\"\n\
         hear: {{poll: 1d, {hear}}}\ndriver: {{devcluster: {{name: dev, home: {folder}/clusters}}}}\n\
         checks: [{{builtin: true}}]\ntell: {{listen: \"127.0.0.1:{port}\"}}\nstate: state\n"
    );
    fs::write(scene.path("rollout.yaml"), text).unwrap();
    let log = fs::File::create(scene.path("log")).unwrap();
    let mut run = command(env!("CARGO_BIN_EXE_kdistro-rollout"));
    run.args(["run", "--config"]).arg(scene.path("rollout.yaml")).envs(scene.bed.environment());
    run.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let program = run.spawn().unwrap();
    (Following { scene, program, shown: 0 }, format!("http://127.0.0.1:{port}/status.json"))
}

#[test]
#[ignore = "it builds Kubernetes twice: some 15 minutes, as root"]
fn a_good_release_is_followed_and_a_bad_one_is_gone_back_from() {
    assert!(rustix::process::geteuid().is_root(), "a node needs root");
    let scene = Scene::new();
    let hear = environment(&scene);
    let kubernetes = |number: u32| {
        let file = format!("home/store/kubernetes-1-20/kubernetes-1-20-{number}.yaml");
        fs::read_to_string(scene.path(&file)).unwrap()
    };
    scene.say("cut 1-20-3, with one more patch of Kubernetes");
    scene.cut(WORDING);
    scene.say("cut 1-20-4, whose kube-apiserver fails its health check");
    scene.cut(ILL);
    assert!(kubernetes(4).contains("patches"));

    scene.promote("1-20-1");
    scene.say("a cluster with a node");
    let manifest = scene.path("home/trial/store/kubernetes-1-20/kubernetes-1-20-1.yaml");
    let (clusters, key) = (scene.path("clusters"), scene.path("release.pub"));
    let place = ["--home", clusters.to_str().unwrap(), "up", "--key", key.to_str().unwrap()];
    let release = ["--release", manifest.to_str().unwrap()];
    let (mut following, page) = follow(&scene, &hear);
    println!("{}", scene.run("devcluster", &[&place[..], &release].concat()).trim_end());
    let first = scene.node();

    scene.promote("1-20-3");
    following.until("1-20-3  kept");
    let second = scene.node();
    assert!(first != second && second.starts_with(TAG), "{first}, {second}");

    scene.promote("1-20-4");
    following.until("1-20-4  rolled back");
    assert_eq!(scene.node(), second);
    let inspected = ["inspect", "--config"];
    let file = scene.path("rollout.yaml");
    let inspected = [&inspected[..], &[file.to_str().unwrap()]].concat();
    println!("{}", scene.run("kdistro-rollout", &inspected).trim_end());
    let status = ureq::get(&page).call().unwrap().body_mut().read_to_string().unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["running"]["name"], "1-20-3", "{status}");
    assert_eq!(status["held"][0]["release"], "1-20-4", "{status}");
    scene.say(&format!("done at {}", Timestamp::now()));
}
