//! Signed statements: in-toto Statement v1, SLSA's predicate about a build, and ours about a rebuild.
//!
//! Source: in-toto attestation framework, `spec/v1/statement.md`; SLSA v1.0, "Provenance".

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::Digest;

/// `_type` of a statement.
pub const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// `predicateType` of a rebuild.
pub const REBUILD: &str = "https://kdistro.dev/rebuild/v1";
/// `predicateType` of a build: SLSA's.
///
/// Source: <https://slsa.dev/spec/v1.0/provenance>.
pub const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
/// `predicateType` of tests: in-toto's.
///
/// Source: in-toto attestation framework, `spec/predicates/test-result.md`.
pub const TEST_RESULT: &str = "https://in-toto.io/attestation/test-result/v0.1";
/// `buildType` of every [`Provenance`]: the steps of a plan, run without a network, each seeing only what its key names.
pub const BUILD_TYPE: &str = "https://kdistro.dev/build/v1";
/// `builder.id` of a cut on somebody's own machine, which is SLSA Build L1 and no more.
pub const LOCAL_BUILDER: &str = "https://kdistro.dev/builder/local";
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

impl<P> Statement<P> {
    /// True where it is about one thing and nothing else, and that has this SHA-256.
    pub fn is_about(&self, digest: &Digest) -> bool {
        let is_it = |subject: &Subject| subject.digest.get("sha256") == Some(&digest.hex());
        self.subject.len() == 1 && self.subject.iter().all(is_it)
    }
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

/// How tests of a release went.
///
/// Source: in-toto attestation framework, `spec/predicates/test-result.md`.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TestResult {
    /// What they came to.
    pub result: TestVerdict,
    /// What was tested how.
    pub configuration: Vec<ResourceDescriptor>,
    /// Where more is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The tests that passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_tests: Vec<String>,
    /// The tests that passed with a warning, or were left out where the whole passed with one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warned_tests: Vec<String>,
    /// The tests that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_tests: Vec<String>,
}

/// What tests came to.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TestVerdict {
    /// All passed.
    Passed,
    /// None failed, and something is to be said.
    Warned,
    /// One failed, or more.
    Failed,
}

impl fmt::Display for TestVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "PASSED",
            Self::Warned => "WARNED",
            Self::Failed => "FAILED",
        })
    }
}

/// How the assets of one component were built.
///
/// Source: SLSA v1.0, "Provenance", "Model". Of its optional fields, `logs` of the metadata's extensions and the
/// builder's `builderDependencies` are not used: the plan names every tool that touched the content.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Provenance {
    /// What was built, and from what.
    pub build_definition: BuildDefinition,
    /// This one run of it.
    pub run_details: RunDetails,
}

/// What was built, and from what: the part that is the same in every rebuild, but for the isolation.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BuildDefinition {
    /// [`BUILD_TYPE`].
    pub build_type: String,
    /// What the one who cut the release decided.
    pub external_parameters: ExternalParameters,
    /// What the builder decided.
    pub internal_parameters: InternalParameters,
    /// Every input, sorted by name.
    pub resolved_dependencies: Vec<ResourceDescriptor>,
}

/// What the one who cut a release decided: all else follows from the plan.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ExternalParameters {
    /// The release, such as `1-20-1`.
    pub release: String,
    /// The component that the subjects belong to.
    pub component: String,
    /// The digest of the plan, which is the one in the manifest.
    pub plan: Digest,
}

/// What the builder decided.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct InternalParameters {
    /// What the build container really isolated, sorted by name.
    pub isolation: Vec<Isolation>,
}

/// One promise of the build container, and whether it was kept.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Isolation {
    /// Such as `network` or `memory limit`.
    pub name: String,
    /// Whether it was enforced.
    pub enforced: bool,
    /// By what it was enforced, or why it was not.
    pub how: String,
}

/// Something by name and content.
///
/// Source: in-toto attestation framework, `spec/v1/resource_descriptor.md`; a name or URI, or both, and a digest.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ResourceDescriptor {
    /// A name, such as the path of a configuration file.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where it comes from, as the plan's `origin`: `pkg:…` or `git+https://…@<commit>`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uri: String,
    /// Hex digests by algorithm: `sha256`, of git objects also `gitCommit` and `gitTree`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digest: BTreeMap<String, String>,
    /// What else is to be said of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// One run of a build.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RunDetails {
    /// Who ran it.
    pub builder: Builder,
    /// Which run it was.
    pub metadata: BuildMetadata,
    /// What came out besides the subjects, such as logs; sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub byproducts: Vec<ResourceDescriptor>,
}

/// Who ran a build.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Builder {
    /// What vouches for the run, such as [`LOCAL_BUILDER`].
    pub id: String,
    /// Versions by program, such as `kdistro`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub version: BTreeMap<String, String>,
}

/// Which run of a build it was.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BuildMetadata {
    /// What the builder calls the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invocation_id: Option<String>,
    /// When it started, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_on: Option<String>,
    /// When it ended, RFC 3339 in UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_on: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The example of the specification, with a digest of the length that it should have.
    #[test]
    fn a_test_result_has_the_form_that_in_toto_gives_it() {
        let document = json!({
            "_type": STATEMENT,
            "subject": [{ "name": "M", "digest": { "sha256": "ab".repeat(32) } }],
            "predicateType": TEST_RESULT,
            "predicate": {
                "result": "FAILED",
                "configuration": [{
                    "name": ".github/workflows/ci.yml",
                    "digest": { "gitBlob": "8217b7e8d4d1bd2ab1a1b1c3d3fca2f1a7b3c1f5" },
                }],
                "url": "https://example.com/1",
                "passedTests": ["a"],
                "warnedTests": ["b"],
                "failedTests": ["c"],
            },
        });
        let read: Statement<TestResult> = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), document);
        assert_eq!(read.predicate.result.to_string(), "FAILED");
    }

    /// The names of the fields are SLSA's; the values are those of a small release.
    #[test]
    fn a_provenance_has_the_form_that_slsa_gives_it() {
        let digest = json!({ "sha256": "ab".repeat(32) });
        let document = json!({
            "_type": STATEMENT,
            "subject": [{ "name": "etcd.tar.gz", "digest": digest }],
            "predicateType": PROVENANCE,
            "predicate": {
                "buildDefinition": {
                    "buildType": BUILD_TYPE,
                    "externalParameters": {
                        "release": "1-20-1",
                        "component": "etcd",
                        "plan": format!("sha256:{}", "cd".repeat(32)),
                    },
                    "internalParameters": {
                        "isolation": [{ "name": "network", "enforced": true, "how": "none" }],
                    },
                    "resolvedDependencies": [{
                        "name": "etcd",
                        "uri": "git+https://git.example/etcd@1",
                        "digest": digest,
                        "annotations": { "kind": "source" },
                    }],
                },
                "runDetails": {
                    "builder": { "id": LOCAL_BUILDER, "version": { "kdistro": "0.1.0" } },
                    "metadata": {
                        "invocationId": "1",
                        "startedOn": "2026-08-01T00:00:00Z",
                        "finishedOn": "2026-08-01T00:01:00Z",
                    },
                    "byproducts": [{ "name": "log", "digest": digest }],
                },
            },
        });
        let read: Statement<Provenance> = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), document);
        let mut odd = document;
        odd["predicate"]["runDetails"]["level"] = json!(4);
        assert!(serde_json::from_value::<Statement<Provenance>>(odd).is_err());
    }
}
