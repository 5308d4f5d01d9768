//! The control groups of a cluster's node.
//!
//! Source: Linux, `admin-guide/cgroup-v1` and `cgroup-v2.rst`.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use kdistro_formats::failure;

use crate::DevclusterError;

type Result<T, E = DevclusterError> = std::result::Result<T, E>;

const ROOT: &str = "/sys/fs/cgroup";

/// The roots of all hierarchies: those of version 1, or the one of version 2.
fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        return vec![root.to_owned()];
    }
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.join("cgroup.procs").exists()).collect()
}

/// Whether the kubelet uses a hierarchy: version 2 is mounted beside version 1 for other purposes too.
fn is_used(hierarchy: &PathBuf) -> bool {
    hierarchy == Path::new(ROOT) || hierarchy.join("tasks").exists()
}

/// The controllers that the kubelet and runc insist on, by a file of a group that has it: of version 1, of version 2.
///
/// Source: Kubernetes, `pkg/kubelet/cm`, `validateSystemRequirements` and `supportedSubsystems`; runc,
/// `libcontainer/cgroups/fs/fs.go`: without `devices` it starts nothing.
const CONTROLLERS: [(&str, Option<&str>, Option<&str>); 6] = [
    ("cpu", Some("cpu.shares"), Some("cpu.weight")),
    ("cpuacct", Some("cpuacct.usage"), None),
    ("cpuset", Some("cpuset.cpus"), Some("cpuset.cpus")),
    ("devices", Some("devices.allow"), None),
    ("memory", Some("memory.limit_in_bytes"), Some("memory.max")),
    ("pids", Some("pids.max"), Some("pids.max")),
];

/// Makes a group in which the kubelet makes others.
pub(super) fn make(group: &str) -> Result<()> {
    make_all(group).map(drop).map_err(|why| DevclusterError::Unable {
        what: "run pods".to_owned(),
        why,
        help: "run this as root where control groups can be written, or start the cluster with --control-plane-only".to_owned(),
    })
}

/// Makes a group, looks whether it has what a node needs, and removes it.
pub(crate) fn try_out() -> Result<(), String> {
    let group = format!("kdistro-survey-{}", std::process::id());
    let made = make_all(&group).and_then(|folders| has_controllers(&folders));
    let removed = remove(&group).map_err(|error| failure::told(&error));
    made.and(removed)
}

fn make_all(group: &str) -> Result<Vec<PathBuf>, String> {
    let folders: Vec<_> =
        hierarchies().into_iter().filter(is_used).map(|root| root.join(group)).collect();
    if folders.is_empty() {
        return Err(format!("there are none in {ROOT}"));
    }
    for folder in &folders {
        let made = fs::create_dir(folder).and_then(|()| fill(folder));
        made.map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    }
    Ok(folders)
}

fn has_controllers(folders: &[PathBuf]) -> Result<(), String> {
    let is_second = folders.iter().any(|folder| folder.join("cgroup.controllers").exists());
    let lacking = CONTROLLERS.iter().filter(|(_, first, second)| {
        let file = if is_second { second } else { first };
        file.is_some_and(|file| !folders.iter().any(|folder| folder.join(file).exists()))
    });
    let lacking: Vec<_> = lacking.map(|(name, ..)| *name).collect();
    if lacking.is_empty() { Ok(()) } else { Err(format!("they lack {}", lacking.join(", "))) }
}

/// A new group of processors has none unless it is given some; one of version 2 hands on what it was given.
fn fill(folder: &Path) -> io::Result<()> {
    let parent = folder.parent().unwrap_or(folder);
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let (from, to) = (parent.join(file), folder.join(file));
        if from.exists() && to.exists() {
            fs::write(to, fs::read(from)?)?;
        }
    }
    let available = folder.join("cgroup.controllers");
    if available.exists() {
        for controller in fs::read_to_string(available)?.split_whitespace() {
            fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}"))?;
        }
    }
    Ok(())
}

/// Removes a group with all below it. Processes of its cluster are gone, or about to be.
pub(super) fn remove(group: &str) -> Result<()> {
    // Those that containerd made on its own, too.
    for folder in hierarchies().into_iter().map(|root| root.join(group)) {
        let mut tries = 0;
        while let Err(error) = remove_below(&folder) {
            tries += 1;
            if tries > 50 {
                return Err(DevclusterError::io("remove", &folder)(error));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(())
}

fn remove_below(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_below(&entry.path())?;
        }
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
