//! The layers of images: their digests and sizes and, when everything is checked, what they unpack to.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    io::{self, BufReader, ErrorKind, Read},
};

use flate2::read::MultiGzDecoder;
use kdistro_formats::{
    Digest, layout,
    oci::{Descriptor, LARGEST_LAYER, LAYER_GZIP, LAYER_TAR},
};

use crate::{
    check::{Scope, parallel, reading::Checker},
    compare::is_broken_gzip,
    hash,
    store::Reader,
};

/// A layer, by what speaks of it.
pub(super) struct Layer {
    /// The manifest's blob.
    pub(super) named_by: String,
    /// What the manifest says.
    pub(super) descriptor: Descriptor,
    /// The configuration's blob.
    pub(super) config: String,
    /// What the configuration says, where it does.
    pub(super) diff_id: Option<Digest>,
}

impl Checker<'_> {
    /// Checks each layer once, and what each image says about it.
    pub(super) fn check_layers(&mut self, layers: &[Layer]) {
        self.read_layers(layers);
        for Layer { named_by, descriptor, .. } in layers {
            // A layer that is missing or changed has been reported.
            let Some(has) = self.layers.get(&descriptor.digest).copied() else { continue };
            let file = layout::image_blob(&descriptor.digest);
            if has != descriptor.size {
                let said = descriptor.size;
                self.differs(named_by, format!("says that {file} has {said} bytes, it has {has}"));
            }
            let gzip = descriptor.media_type == LAYER_GZIP;
            if !gzip && descriptor.media_type != LAYER_TAR {
                let found = &descriptor.media_type;
                self.differs(named_by, format!("says that {file} is a {found}, expected a tar"));
            }
        }
        if self.scope == Scope::All {
            self.unpack_layers(layers);
            self.compare_diff_ids(layers);
        }
    }

    /// Hashes every layer that was not read for another image or release.
    fn read_layers(&mut self, layers: &[Layer]) {
        let sizes = layers.iter().map(|layer| (layer.descriptor.digest, layer.descriptor.size));
        // Where two disagree, the larger one is read and the other reported.
        let mut wanted: BTreeMap<Digest, u64> = BTreeMap::new();
        for (digest, size) in sizes {
            if !self.layers.contains_key(&digest) {
                let largest = wanted.entry(digest).or_default();
                *largest = size.max(*largest);
            }
        }
        let wanted: Vec<_> = wanted.into_iter().collect();
        let reader = self.reader;
        let results = parallel::map(
            &wanted,
            |(_, size)| Reverse(*size),
            |(digest, size)| hash_blob(reader, digest, *size),
        );
        for ((digest, size), result) in wanted.into_iter().zip(results) {
            let file = layout::image_blob(&digest);
            self.known.insert(file.clone());
            match result {
                Err(error) => self.unreadable(&file, &error),
                Ok(None) => self.differs(&file, "is missing"),
                Ok(Some((_, has))) if has > size => {
                    self.differs(&file, format!("has more than the {size} bytes that are named"));
                }
                Ok(Some((found, _))) if found != digest => {
                    self.differs(&file, format!("is {found}, which is not its name"));
                }
                Ok(Some((_, has))) => {
                    self.report.bytes += has;
                    self.layers.insert(digest, has);
                }
            }
        }
    }

    /// Unpacks every gzipped layer that was not for another image or release.
    fn unpack_layers(&mut self, layers: &[Layer]) {
        let descriptors = layers.iter().map(|layer| &layer.descriptor);
        let gzipped = descriptors.filter(|layer| layer.media_type == LAYER_GZIP);
        let new = gzipped.map(|layer| layer.digest).filter(|digest| {
            self.layers.contains_key(digest) && !self.diff_ids.contains_key(digest)
        });
        let new: Vec<_> = new.collect::<BTreeSet<_>>().into_iter().collect();
        let reader = self.reader;
        let size = |digest: &Digest| self.layers.get(digest).copied().unwrap_or_default();
        let results = parallel::map(
            &new,
            |digest| Reverse(size(digest)),
            |digest| diff_id(reader, digest, size(digest)),
        );
        for (digest, result) in new.into_iter().zip(results) {
            let file = layout::image_blob(&digest);
            match result {
                Ok(diff_id) => {
                    self.diff_ids.insert(digest, diff_id);
                }
                Err(error) if is_broken_gzip(&error) => {
                    self.differs(&file, format!("cannot be unpacked: {error}"));
                }
                Err(error) => self.unreadable(&file, &error),
            }
        }
    }

    /// Compares what each layer unpacks to with what the configurations say.
    fn compare_diff_ids(&mut self, layers: &[Layer]) {
        for Layer { descriptor, config, diff_id, .. } in layers {
            let found = if descriptor.media_type == LAYER_GZIP {
                self.diff_ids.get(&descriptor.digest).copied()
            } else {
                Some(descriptor.digest)
            };
            let (Some(said), Some(found)) = (diff_id, found) else { continue };
            if *said != found {
                let file = layout::image_blob(&descriptor.digest);
                self.differs(
                    config,
                    format!("says that {file} unpacks to {said}, but it does to {found}"),
                );
            }
        }
    }
}

/// Hashes a blob, reading at most one byte more than it should have.
fn hash_blob(reader: &dyn Reader, digest: &Digest, size: u64) -> io::Result<Option<(Digest, u64)>> {
    let Some(content) = reader.open(&layout::image_blob(digest))? else { return Ok(None) };
    hash::sha256_of(content.take(size.saturating_add(1))).map(Some)
}

/// Unpacks a gzipped layer of `size` bytes, keeping nothing of it, and returns its digest.
///
/// A server may send something else than it did when the layer was hashed, and without end.
fn diff_id(reader: &dyn Reader, digest: &Digest, size: u64) -> io::Result<Digest> {
    let content = reader.open(&layout::image_blob(digest))?;
    let content = content.ok_or_else(|| io::Error::other("is gone since it was hashed"))?;
    let content = MultiGzDecoder::new(BufReader::with_capacity(64 * 1024, content.take(size)));
    unpacked_digest(content, LARGEST_LAYER)
}

fn unpacked_digest(content: impl Read, largest: u64) -> io::Result<Digest> {
    let (digest, size) = hash::sha256_of(content.take(largest.saturating_add(1)))?;
    if size > largest {
        let message = format!("unpacks to more than {largest} bytes");
        return Err(io::Error::new(ErrorKind::FileTooLarge, message));
    }
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_without_end_is_not_unpacked_to_its_end() {
        let error = unpacked_digest(io::repeat(0), 1000).unwrap_err();
        assert_eq!(error.to_string(), "unpacks to more than 1000 bytes");
        assert_eq!(unpacked_digest(&b"abc"[..], 3).unwrap(), hash::sha256(b"abc"));
        assert!(unpacked_digest(&b"abcd"[..], 3).is_err());
    }

    /// A server that sends empty gzip members without end.
    struct Endless;

    impl Reader for Endless {
        fn open(&self, _name: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
            Ok(Some(Box::new(Members(0))))
        }

        fn list(&self, _prefix: &str) -> io::Result<Option<Vec<String>>> {
            Ok(None)
        }

        fn place(&self) -> String {
            "endless".to_owned()
        }
    }

    struct Members(usize);

    impl Read for Members {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            const EMPTY: [u8; 20] = [31, 139, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            for byte in buffer.iter_mut() {
                *byte = EMPTY[self.0 % EMPTY.len()];
                self.0 += 1;
            }
            assert!(self.0 < 1 << 20, "far more is read than was signed");
            Ok(buffer.len())
        }
    }

    #[test]
    fn members_without_end_are_not_read_to_their_end() {
        let digest = diff_id(&Endless, &hash::sha256(b""), 200).unwrap();
        assert_eq!(digest, hash::sha256(b""));
    }
}
