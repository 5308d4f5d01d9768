//! The home folder: where everything that kdistro keeps on one machine lies.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use kdistro_formats::{ChannelName, ProjectName, ReleaseName};

/// The home folder.
#[derive(Clone, Debug)]
pub struct Home {
    root: PathBuf,
}

/// A folder or lock that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// The file system refused.
    #[error("cannot use {}", path.display())]
    Io {
        /// Which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The home folder itself cannot be made or written to.
    #[error("cannot use {} as home folder\nhelp:  name one that you may write to with --home or KDISTRO_HOME", path.display())]
    Unusable {
        /// Which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another run holds the lock.
    #[error("another run works on {what} (it holds {})\nhelp:  wait until it ends, then run this again: it goes on where that one stopped", path.display())]
    Busy {
        /// What the lock is for.
        what: String,
        /// The lock file.
        path: PathBuf,
    },
}

/// Where the sources in a mirror come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Upstream's git repository.
    Git,
    /// Debian's source packages.
    Debian,
}

/// A lock that is held until it is dropped, also when the process is killed.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Home {
    /// Takes a folder as home; it is made when it is missing.
    pub fn open(root: &Path) -> Result<Self, HomeError> {
        let made = fs::create_dir_all(root).and_then(|()| root.canonicalize());
        // Every command writes there: better said at once than by whatever comes first.
        let written = made.and_then(|root| tempfile::tempfile_in(&root).map(|_| root));
        let path = root.to_owned();
        let root = written.map_err(|source| HomeError::Unusable { path, source })?;
        Ok(Self { root })
    }

    /// Takes a folder as home of somebody who only reads: nothing is made in it, and it may be missing.
    pub fn to_read(root: &Path) -> Self {
        Self { root: root.canonicalize().unwrap_or_else(|_| root.to_owned()) }
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// A folder or file below the home, unless `path` is absolute.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The mirror of a project; `from` is where its sources come from, since one tag may come from two places.
    pub fn mirror(&self, from: Origin, project: &ProjectName) -> PathBuf {
        let from = match from {
            Origin::Git => "git",
            Origin::Debian => "debian",
        };
        self.root.join("mirrors").join(from).join(format!("{project}.git"))
    }

    /// Files by digest.
    pub fn content(&self) -> PathBuf {
        self.root.join("content")
    }

    /// Unpacked trees by the digest of their definition.
    pub fn trees(&self) -> PathBuf {
        self.root.join("trees")
    }

    /// What steps gave, by key.
    pub fn steps(&self) -> PathBuf {
        self.root.join("steps")
    }

    /// Archives that were assembled, by what they are made of.
    pub fn assemblies(&self) -> PathBuf {
        self.root.join("assemblies")
    }

    /// The journal of one release in one environment.
    pub fn journal(&self, environment: &str, release: &ReleaseName) -> PathBuf {
        self.root.join("journals").join(environment).join(format!("{release}.jsonl"))
    }

    /// The plan that was made last for a channel, for comparison.
    pub fn last_plan(&self, channel: &ChannelName) -> PathBuf {
        self.root.join("plans").join(format!("{channel}.json"))
    }

    /// The last head of a log that this machine has seen or made.
    pub fn log_head(&self, origin: &str) -> PathBuf {
        self.root.join("log-heads").join(origin)
    }

    /// Where the clusters of the release gate lie while they last, and what they took out of releases.
    pub fn gate(&self) -> PathBuf {
        self.root.join("gate")
    }

    /// A new, empty scratch folder, removed when it is dropped.
    pub fn scratch(&self, name: &str) -> Result<tempfile::TempDir, HomeError> {
        let parent = self.folder("scratch")?;
        let made = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir_in(&parent);
        made.map_err(failed(&parent))
    }

    /// A folder below the home, made when it is missing.
    pub fn folder(&self, name: &str) -> Result<PathBuf, HomeError> {
        let path = self.root.join(name);
        fs::create_dir_all(&path).map_err(failed(&path))?;
        Ok(path)
    }

    /// Says that this run uses the home, until the lock is dropped. Whoever comes first removes what killed runs left.
    pub fn enter(&self) -> Result<Lock, HomeError> {
        let path = self.folder("locks")?.join("home");
        let file = File::create(&path).map_err(failed(&path))?;
        if file.try_lock().is_ok() {
            for left in [self.root.join("scratch"), self.content().join("new")] {
                // What cannot be removed is only in the way of nobody.
                let _ = fs::remove_dir_all(left);
            }
        }
        file.lock_shared().map_err(failed(&path))?;
        Ok(Lock { _file: file })
    }

    /// Takes a lock, or says who is busy with `what`.
    pub fn lock(&self, name: &str, what: impl Into<String>) -> Result<Lock, HomeError> {
        let path = self.folder("locks")?.join(name);
        let file = File::create(&path).map_err(failed(&path))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(HomeError::Busy { what: what.into(), path }),
            Err(TryLockError::Error(source)) => Err(HomeError::Io { path, source }),
        }
    }
}

/// Writes a file under a temporary name and renames it. After a power cut it is there whole, or as it was before: an
/// empty one would be taken for one that was tampered with.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let parent = folder_of(path);
    let is_new = !parent.is_dir();
    fs::create_dir_all(parent)?;
    let mut file = tempfile::NamedTempFile::new_in(parent)?;
    io::Write::write_all(&mut file, bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    File::open(parent)?.sync_all()?;
    if is_new {
        File::open(folder_of(parent))?.sync_all()?;
    }
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> HomeError {
    let path = path.to_owned();
    move |source| HomeError::Io { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_killed_runs_left_is_removed_only_when_nobody_is_at_work() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path()).unwrap();
        let first = home.enter().unwrap();
        let left = home.folder("scratch").unwrap().join("step-1");
        fs::create_dir(&left).unwrap();
        let second = home.enter().unwrap();
        assert!(left.exists(), "the first run is at work");
        drop((first, second));
        drop(home.enter().unwrap());
        assert!(!left.exists());
    }

    #[test]
    fn a_lock_is_held_once_and_says_for_what() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path()).unwrap();
        let held = home.lock("cut-1-20", "a cut of channel 1-20").unwrap();
        let error = home.lock("cut-1-20", "a cut of channel 1-20").unwrap_err().to_string();
        assert!(error.contains("another run works on a cut of channel 1-20"), "{error}");
        drop(held);
        home.lock("cut-1-20", "a cut").unwrap();
    }
}
