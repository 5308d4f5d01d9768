//! The one form in which a bundle is published: every field that may stand in it, and no other.
//!
//! Source: Sigstore, `protobuf-specs`, `sigstore_bundle.proto` and `sigstore_rekor.proto`, as JSON.

use serde::{Deserialize, Serialize};

/// The media type of a bundle v0.3.
pub(super) const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Shape {
    pub(super) media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) message_signature: Option<MessageSignature>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) dsse_envelope: Option<Envelope>,
    pub(super) verification_material: Material,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct MessageSignature {
    pub(super) message_digest: MessageDigest,
    pub(super) signature: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct MessageDigest {
    pub(super) algorithm: String,
    pub(super) digest: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Envelope {
    pub(super) payload: String,
    pub(super) payload_type: String,
    pub(super) signatures: Vec<Signature>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Signature {
    pub(super) sig: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) keyid: Option<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Material {
    pub(super) public_key: KeyHint,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp_verification_data: Option<Timestamps>,
    pub(super) tlog_entries: Vec<Entry>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct KeyHint {
    pub(super) hint: String,
}

/// Tokens would have to be verified; none is written yet.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Timestamps {
    rfc3161_timestamps: [(); 0],
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Entry {
    pub(super) canonicalized_body: String,
    pub(super) inclusion_proof: Proof,
    pub(super) kind_version: KindVersion,
    pub(super) log_id: LogId,
    pub(super) log_index: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Proof {
    pub(super) checkpoint: Checkpoint,
    pub(super) hashes: Vec<String>,
    pub(super) log_index: String,
    pub(super) root_hash: String,
    pub(super) tree_size: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Checkpoint {
    pub(super) envelope: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct KindVersion {
    pub(super) kind: String,
    pub(super) version: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct LogId {
    pub(super) key_id: String,
}
