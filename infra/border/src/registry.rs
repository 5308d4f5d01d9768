//! Where images live: repositories of blobs and manifests by digest, and tags that never move.

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error,
    fmt, io,
};

use kdistro_formats::Digest;

use crate::store::{Content, Created, Stored};

/// The largest manifest that is pushed or read.
///
/// Source: OCI distribution-spec, "Pushing Manifests": registries take at least 4 MiB, and many no more.
pub const LARGEST_MANIFEST: u64 = kdistro_formats::oci::LARGEST_DOCUMENT;

/// A registry of images.
///
/// A repository is a name such as `kubernetes/kube-apiserver`, without the registry's host; it is there from its first
/// content on. An image is pushed from the leaves up: blobs, the manifests that name them, the index that names those,
/// and last its tag. So whoever finds a tag finds all of the image. Every implementation passes `tests/registry.rs`.
pub trait Registry: Send + Sync {
    /// Sees to it that these repositories can be pushed to; called once before the first of them is.
    ///
    /// A registry that makes repositories by itself has nothing to do. One that does not makes those that are missing, or
    /// names all of them.
    fn prepare(&self, repositories: &BTreeSet<String>) -> Result<(), RegistryError> {
        let _ = repositories;
        Ok(())
    }

    /// Tells whether a repository holds a blob: the configuration or a layer of an image, or what an artifact carries.
    fn has_blob(&self, repository: &str, digest: &Digest) -> Result<bool, RegistryError>;

    /// Stores a blob, whole or not at all. One that is there is not sent again.
    fn push_blob(&self, repository: &str, content: Content<'_>) -> Result<Created, RegistryError>;

    /// Stores a manifest or index under its digest, byte for byte; its media type is what it says itself.
    ///
    /// All that it names must be there, but for its `subject`: a manifest that has one is a referrer of it from now on.
    fn push_manifest(&self, repository: &str, bytes: &[u8]) -> Result<Created, RegistryError>;

    /// Returns a manifest or index, checked against its digest, or `None` when the repository has none.
    fn read_manifest(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<Vec<u8>>, RegistryError>;

    /// Gives a manifest or index of the repository a tag.
    ///
    /// A tag never moves: one that names other content is [`RegistryError::Moved`], and stays as it is.
    fn tag(&self, repository: &str, tag: &str, digest: &Digest) -> Result<Created, RegistryError>;

    /// Returns what a tag names, or `None` when there is no such tag.
    fn resolve(&self, repository: &str, tag: &str) -> Result<Option<Digest>, RegistryError>;

    /// Lists the manifests of the repository whose `subject` is this one, sorted by digest.
    fn referrers(&self, repository: &str, subject: &Digest)
    -> Result<Vec<Referrer>, RegistryError>;
}

/// A manifest that says something about another: an SBOM, a provenance, a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// The media type of the manifest itself.
    pub media_type: String,
    /// What kind of thing it is: its `artifactType`, else the media type of its configuration.
    pub artifact_type: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A registry that did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The tag is taken: a tag never moves.
    #[error("`{repository}:{tag}` is {tagged} already, and a tag never moves to {digest}")]
    Moved {
        /// The repository.
        repository: String,
        /// The tag.
        tag: String,
        /// What it names.
        tagged: Digest,
        /// What it was to name.
        digest: Digest,
    },
    /// A name that no registry accepts, or not this one.
    #[error("`{}` is not a {kind}; expected {expected}", name.escape_debug())]
    Name {
        /// `repository` or `tag`.
        kind: &'static str,
        /// The name.
        name: String,
        /// The rule that it breaks.
        expected: &'static str,
    },
    /// Bytes that are no manifest.
    #[error("{digest} for `{repository}` is not a manifest or index: {what}")]
    Manifest {
        /// The repository.
        repository: String,
        /// The digest of the bytes.
        digest: Digest,
        /// What is wrong.
        what: String,
    },
    /// Something that a manifest or tag names is not in the repository.
    #[error("`{repository}` has no {missing}, which {by} names")]
    Missing {
        /// The repository.
        repository: String,
        /// What is missing.
        missing: Digest,
        /// The manifest or tag that names it.
        by: String,
    },
    /// A registry's address, or what is needed to reach it, is of no use.
    #[error("`{}` {what}", address.escape_debug())]
    Address {
        /// The address.
        address: String,
        /// What is wrong with it.
        what: String,
    },
    /// The registry keeps no list of referrers, and none may stand behind a tag, since it would have to change.
    #[error(
        "the registry does not list what is about {subject} in `{repository}` (it has no referrers API), and a tag for the list is not allowed, since its tags never change"
    )]
    Referrers {
        /// The repository.
        repository: String,
        /// What the referrer is about.
        subject: Digest,
    },
    /// The file to push is not what was said.
    #[error("{file} changed while it was pushed to `{repository}`: {found}, not {expected}")]
    Changed {
        /// The repository.
        repository: String,
        /// The file.
        file: String,
        /// What was announced.
        expected: Box<Stored>,
        /// What was read.
        found: Box<Stored>,
    },
    /// What the registry holds is not what it should be.
    #[error("`{repository}` is damaged: {what}")]
    Damaged {
        /// The repository.
        repository: String,
        /// Where, and what is wrong.
        what: String,
    },
    /// The disk refused.
    #[error("cannot {action} {path} for `{repository}`")]
    Io {
        /// The repository.
        repository: String,
        /// `read`, `write` and the like.
        action: &'static str,
        /// The file or directory.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A service refused or did not answer.
    #[error("cannot {action} `{repository}` in the registry")]
    Service {
        /// The repository.
        repository: String,
        /// What was to be done.
        action: &'static str,
        /// What the service said.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Checks the name of a repository.
///
/// Source: OCI distribution-spec, "Pulling manifests", `<name>`; the length is that of the common registries.
pub fn check_repository(name: &str) -> Result<(), RegistryError> {
    let rule = if name.is_empty() || name.len() > 255 {
        Some("1 to 255 bytes")
    } else if !name.split('/').all(is_component) {
        Some("parts of a-z and 0-9 with `.`, `_`, `__` or `-` between, and `/` between the parts")
    } else {
        None
    };
    let refuse =
        |expected| Err(RegistryError::Name { kind: "repository", name: name.to_owned(), expected });
    rule.map_or(Ok(()), refuse)
}

/// Tells whether a text is one part of a repository's name: words, with one separator between two of them.
fn is_component(part: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators = part.split(is_word).filter(|between| !between.is_empty());
    let is_separator =
        |between: &str| matches!(between, "." | "_" | "__") || between.chars().all(|c| c == '-');
    part.starts_with(is_word) && part.ends_with(is_word) && separators.into_iter().all(is_separator)
}

/// Checks a tag.
///
/// Source: OCI distribution-spec, "Pulling manifests", `<reference>` as a tag.
pub fn check_tag(tag: &str) -> Result<(), RegistryError> {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_tag = tag.len() <= 128
        && tag.starts_with(is_letter)
        && tag.chars().all(|c| is_letter(c) || c == '.' || c == '-');
    if is_tag {
        return Ok(());
    }
    let expected = "1 to 128 of letters, digits, `_`, `.` and `-`, the first neither `.` nor `-`";
    Err(RegistryError::Name { kind: "tag", name: tag.to_owned(), expected })
}

impl fmt::Display for Referrer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.artifact_type, self.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_have_the_grammar_of_the_specification() {
        for name in ["a", "kubernetes/kube-apiserver", "a.b_c__d---e/0/x", &"x".repeat(255)] {
            check_repository(name).unwrap();
        }
        let long = "x".repeat(256);
        for name in [
            "", "/", "a/", "/a", "a//b", "..", "a/..", "A", "a b", "-a", "a-", "a..b", "a___b",
            "a._b", "a:b", "a@b", "é", ".kdistro", "a\n", &long,
        ] {
            assert!(check_repository(name).is_err(), "accepted {name:?}");
        }
    }

    #[test]
    fn tags_have_the_grammar_of_the_specification() {
        for tag in ["v1.20.2-1-20-1", "_", "A", "v1.36.2_kd.t0123", &"x".repeat(128)] {
            check_tag(tag).unwrap();
        }
        let long = "x".repeat(129);
        for tag in ["", ".", "-a", ".a", "a+b", "a/b", "a:b", "a b", "é", "a\n", &long] {
            assert!(check_tag(tag).is_err(), "accepted {tag:?}");
        }
    }
}
