//! Lays out on disk the trees that a plan defines: sources, toolchains, module caches, root file systems.
//!
//! A tree is made in a scratch folder and renamed, so one that is there is whole. Every input is hashed while
//! it is unpacked, or before.

use std::{
    collections::BTreeSet,
    fs::{self, File, FileTimes, Permissions},
    io::{self, Cursor},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use kdistro_assemble::{
    deb::DebError,
    entry::{Entry, EntryKind, EntryPath, EntryPathError},
    module_zip::{self, EscapeError, ModuleZipError},
    root::{Concatenation, DeclaredFile, RootError, RootPlan, RootRecipe},
    tar::{TarError, read_tar},
};
use kdistro_formats::{
    Digest,
    plan::{Addition, Module, Plan, Tree},
};

use super::Records;
use crate::{
    content::{ContentError, ContentStore},
    home::{Home, HomeError},
};

/// A tree that cannot be laid out.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The plan names a tree that it does not define.
    #[error("the plan does not define tree {0}")]
    Undefined(Digest),
    /// An input is missing or damaged.
    #[error("cannot use an input")]
    Content(#[from] ContentError),
    /// The output of a step is missing.
    #[error("no step gave `{0}`")]
    Output(String),
    /// The file system refused.
    #[error("cannot write {}", path.display())]
    Io {
        /// Which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The home folder cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// An archive is not what it should be.
    #[error("cannot unpack {what}")]
    Archive {
        /// Which.
        what: String,
        /// What is wrong.
        source: Box<TreeError>,
    },
    /// A tar is not what it should be.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// A module zip is not what it should be.
    #[error(transparent)]
    Zip(#[from] ModuleZipError),
    /// A package is not what it should be.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A package is not what it should be.
    #[error(transparent)]
    Deb(#[from] DebError),
    /// A path is not safe.
    #[error(transparent)]
    Path(#[from] EntryPathError),
    /// A module's path is not one.
    #[error(transparent)]
    Escape(#[from] EscapeError),
}

/// Where trees are laid out, and out of what.
pub struct Trees<'a> {
    /// The plan that defines them.
    pub plan: &'a Plan,
    /// The home folder.
    pub home: &'a Home,
    /// The inputs and outputs.
    pub content: &'a ContentStore,
    /// What earlier steps gave.
    pub records: &'a Records,
}

impl Trees<'_> {
    /// Returns the folder of a tree, which is laid out if it is not there yet.
    pub fn lay_out(&self, digest: &Digest) -> Result<PathBuf, TreeError> {
        let tree = self.plan.trees.get(digest).ok_or(TreeError::Undefined(*digest))?;
        let place = self.home.trees().join(digest.hex());
        // Two runs that need one tree: the second waits here and then finds it.
        if place.is_dir() {
            return Ok(place);
        }
        let scratch = self.home.scratch("tree")?;
        let folder = scratch.path().join("tree");
        fs::create_dir(&folder).map_err(failed(&folder))?;
        self.write(tree, &folder)?;
        self.keep(&folder, &place)?;
        Ok(place)
    }

    /// Renames a finished tree to its place; somebody else's same tree is as good.
    fn keep(&self, folder: &Path, place: &Path) -> Result<(), TreeError> {
        let parent = self.home.trees();
        fs::create_dir_all(&parent).map_err(failed(&parent))?;
        // Everybody must be able to read it: as root, steps run under another user.
        fs::set_permissions(folder, Permissions::from_mode(0o755)).map_err(failed(folder))?;
        match fs::rename(folder, place) {
            Err(source) if !place.is_dir() => Err(TreeError::Io { path: place.to_owned(), source }),
            _ => Ok(()),
        }
    }

    fn write(&self, tree: &Tree, folder: &Path) -> Result<(), TreeError> {
        match tree {
            Tree::Source { archive, additions } => {
                let mut unpacking = Unpacking::new(folder, |_| None);
                self.unpack_source(archive, &mut unpacking)?;
                self.add(additions, &mut unpacking)
            }
            Tree::Outputs { files } => self.add(files, &mut Unpacking::new(folder, |_| None)),
            Tree::Toolchain { zip } => self.unpack_toolchain(zip, folder),
            Tree::Modules { modules } => {
                modules.iter().try_for_each(|module| self.unpack_module(module, folder))
            }
            Tree::Root { .. } => {
                let mut root = self.read_root(tree)?;
                let mut unpacking = Unpacking::new(folder, |_| None);
                root.visit(&mut |entry| unpacking.add(entry))
            }
        }
    }

    fn name_of(&self, digest: &Digest) -> String {
        self.plan.input(digest).map_or_else(|| digest.to_string(), |input| input.origin.clone())
    }

    fn archive<T>(&self, digest: &Digest, result: Result<T, TreeError>) -> Result<T, TreeError> {
        let what = || self.name_of(digest);
        result.map_err(|source| TreeError::Archive { what: what(), source: Box::new(source) })
    }

    fn unpack_source<F: Executable>(
        &self,
        archive: &Digest,
        unpacking: &mut Unpacking<'_, F>,
    ) -> Result<(), TreeError> {
        self.content.check(archive)?;
        let tar = io::BufReader::with_capacity(1 << 20, self.content.open(archive)?);
        self.archive(archive, read_tar(tar, &mut |entry| unpacking.add(entry)))
    }

    /// Lays outputs of steps into a tree. All may be run: a generated source does not mind, and a tool must be.
    fn add<F: Executable>(
        &self,
        additions: &[Addition],
        unpacking: &mut Unpacking<'_, F>,
    ) -> Result<(), TreeError> {
        for Addition { path, output } in additions {
            let path = EntryPath::new(path.clone())?;
            let missing = || TreeError::Output(output.name.clone());
            let digest = self.records.output(output).ok_or_else(missing)?;
            self.content.check(&digest)?;
            let mut file = self.content.open(&digest)?;
            let size = file.metadata().map_err(failed(&self.content.path(&digest)))?.len();
            unpacking.add(Entry::file(path, true, size, &mut file))?;
        }
        Ok(())
    }

    fn unpack_toolchain(&self, zip: &Digest, folder: &Path) -> Result<(), TreeError> {
        self.content.check(zip)?;
        let name = self.name_of(zip);
        let prefix = format!("{}/", name.trim_start_matches("pkg:golang/"));
        let mut unpacking =
            Unpacking::new(folder, |path| Some(module_zip::is_toolchain_executable(path)));
        let zip_file = self.content.open(zip)?;
        let read =
            module_zip::read_module_zip(zip_file, &prefix, &mut |entry| unpacking.add(entry));
        self.archive(zip, read)
    }

    /// Lays a module out as Go's module cache has it, so that `go` finds it without any network.
    ///
    /// Source: `cmd/go/internal/modfetch/cache.go`; the zip itself need not be there once it is unpacked.
    fn unpack_module(&self, module: &Module, folder: &Path) -> Result<(), TreeError> {
        let path = module_zip::escape_module_path(&module.path)?;
        let version = module_zip::escape_module_version(&module.version)?;
        let download = folder.join("cache/download").join(&path).join("@v");
        fs::create_dir_all(&download).map_err(failed(&download))?;
        let write = |name: String, bytes: &[u8]| {
            let file = download.join(name);
            fs::write(&file, bytes).map_err(failed(&file))
        };
        write(format!("{version}.mod"), &self.content.read(&module.go_mod)?)?;
        let Some(zip) = &module.zip else { return Ok(()) };
        let bytes = self.content.read(zip)?;
        let sum = kdistro_source::module_hash(Cursor::new(&bytes));
        let sum = sum.map_err(|error| TreeError::Archive {
            what: self.name_of(zip),
            source: Box::new(TreeError::Io {
                path: self.content.path(zip),
                source: io::Error::other(error),
            }),
        })?;
        write(format!("{version}.ziphash"), sum.as_bytes())?;
        let unpacked = folder.join(format!("{path}@{version}"));
        fs::create_dir_all(&unpacked).map_err(failed(&unpacked))?;
        let prefix = format!("{}@{}/", module.path, module.version);
        let mut unpacking = Unpacking::new(&unpacked, |_| Some(false));
        let read = module_zip::read_module_zip(Cursor::new(&bytes), &prefix, &mut |entry| {
            unpacking.add(entry)
        });
        self.archive(zip, read)
    }

    /// Reads the packages of a root and merges them; a tree that is no root is an empty one.
    pub fn read_root(&self, tree: &Tree) -> Result<RootPlan<File>, TreeError> {
        let none = Vec::new();
        let packages = if let Tree::Root { packages, .. } = tree { packages } else { &none };
        let read = |digest| {
            let bytes = self.content.read(digest).map_err(TreeError::from);
            self.archive(digest, bytes)
        };
        let debs = packages.iter().map(read);
        let debs = debs.collect::<Result<Vec<_>, _>>()?;
        let debs: Vec<&[u8]> = debs.iter().map(Vec::as_slice).collect();
        let home = self.home.path();
        let spool = tempfile::tempfile_in(home).map_err(failed(home))?;
        Ok(RootPlan::read(&debs, &root_recipe(tree)?, spool)?)
    }
}

/// What a root has besides its packages, as the plan says.
fn root_recipe(tree: &Tree) -> Result<RootRecipe, EntryPathError> {
    let mut recipe = RootRecipe::default();
    let Tree::Root { packages, links, directories, files, concatenations } = tree else {
        return Ok(recipe);
    };
    recipe.usrmerge = !packages.is_empty();
    for path in directories {
        recipe.directories.insert(EntryPath::new(path.clone())?);
    }
    for link in links {
        recipe.links.insert(EntryPath::new(link.path.clone())?, link.target.clone());
    }
    for file in files {
        let (content, executable) = (file.text.clone().into_bytes(), file.executable);
        let declared = DeclaredFile { content, executable };
        recipe.files.insert(EntryPath::new(file.path.clone())?, declared);
    }
    for made in concatenations {
        recipe.concatenations.push(Concatenation {
            path: EntryPath::new(made.path.clone())?,
            folder: EntryPath::new(made.folder.clone())?,
            suffix: made.suffix.clone(),
        });
    }
    Ok(recipe)
}

/// Says whether a file is executable, where the archive does not know.
pub(crate) trait Executable: Fn(&str) -> Option<bool> {}

impl<F: Fn(&str) -> Option<bool>> Executable for F {}

/// Writes entries below a folder, and never through a link that leads out of it.
pub(crate) struct Unpacking<'a, F> {
    folder: &'a Path,
    made: BTreeSet<PathBuf>,
    executable: F,
}

impl<'a, F: Executable> Unpacking<'a, F> {
    pub(crate) fn new(folder: &'a Path, executable: F) -> Self {
        Self { folder, made: BTreeSet::new(), executable }
    }

    pub(crate) fn add(&mut self, entry: Entry<'_>) -> Result<(), TreeError> {
        let path = self.folder.join(entry.path.as_str());
        match entry.kind {
            EntryKind::Directory { .. } => self.directory(&path)?,
            EntryKind::Symlink { target } => {
                self.parent(&path)?;
                symlink(&target, &path).map_err(failed(&path))?;
            }
            EntryKind::Hardlink { target } => {
                self.parent(&path)?;
                let target = self.folder.join(target.as_str());
                self.parent(&target)?;
                fs::hard_link(&target, &path).map_err(failed(&path))?;
            }
            EntryKind::File { executable, content, .. } => {
                self.parent(&path)?;
                let mut file = File::create_new(&path).map_err(failed(&path))?;
                io::copy(content, &mut file).map_err(failed(&path))?;
                let executable = (self.executable)(entry.path.as_str()).unwrap_or(executable);
                let mode = if executable { 0o755 } else { 0o644 };
                file.set_permissions(Permissions::from_mode(mode)).map_err(failed(&path))?;
                file.set_times(epoch()).map_err(failed(&path))?;
            }
        }
        Ok(())
    }

    /// Makes the folder of a path, and never through a link.
    pub(crate) fn parent(&mut self, path: &Path) -> Result<(), TreeError> {
        path.parent().map_or(Ok(()), |parent| self.directory(parent))
    }

    /// Makes a folder below ours and never follows a link out of it.
    fn directory(&mut self, path: &Path) -> Result<(), TreeError> {
        if path == self.folder || self.made.contains(path) {
            return Ok(());
        }
        self.parent(path)?;
        match fs::create_dir(path) {
            Ok(()) => {
                fs::set_permissions(path, Permissions::from_mode(0o755)).map_err(failed(path))?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let found = path.symlink_metadata().map_err(failed(path))?;
                if !found.is_dir() {
                    return Err(TreeError::Io { path: path.to_owned(), source: error });
                }
            }
            Err(source) => return Err(TreeError::Io { path: path.to_owned(), source }),
        }
        self.made.insert(path.to_owned());
        Ok(())
    }
}

/// The same times everywhere, so that nothing of today reaches a build through them.
fn epoch() -> FileTimes {
    let time = UNIX_EPOCH + Duration::from_secs(1);
    FileTimes::new().set_accessed(time).set_modified(time)
}

fn failed(path: &Path) -> impl Fn(io::Error) -> TreeError {
    let path = path.to_owned();
    move |source| TreeError::Io { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_written_through_a_link_of_the_tree() {
        let outside = tempfile::tempdir().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut unpacking = Unpacking::new(folder.path(), |_| None);
        let path = |text: &str| EntryPath::new(text).unwrap();
        let target = outside.path().to_str().unwrap();
        unpacking.add(Entry::symlink(path("link"), target)).unwrap();
        fs::write(outside.path().join("host"), "secret").unwrap();
        let refused =
            |result: Result<(), TreeError>| assert!(matches!(result, Err(TreeError::Io { .. })));
        refused(unpacking.add(Entry::file(path("link/file"), false, 1, &mut &b"x"[..])));
        refused(unpacking.add(Entry::file(path("link"), false, 1, &mut &b"x"[..])));
        refused(unpacking.add(Entry::directory(path("link/folder"))));
        refused(unpacking.add(Entry::symlink(path("link/other"), "x")));
        refused(unpacking.add(Entry::hardlink(path("stolen"), path("link/host"))));
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    }
}
