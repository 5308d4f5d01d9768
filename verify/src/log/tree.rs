//! The Merkle tree of the log, read through its tiles, and proofs about it.
//!
//! Source: RFC 6962, section 2.1; C2SP `tlog-tiles`.

use std::{collections::HashMap, io};

use kdistro_formats::Digest;
use sigstore_merkle::{hash_children, hash_leaf};
use sigstore_types::Sha256Hash;

use super::{LogError, TILE_WIDTH};
use crate::hash;

/// Reads a file of the log by its path in the log's folder; none when it is not there.
pub type Fetch<'a> = &'a dyn Fn(&str) -> io::Result<Option<Vec<u8>>>;

/// Levels of tiles that a tree of 2^64 leaves has.
const LEVELS: u32 = 8;

/// The path of a tile: `tile/0/x001/234.p/5` is tile 1234 of level 0, five of 256 wide.
pub fn tile_path(level: &str, index: u64, width: u64) -> String {
    let (mut path, mut rest) = (format!("{:03}", index % 1000), index / 1000);
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    if width == TILE_WIDTH {
        format!("tile/{level}/{path}")
    } else {
        format!("tile/{level}/{path}.p/{width}")
    }
}

/// A file of the log by what its name says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TreeFile {
    /// The signed head.
    Checkpoint,
    /// Hashes.
    Tile {
        /// The level, 0 for leaves.
        level: u32,
        /// Which tile of the level.
        index: u64,
        /// How many hashes it has.
        width: u64,
    },
    /// Leaves themselves.
    Entries {
        /// Which bundle of leaves.
        index: u64,
        /// How many leaves it has.
        width: u64,
    },
}

impl TreeFile {
    /// Reads a path in the log's folder; none for a name that no file of a log has.
    pub fn parse(path: &str) -> Option<Self> {
        if path == "checkpoint" {
            return Some(Self::Checkpoint);
        }
        let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => {
                (index, width.parse().ok().filter(|&width| width < TILE_WIDTH)?)
            }
            None => (rest, TILE_WIDTH),
        };
        let digits: String = index.chars().filter(char::is_ascii_digit).collect();
        let index = digits.parse().ok()?;
        let file = if level == "entries" {
            Self::Entries { index, width }
        } else {
            Self::Tile { level: level.parse().ok().filter(|&level| level < LEVELS)?, index, width }
        };
        // One name only: the path must be the one this file is written under.
        (width > 0 && tile_path(level, index, width) == path && file.level_name() == level)
            .then_some(file)
    }

    fn level_name(&self) -> String {
        match self {
            Self::Tile { level, .. } => level.to_string(),
            Self::Entries { .. } | Self::Checkpoint => "entries".to_owned(),
        }
    }
}

/// Hashes a leaf.
pub fn leaf_hash(leaf: &[u8]) -> Digest {
    Digest::from_bytes(*hash_leaf(leaf).as_bytes())
}

/// Hashes two nodes into the one above them.
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    Digest::from_bytes(*hash_children(&to_sigstore(left), &to_sigstore(right)).as_bytes())
}

/// A tree of a given size, read through its tiles.
pub struct Tree<'a> {
    fetch: Fetch<'a>,
    size: u64,
    tiles: HashMap<(u32, u64), Vec<Digest>>,
}

impl<'a> Tree<'a> {
    /// Takes the tree of the first `size` leaves.
    pub fn new(size: u64, fetch: Fetch<'a>) -> Self {
        Self { fetch, size, tiles: HashMap::new() }
    }

    /// Returns the number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Puts a tile that is not in the store yet, for a writer that computes the next root.
    pub fn put(&mut self, level: u32, index: u64, tile: Vec<Digest>) {
        self.tiles.insert((level, index), tile);
    }

    /// Returns the hashes of a tile, as many as this tree has.
    pub fn tile(&mut self, level: u32, index: u64) -> Result<&[Digest], LogError> {
        if !self.tiles.contains_key(&(level, index)) {
            let count = self.size.checked_shr(8 * level).unwrap_or(0);
            let (path, bytes, width) = self.read(&level.to_string(), index, count)?;
            let mut tile = unpack_hashes(&path, &bytes)?;
            if (tile.len() as u64) < width {
                let (found, expected) = (format!("{} hashes", tile.len()), width.to_string());
                return Err(LogError::Tile { path, found, expected });
            }
            tile.truncate(usize::try_from(width).unwrap_or(usize::MAX));
            self.tiles.insert((level, index), tile);
        }
        Ok(self.tiles.get(&(level, index)).map_or(&[], Vec::as_slice))
    }

    /// Returns the leaves of one entries tile, as many as this tree has.
    pub fn entries(&self, index: u64) -> Result<Vec<Vec<u8>>, LogError> {
        let (path, bytes, width) = self.read("entries", index, self.size)?;
        let mut entries = unpack_entries(&bytes).ok_or_else(|| LogError::Tile {
            path: path.clone(),
            found: "a cut entry".to_owned(),
            expected: "whole ones".to_owned(),
        })?;
        if (entries.len() as u64) < width {
            let (found, expected) = (format!("{} entries", entries.len()), width.to_string());
            return Err(LogError::Tile { path, found, expected });
        }
        entries.truncate(usize::try_from(width).unwrap_or(usize::MAX));
        Ok(entries)
    }

    /// Reads a tile of a level that has `count` nodes: its path, bytes and how many of them count.
    fn read(
        &self,
        level: &str,
        index: u64,
        count: u64,
    ) -> Result<(String, Vec<u8>, u64), LogError> {
        let first = index.saturating_mul(TILE_WIDTH);
        let width = count.saturating_sub(first).min(TILE_WIDTH);
        if width == 0 {
            return Err(LogError::Beyond { asked: first, size: self.size });
        }
        // A partial tile may have been removed after its full tile was written.
        for wide in [width, TILE_WIDTH] {
            let path = tile_path(level, index, wide);
            let read = (self.fetch)(&path);
            let read = read.map_err(|source| LogError::Read { path: path.clone(), source })?;
            if let Some(bytes) = read {
                return Ok((path, bytes, width));
            }
        }
        Err(LogError::Missing(tile_path(level, index, width)))
    }

    /// Returns the hash of the leaves `from..to`.
    pub fn range(&mut self, from: u64, to: u64) -> Result<Digest, LogError> {
        if from > to || to > self.size {
            return Err(LogError::Beyond { asked: from.max(to), size: self.size });
        }
        let count = to - from;
        if count == 0 {
            return Ok(hash::sha256(b""));
        }
        let level = count.trailing_zeros() / 8;
        if count.is_power_of_two()
            && from.is_multiple_of(count)
            && count.trailing_zeros().is_multiple_of(8)
        {
            let node = from / count;
            let size = self.size;
            let at = usize::try_from(node % TILE_WIDTH).unwrap_or(usize::MAX);
            let found = self.tile(level, node / TILE_WIDTH)?.get(at).copied();
            return found.ok_or(LogError::Beyond { asked: to, size });
        }
        let middle = from + split(count);
        Ok(node_hash(&self.range(from, middle)?, &self.range(middle, to)?))
    }

    /// Returns the root hash.
    pub fn root(&mut self) -> Result<Digest, LogError> {
        self.range(0, self.size)
    }

    /// Returns the proof that leaf `index` is in the tree.
    ///
    /// Source: RFC 6962, section 2.1.1.
    pub fn inclusion(&mut self, index: u64) -> Result<Vec<Digest>, LogError> {
        if index >= self.size {
            return Err(LogError::Beyond { asked: index, size: self.size });
        }
        let (mut from, mut to, mut proof) = (0, self.size, Vec::new());
        while to - from > 1 {
            let middle = from + split(to - from);
            if index < middle {
                proof.push(self.range(middle, to)?);
                to = middle;
            } else {
                proof.push(self.range(from, middle)?);
                from = middle;
            }
        }
        proof.reverse();
        Ok(proof)
    }

    /// Returns the proof that the tree of the first `old` leaves is the start of this one.
    ///
    /// Source: RFC 6962, section 2.1.2.
    pub fn consistency(&mut self, old: u64) -> Result<Vec<Digest>, LogError> {
        if old > self.size {
            return Err(LogError::Beyond { asked: old, size: self.size });
        }
        if old == 0 || old == self.size {
            return Ok(Vec::new());
        }
        let (mut from, mut to, mut proof) = (0, self.size, Vec::new());
        while old != to {
            let middle = from + split(to - from);
            if old <= middle {
                proof.push(self.range(middle, to)?);
                to = middle;
            } else {
                proof.push(self.range(from, middle)?);
                from = middle;
            }
        }
        if from > 0 {
            proof.push(self.range(from, to)?);
        }
        proof.reverse();
        Ok(proof)
    }

    /// Checks that the tree of `old` leaves with root `old_root` is the start of this one with root `root`.
    pub fn check_contains(
        &mut self,
        old: u64,
        old_root: &Digest,
        root: &Digest,
    ) -> Result<(), LogError> {
        if old > self.size {
            return Err(LogError::Cut { old, new: self.size });
        }
        let proof: Vec<_> = self.consistency(old)?.iter().map(to_sigstore).collect();
        let (old_root, root) = (to_sigstore(old_root), to_sigstore(root));
        sigstore_merkle::verify_consistency_proof(old, self.size, &proof, &old_root, &root)
            .map_err(|source| LogError::Inconsistent { old, new: self.size, source })
    }
}

/// The largest power of two below `count`, which is 2 or more.
fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}

fn to_sigstore(digest: &Digest) -> Sha256Hash {
    Sha256Hash::from(*digest.as_bytes())
}

fn unpack_hashes(path: &str, bytes: &[u8]) -> Result<Vec<Digest>, LogError> {
    let chunks = bytes.chunks_exact(32);
    if !chunks.remainder().is_empty() {
        let (found, expected) = (format!("{} bytes", bytes.len()), "whole hashes of 32".to_owned());
        return Err(LogError::Tile { path: path.to_owned(), found, expected });
    }
    Ok(chunks.filter_map(|chunk| chunk.try_into().ok()).map(Digest::from_bytes).collect())
}

/// Reads the leaves of an entries tile; none when one is cut or empty, or there are more than a tile has.
pub fn unpack_entries(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, rest) = rest.split_at_checked(length).filter(|_| length > 0)?;
        if entries.len() as u64 == TILE_WIDTH {
            return None;
        }
        entries.push(entry.to_vec());
        bytes = rest;
    }
    Some(entries)
}
