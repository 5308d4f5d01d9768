//! Processes that are called as programs of a release: no cluster is needed for them.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::{command, expected, result, started::store, verdicts};

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
