//! What lies in a gzipped tar of a store: the digest of each file, by its path. Nothing is written anywhere.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
};

use flate2::read::GzDecoder;
use kdistro_formats::{
    Digest, Platform, layout,
    oci::{self, Index, Manifest},
};
use kdistro_verify::{
    hash::{self, Hasher},
    store::{self, Reader},
};

use super::InspectError;

/// The digest of each file of an archive, by its path.
pub(super) type Files = BTreeMap<String, Digest>;

/// A reader that hashes what passes through it.
struct Hashed<R> {
    inner: R,
    hasher: Hasher<io::Sink>,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.write_all(buffer.get(..count).unwrap_or_default())?;
        Ok(count)
    }
}

/// Hashes the files of an archive of a store. Nothing is said of one that has not this digest.
pub(super) fn files(
    reader: &dyn Reader,
    name: &str,
    expected: &Digest,
) -> Result<Files, InspectError> {
    let failed = |source| InspectError::Unread { file: name.to_owned(), source };
    let inner = reader.open(name).map_err(failed)?;
    let inner = inner.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let mut content = Hashed { inner, hasher: Hasher::new(io::sink()) };
    let unpacked = unpack(&mut content);
    // What is no archive is told only of what the release's signer called one.
    io::copy(&mut content, &mut io::sink()).map_err(failed)?;
    let (_, found, _) = content.hasher.finish();
    if found != *expected {
        let (name, expected) = (name.to_owned(), *expected);
        return Err(InspectError::Differs { name, found, expected });
    }
    unpacked.map_err(failed)
}

fn unpack(content: &mut impl Read) -> io::Result<Files> {
    let mut archive = tar::Archive::new(GzDecoder::new(content).take(oci::LARGEST_LAYER));
    let mut files = Files::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.header().entry_type().is_file() {
            let path = entry.path()?.to_string_lossy().into_owned();
            let (digest, _) = hash::sha256_of(&mut entry)?;
            files.insert(path.trim_start_matches("./").to_owned(), digest);
        }
    }
    Ok(files)
}

/// Hashes the files of the highest layer of an image: that of the release's own programs.
pub(super) fn image(
    reader: &dyn Reader,
    index: &Digest,
    platform: &Platform,
) -> Result<Files, InspectError> {
    let (name, document) = document(reader, index)?;
    let read = Index::from_slice(&document);
    let read = read.map_err(|source| InspectError::Image { name: name.clone(), source })?;
    let is_ours = |one: &&oci::Descriptor| {
        let found = one.platform.as_ref();
        found.is_some_and(|one| one.os == platform.os() && one.architecture == platform.arch())
    };
    let lacks = || InspectError::Lacks { name: name.clone(), platform: platform.to_string() };
    let chosen = read.manifests.iter().find(is_ours).ok_or_else(lacks)?;
    let (name, manifest) = self::document(reader, &chosen.digest)?;
    let manifest = Manifest::from_slice(&manifest);
    let manifest = manifest.map_err(|source| InspectError::Image { name, source })?;
    let layer = manifest.layers.last().ok_or_else(lacks)?;
    files(reader, &layout::image_blob(&layer.digest), &layer.digest)
}

/// The digests by which an image may be known on a node: that of its index, and those of its manifests.
pub(super) fn digests(reader: &dyn Reader, index: &Digest) -> Result<Vec<Digest>, InspectError> {
    let (name, document) = document(reader, index)?;
    let read = Index::from_slice(&document);
    let read = read.map_err(|source| InspectError::Image { name, source })?;
    Ok(read.manifests.iter().map(|one| one.digest).chain([*index]).collect())
}

/// A small blob, which is what its digest says, and its name.
fn document(reader: &dyn Reader, digest: &Digest) -> Result<(String, Vec<u8>), InspectError> {
    let name = layout::image_blob(digest);
    let failed = |source| InspectError::Unread { file: name.clone(), source };
    let bytes = store::read(reader, &name, oci::LARGEST_DOCUMENT).map_err(failed)?;
    let bytes = bytes.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let found = hash::sha256(&bytes);
    if found == *digest {
        return Ok((name, bytes));
    }
    Err(InspectError::Differs { name, found, expected: *digest })
}
