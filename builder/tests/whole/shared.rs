//! Folders that all tests share: the release of etcd and the CNI plugins, cut once, and the copy of the build
//! repository that it was cut from.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use kdistro_formats::release::Release;

use crate::run::{self, KDISTRO, go_settings, must, with};

/// The date of every release that is compared with another.
pub(crate) const DATE: &str = "2026-11-21T10:00:00Z";
/// The components that are cut here.
pub(crate) const PART: [&str; 6] = [
    "--component",
    "etcd-io/etcd",
    "--component",
    "containernetworking/plugins",
    "--platform",
    "linux/amd64",
];
/// The manifest's name in the store.
pub(crate) const MANIFEST: &str = "kubernetes-1-20/kubernetes-1-20-1.yaml";

/// A published release, and what it was cut with.
pub(crate) struct Shared {
    /// The build repository.
    pub(crate) repository: PathBuf,
    /// The home folder.
    pub(crate) home: PathBuf,
    /// A folder with the public key and nothing else.
    pub(crate) key: PathBuf,
}

impl Shared {
    pub(crate) fn store(&self) -> PathBuf {
        self.home.join("store")
    }

    pub(crate) fn manifest(&self) -> PathBuf {
        self.store().join(MANIFEST)
    }

    /// `kdistro` in the build repository with the shared home.
    pub(crate) fn kdistro(&self, arguments: &[&str]) -> Command {
        let mut command = with(KDISTRO, arguments);
        command.current_dir(&self.repository).arg("--home").arg(&self.home);
        command
    }

    /// The Go toolchain that built the release, as the build steps saw it.
    pub(crate) fn toolchain(&self) -> PathBuf {
        let trees = fs::read_dir(self.home.join("trees")).unwrap();
        let mut trees = trees.map(|entry| entry.unwrap().path());
        trees.find(|tree| tree.join("bin/go").is_file()).unwrap()
    }

    /// A copy of what a release's check reads: less the inputs, which are large, the definitions that all
    /// releases share, and the store's own lock.
    pub(crate) fn copy_of_release(&self) -> tempfile::TempDir {
        let folder = scratch("store");
        for entry in fs::read_dir(self.store()).unwrap() {
            let path = entry.unwrap().path();
            if !["inputs", "crds", ".kdistro-store"]
                .contains(&path.file_name().unwrap().to_str().unwrap())
            {
                copy(&path, folder.path());
            }
        }
        folder
    }
}

/// The folder of this run; no other run of these tests uses it at the same time.
pub(crate) fn work() -> &'static Path {
    static WORK: OnceLock<(PathBuf, File)> = OnceLock::new();
    let (path, _) = WORK.get_or_init(|| {
        let top = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let lock = File::create(top.join("whole.lock")).unwrap();
        // Who keeps the folder looks after it.
        if !keep() {
            lock.lock().unwrap();
        }
        let path = top.join("whole");
        if path.is_dir() && !keep() {
            fs::remove_dir_all(&path).unwrap();
        }
        fs::create_dir_all(&path).unwrap();
        (path, lock)
    });
    path
}

#[expect(clippy::disallowed_methods, reason = "a switch for whoever works on the tests")]
fn keep() -> bool {
    std::env::var_os("KDISTRO_TEST_KEEP").is_some()
}

/// A new folder that is removed when it is dropped.
pub(crate) fn scratch(name: &str) -> tempfile::TempDir {
    tempfile::Builder::new().prefix(&format!("{name}-")).tempdir_in(work()).unwrap()
}

/// Copies a file or folder with everything in it into another folder.
pub(crate) fn copy(from: &Path, into: &Path) {
    must(with("cp", ["-a", "--reflink=auto"]).arg(from).arg(into));
}

/// Runs git with no settings of the host's user, and with fixed dates and names.
pub(crate) fn git(folder: &Path, arguments: &[&str]) -> String {
    let date = "1700000000 +0000";
    let mut command = with("git", arguments);
    command
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs([("GIT_AUTHOR_NAME", "A"), ("GIT_AUTHOR_EMAIL", "a@example.org")])
        .envs([("GIT_COMMITTER_NAME", "C"), ("GIT_COMMITTER_EMAIL", "c@example.org")])
        .envs([("GIT_AUTHOR_DATE", date), ("GIT_COMMITTER_DATE", date)]);
    must(&mut command).trim_end().to_owned()
}

/// Makes a folder a git repository with everything committed.
pub(crate) fn commit_all(folder: &Path, message: &str) -> String {
    if !folder.join(".git").exists() {
        git(folder, &["init", "--quiet", "-b", "main"]);
    }
    git(folder, &["add", "--all"]);
    git(folder, &["commit", "--quiet", "--allow-empty", "-m", message]);
    git(folder, &["rev-parse", "HEAD"])
}

/// The release of etcd and the CNI plugins, which the first test that asks for it cuts.
pub(crate) fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let (repository, home) = (work().join("repository"), work().join("home"));
        let shared = Shared { repository, home, key: work().join("stranger/release.pub") };
        if !shared.repository.is_dir() {
            copy_repository(&shared.repository);
        }
        let cut = shared.kdistro(&["cut", "1-20", "--date", DATE]).args(PART).output().unwrap();
        run::Ran::of(&cut).expect(0).prints(&["1-20-1"]);
        fs::create_dir_all(shared.key.parent().unwrap()).unwrap();
        let key = must(&mut shared.kdistro(&["key", "show"]));
        fs::write(&shared.key, key).unwrap();
        shared
    })
}

/// Copies the declarative files, so that nobody changes them meanwhile and the tree is clean.
pub(crate) fn copy_repository(into: &Path) {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::create_dir_all(into.join("infra")).unwrap();
    for name in ["projects", "release-manifests", "patches"] {
        if top.join(name).is_dir() {
            copy(&top.join(name), into);
        }
    }
    copy(&top.join("infra/environments"), &into.join("infra"));
    commit_all(into, "the build repository");
}

/// A program with an empty environment but for the path, the proxy of Go modules, and a home folder of its own.
pub(crate) fn as_stranger(name: impl AsRef<std::ffi::OsStr>, home: &Path) -> Command {
    let mut command = run::program(name);
    command.env_clear().env("PATH", run::path()).env("HOME", home).current_dir(home);
    command.envs(go_settings().iter().map(|(name, value)| (name, value)));
    command
}

/// Lists every file below a folder by its path from there, sorted.
pub(crate) fn files(folder: &Path) -> Vec<String> {
    let (mut found, mut folders) = (Vec::new(), vec![(folder.to_owned(), String::new())]);
    while let Some((folder, prefix)) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.file_type().unwrap().is_dir() {
                folders.push((entry.path(), format!("{name}/")));
            } else {
                found.push(name);
            }
        }
    }
    found.sort();
    found
}

/// The manifest of the newest release in a home folder.
#[track_caller]
pub(crate) fn newest_release(home: &Path) -> Release {
    let store = home.join("store");
    assert!(store.is_dir(), "{} is no home folder in which something was cut", home.display());
    let names = files(&store).into_iter().filter(|name| {
        let (folder, file) = name.split_once('/').unwrap_or_default();
        let number = file.strip_prefix(folder).and_then(|rest| rest.strip_suffix(".yaml"));
        folder.starts_with("kubernetes-") && number.is_some()
    });
    let manifests = names.map(|name| {
        let text = fs::read_to_string(store.join(name)).unwrap();
        Release::from_yaml(&text).unwrap()
    });
    let newest = manifests.max_by_key(|release| release.spec.number);
    newest.unwrap_or_else(|| panic!("{} has no release", store.display()))
}
