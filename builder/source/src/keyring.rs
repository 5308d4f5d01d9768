//! Splits `OpenPGP` keyrings into keys, so that apt can be given exactly the wanted ones.
//!
//! No signature is checked here: apt does that, and with this keyring it can find no other key.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kdistro_formats::digest::hex;

/// A key with its user ids, subkeys and signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// The primary key's fingerprint, uppercase hex.
    pub fingerprint: String,
    pub bytes: Vec<u8>,
}

/// Reads a keyring, binary or armoured. None when it is not one.
pub(crate) fn keys(keyring: &[u8]) -> Option<Vec<Key>> {
    let armoured = std::str::from_utf8(keyring).ok().filter(|text| text.contains("-----BEGIN PGP"));
    let binary = match armoured {
        Some(text) => unarmoured(text)?,
        None => keyring.to_vec(),
    };
    let mut keys: Vec<Key> = Vec::new();
    let mut rest = &binary[..];
    while !rest.is_empty() {
        let packet = Packet::read(rest)?;
        let (bytes, next) = rest.split_at_checked(packet.length)?;
        if packet.tag == 6 {
            keys.push(Key { fingerprint: fingerprint(packet.body)?, bytes: Vec::new() });
        }
        keys.last_mut()?.bytes.extend(bytes);
        rest = next;
    }
    Some(keys)
}

/// A packet: kind, content, and length with its header. Source: RFC 9580, section 4.2.
struct Packet<'a> {
    tag: u8,
    body: &'a [u8],
    length: usize,
}

impl<'a> Packet<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let first = *bytes.first()?;
        let number = |at: usize, count: usize| {
            let digits = bytes.get(at..at + count)?;
            Some(digits.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte)))
        };
        let (tag, header, length) = match first >> 6 {
            0b10 => {
                let count = 1_usize << (first & 3);
                // A length of 8 stands for "up to the end", which a keyring does not have.
                ((first >> 2) & 15, 1 + count, (count < 8).then(|| number(1, count))??)
            }
            0b11 => match number(1, 1)? {
                short @ 0..192 => (first & 63, 2, short),
                long @ 192..224 => (first & 63, 3, ((long - 192) << 8) + number(2, 1)? + 192),
                255 => (first & 63, 6, number(2, 4)?),
                _ => return None,
            },
            _ => return None,
        };
        let length = header.checked_add(length)?;
        Some(Self { tag, body: bytes.get(header..length)?, length })
    }
}

/// Source: RFC 9580, section 5.5.4, for keys of version 4 and 6.
fn fingerprint(body: &[u8]) -> Option<String> {
    let hashed = match body.first()? {
        4 => {
            let length = u16::try_from(body.len()).ok()?.to_be_bytes();
            digest(&SHA1_FOR_LEGACY_USE_ONLY, &[&[0x99], &length[..], body].concat())
        }
        6 => {
            let length = u32::try_from(body.len()).ok()?.to_be_bytes();
            digest(&SHA256, &[&[0x9b], &length[..], body].concat())
        }
        _ => return None,
    };
    Some(hex(hashed.as_ref()).to_uppercase())
}

/// Decodes the armour; in a `.sources` file its lines are indented and an empty one is a dot.
fn unarmoured(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut lines = text.lines().map(str::trim);
    while lines.any(|line| line.starts_with("-----BEGIN PGP PUBLIC KEY BLOCK")) {
        let block = lines.by_ref().take_while(|line| !line.starts_with("-----END"));
        let data = block.skip_while(|line| !line.is_empty() && *line != ".").skip(1);
        let text: String = data.filter(|line| !line.starts_with('=')).collect();
        bytes.extend(STANDARD.decode(text).ok()?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn never_panics_and_loses_no_byte(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(keys) = keys(&bytes) {
                let joined: Vec<u8> = keys.into_iter().flat_map(|key| key.bytes).collect();
                prop_assert_eq!(joined, bytes);
            }
        }
    }
}
