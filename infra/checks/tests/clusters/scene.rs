//! A real cluster from a real release, and checks of it.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::MutexGuard,
    time::Duration,
};

use kdistro_checks::{Order, Outcome, Report, run};
use kdistro_devcluster::{
    Cluster, ComponentName, DevclusterError, Release, Source, bring, bring_tests, packages,
};
use kdistro_verify::{
    check::{Scope, TrustSource},
    trust::PublicKey,
};

/// How long a check of a broken cluster may take: of the API alone, and with pods.
const SOON: [Duration; 2] = [Duration::from_secs(8), Duration::from_secs(25)];

/// A cluster in a folder that ends with it.
pub(crate) struct Scene {
    _turn: MutexGuard<'static, ()>,
    folder: tempfile::TempDir,
    pub(crate) cluster: Cluster,
    pub(crate) release: Release,
    pub(crate) debian: PathBuf,
}

impl Scene {
    /// Starts a cluster.
    pub(crate) fn new(node: bool) -> Self {
        let begin = Self::begin();
        let release = bring(&source(), (&begin.1.path().join("releases"), node), &mut |_| {});
        Self::start(begin, release.unwrap(), node)
    }

    /// Starts a cluster with a node that has what upstream's tests need; none where the release has no such tests.
    pub(crate) fn with_tests() -> Option<Self> {
        let begin = Self::begin();
        let release = match bring_tests(&source(), &begin.1.path().join("releases"), &mut |_| {}) {
            Err(DevclusterError::Lacks { .. }) => return None,
            release => release.unwrap(),
        };
        let scene = Self::start(begin, release, true);
        scene.cluster.bring_image_of_tests(&scene.release, &scene.debian).unwrap();
        Some(scene)
    }

    fn begin() -> (MutexGuard<'static, ()>, tempfile::TempDir) {
        (kdistro_testbed::turn(), tempfile::tempdir().unwrap())
    }

    fn start(
        (turn, folder): (MutexGuard<'static, ()>, tempfile::TempDir),
        release: Release,
        node: bool,
    ) -> Self {
        let debian = if node { packages().unwrap() } else { PathBuf::from("/") };
        let name = "checked".to_owned();
        let order =
            kdistro_devcluster::Order { name, node, release: release.clone(), bound: false };
        let program = Path::new(env!("CARGO_BIN_EXE_kdistro-checks")).with_file_name("devcluster");
        assert!(program.is_file(), "build it first: cargo build -p kdistro-devcluster");
        let cluster = Cluster::start(folder.path(), (&program, &debian), &order, &mut |_| {});
        Self { _turn: turn, folder, cluster: cluster.unwrap(), release, debian }
    }

    /// Our own checks.
    pub(crate) fn order(&self) -> Order {
        let release = Some(self.release.name.clone());
        Order { release, ..Order::new(self.cluster.kubeconfig()) }
    }

    /// Runs our own checks.
    pub(crate) fn check(&self) -> Report {
        run(&self.order(), &mut |_| {}).unwrap()
    }

    /// Runs our own checks of a cluster that is broken.
    fn check_broken(&self) -> Report {
        let [api, pods] = SOON;
        let limit = if self.cluster.state().node { pods } else { api };
        run(&Order { limit, ..self.order() }, &mut |_| {}).unwrap()
    }

    /// Runs our own checks while components are stopped.
    pub(crate) fn check_without(&self, components: &[ComponentName]) -> Report {
        for &component in components {
            self.cluster.stop(component).unwrap();
        }
        let report = self.check_broken();
        for &component in components {
            self.cluster.launch(component, &self.release, &self.debian).unwrap();
            self.cluster.await_health(component).unwrap();
        }
        report
    }

    /// Runs our own checks while an object is there that breaks the cluster.
    pub(crate) fn check_with(&self, object: &str) -> Report {
        self.with(object, Self::check_broken)
    }

    /// Runs checks while an object is there.
    pub(crate) fn with<T>(&self, object: &str, check: impl FnOnce(&Self) -> T) -> T {
        let path = self.write("object.json", object);
        self.cluster.kubectl(&["apply", "--filename", &path]).unwrap();
        let report = check(self);
        // Some objects go with others.
        self.cluster.kubectl(&["delete", "--ignore-not-found", "--filename", &path]).unwrap();
        report
    }

    /// Writes a file; returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// The path of a file.
    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Namespaces of runs, and definitions of resources, that are there.
    pub(crate) fn left(&self) -> String {
        let left =
            self.cluster.kubectl(&["get", "namespaces,customresourcedefinitions", "--output=name"]);
        let left = String::from_utf8(left.unwrap()).unwrap();
        left.lines().filter(|line| line.contains("kdistro-checks")).collect()
    }

    /// Starts a resolver in the cluster, which ends with it.
    pub(crate) fn resolve(&self, address: &str) {
        let mut python = self.cluster.command_inside("python3").unwrap();
        python.args(["-c", include_str!("resolver.py"), address]).stdout(Stdio::piped());
        let stdout = python.spawn().unwrap().stdout.unwrap();
        let mut said = String::new();
        BufReader::new(stdout).read_line(&mut said).unwrap();
        assert_eq!(said, "listens\n");
    }

    /// Runs a program in the cluster.
    pub(crate) fn inside(&self, program: &str, arguments: &[&str]) {
        let status = self.cluster.command_inside(program).unwrap().args(arguments).status();
        assert!(status.unwrap().success(), "{program} {arguments:?}");
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = Cluster::end(self.folder.path(), "checked");
    }
}

fn source() -> Source {
    let store = kdistro_testbed::releases().unwrap().join("store");
    let key = fs::read_to_string(store.join("keys/release.pub")).unwrap();
    let key = PublicKey::from_pem(&key).unwrap();
    let manifest = store.join("kubernetes-1-20/kubernetes-1-20-1.yaml").display().to_string();
    Source {
        manifest,
        store: None,
        trust: TrustSource { key, trusted_root: None },
        proxy: None,
        scope: Scope::Documents,
    }
}

/// Runs the program.
#[expect(clippy::disallowed_methods, reason = "the program is tested")]
pub(crate) fn program(arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_kdistro-checks"));
    program.args(arguments).env_remove("KUBECONFIG").output().unwrap()
}

/// The names of the checks with such an outcome.
pub(crate) fn names(report: &Report, is_it: fn(&Outcome) -> bool) -> Vec<&str> {
    let found = report.results.iter().filter(|one| is_it(&one.outcome));
    found.map(|one| one.name.as_str()).collect()
}

pub(crate) fn passed(outcome: &Outcome) -> bool {
    *outcome == Outcome::Passed
}

pub(crate) fn failed(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Failed(_))
}

pub(crate) fn skipped(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Skipped(_))
}

/// Why a check failed.
pub(crate) fn why<'a>(report: &'a Report, name: &str) -> &'a str {
    let found = report.results.iter().find(|one| one.name == name).unwrap();
    match &found.outcome {
        Outcome::Failed(why) | Outcome::Skipped(why) => why,
        Outcome::Passed => "",
    }
}
