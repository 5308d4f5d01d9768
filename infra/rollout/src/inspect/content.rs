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

use tar::{EntryType, PaxExtensions};

use super::InspectError;

/// The digest of each file of an archive, by its path.
pub(super) type Files = BTreeMap<String, Digest>;

/// The longest path of a file, with all else that its header of an own may say, in bytes.
const LONGEST_HEADER: u64 = 64 << 10;
/// How long all paths may be together, and what is kept with each, in bytes.
const LARGEST_LIST: usize = 16 << 20;
/// What is kept with a path, in bytes: its digest, and its place.
const KEPT: usize = 64;

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

/// Hashes the files of an archive of a store. Nothing is said of one that has not this digest, and of one that is longer
/// than it is to be no more is read.
///
/// It is unpacked while it is hashed, as there may be no room for it: whatever it unpacks to takes little memory.
pub(super) fn files(
    reader: &dyn Reader,
    (name, size): (&str, u64),
    expected: &Digest,
) -> Result<Files, InspectError> {
    let failed = |source| InspectError::Unread { file: name.to_owned(), source };
    let inner = reader.open(name).map_err(failed)?;
    let inner = inner.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
    let inner = inner.take(size.saturating_add(1));
    let mut content = Hashed { inner, hasher: Hasher::new(io::sink()) };
    let unpacked = unpack(&mut content);
    // What is no archive is told only of what the release's signer called one.
    io::copy(&mut content, &mut io::sink()).map_err(failed)?;
    let (_, found, length) = content.hasher.finish();
    if length > size {
        return Err(InspectError::Longer { name: name.to_owned(), size });
    }
    if found != *expected {
        let (name, expected) = (name.to_owned(), *expected);
        return Err(InspectError::Differs { name, found, expected });
    }
    unpacked.map_err(failed)
}

fn unpack(content: &mut impl Read) -> io::Result<Files> {
    let mut archive = tar::Archive::new(GzDecoder::new(content).take(oci::LARGEST_LAYER));
    let (mut files, mut listed, mut long) = (Files::new(), 0, None);
    // Raw: else a header of an own is read into memory, however long it is.
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        match entry.header().entry_type() {
            EntryType::GNULongName => long = Some(long_name(&mut entry)?),
            EntryType::XHeader => long = long_path(&mut entry)?,
            EntryType::GNULongLink | EntryType::XGlobalHeader => {}
            EntryType::Regular => {
                let path = long.take().unwrap_or_else(|| entry.path_bytes().into_owned());
                listed += path.len() + KEPT;
                if listed > LARGEST_LIST {
                    return Err(too_long("the list of its files"));
                }
                let path = String::from_utf8_lossy(&path).trim_start_matches("./").to_owned();
                files.insert(path, hash::sha256_of(&mut entry)?.0);
            }
            _ => long = None,
        }
    }
    Ok(files)
}

/// The path of the entry that comes next.
///
/// Source: GNU tar, `src/tar.h`, `GNUTYPE_LONGNAME`.
fn long_name(entry: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut path = header(entry)?;
    path.truncate(path.iter().position(|byte| *byte == 0).unwrap_or(path.len()));
    Ok(path)
}

/// The path of the entry that comes next, where its own header says one.
///
/// Source: POSIX, pax, "pax Extended Header".
fn long_path(entry: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let (header, mut path) = (header(entry)?, None);
    for said in PaxExtensions::new(&header) {
        let said = said?;
        match said.key_bytes() {
            b"path" => path = Some(said.value_bytes().to_vec()),
            // Where it ends would be unknown.
            b"size" => return Err(io::Error::new(io::ErrorKind::Unsupported, "a size of its own")),
            _ => {}
        }
    }
    Ok(path)
}

fn header(entry: &mut impl Read) -> io::Result<Vec<u8>> {
    store::read_at_most(entry, LONGEST_HEADER)?.ok_or_else(|| too_long("a header of a file"))
}

fn too_long(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} is too long"))
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
    files(reader, (&layout::image_blob(&layer.digest), layer.size), &layer.digest)
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

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};

    use super::*;

    /// A store that gives these bytes, then zeros without end, but is not to be asked for so many.
    struct Endless(Vec<u8>, u64);

    struct Zeros(u64);

    impl Read for Zeros {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let left = self.0.checked_sub(buffer.len() as u64);
            self.0 = left.ok_or_else(|| io::Error::other("it reads on and on"))?;
            buffer.fill(0);
            Ok(buffer.len())
        }
    }

    impl Reader for Endless {
        fn open(&self, _name: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
            let zeros: Box<dyn Read> =
                if self.1 > 0 { Box::new(Zeros(self.1)) } else { Box::new(io::empty()) };
            Ok(Some(Box::new(self.0.chain(zeros))))
        }

        fn list(&self, _prefix: &str) -> io::Result<Option<Vec<String>>> {
            Ok(None)
        }

        fn place(&self) -> String {
            "endless".to_owned()
        }
    }

    fn gzipped(tar: &[u8]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(tar).unwrap();
        packed.finish().unwrap()
    }

    /// What a header of an own says of the file after it.
    fn headed(kind: EntryType, said: &[u8]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(said.len() as u64);
        header.set_cksum();
        archive.append(&header, said).unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_size(3);
        archive.append_data(&mut header, "./short", &b"abc"[..]).unwrap();
        archive.into_inner().unwrap()
    }

    fn read(packed: &[u8]) -> Result<Files, InspectError> {
        let store = Endless(packed.to_vec(), 0);
        files(&store, ("a", packed.len() as u64), &hash::sha256(packed))
    }

    #[test]
    fn paths_are_read_wherever_they_stand() {
        let pax = b"28 path=a/long/path/to/file\n";
        for (kind, said, path) in [
            (EntryType::GNULongName, &b"./a/long/name\0"[..], "a/long/name"),
            (EntryType::XHeader, &pax[..], "a/long/path/to/file"),
            (EntryType::XHeader, &b"12 mtime=17\n"[..], "short"),
            (EntryType::Directory, &b""[..], "short"),
        ] {
            let found = read(&gzipped(&headed(kind, said))).unwrap();
            assert_eq!(found, Files::from([(path.to_owned(), hash::sha256(b"abc"))]), "{kind:?}");
        }
    }

    #[test]
    fn no_more_is_read_than_was_signed() {
        let packed = gzipped(&headed(EntryType::Directory, b""));
        let size = packed.len() as u64;
        let store = Endless(packed.clone(), 1 << 20);
        let error = files(&store, ("a", size), &hash::sha256(&packed)).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("`a` of the store is longer than the {size} bytes that the release has")
        );
        assert_eq!(error.outcome(), kdistro_verify::check::Outcome::Differs);
    }

    #[test]
    fn a_header_without_end_is_not_kept() {
        for kind in [EntryType::GNULongName, EntryType::XHeader] {
            let packed = gzipped(&headed(kind, &vec![b'a'; 1 << 20]));
            let error = kdistro_verify::check::chain(&read(&packed).map(drop).unwrap_err());
            assert!(error.contains("a header of a file is too long"), "{error}");
            let other = Digest::from_bytes([1; 32]);
            let store = Endless(packed.clone(), 0);
            let error = files(&store, ("a", packed.len() as u64), &other).unwrap_err();
            assert!(matches!(error, InspectError::Differs { .. }), "{error}");
        }
    }

    #[test]
    fn files_without_end_are_not_listed() {
        let mut archive = tar::Builder::new(Vec::new());
        for number in 0..300 {
            let mut header = tar::Header::new_gnu();
            header.set_size(0);
            let path = format!("{number}/{}", "a/".repeat(30_000));
            archive.append_data(&mut header, path.trim_end_matches('/'), &b""[..]).unwrap();
        }
        let error = read(&gzipped(&archive.into_inner().unwrap())).map(drop).unwrap_err();
        let error = kdistro_verify::check::chain(&error);
        assert!(error.contains("the list of its files is too long"), "{error}");
    }
}
