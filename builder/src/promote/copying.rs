//! Copies while it verifies: what the verifier reads of the one store is taken in by the other at the same time, or kept
//! on this machine where both are elsewhere. Nothing of it has a name before everything is verified.

use std::{
    collections::BTreeSet,
    io::{self, Read},
    mem,
    sync::atomic::{AtomicUsize, Ordering},
};

use kdistro_border::{Incoming, Store, StoreError};
use kdistro_formats::{ReleaseName, layout};
use kdistro_verify::store::Reader;

use super::Origin;
use crate::content::ContentStore;

/// Smaller content is read again when it is copied: that costs less than a file that is open meanwhile.
const SMALL: usize = 256 * 1024;

/// How many files are taken in at most: each may stay open until it has a name.
const MOST: usize = 256;

/// A store as the verifier reads it.
pub(super) struct Copying<'a> {
    reader: &'a dyn Reader,
    /// Takes content in.
    into: Into<'a>,
    /// Names that the other store has.
    present: BTreeSet<String>,
    /// How many files may still be taken in.
    room: AtomicUsize,
}

/// Who takes content in.
enum Into<'a> {
    Store(&'a dyn Store),
    Content(&'a ContentStore),
}

impl<'a> Copying<'a> {
    /// Reads `origin` through `reader` for a promotion into `store`; by way of `content` where the origin is not a
    /// folder of this machine.
    pub(super) fn new(
        (origin, reader): (&Origin, &'a dyn Reader),
        (store, content): (&'a dyn Store, &'a ContentStore),
        release: &ReleaseName,
    ) -> Result<Self, StoreError> {
        let mut present = BTreeSet::new();
        for folder in [layout::release(release), layout::INPUTS.into(), layout::IMAGES.into()] {
            present.extend(store.list(&format!("{}/", folder.trim_end_matches('/')))?);
        }
        let is_near = origin.store.folder().is_some();
        let into = if is_near { Into::Store(store) } else { Into::Content(content) };
        Ok(Self { reader, into, present, room: AtomicUsize::new(MOST) })
    }

    /// Begins to take in one more file; none where that is impossible: then it is copied later, and that tells why.
    fn receive(&self) -> Option<Box<dyn Incoming + 'a>> {
        let take = |room: usize| room.checked_sub(1);
        self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        match self.into {
            Into::Store(store) => store.receive().ok()?.map(|incoming| incoming as _),
            Into::Content(content) => content.create().ok().map(|new| Box::new(new) as _),
        }
    }
}

impl Reader for Copying<'_> {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
        let content = self.reader.open(name)?;
        if self.present.contains(name) {
            return Ok(content);
        }
        let tee =
            |inner| Box::new(Tee { inner, copying: self, copy: Copy::Small(Vec::new()) }) as _;
        Ok(content.map(tee))
    }

    fn open_document(&self, name: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
        self.reader.open_document(name)
    }

    fn list(&self, prefix: &str) -> io::Result<Option<Vec<String>>> {
        self.reader.list(prefix)
    }

    fn place(&self) -> String {
        self.reader.place()
    }
}

/// What became of the copy of a file.
enum Copy<'a> {
    /// It is not known to be large yet: its beginning.
    Small(Vec<u8>),
    /// On its way.
    Large(Box<dyn Incoming + 'a>),
    /// It is not copied, or was to its end.
    None,
}

/// A file that is copied while it is read.
struct Tee<'a> {
    inner: Box<dyn Read + 'a>,
    copying: &'a Copying<'a>,
    copy: Copy<'a>,
}

impl Tee<'_> {
    /// Copies what was read; nothing at the end. Whatever fails is copied later instead.
    fn copy(&mut self, read: &[u8]) {
        self.copy = match mem::replace(&mut self.copy, Copy::None) {
            Copy::Small(mut beginning) if !read.is_empty() => {
                beginning.extend_from_slice(read);
                if beginning.len() < SMALL {
                    Copy::Small(beginning)
                } else {
                    let incoming = self.copying.receive();
                    incoming.map_or(Copy::None, |incoming| write(incoming, &beginning))
                }
            }
            Copy::Large(incoming) if read.is_empty() => {
                // What cannot be ended is gone, as if it never had been begun.
                let _ = incoming.finish();
                Copy::None
            }
            Copy::Large(incoming) => write(incoming, read),
            Copy::Small(_) | Copy::None => Copy::None,
        };
    }
}

fn write<'a>(mut incoming: Box<dyn Incoming + 'a>, bytes: &[u8]) -> Copy<'a> {
    if incoming.write_all(bytes).is_ok() { Copy::Large(incoming) } else { Copy::None }
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if !buffer.is_empty() {
            self.copy(buffer.get(..count).unwrap_or_default());
        }
        Ok(count)
    }
}
