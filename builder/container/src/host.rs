//! Says what this host offers build containers: for `kdistro doctor`, with a way to fix what is missing.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{Pid, Uid};
use serde::Serialize;

use crate::outcome::{Finished, StepError};
use crate::run::run;
use crate::spec::{Limits, Mount, StepSpec};
use crate::{disk, probe};

/// How well the host does in one respect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// As it should be.
    Ok,
    /// Builds work, with less protection or comfort.
    Degraded,
    /// Builds do not work.
    Missing,
}

/// One thing that build containers need from the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// What it is about, such as `user namespaces`.
    pub name: String,
    /// How well the host does.
    pub state: State,
    /// What was found.
    pub explanation: String,
    /// What to do about it, where something should be done.
    pub fix: Option<String>,
}

const GIB: u64 = 1 << 30;
/// What a full cut needs on disk: sources, toolchains, caches and outputs.
const DISK_BYTES: u64 = 20 * GIB;
/// What linking Kubernetes needs.
const MEMORY_BYTES: u64 = 4 * GIB;
const OPEN_FILES: u64 = 4096;

/// Looks at this host, with a real container started in a folder that must exist. Nothing is left there.
pub fn host_report(folder: &Path) -> Vec<Fact> {
    let trial = trial(folder);
    let mut facts = vec![container(&trial), namespaces(), user()];
    if let Ok(finished) = &trial {
        facts.extend([limit(finished, "memory limit"), limit(finished, "process limit")]);
    }
    facts.extend([filter(), free_disk(folder), memory(), open_files()]);
    facts
}

fn fact(name: &str, state: State, explanation: impl Into<String>, fix: Option<&str>) -> Fact {
    Fact {
        name: name.to_owned(),
        state,
        explanation: explanation.into(),
        fix: fix.map(str::to_owned),
    }
}

/// Starts a container that does nothing.
fn trial(folder: &Path) -> Result<Finished, StepError> {
    let place = folder.join(format!("kdistro-doctor-{}", Pid::this()));
    let furnish = || {
        for name in ["", "root", "out", "scratch"] {
            fs::create_dir(place.join(name))?;
        }
        fs::write(place.join("probe"), probe::PROBE)?;
        fs::set_permissions(place.join("probe"), Permissions::from_mode(0o555))
    };
    let finished = furnish()
        .map_err(|error| StepError::engine(format!("preparing {}", place.display()), error))
        .and_then(|()| {
            run(&StepSpec {
                root: place.join("root"),
                mounts: vec![Mount {
                    host: place.join("probe"),
                    path: probe::PROBE_PATH.to_owned(),
                }],
                argv: vec![probe::PROBE_PATH.to_owned(), "nothing".to_owned()],
                env: BTreeMap::new(),
                directory: "/".to_owned(),
                limits: Limits {
                    seconds: 30,
                    memory_bytes: GIB,
                    processes: 64,
                    disk_bytes: GIB,
                    log_bytes: GIB,
                },
                out: place.join("out"),
                scratch: place.join("scratch"),
                log: place.join("log"),
            })
        });
    // What cannot be removed is in the caller's own folder and does no harm.
    let _ = fs::remove_dir_all(&place);
    finished
}

fn container(trial: &Result<Finished, StepError>) -> Fact {
    match trial {
        Ok(finished) => fact(
            "container",
            State::Ok,
            format!("a step that does nothing took {:.0?}", finished.wall),
            None,
        ),
        Err(error) => {
            let reason = error.to_string().lines().next().unwrap_or_default().to_owned();
            let fix = "see the lines below; inside another container, run it with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined` (and `systempaths=unconfined`), or use a virtual machine";
            fact("container", State::Missing, reason, Some(fix))
        }
    }
}

/// The switches by which distributions turn user namespaces off.
fn namespaces() -> Fact {
    const NAME: &str = "user namespaces";
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    if !Path::new("/proc/self/ns/user").exists() {
        return fact(
            NAME,
            State::Missing,
            "this kernel has none",
            Some("boot a kernel with CONFIG_USER_NS"),
        );
    }
    if number("/proc/sys/user/max_user_namespaces") == Some(0) {
        return fact(
            NAME,
            State::Missing,
            "none may be made (user.max_user_namespaces is 0)",
            Some("sysctl -w user.max_user_namespaces=10000"),
        );
    }
    let is_root = Uid::effective().is_root();
    for (path, off, fix) in [
        (
            "/proc/sys/kernel/unprivileged_userns_clone",
            0,
            "sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            1,
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for kdistro with `userns,`",
        ),
    ] {
        // Root drops to an unprivileged id before it makes one, so this stands in its way as well.
        if number(path) == Some(off) {
            let who =
                if is_root { "for the user id that steps run under" } else { "for ordinary users" };
            return fact(
                NAME,
                State::Missing,
                format!("switched off {who} ({path} is {off})"),
                Some(fix),
            );
        }
    }
    fact(NAME, State::Ok, "allowed", None)
}

fn user() -> Fact {
    let explanation = if Uid::effective().is_root() {
        format!("root; steps run under the unprivileged id {}", crate::world::STEP_ID)
    } else {
        "an ordinary user; steps run under the same id, in a user namespace".to_owned()
    };
    fact("user", State::Ok, explanation, None)
}

fn limit(finished: &Finished, name: &str) -> Fact {
    match finished.isolation.facts.iter().find(|fact| fact.name == name) {
        Some(found) if found.enforced => fact(name, State::Ok, found.how.clone(), None),
        found => {
            let why = found.map_or("unknown", |found| found.how.as_str());
            let fix = "run as root, or in a delegated control group: `systemd-run --user --scope -p Delegate=yes kdistro …`";
            fact(name, State::Degraded, format!("not enforced: {why}"), Some(fix))
        }
    }
}

fn filter() -> Fact {
    const NAME: &str = "system call filter";
    let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    if actions.split_ascii_whitespace().any(|action| action == "errno") {
        return fact(NAME, State::Ok, "seccomp", None);
    }
    fact(
        NAME,
        State::Missing,
        "this kernel has no seccomp filters",
        Some("boot a kernel with CONFIG_SECCOMP_FILTER"),
    )
}

fn free_disk(folder: &Path) -> Fact {
    let free = disk::free(folder).unwrap_or(0);
    let explanation = format!("{} GiB free at {}", free / GIB, folder.display());
    let fix = "free some space, or choose another place with `--home`";
    if free >= DISK_BYTES {
        fact("disk", State::Ok, explanation, None)
    } else {
        fact(
            "disk",
            State::Degraded,
            format!("{explanation}; a full cut wants {}", DISK_BYTES / GIB),
            Some(fix),
        )
    }
}

fn memory() -> Fact {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = text.lines().find_map(|line| {
        line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    });
    let bytes = kib.unwrap_or(0) * 1024;
    let explanation = format!("{} GiB available", bytes / GIB);
    if bytes >= MEMORY_BYTES {
        return fact("memory", State::Ok, explanation, None);
    }
    fact(
        "memory",
        State::Degraded,
        format!("{explanation}; linking Kubernetes wants {}", MEMORY_BYTES / GIB),
        Some("close other programs, or cut with `--fast` (etcd and CNI plugins only)"),
    )
}

fn open_files() -> Fact {
    let hard = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |limit| limit.1);
    let explanation = format!("a process may hold {hard} files open");
    if hard >= OPEN_FILES {
        return fact("open files", State::Ok, explanation, None);
    }
    fact(
        "open files",
        State::Degraded,
        explanation,
        Some("raise the hard limit: `ulimit -Hn 4096`"),
    )
}
