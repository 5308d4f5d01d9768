//! Real clusters from a real release: started, used, broken and ended.
//!
//! The release is cut here once (Kubernetes for this platform takes about five minutes on two cores) and kept beside what
//! cargo builds; `KDISTRO_TEST_RELEASE=HOME` names the home folder of another cut. Pods need root.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod changing;
mod json;
mod lacking;
mod release;
mod together;

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::{PermissionsExt, chown, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

use release::{Published, published};

const DEVCLUSTER: &str = env!("CARGO_BIN_EXE_devcluster");
/// `nobody` and `nogroup`.
const NOBODY: u32 = 65534;

/// A folder for clusters, whose clusters end with it.
struct Home {
    folder: tempfile::TempDir,
    as_nobody: bool,
    /// Hands the store out to whoever may not read its folder.
    server: Option<(Child, u16)>,
}

impl Home {
    fn new(as_nobody: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        if !as_nobody {
            return Self { folder, as_nobody, server: None };
        }
        // What was built and cut may lie where only its owner comes.
        chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        fs::copy(DEVCLUSTER, folder.path().join("devcluster")).unwrap();
        fs::copy(&published().key, folder.path().join("release.pub")).unwrap();
        Self { folder, as_nobody, server: Some(serve(&published().store)) }
    }

    /// Where the key and the manifest are for whoever runs the program.
    fn source(&self, published: &Published) -> [String; 2] {
        match &self.server {
            None => [&published.key, &published.manifest].map(|path| path.display().to_string()),
            Some((_, port)) => {
                let manifest = published.manifest.strip_prefix(&published.store).unwrap();
                let key = self.path().join("release.pub").display().to_string();
                [key, format!("http://127.0.0.1:{port}/{}", manifest.display())]
            }
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The program with its home, to be given arguments.
    fn command(&self) -> Command {
        let mut command = if self.as_nobody {
            let mut command = command("setpriv");
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
            command.arg(self.path().join("devcluster"));
            command
        } else {
            command(DEVCLUSTER)
        };
        command.arg("--home").arg(self.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }

    /// Runs it; what it says when it ends as expected.
    fn expect(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = [&output.stdout[..], &output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        said
    }

    fn up(&self, name: &str, published: &Published, more: &[&str]) -> String {
        let [key, manifest] = self.source(published);
        let arguments = ["up", "--name", name, "--key", &key, "--release", &manifest];
        self.expect(0, &[&arguments[..], more].concat())
    }

    fn status(&self, name: &str, code: i32) -> Value {
        let output = self.run(&["--json", "status", "--name", name]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Fails the test unless nothing of any cluster is left.
    fn assert_empty(&self) {
        let own = ["devcluster", "release.pub", "clusters"];
        let names = fs::read_dir(self.path()).unwrap().map(|it| it.unwrap().file_name());
        let left: Vec<_> = names.filter(|name| !own.iter().any(|it| name == it)).collect();
        assert!(left.is_empty(), "{left:?} is left");
        assert_eq!(fs::read_dir(self.path().join("clusters")).map_or(0, Iterator::count), 0);
    }

    /// Runs pods behind a Service in a cluster; waits until they do.
    fn serve_in(&self, name: &str, published: &Published) {
        let image = format!("--image=kdistro.local/etcd:{}", published.name);
        let listen = [
            "--listen-client-urls=http://0.0.0.0:2379",
            "--advertise-client-urls=http://127.0.0.1:2379",
        ];
        let create = ["create", "deployment", "web", &image, "--", "etcd"];
        self.kubectl(name, &[&create[..], &listen].concat());
        self.kubectl(name, &["expose", "deployment", "web", "--port=80", "--target-port=2379"]);
        self.kubectl(name, &["rollout", "status", "deployment", "web", "--timeout=60s"]);
    }

    /// Waits until those pods answer through their Service: kube-proxy hears of them, and of those that are gone, a moment
    /// later than who asked for them.
    fn assert_answers(&self, name: &str) {
        let path = ["--output", "jsonpath={.spec.clusterIP}"];
        let address = self.kubectl(name, &[&["get", "service", "web"], &path[..]].concat());
        let ask = format!(
            "exec 3<>/dev/tcp/{address}/80; printf 'GET /version HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
        );
        let ask = ["exec", "--name", name, "--", "timeout", "5", "bash", "-c", &ask];
        until(|| {
            let output = self.run(&ask);
            output.status.success()
                && String::from_utf8_lossy(&output.stdout).contains("\"etcdserver\"")
        });
    }

    fn kubectl(&self, name: &str, arguments: &[&str]) -> String {
        self.expect(0, &[&["kubectl", "--name", name, "--"], arguments].concat())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = self.run(&["down", "--all"]);
        if let Some((server, _)) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// Serves a folder on a free port of this machine.
fn serve(folder: &Path) -> (Child, u16) {
    let mut server = command("python3");
    server.args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"]);
    server.arg(folder).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = server.spawn().unwrap();
    let mut said = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let port = said.split_whitespace().nth(5).and_then(|port| port.parse().ok());
    (server, port.unwrap())
}

#[expect(clippy::disallowed_methods, reason = "tests start real programs")]
fn command(program: &str) -> Command {
    Command::new(program)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Waits until something is so, for half a minute.
fn until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..300 {
        if is_so() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("it never was so");
}

/// The control groups of clusters of a name that no other test has.
fn groups(name: &str) -> Vec<u8> {
    let mut find = command("find");
    find.args(["/sys/fs/cgroup", "-maxdepth", "2", "-name", &format!("kdistro-{name}-*")]);
    find.output().unwrap().stdout
}

/// Ids of processes whose command line names a folder.
fn processes_of(folder: &Path) -> Vec<PathBuf> {
    let needle = folder.to_str().unwrap().as_bytes();
    let all = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let names = |path: &PathBuf| {
        let line = fs::read(path.join("cmdline")).unwrap_or_default();
        line.windows(needle.len()).any(|part| part == needle)
    };
    all.filter(names).collect()
}

#[test]
fn two_control_planes_run_side_by_side_without_root_and_leave_nothing() {
    let published = published();
    let home = Home::new(is_root());
    for name in ["one", "two"] {
        let said = home.up(name, published, &["--control-plane-only"]);
        assert!(said.contains("kube-scheduler          healthy"), "{said}");
    }
    home.kubectl("one", &["create", "configmap", "only-in-one"]);
    assert!(home.kubectl("one", &["get", "configmaps"]).contains("only-in-one"));
    assert!(!home.kubectl("two", &["get", "configmaps"]).contains("only-in-one"));
    let inside = home.expect(0, &["exec", "--name", "one", "--", "ip", "-brief", "address"]);
    assert!(inside.contains("10.200.0.1/24"), "{inside}");
    assert!(
        home.expect(2, &["up", "--name", "one", "--key", "k", "--release", "r"]).contains("k:")
    );
    assert_eq!(home.expect(0, &["list"]), "one\ntwo\n");

    home.expect(0, &["down", "--name", "one"]);
    assert_eq!(home.status("two", 0)["components"][0][1], Value::Null, "the other one goes on");
    assert!(!processes_of(home.path()).is_empty());
    assert!(home.path().join("releases").exists(), "the other one's programs lie there");
    home.expect(0, &["down", "--all"]);
    assert_eq!(processes_of(home.path()), Vec::<PathBuf>::new());
    home.assert_empty();
    assert!(home.expect(2, &["down"]).contains("there is no cluster `dev`"));
}

#[test]
fn a_component_that_ends_is_started_again_then_named_and_a_supervisor_that_is_killed_takes_all_along()
 {
    let published = published();
    let home = Home::new(is_root());
    home.up("dev", published, &["--control-plane-only"]);
    let wrong = |code| home.status("dev", code)["components"][3][1].clone();
    let kill = || home.expect(0, &["exec", "--", "pkill", "--exact", "kube-scheduler"]);
    kill();
    let said = wrong(1);
    assert!(said.as_str().unwrap().ends_with("is started again"), "{said}");
    // As a kubelet does: a few times.
    for _ in 0..3 {
        until(|| home.run(&["status"]).status.success());
        kill();
    }
    until(|| wrong(1).as_str().unwrap().starts_with("ended ("));
    let status = home.status("dev", 1);
    let [key, manifest] = home.source(published);
    let again = ["up", "--control-plane-only", "--key", &key, "--release", &manifest];
    let said = home.expect(2, &again);
    assert!(said.contains("a cluster `dev` is there\nhelp:  "), "{said}");

    let supervisor = status["supervisor"].as_i64().unwrap().to_string();
    assert!(command("kill").args(["-KILL", &supervisor]).status().unwrap().success());
    until(|| processes_of(home.path()).is_empty());
    assert_eq!(processes_of(home.path()), Vec::<PathBuf>::new());
    assert_eq!(home.status("dev", 1)["supervisor"], Value::Null);
    home.expect(0, &["down"]);
}

#[test]
fn a_cluster_for_one_program_ends_with_it_however_that_is() {
    let published = published();
    let home = Home::new(is_root());
    let [key, manifest] = home.source(published);
    let run = ["run", "--control-plane-only", "--key", &key, "--release", &manifest, "--"];
    let clusters = || fs::read_dir(home.path().join("clusters")).map_or(0, Iterator::count);
    let program = ["sh", "-c", "test -s \"$KUBECONFIG\" && exit 7"];
    home.expect(7, &[&run[..], &program].concat());
    assert!(home.path().join("releases").exists(), "the next one finds it");
    assert_eq!(clusters(), 0);
    assert!(home.expect(2, &[&run[..], &["/no/program"]].concat()).contains("cannot start"));
    assert_eq!(clusters(), 0);

    // Whoever is told to end while it starts, or while the program runs, leaves nothing.
    for begun in ["clusters", "begun"] {
        let begun = home.path().join(begun);
        let _ = fs::remove_dir(&begun);
        // The folder's name stands in its arguments, and in those of what it starts.
        let program =
            format!("touch {}; sh -c 'sleep 600; exit' {}", begun.display(), home.path().display());
        let mut child = home.command();
        child.args(run).args(["sh", "-c", &program]).stdin(Stdio::null()).stderr(Stdio::null());
        let mut child = child.spawn().unwrap();
        until(|| begun.exists());
        let id = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(143));
        assert_eq!(clusters(), 0);
        until(|| processes_of(home.path()).is_empty());
    }
    // Who is killed leaves a folder, and nothing that runs.
    let begun = home.path().join("killed");
    let program = format!("touch {}; exec sleep 3", begun.display());
    let mut child = home.command();
    child.args(run).args(["sh", "-c", &program]).stdin(Stdio::null()).stderr(Stdio::null());
    let mut child = child.spawn().unwrap();
    until(|| begun.exists());
    assert!(!processes_of(home.path()).is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    until(|| processes_of(home.path()).is_empty());
    assert_eq!(clusters(), 1);
    home.expect(0, &["down", "--all"]);
    assert_eq!(clusters(), 0);
    assert!(!home.path().join("releases").exists());
}

#[test]
fn of_a_store_and_of_a_channel_in_it_the_newest_release_is_taken() {
    let published = published();
    let home = Home::new(false);
    let newest = "1-20-2";
    for folder in [&published.store, &published.store.join("kubernetes-1-20")] {
        let (key, folder) = (published.key.to_str().unwrap(), folder.to_str().unwrap());
        let run = ["run", "--control-plane-only", "--key", key, "--release", folder, "--"];
        let said = home.expect(0, &[&run[..], &["true"]].concat());
        assert!(said.contains(&format!("release {newest} is verified")), "{said}");
    }
}

#[test]
fn who_listens_behind_a_link_is_no_cluster() {
    let home = Home::new(false);
    let folder = home.path().join("clusters/dev");
    fs::create_dir_all(&folder).unwrap();
    let elsewhere = home.path().join("elsewhere");
    let script = "import socket,sys,time\ns=socket.socket(socket.AF_UNIX)\ns.bind(sys.argv[1])\ns.listen()\ntime.sleep(60)";
    let mut other = command("python3").args(["-c", script]).arg(&elsewhere).spawn().unwrap();
    until(|| elsewhere.exists());
    for is_hard in [true, false] {
        fs::create_dir_all(&folder).unwrap();
        let control = folder.join("control");
        let linked =
            if is_hard { fs::hard_link(&elsewhere, control) } else { symlink(&elsewhere, control) };
        linked.unwrap();
        home.expect(0, &["down", "--name", "dev"]);
        assert!(other.try_wait().unwrap().is_none(), "it was killed");
        assert!(!folder.exists());
    }
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn what_its_key_did_not_sign_never_runs() {
    let published = published();
    let home = Home::new(false);
    let copy = tempfile::tempdir().unwrap();
    let store = published.manifest.parent().unwrap().parent().unwrap();
    let copied = command("cp").args(["--recursive", "--link"]).arg(store).arg(copy.path()).status();
    assert!(copied.unwrap().success());
    let store = copy.path().join(store.file_name().unwrap());
    let [folder, file] = [1, 0].map(|back| published.manifest.iter().rev().nth(back).unwrap());
    let manifest = store.join(folder).join(file);
    let up = |code| {
        let key = ["up", "--control-plane-only", "--key", published.key.to_str().unwrap()];
        home.expect(code, &[&key[..], &["--release", manifest.to_str().unwrap()]].concat())
    };
    let change = |path: &Path| {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::remove_file(path).unwrap();
        fs::write(path, bytes).unwrap();
    };

    let server = format!("bin/linux/{}/kube-apiserver", release::ARCHITECTURE);
    let server = published.artifact(&store, "kubernetes").join(server);
    change(&server);
    let said = up(1);
    assert!(said.contains("kube-apiserver` differs from what release 1-20-1 says"), "{said}");
    assert!(!home.path().join("clusters").exists(), "nothing was started");
    // Nor is more of it read than there should be.
    fs::File::options().write(true).open(&server).unwrap().set_len(1 << 40).unwrap();
    assert!(up(1).contains("kube-apiserver` differs from what release 1-20-1 says"));

    change(&manifest);
    let said = up(1);
    assert!(said.contains("is not verified:\n"), "{said}");
    let key = ["up", "--control-plane-only", "--key", published.key.to_str().unwrap()];
    let manifest = ["--release", manifest.to_str().unwrap()];
    assert_eq!(json::said(&home, 1, &[&key[..], &manifest].concat())["exit"], 1);
    home.expect(0, &["down", "--all"]);
    home.assert_empty();
}

#[test]
#[expect(clippy::print_stdout, reason = "what was not tried is said")]
fn a_node_runs_pods_behind_a_service_and_leaves_nothing() {
    if !is_root() {
        // Containers need it; CI is root.
        println!("not tried: a node needs root");
        return;
    }
    let (published, before) = (published(), groups("node"));
    let home = Home::new(false);
    home.up("node", published, &[]);
    home.serve_in("node", published);
    home.assert_answers("node");
    assert!(home.kubectl("node", &["logs", "deployment/web"]).contains("etcd"));
    let said = home.kubectl("node", &["exec", "deployment/web", "--", "etcd", "--version"]);
    assert!(said.contains("etcd Version"), "{said}");

    home.expect(0, &["down", "--name", "node"]);
    home.assert_empty();
    assert_eq!(processes_of(home.path()), Vec::<PathBuf>::new());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(home.path().to_str().unwrap()), "{mounts}");
    assert_eq!(groups("node"), before, "control groups are left");
}
