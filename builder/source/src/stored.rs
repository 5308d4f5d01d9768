//! Keeps what was fetched: named, checked by digest, and written so that a half file never has the final name.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use kdistro_formats::Digest;
use kdistro_verify::hash::{Hasher, sha256_of};

use crate::{command::Progress, mirror::wait_for_lock};

/// The folder under a destination in which one fetch at a time works.
const WORK: &str = ".fetching";

/// A file that could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// The file is not what was pinned.
    #[error("`{file}` has {found}, expected {expected}")]
    Digest {
        /// The file's name.
        file: String,
        /// What was pinned.
        expected: Digest,
        /// What was found.
        found: Digest,
    },
    /// The file system refused.
    #[error("cannot use {}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A destination that this process alone writes to, with a work folder that is removed at the end.
pub(crate) struct Destination<'a> {
    into: &'a Path,
    work: PathBuf,
    _lock: File,
}

impl<'a> Destination<'a> {
    /// Takes the destination, and removes what a killed run left in it.
    pub(crate) fn open(into: &'a Path, progress: Progress<'_>) -> Result<Self, StoredError> {
        fs::create_dir_all(into).map_err(file_error(into))?;
        let path = into.join(".lock");
        let lock = wait_for_lock(&path, progress).map_err(file_error(&path))?;
        let work = std::path::absolute(into.join(WORK)).map_err(file_error(into))?;
        remove_tree(&work).map_err(file_error(&work))?;
        fs::create_dir_all(&work).map_err(file_error(&work))?;
        Ok(Self { into, work, _lock: lock })
    }

    pub(crate) fn work(&self) -> &Path {
        &self.work
    }

    /// Copies a fetched file to its name under the destination; `expected` is checked on the bytes that are written.
    pub(crate) fn keep(
        &self,
        from: &Path,
        name: &str,
        expected: Option<Digest>,
    ) -> Result<(PathBuf, Digest, u64), StoredError> {
        let to = self.into.join(name);
        let temporary = self.work.join("keeping");
        let copy = || {
            let mut writer = Hasher::new(File::create(&temporary)?);
            io::copy(&mut File::open(from)?, &mut writer)?;
            let (file, found, size) = writer.finish();
            file.sync_all()?;
            io::Result::Ok((found, size))
        };
        let (found, size) = copy().map_err(file_error(from))?;
        check(name, expected, found)?;
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(file_error(folder))?;
        }
        fs::rename(&temporary, &to).map_err(file_error(&to))?;
        Ok((to, found, size))
    }
}

impl Drop for Destination<'_> {
    fn drop(&mut self) {
        // What stays is removed by the next run.
        let _ = remove_tree(&self.work);
    }
}

/// Returns the size of a file that is there with the wanted digest.
pub(crate) fn present(path: &Path, digest: Digest) -> Option<u64> {
    let (found, size) = File::open(path).and_then(sha256_of).ok()?;
    (found == digest).then_some(size)
}

/// Refuses a file with another digest than the expected one.
pub(crate) fn check(
    file: &str,
    expected: Option<Digest>,
    found: Digest,
) -> Result<(), StoredError> {
    match expected {
        Some(expected) if expected != found => {
            Err(StoredError::Digest { file: file.to_owned(), expected, found })
        }
        _ => Ok(()),
    }
}

/// Removes a folder with everything in it; go makes its module folders read-only.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let Ok(found) = path.symlink_metadata() else { return Ok(()) };
    if !found.is_dir() {
        return fs::remove_file(path);
    }
    if found.permissions().mode() & 0o700 != 0o700 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    for entry in fs::read_dir(path)? {
        remove_tree(&entry?.path())?;
    }
    fs::remove_dir(path)
}

pub(crate) fn file_error(path: &Path) -> impl FnOnce(io::Error) -> StoredError {
    let path = path.to_path_buf();
    move |source| StoredError::File { path, source }
}

#[cfg(test)]
mod tests {
    use kdistro_verify::hash::sha256;

    use super::*;

    #[test]
    fn keeps_only_what_has_the_expected_digest_and_cleans_up() {
        let folder = tempfile::tempdir().unwrap();
        let (into, from) = (folder.path().join("into"), folder.path().join("from"));
        fs::write(&from, "abc").unwrap();
        // A killed run left a read-only folder.
        let left = into.join(WORK).join("a");
        fs::create_dir_all(&left).unwrap();
        fs::write(left.join("b"), "").unwrap();
        let mut read_only = fs::metadata(&left).unwrap().permissions();
        read_only.set_readonly(true);
        fs::set_permissions(&left, read_only).unwrap();
        let destination = Destination::open(&into, &|_| ()).unwrap();
        assert_eq!(fs::read_dir(destination.work()).unwrap().count(), 0);
        let error = destination.keep(&from, "x", Some(sha256(b"abd"))).unwrap_err();
        let (expected, found) = (sha256(b"abd"), sha256(b"abc"));
        assert_eq!(error.to_string(), format!("`x` has {found}, expected {expected}"));
        assert!(!into.join("x").exists());
        let kept = destination.keep(&from, "y/x", Some(found)).unwrap();
        assert_eq!(kept, (into.join("y/x"), found, 3));
        assert_eq!(present(&kept.0, found), Some(3));
        assert_eq!(present(&kept.0, expected), None);
        drop(destination);
        assert!(!into.join(WORK).exists());
    }
}
