//! A Kubernetes API on etcd, both out of the release.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
};

use super::cut::Cut;
use crate::{
    run::{Ran, must, program, run, with},
    servers::{Server, free_port},
};

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
            TcpStream::connect(&address).is_ok()
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
