//! The log: its head is signed, every leaf hashes to the tiles, and it contains every tree that a bundle proves.

use std::collections::BTreeSet;

use kdistro_formats::{Digest, layout};

use super::{
    Scope,
    reading::{Checker, SMALL},
    report::chain,
};
use crate::{
    log::{
        Checkpoint, LogError, TILE_WIDTH, Tree, TreeFile, leaf_hash, node_hash, open_checkpoint,
        tile_path, unpack_entries,
    },
    trust::Trust,
};

/// Levels of node hashes as tiles have them: every leaf, then every 256th level above.
type Levels = Vec<Vec<Digest>>;

impl Checker<'_> {
    /// Checks the whole log, and every bundle that was seen against it.
    pub(super) fn check_log(&mut self, trust: &Trust) {
        let Some(head) = self.read_head(trust) else { return };
        self.report.log_size = Some(head.size);
        let Some(leaves) = self.read_leaves(head.size) else { return };
        let levels = levels(leaves);
        let nothing = |_: &str| Ok(None);
        let mut tree = Tree::new(head.size, &nothing);
        fill(&mut tree, &levels);
        match tree.root() {
            Ok(root) if root == head.root => {
                self.check_tiles(&levels, head.size);
                self.note_lost_documents(head.size);
                self.check_logged(&mut tree, &head);
            }
            Ok(_) => self.blame_leaves(&levels, head.size),
            Err(error) => self.differs(layout::CHECKPOINT, chain(&error)),
        }
        self.check_old_tiles(head.size);
    }

    fn read_head(&mut self, trust: &Trust) -> Option<Checkpoint> {
        let bytes = self.document(layout::CHECKPOINT, SMALL)?;
        let text = String::from_utf8_lossy(&bytes);
        match open_checkpoint(&text, trust.origin(), trust.log_key()) {
            Ok(head) => Some(head),
            Err(error) => {
                self.differs(layout::CHECKPOINT, chain(&error));
                None
            }
        }
    }

    /// The hashes of all leaves.
    fn read_leaves(&mut self, size: u64) -> Option<Vec<Digest>> {
        let mut leaves = Vec::new();
        for index in 0..size.div_ceil(TILE_WIDTH) {
            let (file, bytes, width) = self.read_tile("entries", index, size)?;
            let entries = unpack_entries(&bytes).filter(|entries| entries.len() as u64 >= width);
            let Some(entries) = entries else {
                self.differs(&file, format!("does not hold {width} whole entries"));
                return None;
            };
            if entries.len() as u64 != width_of(&file) {
                self.differs(&file, "does not hold as many entries as its name says");
            }
            let width = usize::try_from(width).unwrap_or(usize::MAX);
            leaves.extend(entries.iter().take(width).map(|entry| leaf_hash(entry)));
        }
        Some(leaves)
    }

    /// Reads a tile of a level of `count` nodes: its name, bytes, and how many of them count.
    fn read_tile(&mut self, level: &str, index: u64, count: u64) -> Option<(String, Vec<u8>, u64)> {
        let width = count.saturating_sub(index * TILE_WIDTH).min(TILE_WIDTH);
        let file = in_log(&tile_path(level, index, width));
        let full = in_log(&tile_path(level, index, TILE_WIDTH));
        if let Some(bytes) = self.optional(&file, limit(level)).ok()? {
            return Some((file, bytes, width));
        }
        // A partial tile may have been removed after its full tile was written.
        if let Some(bytes) = self.optional(&full, limit(level)).ok()? {
            return Some((full, bytes, width));
        }
        self.differs(&file, "is missing");
        None
    }

    /// With leaves that give the signed root, every hash tile must be exactly what follows from them.
    fn check_tiles(&mut self, levels: &Levels, size: u64) {
        for (level, nodes) in levels.iter().enumerate() {
            for (index, tile) in nodes.chunks(width()).enumerate() {
                let count = size >> (8 * level);
                let read = self.read_tile(&level.to_string(), index as u64, count);
                let Some((file, bytes, _)) = read else { continue };
                let expected: Vec<u8> = tile.iter().flat_map(|node| *node.as_bytes()).collect();
                let whole = bytes.len() as u64 == width_of(&file) * 32;
                if !whole || !bytes.starts_with(&expected) {
                    self.differs(&file, "is not what follows from the leaves of the log");
                }
            }
        }
    }

    /// With leaves that do not give the signed root: which of them do not hash to the tiles?
    fn blame_leaves(&mut self, levels: &Levels, size: u64) {
        let mut blamed = false;
        let leaves = levels.first().map_or(&[][..], Vec::as_slice);
        for (index, leaves) in leaves.chunks(width()).enumerate() {
            let Some((_, bytes, width)) = self.read_tile("0", index as u64, size) else { return };
            let expected: Vec<u8> = leaves.iter().flat_map(|leaf| *leaf.as_bytes()).collect();
            if !bytes.starts_with(&expected) {
                blamed = true;
                let file = in_log(&tile_path("entries", index as u64, width));
                self.differs(&file, "its leaves do not hash to the tiles of the log");
            }
        }
        if !blamed {
            self.differs(layout::CHECKPOINT, "is signed for another tree than the tiles hold");
        }
    }

    fn check_logged(&mut self, tree: &mut Tree<'_>, head: &Checkpoint) {
        for (file, logged) in std::mem::take(&mut self.logged) {
            match tree.check_contains(logged.tree_size, &logged.root, &head.root) {
                Ok(()) => {}
                Err(error @ LogError::Cut { .. }) => {
                    self.differs(layout::CHECKPOINT, format!("{}, by {file}", chain(&error)));
                }
                Err(error) => {
                    self.differs(
                        layout::CHECKPOINT,
                        format!("{}, which {file} proves", chain(&error)),
                    );
                }
            }
        }
    }

    /// Tells of entries whose documents were not found in the store, where all of it was looked through.
    fn note_lost_documents(&mut self, size: u64) {
        if self.scope < Scope::All {
            return;
        }
        let found: BTreeSet<u64> = self.logged.iter().map(|(_, logged)| logged.index).collect();
        let mut lost = (0..size).filter(|index| !found.contains(index));
        let Some(first) = lost.next() else { return };
        let (entries, are) = match lost.count() {
            0 => (format!("entry {first}"), "document is"),
            more => (format!("entry {first} and {more} more"), "documents are"),
        };
        self.note(
            layout::CHECKPOINT,
            format!("the log has {entries} whose {are} not in the store: replaced, removed, or never finished"),
        );
    }

    /// Partial tiles that were superseded must be the start of what superseded them.
    fn check_old_tiles(&mut self, size: u64) {
        let files = self.listed(layout::LOG);
        self.note_missing_entries(&files, size);
        for file in files {
            if self.known.contains(&file) {
                continue;
            }
            self.known.insert(file.clone());
            match parse(&file) {
                Some(TreeFile::Tile { level, index, width }) => {
                    let count = size.checked_shr(8 * level).unwrap_or(0);
                    self.check_old_tile(&file, &level.to_string(), (index, width), count);
                }
                Some(TreeFile::Entries { index, width }) => {
                    self.check_old_tile(&file, "entries", (index, width), size);
                }
                Some(TreeFile::Checkpoint) | None => self.differs(&file, "is not a file of a log"),
            }
        }
    }

    /// Entries tiles are never deleted, not even superseded ones: the exclusive creation of the next decides an append.
    ///
    /// The log proves the same without them, so that this is no forgery.
    fn note_missing_entries(&mut self, files: &[String], size: u64) {
        // A store that cannot list says nothing about what is missing.
        if files.is_empty() {
            return;
        }
        let there: BTreeSet<&str> = files.iter().map(String::as_str).collect();
        let tiles = (0..size)
            .map(|leaf| in_log(&tile_path("entries", leaf / TILE_WIDTH, leaf % TILE_WIDTH + 1)));
        let mut missing = tiles.filter(|file| !there.contains(file.as_str()));
        let Some(first) = missing.next() else { return };
        let more = match missing.count() {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        self.note(&first, format!("is missing{more}: entries tiles of a log are never deleted"));
    }

    fn check_old_tile(&mut self, file: &str, level: &str, tile: (u64, u64), count: u64) {
        let (index, width) = tile;
        let Some(bytes) = self.document(file, limit(level)) else { return };
        let whole = if level == "entries" {
            unpack_entries(&bytes).is_some_and(|entries| entries.len() as u64 == width)
        } else {
            bytes.len() as u64 == width * 32
        };
        if !whole {
            return self.differs(file, "does not hold as much as its name says");
        }
        let end = index.saturating_mul(TILE_WIDTH).saturating_add(width);
        if end > count + 1 {
            return self.differs(file, "is beyond the end of the log");
        }
        let current = if index * TILE_WIDTH == count {
            Some(Vec::new())
        } else {
            self.read_tile(level, index, count).map(|(_, bytes, _)| bytes)
        };
        let Some(current) = current else { return };
        if end > count {
            self.note(file, "an append to the log was begun and not finished");
        }
        let (shorter, longer) = if end > count { (&current, &bytes) } else { (&bytes, &current) };
        if !longer.starts_with(shorter) {
            self.differs(file, "holds something else than the tile that superseded it");
        }
    }
}

/// The most bytes that a tile of a level can have: hashes, or entries of which each has its length before it.
fn limit(level: &str) -> u64 {
    let widest = if level == "entries" { 2 + u64::from(u16::MAX) } else { 32 };
    TILE_WIDTH * widest
}

fn in_log(path: &str) -> String {
    format!("{}/{path}", layout::LOG)
}

/// How many hashes or entries the name of a tile says.
fn width_of(file: &str) -> u64 {
    match parse(file) {
        Some(TreeFile::Tile { width, .. } | TreeFile::Entries { width, .. }) => width,
        Some(TreeFile::Checkpoint) | None => 0,
    }
}

fn parse(file: &str) -> Option<TreeFile> {
    TreeFile::parse(file.strip_prefix(layout::LOG)?.strip_prefix('/')?)
}

fn width() -> usize {
    usize::try_from(TILE_WIDTH).unwrap_or(256)
}

/// All levels of a tree's tiles, from its leaves.
fn levels(leaves: Vec<Digest>) -> Levels {
    let mut levels = vec![leaves];
    while let Some(above) =
        levels.last().map(|nodes| parents(nodes)).filter(|above| !above.is_empty())
    {
        levels.push(above);
    }
    levels
}

/// The hash of every full tile of a level.
fn parents(nodes: &[Digest]) -> Vec<Digest> {
    let fold = |tile: &[Digest]| {
        let mut row = tile.to_vec();
        while row.len() > 1 {
            row =
                row.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect();
        }
        row.into_iter().next()
    };
    nodes.chunks_exact(width()).filter_map(fold).collect()
}

fn fill(tree: &mut Tree<'_>, levels: &Levels) {
    for (level, nodes) in levels.iter().enumerate() {
        for (index, tile) in nodes.chunks(width()).enumerate() {
            tree.put(u32::try_from(level).unwrap_or(u32::MAX), index as u64, tile.to_vec());
        }
    }
}
