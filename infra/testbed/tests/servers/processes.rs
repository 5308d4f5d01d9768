//! What runs on this machine, and where it listens.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// All processes that name a folder in their arguments: those of its testbed.
pub(crate) fn of(folder: &Path) -> Vec<u32> {
    let folder = folder.to_str().unwrap();
    let entries = fs::read_dir("/proc").unwrap();
    let numbers = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let names_it = |number: &u32| {
        let arguments = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains(folder)
    };
    numbers.filter(names_it).collect()
}

/// The addresses at which processes listen, as the kernel writes them: `0100007F:1F90` is 127.0.0.1:8080.
pub(crate) fn listening(processes: &[u32]) -> Vec<String> {
    let mut addresses = BTreeMap::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let columns: Vec<&str> = line.split_whitespace().collect();
            // Source: proc(5), /proc/net/tcp; state 0A is LISTEN.
            if columns[3] == "0A" {
                addresses.insert(format!("socket:[{}]", columns[9]), columns[1].to_owned());
            }
        }
    }
    let files =
        processes.iter().filter_map(|number| fs::read_dir(format!("/proc/{number}/fd")).ok());
    let links = files.flatten().filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    links.filter_map(|link| addresses.remove(link.to_str()?)).collect()
}

/// Waits until no process of a testbed is left, nor its folder.
#[track_caller]
pub(crate) fn gone(folder: &Path) {
    let begin = Instant::now();
    while folder.exists() || !of(folder).is_empty() {
        let waited = begin.elapsed() < Duration::from_secs(10);
        assert!(waited, "left: {:?}, folder {}", of(folder), folder.exists());
        thread::sleep(Duration::from_millis(5));
    }
}
