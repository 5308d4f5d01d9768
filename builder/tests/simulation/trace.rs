//! What was done in a schedule: the same schedule is told in the same words, whoever signed.

use std::collections::BTreeMap;

use kdistro_formats::layout;

/// One line for each operation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace {
    text: String,
    blobs: BTreeMap<String, usize>,
}

impl Trace {
    /// Appends a line.
    ///
    /// A blob is called by its number, the first that is named 0: some are signed, and no signature is made twice.
    pub(crate) fn add(&mut self, line: &str) {
        let begin = format!("{}/sha256:", layout::IMAGES);
        if let Some((before, rest)) = line.split_once(&begin) {
            let (digest, after) = rest.split_at(rest.find(':').unwrap_or(rest.len()));
            let next = self.blobs.len();
            let number = self.blobs.entry(digest.to_owned()).or_insert(next);
            let number = format!("#{number}");
            self.text.extend([before, layout::IMAGES, "/", &number, after, "\n"]);
        } else {
            self.text.extend([line, "\n"]);
        }
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }
}
