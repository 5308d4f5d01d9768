//! Licence files of a source tree: of its own modules, and of those it carries below `vendor`.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
    sync::Arc,
};

use kdistro_formats::Digest;
use kdistro_verify::hash::sha256;

use super::{
    FileKind, LicenseFile,
    modules::{GoFolders, folder_of},
    names::kind_of,
    vendor::Vendored,
};
use crate::{
    entry::{Entry, EntryKind},
    go_build_info::Dependency,
    module_zip::ModuleZipError,
    tar::{TarError, read_tar},
};

/// The longest licence text that is read.
pub const LONGEST_TEXT: u64 = 4 << 20;

/// The folder where Kubernetes keeps licences of modules that have no licence file of their own.
const KEPT_APART: &str = "LICENSES/vendor/";

/// Licence files that cannot be collected.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The source archive is malformed.
    #[error("cannot read the source archive")]
    Tar(#[from] TarError),
    /// A module's zip file is malformed.
    #[error("cannot read the licences of a module")]
    Zip(#[from] ModuleZipError),
    /// A licence file cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// Its path.
        path: String,
        /// What the reader said.
        source: io::Error,
    },
    /// A file that is too large to be a licence.
    #[error("`{path}` has {size} bytes; expected a licence text of at most {LONGEST_TEXT}")]
    TooLong {
        /// Its path.
        path: String,
        /// Its length.
        size: u64,
    },
}

/// Every licence file of a source tree, by path; equal texts are kept once.
#[derive(Clone, Debug, Default)]
pub struct SourceLicenses {
    files: BTreeMap<String, LicenseFile>,
    vendored: Vendored,
    /// Folders with a `go.mod`, the top as an empty text, and the module's path.
    modules: BTreeMap<String, String>,
    /// What the `go.sum` files of the tree say of modules from elsewhere, by path and version.
    sums: BTreeMap<(String, String), String>,
    code: GoFolders,
}

impl SourceLicenses {
    /// Reads the canonical tar of a source tree in one pass.
    pub fn read(tar: impl Read) -> Result<Self, SourceError> {
        let mut found = Self::default();
        let mut texts: BTreeMap<Digest, Arc<str>> = BTreeMap::new();
        read_tar(tar, &mut |entry: Entry<'_>| {
            let EntryKind::File { size, content, .. } = entry.kind else { return Ok(()) };
            let (path, name) = (entry.path.as_str(), entry.path.file_name());
            found.code.add(path);
            if path == "vendor/modules.txt" {
                found.vendored = Vendored::parse(&read_text(path, size, content)?);
            } else if name == "go.sum" {
                found.add_sums(&read_text(path, size, content)?);
            } else if name == "go.mod" {
                let module = module_path(&read_text(path, size, content)?);
                found.modules.insert(folder_of(path).to_owned(), module);
            } else if let Some(kind) = kind_of(name) {
                let text = read_text(path, size, content)?;
                let kept = texts.entry(sha256(text.as_bytes())).or_insert_with(|| text.into());
                let file = LicenseFile { path: path.to_owned(), kind, text: Arc::clone(kept) };
                found.files.insert(file.path.clone(), file);
            }
            Ok::<(), SourceError>(())
        })?;
        Ok(found)
    }

    /// Takes the lines of a `go.sum` that are about whole modules; those with `/go.mod` are about that file alone.
    ///
    /// Source: Go Modules Reference, "go.sum files".
    fn add_sums(&mut self, text: &str) {
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if let (Some(path), Some(version), Some(sum), None) =
                (words.next(), words.next(), words.next(), words.next())
                && !version.ends_with("/go.mod")
            {
                self.sums.insert((path.to_owned(), version.to_owned()), sum.to_owned());
            }
        }
    }

    /// Returns Go's sum of a module from elsewhere, `h1:…`, as the tree's own `go.sum` files say it.
    pub fn sum(&self, module: &str, version: &str) -> Option<&str> {
        self.sums.get(&(module.to_owned(), version.to_owned())).map(String::as_str)
    }

    /// Returns the path of the tree's own module in a folder, empty for the top.
    pub fn module(&self, folder: &str) -> Option<&str> {
        self.modules.get(folder).map(String::as_str)
    }

    /// Returns the modules below `vendor` that hold these folders of packages, sorted by path.
    pub fn carried(&self, folders: &BTreeSet<String>) -> Vec<Dependency> {
        let names = folders.iter().filter_map(|folder| self.vendored.module_of(folder));
        let names: BTreeSet<&str> = names.collect();
        names.into_iter().filter_map(|name| self.vendored.modules.get(name).cloned()).collect()
    }

    /// Returns the licence files of a module that the tree carries: below `vendor`, in a folder that stands in for it,
    /// among the modules staged in the tree, or in the folder for licences kept apart. A module without a licence
    /// of its own has that of the closest vendored module above it: Go hands a repository's licence on to the modules
    /// in its folders, and versions before 1.16 name a module beside the one that was meant.
    ///
    /// Empty for a module that the tree does not carry.
    pub fn vendored(&self, module: &str) -> Vec<LicenseFile> {
        let replacement = self.vendored.modules.get(module).and_then(|m| m.replaced_by.as_ref());
        if let Some(folder) = replacement.and_then(|module| module.path.strip_prefix("./")) {
            return self.folder(folder);
        }
        let staged = format!("staging/src/{module}");
        if self.modules.contains_key(&staged) {
            return self.folder(&staged);
        }
        let own = self.vendor_folder(module);
        let is_license = |file: &LicenseFile| file.kind == FileKind::License;
        if own.iter().any(is_license) {
            return own;
        }
        let apart = format!("{KEPT_APART}{module}/");
        let mut files: Vec<_> = self.below(&apart).cloned().collect();
        let mut above = module;
        while !files.iter().any(is_license) && above.contains('/') {
            above = folder_of(above);
            if self.vendored.modules.contains_key(above) {
                files.extend(self.vendor_folder(above));
            }
        }
        files.extend(own);
        files.sort();
        files
    }

    /// Returns the licence files of the module in a folder below `vendor`.
    fn vendor_folder(&self, module: &str) -> Vec<LicenseFile> {
        let below = format!("vendor/{module}/");
        let own = self.below(&below).filter(|file| {
            let inside = file.path.strip_prefix("vendor/").unwrap_or_default();
            self.vendored.module_of(inside) == Some(module) && self.code.bind(&file.path)
        });
        own.cloned().collect()
    }

    /// Returns the licence files of the tree's own module in `folder`, empty for the top: those in the folder and
    /// below it, without those of other modules, of `vendor` and of what is never linked.
    ///
    /// A folder without a licence of its own has that of the closest folder above it.
    pub fn folder(&self, folder: &str) -> Vec<LicenseFile> {
        let below = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let inside = |file: &&LicenseFile| {
            let at = folder_of(&file.path);
            let is_carried = file.path.starts_with("vendor/");
            at == folder
                || (self.code.bind(&file.path) && !is_carried && !self.is_foreign(at, folder))
        };
        let mut files: Vec<_> = self.below(&below).filter(inside).cloned().collect();
        let mut above = folder;
        while !files.iter().any(|file| file.kind == FileKind::License) && !above.is_empty() {
            above = folder_of(above);
            files.extend(self.directly_in(above));
        }
        files.sort();
        files
    }

    /// Tells whether a folder belongs to another module below `folder`.
    fn is_foreign(&self, at: &str, folder: &str) -> bool {
        let mut at = at;
        while at.len() > folder.len() {
            if self.modules.contains_key(at) {
                return true;
            }
            at = folder_of(at);
        }
        false
    }

    fn directly_in(&self, folder: &str) -> Vec<LicenseFile> {
        self.files.values().filter(|file| folder_of(&file.path) == folder).cloned().collect()
    }

    fn below<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a LicenseFile> {
        let files = self.files.range(prefix.to_owned()..);
        files.take_while(move |(path, _)| path.starts_with(prefix)).map(|(_, file)| file)
    }
}

/// Reads the line `module <path>` of a `go.mod`.
///
/// Source: Go Modules Reference, "module directive".
fn module_path(go_mod: &str) -> String {
    let path = go_mod.lines().find_map(|line| line.trim().strip_prefix("module "));
    let word = path.and_then(|path| path.split_whitespace().next()).unwrap_or_default();
    word.trim_matches('"').to_owned()
}

/// Reads a text of at most [`LONGEST_TEXT`] bytes, whatever its encoding.
pub(super) fn read_text(
    path: &str,
    size: u64,
    content: &mut dyn Read,
) -> Result<String, SourceError> {
    if size > LONGEST_TEXT {
        return Err(SourceError::TooLong { path: path.to_owned(), size });
    }
    let mut bytes = Vec::new();
    let read = content.take(LONGEST_TEXT).read_to_end(&mut bytes);
    read.map_err(|source| SourceError::Read { path: path.to_owned(), source })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
