//! Tar archives: a canonical writer, and a strict reader for those of other people.
//!
//! Source: POSIX.1-2017, `pax`, "ustar Interchange Format" and "pax Interchange Format"; for the reader also
//! the long names of GNU tar, which Debian packages use.

mod header;
mod pax;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use read::read_tar;
pub use write::TarWriter;

use std::io;

use crate::entry::{EntryPath, EntryPathError};

/// An archive that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The reader or writer below refused.
    #[error("cannot {action} the tar archive at byte {offset}")]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// Where in the archive.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The archive ends in the middle.
    #[error("the tar archive ends at byte {offset}; expected {expected}")]
    Truncated {
        /// Where it ends.
        offset: u64,
        /// What should have followed.
        expected: &'static str,
    },
    /// A header that breaks the format.
    #[error("the tar header at byte {offset} is malformed: {what}")]
    Malformed {
        /// Where the header starts.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// An entry that the format allows and that is refused here: a device, a sparse file and the like.
    #[error("`{path}` in the tar archive is {kind}; expected a file, directory or link")]
    Refused {
        /// The name of the entry as it is written.
        path: String,
        /// What it is.
        kind: String,
    },
    /// A path that could lead outside.
    #[error(transparent)]
    Path(#[from] EntryPathError),
    /// A path that occurs twice.
    #[error("`{path}` is in the tar archive twice")]
    Duplicate {
        /// The path.
        path: EntryPath,
    },
    /// Entries to write that are not sorted.
    #[error("`{path}` comes after `{previous}`; expected bytewise order")]
    Order {
        /// The entry out of order.
        path: EntryPath,
        /// The one before it.
        previous: EntryPath,
    },
    /// Something to write that a tar archive cannot hold, or that the canonical form does not have.
    #[error("`{path}` cannot be written into a tar archive: {what}")]
    Unwritable {
        /// The path.
        path: EntryPath,
        /// Why.
        what: &'static str,
    },
    /// Content that is not as long as was said.
    #[error("`{path}` has {found} bytes; expected {expected}")]
    Size {
        /// The path.
        path: EntryPath,
        /// The size that was announced.
        expected: u64,
        /// How many bytes there were; of content that is too long, one more than expected.
        found: u64,
    },
}
