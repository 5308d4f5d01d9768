//! Names and tiles of the log, and proofs over tiles that lie.

#![no_main]

use kdistro_formats::Digest;
use kdistro_verify::log::{Tree, TreeFile, tile_path, unpack_entries};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Some(entries) = unpack_entries(data) {
        let length: usize = entries.iter().map(|entry| entry.len() + 2).sum();
        assert_eq!(length, data.len());
    }
    if let Ok(text) = str::from_utf8(data) {
        match TreeFile::parse(text) {
            Some(TreeFile::Tile { level, index, width }) => {
                assert_eq!(tile_path(&level.to_string(), index, width), text);
            }
            Some(TreeFile::Entries { index, width }) => {
                assert_eq!(tile_path("entries", index, width), text);
            }
            Some(TreeFile::Checkpoint) | None => {}
        }
    }
    let Some((sizes, tile)) = data.split_first_chunk::<16>() else { return };
    let (old, size) = sizes.split_at(8);
    let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let (old, size) = (number(old), number(size));
    let fetch = |_: &str| Ok(Some(tile.to_vec()));
    let mut tree = Tree::new(size, &fetch);
    let _ = tree.root();
    let _ = tree.inclusion(old);
    let any = Digest::from_bytes([7; 32]);
    let _ = tree.check_contains(old, &any, &any);
    let _ = tree.entries(old >> 8);
});
