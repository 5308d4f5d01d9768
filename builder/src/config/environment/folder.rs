//! Folders as an environment names them: compared by name alone, without a look at the disk.

use std::path::{Component, Path};

/// A folder or file, read from the home folder unless it is absolute.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Folder {
    is_absolute: bool,
    /// How far above the home folder it begins.
    above: usize,
    parts: Vec<String>,
}

impl Folder {
    /// Reads a path, however it is written.
    pub(super) fn of(path: &str) -> Self {
        let path = Path::new(path);
        let mut folder = Self { is_absolute: path.is_absolute(), above: 0, parts: Vec::new() };
        for part in path.components() {
            match part {
                Component::Normal(name) => folder.parts.push(name.to_string_lossy().into_owned()),
                Component::ParentDir if folder.parts.pop().is_none() && !folder.is_absolute => {
                    folder.above += 1;
                }
                _ => {}
            }
        }
        folder
    }

    /// True for the home folder, the root, and those that these are in.
    pub(super) fn holds_all(&self) -> bool {
        self.parts.is_empty()
    }

    /// True when it is the other one, or lies in it.
    pub(super) fn is_in(&self, other: &Self) -> bool {
        let is_below_home = self.is_absolute == other.is_absolute;
        match self.above.cmp(&other.above) {
            _ if !is_below_home => false,
            std::cmp::Ordering::Equal => self.parts.starts_with(&other.parts),
            // What lies between is not known by name.
            std::cmp::Ordering::Less => other.parts.is_empty(),
            std::cmp::Ordering::Greater => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_compared_however_they_are_written() {
        for (path, other) in [
            ("in/keys", "in"),
            ("in", "in"),
            ("./in//keys/", "in/."),
            ("x/../in/keys", "y/../in"),
            ("../a/b", "../a"),
            ("a", ".."),
            ("/srv/store/keys", "/srv/x/../store"),
            ("/../srv", "/srv"),
        ] {
            assert!(Folder::of(path).is_in(&Folder::of(other)), "{path} {other}");
        }
        for (path, other) in [
            ("in", "in/keys"),
            ("inner", "in"),
            ("../in", "in"),
            ("in", "../in"),
            ("/in", "in"),
            ("in/../keys", "in"),
        ] {
            assert!(!Folder::of(path).is_in(&Folder::of(other)), "{path} {other}");
        }
        for path in ["", ".", "a/..", "/", "..", "../..", "/..", "./"] {
            assert!(Folder::of(path).holds_all(), "{path}");
        }
        assert!(!Folder::of("../a").holds_all());
    }
}
