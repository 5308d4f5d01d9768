//! A control group for one step: memory and processes limited and counted, where this host lets us have one.
//!
//! Both layouts occur: one hierarchy a controller (v1), and one for all (v2), there only below a group that was
//! delegated to us. Nothing here is needed to run a step; what is missing is told.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;

use crate::spec::Limits;

const PREFIX: &str = "kdistro-step-";

/// The groups one step is in: one under v2, one a controller under v1.
pub(crate) struct Group {
    memory: Result<Folder, String>,
    processes: Result<Folder, String>,
}

/// A group's folder. It is removed when this is dropped; it must be empty of processes by then.
struct Folder {
    path: PathBuf,
    unified: bool,
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Under v2 both controllers share one folder: the second removal finds nothing.
        let _ = fs::remove_dir(&self.path);
    }
}

impl Group {
    /// Makes what can be made. Never fails: a reason stands where a group is missing.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            memory: Folder::new("memory")
                .and_then(|folder| folder.limit_memory(limits.memory_bytes)),
            processes: Folder::new("pids")
                .and_then(|folder| folder.limit_processes(limits.processes)),
        }
    }

    /// Puts a process, and all that it will start, into the groups.
    pub(crate) fn join(&mut self, process: Pid) {
        for controller in [&mut self.memory, &mut self.processes] {
            let Ok(folder) = controller else { continue };
            if let Err(error) = fs::write(folder.path.join("cgroup.procs"), process.to_string()) {
                *controller = Err(format!("cannot join {}: {error}", folder.path.display()));
            }
        }
    }

    /// Says what limits memory, or why nothing does.
    pub(crate) fn memory(&self) -> Result<String, String> {
        told(&self.memory)
    }

    /// Says what limits processes, or why nothing does.
    pub(crate) fn processes(&self) -> Result<String, String> {
        told(&self.processes)
    }

    /// The most memory ever held at once, in bytes.
    pub(crate) fn peak_memory(&self) -> Option<u64> {
        let folder = self.memory.as_ref().ok()?;
        let name = if folder.unified { "memory.peak" } else { "memory.max_usage_in_bytes" };
        fs::read_to_string(folder.path.join(name)).ok()?.trim().parse().ok()
    }

    /// Whether the kernel killed a process because the memory limit was reached.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        let Ok(folder) = &self.memory else { return false };
        folder.counter(
            if folder.unified { "memory.events" } else { "memory.oom_control" },
            "oom_kill",
        ) > 0
    }

    /// Whether a process could not be started because the process limit was reached.
    pub(crate) fn is_out_of_processes(&self) -> bool {
        self.processes.as_ref().is_ok_and(|folder| folder.counter("pids.events", "max") > 0)
    }
}

fn told(controller: &Result<Folder, String>) -> Result<String, String> {
    match controller {
        Ok(folder) => Ok(format!("control group v{}", if folder.unified { 2 } else { 1 })),
        Err(reason) => Err(reason.clone()),
    }
}

impl Folder {
    /// Makes the group in the first place that lets us.
    fn new(controller: &str) -> Result<Self, String> {
        let membership = read("/proc/self/cgroup")?;
        let mounts = read("/proc/self/mountinfo")?;
        let places = places(&membership, &mounts, controller);
        let mut reason = None;
        for place in places {
            match place.enter(controller) {
                Ok(folder) => return Ok(folder),
                // The first place is the likeliest, so its reason is the one to tell.
                Err(error) => reason = reason.or(Some(error)),
            }
        }
        Err(reason.unwrap_or_else(|| {
            format!("no control group hierarchy has the {controller} controller")
        }))
    }

    fn limit_memory(self, bytes: u64) -> Result<Self, String> {
        let (limit, with_swap, swap) = if self.unified {
            ("memory.max", "memory.swap.max", 0)
        } else {
            ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", bytes)
        };
        self.write(limit, bytes)?;
        // Missing where the kernel counts no swap.
        let _ = self.write(with_swap, swap);
        if self.unified {
            let _ = self.write("memory.oom.group", 1);
        }
        Ok(self)
    }

    fn limit_processes(self, count: u64) -> Result<Self, String> {
        // The engine and its child are in the group as well.
        self.write("pids.max", count.saturating_add(2))?;
        Ok(self)
    }

    fn write(&self, name: &str, value: u64) -> Result<(), String> {
        let path = self.path.join(name);
        fs::write(&path, value.to_string())
            .map_err(|error| format!("cannot write {}: {error}", path.display()))
    }

    fn counter(&self, file: &str, name: &str) -> u64 {
        fs::read_to_string(self.path.join(file)).map_or(0, |text| counter(&text, name))
    }
}

/// A folder below which a group may be made.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    parent: PathBuf,
    unified: bool,
}

impl Place {
    fn enter(&self, controller: &str) -> Result<Folder, String> {
        if self.unified {
            let has = read(self.parent.join("cgroup.controllers"))?
                .split_ascii_whitespace()
                .any(|name| name == controller);
            if !has {
                return Err(format!(
                    "the {controller} controller is not delegated to {}",
                    self.parent.display()
                ));
            }
            // Only the topmost group and groups without processes may pass controllers on; elsewhere it is done already.
            let _ = fs::write(self.parent.join("cgroup.subtree_control"), format!("+{controller}"));
        }
        let path = self.parent.join(format!("{PREFIX}{}", Pid::this()));
        sweep(&self.parent);
        match fs::create_dir(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(format!("cannot make {}: {error}", path.display())),
        }
        let folder = Folder { path, unified: self.unified };
        let sign = folder.path.join(if controller == "memory" && !self.unified {
            "memory.limit_in_bytes".to_owned()
        } else {
            format!("{controller}.max")
        });
        if sign.exists() {
            Ok(folder)
        } else {
            Err(format!("{} passes no {controller} controller on", self.parent.display()))
        }
    }
}

/// Removes groups whose supervisor was killed. A group that still holds a process cannot be removed.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        if owner.is_some_and(|owner| !Path::new("/proc").join(owner).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Lists where a group with this controller could be made: v1 in our own group; v2 in our own or the one above (a v2
/// group with processes in it cannot have limited groups below, but its delegated parent can).
fn places(membership: &str, mounts: &str, controller: &str) -> Vec<Place> {
    let mut places = Vec::new();
    for line in membership.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(own)) = (fields.next(), fields.next()) else { continue };
        let unified = controllers.is_empty();
        if !unified && !controllers.split(',').any(|name| name == controller) {
            continue;
        }
        let Some(folder) =
            mounts.lines().find_map(|mount| mounted(mount, unified, controller, own))
        else {
            continue;
        };
        let above = folder.parent().filter(|_| unified && own != "/").map(Path::to_path_buf);
        places.push(Place { parent: folder, unified });
        places.extend(above.map(|parent| Place { parent, unified }));
    }
    places
}

/// Reads one line of mountinfo: returns where our group `own` is, if the line mounts the hierarchy asked for.
fn mounted(line: &str, unified: bool, controller: &str, own: &str) -> Option<PathBuf> {
    let (place, system) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, point) = (place.next()?, place.next()?);
    let mut system = system.split(' ');
    let (kind, options) = (system.next()?, system.nth(1)?);
    let fits = if unified {
        kind == "cgroup2"
    } else {
        kind == "cgroup" && options.split(',').any(|option| option == controller)
    };
    let below = Path::new(own).strip_prefix(root).ok()?;
    fits.then(|| Path::new(point).join(below))
}

fn counter(text: &str, name: &str) -> u64 {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    text.lines().find_map(value).unwrap_or(0)
}

fn read(path: impl AsRef<Path>) -> Result<String, String> {
    let path = path.as_ref();
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "30 24 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n31 24 0:27 / /sys/fs/cgroup/cpu,pids rw - cgroup cgroup rw,cpu,pids\n32 24 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn finds_the_group_in_a_hierarchy_of_its_own() {
        let membership = "9:name=systemd:/\n4:memory:/a/b\n2:cpu,pids:/\n0::/\n";
        let found = places(membership, V1, "memory");
        assert_eq!(
            found.first(),
            Some(&Place { parent: "/sys/fs/cgroup/memory/a/b".into(), unified: false })
        );
        let found = places(membership, V1, "pids");
        assert_eq!(
            found.first(),
            Some(&Place { parent: "/sys/fs/cgroup/cpu,pids/".into(), unified: false })
        );
    }

    #[test]
    fn tries_the_unified_group_and_the_one_above() {
        let mounts = "29 23 0:25 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = places("0::/user.slice/user-1.slice/app.scope\n", mounts, "memory");
        let parents: Vec<_> = found.iter().map(|place| place.parent.to_str().unwrap()).collect();
        assert_eq!(
            parents,
            [
                "/sys/fs/cgroup/user.slice/user-1.slice/app.scope",
                "/sys/fs/cgroup/user.slice/user-1.slice"
            ]
        );
        assert!(found.iter().all(|place| place.unified));
    }

    #[test]
    fn a_group_outside_what_is_mounted_is_none() {
        let mounts = "29 23 0:25 /docker/x /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
        assert_eq!(places("0::/elsewhere\n", mounts, "memory"), []);
        assert_eq!(places("", "", "memory"), []);
    }

    #[test]
    fn reads_a_counter_by_its_whole_name() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(counter(text, "oom_kill"), 3);
        assert_eq!(counter(text, "max"), 0);
    }
}
