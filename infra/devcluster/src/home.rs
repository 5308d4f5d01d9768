//! The folder where clusters lie, and beside them what they took out of releases: for all of them, until the last is gone.

use std::{
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use crate::{Cluster, DevclusterError, survey};

type Result<T, E = DevclusterError> = std::result::Result<T, E>;

/// Keeps what was taken out of releases, also from who ends the last cluster meanwhile.
#[derive(Debug)]
pub struct Kept(#[expect(dead_code, reason = "the lock ends with it")] File);

/// Where releases lie.
pub fn releases(home: &Path) -> PathBuf {
    home.join("releases")
}

/// Makes the folder where it is missing, and keeps what lies there: for who is about to start a cluster.
pub fn keep(home: &Path) -> Result<Kept> {
    fs::create_dir_all(home).map_err(DevclusterError::io("make", home))?;
    let folder = File::open(home).map_err(DevclusterError::io("open", home))?;
    flock(&folder, FlockOperation::LockShared)
        .map_err(|error| DevclusterError::io("lock", home)(error.into()))?;
    Ok(Kept(folder))
}

/// Removes what was taken out of releases, where no cluster is left and nobody keeps it; says whether.
pub fn clear(home: &Path) -> Result<bool> {
    let folder = match File::open(home) {
        Ok(folder) => folder,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(DevclusterError::io("open", home)(error)),
    };
    match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        // Whoever that is has a cluster soon.
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(false),
        Err(error) => return Err(DevclusterError::io("lock", home)(error.into())),
    }
    if !Cluster::all(home)?.is_empty() {
        return Ok(false);
    }
    for entry in fs::read_dir(home).map_err(DevclusterError::io("list", home))?.flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(survey::FOLDER) {
            remove(&entry.path())?;
        }
    }
    remove(&releases(home))?;
    Ok(true)
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(DevclusterError::io("remove", folder)(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_go_with_the_last_cluster_unless_somebody_is_about_to_start_one() {
        let home = tempfile::tempdir().unwrap();
        let (cluster, release) = (home.path().join("clusters/a"), releases(home.path()).join("r"));
        for folder in [&cluster, &release] {
            fs::create_dir_all(folder).unwrap();
        }
        assert!(!clear(home.path()).unwrap(), "there is a cluster");
        fs::remove_dir(&cluster).unwrap();
        let (one, other) = (keep(home.path()).unwrap(), keep(home.path()).unwrap());
        drop(one);
        assert!(!clear(home.path()).unwrap(), "the other one keeps it");
        assert!(release.exists());
        drop(other);
        assert!(clear(home.path()).unwrap());
        assert!(!releases(home.path()).exists());
        assert!(!clear(&home.path().join("none")).unwrap());
    }
}
