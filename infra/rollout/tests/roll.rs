//! Roll-outs on real clusters: from one real release to the next, and back when the next one fails.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use kdistro_devcluster::{Cluster, ComponentName, Order, Release, Source, bring, packages};
use kdistro_rollout::{
    driver::Devcluster,
    history::{Event, History, Target, What},
    roll::{Outcome, Roller},
};
use kdistro_verify::{check::TrustSource, trust::PublicKey};

/// Clusters and their releases in a folder that ends with them.
struct Scene {
    folder: tempfile::TempDir,
    node: bool,
    one: Release,
    two: Release,
    debian: PathBuf,
}

impl Scene {
    fn new(node: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = kdistro_testbed::releases().unwrap().join("store");
        let key = fs::read_to_string(store.join("keys/release.pub")).unwrap();
        let key = PublicKey::from_pem(&key).unwrap();
        let bring = |number: u32| {
            let manifest = store.join(format!("kubernetes-1-20/kubernetes-1-20-{number}.yaml"));
            let source = Source {
                manifest: manifest.display().to_string(),
                store: None,
                trust: TrustSource { key: key.clone(), trusted_root: None },
                proxy: None,
            };
            bring(&source, (&folder.path().join("releases"), node), &mut |_| {}).unwrap()
        };
        let (one, two) = (bring(1), bring(2));
        let debian = if node { packages().unwrap() } else { PathBuf::from("/") };
        Self { folder, node, one, two, debian }
    }

    fn start(&self) -> Cluster {
        let order = Order { name: "dev".to_owned(), node: self.node, release: self.one.clone() };
        let program = Path::new(env!("CARGO_BIN_EXE_kdistro-rollout")).with_file_name("devcluster");
        assert!(program.is_file(), "build it first: cargo build -p kdistro-devcluster");
        let started =
            Cluster::start(self.folder.path(), (&program, &self.debian), &order, &mut |_| {});
        started.unwrap()
    }

    /// A release that is like the second one but for a program.
    fn broken(&self, name: &str, program: &str) -> Release {
        let digest = kdistro_verify::hash::sha256(name.as_bytes());
        let folder = self.folder.path().join("releases").join(digest.hex());
        fs::create_dir_all(folder.join("bin")).unwrap();
        for inner in ["cni", "images"] {
            symlink(self.two.folder.join(inner), folder.join(inner)).unwrap();
        }
        for entry in fs::read_dir(self.two.folder.join("bin")).unwrap() {
            let path = entry.unwrap().path();
            symlink(&path, folder.join("bin").join(path.file_name().unwrap())).unwrap();
        }
        let path = folder.join("bin").join(name);
        fs::remove_file(&path).unwrap();
        symlink(program, path).unwrap();
        Release { name: "1-20-3".to_owned(), digest, folder, ..self.two.clone() }
    }

    fn roll(&self, cluster: &Cluster, to: &Release) -> (Outcome, Vec<Event>) {
        let releases = [self.one.clone(), self.two.clone(), to.clone()];
        let place = (self.debian.clone(), self.folder.path());
        let mut driver = Devcluster::new(cluster.clone(), releases, place);
        let history = History::open(&self.folder.path().join("history")).unwrap();
        let from = history.running().unwrap().unwrap_or_else(|| target(&self.one));
        let now = || Timestamp::UNIX_EPOCH;
        let mut say = |_: &Event| {};
        let mut roller =
            Roller { driver: &mut driver, history: &history, now: &now, say: &mut say };
        let outcome = roller.roll_out(&from, &target(to)).unwrap();
        (outcome, history.events().unwrap())
    }

    fn assert_runs(cluster: &Cluster, release: &Release) {
        let status = cluster.status();
        assert!(status.is_healthy(), "{status:?}");
        let runs = cluster.runs().unwrap();
        for component in cluster.components() {
            if component != ComponentName::Containerd {
                assert_eq!(runs[&component], release.digest, "{component}");
            }
        }
        cluster.canary(release).unwrap();
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = Cluster::end(self.folder.path(), "dev");
    }
}

fn target(release: &Release) -> Target {
    Target { name: release.name.parse().unwrap(), digest: release.digest }
}

fn whats(events: &[Event]) -> Vec<What> {
    events.iter().map(|event| event.what).collect()
}

fn there_and_back(node: bool) {
    let scene = Scene::new(node);
    let cluster = scene.start();
    let (outcome, events) = scene.roll(&cluster, &scene.two);
    assert_eq!(outcome, Outcome::Kept, "{events:#?}");
    Scene::assert_runs(&cluster, &scene.two);
    let broken = ["kube-scheduler", "kube-apiserver"];
    for (name, program) in broken.map(|name| (name, "/bin/false")) {
        let (outcome, events) = scene.roll(&cluster, &scene.broken(name, program));
        let Outcome::RolledBack(why) = outcome else { panic!("{events:#?}") };
        assert!(why.starts_with(&format!("{name}: {name} ended (exit status: 1)")), "{why}");
        Scene::assert_runs(&cluster, &scene.two);
        assert!(whats(&events).ends_with(&[What::Held, What::RolledBack]), "{events:#?}");
    }
}

#[test]
fn a_control_plane_goes_to_the_next_release_and_back_from_one_that_fails() {
    there_and_back(false);
}

#[test]
#[expect(clippy::print_stdout, reason = "what was not tried is said")]
fn a_node_goes_to_the_next_release_and_back_from_one_that_fails() {
    if !rustix::process::geteuid().is_root() {
        println!("not tried: a node needs root");
        return;
    }
    there_and_back(true);
}
