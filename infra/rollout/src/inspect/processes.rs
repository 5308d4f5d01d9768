//! The processes of this machine whose programs are called as those of a release, and the digest of what each really runs.
//!
//! What is hashed is the open program, `/proc/<id>/exe`: it is there also when the file has been replaced or deleted. In a
//! container it is the one there. What cannot be known of one process hides none of the others.

mod program;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use kdistro_formats::Digest;
use rustix::{
    fs::{Mode, OFlags, openat},
    io::Errno,
};

pub use self::program::Unhashed;
use self::program::{Hashed, digest, link};

/// What the kernel appends to the path of a program whose file is gone.
///
/// Source: proc(5), `/proc/[pid]/exe`.
const DELETED: &str = " (deleted)";

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub id: u32,
    /// Where its program is, as its own mounts have it; only the beginning of the name where nobody may know more, and
    /// nothing where not even that is told.
    pub path: PathBuf,
    /// Whether that file was deleted or replaced since.
    pub is_deleted: bool,
    /// The digest of what it runs, or why that is not known.
    pub digest: Result<Digest, Unhashed>,
}

impl Process {
    fn unread(id: u32, path: PathBuf, why: String) -> Self {
        Self { id, path, is_deleted: false, digest: Err(Unhashed::Unread(why)) }
    }
}

/// Lists processes and hashes the programs of those that `is_asked` is true for; returns them, by id, and how many others
/// there are. With `below` it is only that process, what it has started, and what was begun in their namespaces.
///
/// `is_asked` is given a path, or only the beginning of a name where it may not be known.
pub fn processes(
    below: Option<u32>,
    is_asked: &dyn Fn(&Path) -> bool,
) -> io::Result<(Vec<Process>, usize)> {
    let ids = match below {
        Some(first) => inside(first)?,
        None => ids()?,
    };
    let (mut found, mut others, mut hashed) = (Vec::new(), 0, Hashed::new());
    for id in ids {
        match process(id, is_asked, &mut hashed) {
            Ok(Some(process)) => found.push(process),
            Ok(None) => others += 1,
            // It ended meanwhile, or is the kernel's own.
            Err(error) if is_gone(&error) => {}
            Err(error) => found.push(Process::unread(id, PathBuf::new(), error.to_string())),
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
    let (exe, link) = match link(id, &folder) {
        Ok(found) => found,
        Err(error) if is_gone(&error.into()) => return Err(error.into()),
        Err(error) => return hidden(id, error, is_asked),
    };
    let kept = link.strip_suffix(DELETED);
    let (path, is_deleted) = (PathBuf::from(kept.unwrap_or(&link)), kept.is_some());
    if !is_asked(&path) {
        return Ok(None);
    }
    let digest = match openat(&folder, exe, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(file) => digest(file.into(), hashed),
        Err(error) if is_gone(&error.into()) => return Err(error.into()),
        Err(error) => Err(Unhashed::Unread(error.to_string())),
    };
    Ok(Some(Process { id, path, is_deleted, digest }))
}

/// A process of which only the beginning of its program's name may be known.
fn hidden(id: u32, why: Errno, is_asked: &dyn Fn(&Path) -> bool) -> io::Result<Option<Process>> {
    let name = read(id, "comm")?;
    let path = PathBuf::from(name.trim_end());
    let why = match why {
        Errno::ACCESS => "only its owner and root may look at it".to_owned(),
        why => format!("where its program is cannot be told: {why}"),
    };
    Ok(is_asked(&path).then(|| Process::unread(id, path, why)))
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
        // Of one that ended meanwhile, or that may not be known, nobody says who started it.
        let stat = read(id, "stat").ok();
        parents.extend(stat.and_then(|stat| parent(&stat)).map(|parent| (id, parent)));
    }
    let is_below = |id: &u32| {
        let chain = std::iter::successors(Some(*id), |id| parents.get(id).copied());
        // Nobody is its own ancestor, but what was read is not of one moment.
        chain.take(parents.len() + 1).any(|id| id == first)
    };
    Ok(parents.keys().copied().filter(is_below).collect())
}

/// A process and what it has started, and what was begun from outside in a namespace of processes that they have and this
/// one has not, as by `nsenter`.
fn inside(first: u32) -> io::Result<BTreeSet<u32>> {
    // Of some only root may know it.
    let namespace = |id: &u32| fs::read_link(format!("/proc/{id}/ns/pid")).ok();
    let (own, mut found) = (namespace(&std::process::id()), descendants(first)?);
    loop {
        let theirs: BTreeSet<_> = found.iter().map(namespace).filter(|it| *it != own).collect();
        let is_in = |id: &u32| namespace(id).is_some_and(|it| theirs.contains(&Some(it)));
        let entered: Vec<_> = ids()?.difference(&found).copied().filter(is_in).collect();
        if entered.is_empty() {
            return Ok(found);
        }
        for id in entered {
            found.insert(id);
            found.extend(descendants(id)?);
        }
    }
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
    let gone = [Errno::NOENT, Errno::SRCH].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| gone.contains(&code))
}

#[cfg(test)]
mod tests;
