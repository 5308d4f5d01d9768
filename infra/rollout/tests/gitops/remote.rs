//! A bare repository that others push to, too, with a subscriber's kustomization in it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use kdistro_rollout::{
    driver::Gitops,
    policy::{self, Length},
};

use crate::store;

/// The subscriber's own file, with what only people read.
pub(crate) const KUSTOMIZATION: &str = "# ours: do not touch
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: kube-system  # where it all lives
resources: [proxy.yaml]
components: [kdistro-release] # the release that runs
";

const PROXY: &str = "apiVersion: apps/v1
kind: DaemonSet
metadata: {name: kube-proxy}
spec:
  selector: {matchLabels: {app: kube-proxy}}
  template:
    metadata: {labels: {app: kube-proxy}}
    spec:
      containers:
      - {name: kube-proxy, image: \"registry.kdistro.dev/kubernetes/kube-proxy:any\"}
      - {name: other, image: \"registry.example/other:v1\"}
";

/// The folder of the kustomization.
pub(crate) const PATH: &str = "clusters/dev";

/// A bare repository in a folder that ends with it.
pub(crate) struct Remote {
    pub(crate) folder: tempfile::TempDir,
}

impl Remote {
    /// One whose branch `main` has a kustomization.
    pub(crate) fn new() -> Self {
        let remote = Self { folder: tempfile::tempdir().unwrap() };
        remote.git(&["init", "--quiet", "--bare", "--initial-branch=main"]);
        let work = remote.folder.path().join("work");
        let place = remote.repository();
        git(remote.folder.path(), &["clone", "--quiet", &place, &work.display().to_string()]);
        remote.push(&[("kustomization.yaml", KUSTOMIZATION), ("proxy.yaml", PROXY)]);
        remote
    }

    pub(crate) fn repository(&self) -> String {
        self.folder.path().join("remote.git").display().to_string()
    }

    /// Runs git in it.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let folder = self.folder.path().join("remote.git");
        fs::create_dir_all(&folder).unwrap();
        git(&folder, arguments)
    }

    /// Somebody else's clone.
    pub(crate) fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// Lets somebody else write files of the kustomization's folder.
    pub(crate) fn push(&self, files: &[(&str, &str)]) {
        let work = self.work();
        for (name, text) in files {
            let file = work.join(PATH).join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        self.push_all();
    }

    /// Lets somebody else commit and push whatever lies in the clone.
    pub(crate) fn push_all(&self) {
        git(&self.work(), &["add", "--all"]);
        git(&self.work(), &["commit", "--quiet", "--message", "by hand"]);
        git(&self.work(), &["push", "--quiet", "origin", "HEAD:main"]);
    }

    /// What a file of the kustomization's folder holds.
    pub(crate) fn show(&self, file: &str) -> String {
        self.git(&["show", &format!("main:{PATH}/{file}")])
    }

    /// What was said of each commit, the newest first.
    pub(crate) fn log(&self) -> Vec<String> {
        let log = self.git(&["log", "--format=%s", "main"]);
        log.lines().map(str::to_owned).collect()
    }

    /// Lets a script run before a push is taken.
    pub(crate) fn hook(&self, script: &str) {
        let hook = self.folder.path().join("remote.git/hooks/pre-receive");
        fs::create_dir_all(hook.parent().unwrap()).unwrap();
        // git forbids hooks to change branches, unless they have forgotten where they are.
        let free =
            "unset GIT_QUARANTINE_PATH GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES";
        self.script(&hook, &format!("{free}\n{script}"));
    }

    /// Writes a program.
    pub(crate) fn script(&self, file: &Path, script: &str) -> PathBuf {
        let file = self.folder.path().join(file);
        fs::write(&file, format!("#!/bin/sh\nset -eu\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        file
    }

    /// How a subscriber's file names it; `wait` is what says that the cluster is there.
    pub(crate) fn place(&self, wait: &[&str]) -> policy::Gitops {
        policy::Gitops {
            repository: self.repository(),
            path: PATH.to_owned(),
            branch: "main".to_owned(),
            wait: wait.iter().map(|&word| word.to_owned()).collect(),
            timeout: Length::from_secs(5),
            author: policy::Author::default(),
            registry: None,
        }
    }

    /// The driver, with both releases.
    pub(crate) fn driver(&self, place: policy::Gitops) -> Gitops {
        let releases = [1, 2].map(store::proven).map(|one| (one.digest, one.manifest));
        Gitops::new(place, releases, self.folder.path())
    }
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut git = command("git");
    git.args(["-c", "user.name=me", "-c", "user.email=me@localhost"]);
    let output = git.args(arguments).current_dir(folder).output().unwrap();
    said(&output, arguments)
}

/// What a program wrote that did what it was to do.
pub(crate) fn said(output: &Output, arguments: &[&str]) -> String {
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {wrong}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "tests start real programs")]
pub(crate) fn command(program: &str) -> Command {
    Command::new(program)
}
