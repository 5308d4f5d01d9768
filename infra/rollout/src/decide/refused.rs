//! Why a channel or a release is not taken.

use std::{io, string::FromUtf8Error};

use kdistro_formats::{Digest, canonical::CanonicalError, release::ManifestError};
use kdistro_verify::{
    bundle::BundleError,
    check::{Outcome, Report},
    log::LogError,
    trust::TrustError,
};

/// Why a channel or a release is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The store could not say what is in a file.
    #[error("cannot read `{file}` of {store}")]
    Unread {
        /// The store.
        store: String,
        /// The file.
        file: String,
        /// What it said.
        source: io::Error,
    },
    /// A file is not there that was there before, or without which nothing can be told.
    #[error("`{file}` is missing in {store}")]
    Missing {
        /// The store.
        store: String,
        /// The file.
        file: String,
        /// True where something is known to have been there.
        was_there: bool,
    },
    /// A document that nothing signs.
    #[error("nothing signs `{file}`: `{bundle}` is missing")]
    Unsigned {
        /// The document.
        file: String,
        /// Its bundle.
        bundle: String,
    },
    /// A document whose bundle does not prove it.
    #[error("`{file}` is not what was signed")]
    Forged {
        /// The document.
        file: String,
        /// What is wrong.
        source: BundleError,
    },
    /// The trusted root is of no use.
    #[error("`{file}` cannot be believed")]
    Root {
        /// The trusted root.
        file: String,
        /// What is wrong.
        source: TrustError,
    },
    /// Another log than the one seen before.
    #[error(
        "the log's key is {found}, but was {seen}\nhelp:  ask the distributor, by another way, whether the log was begun anew"
    )]
    OtherLog {
        /// The fingerprint of its key.
        found: Digest,
        /// The one seen before.
        seen: Digest,
    },
    /// The log is not the one that was seen before, or that the index proves.
    #[error("the log of {store} does not hold what {by} proves")]
    Log {
        /// The store.
        store: String,
        /// What proves it.
        by: &'static str,
        /// What is wrong.
        source: LogError,
    },
    /// Not text.
    #[error("`{file}` is not UTF-8")]
    Text {
        /// The file.
        file: String,
        /// What is wrong.
        source: FromUtf8Error,
    },
    /// Not the document that it should be.
    #[error("`{file}` cannot be read as what it should be")]
    Form {
        /// The file.
        file: String,
        /// What is wrong.
        source: ManifestError,
    },
    /// Not a plan.
    #[error("`{file}` cannot be read as a plan")]
    Plan {
        /// The file.
        file: String,
        /// What is wrong.
        source: CanonicalError,
    },
    /// What a document says of itself is not what was asked for.
    #[error("`{field}` of `{file}` is `{found}`, expected `{expected}`")]
    Other {
        /// The file.
        file: String,
        /// The field.
        field: &'static str,
        /// What stands there.
        found: String,
        /// What should.
        expected: String,
    },
    /// An index that was replaced already.
    #[error(
        "`{file}` was rolled back: it is entry {found} of the log, but entry {seen} was seen before"
    )]
    RolledBack {
        /// The index.
        file: String,
        /// Where in the log it stands.
        found: u64,
        /// Where the one seen before stands.
        seen: u64,
    },
    /// An index that takes back what one before it said.
    #[error("`{file}` takes back what it said before: {what}")]
    TakenBack {
        /// The index.
        file: String,
        /// What it said.
        what: String,
    },
    /// A release that is not as it was signed, or of which this could not be told.
    #[error("release {release} is not verified: {}", problems(.report))]
    Release {
        /// The release.
        release: String,
        /// What was found.
        report: Box<Report>,
    },
    /// A demand that the subscriber makes is not met.
    #[error("release {release} does not meet `{demand}`: {what}")]
    Unmet {
        /// The release.
        release: String,
        /// The demand.
        demand: String,
        /// What is missing or wrong.
        what: String,
        /// [`Outcome::Differs`], or [`Outcome::Unknown`] where it could not be told.
        outcome: Outcome,
    },
}

impl Refused {
    /// Tells evidence, [`Outcome::Differs`], from what could not be told, [`Outcome::Unknown`]: of that it is worth to
    /// ask again.
    pub fn outcome(&self) -> Outcome {
        let unknown = match self {
            Self::Unread { source, .. } => {
                !matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge)
            }
            Self::Missing { was_there, .. } => !was_there,
            Self::Log { source, .. } => source.is_unread(),
            Self::Release { report, .. } => return report.outcome,
            Self::Unmet { outcome, .. } => return *outcome,
            _ => false,
        };
        if unknown { Outcome::Unknown } else { Outcome::Differs }
    }
}

fn problems(report: &Report) -> String {
    let problems = report.problems.iter();
    let problems: Vec<_> =
        problems.map(|problem| format!("{}: {}", problem.file, problem.message)).collect();
    if problems.is_empty() { "no reason was found".to_owned() } else { problems.join("; ") }
}
