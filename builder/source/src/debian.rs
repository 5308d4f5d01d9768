//! Fetches Debian source packages: every file checked against the archive's signed index and against the lock.

use std::path::{Path, PathBuf};

use kdistro_formats::Digest;

use crate::{
    apt::{Apt, AptError, Kind, check_word},
    apt_answer::parse_uris,
    command::Progress,
    stored::{Destination, StoredError, present},
};

/// A source package with its files on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePackage {
    /// The package's name, such as `etcd`.
    pub package: String,
    /// Its version, such as `3.4.23-4`.
    pub version: String,
    /// Its files, sorted by name.
    pub files: Vec<SourceFile>,
}

/// A file of a source package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its name in the archive.
    pub name: String,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Where it stands.
    pub file: PathBuf,
}

/// A file that the lock names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePin {
    /// Its name in the archive.
    pub name: String,
    /// The digest it must have.
    pub digest: Digest,
}

/// A source package to fetch.
#[derive(Clone, Copy, Debug)]
pub struct SourceRequest<'a> {
    /// The package's name.
    pub package: &'a str,
    /// Its exact version.
    pub version: &'a str,
    /// The files the lock names; empty on the first look. Any other file, or another digest, is refused.
    pub expected: &'a [FilePin],
}

impl Apt {
    /// Fetches a source package into a folder. Files that are there with the expected digest need no network.
    pub fn fetch_source(
        &self,
        request: &SourceRequest<'_>,
        into: &Path,
        progress: Progress<'_>,
    ) -> Result<SourcePackage, AptError> {
        let SourceRequest { package, version, expected } = *request;
        check_word("package", package, "+-.")?;
        check_word("version", version, "+-.:~")?;
        let destination = Destination::open(into, progress)?;
        let here = expected.iter().map_while(|pin| {
            let file = into.join(&pin.name);
            let size = present(&file, pin.digest)?;
            Some(SourceFile { name: pin.name.clone(), digest: pin.digest, size, file })
        });
        let mut files: Vec<_> = here.collect();
        if expected.is_empty() || files.len() < expected.len() {
            files = self.download(request, &destination, progress)?;
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(SourcePackage { package: package.to_owned(), version: version.to_owned(), files })
    }

    fn download(
        &self,
        request: &SourceRequest<'_>,
        destination: &Destination<'_>,
        progress: Progress<'_>,
    ) -> Result<Vec<SourceFile>, AptError> {
        let name = format!("{}={}", request.package, request.version);
        let session = self.session(Kind::Source, progress)?;
        let what = format!("cannot fetch source package {name}");
        let arguments = ["source", "--only-source", "--download-only", &name];
        let printed = session.run(&what, None, &[&arguments[..], &["--print-uris"]].concat())?;
        let listed = parse_uris(&name, &printed.text())?;
        for pin in request.expected {
            let found = listed.iter().find(|file| file.name == pin.name);
            let found = found.ok_or_else(|| other_files(&name, &pin.name, "no longer"))?.digest;
            crate::stored::check(&pin.name, Some(pin.digest), found)?;
        }
        if let Some(extra) = listed.iter().find(|file| {
            !request.expected.is_empty() && request.expected.iter().all(|pin| pin.name != file.name)
        }) {
            return Err(other_files(&name, &extra.name, "in addition to the locked files"));
        }
        progress(&format!("fetching source package {name}"));
        session.run(&what, Some(destination.work()), &arguments)?;
        let kept = listed.into_iter().map(|file| {
            let from = destination.work().join(&file.name);
            let (path, digest, size) = destination.keep(&from, &file.name, Some(file.digest))?;
            Ok(SourceFile { name: file.name, digest, size, file: path })
        });
        Ok(kept.collect::<Result<_, StoredError>>()?)
    }
}

fn other_files(package: &str, file: &str, how: &str) -> AptError {
    AptError::Answer {
        what: format!("{package}, whose lock differs"),
        answer: format!("{file}: {how}"),
    }
}
