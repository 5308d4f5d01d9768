//! The journal of one release: an append-only file that says what was done, so that a run that was killed
//! goes on where it stopped.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use kdistro_formats::Digest;
use serde::{Deserialize, Serialize};

/// One line.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "done")]
pub enum Entry {
    /// The number was claimed.
    Claimed {
        /// The claim's digest.
        claim: Digest,
    },
    /// A file stands in the store.
    Published {
        /// Its name there.
        name: String,
        /// Its content.
        digest: Digest,
    },
    /// A document was signed; what was logged must be this signature and no second one.
    Signed {
        /// The document's digest (of the DSSE pre-authentication encoding, for a statement).
        document: Digest,
        /// The signature, ASN.1 DER, in base64.
        signature: String,
    },
}

/// The journal of one release.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    published: BTreeMap<String, Digest>,
    signed: BTreeMap<Digest, String>,
}

/// A journal that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system refused.
    #[error("cannot use the journal {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line that no version of this program wrote.
    #[error("{}:{line}: not a journal entry\nhelp:  move the file away: everything is then compared with the store again", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        source: serde_json::Error,
    },
}

impl Journal {
    /// Opens a journal; a last line that was cut off by a crash is dropped.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let failed = |source| JournalError::Io { path: path.to_owned(), source };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        let file =
            OpenOptions::new().create(true).append(true).read(true).open(path).map_err(failed)?;
        let text = fs::read_to_string(path).map_err(failed)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        file.set_len(whole as u64).map_err(failed)?;
        let (published, signed) = (BTreeMap::new(), BTreeMap::new());
        let mut journal = Self { path: path.to_owned(), file, published, signed };
        for (index, line) in text.get(..whole).unwrap_or_default().lines().enumerate() {
            let entry = serde_json::from_str(line).map_err(|source| JournalError::Line {
                path: path.to_owned(),
                line: index + 1,
                source,
            })?;
            journal.remember(&entry);
        }
        Ok(journal)
    }

    /// Writes an entry down. It is on disk before this returns, but for what is published: whatever is forgotten of that
    /// is looked at again.
    pub fn write(&mut self, entry: &Entry) -> Result<(), JournalError> {
        let failed = |source| JournalError::Io { path: self.path.clone(), source };
        let mut line = serde_json::to_string(entry).map_err(|error| failed(error.into()))?;
        line.push('\n');
        self.file.write_all(line.as_bytes()).map_err(failed)?;
        if !matches!(entry, Entry::Published { .. }) {
            self.file.sync_data().map_err(failed)?;
        }
        self.remember(entry);
        Ok(())
    }

    fn remember(&mut self, entry: &Entry) {
        match entry {
            Entry::Published { name, digest } => _ = self.published.insert(name.clone(), *digest),
            Entry::Signed { document, signature } => {
                _ = self.signed.insert(*document, signature.clone());
            }
            Entry::Claimed { .. } => {}
        }
    }

    /// True when this content was published under this name.
    pub fn has_published(&self, name: &str, digest: &Digest) -> bool {
        self.published.get(name) == Some(digest)
    }

    /// The signature that was made over a document, in base64.
    pub fn signature(&self, document: &Digest) -> Option<&str> {
        self.signed.get(document).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kdistro_verify::hash;

    #[test]
    fn what_was_written_is_known_after_a_crash_in_the_middle_of_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/1-20-1.jsonl");
        let digest = hash::sha256(b"x");
        let published = Entry::Published { name: "a".into(), digest };
        Journal::open(&path).unwrap().write(&published).unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, format!("{whole}{}", &whole[..cut])).unwrap();
            let mut journal = Journal::open(&path).unwrap();
            assert!(journal.has_published("a", &digest));
            journal.write(&Entry::Signed { document: digest, signature: "s".into() }).unwrap();
            assert_eq!(Journal::open(&path).unwrap().signature(&digest), Some("s"));
        }
        fs::write(&path, "{}\n").unwrap();
        assert!(matches!(Journal::open(&path), Err(JournalError::Line { line: 1, .. })));
    }
}
