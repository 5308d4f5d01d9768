//! What a process runs: the link to it, and its digest.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    os::{fd::OwnedFd, unix::fs::MetadataExt},
};

use kdistro_formats::Digest;
use kdistro_verify::hash;
use rustix::{fs::readlinkat, io::Errno};

/// The largest program that is read, in bytes. Those of a release have not a fifth of it, and a file may have holes without
/// end.
const LARGEST: u64 = 1 << 30;

/// Why the digest of a program is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unhashed {
    /// It cannot be read: why.
    Unread(String),
    /// It has so many bytes, which no program of a release has: it was not read, or not to its end.
    TooLarge(u64),
}

/// Programs by what the file system knows them by: each is hashed once a look.
pub(super) type Hashed = BTreeMap<(u64, u64), Digest>;

/// Finds the link to what a process runs; returns its name in the folder of the process, and what it says.
///
/// The first thread has none once it ended, and the others live on.
///
/// Source: proc(5), `/proc/[pid]/exe`.
pub(super) fn link(id: u32, folder: &OwnedFd) -> Result<(String, String), Errno> {
    let read = |name: String| {
        let link = readlinkat(folder, &name, Vec::new())?;
        Ok((name, String::from_utf8_lossy(link.as_bytes()).into_owned()))
    };
    let first = read("exe".to_owned());
    if first != Err(Errno::NOENT) {
        return first;
    }
    let threads = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    let threads = threads.filter_map(|thread| thread.file_name().into_string().ok());
    let mut links = threads.map(|thread| read(format!("task/{thread}/exe")));
    links.find(|link| !matches!(link, Err(Errno::NOENT | Errno::SRCH))).unwrap_or(first)
}

/// Hashes an open program, where it was not hashed before.
pub(super) fn digest(program: File, hashed: &mut Hashed) -> Result<Digest, Unhashed> {
    let unread = |error: io::Error| Unhashed::Unread(error.to_string());
    let metadata = program.metadata().map_err(unread)?;
    let key = (metadata.dev(), metadata.ino());
    if let Some(digest) = hashed.get(&key) {
        return Ok(*digest);
    }
    if metadata.len() > LARGEST {
        return Err(Unhashed::TooLarge(metadata.len()));
    }
    // What it says of its size need not be so.
    let (digest, size) = hash::sha256_of(program.take(LARGEST + 1)).map_err(unread)?;
    if size > LARGEST {
        return Err(Unhashed::TooLarge(size));
    }
    hashed.insert(key, digest);
    Ok(digest)
}
