//! What a root has besides its packages: what their scripts would have done, declared.

use std::collections::{BTreeMap, BTreeSet};

use crate::entry::EntryPath;

/// What a root has besides the files of its packages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RootRecipe {
    /// Whether `bin`, `sbin`, `lib` and (if used) `lib32`, `lib64`, `libx32` are links into `usr`.
    pub usrmerge: bool,
    /// Empty directories, such as `proc`; `tmp` and `var/tmp` get mode 1777, all others 0755.
    pub directories: BTreeSet<EntryPath>,
    /// Links and their targets, such as `usr/bin/awk` and `gawk`.
    pub links: BTreeMap<EntryPath, String>,
    /// Files and their content, such as `etc/passwd`.
    pub files: BTreeMap<EntryPath, DeclaredFile>,
    /// Files made of others, such as the bundle of certificate authorities.
    pub concatenations: Vec<Concatenation>,
}

/// A file that is declared by its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredFile {
    /// What it holds.
    pub content: Vec<u8>,
    /// True for mode 0755, false for 0644.
    pub executable: bool,
}

/// A file made of all files below a folder, in bytewise order of their paths, each ended by a line feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concatenation {
    /// The file to make, such as `etc/ssl/certs/ca-certificates.crt`.
    pub path: EntryPath,
    /// Where the parts lie, such as `usr/share/ca-certificates`.
    pub folder: EntryPath,
    /// How the names of the parts end, such as `.crt`.
    pub suffix: String,
}
