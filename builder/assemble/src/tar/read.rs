//! Reads tar archives strictly: whatever could be understood in two ways, or leads outside, is refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
};

use super::{
    TarError,
    header::{self, BLOCK, Block, is_sealed, padding},
    pax,
};
use crate::entry::{Entry, EntryKind, EntryPath, ORDINARY_DIRECTORY, SHARED_DIRECTORY};

/// The longest header of names or attributes that is read.
const LONGEST_EXTENSION: u64 = 1 << 20;

/// Calls `visit` with every entry of a tar archive, in the archive's order.
///
/// Reads ustar, pax and GNU archives. A leading `./` is taken off and the entry `./` itself left out. Owners, times
/// and all mode bits but execute (of files) and sticky (of directories) are dropped. Refused are devices, sparse
/// files, absolute paths, `..`, a path that occurs twice, and an archive without its end or with something after it.
pub fn read_tar<E: From<TarError>>(
    reader: impl Read,
    visit: &mut dyn FnMut(Entry<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut source = Source { reader, offset: 0 };
    let mut seen = BTreeSet::new();
    while let Some(member) = source.next_member()? {
        let end = source.offset + member.size + padding(member.size);
        if let Some((path, kind)) = member.checked()? {
            if !seen.insert(path.clone()) {
                return Err(TarError::Duplicate { path }.into());
            }
            let mut content = Content { left: member.size, source: &mut source };
            let kind = match kind {
                Kind::Directory(mode) => EntryKind::Directory { mode },
                Kind::File { executable } => {
                    EntryKind::File { executable, size: member.size, content: &mut content }
                }
                Kind::Symlink(target) => EntryKind::Symlink { target },
                Kind::Hardlink(target) => EntryKind::Hardlink { target },
            };
            visit(Entry { path, kind, xattrs: member.xattrs })?;
        }
        source.skip_to(end)?;
    }
    Ok(source.check_end()?)
}

/// What an entry is, without its content.
enum Kind {
    Directory(u32),
    File { executable: bool },
    Symlink(String),
    Hardlink(EntryPath),
}

/// A header with the names and attributes that stood in front of it.
struct Member {
    flag: u8,
    mode: u64,
    size: u64,
    path: Vec<u8>,
    link: Vec<u8>,
    xattrs: BTreeMap<String, Vec<u8>>,
}

/// What the headers in front of an entry say about it.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    xattrs: BTreeMap<String, Vec<u8>>,
    is_there: bool,
}

impl Member {
    /// Returns path and kind, or `None` for the entry `./` itself.
    fn checked(&self) -> Result<Option<(EntryPath, Kind)>, TarError> {
        let refuse = |kind: &str| {
            let path = String::from_utf8_lossy(&self.path).into_owned();
            Err(TarError::Refused { path, kind: kind.to_owned() })
        };
        let mut path = self.path.strip_prefix(b"./").unwrap_or(&self.path);
        if self.flag == b'5' {
            path = path.strip_suffix(b"/").unwrap_or(path);
            if path.is_empty() || path == b"." {
                return if self.size == 0 { Ok(None) } else { refuse("a directory with content") };
            }
        }
        let path = EntryPath::from_bytes(path)?;
        let kind = match self.flag {
            b'0' | 0 => Kind::File { executable: self.mode & 0o111 != 0 },
            b'3' | b'4' => return refuse("a device"),
            b'6' => return refuse("a named pipe"),
            b'S' => return refuse("a sparse file"),
            b'1' | b'2' | b'5' if self.size != 0 => {
                return refuse("a directory or link with content");
            }
            b'1' => {
                let target = self.link.strip_prefix(b"./").unwrap_or(&self.link);
                Kind::Hardlink(EntryPath::from_bytes(target)?)
            }
            b'2' => match std::str::from_utf8(&self.link) {
                Ok(target) if !target.is_empty() && !target.contains('\0') => {
                    Kind::Symlink(target.to_owned())
                }
                _ => return refuse("a link whose target is empty or not UTF-8"),
            },
            b'5' if self.mode & 0o1002 == 0o1002 => Kind::Directory(SHARED_DIRECTORY),
            b'5' => Kind::Directory(ORDINARY_DIRECTORY),
            other => return refuse(&format!("of the unknown kind `{}`", other.escape_ascii())),
        };
        Ok(Some((path, kind)))
    }
}

/// The archive, and how far it is read.
struct Source<R> {
    reader: R,
    offset: u64,
}

impl<R: Read> Source<R> {
    /// Reads headers up to the next entry; `None` at the end of the archive.
    fn next_member(&mut self) -> Result<Option<Member>, TarError> {
        let mut extension = Extension::default();
        loop {
            let offset = self.offset;
            let malformed = |what: &str| TarError::Malformed { offset, what: what.to_owned() };
            let block = self.block("a header or the end of the archive")?;
            if block.iter().all(|byte| *byte == 0) {
                if extension.is_there {
                    return Err(malformed("a header of names stands before the end"));
                }
                let second = self.block("the second block of zeros")?;
                let is_end = second.iter().all(|byte| *byte == 0);
                return if is_end { Ok(None) } else { Err(malformed("a single block of zeros")) };
            }
            if !is_sealed(&block) {
                return Err(malformed("its checksum is wrong"));
            }
            let size =
                header::SIZE.number(&block).ok_or_else(|| malformed("its size is no number"))?;
            match header::TYPE.bytes(&block) {
                b"x" => {
                    let bytes = self.extension(offset, size)?;
                    extension.pax(offset, &bytes)?;
                }
                b"g" => {
                    let bytes = self.extension(offset, size)?;
                    check_global(offset, &bytes)?;
                }
                b"L" => extension.long_name(offset, self.extension(offset, size)?)?,
                b"K" => extension.long_link(offset, self.extension(offset, size)?)?,
                _ => return member(offset, &block, size, extension).map(Some),
            }
        }
    }

    /// Reads the content of a header of names.
    fn extension(&mut self, offset: u64, size: u64) -> Result<Vec<u8>, TarError> {
        if size > LONGEST_EXTENSION {
            let what = format!("{size} bytes of names; expected at most {LONGEST_EXTENSION}");
            return Err(TarError::Malformed { offset, what });
        }
        let start = self.offset;
        let mut bytes = Vec::new();
        let read = self.reader.by_ref().take(size + padding(size)).read_to_end(&mut bytes);
        read.map_err(|source| TarError::Io { action: "read", offset: start, source })?;
        self.offset += bytes.len() as u64;
        if bytes.len() as u64 != size + padding(size) {
            return Err(TarError::Truncated { offset: self.offset, expected: "a header of names" });
        }
        bytes.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        Ok(bytes)
    }

    fn block(&mut self, expected: &'static str) -> Result<Block, TarError> {
        let mut block = [0; BLOCK];
        let offset = self.offset;
        match self.reader.read_exact(&mut block) {
            Ok(()) => self.offset += BLOCK as u64,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(TarError::Truncated { offset, expected });
            }
            Err(source) => return Err(TarError::Io { action: "read", offset, source }),
        }
        Ok(block)
    }

    /// Skips what the visitor left of the content, and the padding.
    fn skip_to(&mut self, end: u64) -> Result<(), TarError> {
        let offset = self.offset;
        let left = end - offset;
        let skipped = io::copy(&mut self.reader.by_ref().take(left), &mut io::sink());
        self.offset += skipped.map_err(|source| TarError::Io { action: "read", offset, source })?;
        if self.offset == end {
            return Ok(());
        }
        Err(TarError::Truncated { offset: self.offset, expected: "the rest of a file" })
    }

    /// Reads to the very end, so that a checksum which follows there is checked too.
    fn check_end(&mut self) -> Result<(), TarError> {
        loop {
            let mut buffer = [0; 8192];
            let offset = self.offset;
            let count = match self.reader.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(TarError::Io { action: "read", offset, source }),
            };
            if buffer.iter().any(|byte| *byte != 0) {
                let what = "something follows the end of the archive".to_owned();
                return Err(TarError::Malformed { offset, what });
            }
            self.offset += count as u64;
        }
    }
}

/// Combines a header with what stood in front of it.
fn member(offset: u64, block: &Block, size: u64, before: Extension) -> Result<Member, TarError> {
    let malformed = |what: &str| TarError::Malformed { offset, what: what.to_owned() };
    let magic = header::MAGIC.bytes(block);
    if magic != header::USTAR && magic != header::GNU {
        return Err(malformed("it is neither of POSIX nor of GNU tar"));
    }
    let name = header::NAME.text(block);
    let prefix = header::PREFIX.text(block);
    let path = match before.path {
        Some(path) => path,
        // GNU tar keeps times where POSIX has the prefix.
        None if magic == header::USTAR && !prefix.is_empty() => [prefix, b"/", name].concat(),
        None => name.to_vec(),
    };
    Ok(Member {
        flag: header::TYPE.bytes(block).first().copied().unwrap_or_default(),
        mode: header::MODE.number(block).ok_or_else(|| malformed("its mode is no number"))?,
        size: before.size.unwrap_or(size),
        path,
        link: before.link.unwrap_or_else(|| header::LINK_NAME.text(block).to_vec()),
        xattrs: before.xattrs,
    })
}

impl Extension {
    fn long_name(&mut self, offset: u64, bytes: Vec<u8>) -> Result<(), TarError> {
        self.is_there = true;
        set_once(&mut self.path, without_nul(bytes), offset, "a long name")
    }

    fn long_link(&mut self, offset: u64, bytes: Vec<u8>) -> Result<(), TarError> {
        self.is_there = true;
        set_once(&mut self.link, without_nul(bytes), offset, "a long link")
    }

    fn pax(&mut self, offset: u64, bytes: &[u8]) -> Result<(), TarError> {
        self.is_there = true;
        for (key, value) in records(offset, bytes)? {
            match key {
                "path" => set_once(&mut self.path, value.to_vec(), offset, key)?,
                "linkpath" => set_once(&mut self.link, value.to_vec(), offset, key)?,
                "size" => {
                    let text = std::str::from_utf8(value).unwrap_or_default();
                    let size = text.parse().ok().filter(|size| i64::try_from(*size).is_ok());
                    let what = || "its pax size is no number".to_owned();
                    let size = size.ok_or_else(|| TarError::Malformed { offset, what: what() })?;
                    set_once(&mut self.size, size, offset, key)?;
                }
                "mtime" | "atime" | "ctime" | "uid" | "gid" | "uname" | "gname" | "comment" => {}
                _ => self.other(offset, key, value)?,
            }
        }
        Ok(())
    }

    fn other(&mut self, offset: u64, key: &str, value: &[u8]) -> Result<(), TarError> {
        if let Some(name) = key.strip_prefix(pax::XATTR).filter(|name| !name.is_empty()) {
            self.xattrs.insert(name.to_owned(), value.to_vec());
        } else if !["SCHILY.", "LIBARCHIVE."].iter().any(|known| key.starts_with(known)) {
            // A sparse file or another character set would change what the rest means.
            let what = format!("the pax record `{}` is not known", key.escape_debug());
            return Err(TarError::Malformed { offset, what });
        }
        Ok(())
    }
}

/// Allows of a global header what changes no entry: git writes the commit there.
fn check_global(offset: u64, bytes: &[u8]) -> Result<(), TarError> {
    for (key, _) in records(offset, bytes)? {
        if !["comment", "mtime", "atime", "ctime", "uid", "gid", "uname", "gname"].contains(&key) {
            let what = format!("a global pax record `{}`", key.escape_debug());
            return Err(TarError::Malformed { offset, what });
        }
    }
    Ok(())
}

fn records(offset: u64, bytes: &[u8]) -> Result<Vec<(&str, &[u8])>, TarError> {
    let what = || "its pax records break the format".to_owned();
    pax::records(bytes).ok_or_else(|| TarError::Malformed { offset, what: what() })
}

fn set_once<T>(slot: &mut Option<T>, value: T, offset: u64, name: &str) -> Result<(), TarError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(TarError::Malformed { offset, what: format!("`{name}` is given twice") }),
    }
}

fn without_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes
}

/// The content of one file.
struct Content<'a, R> {
    left: u64,
    source: &'a mut Source<R>,
}

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.reader.by_ref().take(self.left).read(buffer)?;
        if count == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        self.source.offset += count as u64;
        Ok(count)
    }
}
