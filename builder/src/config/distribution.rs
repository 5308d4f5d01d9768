//! `release-manifests/distribution.yaml`: public names and addresses, the same in every environment.

use serde::{Deserialize, Serialize};

/// Public names and addresses.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Distribution {
    /// The distribution's name.
    pub name: String,
    /// Where the store is, seen from outside, without a slash at the end.
    pub url: String,
    /// Where images are, seen from outside: the registry's name, and what stands before every repository.
    pub registry: String,
}
