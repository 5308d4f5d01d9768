//! A small real cluster of the first of the two real releases.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kdistro_devcluster::{Cluster, Order, Release, Source, bring, packages};
use kdistro_verify::{
    check::{Scope, TrustSource},
    trust::PublicKey,
};

/// A cluster in a folder that ends with it.
pub(crate) struct Started {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) cluster: Cluster,
    pub(crate) release: Release,
    /// Where containerd lies.
    pub(crate) debian: PathBuf,
}

impl Started {
    /// Starts it; `node` says whether it gets a node.
    pub(crate) fn new(node: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let release = brought(1, folder.path(), node);
        let debian = if node { packages().unwrap() } else { PathBuf::from("/") };
        let order = Order { name: "dev".to_owned(), node, release: release.clone(), bound: false };
        let program = Path::new(env!("CARGO_BIN_EXE_kdistro-rollout")).with_file_name("devcluster");
        assert!(program.is_file(), "build it first: cargo build -p kdistro-devcluster");
        let place = (&*program, &*debian);
        let cluster = Cluster::start(folder.path(), place, &order, &mut |_| {}).unwrap();
        Self { folder, cluster, release, debian }
    }

    /// Writes a subscriber's file with this driver into its folder; returns it.
    pub(crate) fn subscriber(&self, driver: &str) -> PathBuf {
        let file = self.folder.path().join("rollout.yaml");
        fs::write(&file, subscriber(self.folder.path(), driver)).unwrap();
        file
    }

    /// The driver of the cluster itself.
    pub(crate) fn driver(&self) -> String {
        format!("driver: {{devcluster: {{name: dev, home: {}}}}}", self.folder.path().display())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = Cluster::end(self.folder.path(), "dev");
    }
}

/// The store of both releases.
pub(crate) fn store() -> PathBuf {
    kdistro_testbed::releases().unwrap().join("store")
}

/// The text of a subscriber's file that follows the channel, with its state in a folder.
pub(crate) fn subscriber(folder: &Path, driver: &str) -> String {
    let (store, home) = (store(), folder.display());
    let store = store.display();
    format!(
        "cluster: dev\nstore: {store}\nkey: {store}/keys/release.pub\nenvironment: local\nchannel: \"1-20\"\n\
         state: {home}/state\n{driver}\n"
    )
}

/// A release, with what a cluster needs of it below `folder`.
pub(crate) fn brought(number: u32, folder: &Path, node: bool) -> Release {
    let store = store();
    let key = fs::read_to_string(store.join("keys/release.pub")).unwrap();
    let manifest = store.join(format!("kubernetes-1-20/kubernetes-1-20-{number}.yaml"));
    let source = Source {
        manifest: manifest.display().to_string(),
        store: None,
        trust: TrustSource { key: PublicKey::from_pem(&key).unwrap(), trusted_root: None },
        proxy: None,
        scope: Scope::Documents,
    };
    bring(&source, (&folder.join("releases"), node), &mut |_| {}).unwrap()
}
