//! Reads the transparency log: static files as C2SP tlog-tiles has them.
//!
//! `log/checkpoint`, `log/tile/<level>/<n>[.p/<width>]` and `log/tile/entries/<n>[.p/<width>]`. Names given to the
//! reading function are relative to the log's folder.

mod checkpoint;
mod tree;

pub use checkpoint::{Checkpoint, key_id, open_checkpoint};
pub use tree::{Fetch, Tree, TreeFile, leaf_hash, node_hash, tile_path, unpack_entries};

use std::io;

/// Hashes in a full tile.
pub const TILE_WIDTH: u64 = 256;

/// Something about the log that is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Not a checkpoint in the one form that is published.
    #[error("not a checkpoint: {0}")]
    Form(&'static str),
    /// A checkpoint of another log.
    #[error("a checkpoint of `{found}`, expected `{expected}`")]
    Origin {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// The signature does not verify.
    #[error("the checkpoint's signature is not by the log key")]
    Signature,
    /// A tile that the tree needs is not there.
    #[error("`{0}` is missing")]
    Missing(String),
    /// A tile is not as long as its name says, or its entries do not fill it.
    #[error("`{path}` has {found}, expected {expected}")]
    Tile {
        /// Its path in the log.
        path: String,
        /// What it holds.
        found: String,
        /// What it should hold.
        expected: String,
    },
    /// Leaf or size beyond the tree.
    #[error("leaf or size {asked} is beyond the tree of {size} leaves")]
    Beyond {
        /// What was asked for.
        asked: u64,
        /// The size of the tree.
        size: u64,
    },
    /// A file could not be read.
    #[error("cannot read `{path}`")]
    Read {
        /// Its path in the log.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// One tree does not contain the other.
    #[error("the tree of {new} leaves does not contain the tree of {old} leaves")]
    Inconsistent {
        /// The size of the older tree.
        old: u64,
        /// The size of the newer tree.
        new: u64,
        /// Why.
        #[source]
        source: sigstore_merkle::Error,
    },
    /// A checkpoint of fewer leaves than one seen before.
    #[error("the log was cut: {old} leaves are proven, {new} are there")]
    Cut {
        /// What was seen.
        old: u64,
        /// What is there.
        new: u64,
    },
}

impl LogError {
    /// True when the store could not be read, which says nothing about the log.
    pub fn is_unread(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, InvalidData};
        matches!(self, Self::Read { source, .. } if !matches!(source.kind(), InvalidData | FileTooLarge))
    }
}
