//! Files that are there whole or not at all, whatever happens in between.
//!
//! A file is written under a temporary name, brought to the disk, and only then given its name by a hard link, which
//! fails when the name is taken. Each temporary file is locked while its writer lives, so that those of the dead can
//! be told apart and removed, on every machine and in every process namespace.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use kdistro_verify::hash::Hasher;
use rustix::fs::OFlags;

use crate::{
    plain,
    store::{Content, Stored},
};

/// Distinguishes the temporary files of one process.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// How often a new temporary name is tried before giving up.
const ATTEMPTS: usize = 1000;

/// Mode of what is published.
pub(crate) const FILE_MODE: u32 = 0o644;

/// Why content could not be written.
pub(crate) enum WriteError {
    /// The file that holds it cannot be read.
    Read(PathBuf, io::Error),
    /// The target cannot be written.
    Write(io::Error),
    /// The file holds something else than was said.
    Changed {
        /// The file.
        file: PathBuf,
        /// What was said.
        expected: Stored,
        /// What it is.
        found: Stored,
    },
}

/// Writes content under a temporary name in `folder`, and refuses a file that is not what was said.
pub(crate) fn write(folder: &Path, content: Content<'_>) -> Result<Temporary, WriteError> {
    let temporary = Temporary::create(folder, FILE_MODE).map_err(WriteError::Write)?;
    match content {
        Content::Bytes(bytes) => {
            (&temporary.file).write_all(bytes).map_err(WriteError::Write)?;
        }
        Content::File { path, digest, size } => {
            let found = copy(path, &temporary.file, size)?;
            let expected = Stored { digest, size };
            if found != expected {
                return Err(WriteError::Changed { file: path.to_owned(), expected, found });
            }
        }
    }
    Ok(temporary)
}

/// Copies a plain file and hashes it on the way. Of one that is longer than was said no more is written: it is only read
/// to say what it is.
fn copy(path: &Path, target: &File, expected: u64) -> Result<Stored, WriteError> {
    let unread = |error| WriteError::Read(path.to_owned(), error);
    let mut source = plain::read(path).map_err(unread)?;
    let (mut hasher, mut target) = (Hasher::new(io::sink()), target);
    let (mut buffer, mut seen) = (vec![0; 256 * 1024], 0);
    loop {
        let count = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unread(error)),
        };
        let read = buffer.get(..count).unwrap_or_default();
        // A sink takes everything.
        let _ = hasher.write_all(read);
        seen += count as u64;
        if seen <= expected {
            target.write_all(read).map_err(WriteError::Write)?;
        }
    }
    let (_, digest, size) = hasher.finish();
    Ok(Stored { digest, size })
}

/// A file under a temporary name; removed when it is dropped.
pub(crate) struct Temporary {
    path: PathBuf,
    /// The open file, which holds the lock.
    pub(crate) file: File,
}

impl Temporary {
    /// Makes an empty file of the given mode in `folder`, and locks it.
    pub(crate) fn create(folder: &Path, mode: u32) -> io::Result<Self> {
        for path in names(folder) {
            let file = match OpenOptions::new().write(true).create_new(true).mode(mode).open(&path)
            {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            };
            // Somebody who clears up may have been faster than the lock: then this file has no name any more.
            if file.try_lock().is_err() || file.metadata()?.nlink() == 0 {
                continue;
            }
            let temporary = Self { path, file };
            // The mode given above was cut by the umask.
            temporary.file.set_permissions(Permissions::from_mode(mode))?;
            return Ok(temporary);
        }
        Err(taken())
    }

    /// Gives a file that lies elsewhere on the same file system a temporary name in `folder` too.
    ///
    /// Fails where that is impossible, whatever the reason: then the caller copies.
    pub(crate) fn link(folder: &Path, original: &Path) -> io::Result<Self> {
        for path in names(folder) {
            match fs::hard_link(original, &path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error),
            }
            // Others may hold the same file under other names of theirs, so the lock is shared. Should somebody
            // clear up before it is taken, `publish` fails.
            let opened = fs::symlink_metadata(&path).and_then(|metadata| {
                // A link or pipe got another name, too.
                if !metadata.is_file() {
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file"));
                }
                let file = File::open(&path)?;
                file.try_lock_shared()?;
                Ok(file)
            });
            return match opened {
                Ok(file) => Ok(Self { path, file }),
                Err(error) => {
                    let _ = fs::remove_file(&path);
                    Err(error)
                }
            };
        }
        Err(taken())
    }

    /// Gives the file its name, if that is free: `false` when it is taken.
    pub(crate) fn publish(self, name: &Path) -> io::Result<bool> {
        self.file.sync_all()?;
        match fs::hard_link(&self.path, name) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(error) => return Err(error),
        }
        sync_parent(name)?;
        Ok(true)
    }

    /// Gives the file its name, in place of what has it.
    pub(crate) fn replace(self, name: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, name)?;
        sync_parent(name)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After `replace` there is nothing to remove; what cannot be removed now is removed by the next writer.
        let _ = fs::remove_file(&self.path);
    }
}

/// Names for temporary files that nobody in this process had before; another process may have them.
fn names(folder: &Path) -> impl Iterator<Item = PathBuf> {
    (0..ATTEMPTS).map(move |_| {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        folder.join(format!("{PREFIX}{}-{number}", process::id()))
    })
}

fn taken() -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, "all temporary names are taken")
}

/// How temporary files are named.
const PREFIX: &str = kdistro_formats::layout::UNFINISHED;

/// Tells whether a file has the name of a temporary one.
pub(crate) fn is_temporary(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// A folder for what is being written.
#[derive(Clone, Debug)]
pub(crate) struct Workshop {
    folder: PathBuf,
    /// Whether the leftovers of dead writers were looked for: once is enough, however much is written.
    is_clear: Arc<AtomicBool>,
}

impl Workshop {
    /// Takes the folder, which is made when it is first used.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, is_clear: Arc::default() }
    }

    /// Where it is.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the folder where there is none, and removes what dead writers left there.
    pub(crate) fn open(&self) -> io::Result<&Path> {
        create_directories(&self.folder)?;
        if !self.is_clear.load(Ordering::Relaxed) {
            clear(&self.folder)?;
            self.is_clear.store(true, Ordering::Relaxed);
        }
        Ok(&self.folder)
    }
}

/// Removes the temporary files in `folder` whose writers are dead. Links, pipes and the like are none, whatever their name.
pub(crate) fn clear(folder: &Path) -> io::Result<()> {
    // They may take the place of a file that was looked at.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_file = entry.file_type()?.is_file();
        if !is_file || !entry.file_name().to_str().is_some_and(is_temporary) {
            continue;
        }
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(entry.path());
        let file = match opened {
            Ok(file) => file,
            // Finished meanwhile, or of another user, who clears up after himself.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied
                ) =>
            {
                continue;
            }
            Err(error) => return Err(error),
        };
        match file.try_lock() {
            Ok(()) => remove_if_same(&entry.path(), &file)?,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(())
}

/// Removes a name if it still is the name of `file`.
fn remove_if_same(path: &Path, file: &File) -> io::Result<()> {
    let identity = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino());
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if identity(&metadata) == identity(&file.metadata()?) => fs::remove_file(path),
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes a directory of mode 0755 and those above it, whatever the umask, and brings them to the disk.
pub(crate) fn create_directories(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_directories(parent)?;
    }
    match DirBuilder::new().mode(0o755).create(path) {
        Ok(()) => {
            fs::set_permissions(path, Permissions::from_mode(0o755))?;
            sync_parent(path)
        }
        // Somebody else made it meanwhile; a file of that name shows as an error when something is put below it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Brings the names in the directory of `path` to the disk.
fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use kdistro_verify::hash::sha256;
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn of_a_file_that_is_longer_than_was_said_no_more_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let (path, content) = (folder.path().join("x"), vec![7; 1 << 20]);
        fs::write(&path, &content).unwrap();
        for (expected, most) in [(1 << 20, 1 << 20), (300_000, 300_000), (7, 7)] {
            let target = tempfile::tempfile_in(folder.path()).unwrap();
            let Ok(found) = copy(&path, &target, expected) else { panic!("{expected}") };
            assert_eq!((found.size, found.digest), (1 << 20, sha256(&content)));
            assert!(target.metadata().unwrap().len() <= most, "{expected}");
        }
    }

    #[test]
    fn only_files_of_dead_writers_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(format!("{PREFIX}{name}"));
        let _socket = UnixListener::bind(at("socket")).unwrap();
        symlink("/dev/zero", at("link")).unwrap();
        mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        fs::write(at("dead"), "").unwrap();
        let alive = Temporary::create(folder.path(), FILE_MODE).unwrap();
        clear(folder.path()).unwrap();
        assert!(!at("dead").exists() && alive.path.exists());
        for left in ["socket", "link", "pipe"] {
            assert!(fs::symlink_metadata(at(left)).is_ok(), "{left}");
        }
    }
}
