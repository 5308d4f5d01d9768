//! What a Go program says of how it was built: toolchain, main package, and the modules linked into it.
//!
//! Source: Go's `debug/buildinfo` and `runtime/debug`, which `go version -m` uses.

mod executable;
mod sources;
#[cfg(test)]
mod tests;
mod text;

use std::{
    collections::BTreeMap,
    io::{self, Read, Seek},
};

use executable::{Executable, Reader};
use serde::{Deserialize, Serialize};
pub use sources::source_folders;

/// What stands in front of the build information.
const MAGIC: &[u8] = b"\xff Go buildinf:";

/// Length of the header that starts with [`MAGIC`]; it lies at a multiple of 16.
const HEADER: usize = 32;

/// The longest text of build information that is read.
const LONGEST: u64 = 16 << 20;

/// How a Go program was built.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildInfo {
    /// The toolchain, such as `go1.26.8`.
    pub go_version: String,
    /// The path of the main package; empty when the program was built without modules.
    pub package: String,
    /// The module of the main package; its version is `(devel)` when it was built in its own tree.
    pub main: Option<Module>,
    /// Every other module that is linked, in the program's order: sorted by path.
    pub dependencies: Vec<Dependency>,
    /// Settings of the build, such as (`GOOS`, `linux`), in the program's order. None before Go 1.18.
    pub settings: Vec<(String, String)>,
}

/// A module as a program names it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Module {
    /// Its path; of what replaces another also a folder, such as `./staging/src/k8s.io/api`.
    pub path: String,
    /// Its version, such as `v1.4.0`; empty or `(devel)` for a folder.
    pub version: String,
    /// Its sum, `h1:` and base64: SHA-256 over the list of its files. Absent for folders and vendored modules.
    pub sum: Option<String>,
}

/// A module that is linked, and what stands in for it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Dependency {
    /// The module by the name under which it is imported.
    pub module: Module,
    /// The module or folder whose code is linked instead.
    pub replaced_by: Option<Module>,
}

impl Dependency {
    /// Returns the module whose code is linked.
    pub fn linked(&self) -> &Module {
        self.replaced_by.as_ref().unwrap_or(&self.module)
    }

    /// Returns the folder of the source tree whose code is linked, or `None` for a module from elsewhere.
    ///
    /// `main_folder` is the folder of the main module in the tree, empty at the top: replacements are written
    /// relative to it. A folder outside the tree is returned with its `..`.
    pub fn folder(&self, main_folder: &str) -> Option<String> {
        let path = &self.replaced_by.as_ref()?.path;
        if !(path.starts_with("./") || path.starts_with("../")) {
            return None;
        }
        let mut parts: Vec<&str> = main_folder.split('/').filter(|part| !part.is_empty()).collect();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        Some(parts.join("/"))
    }
}

impl BuildInfo {
    /// Returns every module whose code is linked, once, sorted.
    ///
    /// Go before 1.16 may name one twice, the second time with the version `(devel)`.
    pub fn linked(&self) -> Vec<&Dependency> {
        let mut once = BTreeMap::new();
        for dependency in &self.dependencies {
            let linked = dependency.linked();
            let kept = once.entry((&linked.path, &linked.version)).or_insert(dependency);
            if kept.module.version == "(devel)" {
                *kept = dependency;
            }
        }
        once.into_values().collect()
    }

    /// True where the program names no module at all: a test that Go before 1.18 built.
    pub fn is_silent(&self) -> bool {
        self.package.is_empty() && self.main.is_none() && self.dependencies.is_empty()
    }

    /// Returns a setting of the build, such as that of `GOARCH`.
    pub fn setting(&self, name: &str) -> Option<&str> {
        let found = self.settings.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// A program whose build information cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BuildInfoError {
    /// The reader below refused.
    #[error("cannot read the program at byte {offset}")]
    Io {
        /// Where in the program.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// The program's headers break their format.
    #[error("the {format} program is malformed: {what}")]
    Executable {
        /// `ELF`, `Mach-O` or `PE`.
        format: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// The build information itself is malformed.
    #[error("the Go build information is malformed: {what}")]
    Malformed {
        /// What is wrong.
        what: String,
    },
}

/// Reads the build information of a program: ELF, Mach-O or PE for 64-bit little-endian machines.
///
/// Returns `None` for a file that is no such program, or one that Go did not build. Reads headers and the start of
/// the data only, whatever the size of the program.
pub fn read(reader: &mut (impl Read + Seek)) -> Result<Option<BuildInfo>, BuildInfoError> {
    let mut reader = Reader::new(reader);
    let Some(executable) = Executable::parse(&mut reader)? else { return Ok(None) };
    let Some(address) = executable.find(&mut reader, MAGIC, HEADER)? else { return Ok(None) };
    let header = executable.read(&mut reader, address, HEADER as u64)?;
    let flags = header.get(15).copied().unwrap_or_default();
    let (version, modules) = if flags & 2 == 0 {
        pointed(&executable, &mut reader, &header)?
    } else {
        let start = address.saturating_add(HEADER as u64);
        let (version, next) = inline(&executable, &mut reader, start)?;
        (version, inline(&executable, &mut reader, next)?.0)
    };
    if version.is_empty() {
        return Ok(None);
    }
    let mut info = text::parse(unframed(&modules)?)?;
    utf8(&version)?.clone_into(&mut info.go_version);
    Ok(Some(info))
}

/// Takes off the 16 bytes that stand before and after the list of modules.
///
/// Source: `cmd/go/internal/modload`, `infoStart` and `infoEnd`.
fn unframed(text: &[u8]) -> Result<&str, BuildInfoError> {
    let end = text.len().saturating_sub(16);
    match text.get(16..end) {
        Some(inner) if inner.ends_with(b"\n") => utf8(inner),
        _ => Ok(""),
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, BuildInfoError> {
    let what = || "it is not UTF-8".to_owned();
    std::str::from_utf8(bytes).map_err(|_| BuildInfoError::Malformed { what: what() })
}

/// Reads a text with its length in front, as Go 1.18 and newer write it; returns the address after it too.
fn inline(
    executable: &Executable,
    reader: &mut Reader<'_>,
    address: u64,
) -> Result<(Vec<u8>, u64), BuildInfoError> {
    let bytes = executable.read_up_to(reader, address, 10)?;
    let (mut length, mut read, mut ended) = (0_u64, 0_u32, false);
    for byte in bytes {
        length |= u64::from(byte & 0x7f).checked_shl(7 * read).unwrap_or_default();
        read += 1;
        ended = byte & 0x80 == 0;
        if ended {
            break;
        }
    }
    if !ended || length > LONGEST {
        let what = format!("expected a length of at most {LONGEST} at address {address:#x}");
        return Err(BuildInfoError::Malformed { what });
    }
    let start = address.saturating_add(u64::from(read));
    Ok((executable.read(reader, start, length)?, start.saturating_add(length)))
}

/// Reads both texts through the two pointers in the header, as Go 1.13 to 1.17 write them.
fn pointed(
    executable: &Executable,
    reader: &mut Reader<'_>,
    header: &[u8],
) -> Result<(Vec<u8>, Vec<u8>), BuildInfoError> {
    if header.get(14) != Some(&8) || header.get(15) != Some(&0) {
        let what = "expected little-endian pointers of 8 bytes".to_owned();
        return Err(BuildInfoError::Malformed { what });
    }
    let mut follow = |at| {
        let pointer = word(header, at);
        if pointer == 0 {
            return Ok(Vec::new());
        }
        let string = executable.read(reader, pointer, 16)?;
        let (start, length) = (word(&string, 0), word(&string, 8));
        if length > LONGEST {
            let what = format!("a text of {length} bytes; expected at most {LONGEST}");
            return Err(BuildInfoError::Malformed { what });
        }
        if length == 0 { Ok(Vec::new()) } else { executable.read(reader, start, length) }
    };
    Ok((follow(16)?, follow(24)?))
}

/// Returns the little-endian number of 8 bytes at `at`, zero where there is none.
fn word(bytes: &[u8], at: usize) -> u64 {
    let found = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>);
    found.map(|bytes| u64::from_le_bytes(*bytes)).unwrap_or_default()
}
