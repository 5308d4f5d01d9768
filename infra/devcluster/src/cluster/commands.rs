//! Programs that work on a cluster: kubectl from outside, others inside of its namespaces.

use std::{fs, path::Path, process::Command, thread, time::Instant};

use super::{Cluster, HEALTHY, LOOK, Result, supervisor_id};
use crate::{
    DevclusterError,
    component::{CONTAINERD, ComponentName},
    host,
    release::{IMAGE_OF_TESTS, REGISTRY, Release, TESTS, image_name},
};

impl Cluster {
    /// Runs the release's kubectl as the cluster's administrator.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<Vec<u8>> {
        host::run(self.kubectl_command().args(arguments))
    }

    /// The release's kubectl as the cluster's administrator, to be given arguments.
    pub fn kubectl_command(&self) -> Command {
        let mut kubectl = host::command(self.state.release.program("kubectl"));
        kubectl.env("KUBECONFIG", self.kubeconfig());
        // What it finds out about the API server lies nowhere else.
        kubectl.env("HOME", &self.folder);
        kubectl
    }

    /// A program in the cluster's namespaces.
    pub fn command_inside(&self, program: &str) -> Result<Command> {
        let id = supervisor_id(&self.folder).ok_or_else(|| self.silent())?;
        let mut enter = host::command("nsenter");
        enter.args(["--target", &id.as_raw_nonzero().to_string(), "--net", "--mount", "--pid"]);
        if !host::is_root() {
            enter.args(["--user", "--preserve-credentials"]);
        }
        enter.arg("--").arg(program).env("KUBECONFIG", self.folder.join("admin.conf"));
        let mut path = self.state.release.folder.join("bin").into_os_string();
        path.push(":");
        path.push(host::path());
        enter.env("PATH", path);
        Ok(enter)
    }

    pub(super) fn apply(&self, manifests: &str) -> Result<()> {
        self.with_manifests(&["apply"], manifests)
    }

    /// Removes objects, those that are there.
    pub(super) fn take_away(&self, manifests: &str) -> Result<()> {
        self.with_manifests(&["delete", "--ignore-not-found"], manifests)
    }

    fn with_manifests(&self, verb: &[&str], manifests: &str) -> Result<()> {
        let path = self.folder.join("apply.json");
        fs::write(&path, manifests).map_err(DevclusterError::io("write", &path))?;
        let path = path.display().to_string();
        self.insist(&[verb, &["--filename", &path]].concat()).map(drop)
    }

    /// Runs kubectl, again while the API server cannot do it yet: one that has just come up, or found etcd again, answers
    /// that it is well before all of it is.
    pub(super) fn insist(&self, arguments: &[&str]) -> Result<Vec<u8>> {
        let end = Instant::now() + HEALTHY;
        loop {
            match self.kubectl(arguments) {
                Err(error) if error.may_pass() && Instant::now() < end => thread::sleep(LOOK),
                said => return said,
            }
        }
    }

    /// Waits until containerd answers.
    pub(super) fn await_containerd(&self, debian: &Path) -> Result<()> {
        let end = Instant::now() + HEALTHY;
        while let Err(error) = self.ctr(debian, &["version"]) {
            if Instant::now() > end || self.wrong_with(ComponentName::Containerd)?.is_some() {
                return Err(error);
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }

    pub(super) fn import_images(&self, release: &Release, debian: &Path) -> Result<()> {
        self.await_containerd(debian)?;
        for name in release.images() {
            let archive = release.image(name).display().to_string();
            self.ctr(debian, &["images", "import", &archive])?;
        }
        Ok(())
    }

    /// Gives the node the image of upstream's tests under the name by which they ask for it, in [`REGISTRY`].
    ///
    /// The release must have been brought with [`crate::bring_tests`].
    pub fn bring_image_of_tests(&self, release: &Release, debian: &Path) -> Result<()> {
        let registries = self.folder.join("registries.yaml");
        // Source: Kubernetes, `test/utils/image/manifest.go`, `RegistryList`.
        fs::write(&registries, format!("promoterE2eRegistry: {REGISTRY}\n"))
            .map_err(DevclusterError::io("write", &registries))?;
        let mut tests = host::command(release.program(TESTS));
        let listed = host::run(tests.arg("--list-images").env("KUBE_TEST_REPO_LIST", &registries))?;
        let start = format!("{REGISTRY}/{IMAGE_OF_TESTS}:");
        let listed = String::from_utf8_lossy(&listed);
        let wanted = listed.lines().map(str::trim).find(|name| name.starts_with(&start));
        let wanted = wanted.ok_or_else(|| DevclusterError::Lacks {
            release: release.name.clone(),
            what: format!("image {IMAGE_OF_TESTS} for its tests"),
            platform: format!("linux/{}", host::ARCHITECTURE),
        })?;
        let archive = release.image(IMAGE_OF_TESTS).display().to_string();
        self.ctr(debian, &["images", "import", &archive])?;
        let own = image_name(IMAGE_OF_TESTS, &release.name);
        self.ctr(debian, &["images", "tag", "--force", &own, wanted])
    }

    /// Runs containerd's own client.
    fn ctr(&self, debian: &Path, arguments: &[&str]) -> Result<()> {
        let ctr = debian.join("usr/bin/ctr").display().to_string();
        let mut inside = self.command_inside(&ctr)?;
        inside.args(["--address", CONTAINERD, "--namespace", "k8s.io"]).args(arguments);
        host::run(&mut inside).map(drop)
    }
}
