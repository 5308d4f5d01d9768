//! Zip files of Go modules, and of the Go toolchains that come as modules.
//!
//! Source: `golang.org/x/mod/zip` and `golang.org/x/mod/module`, which Go itself uses.

mod central;

use std::{
    collections::BTreeSet,
    io::{self, Read, Seek},
};

use zip::{CompressionMethod, ZipArchive, result::ZipError};

use crate::entry::{Entry, EntryPath, EntryPathError};

/// The module that Go toolchains come as.
const TOOLCHAIN: &str = "golang.org/toolchain@";

/// A module's zip file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ModuleZipError {
    /// The zip file breaks its format.
    #[error("cannot read the zip file of {prefix}")]
    Zip {
        /// The module, as `<path>@<version>/`.
        prefix: String,
        /// What is wrong.
        source: ZipError,
    },
    /// The list of files at the end of the zip file breaks its format.
    #[error("cannot read the list of files of {prefix}")]
    List {
        /// The module, as `<path>@<version>/`.
        prefix: String,
        /// What is wrong.
        source: io::Error,
    },
    /// A file of another module, or of none.
    #[error("`{}` is in the zip file; expected names that start with {prefix}", name.escape_debug())]
    Foreign {
        /// The module, as `<path>@<version>/`.
        prefix: String,
        /// The name.
        name: String,
    },
    /// A name that occurs twice.
    #[error("`{}` is twice in the zip file of {prefix}", name.escape_debug())]
    Duplicate {
        /// The module, as `<path>@<version>/`.
        prefix: String,
        /// The name.
        name: String,
    },
    /// Something other than a plain file: a link, or a compression that Go does not read.
    #[error("`{path}` in the zip file of {prefix} is {what}")]
    Refused {
        /// The module, as `<path>@<version>/`.
        prefix: String,
        /// The path in the module.
        path: EntryPath,
        /// What it is.
        what: &'static str,
    },
    /// A path that could lead outside.
    #[error("cannot unpack the zip file of {prefix}")]
    Path {
        /// The module, as `<path>@<version>/`.
        prefix: String,
        /// The path.
        source: EntryPathError,
    },
}

/// Calls `visit` with every file of a module's zip file, in the file's order, `prefix` taken off its name.
///
/// `prefix` is `<path>@<version>/`, such as `golang.org/x/sync@v0.7.0/`. Files of a toolchain get the execute bits
/// that zip files of modules do not keep. Checksums are checked as the content is read; content that is longer or
/// shorter than listed is an error of the reader.
pub fn read_module_zip<E: From<ModuleZipError>>(
    mut reader: impl Read + Seek,
    prefix: &str,
    visit: &mut dyn FnMut(Entry<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let bad_zip = |source| ModuleZipError::Zip { prefix: prefix.to_owned(), source };
    let archive = ZipArchive::new(&mut reader).map_err(bad_zip)?;
    let (start, count) = (archive.central_directory_start(), archive.len());
    let names = central::names(archive.into_inner(), start)
        .map_err(|source| ModuleZipError::List { prefix: prefix.to_owned(), source })?;
    check_names(&names, prefix)?;
    if names.len() != count {
        let source = ZipError::InvalidArchive("two lists of files".into());
        return Err(bad_zip(source).into());
    }
    let mut archive = ZipArchive::new(&mut reader).map_err(bad_zip)?;
    for index in 0..archive.len() {
        let mut file = archive.by_index(index).map_err(bad_zip)?;
        let Some(path) = checked_path(file.name_raw(), prefix)? else { continue };
        if let Some(what) = refused(&file) {
            return Err(ModuleZipError::Refused { prefix: prefix.to_owned(), path, what }.into());
        }
        let executable = prefix.starts_with(TOOLCHAIN) && is_toolchain_executable(path.as_str());
        let size = file.size();
        let mut content = Exactly { left: size, reader: &mut file };
        visit(Entry::file(path, executable, size, &mut content))?;
    }
    Ok(())
}

fn refused<R: Read>(file: &zip::read::ZipFile<'_, R>) -> Option<&'static str> {
    let kind = file.unix_mode().unwrap_or_default() & 0o170_000;
    if kind != 0 && kind != 0o100_000 {
        Some("a link or device; expected a plain file")
    } else if file.encrypted() {
        Some("encrypted")
    } else if ![CompressionMethod::Stored, CompressionMethod::Deflated]
        .contains(&file.compression())
    {
        Some("compressed in a way that Go does not read")
    } else {
        None
    }
}

/// Checks all names before the first file is visited.
fn check_names(names: &[Vec<u8>], prefix: &str) -> Result<(), ModuleZipError> {
    let mut seen = BTreeSet::new();
    for name in names {
        checked_path(name, prefix)?;
        if !seen.insert(name) {
            let name = String::from_utf8_lossy(name).into_owned();
            return Err(ModuleZipError::Duplicate { prefix: prefix.to_owned(), name });
        }
    }
    Ok(())
}

/// Returns the path below the prefix, or `None` for a directory, which Go leaves out too.
fn checked_path(name: &[u8], prefix: &str) -> Result<Option<EntryPath>, ModuleZipError> {
    let Some(rest) = name.strip_prefix(prefix.as_bytes()).filter(|_| prefix.ends_with('/')) else {
        let name = String::from_utf8_lossy(name).into_owned();
        return Err(ModuleZipError::Foreign { prefix: prefix.to_owned(), name });
    };
    if rest.is_empty() {
        return Ok(None);
    }
    let directory = rest.strip_suffix(b"/");
    let path = EntryPath::from_bytes(directory.unwrap_or(rest))
        .map_err(|source| ModuleZipError::Path { prefix: prefix.to_owned(), source })?;
    Ok(directory.is_none().then_some(path))
}

/// Reads exactly as much as was announced.
struct Exactly<R> {
    left: u64,
    reader: R,
}

impl<R: Read> Read for Exactly<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        // Also at the end: only that makes the reader below check the checksum.
        let count = self.reader.read(buffer)?;
        if count == 0 && self.left > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                "the content is longer than its zip file says",
            )
        })?;
        Ok(count)
    }
}

/// Tells whether a file of a Go toolchain is a program: `bin/*` and `pkg/tool/*/*`.
///
/// Source: Go's `cmd/go/internal/toolchain`, which sets the same bits.
pub fn is_toolchain_executable(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(parts.as_slice(), ["bin", _] | ["pkg", "tool", _, _])
}

/// A module path or version that Go would not accept.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{}` is not a Go module path or version; expected letters, digits, `/` and `-._~+`", .0.escape_debug())]
pub struct EscapeError(String);

/// Writes a module path as Go's caches do, each capital letter as `!` and the small one.
///
/// Source: `golang.org/x/mod/module`, `EscapePath`.
pub fn escape_module_path(path: &str) -> Result<String, EscapeError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
    escape(path, allowed)
}

/// Writes a module version as Go's caches do.
///
/// Source: `golang.org/x/mod/module`, `EscapeVersion`.
pub fn escape_module_version(version: &str) -> Result<String, EscapeError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~+".contains(c);
    escape(version, allowed)
}

fn escape(text: &str, allowed: fn(char) -> bool) -> Result<String, EscapeError> {
    if EntryPath::new(text).is_err() || !text.chars().all(allowed) {
        return Err(EscapeError(text.to_owned()));
    }
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_uppercase() {
            escaped.push('!');
        }
        escaped.push(c.to_ascii_lowercase());
    }
    Ok(escaped)
}

#[cfg(test)]
mod tests;
