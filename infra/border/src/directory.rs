//! A store in a directory of this machine.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
};

use kdistro_formats::{Digest, layout};
use kdistro_verify::hash::{sha256, sha256_of};

use crate::{
    durable::{self, Temporary, Workshop, WriteError},
    incoming::{Incoming, Received},
    store::{
        Content, Created, LARGEST_DOCUMENT, RESERVED, Store, StoreError, Stored, check_creation,
        check_name, check_swap,
    },
};

/// A store in a directory: every name is a file, so that any web server can publish it.
///
/// Files have mode 0644 and directories 0755. A folder `.kdistro-store` holds what is being written.
#[derive(Clone)]
pub struct Directory {
    root: PathBuf,
    workshop: Workshop,
    received: Received,
}

impl Directory {
    /// Takes the directory, which is made when the first name is stored.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let workshop = Workshop::new(root.join(RESERVED));
        Self { root, workshop, received: Received::default() }
    }

    /// Returns the directory.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Opens the file of a name: `None` when there is none.
    fn file(&self, name: &str) -> Result<Option<File>, StoreError> {
        let path = self.root.join(name);
        let failed = |source| failed(name, "read", &path, source);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() => File::open(&path).map(Some).map_err(failed),
            Ok(_) => {
                Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it is not a plain file")))
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Returns the folder for what is being written.
    fn workshop(&self, name: &str) -> Result<&Path, StoreError> {
        let folder = self.workshop.folder();
        self.workshop.open().map_err(|source| failed(name, "prepare", folder, source))
    }

    fn write(&self, name: &str, content: Content<'_>) -> Result<Temporary, StoreError> {
        if let Content::File { digest, .. } = content
            && let Some(received) =
                self.received.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest)
        {
            return Ok(received);
        }
        let folder = self.workshop(name)?;
        durable::write(folder, content).map_err(|error| match error {
            WriteError::Read(file, source) => failed(name, "read", &file, source),
            WriteError::Write(source) => failed(name, "write", &self.root.join(name), source),
            WriteError::Changed { file, expected, found } => StoreError::Changed {
                name: name.to_owned(),
                file: file.display().to_string(),
                expected: Box::new(expected),
                found: Box::new(found),
            },
        })
    }

    fn make_parent(&self, name: &str) -> Result<PathBuf, StoreError> {
        let path = self.root.join(name);
        if let Some(parent) = path.parent() {
            durable::create_directories(parent)
                .map_err(|source| failed(name, "make the directory", parent, source))?;
        }
        Ok(path)
    }
}

/// Shows which directory.
impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory").field("root", &self.root).finish_non_exhaustive()
    }
}

fn failed(name: &str, action: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { name: name.to_owned(), action, path: path.display().to_string(), source }
}

/// Compares what is there with what was to be stored.
fn same_or_conflict(name: &str, published: Digest, digest: Digest) -> Result<Created, StoreError> {
    if published == digest {
        Ok(Created::Same)
    } else {
        Err(StoreError::Conflict { name: name.to_owned(), published, digest })
    }
}

impl Store for Directory {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        check_name(name)?;
        let Some(file) = self.file(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        let failed = |source| failed(name, "read", &self.root.join(name), source);
        file.take(LARGEST_DOCUMENT + 1).read_to_end(&mut bytes).map_err(failed)?;
        let size = bytes.len() as u64;
        if size > LARGEST_DOCUMENT {
            return Err(StoreError::TooLarge { name: name.to_owned(), size });
        }
        Ok(Some(bytes))
    }

    fn open(&self, name: &str) -> Result<Option<Box<dyn Read + Send + '_>>, StoreError> {
        check_name(name)?;
        Ok(self.file(name)?.map(|file| Box::new(file) as Box<dyn Read + Send>))
    }

    fn stat(&self, name: &str) -> Result<Option<Stored>, StoreError> {
        check_name(name)?;
        let Some(file) = self.file(name)? else { return Ok(None) };
        let (digest, size) = sha256_of(file)
            .map_err(|source| failed(name, "read", &self.root.join(name), source))?;
        Ok(Some(Stored { digest, size }))
    }

    fn create(&self, name: &str, content: Content<'_>) -> Result<Created, StoreError> {
        check_creation(name)?;
        let digest = match content {
            Content::Bytes(bytes) => sha256(bytes),
            Content::File { digest, .. } => digest,
        };
        if let Some(published) = self.stat(name)? {
            return same_or_conflict(name, published.digest, digest);
        }
        let temporary = self.write(name, content)?;
        let path = self.make_parent(name)?;
        if temporary.publish(&path).map_err(|source| failed(name, "write", &path, source))? {
            return Ok(Created::New);
        }
        let Some(published) = self.stat(name)? else {
            let gone = io::Error::new(io::ErrorKind::NotFound, "it was there and is gone again");
            return Err(failed(name, "write", &path, gone));
        };
        same_or_conflict(name, published.digest, digest)
    }

    fn swap(&self, name: &str, old: Option<&[u8]>, new: &[u8]) -> Result<bool, StoreError> {
        check_swap(name)?;
        self.workshop(name)?;
        let lock_path = self.root.join(layout::WORKSHOP_LOCK);
        let lock = File::options().create(true).truncate(false).write(true).open(&lock_path);
        // Held until the end of this function, or of this process.
        let lock = lock.map_err(|source| failed(name, "open", &lock_path, source))?;
        lock.lock().map_err(|source| failed(name, "lock", &lock_path, source))?;
        if self.read(name)?.as_deref() != old {
            return Ok(false);
        }
        let temporary = self.write(name, Content::Bytes(new))?;
        let path = self.make_parent(name)?;
        let swapped = match old {
            Some(_) => temporary.replace(&path).map(|()| true),
            None => temporary.publish(&path),
        };
        swapped.map_err(|source| failed(name, "write", &path, source))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        if !folder.is_empty() {
            check_name(folder)?;
        }
        let mut names = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let path = self.root.join(&folder);
            for (name, is_folder) in
                entries(&path).map_err(|source| failed(prefix, "list", &path, source))?
            {
                let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                // A folder that only begins like the prefix has nothing to show; one that is shorter may have.
                let may_hold = name.starts_with(prefix) || prefix.starts_with(&format!("{name}/"));
                if is_folder && may_hold && name != RESERVED {
                    folders.push(name);
                } else if !is_folder && name.starts_with(prefix) {
                    names.push(name);
                }
            }
        }
        names.sort();
        Ok(names)
    }

    fn receive(&self) -> Result<Option<Incoming>, StoreError> {
        let name = "what comes in";
        let folder = self.workshop(name)?;
        let temporary = Temporary::create(folder, durable::FILE_MODE);
        temporary
            .and_then(|temporary| Incoming::new(temporary, Arc::clone(&self.received)))
            .map(Some)
            .map_err(|source| failed(name, "write", folder, source))
    }

    fn place(&self) -> String {
        self.root.display().to_string()
    }

    fn folder(&self) -> Option<PathBuf> {
        Some(self.root.clone())
    }
}

/// Lists a directory: names, and whether each is a directory. One that does not exist is empty.
fn entries(path: &Path) -> io::Result<Vec<(String, bool)>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|name| {
            let text = format!("{} is not UTF-8", name.display());
            io::Error::new(io::ErrorKind::InvalidData, text)
        })?;
        found.push((name, entry.file_type()?.is_dir()));
    }
    Ok(found)
}
