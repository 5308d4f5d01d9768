//! Finds and ends the processes below this one.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// How long to wait between two looks at processes that were just killed.
const PAUSE: Duration = Duration::from_millis(1);

/// Ends every process below this one and returns when none is left. The caller must be a child subreaper, so that
/// orphans come here; the first process of a PID namespace is only reaped after all others in it.
pub(crate) fn end_all() {
    while !reap() {
        for child in children(Pid::this()) {
            // It may have gone meanwhile.
            let _ = kill(child, Signal::SIGKILL);
        }
        sleep(PAUSE);
    }
}

/// Reaps what ended. True when no child is left.
fn reap() -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return false,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return true,
        }
    }
}

/// Lists the processes below this one, leaving out `skip` levels of children at the top.
pub(crate) fn below(skip: usize) -> Vec<Pid> {
    let mut level = vec![Pid::this()];
    let mut found = Vec::new();
    for depth in 0.. {
        level = level.into_iter().flat_map(children).collect();
        if level.is_empty() {
            break;
        }
        if depth >= skip {
            found.extend_from_slice(&level);
        }
    }
    found
}

/// Counts the threads of a process.
pub(crate) fn threads(process: Pid) -> u64 {
    fs::read_dir(format!("/proc/{process}/task")).map_or(0, |tasks| tasks.count() as u64)
}

fn children(process: Pid) -> Vec<Pid> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { return Vec::new() };
    let mut found = Vec::new();
    for task in tasks.flatten() {
        match fs::read_to_string(task.path().join("children")) {
            Ok(list) => {
                found.extend(list.split_ascii_whitespace().filter_map(|id| id.parse::<i32>().ok()));
            }
            // A kernel without these lists (CONFIG_PROC_CHILDREN), or the process is gone.
            Err(_) => return children_by_search(process),
        }
    }
    found.into_iter().map(Pid::from_raw).collect()
}

/// Finds children by asking every process for its parent.
fn children_by_search(parent: Pid) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    ids.map(Pid::from_raw).filter(|&process| parent_of(process) == Some(parent)).collect()
}

fn parent_of(process: Pid) -> Option<Pid> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name before it stands in brackets and may hold anything.
    let (_, after) = text.rsplit_once(") ")?;
    after.split(' ').nth(1)?.parse().ok().map(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a child to be found")]
    fn start() -> Child {
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap()
    }

    #[test]
    fn both_ways_find_the_same_children() {
        let mut child = start();
        let own = Pid::from_raw(i32::try_from(child.id()).unwrap());
        assert!(children(Pid::this()).contains(&own));
        assert!(children_by_search(Pid::this()).contains(&own));
        assert!(below(0).contains(&own));
        assert!(!below(1).contains(&own));
        assert_eq!(threads(own), 1);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(!children(Pid::this()).contains(&own));
    }
}
