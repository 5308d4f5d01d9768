//! Reads go's own download cache: which module versions it holds, under which names.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A module version in the cache.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    pub path: String,
    pub version: String,
    /// The sum that go noted beside the zip; none when there is no zip.
    pub zip: Option<String>,
    /// Where its files stand, without the last extension.
    stem: PathBuf,
}

impl Found {
    /// Returns the file with the extension `kind`.
    pub(crate) fn file(&self, kind: &str) -> PathBuf {
        with_extension(&self.stem, kind)
    }
}

/// A version has dots, so the extension is appended, not replaced.
fn with_extension(stem: &Path, kind: &str) -> PathBuf {
    let mut name = stem.as_os_str().to_owned();
    name.push(".");
    name.push(kind);
    name.into()
}

/// Lists every module version of a cache that has a `go.mod` or a zip, sorted by path and version.
///
/// Some have a zip alone: go does not read the `go.mod` of what a pruned module graph leaves out.
pub(crate) fn find(cache: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    if cache.is_dir() {
        for entry in fs::read_dir(cache)? {
            let entry = entry?;
            // What the checksum database said; no module lies there.
            if entry.file_name() != "sumdb" && entry.path().is_dir() {
                walk(&entry.path(), &entry.file_name().to_string_lossy(), &mut found)?;
            }
        }
    }
    found.sort();
    Ok(found)
}

fn walk(folder: &Path, name: &str, found: &mut Vec<Found>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if file == "@v" {
            for version in fs::read_dir(&path)? {
                let version = version?.file_name().to_string_lossy().into_owned();
                let zip_alone = version
                    .strip_suffix(".zip")
                    .filter(|version| !path.join(format!("{version}.mod")).is_file());
                if let Some(version) = version.strip_suffix(".mod").or(zip_alone) {
                    found.push(read_version(&path, name, version)?);
                }
            }
        } else if path.is_dir() {
            walk(&path, &format!("{name}/{file}"), found)?;
        }
    }
    Ok(())
}

fn read_version(folder: &Path, path: &str, version: &str) -> io::Result<Found> {
    let odd = || io::Error::other(format!("`{path}@{version}` is not a module of go's cache"));
    let stem = folder.join(version);
    let zip = with_extension(&stem, "zip").is_file();
    let sum = || fs::read_to_string(with_extension(&stem, "ziphash"));
    let zip = if zip { Some(sum()?.trim().to_owned()) } else { None };
    let path = unescaped(path).ok_or_else(odd)?;
    Ok(Found { path, version: unescaped(version).ok_or_else(odd)?, zip, stem })
}

/// Writes uppercase letters as `!` and the lowercase letter. Source: `golang.org/x/mod/module`, `EscapePath`.
pub(crate) fn escaped(text: &str) -> String {
    let mut result = String::new();
    for c in text.chars() {
        if c.is_ascii_uppercase() {
            result.push('!');
        }
        result.push(c.to_ascii_lowercase());
    }
    result
}

fn unescaped(text: &str) -> Option<String> {
    let mut result = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '!' => result.push(chars.next().filter(char::is_ascii_lowercase)?.to_ascii_uppercase()),
            c if c.is_ascii_uppercase() => return None,
            c => result.push(c),
        }
    }
    Some(result)
}

/// Tells whether a text can be a module path or version: plain words between slashes.
pub(crate) fn is_module(text: &str) -> bool {
    let word = |part: &str| {
        let first = part.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
        first && part.chars().all(|c| c.is_ascii_alphanumeric() || "-._~+".contains(c))
    };
    text.split('/').all(word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_escaped_is_read_again(text in "[a-zA-Z0-9./_~+-]{0,40}") {
            prop_assert_eq!(unescaped(&escaped(&text)), Some(text.clone()));
            prop_assert!(!escaped(&text).contains(|c: char| c.is_ascii_uppercase()));
        }

        #[test]
        fn never_panics(text in ".{0,40}") {
            if let Some(read) = unescaped(&text) {
                prop_assert_eq!(escaped(&read), text);
            }
        }
    }
}
