//! The keys of an environment: one signs releases, another signs the log's checkpoints.

use std::path::{Path, PathBuf};

use kdistro_border::{KeyFile, SignError, Signer};
use kdistro_formats::canonical::{self, CanonicalError};
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
    /// Opens the keys in a folder.
    pub fn open(folder: &Path) -> Result<Self, KeysError> {
        let (release, log) = paths(folder);
        if !release.exists() || !log.exists() {
            return Err(KeysError::Missing(folder.to_owned()));
        }
        Ok(Self {
            release: Box::new(KeyFile::open(&release)?),
            log: Box::new(KeyFile::open(&log)?),
        })
    }

    /// Makes whichever key is missing; keys that are there stay.
    pub fn open_or_make(folder: &Path) -> Result<Self, KeysError> {
        let (release, log) = paths(folder);
        let open = |path: &Path| match KeyFile::generate(path) {
            Err(SignError::Exists { .. }) => KeyFile::open(path),
            other => other,
        };
        Ok(Self { release: Box::new(open(&release)?), log: Box::new(open(&log)?) })
    }

    /// The public key of releases.
    pub fn release_key(&self) -> Result<PublicKey, TrustError> {
        PublicKey::from_spki_der(self.release.public_key())
    }

    /// The public key of the log.
    pub fn log_key(&self) -> Result<PublicKey, TrustError> {
        PublicKey::from_spki_der(self.log.public_key())
    }

    /// Writes the trusted root: the log by name and key, in Sigstore's format.
    ///
    /// Source: Sigstore, `sigstore_trustroot.proto`. It holds no time of today: a log of static files has no clock.
    pub fn trusted_root(&self, origin: &str) -> Result<Vec<u8>, KeysError> {
        let key = self.log_key()?;
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
        Ok(canonical::to_vec(&root)?)
    }
}

fn paths(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("release.key"), folder.join("log.key"))
}
