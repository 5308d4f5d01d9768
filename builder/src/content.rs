//! The content store: files by digest, each written once. What is fetched or built goes through here.

use std::{
    fs::{self, File, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use kdistro_formats::Digest;
use kdistro_verify::hash::{self, Hasher, Hashes};
use rustix::fs::{Mode, OFlags};
use tempfile::NamedTempFile;

/// Files by digest, in `<root>/sha256/<first two hex digits>/<hex>`.
#[derive(Clone, Debug)]
pub struct ContentStore {
    root: PathBuf,
}

/// Content that cannot be kept or given.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// The file system refused.
    #[error("cannot use {}", path.display())]
    Io {
        /// Which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Bytes that are not those that were asked for.
    #[error("{name} has digest {found}, expected {expected}")]
    Digest {
        /// What it is.
        name: String,
        /// What was found.
        found: Digest,
        /// What was asked for.
        expected: Digest,
    },
    /// Content that changed where it is kept, and was removed.
    #[error(
        "{} has digest {found}, expected {expected}\nhelp:  it is removed: run this again, and it is fetched or made anew",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What was found.
        found: Digest,
        /// What is kept there.
        expected: Digest,
    },
    /// Nothing has this digest.
    #[error("{digest} is not in the content store")]
    Missing {
        /// The digest.
        digest: Digest,
    },
}

impl ContentStore {
    /// Uses a folder, which is made when something is stored.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Where content with this digest lies, or would.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        let shard = hex.get(..2).unwrap_or_default();
        self.root.join("sha256").join(shard).join(&hex)
    }

    /// True when the content is there.
    pub fn has(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    /// Opens content; what is read must still be hashed by whoever relies on it.
    pub fn open(&self, digest: &Digest) -> Result<File, ContentError> {
        let path = self.path(digest);
        File::open(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ContentError::Missing { digest: *digest },
            _ => ContentError::Io { path, source },
        })
    }

    /// Reads content whole and checks its digest.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>, ContentError> {
        let mut bytes = Vec::new();
        let read = self.open(digest)?.read_to_end(&mut bytes);
        read.map_err(failed(&self.path(digest)))?;
        let found = hash::sha256(&bytes);
        if found != *digest {
            return Err(self.damaged(digest, found));
        }
        Ok(bytes)
    }

    /// Hashes content and compares; content that changed on disk is removed, so that it is fetched again.
    pub fn check(&self, digest: &Digest) -> Result<(), ContentError> {
        let read = hash::sha256_of(self.open(digest)?);
        let (found, _) = read.map_err(failed(&self.path(digest)))?;
        if found == *digest { Ok(()) } else { Err(self.damaged(digest, found)) }
    }

    /// Hashes content in both ways in one read, and compares as [`ContentStore::check`] does.
    pub fn hashes(&self, digest: &Digest) -> Result<Hashes, ContentError> {
        let hashes = hash::hashes_of(self.open(digest)?).map_err(failed(&self.path(digest)))?;
        if hashes.sha256 == *digest { Ok(hashes) } else { Err(self.damaged(digest, hashes.sha256)) }
    }

    fn damaged(&self, expected: &Digest, found: Digest) -> ContentError {
        let path = self.path(expected);
        // Removing it is best effort: the error is about the digest.
        let _ = fs::remove_file(&path);
        ContentError::Damaged { path, found, expected: *expected }
    }

    /// Stores bytes.
    pub fn insert_bytes(&self, bytes: &[u8]) -> Result<Digest, ContentError> {
        let digest = hash::sha256(bytes);
        if !self.has(&digest) {
            let mut new = self.create()?;
            new.write_all(bytes).map_err(failed(&self.root))?;
            new.keep()?;
        }
        Ok(digest)
    }

    /// Takes a file into the store: it is moved where possible, and copied otherwise.
    pub fn take(&self, file: &Path) -> Result<(Digest, u64), ContentError> {
        let opened = open_plain(file).map_err(failed(file))?;
        let (digest, size) = hash::sha256_of(opened).map_err(failed(file))?;
        let path = self.path(&digest);
        if path.is_file() {
            return Ok((digest, size));
        }
        // A file of another user (a build step's) must not stay his: he could change it later.
        let named = fs::symlink_metadata(file).map_err(failed(file))?;
        let ours = fs::metadata(&self.root).is_ok_and(|root| root.uid() == named.uid());
        let parent = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(parent).map_err(failed(parent))?;
        if ours && named.nlink() == 1 && fs::rename(file, &path).is_ok() {
            fs::set_permissions(&path, Permissions::from_mode(0o644)).map_err(failed(&path))?;
            return Ok((digest, size));
        }
        let mut new = self.create()?;
        let mut source = open_plain(file).map_err(failed(file))?;
        io::copy(&mut source, &mut new).map_err(failed(file))?;
        let (found, size) = new.keep()?;
        if found == digest {
            return Ok((digest, size));
        }
        Err(ContentError::Digest { name: file.display().to_string(), found, expected: digest })
    }

    /// Takes a file that must have a certain digest.
    pub fn take_expected(&self, file: &Path, expected: &Digest) -> Result<(), ContentError> {
        let (found, _) = self.take(file)?;
        if found == *expected {
            return Ok(());
        }
        Err(ContentError::Digest { name: file.display().to_string(), found, expected: *expected })
    }

    /// Begins new content, whose digest is known when all is written.
    pub fn create(&self) -> Result<NewContent<'_>, ContentError> {
        let folder = self.root.join("new");
        fs::create_dir_all(&folder).map_err(failed(&folder))?;
        let file = NamedTempFile::new_in(&folder).map_err(failed(&folder))?;
        Ok(NewContent { store: self, writer: Hasher::new(file) })
    }
}

/// Content that is being written.
pub struct NewContent<'a> {
    store: &'a ContentStore,
    writer: Hasher<NamedTempFile>,
}

impl NewContent<'_> {
    /// Keeps what was written; returns digest and length.
    pub fn keep(self) -> Result<(Digest, u64), ContentError> {
        let (file, digest, size) = self.writer.finish();
        let path = self.store.path(&digest);
        let parent = path.parent().unwrap_or(&self.store.root);
        fs::create_dir_all(parent).map_err(failed(parent))?;
        let mode = Permissions::from_mode(0o644);
        file.as_file().set_permissions(mode).map_err(failed(file.path()))?;
        file.persist(&path).map_err(|error| ContentError::Io { path, source: error.error })?;
        Ok((digest, size))
    }
}

impl Write for NewContent<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// Opens a file that must not be a link: a build step may leave one that leads anywhere.
fn open_plain(path: &Path) -> io::Result<File> {
    let file = rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK,
        Mode::empty(),
    )?;
    let file = File::from(file);
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::other("not a plain file"))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> ContentError {
    let path = path.to_owned();
    move |source| ContentError::Io { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_that_changed_on_disk_is_refused_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let store = ContentStore::new(folder.path().join("content"));
        let digest = store.insert_bytes(b"abc").unwrap();
        assert_eq!(store.read(&digest).unwrap(), b"abc");
        fs::write(store.path(&digest), b"abd").unwrap();
        assert!(matches!(store.check(&digest), Err(ContentError::Damaged { .. })));
        assert!(matches!(store.read(&digest), Err(ContentError::Missing { .. })));
    }

    #[test]
    fn a_link_is_not_taken_and_what_it_leads_to_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let store = ContentStore::new(folder.path().join("content"));
        store.insert_bytes(b"x").unwrap();
        let (secret, link) = (folder.path().join("secret"), folder.path().join("link"));
        fs::write(&secret, b"abc").unwrap();
        fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&secret, &link).unwrap();
        assert!(matches!(store.take(&link), Err(ContentError::Io { .. })));
        assert!(matches!(store.take(folder.path()), Err(ContentError::Io { .. })));
        assert!(!store.has(&hash::sha256(b"abc")));
        assert_eq!(fs::metadata(&secret).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_taken_file_is_found_by_its_digest() {
        let folder = tempfile::tempdir().unwrap();
        let store = ContentStore::new(folder.path().join("content"));
        let file = folder.path().join("file");
        fs::write(&file, b"abc").unwrap();
        let (digest, size) = store.take(&file).unwrap();
        assert_eq!((digest, size), (hash::sha256(b"abc"), 3));
        fs::write(&file, b"abd").unwrap();
        assert!(store.take_expected(&file, &digest).is_err());
    }
}
