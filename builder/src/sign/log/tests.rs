//! The log on a real directory, with writers that die before any of their writes.

use std::sync::atomic::{AtomicI64, Ordering};

use kdistro_border::{Created, Directory, KeyFile, Stored};

use super::*;
use crate::sign::leaf;

/// A directory whose writer dies before its n-th write.
struct Dying<'a> {
    inner: &'a Directory,
    left: AtomicI64,
}

impl Dying<'_> {
    fn live(&self, name: &str) -> Result<(), StoreError> {
        if self.left.fetch_sub(1, Ordering::SeqCst) > 0 {
            return Ok(());
        }
        let source = io::Error::other("the writer died");
        Err(StoreError::Service { name: name.to_owned(), source: Box::new(source) })
    }
}

impl Store for Dying<'_> {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.read(name)
    }

    fn open(&self, name: &str) -> Result<Option<Box<dyn io::Read + Send + '_>>, StoreError> {
        self.inner.open(name)
    }

    fn stat(&self, name: &str) -> Result<Option<Stored>, StoreError> {
        self.inner.stat(name)
    }

    fn create(&self, name: &str, content: Content<'_>) -> Result<Created, StoreError> {
        self.live(name)?;
        self.inner.create(name, content)
    }

    fn swap(&self, name: &str, old: Option<&[u8]>, new: &[u8]) -> Result<bool, StoreError> {
        self.live(name)?;
        self.inner.swap(name, old, new)
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        self.inner.list(prefix)
    }

    fn place(&self) -> String {
        self.inner.place()
    }
}

struct Bench {
    folder: tempfile::TempDir,
    store: Directory,
    key: KeyFile,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Directory::new(folder.path().join("store"));
        let key = KeyFile::generate(&folder.path().join("key")).unwrap();
        Self { folder, store, key }
    }

    fn log<'a>(&'a self, store: &'a dyn Store) -> Log<'a> {
        let head = self.folder.path().join("head");
        Log { store, origin: "log.example", signer: &self.key, head }
    }

    fn public(&self) -> PublicKey {
        PublicKey::from_spki_der(self.key.public_key()).unwrap()
    }

    fn leaf(&self, text: &str) -> Vec<u8> {
        let signature = self.key.sign(text.as_bytes()).unwrap();
        let digest = kdistro_verify::hash::sha256(text.as_bytes());
        leaf::hashedrekord(&digest, &signature, &self.public()).unwrap()
    }

    fn append(&self, store: &dyn Store, leaf: &[u8]) -> Result<Appended, LogError> {
        let public = self.public();
        self.log(store).append(leaf, &|other| leaf::is_signed_by(other, &public))
    }

    /// Reads all leaves back and checks them against the tiles and the signed root.
    fn audit(&self) -> Vec<Vec<u8>> {
        let log = self.log(&self.store);
        let (_, head) = log.current().unwrap();
        let head = head.unwrap();
        let fetch = |path: &str| log.fetch(path);
        let mut tree = Tree::new(head.size, &fetch);
        let mut leaves = Vec::new();
        for tile in 0..head.size.div_ceil(TILE_WIDTH) {
            leaves.extend(tree.entries(tile).unwrap());
        }
        assert_eq!(leaves.len() as u64, head.size);
        for (index, leaf) in (0..).zip(&leaves) {
            assert_eq!(tree.range(index, index + 1).unwrap(), leaf_hash(leaf), "leaf {index}");
        }
        leaves
    }
}

#[test]
fn leaves_past_a_full_tile_are_proven() {
    let bench = Bench::new();
    let leaves: Vec<_> = (0..260).map(|n| bench.leaf(&format!("document {n}"))).collect();
    for (index, leaf) in (0..).zip(&leaves) {
        let appended = bench.append(&bench.store, leaf).unwrap();
        assert_eq!((appended.index, appended.tree_size), (index, index + 1));
    }
    assert_eq!(bench.audit(), leaves);
    let again = bench.append(&bench.store, &leaves[7]).unwrap();
    assert_eq!((again.index, again.tree_size), (7, 260), "the same leaf is not logged twice");
}

#[test]
fn a_writer_that_dies_anywhere_leaves_a_log_that_goes_on() {
    for deaths in 0..14 {
        let bench = Bench::new();
        let leaves: Vec<_> = (0..4).map(|n| bench.leaf(&format!("document {n}"))).collect();
        let dying = Dying { inner: &bench.store, left: AtomicI64::new(deaths) };
        let mut heads = Vec::new();
        for leaf in &leaves {
            match bench.append(&dying, leaf) {
                Ok(appended) => heads.push(appended),
                Err(LogError::Store(StoreError::Service { .. })) => break,
                Err(error) => panic!("{error:?}"),
            }
        }
        // Another writer comes first, with a document of its own, then the dead one is started again.
        let other = bench.leaf("other");
        bench.append(&bench.store, &other).unwrap();
        for leaf in &leaves {
            bench.append(&bench.store, leaf).unwrap();
        }
        let found = bench.audit();
        for leaf in leaves.iter().chain([&other]) {
            assert_eq!(found.iter().filter(|found| *found == leaf).count(), 1, "{deaths} writes");
        }
        for head in heads {
            let log = bench.log(&bench.store);
            let fetch = |path: &str| log.fetch(path);
            let now = log.current().unwrap().1.unwrap();
            Tree::new(now.size, &fetch)
                .check_contains(head.tree_size, &head.root, &now.root)
                .unwrap();
        }
    }
}

#[test]
fn a_log_that_was_cut_or_holds_a_foreign_leaf_is_not_signed_for() {
    let bench = Bench::new();
    bench.append(&bench.store, &bench.leaf("a")).unwrap();
    let old = fs::read(bench.folder.path().join("store/log/checkpoint")).unwrap();
    bench.append(&bench.store, &bench.leaf("b")).unwrap();
    fs::write(bench.folder.path().join("store/log/checkpoint"), old).unwrap();
    let refused = bench.append(&bench.store, &bench.leaf("c"));
    assert!(matches!(refused, Err(LogError::Forked { .. })), "{refused:?}");

    let bench = Bench::new();
    let foreign = Bench::new().leaf("foreign");
    let tile = pack(std::slice::from_ref(&foreign));
    bench.store.create("log/tile/entries/000.p/1", Content::Bytes(&tile)).unwrap();
    let refused = bench.append(&bench.store, &bench.leaf("a"));
    assert!(matches!(refused, Err(LogError::Foreign(_))), "{refused:?}");
}

#[test]
fn writers_at_the_same_time_each_get_a_leaf() {
    let bench = Bench::new();
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let bench = &bench;
            scope.spawn(move || {
                for n in 0..5 {
                    let leaf = bench.leaf(&format!("writer {writer} document {n}"));
                    bench.append(&bench.store, &leaf).unwrap();
                }
            });
        }
    });
    assert_eq!(bench.audit().len(), 15);
}
