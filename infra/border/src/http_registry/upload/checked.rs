//! A file that is hashed while it is read, and not read to its end when it is not what was said.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    path::Path,
};

use kdistro_verify::hash::{Hasher, sha256, sha256_of};

use crate::{plain, registry::RegistryError, store::Stored};

/// Reads a file as long as it may still be what was said.
///
/// Its last bytes are given out only when all of it is: whoever sends it with its length never finishes another content.
pub(super) struct Checked<'a> {
    repository: &'a str,
    path: &'a Path,
    file: File,
    /// Gone when everything was read.
    hasher: Option<Hasher<io::Sink>>,
    wanted: Stored,
    left: u64,
    failure: Option<RegistryError>,
}

impl<'a> Checked<'a> {
    /// Opens a file of the right length.
    pub(super) fn open(
        repository: &'a str,
        path: &'a Path,
        wanted: Stored,
    ) -> Result<Self, RegistryError> {
        let failed = |source| failed(repository, path, source);
        let (file, size) = plain::open(path).map_err(failed)?;
        let hasher = Some(Hasher::new(io::sink()));
        let left = wanted.size;
        let mut checked = Self { repository, path, file, hasher, wanted, left, failure: None };
        // Of nothing, nothing is read.
        if size != wanted.size || (size == 0 && wanted.digest != sha256(b"")) {
            return Err(checked.changed());
        }
        Ok(checked)
    }

    /// Returns why reading ended early.
    pub(super) fn failure(self) -> Option<RegistryError> {
        self.failure
    }

    fn read_part(&mut self, buffer: &mut [u8]) -> Result<usize, RegistryError> {
        let failed = |source| failed(self.repository, self.path, source);
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = buffer.get_mut(..room).unwrap_or_default();
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = self.file.read(buffer).map_err(failed)?;
        if let Some(hasher) = &mut self.hasher {
            hasher.write_all(buffer.get(..count).unwrap_or_default()).map_err(failed)?;
        }
        self.left -= count as u64;
        if count == 0 {
            return Err(self.changed());
        }
        if self.left == 0
            && let Some(hasher) = self.hasher.take()
        {
            let (_, digest, _) = hasher.finish();
            let has_more = self.file.read(&mut [0]).map_err(failed)? > 0;
            if has_more || digest != self.wanted.digest {
                return Err(self.changed());
            }
        }
        Ok(count)
    }

    /// Says what the file is, in place of what was said.
    fn changed(&mut self) -> RegistryError {
        // No further than it is long now: it may grow without end.
        let found = self.file.rewind().and_then(|()| {
            let length = self.file.metadata()?.len();
            sha256_of((&self.file).take(length))
        });
        match found {
            Ok((digest, size)) => RegistryError::Changed {
                repository: self.repository.to_owned(),
                file: self.path.display().to_string(),
                expected: Box::new(self.wanted),
                found: Box::new(Stored { digest, size }),
            },
            Err(source) => failed(self.repository, self.path, source),
        }
    }
}

impl Read for Checked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_part(buffer).map_err(|error| {
            let told = io::Error::other(error.to_string());
            self.failure = Some(error);
            told
        })
    }
}

fn failed(repository: &str, path: &Path, source: io::Error) -> RegistryError {
    RegistryError::Io {
        repository: repository.to_owned(),
        action: "read",
        path: path.display().to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(path: &Path, wanted: Stored) -> Result<Vec<u8>, RegistryError> {
        let mut checked = Checked::open("a", path, wanted)?;
        let mut bytes = Vec::new();
        let read = checked.read_to_end(&mut bytes);
        let failure = checked.failure();
        assert_eq!(read.is_err(), failure.is_some());
        failure.map_or(Ok(bytes), Err)
    }

    #[test]
    fn what_is_not_what_was_said_is_never_given_out_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        for content in [&b""[..], b"x", &vec![7; 300_000]] {
            fs::write(&path, content).unwrap();
            let wanted = Stored { digest: sha256(content), size: content.len() as u64 };
            assert_eq!(read(&path, wanted).unwrap(), content);
            let other = Stored { digest: sha256(b"other"), ..wanted };
            let longer = Stored { size: wanted.size + 1, ..wanted };
            for said in [other, longer] {
                let error = read(&path, said).unwrap_err();
                let RegistryError::Changed { expected, found, .. } = error else {
                    panic!("{error}")
                };
                assert_eq!((*expected, *found), (said, wanted));
            }
        }
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let content = vec![7; 300_000];
        let wanted = Stored { digest: sha256(&content), size: 300_000 };
        let changes: [fn(&Path); 3] = [
            |path| fs::write(path, vec![7; 299_999]).unwrap(),
            |path| fs::write(path, vec![7; 300_001]).unwrap(),
            |path| fs::write(path, [vec![7; 299_999], vec![8]].concat()).unwrap(),
        ];
        for change in changes {
            fs::write(&path, &content).unwrap();
            let mut checked = Checked::open("a", &path, wanted).unwrap();
            checked.read_exact(&mut [0; 1000]).unwrap();
            change(&path);
            let mut rest = Vec::new();
            checked.read_to_end(&mut rest).unwrap_err();
            assert!(rest.len() < 299_000, "all of it was given out");
            let failure = checked.failure().unwrap();
            assert!(matches!(failure, RegistryError::Changed { .. }), "{failure}");
        }
    }
}
