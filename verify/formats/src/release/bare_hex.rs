//! Sixty-four hex digits without `sha256:`, as EKS-D writes them.

use serde::{Deserialize, Deserializer, Serializer, de};

use crate::Digest;

pub(super) fn serialize<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&digest.hex())
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
    let text = String::deserialize(deserializer)?;
    Digest::from_hex(&text).map_err(de::Error::custom)
}
