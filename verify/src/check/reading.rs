//! Reads files of the store and records what was found: every name that was asked for, every problem, every bundle.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    io::{self, ErrorKind, Read},
};

use kdistro_formats::{Digest, layout, terminal::printable};

use super::{
    Scope, parallel,
    report::{Note, Outcome, Problem, Report, chain},
};
use crate::{
    bundle::{self, Logged},
    store::{self, Reader},
    trust::Trust,
};

/// The largest document (plan, manifest, index) that is read into memory.
pub(super) const DOCUMENT: u64 = layout::LARGEST_DOCUMENT;
/// The largest bundle, key or checkpoint.
pub(super) const SMALL: u64 = 4 * 1024 * 1024;

/// A check under way.
pub(super) struct Checker<'a> {
    pub(super) reader: &'a dyn Reader,
    pub(super) report: Report,
    /// Every name that belongs into the store.
    pub(super) known: BTreeSet<String>,
    /// What every bundle says about the log, by the bundle's name.
    pub(super) logged: Vec<(String, Logged)>,
    /// The bundles of the indexes that channels have now.
    pub(super) indexes: BTreeSet<String>,
    /// How much is checked.
    pub(super) scope: Scope,
    /// The length of every layer that was read and is what its digest says; images share layers.
    pub(super) layers: BTreeMap<Digest, u64>,
    /// What may be left of numbers that were given up.
    pub(super) left_over: LeftOver,
    /// What every gzipped layer that was unpacked is the archive of.
    pub(super) diff_ids: BTreeMap<Digest, Digest>,
}

/// What may be left of numbers that were given up, and no release speaks of.
#[derive(Default)]
pub(super) struct LeftOver {
    /// Inputs of their plans.
    pub(super) inputs: BTreeSet<Digest>,
    /// True when one of them has images.
    pub(super) images: bool,
}

/// A failure that stands in the report already.
pub(super) struct Recorded;

/// A file to be hashed, and how long it should be.
pub(super) struct Expected {
    pub(super) name: String,
    pub(super) size: u64,
}

impl<'a> Checker<'a> {
    pub(super) fn new(reader: &'a dyn Reader, scope: Scope) -> Self {
        Self {
            reader,
            report: Report::new(),
            known: BTreeSet::new(),
            logged: Vec::new(),
            indexes: BTreeSet::new(),
            scope,
            layers: BTreeMap::new(),
            diff_ids: BTreeMap::new(),
            left_over: LeftOver::default(),
        }
    }

    pub(super) fn finish(self) -> Report {
        self.report.conclude()
    }

    pub(super) fn differs(&mut self, file: &str, message: impl AsRef<str>) {
        self.problem(file, Outcome::Differs, message.as_ref());
    }

    pub(super) fn unknown(&mut self, file: &str, message: impl AsRef<str>) {
        self.problem(file, Outcome::Unknown, message.as_ref());
    }

    fn problem(&mut self, file: &str, outcome: Outcome, message: &str) {
        let (file, message) = (printable(file), printable(message));
        self.report.problems.push(Problem { file, outcome, message });
    }

    pub(super) fn note(&mut self, file: &str, message: impl AsRef<str>) {
        let (file, message) = (printable(file), printable(message.as_ref()));
        self.report.notes.push(Note { file, message });
    }

    /// Records that a file could not be read: wrong where the bytes are at fault, else unknown.
    pub(super) fn unreadable(&mut self, file: &str, error: &io::Error) {
        let text = chain(error);
        match error.kind() {
            ErrorKind::InvalidData | ErrorKind::FileTooLarge => self.differs(file, text),
            _ => self.unknown(file, format!("cannot be read: {text}")),
        }
    }

    /// Reads a document that must be there.
    pub(super) fn document(&mut self, name: &str, limit: u64) -> Option<Vec<u8>> {
        let read = self.optional(name, limit).ok()?;
        if read.is_none() {
            self.differs(name, "is missing");
        }
        read
    }

    /// Reads a document that may be absent.
    pub(super) fn optional(&mut self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Recorded> {
        self.known.insert(name.to_owned());
        match store::read(self.reader, name, limit) {
            Ok(read) => {
                self.report.bytes += read.as_ref().map_or(0, |bytes| bytes.len() as u64);
                Ok(read)
            }
            Err(error) => {
                self.unreadable(name, &error);
                Err(Recorded)
            }
        }
    }

    /// Reads a small file that must have exactly this content.
    pub(super) fn exact(&mut self, name: &str, expected: &str, what: &str) {
        let Some(bytes) = self.document(name, SMALL) else { return };
        if bytes != expected.as_bytes() {
            let same = bytes.iter().zip(expected.as_bytes()).take_while(|(a, b)| a == b).count();
            self.differs(name, format!("is not {what}: differs at byte {same}"));
        }
    }

    /// Checks the bundle of a document that was read, and blames the one of the two that was changed.
    pub(super) fn check_bundle(
        &mut self,
        document: (&str, &[u8]),
        bundle: &str,
        trust: &Trust,
    ) -> Option<Logged> {
        let (name, bytes) = document;
        self.known.insert(bundle.to_owned());
        let read = store::read(self.reader, bundle, SMALL);
        let json = match read {
            Ok(Some(json)) => json,
            Ok(None) => {
                self.differs(bundle, format!("is missing: nothing signs {name}"));
                return None;
            }
            Err(error) => {
                self.unreadable(bundle, &error);
                return None;
            }
        };
        self.report.bytes += json.len() as u64;
        match bundle::verify_message(&json, bytes, trust) {
            Ok(logged) => {
                self.logged.push((bundle.to_owned(), logged));
                Some(logged)
            }
            Err(error) => {
                let blamed = if error.is_about_the_document() { name } else { bundle };
                self.differs(blamed, chain(&error));
                None
            }
        }
    }

    /// Reads a document together with the bundle beside it.
    pub(super) fn signed_document(
        &mut self,
        name: &str,
        trust: &Trust,
    ) -> Option<(Vec<u8>, Logged)> {
        let bytes = self.document(name, DOCUMENT)?;
        let logged = self.check_bundle((name, &bytes), &layout::bundle(name), trust)?;
        Some((bytes, logged))
    }

    /// Hashes many files on all cores, as `hash` does; none in the result where one is missing or cannot be read.
    pub(super) fn hash_all<T: Send>(
        &mut self,
        files: &[Expected],
        hash: impl Fn(&mut dyn Read) -> io::Result<(T, u64)> + Sync,
    ) -> Vec<Option<(T, u64)>> {
        let reader = self.reader;
        // One byte more than it should have is enough to see that it is another: a store may send without end.
        let read = |file: &Expected| {
            let content = reader.open(&file.name)?;
            let most = file.size.saturating_add(1);
            content.map(|content| hash(&mut content.take(most))).transpose()
        };
        // The largest first, so that no core is left with one at the end.
        let results = parallel::map(files, |file| Reverse(file.size), read);
        let mut found = Vec::with_capacity(files.len());
        for (file, result) in files.iter().zip(results) {
            self.known.insert(file.name.clone());
            found.push(match result {
                Ok(Some((hash, size))) => {
                    self.report.bytes += size;
                    Some((hash, size))
                }
                Ok(None) => {
                    self.differs(&file.name, "is missing");
                    None
                }
                Err(error) => {
                    self.unreadable(&file.name, &error);
                    None
                }
            });
        }
        found
    }

    /// Lists what lies below a folder and refuses every file that nothing signed speaks of.
    pub(super) fn check_nothing_else(&mut self, prefix: &str) {
        for name in self.listed(prefix) {
            if !self.known.contains(&name) {
                self.unspoken(&name);
            }
        }
    }

    pub(super) fn unspoken(&mut self, name: &str) {
        self.differs(name, "is in the store, but nothing that is signed speaks of it");
    }

    /// The files below a folder; empty, with a note, where the store cannot list.
    pub(super) fn listed(&mut self, prefix: &str) -> Vec<String> {
        let folder = if prefix.is_empty() { "." } else { prefix };
        match self.reader.list(prefix) {
            Ok(Some(names)) => names,
            Ok(None) => {
                let what = "the store cannot be listed over its address: nobody can say whether more is there";
                if self.scope == Scope::All && prefix.is_empty() {
                    self.unknown("store", what);
                } else {
                    self.note("store", what);
                }
                Vec::new()
            }
            Err(error) => {
                self.unreadable(folder, &error);
                Vec::new()
            }
        }
    }
}
