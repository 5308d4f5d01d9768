//! Gzipped tars of programs, licences and sources.

use std::io::{self, Read};

use kdistro_assemble::{
    entry::{Entry, EntryKind, EntryPath},
    gzip::GzipWriter,
    tar::{TarError, TarWriter, read_tar},
};
use kdistro_formats::{
    Digest,
    plan::{ArchiveEntry, EntryContent},
};

use super::{Making, PackageError, Packager, error::Failed};

/// The content of an entry, ready to be read.
pub(super) struct Opened {
    pub(super) size: u64,
    pub(super) content: Box<dyn Read>,
}

impl Packager<'_> {
    pub(super) fn archive(
        &self,
        making: &Making<'_>,
        mtime: u64,
        entries: &[ArchiveEntry],
    ) -> Result<Digest, PackageError> {
        let failed = Failed(&making.asset.name);
        let new = self.content.create().map_err(|error| failed.content(error))?;
        let mut tar = TarWriter::new(GzipWriter::new(new), mtime);
        for entry in entries {
            let path = EntryPath::new(entry.path.clone()).map_err(|error| failed.path(error))?;
            let mut opened = self.open_entry(making, &entry.from)?;
            let entry = Entry::file(path, entry.executable, opened.size, &mut opened.content);
            tar.append(entry).map_err(|error| failed.tar(error))?;
        }
        let gzip = tar.finish().map_err(|error| failed.tar(error))?;
        let new = gzip.finish().map_err(failed.io(self.home.content()))?;
        Ok(new.keep().map_err(|error| failed.content(error))?.0)
    }

    /// Compresses a source archive as it is.
    pub(super) fn source_archive(
        &self,
        asset: &str,
        archive: &Digest,
    ) -> Result<Digest, PackageError> {
        let failed = Failed(asset);
        self.content.check(archive).map_err(|error| failed.content(error))?;
        let mut tar = self.content.open(archive).map_err(|error| failed.content(error))?;
        let new = self.content.create().map_err(|error| failed.content(error))?;
        let mut gzip = GzipWriter::new(new);
        io::copy(&mut tar, &mut gzip).map_err(failed.io(self.content.path(archive)))?;
        let new = gzip.finish().map_err(failed.io(self.home.content()))?;
        Ok(new.keep().map_err(|error| failed.content(error))?.0)
    }

    /// Opens what an entry of an archive or image holds; it is hashed first, so that nothing damaged gets in.
    pub(super) fn open_entry(
        &self,
        making: &Making<'_>,
        from: &EntryContent,
    ) -> Result<Opened, PackageError> {
        let name = &making.asset.name;
        match from {
            EntryContent::Output(output) => self.open_content(name, &self.output(name, output)?),
            EntryContent::Attribution { programs } => {
                let digest = making.linked.attribution(programs);
                let missing = || Failed(name).plan("licence texts of programs");
                self.open_content(name, &digest.ok_or_else(missing)?)
            }
            EntryContent::Source { archive, path } => {
                let bytes = self.source_file(name, archive, path)?;
                let size = bytes.len() as u64;
                Ok(Opened { size, content: Box::new(io::Cursor::new(bytes)) })
            }
        }
    }

    fn open_content(&self, asset: &str, digest: &Digest) -> Result<Opened, PackageError> {
        let failed = Failed(asset);
        self.content.check(digest).map_err(|error| failed.content(error))?;
        let file = self.content.open(digest).map_err(|error| failed.content(error))?;
        let size = file.metadata().map_err(failed.io(self.content.path(digest)))?.len();
        Ok(Opened { size, content: Box::new(file) })
    }

    /// Reads one file out of a source archive.
    fn source_file(
        &self,
        asset: &str,
        archive: &Digest,
        path: &str,
    ) -> Result<Vec<u8>, PackageError> {
        let failed = Failed(asset);
        self.content.check(archive).map_err(|error| failed.content(error))?;
        let tar = self.content.open(archive).map_err(|error| failed.content(error))?;
        let tar = io::BufReader::with_capacity(1 << 20, tar);
        let mut bytes = None;
        let read = read_tar(tar, &mut |entry| {
            if entry.path.as_str() == path
                && let EntryKind::File { content, .. } = entry.kind
            {
                let mut found = Vec::new();
                content.read_to_end(&mut found).map_err(Search::Io)?;
                bytes = Some(found);
                return Err(Search::Done);
            }
            Ok(())
        });
        match (bytes, read) {
            (Some(bytes), _) => Ok(bytes),
            (None, Err(Search::Tar(source))) => Err(failed.tar(source)),
            (None, Err(Search::Io(source))) => Err(failed.io(self.content.path(archive))(source)),
            (None, _) => {
                Err(PackageError::Source { asset: asset.to_owned(), path: path.to_owned() })
            }
        }
    }
}

/// Why reading an archive ended early.
enum Search {
    Done,
    Io(io::Error),
    Tar(TarError),
}

impl From<TarError> for Search {
    fn from(error: TarError) -> Self {
        Self::Tar(error)
    }
}
