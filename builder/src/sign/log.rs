//! Writes the distributor's append-only log: static files in the store (C2SP tlog-tiles).
//!
//! One leaf an append. The exclusive creation of the entries tile of width n+1 decides what leaf n is; hash tiles
//! follow from it; the checkpoint is swapped last. Whoever finds an entries tile ahead of the checkpoint finishes
//! that append first, so a crash at any point leaves nothing that needs cleaning.

use std::{fs, io, path::PathBuf};

use kdistro_border::{Content, SignError, Signer, Store, StoreError};
use kdistro_formats::{ChannelName, Digest, layout};
use kdistro_verify::{
    log::{
        Checkpoint, LogError as ReadError, TILE_WIDTH, Tree, leaf_hash, node_hash, open_checkpoint,
        tile_path, unpack_entries,
    },
    trust::{PublicKey, TrustError},
};

use crate::home::write_whole;

/// The log of one environment.
pub struct Log<'a> {
    /// Where it lies.
    pub store: &'a dyn Store,
    /// Its name: origin line and name of the signature key.
    pub origin: &'a str,
    /// Signs its checkpoints.
    pub signer: &'a dyn Signer,
    /// Where this machine keeps the last head it saw, outside the store.
    pub head: PathBuf,
}

/// A leaf that stands in the log, with the proof.
#[derive(Clone, Debug)]
pub struct Appended {
    /// The leaf.
    pub leaf: Vec<u8>,
    /// Its index, from 0.
    pub index: u64,
    /// The size of the tree that the proof is for.
    pub tree_size: u64,
    /// Its root.
    pub root: Digest,
    /// The inclusion proof.
    pub proof: Vec<Digest>,
    /// The signed head.
    pub checkpoint: String,
}

/// Why the log cannot be appended to.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What lies in the store is not the log that we wrote.
    #[error("the log in the store cannot be read, or is not what was written")]
    Read(#[from] ReadError),
    /// The log key refused.
    #[error("cannot sign the checkpoint")]
    Sign(#[from] SignError),
    /// The log key is not one.
    #[error("the log's key")]
    Key(#[from] TrustError),
    /// The head that this machine saw last is not part of the log.
    #[error("the log does not contain the head that {} holds: it was cut or forked\nhelp:  find out who wrote to the store before anything else is signed", path.display())]
    Forked {
        /// Where the last head is kept.
        path: PathBuf,
        /// What is wrong.
        source: ReadError,
    },
    /// A tree that something signed proves is not part of the log.
    #[error(
        "the log does not contain the tree that `{by}` proves: it was cut or forked\nhelp:  find out who wrote to the store before anything else is signed"
    )]
    Lost {
        /// What proves it.
        by: String,
        /// What is wrong.
        source: ReadError,
    },
    /// A leaf that none of our signers made.
    #[error(
        "`{0}` holds a leaf that this key did not sign; remove it only when you know who wrote it"
    )]
    Foreign(String),
    /// A leaf that does not fit into an entries tile.
    #[error("a leaf has {0} bytes, expected 1 to 65535")]
    Size(usize),
    /// The kept head cannot be read or written.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others appended again and again.
    #[error("other writers kept appending; try again")]
    Crowded,
}

impl Log<'_> {
    /// Returns the key that signs checkpoints.
    pub fn public_key(&self) -> Result<PublicKey, TrustError> {
        PublicKey::from_spki_der(self.signer.public_key())
    }

    /// Appends a leaf, or finds it where it stands already.
    ///
    /// `is_ours` says whether a leaf left by a dead writer may be finished.
    pub fn append(
        &self,
        leaf: &[u8],
        is_ours: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Appended, LogError> {
        if leaf.is_empty() || leaf.len() > usize::from(u16::MAX) {
            return Err(LogError::Size(leaf.len()));
        }
        for _ in 0..100 {
            let (text, head) = self.current()?;
            self.check_kept(head.as_ref())?;
            let size = head.as_ref().map_or(0, |head| head.size);
            if let Some(index) = self.find(leaf, size)? {
                return self.prove(leaf, index, text.unwrap_or_default());
            }
            // Whether it is our leaf or a dead writer's that this finishes, the next turn sees it.
            self.extend(leaf, text.as_deref(), size, is_ours)?;
        }
        Err(LogError::Crowded)
    }

    fn fetch(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        self.store.read(&format!("{}/{path}", layout::LOG)).map_err(io::Error::other)
    }

    /// The checkpoint in the store; `None` for a log that does not exist yet.
    fn current(&self) -> Result<(Option<String>, Option<Checkpoint>), LogError> {
        let Some(bytes) = self.store.read(layout::CHECKPOINT)? else { return Ok((None, None)) };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let checkpoint = open_checkpoint(&text, self.origin, &self.public_key()?)?;
        let fetch = |path: &str| self.fetch(path);
        let root = Tree::new(checkpoint.size, &fetch).root()?;
        if root != checkpoint.root {
            let (found, expected) = (root.to_string(), checkpoint.root.to_string());
            return Err(
                ReadError::Tile { path: layout::CHECKPOINT.to_owned(), found, expected }.into()
            );
        }
        Ok((Some(text), Some(checkpoint)))
    }

    /// Demands that the log still contains the head that this machine saw last.
    fn check_kept(&self, head: Option<&Checkpoint>) -> Result<(), LogError> {
        let text = match fs::read_to_string(&self.head) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(LogError::Io { path: self.head.clone(), source }),
        };
        let kept = open_checkpoint(&text, self.origin, &self.public_key()?)?;
        let fetch = |path: &str| self.fetch(path);
        let contained = match head {
            None => Err(ReadError::Cut { old: kept.size, new: 0 }),
            Some(head) => {
                Tree::new(head.size, &fetch).check_contains(kept.size, &kept.root, &head.root)
            }
        };
        contained.map_err(|source| match source {
            // Nobody could tell.
            ReadError::Read { .. } => source.into(),
            source => LogError::Forked { path: self.head.clone(), source },
        })
    }

    /// Where this machine keeps the bundle of an index that it saw last, outside of the store, beside the log's head.
    pub fn seen_file(&self, channel: &ChannelName) -> PathBuf {
        self.head.with_file_name(format!("{}.index-{channel}", self.origin))
    }

    /// The bundle of the index of a channel that this machine saw last.
    pub fn seen(&self, channel: &ChannelName) -> Result<Option<Vec<u8>>, LogError> {
        let path = self.seen_file(channel);
        match fs::read(&path) {
            Ok(kept) => Ok(Some(kept)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LogError::Io { path, source }),
        }
    }

    /// Keeps the bundle of an index.
    pub fn see(&self, channel: &ChannelName, bundle: &[u8]) -> Result<(), LogError> {
        if self.seen(channel)?.is_some_and(|kept| kept == bundle) {
            return Ok(());
        }
        let path = self.seen_file(channel);
        write_whole(&path, bundle).map_err(|source| LogError::Io { path, source })
    }

    /// Demands that the log contains a tree that `by`, something signed, proves.
    pub fn demand(&self, by: &str, (size, root): (u64, &Digest)) -> Result<(), LogError> {
        let lost = |source| match source {
            ReadError::Read { .. } => LogError::Read(source),
            source => LogError::Lost { by: by.to_owned(), source },
        };
        let fetch = |path: &str| self.fetch(path);
        match self.current()?.1 {
            Some(head) if head.size >= size => {
                Tree::new(head.size, &fetch).check_contains(size, root, &head.root).map_err(lost)
            }
            head => {
                let new = head.map_or(0, |head| head.size);
                Err(lost(ReadError::Cut { old: size, new }))
            }
        }
    }

    fn find(&self, leaf: &[u8], size: u64) -> Result<Option<u64>, LogError> {
        let fetch = |path: &str| self.fetch(path);
        let tree = Tree::new(size, &fetch);
        for tile in (0..size.div_ceil(TILE_WIDTH)).rev() {
            let entries = tree.entries(tile)?;
            if let Some(at) = entries.iter().position(|entry| entry == leaf) {
                return Ok(Some(tile * TILE_WIDTH + at as u64));
            }
        }
        Ok(None)
    }

    fn prove(&self, leaf: &[u8], index: u64, checkpoint: String) -> Result<Appended, LogError> {
        let head = open_checkpoint(&checkpoint, self.origin, &self.public_key()?)?;
        let fetch = |path: &str| self.fetch(path);
        let proof = Tree::new(head.size, &fetch).inclusion(index)?;
        let failed = |source| LogError::Io { path: self.head.clone(), source };
        write_whole(&self.head, checkpoint.as_bytes()).map_err(failed)?;
        let leaf = leaf.to_vec();
        Ok(Appended { leaf, index, tree_size: head.size, root: head.root, proof, checkpoint })
    }

    /// Takes place `size` for our leaf, or finishes what another writer put there; then swaps the checkpoint.
    fn extend(
        &self,
        leaf: &[u8],
        old: Option<&str>,
        size: u64,
        is_ours: &dyn Fn(&[u8]) -> bool,
    ) -> Result<(), LogError> {
        let (tile, at) = (size / TILE_WIDTH, size % TILE_WIDTH);
        let fetch = |path: &str| self.fetch(path);
        let mut entries = match at {
            0 => Vec::new(),
            _ => Tree::new(size, &fetch).entries(tile)?,
        };
        entries.truncate(usize::try_from(at).unwrap_or(usize::MAX));
        entries.push(leaf.to_vec());
        let path = tile_path("entries", tile, at + 1);
        let next = self.decide(&path, &pack(&entries), is_ours)?;
        // Read again: if the head moved meanwhile, that append is done and must not be signed for twice.
        let now = self.store.read(layout::CHECKPOINT)?;
        if now.as_deref() != old.map(str::as_bytes) {
            return Ok(());
        }
        let root = self.write_hashes(size, leaf_hash(&next))?;
        let checkpoint = Checkpoint { origin: self.origin.to_owned(), size: size + 1, root };
        let signature = self.signer.sign(checkpoint.body().as_bytes())?;
        let text = checkpoint.to_text(&self.public_key()?, &signature);
        self.store.swap(layout::CHECKPOINT, old.map(str::as_bytes), text.as_bytes())?;
        Ok(())
    }

    /// Creates the entries tile, or reads the leaf that somebody else put there.
    fn decide(
        &self,
        path: &str,
        tile: &[u8],
        is_ours: &dyn Fn(&[u8]) -> bool,
    ) -> Result<Vec<u8>, LogError> {
        let name = format!("{}/{path}", layout::LOG);
        let there = match self.store.create(&name, Content::Bytes(tile)) {
            Ok(_) => tile.to_vec(),
            Err(StoreError::Conflict { .. }) => self.store.read(&name)?.unwrap_or_default(),
            Err(error) => return Err(error.into()),
        };
        let last = unpack_entries(&there).and_then(|mut entries| entries.pop());
        last.filter(|leaf| is_ours(leaf)).ok_or(LogError::Foreign(name))
    }

    /// Writes the hash tiles that leaf `index` completes or lengthens; returns the new root.
    fn write_hashes(&self, index: u64, leaf: Digest) -> Result<Digest, LogError> {
        let fetch = |path: &str| self.fetch(path);
        let mut old = Tree::new(index, &fetch);
        let mut new = Tree::new(index + 1, &fetch);
        let (mut level, mut at, mut hash) = (0, index, leaf);
        loop {
            let (tile, offset) = (at / TILE_WIDTH, at % TILE_WIDTH);
            let mut hashes = if offset == 0 { Vec::new() } else { old.tile(level, tile)?.to_vec() };
            hashes.truncate(usize::try_from(offset).unwrap_or(usize::MAX));
            hashes.push(hash);
            let path = tile_path(&level.to_string(), tile, hashes.len() as u64);
            let bytes: Vec<u8> = hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
            // The same bytes whoever writes them: they follow from the entries.
            self.store.create(&format!("{}/{path}", layout::LOG), Content::Bytes(&bytes))?;
            let full = hashes.len() as u64 == TILE_WIDTH;
            hash = fold(&hashes);
            new.put(level, tile, hashes);
            if !full {
                return Ok(new.root()?);
            }
            (level, at) = (level + 1, at / TILE_WIDTH);
        }
    }
}

/// The node above a full tile of hashes.
fn fold(hashes: &[Digest]) -> Digest {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => node_hash(left, right),
                rest => rest.first().copied().unwrap_or(Digest::from_bytes([0; 32])),
            })
            .collect();
    }
    row.first().copied().unwrap_or(Digest::from_bytes([0; 32]))
}

/// Writes leaves as C2SP tlog-tiles has them: each with its length in two bytes before it.
fn pack(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        // `append` refused longer ones.
        let length = u16::try_from(entry.len()).unwrap_or(u16::MAX);
        bytes.extend(length.to_be_bytes());
        bytes.extend(entry);
    }
    bytes
}

#[cfg(test)]
mod tests;
