//! The processes of this machine whose programs are called as those of a release, and the digest of what each really runs.
//!
//! What is hashed is the open program, `/proc/<id>/exe`: it is there also when the file has been replaced or deleted. In a
//! container it is the one there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    os::{fd::OwnedFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
};

use kdistro_formats::Digest;
use kdistro_verify::hash;
use rustix::fs::{Mode, OFlags, openat, readlinkat};

/// What the kernel appends to the path of a program whose file is gone.
///
/// Source: proc(5), `/proc/[pid]/exe`.
const DELETED: &str = " (deleted)";

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub id: u32,
    /// Where its program is, as its own mounts have it; only the beginning of the name where nobody may know more.
    pub path: PathBuf,
    /// Whether that file was deleted or replaced since.
    pub is_deleted: bool,
    /// The digest of what it runs, or why that is not known.
    pub digest: Result<Digest, String>,
}

/// Programs by what the file system knows them by: each is hashed once a look.
type Hashed = BTreeMap<(u64, u64), Digest>;

/// Lists processes and hashes the programs of those that `is_asked` is true for; returns them, by id, and how many others
/// there are. With `below` it is only that process and what it has started.
///
/// `is_asked` is given a path, or only the beginning of a name where it may not be known.
pub fn processes(
    below: Option<u32>,
    is_asked: &dyn Fn(&Path) -> bool,
) -> io::Result<(Vec<Process>, usize)> {
    let ids = match below {
        Some(first) => descendants(first)?,
        None => ids()?,
    };
    let (mut found, mut others, mut hashed) = (Vec::new(), 0, Hashed::new());
    for id in ids {
        match process(id, is_asked, &mut hashed) {
            Ok(Some(process)) => found.push(process),
            Ok(None) => others += 1,
            // It ended meanwhile, or is the kernel's own.
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok((found, others))
}

fn process(
    id: u32,
    is_asked: &dyn Fn(&Path) -> bool,
    hashed: &mut Hashed,
) -> io::Result<Option<Process>> {
    // Who is asked by this stays the same, also when the id is given to another.
    let folder: OwnedFd = File::open(format!("/proc/{id}"))?.into();
    let link = match readlinkat(&folder, "exe", Vec::new()) {
        Ok(link) => String::from_utf8_lossy(link.as_bytes()).into_owned(),
        Err(rustix::io::Errno::ACCESS) => return hidden(id, is_asked),
        Err(error) => return Err(error.into()),
    };
    let kept = link.strip_suffix(DELETED);
    let (path, is_deleted) = (PathBuf::from(kept.unwrap_or(&link)), kept.is_some());
    if !is_asked(&path) {
        return Ok(None);
    }
    let file = match openat(&folder, "exe", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(error) if is_gone(&error.into()) => return Err(error.into()),
        Err(error) => {
            return Ok(Some(Process { id, path, is_deleted, digest: Err(error.to_string()) }));
        }
    };
    let metadata = file.metadata()?;
    let digest = match hashed.get(&(metadata.dev(), metadata.ino())) {
        Some(digest) => Ok(*digest),
        None => hash::sha256_of(file).map(|(digest, _)| digest).map_err(|error| error.to_string()),
    };
    if let Ok(digest) = &digest {
        hashed.insert((metadata.dev(), metadata.ino()), *digest);
    }
    Ok(Some(Process { id, path, is_deleted, digest }))
}

/// A process of which only the beginning of its program's name may be known.
fn hidden(id: u32, is_asked: &dyn Fn(&Path) -> bool) -> io::Result<Option<Process>> {
    let name = read(id, "comm")?;
    let path = PathBuf::from(name.trim_end());
    let digest = Err("only its owner and root may look at it".to_owned());
    Ok(is_asked(&path).then_some(Process { id, path, is_deleted: false, digest }))
}

fn ids() -> io::Result<BTreeSet<u32>> {
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir("/proc")? {
        ids.extend(entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(ids)
}

/// A process and what it has started, what those have started, and so on.
pub(crate) fn descendants(first: u32) -> io::Result<BTreeSet<u32>> {
    let mut parents = BTreeMap::new();
    for id in ids()? {
        match read(id, "stat") {
            Ok(stat) => parents.extend(parent(&stat).map(|parent| (id, parent))),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let is_below = |id: &u32| {
        let chain = std::iter::successors(Some(*id), |id| parents.get(id).copied());
        // Nobody is its own ancestor, but what was read is not of one moment.
        chain.take(parents.len() + 1).any(|id| id == first)
    };
    Ok(parents.keys().copied().filter(is_below).collect())
}

/// What the kernel says of a process. Its name may be any bytes.
fn read(id: u32, file: &str) -> io::Result<String> {
    let bytes = fs::read(format!("/proc/{id}/{file}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Who started a process. The name before it may hold anything, but the last bracket is its end.
///
/// Source: proc(5), `/proc/[pid]/stat`.
fn parent(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

fn is_gone(error: &io::Error) -> bool {
    let gone =
        [rustix::io::Errno::NOENT, rustix::io::Errno::SRCH].map(rustix::io::Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| gone.contains(&code))
}

#[cfg(test)]
mod tests {
    use std::{os::unix::ffi::OsStrExt, process::Command};

    use super::*;

    #[test]
    fn the_parent_is_read_behind_any_name() {
        assert_eq!(parent("12 (a) (b) 7) S 3 12 12 0"), Some(3));
        assert_eq!(parent("12 (a"), None);
    }

    #[test]
    fn this_process_is_found_and_hashed_and_is_below_itself() {
        let own = std::env::current_exe().unwrap();
        // Other tests may begin others below it.
        let (found, _) = processes(Some(std::process::id()), &|path| path == own).unwrap();
        let (digest, _) = hash::sha256_of(File::open(&own).unwrap()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].digest, Ok(digest));
        assert!(processes(None, &|_| false).unwrap().1 > 1);
    }

    /// A process whose name is not UTF-8.
    #[expect(clippy::disallowed_methods, reason = "a test starts a program")]
    fn unreadable() -> (tempfile::TempDir, std::process::Child) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(std::ffi::OsStr::from_bytes(b"kube\xfflet"));
        // By a program: what this one has open while another test begins a process cannot be run.
        let copied = Command::new("cp").arg("/usr/bin/sleep").arg(&path).status().unwrap();
        assert!(copied.success());
        (folder, Command::new(path).arg("600").spawn().unwrap())
    }

    #[test]
    fn a_name_that_is_not_text_hides_no_process() {
        let (folder, mut child) = unreadable();
        let own = std::process::id();
        let found = processes(Some(own), &|path| path.starts_with(folder.path()));
        let seen = hidden(child.id(), &|name| name.to_string_lossy() == "kube\u{fffd}let");
        child.kill().unwrap();
        child.wait().unwrap();
        let ids: Vec<_> = found.unwrap().0.iter().map(|process| process.id).collect();
        assert_eq!(ids, [child.id()]);
        assert_eq!(seen.unwrap().unwrap().id, child.id());
    }
}
