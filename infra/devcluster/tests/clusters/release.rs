//! The release that the tests run: cut once, by the program that cuts releases.

use std::{
    env,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use crate::{DEVCLUSTER, command};

pub(crate) const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

/// What a cluster is made of.
const COMPONENTS: [&str; 3] =
    ["kubernetes/kubernetes", "etcd-io/etcd", "containernetworking/plugins"];

/// A published release.
pub(crate) struct Published {
    pub(crate) name: String,
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
        let home = given().unwrap_or_else(cut);
        let (name, store) = ("1-20-1".to_owned(), home.join("store"));
        let key = store.join("keys/release.pub");
        let manifest = store.join("kubernetes-1-20/kubernetes-1-20-1.yaml");
        assert!(manifest.is_file(), "{} is missing", manifest.display());
        Published { name, key, manifest }
    })
}

#[expect(clippy::disallowed_methods, reason = "a cut of Kubernetes may be there already")]
fn given() -> Option<PathBuf> {
    env::var_os("KDISTRO_TEST_RELEASE").map(PathBuf::from)
}

fn cut() -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cluster-release");
    let kdistro = Path::new(DEVCLUSTER).with_file_name("kdistro");
    assert!(kdistro.is_file(), "build it first: cargo build -p kdistro");
    let mut cut = command(kdistro.to_str().unwrap());
    cut.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    cut.arg("--home").arg(&home).args(["cut", "1-20", "--platform"]);
    cut.arg(format!("linux/{ARCHITECTURE}"));
    for component in COMPONENTS {
        cut.args(["--component", component]);
    }
    let output = cut.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    home
}
