//! Reads trees of a mirror: a file, the canonical archive, and a digest that does not rest on SHA-1.
//!
//! Only raw blobs: `git archive` would apply attributes that stand in the tree itself.

use std::{
    ffi::OsStr,
    fmt::Write as _,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
};

use kdistro_formats::{Digest, TreeId};
use kdistro_verify::hash::{Hasher, sha256_of};

use crate::{
    command::{CommandError, Input},
    mirror::{Mirror, MirrorError},
    ustar,
};

/// A file that can stand in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Executable,
    Symlink,
    /// A commit of another repository.
    Submodule,
}

/// One file of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub kind: Kind,
    pub blob: String,
    pub path: Vec<u8>,
}

/// A tree that could not be read or archived.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The mirror could not be read.
    #[error("cannot read tree {tree}")]
    Mirror {
        /// The tree.
        tree: TreeId,
        /// Why.
        source: Box<MirrorError>,
    },
    /// git's listing is not what its documentation says.
    #[error("the listing of tree {tree} is not understood at `{record}`")]
    Listing {
        /// The tree.
        tree: TreeId,
        /// The record.
        record: String,
    },
    /// The tree holds a git submodule.
    #[error("`{path}` in tree {tree} is a git submodule; sources must be whole without one")]
    Submodule {
        /// The tree.
        tree: TreeId,
        /// The path.
        path: String,
    },
    /// The archive could not be written.
    #[error("cannot write the archive of tree {tree}, at `{path}`")]
    Write {
        /// The tree.
        tree: TreeId,
        /// The file in the tree.
        path: String,
        /// Why.
        source: io::Error,
    },
}

impl Mirror {
    /// Returns the content of a regular file, or nothing where there is none.
    pub fn read_file(&self, tree: &TreeId, path: &str) -> Result<Option<Vec<u8>>, TreeError> {
        let failed = |source| mirror_error(tree, source);
        let listing = self.run(["ls-tree", "-z", "--full-tree", tree.as_str(), "--", path]);
        let entries = parse_listing(&listing.map_err(failed)?.stdout);
        let found = entries.map_err(|record| listing_error(tree, record))?;
        let file = found.iter().find(|entry| {
            entry.path == path.as_bytes() && matches!(entry.kind, Kind::File | Kind::Executable)
        });
        let Some(file) = file else { return Ok(None) };
        Ok(Some(self.run(["cat-file", "blob", &file.blob]).map_err(failed)?.stdout))
    }

    /// Writes the canonical tar of a tree: the same tree gives the same bytes everywhere.
    ///
    /// ustar, pax only for names that do not fit; entries sorted bytewise, no folders; files 0644 or 0755, symlinks
    /// 0777; owner 0, time 0.
    pub fn tree_archive(&self, tree: &TreeId, mut writer: impl Write) -> Result<(), TreeError> {
        self.each_blob(tree, |entry, blob, size| {
            if entry.kind == Kind::Symlink {
                let mut target = Vec::new();
                blob.read_to_end(&mut target)?;
                return ustar::append_symlink(&mut writer, &entry.path, &target);
            }
            let file =
                ustar::File { path: &entry.path, executable: entry.kind == Kind::Executable, size };
            ustar::append_file(&mut writer, &file, blob)
        })?;
        let failed =
            |source| TreeError::Write { tree: tree.clone(), path: "the end".to_owned(), source };
        ustar::finish(&mut writer).and_then(|()| writer.flush()).map_err(failed)
    }

    /// Returns a SHA-256 over everything in a tree: for each path, sorted bytewise, the line `<git mode> <SHA-256
    /// of the blob, hex>` a tab, the path and a zero byte.
    pub fn content_digest(&self, tree: &TreeId) -> Result<Digest, TreeError> {
        let mut hasher = Hasher::new(io::sink());
        self.each_blob(tree, |entry, blob, _| {
            let mode = match entry.kind {
                Kind::Executable => "100755",
                Kind::Symlink => "120000",
                Kind::File | Kind::Submodule => "100644",
            };
            let (digest, _) = sha256_of(blob)?;
            write!(hasher, "{mode} {}\t", digest.hex())?;
            hasher.write_all(&entry.path)?;
            hasher.write_all(b"\0")
        })?;
        Ok(hasher.finish().1)
    }

    /// Lists every file of a tree, sorted bytewise by path.
    pub(crate) fn entries(&self, tree: &TreeId) -> Result<Vec<Entry>, TreeError> {
        let listing = self.run(["ls-tree", "-r", "-z", "--full-tree", tree.as_str()]);
        let listing = listing.map_err(|source| mirror_error(tree, source))?.stdout;
        let mut entries = parse_listing(&listing).map_err(|record| listing_error(tree, record))?;
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    /// Streams every blob of a tree in path order.
    fn each_blob(
        &self,
        tree: &TreeId,
        mut each: impl FnMut(&Entry, &mut dyn Read, u64) -> io::Result<()>,
    ) -> Result<(), TreeError> {
        let entries = self.entries(tree)?;
        if let Some(entry) = entries.iter().find(|entry| entry.kind == Kind::Submodule) {
            return Err(TreeError::Submodule { tree: tree.clone(), path: shown(&entry.path) });
        }
        let failed = |source: CommandError| mirror_error(tree, self.git_error(source));
        let mut ids = String::new();
        for entry in &entries {
            // Writing to a string does not fail.
            let _ = writeln!(ids, "{}", entry.blob);
        }
        let mut call = self.git().call(["cat-file", "--batch", "--buffer"]);
        call.input = Input::Bytes(ids.as_bytes());
        let mut running = call.start().map_err(failed)?;
        let mut blobs = BufReader::with_capacity(256 * 1024, running.output().map_err(failed)?);
        for entry in &entries {
            next_blob(&mut blobs, entry, &mut each).map_err(|source| TreeError::Write {
                tree: tree.clone(),
                path: shown(&entry.path),
                source,
            })?;
        }
        running.wait().and_then(|output| output.checked().map(drop)).map_err(failed)
    }
}

/// Reads one answer of `git cat-file --batch`: `<id> blob <size>`, the bytes, a line end.
fn next_blob(
    blobs: &mut impl BufRead,
    entry: &Entry,
    each: &mut impl FnMut(&Entry, &mut dyn Read, u64) -> io::Result<()>,
) -> io::Result<()> {
    let unexpected = |line: &str| io::Error::other(format!("git answered `{}`", line.trim_end()));
    let mut line = String::new();
    blobs.read_line(&mut line)?;
    let size = line.trim_end().strip_prefix(&entry.blob).and_then(|l| l.strip_prefix(" blob "));
    let size: u64 = size.and_then(|size| size.parse().ok()).ok_or_else(|| unexpected(&line))?;
    let mut content = blobs.take(size);
    each(entry, &mut content, size)?;
    if content.limit() > 0 {
        return Err(io::Error::other("the file was not read to its end, or git stopped early"));
    }
    let mut end = [0];
    blobs.read_exact(&mut end)?;
    if end == *b"\n" { Ok(()) } else { Err(unexpected("more bytes than it said")) }
}

/// Reads the records of `git ls-tree -z`: `<mode> <type> <id>`, a tab, the path, a zero byte.
///
/// Folders, which only a listing without `-r` has, are left out. A record that is none is given back.
pub(crate) fn parse_listing(listing: &[u8]) -> Result<Vec<Entry>, String> {
    let records = listing.split(|byte| *byte == 0).filter(|record| !record.is_empty());
    let mut entries = Vec::new();
    for record in records {
        let unknown = || String::from_utf8_lossy(record).into_owned();
        entries.extend(parse_record(record).ok_or_else(unknown)?);
    }
    Ok(entries)
}

#[expect(clippy::option_option, reason = "no record, a folder to leave out, or a file")]
fn parse_record(record: &[u8]) -> Option<Option<Entry>> {
    let tab = record.iter().position(|byte| *byte == b'\t')?;
    let (head, path) = record.split_at_checked(tab)?;
    let path = path.strip_prefix(b"\t").filter(|path| !path.is_empty())?;
    let mut words = std::str::from_utf8(head).ok()?.split(' ');
    let (mode, kind, id) = (words.next()?, words.next()?, words.next()?);
    let is_id = id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_id || words.next().is_some() {
        return None;
    }
    let kind = match (mode, kind) {
        ("040000", "tree") => return Some(None),
        // 100664 stands in some very old trees.
        ("100644" | "100664", "blob") => Kind::File,
        ("100755", "blob") => Kind::Executable,
        ("120000", "blob") => Kind::Symlink,
        ("160000", "commit") => Kind::Submodule,
        _ => return None,
    };
    Some(Some(Entry { kind, blob: id.to_owned(), path: path.to_vec() }))
}

fn mirror_error(tree: &TreeId, source: MirrorError) -> TreeError {
    TreeError::Mirror { tree: tree.clone(), source: Box::new(source) }
}

fn listing_error(tree: &TreeId, record: String) -> TreeError {
    TreeError::Listing { tree: tree.clone(), record }
}

fn shown(path: &[u8]) -> String {
    PathBuf::from(OsStr::from_bytes(path)).display().to_string()
}
