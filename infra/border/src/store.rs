//! Where published files live, under names that never change their content.

use std::{
    error::Error,
    fmt,
    io::{self, Read},
    path::{Path, PathBuf},
};

use kdistro_formats::{Digest, layout};

use crate::incoming::Incoming;

/// The longest name, and the longest part of one, in bytes: what object stores and file systems hold.
const LONGEST_NAME: usize = 1024;
const LONGEST_PART: usize = 255;

/// The largest document that is read into memory.
pub const LARGEST_DOCUMENT: u64 = layout::LARGEST_DOCUMENT;

/// A store of published files.
///
/// Names are relative paths such as `kubernetes-1-36/kubernetes-1-36-7.yaml`. All but three (see [`may_change`]) keep
/// their content for ever. Every implementation passes `tests/store.rs`.
pub trait Store: Send + Sync {
    /// Returns the content of a document of at most [`LARGEST_DOCUMENT`] bytes, or `None` when there is none.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// Opens what is stored under a name, of any size, to be read once from its beginning; `None` when there is nothing.
    ///
    /// Nothing checks what is read: who wants certain content compares its digest.
    fn open(&self, name: &str) -> Result<Option<Box<dyn Read + Send + '_>>, StoreError>;

    /// Returns digest and size of what is stored, or `None` when nothing is.
    fn stat(&self, name: &str) -> Result<Option<Stored>, StoreError>;

    /// Stores content under a name that never changes, whole or not at all.
    ///
    /// Of several who store different content under one name at the same time exactly one gets [`Created::New`];
    /// the others get [`StoreError::Conflict`].
    fn create(&self, name: &str, content: Content<'_>) -> Result<Created, StoreError>;

    /// Replaces one of the documents that may change, if its content is still `old` (`None`: there is none yet).
    ///
    /// Returns `false`, and changes nothing, when the content is another.
    fn swap(&self, name: &str, old: Option<&[u8]>, new: &[u8]) -> Result<bool, StoreError>;

    /// Lists all names that start with `prefix`, sorted bytewise.
    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError>;

    /// Begins to take in content under no name. Kept as the content of a digest, a later [`Store::create`] of that
    /// content, from any file, needs no other copy. What is created never is gone when the store is closed, or its next
    /// writer begins.
    ///
    /// `None` where a store has no place for it.
    fn receive(&self) -> Result<Option<Incoming>, StoreError> {
        Ok(None)
    }

    /// Says where the store is, for people: a folder, or an address such as `s3://bucket/prefix`.
    fn place(&self) -> String;

    /// Returns the folder whose files the names are, where the store is one of this machine.
    fn folder(&self) -> Option<PathBuf> {
        None
    }
}

/// What is stored under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The digest of the content.
    pub digest: Digest,
    /// The length in bytes.
    pub size: u64,
}

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.digest, self.size)
    }
}

/// Content to store.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// Bytes in memory.
    Bytes(&'a [u8]),
    /// A file that is known to hold this; another content is refused while it is copied.
    File {
        /// Where the file lies.
        path: &'a Path,
        /// The digest of its content.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
    },
}

/// What storing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// The content is stored now.
    New,
    /// The same content was there already.
    Same,
}

/// A store that did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The name is taken: published content is never replaced.
    #[error("`{name}` is already published with other content: {published}, not {digest}")]
    Conflict {
        /// Name in the store.
        name: String,
        /// What is there.
        published: Digest,
        /// What was to be stored.
        digest: Digest,
    },
    /// A name that no store accepts.
    #[error("`{}` is not a name in a store; expected {expected}", name.escape_debug())]
    Name {
        /// The name.
        name: String,
        /// The rule that it breaks.
        expected: &'static str,
    },
    /// A name that never changes was to be swapped, or one that changes to be created.
    #[error("`{name}` {what}")]
    Kind {
        /// Name in the store.
        name: String,
        /// Which rule it breaks.
        what: &'static str,
    },
    /// The file to store is not what was said.
    #[error("{file} changed while it was stored as `{name}`: {found}, not {expected}")]
    Changed {
        /// Name in the store.
        name: String,
        /// The file.
        file: String,
        /// What was announced.
        expected: Box<Stored>,
        /// What was read.
        found: Box<Stored>,
    },
    /// A document too large to be read into memory.
    #[error("`{name}` has {size} bytes; expected at most {LARGEST_DOCUMENT}")]
    TooLarge {
        /// Name in the store.
        name: String,
        /// Its size.
        size: u64,
    },
    /// The disk refused.
    #[error("cannot {action} {path} for `{name}`")]
    Io {
        /// Name in the store.
        name: String,
        /// `read`, `write` and the like.
        action: &'static str,
        /// The file or directory.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A service refused or did not answer.
    #[error("cannot reach `{name}` in the store")]
    Service {
        /// Name in the store.
        name: String,
        /// What the service said.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Tells whether a name is one of the three that may change: a channel's index, the checkpoint of the log, and the
/// timestamp of the TUF repository.
pub fn may_change(name: &str) -> bool {
    let stem = name.rsplit('/').next().and_then(|file| file.strip_suffix(".yaml"));
    let channel = stem.and_then(|stem| stem.parse().ok());
    let is_index = channel.is_some_and(|channel| layout::channel_index(&channel) == name);
    is_index || name == layout::CHECKPOINT || name == "tuf/timestamp.json"
}

/// Checks a name that is to be created, swapped or read.
pub fn check_name(name: &str) -> Result<(), StoreError> {
    let rule = if name.is_empty() || name.len() > LONGEST_NAME {
        Some("1 to 1024 bytes")
    } else if name.starts_with('/') {
        Some("a relative path")
    } else if name.chars().any(char::is_control) {
        Some("no control character")
    } else if name.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        Some("no part that is empty, `.` or `..`")
    } else if name.split('/').any(|part| part.len() > LONGEST_PART) {
        Some("parts of at most 255 bytes")
    } else if name.starts_with(RESERVED) {
        Some("another first part: this one is the store's own")
    } else {
        None
    };
    rule.map_or(Ok(()), |expected| Err(StoreError::Name { name: name.to_owned(), expected }))
}

/// How the folder begins that a store keeps for itself.
pub(crate) const RESERVED: &str = layout::WORKSHOP;

/// Checks a name that is to be created.
pub fn check_creation(name: &str) -> Result<(), StoreError> {
    check_name(name)?;
    if !may_change(name) {
        return Ok(());
    }
    let what = "is a name whose content changes: it is swapped, never created";
    Err(StoreError::Kind { name: name.to_owned(), what })
}

/// Checks a name that is to be swapped.
pub fn check_swap(name: &str) -> Result<(), StoreError> {
    check_name(name)?;
    if may_change(name) {
        return Ok(());
    }
    let what = "is a name whose content never changes: it is created once, never swapped";
    Err(StoreError::Kind { name: name.to_owned(), what })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_names_may_change_and_no_other() {
        for name in ["releasechannels/1-36.yaml", "log/checkpoint", "tuf/timestamp.json"] {
            assert!(may_change(name), "{name} may not change");
        }
        for name in [
            "releasechannels/1-36.yml",
            "releasechannels/x.yaml",
            "releasechannels/1-36.yaml/x",
            "releasechannels/bundles/1-36.yaml",
            "log/checkpoint2",
            "x/log/checkpoint",
            "tuf/root.json",
            "",
        ] {
            assert!(!may_change(name), "{name} may change");
        }
    }

    #[test]
    fn refuses_names_that_lead_outside_or_to_the_folder_of_the_store() {
        let long = "x".repeat(256);
        let deep = "x/".repeat(600);
        for name in [
            "",
            "/a",
            "a/",
            "a//b",
            "..",
            "a/../b",
            "./a",
            "a\nb",
            "a\0",
            ".kdistro-store/x",
            &long,
            &deep,
        ] {
            assert!(check_name(name).is_err(), "accepted {name:?}");
        }
        for name in ["a", "a/b.yaml", "containers/images/sha256:00", ".well-known/x", "a b"] {
            check_name(name).unwrap();
        }
    }
}
