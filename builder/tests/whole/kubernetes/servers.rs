//! Real servers on free ports of this machine: a registry, and a Kubernetes API on etcd, out of the release.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::cut::Cut;
use crate::{
    run::{Ran, must, program, run, with},
    tools,
};

/// A server, ended when it is dropped.
struct Server(Child);

impl Server {
    /// Starts a server and waits until it answers; its words are shown when it does not.
    #[track_caller]
    fn start(command: &mut Command, log: &Path, answers: impl Fn() -> bool) -> Self {
        let out = File::create(log).unwrap();
        command.stdout(out.try_clone().unwrap()).stderr(out).stdin(Stdio::null());
        let mut server = Self(command.spawn().unwrap());
        let begun = Instant::now();
        while !answers() {
            let gone = server.0.try_wait().unwrap();
            let late = begun.elapsed() > Duration::from_mins(2);
            let said = || fs::read_to_string(log).unwrap();
            assert!(gone.is_none() && !late, "{command:?} does not answer: {gone:?}\n{}", said());
            thread::sleep(Duration::from_millis(50));
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A port that nobody uses now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Debian's registry, without encryption.
pub(super) struct Registry {
    _server: Server,
    /// Such as `127.0.0.1:41234`.
    pub(super) host: String,
}

impl Registry {
    pub(super) fn start(folder: &Path) -> Self {
        let host = format!("127.0.0.1:{}", free_port());
        let settings = folder.join("registry.yml");
        let storage = folder.join("storage").display().to_string();
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {storage}}}}}\nhttp: {{addr: {host}}}\n"
        );
        fs::write(&settings, text).unwrap();
        let mut serve = tools::judge("docker-registry");
        let server =
            Server::start(serve.arg("serve").arg(settings), &folder.join("registry.log"), || {
                std::net::TcpStream::connect(&host).is_ok()
            });
        Self { _server: server, host }
    }
}

/// A Kubernetes API without nodes.
pub(super) struct Api {
    // Ended in this order.
    _server: Server,
    _etcd: Server,
    kubectl: PathBuf,
    folder: PathBuf,
    port: u16,
}

impl Api {
    /// Starts etcd and kube-apiserver of a release, each with everything in a folder.
    pub(super) fn start(cut: &Cut, folder: &Path) -> Self {
        let at = |name: &str| folder.join(name).display().to_string();
        let [client, peer, port] = [(); 3].map(|()| free_port());
        let [client, peer] = [client, peer].map(|port| format!("http://127.0.0.1:{port}"));
        let mut etcd = program(cut.etcd(folder));
        etcd.args([
            "--data-dir",
            &at("etcd-data"),
            "--initial-cluster",
            &format!("default={peer}"),
        ]);
        etcd.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        etcd.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        let address = client.trim_start_matches("http://").to_owned();
        let etcd = Server::start(&mut etcd, &folder.join("etcd.log"), || {
            std::net::TcpStream::connect(&address).is_ok()
        });
        let (key, tokens) = (at("sa.key"), at("tokens"));
        must(&mut with("openssl", ["genrsa", "-out", &key]));
        fs::write(&tokens, "judge,judge,judge,system:masters\n").unwrap();
        let mut api = program(cut.program("kube-apiserver", folder));
        api.args(["--bind-address", "127.0.0.1", "--secure-port", &port.to_string()]);
        // Of the addresses for documentation: nobody asks there, and it must not be this machine's own loopback.
        api.args([
            "--advertise-address",
            "192.0.2.1",
            "--service-cluster-ip-range",
            "10.96.0.0/16",
        ]);
        api.args(["--etcd-servers", &client, "--cert-dir", &at("certificates")]);
        api.args(["--service-account-issuer", "https://kubernetes.default.svc"]);
        api.args(["--service-account-key-file", &key, "--service-account-signing-key-file", &key]);
        api.args(["--authorization-mode", "RBAC", "--token-auth-file", &tokens]);
        let (kubectl, folder) = (cut.program("kubectl", folder), folder.to_owned());
        let log = folder.join("kube-apiserver.log");
        let ask = |arguments: &[&str]| kubectl_of(&kubectl, &folder, port, arguments);
        let api =
            Server::start(&mut api, &log, || run(&mut ask(&["get", "--raw", "/readyz"])).code == 0);
        Self { _server: api, _etcd: etcd, kubectl, folder, port }
    }

    /// Asks the API by the release's own kubectl.
    pub(super) fn kubectl(&self, arguments: &[&str]) -> Ran {
        run(&mut kubectl_of(&self.kubectl, &self.folder, self.port, arguments))
    }
}

/// A kubectl that knows nothing but this API.
fn kubectl_of(kubectl: &Path, folder: &Path, port: u16, arguments: &[&str]) -> Command {
    let mut command = program(kubectl);
    command.env_clear().env("HOME", folder);
    command.arg(format!("--server=https://127.0.0.1:{port}")).arg("--token=judge");
    command.arg("--certificate-authority").arg(folder.join("certificates/apiserver.crt"));
    command.args(arguments);
    command
}
