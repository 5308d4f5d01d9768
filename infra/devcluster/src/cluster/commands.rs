//! Programs that work on a cluster: kubectl from outside, others inside of its namespaces.

use std::{fs, path::Path, process::Command, thread, time::Instant};

use super::{Cluster, HEALTHY, LOOK, Result, supervisor_id};
use crate::{
    DevclusterError,
    component::{CONTAINERD, ComponentName},
    host,
    release::Release,
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
        let path = self.folder.join("apply.json");
        fs::write(&path, manifests).map_err(DevclusterError::io("write", &path))?;
        let path = path.display().to_string();
        self.kubectl(&["apply", "--filename", &path]).map(drop)
    }

    pub(super) fn import_images(&self, release: &Release, debian: &Path) -> Result<()> {
        let ctr = debian.join("usr/bin/ctr").display().to_string();
        let end = Instant::now() + HEALTHY;
        let run = |arguments: &[&str]| {
            let mut inside = self.command_inside(&ctr)?;
            inside.args(["--address", CONTAINERD, "--namespace", "k8s.io"]).args(arguments);
            host::run(&mut inside)
        };
        while let Err(error) = run(&["version"]) {
            if Instant::now() > end || self.wrong_with(ComponentName::Containerd)?.is_some() {
                return Err(error);
            }
            thread::sleep(LOOK);
        }
        for name in release.images() {
            let archive = release.image(name).display().to_string();
            run(&["images", "import", &archive])?;
        }
        Ok(())
    }
}
