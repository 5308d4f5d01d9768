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

/// True for a plain host name: letters, digits, dots and dashes, beginning and ending with a letter or digit.
pub fn is_host(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    let outer = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.chars().all(inner)
        && outer(name.chars().next())
        && outer(name.chars().last())
        && !name.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_origin_is_a_host_and_no_path() {
        assert!(is_host("log.local.kdistro.dev"));
        for name in ["", "../..", "a/b", ".a", "a.", "a..b", "a b", "-a"] {
            assert!(!is_host(name), "{name}");
        }
    }
}
