//! Puts packages and recipe together, path by path.

use std::{
    collections::BTreeMap,
    io::{Read, Seek, Write},
};

use super::{Claim, Concatenation, Node, RootError, RootPlan, RootRecipe, Spool, names};
use crate::{
    deb::{self, Control, DebError},
    entry::{Entry, EntryKind, EntryPath, ORDINARY_DIRECTORY, SHARED_DIRECTORY},
};

/// The name under which errors speak of what no package has.
const RECIPE: &str = "the recipe";

/// A root in the making.
pub(super) struct Merge<S> {
    usrmerge: bool,
    spool: Spool<S>,
    nodes: BTreeMap<EntryPath, Owned>,
    packages: Vec<Control>,
}

/// A path, and the first who had it.
struct Owned {
    owner: String,
    /// Where its owner has it, before directories moved below `usr`.
    original: EntryPath,
    node: Node,
}

impl Owned {
    fn claim(&self) -> Claim {
        Claim { owner: self.owner.clone(), kind: self.node.describe() }
    }
}

/// Why reading a package ended.
enum Stop {
    Deb(DebError),
    Root(RootError),
}

impl From<DebError> for Stop {
    fn from(error: DebError) -> Self {
        Self::Deb(error)
    }
}

impl<S: Read + Write + Seek> Merge<S> {
    pub(super) fn new(usrmerge: bool, spool: S) -> Self {
        Self { usrmerge, spool: Spool::new(spool), nodes: BTreeMap::new(), packages: Vec::new() }
    }

    pub(super) fn add_package(&mut self, place: usize, deb: &[u8]) -> Result<(), RootError> {
        let unreadable = |package: Option<&str>, source| RootError::Package {
            place,
            package: package.map(str::to_owned),
            source: Box::new(source),
        };
        let control = deb::control(deb).map_err(|source| unreadable(None, source))?;
        let is_same = |other: &Control| {
            (&other.package, &other.architecture) == (&control.package, &control.architecture)
        };
        if self.packages.iter().any(is_same) {
            let package = format!("{}:{}", control.package, control.architecture);
            return Err(RootError::Twice { package });
        }
        let owner = control.package.clone();
        self.packages.push(control);
        let read = deb::read_deb(deb, &mut |entry| self.add(&owner, entry).map_err(Stop::Root));
        read.map_err(|stop| match stop {
            Stop::Deb(source) => unreadable(Some(&owner), source),
            Stop::Root(error) => error,
        })
    }

    pub(super) fn add_recipe(&mut self, recipe: &RootRecipe) -> Result<(), RootError> {
        if self.usrmerge {
            for alias in names::ALWAYS {
                self.add_directory(&EntryPath::new(format!("usr/{alias}"))?);
            }
        }
        for path in &recipe.directories {
            self.add(RECIPE, Entry::directory(path.clone()))?;
        }
        for (path, target) in &recipe.links {
            self.add(RECIPE, Entry::symlink(path.clone(), target.as_str()))?;
        }
        for (path, file) in &recipe.files {
            self.add_file(path, file.executable, &file.content)?;
        }
        for concatenation in &recipe.concatenations {
            let content = self.concatenate(concatenation)?;
            self.add_file(&concatenation.path, false, &content)?;
        }
        Ok(())
    }

    /// Writes the list of installed packages, as dpkg would have.
    pub(super) fn add_status(&mut self) -> Result<(), RootError> {
        if self.packages.is_empty() {
            return Ok(());
        }
        let key = |control: &Control| (control.package.clone(), control.architecture.clone());
        self.packages.sort_by_key(key);
        let mut status = String::new();
        for package in &self.packages {
            status.push_str(&package.status());
            // dpkg ends each paragraph with an empty line.
            status.push('\n');
        }
        self.add_file(&EntryPath::new("var/lib/dpkg/status")?, false, status.as_bytes())
    }

    /// Adds the directories that nobody named, and the links into `usr`, and checks what lies below what.
    pub(super) fn finish(mut self) -> Result<RootPlan<S>, RootError> {
        let paths: Vec<EntryPath> = self.nodes.keys().cloned().collect();
        for path in &paths {
            if let Some(parent) = path.parent() {
                self.add_directory(&parent);
            }
        }
        self.check_parents()?;
        let mut nodes: BTreeMap<EntryPath, Node> =
            self.nodes.into_iter().map(|(path, owned)| (path, owned.node)).collect();
        if self.usrmerge {
            for alias in names::ALWAYS.iter().chain(&names::IF_USED) {
                let target = format!("usr/{alias}");
                if nodes.contains_key(&EntryPath::new(target.as_str())?) {
                    nodes.insert(EntryPath::new(*alias)?, Node::Symlink { target });
                }
            }
        }
        Ok(RootPlan { spool: self.spool, nodes, packages: self.packages })
    }

    fn check_parents(&self) -> Result<(), RootError> {
        for (path, owned) in &self.nodes {
            let Some(parent) = path.parent() else { continue };
            match self.nodes.get(&parent) {
                None | Some(Owned { node: Node::Directory { .. }, .. }) => {}
                Some(above) => {
                    return Err(RootError::Below {
                        path: path.clone(),
                        owner: owned.owner.clone(),
                        above: parent,
                        claim: Box::new(above.claim()),
                    });
                }
            }
        }
        Ok(())
    }

    fn add_directory(&mut self, path: &EntryPath) {
        let mut next = Some(path.clone());
        while let Some(path) = next {
            next = path.parent();
            self.nodes.entry(path.clone()).or_insert_with(|| {
                let node = Node::Directory { mode: directory_mode(&path) };
                Owned { owner: RECIPE.to_owned(), original: path, node }
            });
        }
    }

    fn add_file(
        &mut self,
        path: &EntryPath,
        executable: bool,
        content: &[u8],
    ) -> Result<(), RootError> {
        let mut reader = content;
        self.add(RECIPE, Entry::file(path.clone(), executable, content.len() as u64, &mut reader))
    }

    fn add(&mut self, owner: &str, entry: Entry<'_>) -> Result<(), RootError> {
        let original = entry.path;
        let path = self.place(&original)?;
        let node = match entry.kind {
            EntryKind::Directory { .. } => Node::Directory { mode: directory_mode(&path) },
            EntryKind::File { executable, content, .. } => {
                let kept = self.spool.append(content);
                let keep = |source| RootError::Spool { path: path.clone(), source };
                Node::File { executable, content: kept.map_err(keep)? }
            }
            // A package that brings the link into usr itself.
            EntryKind::Symlink { target }
                if self.usrmerge
                    && names::is_alias(&original)
                    && names::resolved(&original, &target).as_ref() == Some(&path) =>
            {
                self.add_directory(&path);
                return Ok(());
            }
            EntryKind::Symlink { target } => Node::Symlink { target },
            EntryKind::Hardlink { target } => {
                let target = self.place(&target)?;
                match self.nodes.get(&target) {
                    Some(Owned { owner: other, node: node @ Node::File { .. }, .. })
                        if other == owner =>
                    {
                        node.clone()
                    }
                    _ => {
                        let owner = owner.to_owned();
                        return Err(RootError::Hardlink { path, target, owner });
                    }
                }
            }
        };
        self.settle(path, Owned { owner: owner.to_owned(), original, node })
    }

    /// Returns where a path of a package lies in the root.
    fn place(&self, path: &EntryPath) -> Result<EntryPath, RootError> {
        if self.usrmerge { Ok(names::merged(path)?) } else { Ok(path.clone()) }
    }

    /// Decides who has a path: the first, and a second only if both are the same.
    fn settle(&mut self, path: EntryPath, new: Owned) -> Result<(), RootError> {
        let Some(old) = self.nodes.get(&path) else {
            self.nodes.insert(path, new);
            return Ok(());
        };
        // After the merge a link from one of the two places to the other names itself.
        if old.node == new.node || self.is_itself(&path, &new) {
            return Ok(());
        }
        if self.is_itself(&path, old) {
            self.nodes.insert(path, new);
            return Ok(());
        }
        let (first, second) = (Box::new(old.claim()), Box::new(new.claim()));
        Err(RootError::Conflict { path, first, second })
    }

    fn is_itself(&self, path: &EntryPath, owned: &Owned) -> bool {
        let Node::Symlink { target } = &owned.node else { return false };
        let named = names::resolved(&owned.original, target);
        named.and_then(|named| self.place(&named).ok()).as_ref() == Some(path)
    }

    fn concatenate(&mut self, wanted: &Concatenation) -> Result<Vec<u8>, RootError> {
        let folder = self.place(&wanted.folder)?;
        let mut all = Vec::new();
        for (path, owned) in &self.nodes {
            let Node::File { content, .. } = &owned.node else { continue };
            if !path.is_below(&folder) || !path.as_str().ends_with(&wanted.suffix) {
                continue;
            }
            let keep = |source| RootError::Spool { path: path.clone(), source };
            let mut reader = self.spool.open(content).map_err(keep)?;
            reader.read_to_end(&mut all).map_err(keep)?;
            if all.last().is_some_and(|byte| *byte != b'\n') {
                all.push(b'\n');
            }
        }
        if all.is_empty() {
            let Concatenation { path, folder, suffix } = wanted.clone();
            return Err(RootError::Nothing { path, folder, suffix });
        }
        Ok(all)
    }
}

fn directory_mode(path: &EntryPath) -> u32 {
    if ["tmp", "var/tmp"].contains(&path.as_str()) { SHARED_DIRECTORY } else { ORDINARY_DIRECTORY }
}
