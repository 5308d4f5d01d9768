//! What this machine lacks for a node: each feature is tried for real, in namespaces that end with it.
//!
//! A cluster of a machine that lacks something has no node, and the rest of it runs; what only few pods need is told.

mod packets;
mod tries;

use std::{
    fmt, fs, io,
    path::Path,
    process::{Command, Output},
};

use kdistro_formats::failure;
use serde::{Deserialize, Serialize};

pub use self::tries::look;
use crate::{
    DevclusterError,
    cluster::{groups, refuse_hidden},
    host,
};

/// How the folder begins in which it is tried.
pub(crate) const FOLDER: &str = "survey-";

type Result<T, E = DevclusterError> = std::result::Result<T, E>;

/// Something that this machine lacks.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Missing {
    /// Its name.
    pub feature: String,
    /// What a node needs it for.
    pub needed_for: String,
    /// What was said when it was tried.
    pub why: String,
    /// What to do.
    pub help: String,
    /// Whether no node runs without it; else some pods lack something.
    pub required: bool,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { feature, needed_for, why, .. } = self;
        write!(f, "{feature}, needed for {needed_for}: {why}")
    }
}

/// A feature that may be missing.
#[derive(Clone, Copy)]
struct Feature {
    name: &'static str,
    needed_for: &'static str,
    help: &'static str,
    required: bool,
}

impl Feature {
    fn missing(&self, why: &str) -> Missing {
        Missing {
            feature: self.name.to_owned(),
            needed_for: self.needed_for.to_owned(),
            why: why.trim_end().to_owned(),
            help: self.help.to_owned(),
            required: self.required,
        }
    }
}

const ROOT: Feature = Feature {
    name: "root",
    needed_for: "containers",
    help: "run this as root, or with --control-plane-only",
    required: true,
};
const CAPABILITIES: Feature = Feature {
    name: "root's capabilities",
    needed_for: "containers",
    help: "run this as root outside of a container, or in a privileged one",
    required: true,
};
const GROUPS: Feature = Feature {
    name: "control groups",
    needed_for: "the kubelet, which keeps and limits pods in them",
    help: "mount them where they can be written (`mount -t cgroup2 none /sys/fs/cgroup`; in a container: one that is privileged), with all controllers (`/proc/cgroups`)",
    required: true,
};
const CONTAINERD: Feature = Feature {
    name: "containerd and runc",
    needed_for: "running containers",
    help: "install both, or have apt reach Debian's packages",
    required: true,
};

/// Tries what a node needs, in a folder below `home` and by `program` in new namespaces; returns what is missing, in the
/// order in which it was tried.
///
/// # Errors
///
/// When this machine has no namespaces for any cluster, or no folder can be made.
pub fn survey(program: &Path, home: &Path) -> Result<Vec<Missing>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(vec![ROOT.missing("this is an ordinary user")]);
    }
    let lacking = host::lacking_for_containers();
    let mut missing = Vec::new();
    if !lacking.is_empty() {
        missing.push(CAPABILITIES.missing(&format!("this process lacks {}", lacking.join(", "))));
    }
    missing.extend(groups::try_out().err().map(|why| GROUPS.missing(&why)));
    // Without root's own no namespace can be made that a node could be in.
    if host::is_root() {
        missing.extend(survey_inside(program, home)?);
    }
    Ok(missing)
}

/// Says that containerd could not be had.
pub fn without_containerd(error: &DevclusterError) -> Missing {
    CONTAINERD.missing(&failure::told(error).replace("\nhelp:  ", "; "))
}

fn survey_inside(program: &Path, home: &Path) -> Result<Vec<Missing>> {
    refuse_hidden(home, true)?;
    fs::create_dir_all(home).map_err(DevclusterError::io("make", home))?;
    let folder = tempfile::Builder::new().prefix(FOLDER).tempdir_in(home);
    let folder = folder.map_err(DevclusterError::io("make a folder in", home))?;
    let mut unshare = namespaces();
    unshare.arg(program).args(["survey", "--folder"]).arg(folder.path());
    let output = unshare.output().map_err(DevclusterError::io("start", "unshare"))?;
    let Output { stdout, stderr, .. } = output;
    serde_json::from_slice(&stdout).map_err(|_| DevclusterError::Unable {
        what: "have a cluster".to_owned(),
        why: String::from_utf8_lossy(&stderr).trim_end().to_owned(),
        help: "namespaces of networks, mounts and processes must be allowed".to_owned(),
    })
}

/// What starts a program in namespaces that end with it.
fn namespaces() -> Command {
    let mut unshare = host::command("unshare");
    unshare.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    unshare
}

/// An error of the system, with what it is about.
fn said(what: &str, error: &io::Error) -> String {
    format!("{what}: {error}")
}
