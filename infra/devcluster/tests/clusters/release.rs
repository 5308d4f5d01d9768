//! The release that the tests run: cut once, by the program that cuts releases.

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

pub(crate) const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

/// A published release.
pub(crate) struct Published {
    pub(crate) name: String,
    pub(crate) store: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) manifest: PathBuf,
}

impl Published {
    /// The folder of a component's artifacts in a store that has the release.
    pub(crate) fn artifact(&self, store: &Path, component: &str) -> PathBuf {
        let (channel, number) = self.name.rsplit_once('-').unwrap();
        let folder = format!("kubernetes-{channel}/releases/{number}/artifacts/{component}");
        let mut versions = store.join(folder).read_dir().unwrap();
        versions.next().unwrap().unwrap().path()
    }
}

/// The release; it is cut when it is asked for first.
pub(crate) fn published() -> &'static Published {
    static PUBLISHED: OnceLock<Published> = OnceLock::new();
    PUBLISHED.get_or_init(|| {
        let store = kdistro_testbed::releases().unwrap().join("store");
        let key = store.join("keys/release.pub");
        let manifest = store.join("kubernetes-1-20/kubernetes-1-20-1.yaml");
        assert!(manifest.is_file(), "{} is missing", manifest.display());
        Published { name: "1-20-1".to_owned(), store, key, manifest }
    })
}
