//! Sigstore's services on this machine, and cosign, which signs with them as it does with the public ones.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    run::{Ran, run},
    servers::{Server, free_port},
    shared::{scratch, work},
    tools,
};

/// Whom the services certify for the token `person`; the issuer is [`Sigstore::issuer`].
pub(crate) const PERSON: &str = "release@tiny.example";
/// Whom for the token `workflow`.
pub(crate) const WORKFLOW: &str = "https://ci.tiny.example/release.yaml@refs/heads/main";

/// A Fulcio, a Rekor of each version and a timestamp authority, ended when it is dropped.
pub(crate) struct Sigstore {
    _server: Server,
    folder: TempDir,
    host: String,
}

impl Sigstore {
    pub(crate) fn start() -> Self {
        let folder = scratch("sigstore");
        let port = free_port();
        let mut serve = tools::judge("node");
        serve.arg("sigstore.cjs").arg(port.to_string()).arg(folder.path());
        serve.current_dir(services());
        let root = folder.path().join("trusted_root.json");
        // It is written last.
        let is_ready = || fs::read(&root).is_ok_and(|root| root.ends_with(b"}"));
        let server = Server::start(&mut serve, &folder.path().join("log"), is_ready);
        Self { _server: server, folder, host: format!("127.0.0.1:{port}") }
    }

    /// A file of the services, or a new one.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn trusted_root(&self) -> PathBuf {
        self.path("trusted_root.json")
    }

    /// Who vouches for identities.
    pub(crate) fn issuer(&self) -> String {
        format!("http://{}/issuer", self.host)
    }

    /// Has cosign sign a file by one of the tokens, one of the ways that `sigstore.cjs` knows; returns the bundle.
    #[track_caller]
    pub(crate) fn sign(&self, document: &Path, token: &str, way: &str) -> Value {
        self.cosign("sign-blob", document, &[], (token, way))
    }

    /// Has cosign sign a statement about a file.
    #[track_caller]
    pub(crate) fn attest(&self, document: &Path) -> Value {
        let predicate = self.path("predicate.json");
        fs::write(&predicate, "{}").unwrap();
        let about = ["--type", "custom", "--predicate", predicate.to_str().unwrap()];
        self.cosign("attest-blob", document, &about, ("person", "today"))
    }

    #[track_caller]
    fn cosign(
        &self,
        command: &str,
        document: &Path,
        more: &[&str],
        (token, way): (&str, &str),
    ) -> Value {
        let bundle = self.path("made.sigstore.json");
        let mut cosign = tools::debian("cosign");
        cosign.env("HOME", self.folder.path()).args([command, "--yes"]).args(more);
        cosign.arg("--identity-token").arg(self.path(token));
        cosign.arg("--signing-config").arg(self.path(&format!("{way}.json")));
        cosign.arg("--trusted-root").arg(self.trusted_root());
        run(cosign.arg("--bundle").arg(&bundle).arg(document)).expect(0);
        serde_json::from_slice(&self.made()).unwrap()
    }

    /// What cosign wrote last, as it wrote it.
    pub(crate) fn made(&self) -> Vec<u8> {
        fs::read(self.path("made.sigstore.json")).unwrap()
    }

    /// Has cosign verify a bundle.
    pub(crate) fn verify(&self, bundle: &Path, document: &Path, identity: &str) -> Ran {
        let mut cosign = tools::debian("cosign");
        cosign.env("HOME", self.folder.path()).args(["verify-blob", "--bundle"]).arg(bundle);
        cosign.arg("--trusted-root").arg(self.trusted_root());
        cosign.args(["--certificate-identity", identity]);
        cosign.args(["--certificate-oidc-issuer", &self.issuer()]).arg(document);
        run(&mut cosign)
    }

    /// Has the log witness now what a bundle holds, in place of when it was signed.
    pub(crate) fn log_late(&self, bundle: &Value) -> Value {
        let body = bundle.to_string();
        let mut stream = TcpStream::connect(&self.host).unwrap();
        let length = body.len();
        write!(stream, "POST /late HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 "), "{answer}");
        serde_json::from_str(body).unwrap()
    }
}

/// The folder of the services' program and the packages that it wants, installed once.
fn services() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/whole/keyless");
        let folder = made("sigstore-services", |folder| {
            fs::copy(own.join("package.json"), folder.join("package.json")).unwrap();
            let install = ["install", "--no-fund", "--no-audit", "--no-package-lock"];
            let mut npm = tools::judge("npm");
            npm.args(install).arg("--ignore-scripts").current_dir(folder);
            run(&mut npm).expect(0);
        });
        fs::copy(own.join("sigstore.cjs"), folder.join("sigstore.cjs")).unwrap();
        folder
    })
}

/// A folder that is there whole or not at all.
fn made(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let folder = work().join(name);
    if !folder.is_dir() {
        let new = scratch(name);
        make(new.path());
        fs::rename(new.path(), &folder).unwrap();
    }
    folder
}
