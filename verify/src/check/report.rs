//! What a check found: a verdict, every problem by file, and facts for people.

use std::{error::Error, fmt};

use kdistro_formats::{Digest, terminal::printable};
use serde::Serialize;

use super::manifest::SignedManifest;

/// The verdict: three-valued, and what is wrong wins over what could not be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Everything in scope is as it was signed.
    Verified,
    /// Something could not be read or judged.
    Unknown,
    /// Something differs, is forged, missing or too much.
    Differs,
}

impl Outcome {
    /// The exit code of the program: 0 verified, 1 differs, 2 could not tell.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Verified => 0,
            Self::Differs => 1,
            Self::Unknown => 2,
        }
    }
}

/// Something that keeps a release from being verified.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The file, by its name in the store.
    pub file: String,
    /// [`Outcome::Differs`] or [`Outcome::Unknown`].
    pub outcome: Outcome,
    /// What is wrong.
    pub message: String,
}

/// Something worth knowing that changes no verdict.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Note {
    /// The file, by its name in the store.
    pub file: String,
    /// What to know.
    pub message: String,
}

/// What a check found.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The verdict.
    pub outcome: Outcome,
    /// Where the store is.
    pub store: String,
    /// The manifest's name in the store.
    pub manifest: String,
    /// The release, such as `1-20-1`, once its manifest is authentic.
    pub release: Option<String>,
    /// The manifest's digest, once it is authentic.
    pub manifest_digest: Option<Digest>,
    /// When its number was claimed.
    pub date: Option<String>,
    /// How many components it has.
    pub components: usize,
    /// How many assets it has.
    pub assets: usize,
    /// How many bytes were hashed.
    pub bytes: u64,
    /// The fingerprint of the release key.
    pub key: Option<Digest>,
    /// The first entry of the log for which that key is not believed any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_from: Option<u64>,
    /// Where in the log the manifest stands.
    pub log_index: Option<u64>,
    /// How many leaves the log has.
    pub log_size: Option<u64>,
    /// Every problem, sorted by file.
    pub problems: Vec<Problem>,
    /// Every note, sorted by file.
    pub notes: Vec<Note>,
}

impl Report {
    pub(super) fn new() -> Self {
        Self {
            outcome: Outcome::Verified,
            store: String::new(),
            manifest: String::new(),
            release: None,
            manifest_digest: None,
            date: None,
            components: 0,
            assets: 0,
            bytes: 0,
            key: None,
            revoked_from: None,
            log_index: None,
            log_size: None,
            problems: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(super) fn describe(&mut self, signed: &SignedManifest) {
        let status = &signed.release.status;
        self.release = Some(signed.name.to_string());
        self.manifest_digest = Some(signed.digest);
        self.date.clone_from(&status.date);
        self.components = status.components.len();
        self.assets = status.components.iter().map(|component| component.assets.len()).sum();
        self.log_index = Some(signed.logged.index);
    }

    /// Sorts what was found and draws the verdict.
    pub(super) fn conclude(mut self) -> Self {
        self.problems.sort();
        self.problems.dedup();
        self.notes.sort();
        self.notes.dedup();
        let worst = self.problems.iter().map(|problem| problem.outcome).max();
        self.outcome = worst.unwrap_or(Outcome::Verified);
        self
    }
}

impl fmt::Display for Report {
    /// Writes the report for people; the last line is the verdict.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(release) = &self.release {
            let date = printable(self.date.as_deref().unwrap_or("no date"));
            writeln!(f, "release     {release} of {date}")?;
            writeln!(f, "content     {} components, {} assets", self.components, self.assets)?;
            writeln!(f, "read        {} bytes", self.bytes)?;
        }
        if let Some(key) = &self.key {
            writeln!(f, "key         {key}")?;
        }
        if let Some(index) = self.revoked_from {
            writeln!(f, "revoked     from entry {index} of the log on")?;
        }
        if let (Some(index), Some(size)) = (self.log_index, self.log_size) {
            writeln!(f, "log         entry {index} of {size}")?;
        }
        for note in &self.notes {
            writeln!(f, "note        {}: {}", note.file, note.message)?;
        }
        for problem in &self.problems {
            let kind = match problem.outcome {
                Outcome::Unknown => "unknown    ",
                Outcome::Verified | Outcome::Differs => "problem    ",
            };
            writeln!(f, "{kind} {}: {}", problem.file, problem.message)?;
        }
        let of = |outcome| {
            let files = self.problems.iter().filter(|problem| problem.outcome == outcome);
            let mut files: Vec<_> = files.map(|problem| problem.file.as_str()).collect();
            files.dedup();
            files.join(", ")
        };
        match self.outcome {
            Outcome::Verified => writeln!(f, "verified"),
            Outcome::Differs => writeln!(f, "differs or forged: {}", of(Outcome::Differs)),
            Outcome::Unknown => writeln!(f, "could not tell: {}", of(Outcome::Unknown)),
        }
    }
}

/// Joins an error with what caused it, with `: ` between.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        // Some libraries repeat the cause in their own text.
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = cause.source();
    }
    text
}
