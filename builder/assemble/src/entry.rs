//! One file, directory or link of an archive, under a path that is safe to unpack.

use std::{collections::BTreeMap, fmt, io::Read, str::FromStr};

/// The mode of a directory that everybody may enter and only its owner may change.
pub const ORDINARY_DIRECTORY: u32 = 0o755;

/// The mode of a directory where everybody may create files, and remove only their own: `tmp`.
pub const SHARED_DIRECTORY: u32 = 0o1777;

/// A relative path with `/` between its parts, such as `usr/bin/go`, that cannot lead outside.
///
/// No part is empty, `.` or `..`; there is no NUL; the text is UTF-8. Paths are ordered bytewise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryPath(String);

/// A path that could lead outside, or that not every file system can hold.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{}` is not a path of an archive entry; expected {expected}", path.escape_debug())]
pub struct EntryPathError {
    path: String,
    expected: &'static str,
}

impl EntryPath {
    /// Checks a path that is written exactly as it is to be used.
    pub fn new(path: impl Into<String>) -> Result<Self, EntryPathError> {
        let path = path.into();
        match broken_rule(&path) {
            None => Ok(Self(path)),
            Some(expected) => Err(EntryPathError { path, expected }),
        }
    }

    /// Checks a path given as bytes.
    pub fn from_bytes(path: &[u8]) -> Result<Self, EntryPathError> {
        match std::str::from_utf8(path) {
            Ok(path) => Self::new(path),
            Err(_) => Err(EntryPathError {
                path: String::from_utf8_lossy(path).into_owned(),
                expected: "UTF-8",
            }),
        }
    }

    /// Returns the path as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the last part, such as `go` of `usr/bin/go`.
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// Returns the directory that holds the entry, or `None` at the top.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once('/').map(|(parent, _)| Self(parent.to_owned()))
    }

    /// Returns the path below this one that `rest` names.
    #[must_use]
    pub fn join(&self, rest: &Self) -> Self {
        Self(format!("{}/{}", self.0, rest.0))
    }

    /// Tells whether the entry lies somewhere below `directory`.
    pub fn is_below(&self, directory: &Self) -> bool {
        self.0.strip_prefix(&directory.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

fn broken_rule(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        Some("at least one part")
    } else if path.starts_with('/') {
        Some("a relative path")
    } else if path.contains('\0') {
        Some("no NUL")
    } else if path.split('/').any(|part| part.is_empty() || part == ".") {
        Some("no part that is empty or `.`")
    } else if path.split('/').any(|part| part == "..") {
        Some("no part that is `..`")
    } else {
        None
    }
}

impl FromStr for EntryPath {
    type Err = EntryPathError;

    fn from_str(path: &str) -> Result<Self, EntryPathError> {
        Self::new(path)
    }
}

impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for EntryPath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// One entry of an archive or file tree.
pub struct Entry<'a> {
    /// Where it lies.
    pub path: EntryPath,
    /// What it is.
    pub kind: EntryKind<'a>,
    /// Extended attributes of a file, such as `security.capability`; nearly always empty.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// What an entry is. Owner, times and all other modes are not kept: they are the same everywhere.
pub enum EntryKind<'a> {
    /// A directory.
    Directory {
        /// [`ORDINARY_DIRECTORY`] or [`SHARED_DIRECTORY`].
        mode: u32,
    },
    /// A regular file.
    File {
        /// Whether it may be executed: mode 0755, otherwise 0644.
        executable: bool,
        /// Length of the content in bytes.
        size: u64,
        /// The content: exactly `size` bytes. What a visitor leaves unread is skipped.
        content: &'a mut dyn Read,
    },
    /// A symbolic link; its target may be any text, also one that leads outside.
    Symlink {
        /// The text of the link.
        target: String,
    },
    /// A second name of a file that came before.
    Hardlink {
        /// The first name.
        target: EntryPath,
    },
}

impl<'a> Entry<'a> {
    /// Makes a directory of mode 0755.
    pub fn directory(path: EntryPath) -> Self {
        Self::of(path, EntryKind::Directory { mode: ORDINARY_DIRECTORY })
    }

    /// Makes a file of `size` bytes, which `content` yields.
    pub fn file(path: EntryPath, executable: bool, size: u64, content: &'a mut dyn Read) -> Self {
        Self::of(path, EntryKind::File { executable, size, content })
    }

    /// Makes a symbolic link.
    pub fn symlink(path: EntryPath, target: impl Into<String>) -> Self {
        Self::of(path, EntryKind::Symlink { target: target.into() })
    }

    /// Makes a second name of the file at `target`.
    pub fn hardlink(path: EntryPath, target: EntryPath) -> Self {
        Self::of(path, EntryKind::Hardlink { target })
    }

    /// Makes an entry without extended attributes.
    pub fn of(path: EntryPath, kind: EntryKind<'a>) -> Self {
        Self { path, kind, xattrs: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_paths_that_lead_outside_or_are_written_in_two_ways() {
        for path in [
            "", "/", "/etc", "..", "a/..", "../a", "a/../b", ".", "./a", "a/.", "a//b", "a/",
            "a\0b",
        ] {
            assert!(EntryPath::new(path).is_err(), "accepted {path:?}");
        }
        assert!(EntryPath::from_bytes(b"a/\xff").is_err());
        for path in ["a", "a/b", "..a", "a..", "a/...", " ", "a b/\u{151}"] {
            assert_eq!(EntryPath::new(path).unwrap().as_str(), path);
        }
    }

    #[test]
    fn a_path_knows_its_relatives() {
        let path = EntryPath::new("usr/bin/go").unwrap();
        assert_eq!(path.file_name(), "go");
        assert_eq!(path.parent().unwrap().as_str(), "usr/bin");
        assert!(path.is_below(&EntryPath::new("usr").unwrap()));
        assert!(!path.is_below(&EntryPath::new("usr/b").unwrap()));
        assert!(!path.is_below(&path));
    }

    #[test]
    fn an_error_says_which_rule_is_broken() {
        for (path, rule) in [
            ("", "at least one part"),
            ("/etc", "a relative path"),
            ("a//b", "no part that is empty or `.`"),
            ("../a", "no part that is `..`"),
        ] {
            let error = EntryPath::new(path).unwrap_err().to_string();
            assert!(error.ends_with(&format!("expected {rule}")), "{error}");
        }
    }

    #[test]
    fn an_error_shows_control_characters_as_escapes() {
        let error = EntryPath::new("a\0\n/..").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`a\\0\\n/..` is not a path of an archive entry; expected no NUL"
        );
    }
}
