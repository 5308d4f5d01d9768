//! The reading side of the log against `sigstore-merkle`: every proof of every tree up to 300 leaves, and hostile names.

use std::{cell::RefCell, collections::HashMap, io};

use kdistro_formats::Digest;
use kdistro_verify::log::{
    LogError, TILE_WIDTH, Tree, TreeFile, leaf_hash, node_hash, open_checkpoint, tile_path,
    unpack_entries,
};
use proptest::prelude::*;
use sigstore_merkle::{verify_consistency_proof, verify_inclusion_proof};
use sigstore_types::Sha256Hash;

fn to_sigstore(digest: &Digest) -> Sha256Hash {
    Sha256Hash::from(*digest.as_bytes())
}

/// The root by the definition of RFC 6962, section 2.1, without tiles.
fn root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => kdistro_verify::hash::sha256(b""),
        [leaf] => *leaf,
        _ => {
            let split = leaves.len().next_power_of_two() / 2;
            node_hash(&root(&leaves[..split]), &root(&leaves[split..]))
        }
    }
}

/// All tiles of a log of these leaves, partial ones of every width included.
fn tiles(leaves: &[Digest]) -> HashMap<String, Vec<u8>> {
    let mut files = HashMap::new();
    let mut level = 0;
    let mut nodes = leaves.to_vec();
    while !nodes.is_empty() {
        for (index, tile) in nodes.chunks(256).enumerate() {
            let bytes: Vec<u8> = tile.iter().flat_map(|node| *node.as_bytes()).collect();
            for width in 1..=tile.len() {
                let path = tile_path(&format!("{level}"), index as u64, width as u64);
                files.insert(path, bytes[..width * 32].to_vec());
            }
        }
        nodes = nodes.chunks_exact(256).map(root).collect();
        level += 1;
    }
    files
}

fn leaves(count: u64) -> Vec<Digest> {
    (0..count).map(|index| leaf_hash(format!("leaf {index}").as_bytes())).collect()
}

#[test]
fn every_proof_verifies() {
    let leaves = leaves(300);
    let files = tiles(&leaves);
    let fetch = |path: &str| -> io::Result<_> { Ok(files.get(path).cloned()) };
    let roots: Vec<_> = (0..=leaves.len()).map(|size| root(&leaves[..size])).collect();
    for size in (1..=20).chain([63, 64, 65, 127, 255, 256, 257, 299, 300]) {
        let mut tree = Tree::new(size, &fetch);
        let at = |size: u64| to_sigstore(&roots[usize::try_from(size).unwrap()]);
        assert_eq!(to_sigstore(&tree.root().unwrap()), at(size));
        for index in 0..size {
            let proof: Vec<_> = tree.inclusion(index).unwrap().iter().map(to_sigstore).collect();
            let leaf = to_sigstore(&leaves[usize::try_from(index).unwrap()]);
            verify_inclusion_proof(&leaf, index, size, &proof, &at(size)).unwrap();
        }
        for old in 1..=size {
            let proof: Vec<_> = tree.consistency(old).unwrap().iter().map(to_sigstore).collect();
            verify_consistency_proof(old, size, &proof, &at(old), &at(size)).unwrap();
            let (old_root, new_root) =
                (&roots[usize::try_from(old).unwrap()], &roots[usize::try_from(size).unwrap()]);
            tree.check_contains(old, old_root, new_root).unwrap();
            if old < size {
                assert!(tree.check_contains(old, &leaves[0], new_root).is_err() || old == 1);
            }
        }
    }
}

#[test]
fn a_partial_tile_may_be_gone_when_the_full_one_is_there() {
    let leaves = leaves(256);
    let mut files = tiles(&leaves);
    files.retain(|path, _| !path.contains(".p/"));
    let fetch = |path: &str| -> io::Result<_> { Ok(files.get(path).cloned()) };
    assert_eq!(Tree::new(100, &fetch).root().unwrap(), root(&leaves[..100]));
}

#[test]
fn says_what_is_missing_short_or_unreadable() {
    let leaves = leaves(10);
    let files = RefCell::new(tiles(&leaves));
    let fetch = |path: &str| -> io::Result<_> { Ok(files.borrow().get(path).cloned()) };
    assert!(
        matches!(Tree::new(11, &fetch).root(), Err(LogError::Missing(path)) if path == "tile/0/000.p/11")
    );
    assert!(matches!(Tree::new(10, &fetch).inclusion(10), Err(LogError::Beyond { .. })));
    assert!(matches!(Tree::new(10, &fetch).consistency(11), Err(LogError::Beyond { .. })));
    let any = Digest::from_bytes([0; 32]);
    assert!(matches!(
        Tree::new(10, &fetch).check_contains(11, &any, &any),
        Err(LogError::Cut { old: 11, new: 10 })
    ));
    files.borrow_mut().get_mut("tile/0/000.p/10").unwrap().truncate(9 * 32);
    assert!(matches!(Tree::new(10, &fetch).root(), Err(LogError::Tile { .. })));
    let broken = |_: &str| Err(io::Error::other("line cut"));
    assert!(matches!(Tree::new(10, &broken).root(), Err(LogError::Read { .. })));
}

#[test]
fn a_file_of_the_log_has_one_name() {
    // C2SP tlog-tiles, section "Merkle Tree".
    assert_eq!(tile_path("0", 1_234_067, TILE_WIDTH), "tile/0/x001/x234/067");
    for (path, file) in [
        ("checkpoint", TreeFile::Checkpoint),
        ("tile/0/x001/x234/067", TreeFile::Tile { level: 0, index: 1_234_067, width: 256 }),
        ("tile/7/000.p/255", TreeFile::Tile { level: 7, index: 0, width: 255 }),
        ("tile/entries/001.p/1", TreeFile::Entries { index: 1, width: 1 }),
    ] {
        assert_eq!(TreeFile::parse(path), Some(file));
    }
    for path in [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/1",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/000.p/256",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/00/000",
        "tile/+0/000",
        "tile/8/000",
        "tile/0/000.p/",
        "tile/0/a00",
        "tile/entries/000/1",
        "checkpoint ",
        "tile/0/x1/000",
        "tile/0/99999999999999999999",
    ] {
        assert_eq!(TreeFile::parse(path), None, "{path}");
    }
}

#[test]
fn no_more_entries_are_unpacked_than_a_tile_has() {
    assert_eq!(unpack_entries(&[0, 1, b'x'].repeat(256)).unwrap().len(), 256);
    assert!(unpack_entries(&[0, 1, b'x'].repeat(257)).is_none());
}

proptest! {
    #[test]
    fn names_never_panic_and_have_one_spelling(path in "(tile/)?([0-9]|entries|x)?/?[x0-9/]{0,12}(\\.p/)?[0-9]{0,4}") {
        match TreeFile::parse(&path) {
            Some(TreeFile::Tile { level, index, width }) => prop_assert_eq!(tile_path(&level.to_string(), index, width), path),
            Some(TreeFile::Entries { index, width }) => prop_assert_eq!(tile_path("entries", index, width), path),
            Some(TreeFile::Checkpoint) | None => {}
        }
    }

    #[test]
    fn entries_and_checkpoints_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC*\n*[0-9]*\n*\\PC*\n\n\u{2014} \\PC*\n") {
        let entries = unpack_entries(&bytes);
        if let Some(entries) = entries {
            let length: usize = entries.iter().map(|entry| entry.len() + 2).sum();
            prop_assert_eq!(length, bytes.len());
        }
        let key = crate::publisher::public(&sigstore_crypto::KeyPair::generate_ecdsa_p256().unwrap());
        prop_assert!(open_checkpoint(&text, "log", &key).is_err());
    }

    #[test]
    fn bundles_never_panic(text in "\\{(\"[a-zA-Z]{1,12}\":(\"\\PC*\"|\\[\\]|\\{\\}|1),?)*\\}") {
        let publisher = crate::publisher::Publisher::new();
        let root = publisher.read(kdistro_formats::layout::TRUSTED_ROOT);
        let trust = kdistro_verify::trust::Trust::from_trusted_root(&root, &publisher.key()).unwrap();
        prop_assert!(kdistro_verify::bundle::verify_message(text.as_bytes(), b"", &trust).is_err());
        prop_assert!(kdistro_verify::bundle::verify_statement::<serde::de::IgnoredAny>(text.as_bytes(), &trust).is_err());
        prop_assert!(kdistro_verify::trust::Trust::from_trusted_root(text.as_bytes(), &publisher.key()).is_err());
    }
}
