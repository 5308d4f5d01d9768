//! One root file system out of several Debian packages and a recipe, without running a script of theirs.
//!
//! Content passes once from the packages into a spool (a temporary file of the caller, or memory), and from there in
//! path order to the visitor, so that memory stays small however large the root is.

mod merge;
mod names;
mod recipe;
mod spool;

pub use recipe::{Concatenation, DeclaredFile, RootRecipe};

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Read, Seek, Write},
};

use kdistro_formats::Digest;

use crate::{
    deb::{Control, DebError},
    entry::{Entry, EntryKind, EntryPath, EntryPathError},
};
use merge::Merge;
use spool::Spool;

/// Packages and a recipe that do not make a root.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// A package cannot be read.
    #[error("cannot read the package at place {place}{}", named(package.as_deref()))]
    Package {
        /// Its place in the list, from 1 on.
        place: usize,
        /// Its name, if it is known.
        package: Option<String>,
        /// What is wrong.
        source: Box<DebError>,
    },
    /// A package is given twice.
    #[error("package {package} is given twice")]
    Twice {
        /// The name, with its architecture.
        package: String,
    },
    /// Two owners of one path.
    #[error("`{path}` is {first} and {second}")]
    Conflict {
        /// The path in the root.
        path: EntryPath,
        /// Who had it first, and what it is there.
        first: Box<Claim>,
        /// Who wants it too.
        second: Box<Claim>,
    },
    /// A file below something that is not a directory.
    #[error("`{path}` of {owner} lies below `{above}`, which is {claim}")]
    Below {
        /// The path in the root.
        path: EntryPath,
        /// Whose it is.
        owner: String,
        /// What it lies below.
        above: EntryPath,
        /// What that is, and whose.
        claim: Box<Claim>,
    },
    /// A hard link to what the package does not have.
    #[error(
        "`{path}` of {owner} is a hard link to `{target}`, which is no file of {owner} before it"
    )]
    Hardlink {
        /// The link.
        path: EntryPath,
        /// What it names.
        target: EntryPath,
        /// The package.
        owner: String,
    },
    /// A concatenation that finds no file.
    #[error("`{path}` is to be made of the `*{suffix}` below `{folder}`, and there are none")]
    Nothing {
        /// The file to make.
        path: EntryPath,
        /// Where the parts were looked for.
        folder: EntryPath,
        /// How their names should end.
        suffix: String,
    },
    /// A path that could lead outside.
    #[error(transparent)]
    Path(#[from] EntryPathError),
    /// Content could not be kept or read.
    #[error("cannot keep the content of `{path}` for the root")]
    Spool {
        /// The path in the root.
        path: EntryPath,
        /// What the system said.
        source: io::Error,
    },
}

/// Who has a path, and what it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// A package's name, or `the recipe`.
    pub owner: String,
    /// Such as `a link to ...`; a file with its digest.
    pub kind: String,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.kind, self.owner)
    }
}

fn named(package: Option<&str>) -> String {
    package.map(|package| format!(", {package}")).unwrap_or_default()
}

/// Everything a root consists of, with the content in a spool.
pub struct RootPlan<S> {
    spool: Spool<S>,
    nodes: BTreeMap<EntryPath, Node>,
    packages: Vec<Control>,
}

/// One path of a root.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Directory { mode: u32 },
    File { executable: bool, content: spool::Content },
    Symlink { target: String },
}

impl Node {
    fn describe(&self) -> String {
        match self {
            Self::Directory { .. } => "a directory".to_owned(),
            Self::File { executable, content } => {
                let program = if *executable { "a program" } else { "a file" };
                format!("{program} ({})", content.digest)
            }
            Self::Symlink { target } => format!("a link to `{target}`"),
        }
    }
}

impl<S: Read + Write + Seek> RootPlan<S> {
    /// Reads the packages in the given order and applies the recipe.
    ///
    /// `spool` is empty and takes the content of every file: as much as the root is large. Files have mode 0644 or
    /// 0755, directories 0755 (`tmp` and `var/tmp` 1777), whatever the packages say. A path that two packages own
    /// must be the same in both. `var/lib/dpkg/status` lists the packages, so that scanners see them.
    pub fn read(debs: &[&[u8]], recipe: &RootRecipe, spool: S) -> Result<Self, RootError> {
        let mut merge = Merge::new(recipe.usrmerge, spool);
        for (place, deb) in (1..).zip(debs) {
            merge.add_package(place, deb)?;
        }
        merge.add_recipe(recipe)?;
        merge.add_status()?;
        merge.finish()
    }

    /// Returns what is known of each package, sorted by name and architecture.
    pub fn packages(&self) -> &[Control] {
        &self.packages
    }

    /// Returns digest and size of a file of the root, or `None` when there is no such file.
    pub fn file(&self, path: &EntryPath) -> Option<(Digest, u64)> {
        match self.nodes.get(path) {
            Some(Node::File { content, .. }) => Some((content.digest, content.size)),
            _ => None,
        }
    }

    /// Calls `visit` with every entry of the root, in bytewise order of the paths.
    ///
    /// Of the names of one file in a package the first is the file and the others are hard links to it.
    pub fn visit<E: From<RootError>>(
        &mut self,
        visit: &mut dyn FnMut(Entry<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut first_names: BTreeMap<usize, &EntryPath> = BTreeMap::new();
        for (path, node) in &self.nodes {
            let entry = |kind| Entry::of(path.clone(), kind);
            match node {
                Node::Directory { mode } => visit(entry(EntryKind::Directory { mode: *mode }))?,
                Node::Symlink { target } => visit(Entry::symlink(path.clone(), target.as_str()))?,
                Node::File { executable, content } => {
                    if let Some(first) = first_names.get(&content.number) {
                        visit(Entry::hardlink(path.clone(), (*first).clone()))?;
                        continue;
                    }
                    first_names.insert(content.number, path);
                    let keep = |source| RootError::Spool { path: path.clone(), source };
                    let mut reader = self.spool.open(content).map_err(keep)?;
                    visit(Entry::file(path.clone(), *executable, content.size, &mut reader))?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
