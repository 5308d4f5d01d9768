//! Writes the one canonical tar archive of some entries.

use std::io::{self, Read, Write};

use super::{
    TarError,
    header::{self, BLOCK, Block, padding},
    pax,
};
use crate::entry::{Entry, EntryKind, EntryPath, ORDINARY_DIRECTORY, SHARED_DIRECTORY};

/// Bytes copied at a time.
const BUFFER: usize = 128 * 1024;

/// The name of every pax header, which readers do not show.
const PAX_NAME: &[u8] = b"././@PaxHeader";

/// Writes entries as a canonical tar archive: the same entries give the same bytes.
///
/// The format is ustar, with a pax header in front of an entry only where ustar has no room (path or link longer
/// than its field or not ASCII, size or time beyond eleven octal digits, extended attributes). Owner and group are 0
/// without names, every modification time is the given one, modes are 0644, 0755 and 1777. Two blocks of zeros
/// end the archive, and no padding follows.
pub struct TarWriter<W> {
    inner: W,
    mtime: u64,
    previous: Option<EntryPath>,
    offset: u64,
    buffer: Vec<u8>,
}

impl<W: Write> TarWriter<W> {
    /// Starts an archive; `mtime` is in seconds since 1970.
    pub fn new(inner: W, mtime: u64) -> Self {
        Self { inner, mtime, previous: None, offset: 0, buffer: vec![0; BUFFER] }
    }

    /// Adds an entry; each must come after the one before in bytewise order of the paths.
    pub fn append(&mut self, entry: Entry<'_>) -> Result<(), TarError> {
        let Entry { path, kind, xattrs } = entry;
        if let Some(previous) = self.previous.as_ref().filter(|previous| **previous >= path) {
            return Err(if *previous == path {
                TarError::Duplicate { path }
            } else {
                TarError::Order { path, previous: previous.clone() }
            });
        }
        let mut header = Header::new(self.mtime);
        header.describe(&path, &kind)?;
        for (name, value) in xattrs {
            if name.is_empty() || name.contains(['=', '\0', '\n']) {
                return Err(TarError::Unwritable { path, what: "an attribute has no proper name" });
            }
            header.records.push((format!("{}{name}", pax::XATTR), value));
        }
        self.put(&header.finish(self.mtime))?;
        if let EntryKind::File { size, content, .. } = kind {
            self.copy(&path, size, content)?;
        }
        self.previous = Some(path);
        Ok(())
    }

    /// Adds a directory of mode 0755 at its first need, which may be after its place in bytewise order: `a` before
    /// `a/b`, though `a-b` came already. The caller sees to it that it is not there yet.
    pub(crate) fn append_parent(&mut self, path: &EntryPath) -> Result<(), TarError> {
        let mut header = Header::new(self.mtime);
        header.describe(path, &EntryKind::Directory { mode: ORDINARY_DIRECTORY })?;
        self.put(&header.finish(self.mtime))
    }

    /// Ends the archive and returns the writer.
    pub fn finish(mut self) -> Result<W, TarError> {
        self.put(&[0; 2 * BLOCK])?;
        let offset = self.offset;
        self.inner.flush().map_err(|source| TarError::Io { action: "write", offset, source })?;
        Ok(self.inner)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), TarError> {
        let offset = self.offset;
        let written = self.inner.write_all(bytes);
        written.map_err(|source| TarError::Io { action: "write", offset, source })?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn copy(
        &mut self,
        path: &EntryPath,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), TarError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let copied = self.copy_through(&mut buffer, path, size, content);
        self.buffer = buffer;
        copied?;
        let zeros = [0; BLOCK];
        let padding = usize::try_from(padding(size)).unwrap_or_default();
        self.put(zeros.get(..padding).unwrap_or_default())
    }

    fn copy_through(
        &mut self,
        buffer: &mut [u8],
        path: &EntryPath,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), TarError> {
        // One byte more than announced is asked for: content that is too long is an error, not cut.
        let mut content = content.take(size.saturating_add(1));
        let mut found = 0;
        loop {
            let count = match content.read(buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    return Err(TarError::Io { action: "write", offset: self.offset, source });
                }
            };
            found += count as u64;
            if found > size {
                break;
            }
            self.put(buffer.get(..count).unwrap_or_default())?;
        }
        if found == size {
            Ok(())
        } else {
            Err(TarError::Size { path: path.clone(), expected: size, found })
        }
    }
}

/// A header in the making, and the pax records that it needs.
struct Header {
    block: Block,
    records: Vec<(String, Vec<u8>)>,
}

impl Header {
    fn new(mtime: u64) -> Self {
        let mut header = Self { block: plain(), records: Vec::new() };
        if !header::MTIME.set_number(&mut header.block, mtime) {
            header.record("mtime", mtime.to_string());
        }
        header
    }

    fn describe(&mut self, path: &EntryPath, kind: &EntryKind<'_>) -> Result<(), TarError> {
        let refuse = |what| Err(TarError::Unwritable { path: path.clone(), what });
        match kind {
            EntryKind::Directory { .. } => self.name(&format!("{path}/")),
            _ => self.name(path.as_str()),
        }
        let (flag, mode) = match kind {
            EntryKind::Directory { mode: mode @ (ORDINARY_DIRECTORY | SHARED_DIRECTORY) } => {
                (b'5', *mode)
            }
            EntryKind::Directory { .. } => return refuse("a directory has mode 0755 or 1777"),
            EntryKind::File { executable, size, .. } => {
                if !header::SIZE.set_number(&mut self.block, *size) {
                    self.record("size", size.to_string());
                }
                (b'0', if *executable { 0o755 } else { 0o644 })
            }
            EntryKind::Symlink { target } if target.is_empty() || target.contains('\0') => {
                return refuse("the target of a link is empty or has a NUL");
            }
            EntryKind::Symlink { target } => {
                self.link(target);
                (b'2', 0o777)
            }
            EntryKind::Hardlink { target } if target >= path => {
                return refuse("a hard link comes before the file it names");
            }
            EntryKind::Hardlink { target } => {
                self.link(target.as_str());
                (b'1', 0o644)
            }
        };
        header::MODE.set_number(&mut self.block, u64::from(mode));
        header::TYPE.set(&mut self.block, &[flag]);
        Ok(())
    }

    fn record(&mut self, key: &str, value: impl Into<Vec<u8>>) {
        self.records.push((key.to_owned(), value.into()));
    }

    fn name(&mut self, name: &str) {
        if let Some((prefix, rest)) = split(name) {
            header::PREFIX.set(&mut self.block, prefix.as_bytes());
            header::NAME.set(&mut self.block, rest.as_bytes());
        } else {
            self.record("path", name);
        }
    }

    fn link(&mut self, target: &str) {
        if target.is_ascii() && target.len() <= header::LINK_NAME.length() {
            header::LINK_NAME.set(&mut self.block, target.as_bytes());
        } else {
            self.record("linkpath", target);
        }
    }

    /// Returns the header with its pax header, if it needs one, in front.
    fn finish(mut self, mtime: u64) -> Vec<u8> {
        header::seal(&mut self.block);
        if self.records.is_empty() {
            return self.block.to_vec();
        }
        self.records.sort();
        let records: Vec<u8> =
            self.records.iter().flat_map(|(key, value)| pax::record(key, value)).collect();
        let mut block = plain();
        header::NAME.set(&mut block, PAX_NAME);
        header::MODE.set_number(&mut block, 0o644);
        header::TYPE.set(&mut block, b"x");
        header::MTIME.set_number(&mut block, mtime);
        header::SIZE.set_number(&mut block, records.len() as u64);
        header::seal(&mut block);
        let mut bytes = [&block[..], &records].concat();
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes.extend(self.block);
        bytes
    }
}

/// Returns a header with owner, group and everything else at nought.
fn plain() -> Block {
    let mut block = [0; BLOCK];
    for field in [
        header::MODE,
        header::UID,
        header::GID,
        header::SIZE,
        header::MTIME,
        header::DEVICE_MAJOR,
        header::DEVICE_MINOR,
    ] {
        field.set_number(&mut block, 0);
    }
    header::MAGIC.set(&mut block, header::USTAR);
    block
}

/// Splits a path into the two fields of ustar at the last slash where that fits, as Go's archive/tar does.
fn split(path: &str) -> Option<(&str, &str)> {
    if !path.is_ascii() {
        return None;
    }
    if path.len() <= header::NAME.length() {
        return Some(("", path));
    }
    let reach = path.len().min(header::PREFIX.length() + 1);
    let searched = path.get(..reach)?;
    let searched = if reach == path.len() { searched.trim_end_matches('/') } else { searched };
    let (prefix, _) = searched.rsplit_once('/')?;
    let rest = path.get(prefix.len() + 1..)?;
    (!rest.is_empty() && rest.len() <= header::NAME.length()).then_some((prefix, rest))
}
