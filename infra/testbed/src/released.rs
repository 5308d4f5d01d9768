//! Real releases for tests of clusters: cut once by the program that cuts releases, and kept.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{TestbedError, host};

/// The projects that a cluster is made of.
pub const COMPONENTS: [&str; 3] =
    ["kubernetes/kubernetes", "etcd-io/etcd", "containernetworking/plugins"];

/// The project of upstream's tests.
pub const TESTS: &str = "kubernetes/kubernetes-test";

/// What says how a release is made.
const CONFIGURATION: [&str; 4] = ["infra/environments", "patches", "projects", "release-manifests"];

/// The patch that the second release has more.
const PATCH: &str = include_str!("released/etcd.patch");
const PATCH_FILE: &str = "patches/etcd-io/etcd/v3.4.23/0009-trial.patch";

const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };

/// Returns a home folder of `kdistro` with the releases 1-20-1 and 1-20-2 for this platform, the second with one more patch
/// of etcd: `store/` has both.
///
/// The first call cuts them, in about ten minutes on two cores, and needs `kdistro` beside the test's own programs. The
/// environment's `KDISTRO_TEST_RELEASE` names a home folder that has them already.
pub fn releases() -> Result<PathBuf, TestbedError> {
    if let Some(given) = host::variable("KDISTRO_TEST_RELEASE") {
        return Ok(given.into());
    }
    let folder = host::cache().join("releases");
    fs::create_dir_all(&folder).map_err(TestbedError::io("make", &folder))?;
    let _locked = host::lock(&folder.join("lock"))?;
    let (home, done) = (folder.join("home"), folder.join("done"));
    if !done.is_file() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        cut(&top, &home)?;
        let changed = folder.join("changed");
        copy_configuration(&changed)?;
        let patch = changed.join(PATCH_FILE);
        fs::write(&patch, PATCH).map_err(TestbedError::io("write", &patch))?;
        kdistro(&changed, &home, &["lock", "1-20"])?;
        cut(&changed, &home)?;
        fs::write(&done, "").map_err(TestbedError::io("write", &done))?;
    }
    Ok(home)
}

/// Copies what says how a release is made into a folder, where it can be changed.
pub fn copy_configuration(folder: &Path) -> Result<(), TestbedError> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    CONFIGURATION.iter().try_for_each(|name| copy(&top.join(name), &folder.join(name)))
}

fn cut(repository: &Path, home: &Path) -> Result<(), TestbedError> {
    let platform = format!("linux/{ARCHITECTURE}");
    let mut arguments = vec!["cut", "1-20", "--platform", &platform];
    let components = COMPONENTS.iter().chain([&TESTS]);
    arguments.extend(components.flat_map(|component| ["--component", component]));
    kdistro(repository, home, &arguments)
}

fn kdistro(repository: &Path, home: &Path, arguments: &[&str]) -> Result<(), TestbedError> {
    let program = host::sibling("kdistro");
    let mut command = host::command(&program);
    command.current_dir(repository).arg("--home").arg(home).arg("--quiet").args(arguments);
    host::prepare(&mut command, |said| TestbedError::Preparation {
        action: "cut a release".to_owned(),
        program: program.display().to_string(),
        said,
    })
}

fn copy(from: &Path, to: &Path) -> Result<(), TestbedError> {
    fs::create_dir_all(to).map_err(TestbedError::io("make", to))?;
    for entry in fs::read_dir(from).map_err(TestbedError::io("list", from))? {
        let path = entry.map_err(TestbedError::io("list", from))?.path();
        let new = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &new)?;
        } else {
            fs::copy(&path, &new).map_err(TestbedError::io("copy", &path))?;
        }
    }
    Ok(())
}
