//! A signing key in a file that only its owner can read.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};
use pem_rfc7468::LineEnding;

use crate::{
    durable::{self, Temporary},
    signer::{SignError, Signer},
};

/// Bits of a mode that let others than the owner in.
const OTHERS: u32 = 0o077;

/// The largest file that is read as a key.
const LARGEST: u64 = 64 * 1024;

const PRIVATE_KEY: &str = "PRIVATE KEY";
const PUBLIC_KEY: &str = "PUBLIC KEY";

/// A P-256 key in a PEM file (PKCS #8), as `openssl genpkey` writes it too.
pub struct KeyFile {
    key: EcdsaKeyPair,
    public_key: Vec<u8>,
}

impl KeyFile {
    /// Makes a new key and writes it to `path`, with mode 0600. A file that is there is never overwritten.
    pub fn generate(path: &Path) -> Result<Self, SignError> {
        let library = |_| SignError::Library { action: "make a key" };
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
                .map_err(library)?;
        let pem = pem_rfc7468::encode_string(PRIVATE_KEY, LineEnding::LF, document.as_ref())
            .map_err(|_| SignError::Library { action: "write a key as PEM" })?;
        let written = write_new(path, pem.as_bytes());
        let is_new = written.map_err(|source| failed("write", path, source))?;
        if !is_new {
            return Err(SignError::Exists { path: path.display().to_string() });
        }
        Self::open(path)
    }

    /// Reads a key; one that others may read is refused.
    pub fn open(path: &Path) -> Result<Self, SignError> {
        let shown = || path.display().to_string();
        let file = File::open(path).map_err(|source| failed("read", path, source))?;
        let metadata = file.metadata().map_err(|source| failed("read", path, source))?;
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & OTHERS != 0 {
            return Err(SignError::Readable { path: shown(), mode });
        }
        let mut pem = Vec::new();
        let read = file.take(LARGEST).read_to_end(&mut pem);
        read.map_err(|source| failed("read", path, source))?;
        let bad = |what: String| SignError::Key { path: shown(), what };
        let (label, der) = pem_rfc7468::decode_vec(&pem).map_err(|error| bad(error.to_string()))?;
        if label != PRIVATE_KEY {
            return Err(bad(format!("it is labelled `{label}`, not `{PRIVATE_KEY}`")));
        }
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der)
            .map_err(|rejected| bad(rejected.to_string()))?;
        let public_key: PublicKeyX509Der<'_> = key
            .public_key()
            .as_der()
            .map_err(|_| SignError::Library { action: "write the public key" })?;
        let public_key = public_key.as_ref().to_vec();
        Ok(Self { key, public_key })
    }

    /// Returns the public key in PEM, as `openssl pkey -pubout` writes it.
    pub fn public_key_pem(&self) -> Result<String, SignError> {
        public_key_pem(&self.public_key)
    }
}

/// Writes the DER of a public key as PEM.
pub fn public_key_pem(der: &[u8]) -> Result<String, SignError> {
    pem_rfc7468::encode_string(PUBLIC_KEY, LineEnding::LF, der)
        .map_err(|_| SignError::Library { action: "write the public key as PEM" })
}

impl Signer for KeyFile {
    fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = self.key.sign(&SystemRandom::new(), message);
        let signature = signature.map_err(|_| SignError::Library { action: "sign" })?;
        Ok(signature.as_ref().to_vec())
    }
}

/// Shows the public key only.
impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyFile").field("public_key", &self.public_key).finish_non_exhaustive()
    }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> SignError {
    SignError::Io { action, path: path.display().to_string(), source }
}

/// Writes a file of mode 0600, unless there is one.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    durable::create_directories(folder)?;
    durable::clear(folder)?;
    let temporary = Temporary::create(folder, 0o600)?;
    (&temporary.file).write_all(bytes)?;
    temporary.publish(path)
}
