//! Content digests: `sha256:<64 hex digits>`. Holds no hash function: who hashes makes a digest of the result.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, de};

/// The SHA-256 of some bytes, written `sha256:` and 64 lowercase hex digits.
///
/// Source: OCI image-spec, `descriptor.md`, section "Digests".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// A string that is not a digest.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a digest; expected `sha256:` and 64 lowercase hex digits")]
pub struct ParseDigestError(String);

impl Digest {
    /// Takes the 32 bytes that a SHA-256 function gave.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the 64 hex digits without the `sha256:` in front.
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// Reads 64 lowercase hex digits, as they stand in a `.sha256` file.
    pub fn from_hex(text: &str) -> Result<Self, ParseDigestError> {
        unhex(text).map(Self).ok_or_else(|| ParseDigestError(text.to_owned()))
    }
}

/// The SHA-512 of some bytes, written as 128 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha512([u8; 64]);

/// A string that is not a SHA-512.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a SHA-512; expected 128 lowercase hex digits")]
pub struct ParseSha512Error(String);

impl Sha512 {
    /// Takes the 64 bytes that a SHA-512 function gave.
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }
}

/// Writes bytes as lowercase hex.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let lowercase_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != N * 2 || !text.as_bytes().iter().all(lowercase_hex) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Sha512 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for Sha512 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        let hex = text.strip_prefix("sha256:").and_then(unhex);
        hex.map(Self).ok_or_else(|| ParseDigestError(text.to_owned()))
    }
}

impl FromStr for Sha512 {
    type Err = ParseSha512Error;

    fn from_str(text: &str) -> Result<Self, ParseSha512Error> {
        unhex(text).map(Self).ok_or_else(|| ParseSha512Error(text.to_owned()))
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Sha512 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha512 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_what_is_not_exactly_a_digest() {
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for text in [
            String::new(),
            hex.to_owned(),
            format!("sha512:{hex}"),
            format!("sha256:{}", hex.to_uppercase()),
            format!("sha256:{}", &hex[1..]),
            format!("sha256:+{}", &hex[1..]),
            format!(" sha256:{hex}"),
        ] {
            assert!(text.parse::<Digest>().is_err(), "accepted {text:?}");
        }
        assert_eq!(format!("sha256:{hex}").parse::<Digest>().unwrap().hex(), hex);
    }
}
