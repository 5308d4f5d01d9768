//! Hashes bytes: SHA-256 alone, or SHA-256 and SHA-512 of a file in one read.

use std::io::{self, Read, Write};

use aws_lc_rs::digest::{Context, SHA256, SHA512, digest};
use kdistro_formats::{Digest, Sha512};

/// Bytes read at a time: large enough that hashing dominates, small enough to stay in the cache.
const BUFFER: usize = 128 * 1024;

/// Both digests and the length of some content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashes {
    /// The SHA-256.
    pub sha256: Digest,
    /// The SHA-512.
    pub sha512: Sha512,
    /// The length in bytes.
    pub size: u64,
}

/// Hashes `bytes` with SHA-256.
pub fn sha256(bytes: &[u8]) -> Digest {
    finish256(digest(&SHA256, bytes))
}

/// Hashes everything `reader` yields with SHA-256 and returns the length too.
pub fn sha256_of(reader: impl Read) -> io::Result<(Digest, u64)> {
    let mut context = Context::new(&SHA256);
    let size = each_piece(reader, |piece| context.update(piece))?;
    Ok((finish256(context.finish()), size))
}

/// Hashes everything `reader` yields with SHA-256 and SHA-512, in one read.
pub fn hashes_of(reader: impl Read) -> io::Result<Hashes> {
    let (mut short, mut long) = (Context::new(&SHA256), Context::new(&SHA512));
    let size = each_piece(reader, |piece| {
        short.update(piece);
        long.update(piece);
    })?;
    Ok(Hashes { sha256: finish256(short.finish()), sha512: finish512(long.finish()), size })
}

/// Reads to the end, piece by piece; returns the length.
fn each_piece(mut reader: impl Read, mut take: impl FnMut(&[u8])) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let mut size = 0;
    loop {
        let count = match reader.read(&mut buffer) {
            Ok(0) => return Ok(size),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        take(buffer.get(..count).unwrap_or_default());
        size += count as u64;
    }
}

/// A writer that hashes with SHA-256 what passes through it.
pub struct Hasher<W> {
    inner: W,
    context: Context,
    size: u64,
}

impl<W: Write> Hasher<W> {
    /// Hashes what is written to `inner` from now on.
    pub fn new(inner: W) -> Self {
        Self { inner, context: Context::new(&SHA256), size: 0 }
    }

    /// Returns the inner writer, the digest and the number of bytes.
    pub fn finish(self) -> (W, Digest, u64) {
        (self.inner, finish256(self.context.finish()), self.size)
    }
}

impl<W: Write> Write for Hasher<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.context.update(bytes.get(..count).unwrap_or_default());
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn finish256(digest: aws_lc_rs::digest::Digest) -> Digest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    Digest::from_bytes(bytes)
}

fn finish512(digest: aws_lc_rs::digest::Digest) -> Sha512 {
    let mut bytes = [0; 64];
    bytes.copy_from_slice(digest.as_ref());
    Sha512::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abc_has_the_published_digests() {
        // FIPS 180-4, example "abc".
        let hashes = hashes_of(&b"abc"[..]).unwrap();
        assert_eq!(
            hashes.sha256.to_string(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(hashes.sha512.to_string().starts_with("ddaf35a193617abacc417349ae204131"));
        assert_eq!(hashes.size, 3);
        assert_eq!(sha256(b"abc"), hashes.sha256);
        assert_eq!(sha256_of(&b"abc"[..]).unwrap(), (hashes.sha256, 3));
    }
}
