//! Reads a manifest that somebody named together with a store, to compare it with the store's own.

use std::{fs, io, path::Path};

use kdistro_formats::layout::LARGEST_DOCUMENT;

use super::{
    LocateError, is_absent, open,
    plain::{self, Links},
    read_document,
};

/// Reads what `manifest` names beside the store in which it is called `name`.
///
/// None for a bare name, with or without its folder, of which there is no such file here: it means the store's.
pub fn read_given(
    manifest: &str,
    name: &str,
    proxy: Option<&str>,
) -> Result<Option<io::Result<Vec<u8>>>, LocateError> {
    if manifest.contains("://") {
        let (folder, file) = manifest.rsplit_once('/').unwrap_or((manifest, ""));
        let found = super::read(&*open(folder, proxy)?, file, LARGEST_DOCUMENT);
        let missing = || io::Error::new(io::ErrorKind::NotFound, "there is no such file");
        return Ok(Some(found.and_then(|found| found.ok_or_else(missing))));
    }
    let bare = manifest == name || name.rsplit_once('/').is_some_and(|(_, file)| file == manifest);
    let absent = fs::symlink_metadata(manifest).is_err_and(|error| is_absent(&error));
    Ok((!(bare && absent)).then(|| read_file(Path::new(manifest))))
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let irregular = || io::Error::other("is not a regular file");
    read_document(plain::open(path, Links::Follow)?.ok_or_else(irregular)?, LARGEST_DOCUMENT)
}
