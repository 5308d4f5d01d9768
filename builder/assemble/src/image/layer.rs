//! Layers: gzipped tars, hashed before and after the compression while they are written.

use std::{collections::BTreeSet, io::Write};

use kdistro_formats::{
    Digest,
    oci::{Descriptor, LAYER_GZIP},
};
use kdistro_verify::hash::Hasher;

use super::ImageError;
use crate::{
    entry::{Entry, EntryKind, EntryPath},
    gzip::GzipWriter,
    tar::TarWriter,
};

/// A layer that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The digest of the plain tar, which the image's configuration names.
    pub diff_id: Digest,
    /// The length of the plain tar in bytes.
    pub uncompressed_size: u64,
    /// The digest of the gzipped tar, which the image's manifest names.
    pub digest: Digest,
    /// The length of the gzipped tar in bytes.
    pub size: u64,
}

impl Layer {
    /// Names the gzipped tar.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(LAYER_GZIP, self.digest, self.size)
    }
}

/// Writes entries as a layer: the canonical tar of [`TarWriter`], compressed by the encoder of [`crate::gzip`].
///
/// The directories above an entry that were not appended themselves are written before it, with mode 0755. A layer
/// above another therefore has to name a directory of other mode (`tmp`) again, before what lies in it.
pub struct LayerWriter<W: Write> {
    tar: TarWriter<Hasher<GzipWriter<Hasher<W>>>>,
    directories: BTreeSet<EntryPath>,
    /// All else, so that nothing is put below it.
    others: BTreeSet<EntryPath>,
}

impl<W: Write> LayerWriter<W> {
    /// Starts a layer; `mtime` of every entry is in seconds since 1970.
    pub fn new(out: W, mtime: u64) -> Self {
        let gzip = GzipWriter::new(Hasher::new(out));
        Self {
            tar: TarWriter::new(Hasher::new(gzip), mtime),
            directories: BTreeSet::new(),
            others: BTreeSet::new(),
        }
    }

    /// Adds an entry; each must come after the one before in bytewise order of the paths.
    pub fn append(&mut self, entry: Entry<'_>) -> Result<(), ImageError> {
        let path = entry.path.clone();
        let is_directory = matches!(entry.kind, EntryKind::Directory { .. });
        self.append_parents(&path)?;
        self.tar.append(entry)?;
        if is_directory { &mut self.directories } else { &mut self.others }.insert(path);
        Ok(())
    }

    fn append_parents(&mut self, path: &EntryPath) -> Result<(), ImageError> {
        let mut missing = Vec::new();
        let mut below = path.parent();
        while let Some(parent) = below.filter(|parent| !self.directories.contains(parent)) {
            if self.others.contains(&parent) {
                return Err(ImageError::Below { path: path.clone(), above: parent });
            }
            below = parent.parent();
            missing.push(parent);
        }
        for parent in missing.into_iter().rev() {
            self.tar.append_parent(&parent)?;
            self.directories.insert(parent);
        }
        Ok(())
    }

    /// Ends the layer, and returns the writer and what was written.
    pub fn finish(self) -> Result<(W, Layer), ImageError> {
        let (gzip, diff_id, uncompressed_size) = self.tar.finish()?.finish();
        let (out, digest, size) = gzip.finish().map_err(ImageError::Write)?.finish();
        Ok((out, Layer { diff_id, uncompressed_size, digest, size }))
    }
}
