//! Licence files of a Go module, and of Go itself, from a module zip.

use std::{
    collections::BTreeSet,
    io::{Read, Seek},
    sync::Arc,
};

use super::{
    LicenseFile, ModuleId,
    names::{FileKind, kind_of},
    source::{SourceError, read_text},
};
use crate::{
    entry::{Entry, EntryKind},
    module_zip::read_module_zip,
};

/// Folders whose files are never linked into a program.
const NEVER_LINKED: [&str; 3] = ["node_modules", "testdata", "vendor"];

/// The folders that hold Go code, and those above them: licences elsewhere bind nothing that is linked.
#[derive(Clone, Debug, Default)]
pub(super) struct GoFolders(BTreeSet<String>);

impl GoFolders {
    /// Takes note of a file.
    pub(super) fn add(&mut self, path: &str) {
        let is_code = path.strip_suffix(".go").is_some_and(|stem| !stem.ends_with("_test"));
        if !is_code || is_set_aside(path) {
            return;
        }
        let mut folder = folder_of(path);
        while self.0.insert(folder.to_owned()) && !folder.is_empty() {
            folder = folder_of(folder);
        }
    }

    /// Tells whether a licence file lies beside or above Go code.
    pub(super) fn bind(&self, path: &str) -> bool {
        self.0.contains(folder_of(path)) && !is_set_aside(path)
    }
}

/// Tells whether a file lies in a folder that Go ignores, or below a vendor folder inside.
fn is_set_aside(path: &str) -> bool {
    let mut folders = folder_of(path.strip_prefix("vendor/").unwrap_or(path)).split('/');
    folders.any(|name| NEVER_LINKED.contains(&name) || name.starts_with(['_', '.']))
}

/// Returns the folder that holds a file, empty at the top.
pub(super) fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Returns the licence files of a module from its zip file, sorted by path.
pub fn module_licenses(
    zip: impl Read + Seek,
    module: &ModuleId,
) -> Result<Vec<LicenseFile>, SourceError> {
    let prefix = format!("{}@{}/", module.path, module.version);
    let mut code = GoFolders::default();
    let mut files = read_zip(zip, &prefix, &mut |path| {
        code.add(path);
        kind_of(path.strip_prefix(folder_of(path)).unwrap_or_default().trim_start_matches('/'))
    })?;
    files.retain(|file| folder_of(&file.path).is_empty() || code.bind(&file.path));
    Ok(files)
}

/// Returns the licence of Go and its standard library from the module zip of a toolchain.
///
/// `version` is that of the module `golang.org/toolchain`, such as `v0.0.1-go1.26.8.linux-amd64`.
pub fn go_license(zip: impl Read + Seek, version: &str) -> Result<Vec<LicenseFile>, SourceError> {
    let prefix = format!("golang.org/toolchain@{version}/");
    read_zip(zip, &prefix, &mut |path| match path {
        "LICENSE" => Some(FileKind::License),
        "PATENTS" => Some(FileKind::Notice),
        _ => None,
    })
}

fn read_zip(
    zip: impl Read + Seek,
    prefix: &str,
    kind: &mut dyn FnMut(&str) -> Option<FileKind>,
) -> Result<Vec<LicenseFile>, SourceError> {
    let mut files = Vec::new();
    read_module_zip(zip, prefix, &mut |entry: Entry<'_>| {
        let EntryKind::File { size, content, .. } = entry.kind else { return Ok(()) };
        let Some(kind) = kind(entry.path.as_str()) else { return Ok(()) };
        let path = entry.path.to_string();
        let text = Arc::from(read_text(&path, size, content)?);
        files.push(LicenseFile { path, kind, text });
        Ok::<(), SourceError>(())
    })?;
    files.sort();
    Ok(files)
}
