//! A real cluster that somebody else changes is left alone.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use jiff::{SignedDuration, Timestamp};
use kdistro_devcluster::{Cluster, Order, Source, bring};
use kdistro_rollout::lease::{LENGTH, Lease, LeaseError};
use kdistro_verify::{check::TrustSource, trust::PublicKey};
use serde_json::{Value, json};

/// A cluster of the first release, and its subscriber's file, in a folder that ends with it.
struct Scene {
    folder: tempfile::TempDir,
    cluster: Cluster,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = kdistro_testbed::releases().unwrap().join("store");
        let key = fs::read_to_string(store.join("keys/release.pub")).unwrap();
        let source = Source {
            manifest: store.join("kubernetes-1-20/kubernetes-1-20-1.yaml").display().to_string(),
            store: None,
            trust: TrustSource { key: PublicKey::from_pem(&key).unwrap(), trusted_root: None },
            proxy: None,
        };
        let releases = folder.path().join("releases");
        let release = bring(&source, (&releases, false), &mut |_| {}).unwrap();
        let order = Order { name: "dev".to_owned(), node: false, release };
        let program = Path::new(env!("CARGO_BIN_EXE_kdistro-rollout")).with_file_name("devcluster");
        assert!(program.is_file(), "build it first: cargo build -p kdistro-devcluster");
        let place = (&*program, Path::new("/"));
        let cluster = Cluster::start(folder.path(), place, &order, &mut |_| {}).unwrap();
        let (store, home) = (store.display(), folder.path().display());
        let text = format!(
            "cluster: dev\nstore: {store}\nkey: {store}/keys/release.pub\nenvironment: local\nchannel: \"1-20\"\n\
             driver: {{devcluster: {{name: dev, home: {home}}}}}\nstate: {home}/state\n"
        );
        fs::write(folder.path().join("rollout.yaml"), text).unwrap();
        Self { folder, cluster }
    }

    #[expect(clippy::disallowed_methods, reason = "the program is tested")]
    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let mut program = Command::new(env!("CARGO_BIN_EXE_kdistro-rollout"));
        program.args(arguments).current_dir(self.folder.path());
        let Output { status, stdout, stderr } = program.arg("--state=state").output().unwrap();
        (status.code().unwrap(), String::from_utf8([stdout, stderr].concat()).unwrap())
    }

    fn lease(&self, holder: &str) -> Lease {
        Lease::of_devcluster(self.cluster.clone(), holder.to_owned())
    }

    /// What the cluster has of the lease.
    fn spec(&self) -> Value {
        let get = ["--namespace=kube-system", "get", "lease", "kdistro-rollout", "--output=json"];
        let object: Value = serde_json::from_slice(&self.cluster.kubectl(&get).unwrap()).unwrap();
        object["spec"].clone()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = Cluster::end(self.folder.path(), "dev");
    }
}

#[test]
fn one_of_two_has_the_lease_until_it_is_given_back_or_has_run_out() {
    let scene = Scene::new();
    let now: Timestamp = "2026-11-22T02:00:00Z".parse().unwrap();
    let (mine, other) = (scene.lease("mine"), scene.lease("other"));
    mine.take(now).unwrap();
    mine.take(now).unwrap();
    let expected = json!({
        "holderIdentity": "mine", "leaseDurationSeconds": 900, "renewTime": "2026-11-22T02:00:00.000000Z",
    });
    assert_eq!(scene.spec(), expected);
    let error = other.take(now).unwrap_err();
    let said = error.to_string();
    assert!(
        said.starts_with(
            "`mine` changes the cluster, at least until 2026-11-22T02:15:00Z\nhelp:  "
        ),
        "{said}"
    );
    // Nobody gives back what is another's.
    other.give_back(now).unwrap();
    assert_eq!(scene.spec(), expected);
    other.take(now + LENGTH).unwrap();
    let late = mine.take(now + LENGTH + SignedDuration::from_secs(1));
    assert!(matches!(late, Err(LeaseError::Held { holder, .. }) if holder == "other"));
    other.give_back(now).unwrap();
    mine.take(now).unwrap();
    mine.give_back(now).unwrap();

    // Both at once, again and again: never both.
    for _ in 0..5 {
        let take = |name: String| {
            let lease = scene.lease(&name);
            std::thread::spawn(move || lease.take(now).is_ok())
        };
        let names = ["a", "b", "c"];
        let taken = names.map(|name| take(name.to_owned())).map(|it| it.join().unwrap());
        let had: Vec<_> = names.iter().zip(taken).filter(|(_, taken)| *taken).collect();
        assert_eq!(had.len(), 1, "{had:?}");
        assert_eq!(scene.spec()["holderIdentity"], *had[0].0);
        scene.lease(had[0].0).give_back(now).unwrap();
    }
    a_cluster_that_somebody_else_changes_is_left_alone(&scene);
}

fn a_cluster_that_somebody_else_changes_is_left_alone(scene: &Scene) {
    let other = scene.lease("somebody");
    other.take(Timestamp::now()).unwrap();
    let (code, said) = scene.run(&["once"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("error: `somebody` changes the cluster, at least until "), "{said}");
    let (_, history) = scene.run(&["history"]);
    assert!(!history.contains("began"), "{history}");
    assert!(scene.cluster.status().is_healthy());
    // Who was there an hour ago and is not heard of any more holds nobody up.
    other.take(Timestamp::now() - SignedDuration::from_hours(1)).unwrap();
    let (code, said) = scene.run(&["once"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.starts_with("1-20-2 runs\n"), "{said}");
    assert_eq!(scene.spec()["holderIdentity"], Value::Null, "it is given back");
}
