//! Debian binary packages, read without dpkg: an `ar` archive of `control.tar` and `data.tar`.
//!
//! Source: deb(5), ar(5), deb-control(5).

mod ar;
mod control;

pub use control::Control;

use std::io::{self, Read};

use crate::{
    entry::{Entry, EntryKind},
    tar::{TarError, read_tar},
};

/// The largest control file that is read.
const LARGEST_CONTROL: u64 = 1 << 20;

/// Scripts that dpkg would run, and that are not run here.
///
/// Source: deb-preinst(5) and its neighbours; `config` belongs to debconf.
const MAINTAINER_SCRIPTS: [&str; 5] = ["config", "postinst", "postrm", "preinst", "prerm"];

/// A Debian package that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// The outer archive breaks its format.
    #[error("the Debian package is malformed at byte {offset}: {what}")]
    Malformed {
        /// Where in the package.
        offset: usize,
        /// What is wrong.
        what: String,
    },
    /// One of the inner archives breaks its format.
    #[error("cannot read `{member}` of the Debian package")]
    Tar {
        /// `control.tar.xz` or `data.tar.xz`, as it is named.
        member: String,
        /// What is wrong there.
        source: TarError,
    },
    /// An inner archive is compressed in a way that is not known.
    #[error(
        "`{member}` of the Debian package is not known; expected .tar, .tar.gz, .tar.xz or .tar.zst"
    )]
    Compression {
        /// The name of the member.
        member: String,
    },
    /// The decompressor refused to start.
    #[error("cannot decompress `{member}` of the Debian package")]
    Decompress {
        /// The name of the member.
        member: String,
        /// What it said.
        source: io::Error,
    },
    /// The control file is missing or breaks its format.
    #[error("the control file of the Debian package is malformed: {what}")]
    Control {
        /// What is wrong.
        what: String,
    },
}

/// Calls `visit` with every file, directory and link that the package installs, in the package's order.
pub fn read_deb<E: From<DebError>>(
    deb: &[u8],
    visit: &mut dyn FnMut(Entry<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let package = ar::split(deb)?;
    read_member(&package.data, visit)
}

/// Returns name, version, architecture and the other fields of the package.
pub fn control(deb: &[u8]) -> Result<Control, DebError> {
    let mut text = None;
    let package = ar::split(deb)?;
    read_member(&package.control, &mut |entry: Entry<'_>| -> Result<(), DebError> {
        let Entry { path, kind: EntryKind::File { size, content, .. }, .. } = entry else {
            return Ok(());
        };
        if path.as_str() == "control" {
            text = Some(read_control(size, content)?);
        }
        Ok(())
    })?;
    let text = text.ok_or_else(|| DebError::Control { what: "there is none".to_owned() })?;
    Control::parse(&text)
}

/// Lists the maintainer scripts of the package, sorted: what they do must be declared elsewhere.
pub fn maintainer_scripts(deb: &[u8]) -> Result<Vec<String>, DebError> {
    let mut scripts = Vec::new();
    let package = ar::split(deb)?;
    read_member(&package.control, &mut |entry: Entry<'_>| -> Result<(), DebError> {
        if MAINTAINER_SCRIPTS.contains(&entry.path.as_str()) {
            scripts.push(entry.path.to_string());
        }
        Ok(())
    })?;
    scripts.sort();
    Ok(scripts)
}

fn read_control(size: u64, content: &mut dyn Read) -> Result<String, DebError> {
    if size > LARGEST_CONTROL {
        let what = format!("it has {size} bytes; expected at most {LARGEST_CONTROL}");
        return Err(DebError::Control { what });
    }
    let mut text = String::new();
    match content.read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) => Err(DebError::Control { what: error.to_string() }),
    }
}

/// Either the archive is bad, or the visitor wants to stop.
enum Stop<E> {
    Tar(TarError),
    Visitor(E),
}

impl<E> From<TarError> for Stop<E> {
    fn from(error: TarError) -> Self {
        Self::Tar(error)
    }
}

fn read_member<E: From<DebError>>(
    member: &ar::Member<'_>,
    visit: &mut dyn FnMut(Entry<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let reader = decompress(member)?;
    let read = read_tar(reader, &mut |entry| visit(entry).map_err(Stop::Visitor));
    read.map_err(|stop| match stop {
        Stop::Tar(source) => DebError::Tar { member: member.name.clone(), source }.into(),
        Stop::Visitor(error) => error,
    })
}

fn decompress<'a>(member: &ar::Member<'a>) -> Result<Box<dyn Read + 'a>, DebError> {
    let name = || member.name.clone();
    let (_, suffix) = member.name.split_once(".tar").unwrap_or_default();
    Ok(match suffix {
        "" => Box::new(member.bytes),
        ".gz" => Box::new(crate::gzip::gunzip(member.bytes)),
        ".xz" => Box::new(lzma_rust2::XzReader::new(member.bytes, true)),
        ".zst" => match zstd::Decoder::with_buffer(member.bytes) {
            Ok(reader) => Box::new(reader),
            Err(source) => return Err(DebError::Decompress { member: name(), source }),
        },
        _ => return Err(DebError::Compression { member: name() }),
    })
}

#[cfg(test)]
pub(crate) mod tests;
