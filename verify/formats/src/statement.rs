//! Signed statements: in-toto Statement v1, and our predicate about a rebuild.
//!
//! Source: in-toto attestation framework, `spec/v1/statement.md`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// `_type` of a statement.
pub const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// `predicateType` of a rebuild.
pub const REBUILD: &str = "https://kdistro.dev/rebuild/v1";
/// The DSSE payload type of a statement.
pub const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// An in-toto statement.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Statement<P> {
    /// [`STATEMENT`].
    #[serde(rename = "_type")]
    pub kind: String,
    /// What it is about.
    pub subject: Vec<Subject>,
    /// What kind of claim it makes.
    pub predicate_type: String,
    /// The claim.
    pub predicate: P,
}

/// What a statement is about.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Subject {
    /// A name.
    pub name: String,
    /// Hex digests by algorithm, such as `sha256`.
    pub digest: BTreeMap<String, String>,
}

impl Subject {
    /// Names something by its SHA-256.
    pub fn new(name: impl Into<String>, digest: &Digest) -> Self {
        Self { name: name.into(), digest: BTreeMap::from([("sha256".to_owned(), digest.hex())]) }
    }
}

/// The claim that a release was rebuilt, and what came out.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Rebuild {
    /// The release, such as `1-20-1`.
    pub release: String,
    /// The plan that was followed.
    pub plan: Digest,
    /// True when the plan was also made anew from the published configuration.
    pub plan_reproduced: bool,
    /// Where the inputs came from.
    pub inputs_from: String,
    /// Every asset that was compared, sorted by name.
    pub assets: Vec<RebuiltAsset>,
    /// The assets that were left out on request, sorted.
    pub left_out: Vec<String>,
}

/// One asset of a rebuild.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RebuiltAsset {
    /// `<component>/<asset>`.
    pub name: String,
    /// What was published.
    pub published: Digest,
    /// What the rebuild gave.
    pub rebuilt: Digest,
    /// How they compare.
    pub verdict: RebuildVerdict,
}

/// How a rebuilt asset compares with the published one.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RebuildVerdict {
    /// The same bytes.
    Same,
    /// The same bytes inside, compressed by another encoder.
    SameContentOtherCompression,
    /// Different content.
    Different,
}
