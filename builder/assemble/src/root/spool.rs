//! Where the content of files waits until it is their turn.

use std::io::{self, Read, Seek, SeekFrom, Take, Write};

use kdistro_formats::Digest;
use kdistro_verify::hash::Hasher;

/// A file that is only appended to, and then read here and there.
pub(super) struct Spool<S> {
    file: S,
    end: u64,
    count: usize,
}

/// The content of one file in the spool. Equal means: the same bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    /// The how-manieth content it is: names of one file share it.
    pub(super) number: usize,
    pub(super) digest: Digest,
    pub(super) size: u64,
    offset: u64,
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        (self.digest, self.size) == (other.digest, other.size)
    }
}

impl Eq for Content {}

impl<S: Read + Write + Seek> Spool<S> {
    pub(super) fn new(file: S) -> Self {
        Self { file, end: 0, count: 0 }
    }

    /// Appends everything `reader` yields.
    pub(super) fn append(&mut self, reader: &mut dyn Read) -> io::Result<Content> {
        self.file.seek(SeekFrom::Start(self.end))?;
        let mut writer = Hasher::new(&mut self.file);
        io::copy(reader, &mut writer)?;
        let (_, digest, size) = writer.finish();
        let content = Content { number: self.count, digest, size, offset: self.end };
        self.count += 1;
        self.end += size;
        Ok(content)
    }

    /// Reads a content from its start.
    pub(super) fn open(&mut self, content: &Content) -> io::Result<Take<&mut S>> {
        self.file.seek(SeekFrom::Start(content.offset))?;
        Ok((&mut self.file).take(content.size))
    }
}
