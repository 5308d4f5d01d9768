//! `infra/environments/<name>.yaml`: where bytes go today. Never named in a manifest.

use serde::Deserialize;

/// Where a release goes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Environment {
    /// Its name; signed documents carry it.
    pub name: String,
    /// True where parts of a channel and dirty trees may be cut.
    #[serde(default)]
    pub development: bool,
    /// The published files.
    pub store: Place,
    /// The announcements.
    pub announcements: Place,
    /// The keys of signer and log.
    pub keys: Place,
    /// The log's name: the host part of its address, and nothing more.
    pub log_origin: String,
}

/// A place.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Place {
    /// A directory, from the home folder unless absolute.
    pub directory: String,
}
