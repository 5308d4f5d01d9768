//! The announcement of a release, or that one was yanked: a hint, on which nothing is done that the signed manifest does not say.

use serde::{Deserialize, Serialize};

use crate::{ChannelName, Digest, release::ReleaseRef};

/// The version of this format.
pub const SCHEMA: &str = "kdistro.dev/announcement/v1";

/// The most that SNS takes, in bytes, attributes included.
///
/// Source: SNS API reference, `Publish`: 262,144 bytes.
pub const LARGEST: usize = 262_144;

/// The announcement, as every protocol but e-mail carries it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Announcement {
    /// [`SCHEMA`].
    pub schema: String,
    /// The environment that announces.
    pub environment: String,
    /// The channel.
    pub channel: ChannelName,
    /// The number.
    pub number: u32,
    /// The manifest by address and digest.
    pub manifest: Document,
    /// Its Sigstore bundle by address and digest.
    pub bundle: Document,
    /// The release before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<ReleaseRef>,
    /// How urgent the release is.
    pub severity: Severity,
    /// CVEs that its patches fix, sorted.
    pub fixes: Vec<String>,
    /// Why the release should not be used any more, where that is what is announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yanked: Option<String>,
}

/// A published document; its text only where the whole stays small enough.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Document {
    /// Its public address.
    pub uri: String,
    /// Its content.
    pub sha256: Digest,
    /// Its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

/// How urgent a release is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing but new versions.
    Routine,
    /// Fixes a CVE.
    Security,
    /// Should be rolled out at once.
    Critical,
}

/// What goes to SNS with `MessageStructure: json`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// The [`Announcement`] as JSON text, which every protocol but e-mail falls back to.
    pub default: String,
    /// A text for people.
    pub email: String,
}
