//! Reads a store for the verifier, once: what it judged is what is promoted, whatever the store gives next.
//!
//! Documents are kept in memory. Large content is copied meanwhile: taken in by the other store, or kept on this machine
//! where the first is elsewhere. Nothing of it has a name before everything is verified.
//!
//! What the other store takes in is not hashed a second time. The verifier got those very bytes, once and to their end,
//! and compared them with the digest that is signed for the name under which it asked for them: this is their digest, once
//! it found nothing wrong.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    io::{self, Cursor, Read, Write},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use kdistro_border::{self as border, Store, StoreError, Whole};
use kdistro_formats::{ReleaseName, layout};
use kdistro_verify::store::Reader;

use super::Origin;
use crate::{
    content::{ContentStore, NewContent},
    publish::files::Upload,
};

/// Smaller content is read again when it is copied: that costs less than a file that is open meanwhile.
const SMALL: usize = 256 * 1024;

/// How many files are taken in at most: each may stay open until it has a name.
const MOST: usize = 256;

/// A store as the verifier reads it.
pub(super) struct Copying<'a> {
    reader: &'a dyn Reader,
    /// Every document that was read, by name: none is read twice.
    documents: Mutex<BTreeMap<String, Arc<[u8]>>>,
    /// Takes content in.
    taker: Taker<'a>,
    /// Names that the other store has.
    present: BTreeSet<String>,
    /// How many files may still be taken in.
    room: AtomicUsize,
    /// Every file that was opened to be copied, by name.
    opened: Mutex<BTreeMap<String, Opened>>,
}

/// What is known of a file that was opened.
enum Opened {
    /// It was not read to its end, or is not copied.
    Once,
    /// It was, and this is its copy.
    Read(Whole),
    /// Nobody can say which of the two is in the copy.
    Twice,
}

/// Who takes content in.
enum Taker<'a> {
    Nobody,
    Store(&'a dyn Store),
    Content(&'a ContentStore),
}

impl<'a> Copying<'a> {
    /// Reads only.
    pub(super) fn nothing(reader: &'a dyn Reader) -> Self {
        Self {
            reader,
            documents: Mutex::default(),
            taker: Taker::Nobody,
            present: BTreeSet::new(),
            room: AtomicUsize::new(0),
            opened: Mutex::default(),
        }
    }

    /// Reads `origin` through `reader` for a promotion into `store`; by way of `content` where the origin is not a
    /// folder of this machine.
    pub(super) fn new(
        (origin, reader): (&Origin, &'a dyn Reader),
        (store, content): (&'a dyn Store, &'a ContentStore),
        release: &ReleaseName,
    ) -> Result<Self, StoreError> {
        let mut present = BTreeSet::new();
        for folder in [layout::release(release), layout::INPUTS.into(), layout::IMAGES.into()] {
            present.extend(store.list(&format!("{folder}/"))?);
        }
        let is_near = origin.store.folder().is_some();
        let taker = if is_near { Taker::Store(store) } else { Taker::Content(content) };
        Ok(Self { taker, present, room: AtomicUsize::new(MOST), ..Self::nothing(reader) })
    }

    /// A document as the verifier read it; none where it read none of this name.
    pub(super) fn document(&self, name: &str) -> Option<Arc<[u8]>> {
        self.documents.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Keeps a document, unless another reader was first; returns the one that is kept.
    fn keep(&self, name: &str, bytes: Vec<u8>) -> Arc<[u8]> {
        let mut documents = self.documents.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(documents.entry(name.to_owned()).or_insert_with(|| bytes.into()))
    }

    /// Begins to take in one more file; none where that is impossible: then it is copied later, and that tells why.
    fn receive(&self) -> Option<Incoming<'a>> {
        let take = |room: usize| room.checked_sub(1);
        self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        match self.taker {
            Taker::Nobody => None,
            Taker::Store(store) => store.receive().ok()?.map(Incoming::Store),
            Taker::Content(content) => content.create().ok().map(Incoming::Content),
        }
    }

    fn opened(&self) -> MutexGuard<'_, BTreeMap<String, Opened>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a file is opened; true where it was not before.
    fn is_first(&self, name: &str) -> bool {
        match self.opened().entry(name.to_owned()) {
            Entry::Vacant(entry) => {
                entry.insert(Opened::Once);
                true
            }
            Entry::Occupied(mut entry) => {
                entry.insert(Opened::Twice);
                false
            }
        }
    }

    /// Keeps the copy of a file that was read to its end.
    fn end(&self, name: &str, whole: Whole) {
        if let Some(opened @ Opened::Once) = self.opened().get_mut(name) {
            *opened = Opened::Read(whole);
        }
    }

    /// Gives the other store what was copied as what the verifier found it to be: only to be called when it found
    /// everything to be as signed, and with what that says. Nothing else that was copied stays.
    pub(super) fn hand_over(&self, verified: &[Upload]) {
        let mut opened = mem::take(&mut *self.opened());
        for upload in verified {
            if let Upload::Stored { name, digest, size } = upload
                && let Some(Opened::Read(whole)) = opened.remove(name)
                && whole.size() == *size
            {
                // What could not be written is copied once more, and that tells why.
                let _ = whole.keep(*digest);
            }
        }
    }
}

/// Content that is being taken in.
enum Incoming<'a> {
    /// By the other store.
    Store(border::Incoming),
    /// By the content store, which hashes it.
    Content(NewContent<'a>),
}

impl Reader for Copying<'_> {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
        let content = self.reader.open(name)?;
        if self.present.contains(name) || !self.is_first(name) {
            return Ok(content);
        }
        Ok(content.map(|inner| Box::new(Tee::new(self, name, inner)) as _))
    }

    fn open_document(&self, name: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
        if let Some(kept) = self.document(name) {
            return Ok(Some(Box::new(Cursor::new(kept))));
        }
        let Some(content) = self.reader.open_document(name)? else { return Ok(None) };
        // One byte more than any document may have is enough for the verifier to refuse it.
        let mut bytes = Vec::new();
        content.take(layout::LARGEST_DOCUMENT + 1).read_to_end(&mut bytes)?;
        Ok(Some(Box::new(Cursor::new(self.keep(name, bytes)))))
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
    Large(Incoming<'a>),
    /// It is not copied, or was to its end.
    None,
}

/// A file that is copied while it is read.
struct Tee<'a> {
    inner: Box<dyn Read + 'a>,
    copying: &'a Copying<'a>,
    name: String,
    copy: Copy<'a>,
}

impl<'a> Tee<'a> {
    fn new(copying: &'a Copying<'a>, name: &str, inner: Box<dyn Read + 'a>) -> Self {
        Self { inner, copying, name: name.to_owned(), copy: Copy::Small(Vec::new()) }
    }

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
                self.end(incoming);
                Copy::None
            }
            Copy::Large(incoming) => write(incoming, read),
            Copy::Small(_) | Copy::None => Copy::None,
        };
    }

    /// Ends a copy. What cannot be ended is gone, as if it never had been begun.
    fn end(&self, incoming: Incoming<'_>) {
        match incoming {
            Incoming::Store(incoming) => {
                if let Ok(whole) = incoming.finish() {
                    self.copying.end(&self.name, whole);
                }
            }
            Incoming::Content(new) => {
                let _ = new.keep();
            }
        }
    }
}

fn write<'a>(mut incoming: Incoming<'a>, bytes: &[u8]) -> Copy<'a> {
    let written = match &mut incoming {
        Incoming::Store(incoming) => incoming.write_all(bytes),
        Incoming::Content(new) => new.write_all(bytes),
    };
    if written.is_ok() { Copy::Large(incoming) } else { Copy::None }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A store that never gives the same twice.
    #[derive(Default)]
    struct Changing(AtomicUsize);

    impl Reader for Changing {
        fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
            let count = self.0.fetch_add(1, Ordering::Relaxed);
            Ok((name != "nothing").then(|| Box::new(Cursor::new(format!("{name} {count}"))) as _))
        }

        fn list(&self, _: &str) -> io::Result<Option<Vec<String>>> {
            Ok(None)
        }

        fn place(&self) -> String {
            "changing".to_owned()
        }
    }

    #[test]
    fn what_the_verifier_read_is_what_is_promoted() {
        let changing = Changing::default();
        let copying = Copying::nothing(&changing);
        let read = |name: &str| kdistro_verify::store::read(&copying, name, 100).unwrap();
        assert_eq!(copying.document("plan"), None, "it was not read");
        assert_eq!(read("plan").unwrap(), b"plan 0");
        assert_eq!(read("claim").unwrap(), b"claim 1");
        assert_eq!(read("plan").unwrap(), b"plan 0");
        assert_eq!(&*copying.document("plan").unwrap(), b"plan 0");
        assert_eq!(read("nothing"), None);
        assert_eq!(copying.document("nothing"), None);
    }

    #[test]
    fn large_content_is_kept_when_it_is_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let content = ContentStore::new(folder.path().to_owned());
        let changing = Changing::default();
        let taker = Taker::Content(&content);
        let copying = Copying { taker, room: AtomicUsize::new(1), ..Copying::nothing(&changing) };
        let digest = |bytes: &[u8]| kdistro_verify::hash::sha256(bytes);
        let read = |bytes: &[u8], most: usize| {
            let inner = Box::new(Cursor::new(bytes.to_vec()));
            let tee = Tee::new(&copying, "large", inner);
            io::copy(&mut tee.take(most as u64), &mut io::sink()).unwrap();
            content.has(&digest(bytes))
        };
        let (large, other) = (vec![1; SMALL], vec![2; SMALL]);
        assert!(!read(&vec![3; SMALL - 1], SMALL), "small content");
        assert!(read(&large, SMALL + 1));
        // Only so many.
        assert!(!read(&other, SMALL + 1));
        copying.room.store(1, Ordering::Relaxed);
        assert!(!read(&other, SMALL), "its end was not seen");
    }

    /// A store of which every file is one that the verifier would judge.
    struct Named(BTreeMap<&'static str, Vec<u8>>);

    impl Reader for Named {
        fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
            Ok(self.0.get(name).map(|bytes| Box::new(bytes.as_slice()) as _))
        }

        fn list(&self, _: &str) -> io::Result<Option<Vec<String>>> {
            Ok(None)
        }

        fn place(&self) -> String {
            "named".to_owned()
        }
    }

    #[test]
    fn only_what_was_read_once_and_to_its_end_is_handed_over() {
        let folder = tempfile::tempdir().unwrap();
        let store = kdistro_border::Directory::new(folder.path().join("store"));
        let names = ["good", "half", "twice", "other size", "unsigned", "good too"];
        let large = |number: usize| vec![7; SMALL + number];
        let named =
            Named(names.into_iter().enumerate().map(|(n, name)| (name, large(n))).collect());
        let copying = Copying {
            taker: Taker::Store(&store),
            room: AtomicUsize::new(MOST),
            ..Copying::nothing(&named)
        };
        let read = |name: &str, less: u64| {
            let most = named.0[name].len() as u64 + 1 - less;
            let content = copying.open(name).unwrap().unwrap();
            io::copy(&mut content.take(most), &mut io::sink()).unwrap();
        };
        for name in names {
            read(name, u64::from(name == "half"));
        }
        read("twice", 0);
        let signed = |name: &&str| {
            let bytes = &named.0[*name];
            let size = bytes.len() as u64 + u64::from(*name == "other size");
            let digest = kdistro_verify::hash::sha256(bytes);
            Upload::Stored { name: (*name).to_owned(), digest, size }
        };
        let verified: Vec<_> =
            names.iter().filter(|name| **name != "unsigned").map(signed).collect();
        // Nothing is the store's before that.
        assert!(!is_taken_in(&store, "before", &signed(&"good")));
        copying.hand_over(&verified);
        let kept = names.into_iter().filter(|name| is_taken_in(&store, name, &signed(name)));
        assert_eq!(kept.collect::<Vec<_>>(), ["good", "good too"]);
        assert_eq!(store.read("good too").unwrap().unwrap(), named.0["good too"]);
        let left = std::fs::read_dir(folder.path().join("store/.kdistro-store")).unwrap();
        assert_eq!(left.count(), 0, "what is not kept stayed");
    }

    /// True where a store has content without a file of it.
    fn is_taken_in(store: &dyn Store, name: &str, upload: &Upload) -> bool {
        let (path, digest, size) =
            (std::path::Path::new("/nowhere"), upload.digest(), upload.size());
        store.create(name, kdistro_border::Content::File { path, digest, size }).is_ok()
    }
}
