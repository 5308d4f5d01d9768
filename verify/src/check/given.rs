//! A manifest that was given beside the store: it must be the one that was verified.

use std::io::{self, ErrorKind};

use kdistro_formats::terminal::printable;

use super::{Outcome, Problem, Report, report::chain};
use crate::hash;

impl Report {
    /// Adds whether the manifest in `file`, which is not the store's own, has the very bytes that were verified.
    #[must_use]
    pub fn with_given(mut self, file: &str, read: &io::Result<Vec<u8>>) -> Self {
        let (outcome, message) = match (read, self.manifest_digest) {
            (Ok(bytes), Some(digest)) if hash::sha256(bytes) == digest => return self,
            (Ok(bytes), Some(digest)) => {
                let found = hash::sha256(bytes);
                (Outcome::Differs, format!("is {found}, but the store's manifest is {digest}"))
            }
            (Ok(_), None) => {
                let message = "cannot be compared: the store's manifest was not verified";
                (Outcome::Unknown, message.to_owned())
            }
            (Err(error), _) if error.kind() == ErrorKind::FileTooLarge => {
                (Outcome::Differs, chain(error))
            }
            (Err(error), _) => (Outcome::Unknown, format!("cannot be read: {}", chain(error))),
        };
        let (file, message) = (printable(file), printable(&message));
        self.problems.push(Problem { file, outcome, message });
        self.conclude()
    }
}
