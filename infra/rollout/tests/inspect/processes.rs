//! Processes that are called as programs of a release: no cluster is needed for them.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use kdistro_rollout::inspect::processes;
use serde_json::Value;

use crate::{command, expected, result, started::store, verdicts};

/// A process that runs, until it is dropped, a program that this is given the path of.
pub(crate) struct Runs(Child);

impl Runs {
    fn start(program: &Path) -> Self {
        let mut program = command(program);
        Self(program.arg("600").stdin(Stdio::null()).process_group(0).spawn().unwrap())
    }

    pub(crate) fn of(child: Child) -> Self {
        Self(child)
    }

    pub(crate) fn id(&self) -> String {
        self.0.id().to_string()
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
        look.arg("--below").arg(self.id()).args(more);
        look
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        let _ = self.0.kill();
        // What it has started is in its group, where it has one of its own.
        let group = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

#[test]
fn a_program_that_was_deleted_while_it_runs_is_still_read() {
    let folder = tempfile::tempdir().unwrap();
    let copied = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        copy(Path::new("/usr/bin/sleep"), &path);
        path
    };
    let kubelet = copied("kubelet");
    let runs = Runs::start(&kubelet);
    fs::remove_file(&kubelet).unwrap();
    let (code, report) = runs.look(&[]);
    assert_eq!((code, verdicts(&report)), (1, expected(&["kubelet"], &[("kubelet", "strange")])));
    assert_eq!(report["report"]["findings"][0]["subject"]["process"]["deleted"], true);
    // A plugin's name is anybody's, but not where plugins lie.
    let bridge = Runs::start(&copied("bridge"));
    let (code, report) = bridge.look(&[]);
    assert_eq!((code, verdicts(&report), &report["report"]["others"]), (2, vec![], &1.into()));
    let (code, report) = Runs::start(&copied("cni/bin/bridge")).look(&[]);
    assert_eq!((code, verdicts(&report)), (1, expected(&["bridge"], &[("bridge", "strange")])));
}

/// A copy of the store in which one byte of a file is another.
pub(crate) fn changed_store(file: &str) -> tempfile::TempDir {
    let folder = copied_store();
    let path = folder.path().join(file);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    folder
}

fn copied_store() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for part in ["containers", "keys", "kubernetes-1-20", "log", "releasechannels"] {
        let mut copy = command(Path::new("cp"));
        copy.args(["--recursive", "--link"]).arg(store().join(part)).arg(folder.path());
        assert!(copy.status().unwrap().success());
    }
    folder
}

#[test]
fn nothing_is_compared_with_what_its_key_did_not_sign() {
    let folder = tempfile::tempdir().unwrap();
    let etcd = folder.path().join("etcd");
    copy(Path::new("/usr/bin/sleep"), &etcd);
    let runs = Runs::start(&etcd);
    for file in ["kubernetes-1-20/kubernetes-1-20-1.yaml", "kubernetes-1-20/releases/1/plan.json"] {
        let store = changed_store(file);
        let (code, said) = runs.look_in(store.path(), &[]);
        assert_eq!(code, 1, "{said}");
        assert!(said["error"].as_str().unwrap().contains("is not verified: "), "{said}");
    }
}

/// Where a release of the store has its etcd.
pub(crate) fn archive(number: u32) -> String {
    let folder = format!("kubernetes-1-20/releases/{number}/artifacts/etcd/v3.4.23");
    format!("{folder}/etcd-linux-amd64-v3.4.23.tar.gz")
}

/// Copies a program, by another one: what this one has open while another test begins a process cannot be run.
pub(crate) fn copy(from: &Path, to: &Path) {
    let mut copy = command(Path::new("cp"));
    assert!(copy.arg(from).arg(to).status().unwrap().success());
}

/// Processes that are called as programs of a release and are others.
pub(crate) fn strangers(names: &[&str]) -> (tempfile::TempDir, Runs) {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        copy(Path::new("/usr/bin/sleep"), &folder.path().join(name));
    }
    let runs = begun(folder.path(), names);
    (folder, runs)
}

/// Begins programs that lie in a folder, all below one process.
pub(crate) fn begun(folder: &Path, names: &[&str]) -> Runs {
    let starts: Vec<_> = names.iter().map(|name| format!("\"$0/{name}\" 600 &\n")).collect();
    let mut shell = command(Path::new("sh"));
    shell.arg("-c").arg(format!("{}wait", starts.concat())).arg(folder);
    let runs = Runs(shell.stdin(Stdio::null()).process_group(0).spawn().unwrap());
    let is_ours = |path: &Path| path.starts_with(folder);
    while processes(Some(runs.0.id()), &is_ours).unwrap().0.len() < names.len() {
        thread::sleep(Duration::from_millis(20));
    }
    runs
}

#[test]
fn what_cannot_be_compared_hides_nothing_else_that_is_strange() {
    let (_folder, runs) = strangers(&["etcd", "kubelet"]);
    let missing = copied_store();
    fs::remove_file(missing.path().join(archive(1))).unwrap();
    let changed = changed_store(&archive(1));
    for (store, verdict, why) in [
        (&missing, "not-looked-at", "cannot read `kubernetes-1-20/releases/1/artifacts/etcd"),
        (&changed, "store-differs", "of the store is sha256:"),
    ] {
        let (code, report) = runs.look_in(store.path(), &[]);
        let all = expected(&["etcd", "kubelet"], &[("etcd", verdict), ("kubelet", "strange")]);
        assert_eq!((code, verdicts(&report)), (1, all), "{report}");
        let mut findings = report["report"]["findings"].as_array().unwrap().iter();
        let etcd = findings.find(|one| one["verdict"] == verdict).unwrap();
        assert!(etcd["why"].as_str().unwrap().contains(why), "{report}");
    }
    let (_folder, runs) = strangers(&["etcd"]);
    for (store, code) in [(&missing, 2), (&changed, 1)] {
        let (found, report) = runs.look_in(store.path(), &[]);
        assert_eq!(found, code, "{report}");
    }
}

#[test]
fn another_release_that_cannot_be_read_is_not_what_runs() {
    let (_folder, runs) = strangers(&["etcd"]);
    let missing = copied_store();
    fs::remove_file(missing.path().join(archive(2))).unwrap();
    for store in [missing, changed_store(&archive(2))] {
        let (code, report) = runs.look_in(store.path(), &[]);
        assert_eq!((code, verdicts(&report)), (1, expected(&["etcd"], &[("etcd", "strange")])));
    }
}

#[test]
fn it_is_looked_again_and_again_and_each_look_is_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let kubelet = folder.path().join("kubelet");
    copy(Path::new("/usr/bin/sleep"), &kubelet);
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
    copy(Path::new("/usr/bin/sleep"), &kubelet);
    let program = folder.path().join("kdistro-rollout");
    copy(Path::new(env!("CARGO_BIN_EXE_kdistro-rollout")), &program);
    let runs = Runs::start(&kubelet);
    let (key, id) = (folder.path().join("key"), runs.id());
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
    server.arg(folder).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut server = server.spawn().unwrap();
    let mut said = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let port = said.split_whitespace().nth(5).and_then(|port| port.parse().ok());
    (Runs(server), port.unwrap())
}
