//! Adds up how much disk some folders use.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;

/// The least that one name counts, so that empty files and folders are not free.
const LEAST: u64 = 4096;

/// Returns the bytes on disk below the folders. What vanishes meanwhile counts nothing; hard links count once.
pub(crate) fn usage(folders: &[PathBuf]) -> u64 {
    let mut linked = BTreeSet::new();
    let mut waiting: Vec<PathBuf> = folders.to_vec();
    let mut sum = 0_u64;
    while let Some(folder) = waiting.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            // DirEntry::metadata does not follow links.
            let Ok(found) = entry.metadata() else { continue };
            if found.is_dir() {
                waiting.push(entry.path());
            }
            if found.nlink() > 1 && !found.is_dir() && !linked.insert(found.ino()) {
                continue;
            }
            sum = sum.saturating_add(found.blocks().saturating_mul(512).max(LEAST));
        }
    }
    sum
}

/// Returns the bytes of files that no folder lists any more, but that one of the processes holds open, on the file
/// systems of the folders.
pub(crate) fn held(processes: &[Pid], folders: &[PathBuf]) -> u64 {
    let devices: BTreeSet<u64> = folders
        .iter()
        .filter_map(|folder| fs::metadata(folder).ok())
        .map(|found| found.dev())
        .collect();
    let mut seen = BTreeSet::new();
    let mut sum = 0_u64;
    for process in processes {
        let Ok(open) = fs::read_dir(format!("/proc/{process}/fd")) else { continue };
        for file in open.flatten() {
            let Ok(found) = fs::metadata(file.path()) else { continue };
            if found.is_file()
                && found.nlink() == 0
                && devices.contains(&found.dev())
                && seen.insert((found.dev(), found.ino()))
            {
                sum = sum.saturating_add(found.blocks().saturating_mul(512));
            }
        }
    }
    sum
}

/// Returns the free bytes of the file system that a folder is on.
pub(crate) fn free(folder: &Path) -> Option<u64> {
    let found = nix::sys::statvfs::statvfs(folder).ok()?;
    Some(found.blocks_available().saturating_mul(found.fragment_size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_every_name_and_each_hard_link_once() {
        let folder = tempfile::tempdir().unwrap();
        let of = || usage(&[folder.path().to_owned()]);
        assert_eq!(of(), 0);
        fs::write(folder.path().join("a"), vec![1; 100_000]).unwrap();
        let one = of();
        assert!((100_000..200_000).contains(&one), "{one}");
        fs::hard_link(folder.path().join("a"), folder.path().join("b")).unwrap();
        assert_eq!(of(), one);
        fs::create_dir(folder.path().join("d")).unwrap();
        fs::write(folder.path().join("d/empty"), "").unwrap();
        assert!(of() >= one + 2 * LEAST);
    }

    #[test]
    fn finds_removed_files_that_are_held() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gone");
        fs::write(&path, vec![1; 100_000]).unwrap();
        let open = fs::File::open(&path).unwrap();
        let of = || held(&[Pid::this()], &[folder.path().to_owned()]);
        let before = of();
        fs::remove_file(&path).unwrap();
        assert!(of() >= before + 100_000);
        drop(open);
    }

    #[test]
    fn a_link_does_not_lead_out() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/usr", folder.path().join("l")).unwrap();
        assert_eq!(usage(&[folder.path().to_owned()]), LEAST);
    }
}
