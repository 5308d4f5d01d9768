//! An environment of its own, and a copy of what says how releases are made.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// Two cuts of one channel do not go together in one home folder.
static TURN: Mutex<()> = Mutex::new(());

pub(crate) struct Scene {
    folder: TempDir,
    home: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let home = kdistro_testbed::releases().unwrap();
        let scene = Self { folder: tempfile::tempdir().unwrap(), home, _turn: turn };
        kdistro_testbed::copy_configuration(&scene.repository()).unwrap();
        scene.write_environment("");
        scene
    }

    /// Lets the environment itself demand the gate.
    pub(crate) fn demand_gate(&self) {
        self.write_environment("gate: devcluster\n");
    }

    /// The name of the environment: the home folder remembers what others published.
    fn environment(&self) -> String {
        let folder = self.folder().file_name().unwrap().to_str().unwrap();
        format!("gated-{}", folder.trim_start_matches('.').to_lowercase())
    }

    fn write_environment(&self, more: &str) {
        let (place, name) = (self.folder().display(), self.environment());
        let text = format!(
            "name: {name}\ndevelopment: true\nstore: {{directory: {place}/store}}\n\
             registry: {{directory: {place}/registry}}\nkeys: {{directory: {place}/keys}}\n\
             announcements: {{directory: {place}/announcements}}\nlogOrigin: {name}.example.org\n{more}"
        );
        let file = self.repository().join(format!("infra/environments/{name}.yaml"));
        fs::write(file, text).unwrap();
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn repository(&self) -> PathBuf {
        self.folder().join("repository")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.folder().join("store")
    }

    /// Adds a patch to a project's tag, such as `etcd-io/etcd/v3.4.23`.
    pub(crate) fn patch(&self, of: &str, patch: &str) {
        let folder = self.repository().join("patches").join(of);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("0009-trial.patch"), patch).unwrap();
        self.lock();
    }

    pub(crate) fn unpatch(&self, of: &str) {
        let folder = self.repository().join("patches").join(of);
        fs::remove_file(folder.join("0009-trial.patch")).unwrap();
        self.lock();
    }

    fn lock(&self) {
        let output = self.kdistro(&sibling("kdistro"), &["lock", "1-20"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    fn kdistro(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut kdistro = command(program);
        kdistro.current_dir(self.repository()).arg("--home").arg(&self.home).args(arguments);
        kdistro
    }

    fn cutting(&self, program: &Path, more: &[&str]) -> Command {
        let platform = if cfg!(target_arch = "aarch64") { "linux/arm64" } else { "linux/amd64" };
        let mut cut = self.kdistro(program, &["--json", "cut", "1-20"]);
        cut.args(["--environment", &self.environment()]);
        cut.args(["--platform", platform]).args(more);
        for component in kdistro_testbed::COMPONENTS {
            cut.args(["--component", component]);
        }
        cut
    }

    /// Cuts; what comes out.
    pub(crate) fn cut(&self, more: &[&str], code: i32) -> Value {
        let output = self.cutting(&sibling("kdistro"), more).output().unwrap();
        let Output { status, stdout, stderr } = &output;
        assert_eq!(status.code(), Some(code), "{}\n{}", end(stdout), end(stderr));
        serde_json::from_slice(stdout).unwrap()
    }

    /// What a cut says that cannot be.
    pub(crate) fn say(&self, program: &Path, more: &[&str]) -> String {
        let output = self.cutting(program, more).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Begins a cut.
    pub(crate) fn start(&self, more: &[&str]) -> Child {
        let mut cut = self.cutting(&sibling("kdistro"), more);
        cut.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// What the attestation of a release says, its signature aside.
    pub(crate) fn attested(&self, number: u32) -> Value {
        let folder = format!("kubernetes-1-20/releases/{number}/attestations");
        let bundle = fs::read(self.store().join(folder).join("test-result.sigstore.json")).unwrap();
        let bundle: Value = serde_json::from_slice(&bundle).unwrap();
        let payload = bundle["dsseEnvelope"]["payload"].as_str().unwrap();
        let mut decode = command(Path::new("base64"));
        decode.arg("--decode").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut decode = decode.spawn().unwrap();
        std::io::Write::write_all(&mut decode.stdin.take().unwrap(), payload.as_bytes()).unwrap();
        let statement = decode.wait_with_output().unwrap().stdout;
        let statement: Value = serde_json::from_slice(&statement).unwrap();
        assert_eq!(statement["predicateType"], "https://in-toto.io/attestation/test-result/v0.1");
        let name = format!("kubernetes-1-20-{number}.yaml");
        assert_eq!(statement["subject"][0]["name"], name);
        statement["predicate"].clone()
    }

    /// Verifies a release by its documents, assets and attestations.
    pub(crate) fn verify(&self, number: u32, code: i32) {
        let mut verify = command(&sibling("kdistro-verify"));
        verify.arg("--key").arg(self.store().join("keys/release.pub"));
        let manifest = format!("kubernetes-1-20/kubernetes-1-20-{number}.yaml");
        let output = verify.arg(self.store().join(manifest)).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    }

    pub(crate) fn index(&self) -> String {
        fs::read_to_string(self.store().join("releasechannels/1-20.yaml")).unwrap()
    }

    /// How many announcements were made.
    pub(crate) fn announced(&self) -> usize {
        fs::read_dir(self.folder().join("announcements")).map_or(0, Iterator::count)
    }

    /// What is there of clusters of the gate.
    pub(crate) fn clusters(&self) -> Vec<PathBuf> {
        let list = |folder: PathBuf| {
            let found = fs::read_dir(folder).into_iter().flatten();
            found.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
        };
        let homes = list(self.home.join("gate")).into_iter();
        homes.flat_map(|home| list(home.join("clusters"))).collect()
    }

    /// Waits until something is so, for five minutes.
    #[expect(clippy::unused_self, reason = "it is the scene that changes")]
    pub(crate) fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_mins(5);
        while !is_so() {
            assert!(Instant::now() < end, "never: {what}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The last lines of what a program said: where the first ones are thousands, nobody sees them.
fn end(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let lines: Vec<_> = said.lines().filter(|line| !line.contains("\"publishing ")).collect();
    lines.get(lines.len().saturating_sub(60)..).unwrap_or_default().join("\n")
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A program that cargo builds beside the tests.
pub(crate) fn sibling(name: &str) -> PathBuf {
    let program = env::current_exe().unwrap();
    let program = program.parent().unwrap().parent().unwrap().join(name);
    assert!(program.is_file(), "{} is missing: build the whole workspace", program.display());
    program
}

#[expect(clippy::disallowed_methods, reason = "tests start real programs")]
fn command(program: &Path) -> Command {
    Command::new(program)
}
