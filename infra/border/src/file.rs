//! Announcements as files: one JSON document each, for a laptop or to be carried over an air gap.

use std::{collections::BTreeMap, io, io::Write, path::PathBuf};

use kdistro_formats::Digest;

use crate::{
    announcer::{AnnounceError, Announced, Announcer, Document, check},
    durable::{self, Temporary},
};

/// Announces by writing `<64 hex digits of the id>.json` into a folder.
#[derive(Clone, Debug)]
pub struct FileAnnouncer {
    folder: PathBuf,
}

impl FileAnnouncer {
    /// Takes the folder, which is made when something is announced.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Returns the file that the announcement of `id` is written to.
    pub fn path(&self, id: &Digest) -> PathBuf {
        self.folder.join(format!("{}.json", id.hex()))
    }

    fn write(&self, id: &Digest, bytes: &[u8]) -> io::Result<bool> {
        durable::create_directories(&self.folder)?;
        durable::clear(&self.folder)?;
        let temporary = Temporary::create(&self.folder, 0o644)?;
        (&temporary.file).write_all(bytes)?;
        temporary.publish(&self.path(id))
    }
}

impl Announcer for FileAnnouncer {
    fn announce(
        &self,
        id: &Digest,
        subject: &str,
        message: &str,
        attributes: &BTreeMap<String, String>,
    ) -> Result<Announced, AnnounceError> {
        check(id, subject, message, attributes)?;
        let failed =
            |source| AnnounceError::Io { path: self.path(id).display().to_string(), source };
        let document = Document { id, subject, message, attributes };
        let mut bytes =
            serde_json::to_vec_pretty(&document).map_err(|error| failed(error.into()))?;
        bytes.push(b'\n');
        let is_new = self.write(id, &bytes).map_err(failed)?;
        Ok(if is_new { Announced::New } else { Announced::Repeated })
    }
}
