//! The keys of an environment: one signs releases, another signs the log's checkpoints.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use kdistro_border::{KeyFile, SignError, Signer};
use kdistro_formats::{
    Digest,
    canonical::{self, CanonicalError},
};
use kdistro_verify::trust::{PublicKey, TrustError};
use serde_json::json;

use super::base64;

/// Both keys of an environment, wherever they are kept.
pub struct Keys {
    /// Signs releases.
    pub release: Box<dyn Signer>,
    /// Signs checkpoints.
    pub log: Box<dyn Signer>,
}

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// There is none, and this environment does not make its own.
    #[error("there is no key in {}\nhelp:  make both with `kdistro key new`", .0.display())]
    Missing(PathBuf),
    /// One of both is there: a new one beside it would not be the one that belongs to it.
    #[error("{} is there, and {} is not\nhelp:  put back the one that is missing; only where nothing was ever published with the other one, remove that and make both anew", there.display(), missing.display())]
    Half {
        /// The one that is there.
        there: PathBuf,
        /// The one that is not.
        missing: PathBuf,
    },
    /// Both are the same.
    #[error("releases and the log would be signed with one key, {0}; expected two")]
    Same(Digest),
    /// The folder cannot be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key file cannot be used.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// A key is not one.
    #[error("the public key")]
    Key(#[from] TrustError),
    /// The trusted root cannot be written.
    #[error("cannot write the trusted root")]
    Write(#[from] CanonicalError),
}

impl Keys {
    /// Takes both keys, which must be two.
    pub fn new(release: Box<dyn Signer>, log: Box<dyn Signer>) -> Result<Self, KeysError> {
        let keys = Self { release, log };
        let key = keys.release_key()?;
        if key == keys.log_key()? { Err(KeysError::Same(key.fingerprint())) } else { Ok(keys) }
    }

    /// Opens the keys in a folder.
    pub fn open(folder: &Path) -> Result<Self, KeysError> {
        let (release, log) = paths(folder);
        match (release.exists(), log.exists()) {
            (true, true) => {
                Self::new(Box::new(KeyFile::open(&release)?), Box::new(KeyFile::open(&log)?))
            }
            (true, false) => Err(KeysError::Half { there: release, missing: log }),
            (false, true) => Err(KeysError::Half { there: log, missing: release }),
            (false, false) => Err(KeysError::Missing(folder.to_owned())),
        }
    }

    /// Opens the keys in a folder; where there is none, both are made.
    pub fn open_or_make(folder: &Path) -> Result<Self, KeysError> {
        let failed = |source| KeysError::Io { path: folder.to_owned(), source };
        make_folder(folder).map_err(failed)?;
        // Held until both are there: one alone, as another run sees it, would be taken for the rest of a loss.
        let lock = File::open(folder).map_err(failed)?;
        lock.lock().map_err(failed)?;
        match Self::open(folder) {
            // The release key is made last: where it alone is missing, a run ended before it came to that. Had anything been
            // published with another one, whoever opens the store would see it.
            Err(KeysError::Missing(_)) => {
                let (release, log) = paths(folder);
                let (log, release) = (KeyFile::generate(&log)?, KeyFile::generate(&release)?);
                Self::new(Box::new(release), Box::new(log))
            }
            Err(KeysError::Half { missing, there }) if missing == paths(folder).0 => {
                Self::new(Box::new(KeyFile::generate(&missing)?), Box::new(KeyFile::open(&there)?))
            }
            opened => opened,
        }
    }

    /// The public key of releases.
    pub fn release_key(&self) -> Result<PublicKey, TrustError> {
        PublicKey::from_spki_der(self.release.public_key())
    }

    /// The public key of the log.
    pub fn log_key(&self) -> Result<PublicKey, TrustError> {
        PublicKey::from_spki_der(self.log.public_key())
    }

    /// Writes the trusted root: see [`trusted_root`].
    pub fn trusted_root(&self, origin: &str) -> Result<Vec<u8>, KeysError> {
        Ok(trusted_root(origin, &self.log_key()?)?)
    }
}

/// Writes the trusted root: the log by name and key, in Sigstore's format.
///
/// Source: Sigstore, `sigstore_trustroot.proto`. It holds no time of today: a log of static files has no clock.
pub fn trusted_root(origin: &str, key: &PublicKey) -> Result<Vec<u8>, CanonicalError> {
    let root = json!({
        "certificateAuthorities": [],
        "ctlogs": [],
        "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        "timestampAuthorities": [],
        "tlogs": [{
            "baseUrl": format!("https://{origin}"),
            "hashAlgorithm": "SHA2_256",
            "logId": { "keyId": base64(key.fingerprint().as_bytes()) },
            "publicKey": {
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "rawBytes": base64(key.as_der()),
                "validFor": { "start": "2020-01-01T00:00:00Z" },
            },
        }],
    });
    canonical::to_vec(&root)
}

fn paths(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("release.key"), folder.join("log.key"))
}

/// Makes a folder and those above it, and brings them to the disk: what a key has signed must not outlive it.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
    let above = above.unwrap_or(Path::new("."));
    make_folder(above)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(above)?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_without_the_other_is_refused() {
        for (gone, there) in [("log.key", "release.key"), ("release.key", "log.key")] {
            let folder = tempfile::tempdir().unwrap();
            Keys::open_or_make(folder.path()).unwrap();
            fs::remove_file(folder.path().join(gone)).unwrap();
            let error = Keys::open(folder.path()).err().unwrap().to_string();
            let path = |name| folder.path().join(name).display().to_string();
            let expected = format!("{} is there, and {} is not\n", path(there), path(gone));
            assert!(error.starts_with(&expected), "{error}");
            assert!(!folder.path().join(gone).exists());
        }
    }

    #[test]
    fn what_a_full_disk_left_half_is_finished_and_what_was_lost_is_not_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let log = Keys::open_or_make(folder.path()).unwrap().log_key().unwrap();
        let (release_file, log_file) = paths(folder.path());

        fs::remove_file(&release_file).unwrap();
        assert_eq!(Keys::open_or_make(folder.path()).unwrap().log_key().unwrap(), log);
        assert!(release_file.exists());

        fs::remove_file(&log_file).unwrap();
        let error = Keys::open_or_make(folder.path()).err().unwrap();
        assert!(matches!(error, KeysError::Half { missing, .. } if missing == log_file));
        assert!(!log_file.exists());
    }

    #[test]
    fn one_key_for_both_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let key = Keys::open_or_make(folder.path()).unwrap().release_key().unwrap();
        let (release, log) = paths(folder.path());
        fs::copy(release, log).unwrap();
        let error = Keys::open(folder.path()).err().unwrap();
        assert!(matches!(error, KeysError::Same(found) if found == key.fingerprint()), "{error}");
    }

    #[test]
    fn many_at_once_make_one_pair() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("a/b");
        let made = || Keys::open_or_make(&keys).unwrap().log_key().unwrap().fingerprint();
        let all: Vec<_> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(made)).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(all.iter().all(|one| *one == all[0]), "{all:?}");
    }
}
