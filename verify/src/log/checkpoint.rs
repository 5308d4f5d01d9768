//! The signed head of the log: origin, size, root hash, and one signature by the log key.
//!
//! Source: C2SP `tlog-checkpoint` and `signed-note`.

use kdistro_formats::Digest;
use sigstore_types::{Sha256Hash, encoding::SignatureBytes};

use super::{Fetch, LogError, Tree};
use crate::trust::PublicKey;

/// What was signed: how many leaves the log has, and the root of its tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// The number of leaves.
    pub size: u64,
    /// The root hash.
    pub root: Digest,
}

impl Checkpoint {
    /// Returns the text that the log key signs.
    pub fn body(&self) -> String {
        let root = Sha256Hash::from(*self.root.as_bytes()).to_base64();
        format!("{}\n{}\n{root}\n", self.origin, self.size)
    }

    /// Writes the checkpoint with a signature (DER) over [`Checkpoint::body`].
    pub fn to_text(&self, key: &PublicKey, signature: &[u8]) -> String {
        let marked = [&key_id(key)[..], signature].concat();
        let signature = SignatureBytes::from_bytes(&marked).to_base64();
        format!("{}\n\u{2014} {} {signature}\n", self.body(), self.origin)
    }

    /// Demands that the log still begins with a tree that was seen before, for those who come back to it.
    ///
    /// [`LogError::Cut`] and [`LogError::Inconsistent`] are evidence against the log; of other errors see
    /// [`LogError::is_unread`]. Only the tiles of the proof are read.
    pub fn check_contains(&self, seen: (u64, &Digest), fetch: Fetch<'_>) -> Result<(), LogError> {
        let (size, root) = seen;
        Tree::new(self.size, fetch).check_contains(size, root, &self.root)
    }
}

/// The four bytes that mark a signature of this key: the start of the SHA-256 of its DER form.
///
/// Source: Sigstore's Rekor, for ECDSA keys (C2SP `signed-note` names none for them).
pub fn key_id(key: &PublicKey) -> [u8; 4] {
    let [a, b, c, d, ..] = *key.fingerprint().as_bytes();
    [a, b, c, d]
}

/// Reads a checkpoint that must be of this log, be signed by this key, and have no other line.
pub fn open_checkpoint(text: &str, origin: &str, key: &PublicKey) -> Result<Checkpoint, LogError> {
    let (body, signatures) = text
        .split_once("\n\n")
        .ok_or(LogError::Form("expected a blank line before the signature"))?;
    let lines: Vec<_> = body.split('\n').collect();
    let [found, size, root] = lines.as_slice() else {
        return Err(LogError::Form("expected origin, size and root hash, a line each"));
    };
    if *found != origin {
        let (found, expected) = ((*found).to_owned(), origin.to_owned());
        return Err(LogError::Origin { found, expected });
    }
    let size = size.parse().map_err(|_| LogError::Form("the size is not a number"))?;
    let root =
        Sha256Hash::from_base64(root).map_err(|_| LogError::Form("the root hash is not base64"))?;
    let root = Digest::from_bytes(*root.as_bytes());
    let checkpoint = Checkpoint { origin: origin.to_owned(), size, root };
    let line = signatures
        .strip_prefix("\u{2014} ")
        .and_then(|line| line.strip_prefix(origin)?.strip_prefix(' ')?.strip_suffix('\n'))
        .ok_or(LogError::Form("expected one signature line, of the log's name"))?;
    let marked = SignatureBytes::from_base64(line)
        .map_err(|_| LogError::Form("the signature is not base64"))?;
    let (mark, signature) = marked.as_bytes().split_at_checked(4).unwrap_or_default();
    if mark != key_id(key) || !key.has_signed(checkpoint.body().as_bytes(), signature) {
        return Err(LogError::Signature);
    }
    // One form only: no other spelling of the number or of base64.
    if checkpoint.to_text(key, signature) != text {
        return Err(LogError::Form("not in the one form that is published"));
    }
    Ok(checkpoint)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::log::{leaf_hash, node_hash};
    use sigstore_crypto::KeyPair;

    fn sample() -> (Checkpoint, PublicKey, String) {
        let pair = KeyPair::generate_ecdsa_p256().unwrap();
        let key = PublicKey::from_spki_der(pair.public_key_der().unwrap().as_bytes()).unwrap();
        let root = Digest::from_bytes([7; 32]);
        let checkpoint = Checkpoint { origin: "log.example".to_owned(), size: 12, root };
        let signature = pair.sign(checkpoint.body().as_bytes()).unwrap();
        let text = checkpoint.to_text(&key, signature.as_bytes());
        (checkpoint, key, text)
    }

    #[test]
    fn a_checkpoint_is_read_as_it_is_written() {
        let (checkpoint, key, text) = sample();
        assert_eq!(open_checkpoint(&text, "log.example", &key).unwrap(), checkpoint);
        assert!(sigstore_types::Checkpoint::from_text(&text).is_ok());
    }

    #[test]
    fn no_changed_byte_is_accepted() {
        let (_, key, text) = sample();
        for at in 0..text.len() {
            for flip in [1, 2, 4, 8, 16, 32, 64] {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= flip;
                let Ok(text) = String::from_utf8(bytes) else { continue };
                assert!(open_checkpoint(&text, "log.example", &key).is_err(), "{text}");
            }
        }
    }

    #[test]
    fn what_was_seen_must_stay() {
        let leaves: Vec<_> = (0..3_u8).map(|leaf| leaf_hash(&[leaf])).collect();
        let two = node_hash(&leaves[0], &leaves[1]);
        let root = node_hash(&two, &leaves[2]);
        let head = Checkpoint { origin: "log.example".to_owned(), size: 3, root };
        let tile: Vec<u8> = leaves.iter().flat_map(|leaf| *leaf.as_bytes()).collect();
        let fetch = |path: &str| Ok((path == "tile/0/000.p/3").then(|| tile.clone()));
        for seen in [(1, &leaves[0]), (2, &two), (3, &root)] {
            head.check_contains(seen, &fetch).unwrap();
        }
        for seen in [(1, &leaves[1]), (2, &leaves[0]), (3, &two)] {
            let error = head.check_contains(seen, &fetch).unwrap_err();
            assert!(
                matches!(error, LogError::Inconsistent { .. }) && !error.is_unread(),
                "{error}"
            );
        }
        let error = head.check_contains((4, &root), &fetch).unwrap_err();
        assert!(matches!(error, LogError::Cut { old: 4, new: 3 }), "{error}");
        // Whoever serves the tiles cannot make up for it, and a store that is away proves nothing.
        let other = |_: &str| Ok(Some(vec![7; 96]));
        assert!(!head.check_contains((2, &two), &other).unwrap_err().is_unread());
        let away = |_: &str| Err(io::Error::other("line cut"));
        assert!(head.check_contains((2, &two), &away).unwrap_err().is_unread());
        let odd =
            |_: &str| Err(io::Error::new(io::ErrorKind::InvalidData, "is not a regular file"));
        assert!(!head.check_contains((2, &two), &odd).unwrap_err().is_unread());
    }

    #[test]
    fn refuses_another_log_and_another_key() {
        let (_, key, text) = sample();
        let other = sample().1;
        assert!(matches!(open_checkpoint(&text, "log", &key), Err(LogError::Origin { .. })));
        assert!(matches!(open_checkpoint(&text, "log.example", &other), Err(LogError::Signature)));
        let more = format!("{text}\u{2014} witness.example AAAA\n");
        assert!(open_checkpoint(&more, "log.example", &key).is_err());
    }
}
