//! A registry in a directory of this machine: an OCI image layout for each repository.

mod index;

use std::{
    collections::BTreeMap,
    fs::{self, File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use kdistro_formats::{
    Digest,
    oci::layout::{self, INDEX, MARK, MARK_CONTENT},
};
use kdistro_verify::hash::{sha256, sha256_of};

use self::index::Index;
use crate::{
    durable::{self, Temporary, Workshop, WriteError},
    manifest::{Manifest, Part},
    registry::{LARGEST_MANIFEST, Referrer, Registry, RegistryError, check_repository, check_tag},
    store::{Content, Created, Stored},
};

/// What a file must allow to become a blob without being copied.
const READABLE: u32 = 0o444;

/// How the folder is called that holds what is being written; no repository can be called so.
const WORKSHOP: &str = ".kdistro-registry";

/// A registry in a directory: `<directory>/<repository>` is an OCI image layout, which skopeo, umoci and oras read.
///
/// A tag is an entry of `index.json` with `org.opencontainers.image.ref.name`; a referrer is one without. A blob that
/// lies on the same file system already, in a store or another repository, is not copied but gets one more name.
#[derive(Clone, Debug)]
pub struct OciLayouts {
    root: PathBuf,
    workshop: Workshop,
    /// Where this registry put blobs, or found them whole, since it was opened.
    known: Arc<Mutex<BTreeMap<Digest, Known>>>,
}

/// A blob that was read to its end, and found to be what it is called.
#[derive(Clone, Debug)]
struct Known {
    path: PathBuf,
    file: Identity,
}

/// A file, and when its content was changed last: whoever links it again need not read it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds since 1970.
    changed: (i64, i64),
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            changed: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl OciLayouts {
    /// Takes the directory, which is made when the first blob is pushed.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        let workshop = Workshop::new(root.join(WORKSHOP));
        Self { root, workshop, known: Arc::default() }
    }

    /// Returns the directory.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Returns the layout of a repository, as skopeo takes it behind `oci:`.
    pub fn layout(&self, repository: &str) -> Result<PathBuf, RegistryError> {
        check_repository(repository)?;
        let own = ["blobs", MARK, INDEX];
        if repository.split('/').any(|part| own.contains(&part)) {
            let expected = "no part `blobs`, `index.json` or `oci-layout`: layouts have their own";
            let name = repository.to_owned();
            return Err(RegistryError::Name { kind: "repository", name, expected });
        }
        Ok(self.root.join(repository))
    }

    fn blob(&self, repository: &str, digest: &Digest) -> Result<PathBuf, RegistryError> {
        Ok(self.layout(repository)?.join(layout::blob(digest)))
    }

    /// Returns the folder for what is being written.
    fn workshop(&self, repository: &str) -> Result<&Path, RegistryError> {
        let folder = self.workshop.folder();
        self.workshop.open().map_err(|source| failed(repository, "prepare", folder, source))
    }

    /// Tells whether a blob is there, by reading all of it: a damaged one is an error, not content.
    fn is_whole(&self, repository: &str, digest: &Digest) -> Result<bool, RegistryError> {
        let path = self.blob(repository, digest)?;
        let Some(file) = open(repository, &path)? else { return Ok(false) };
        let unread = |source| failed(repository, "read", &path, source);
        let identity = Identity::of(&file.metadata().map_err(unread)?);
        let read = sha256_of(file).map_err(unread)?;
        if read.0 != *digest {
            return Err(damaged(repository, format!("{} is {}", path.display(), read.0)));
        }
        self.remember(digest, Known { path, file: identity });
        Ok(true)
    }

    fn remember(&self, digest: &Digest, known: Known) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(*digest, known);
    }

    /// Gives content that is known to be `digest` its name in the repository.
    fn put(
        &self,
        repository: &str,
        digest: &Digest,
        temporary: Temporary,
    ) -> Result<Created, RegistryError> {
        let path = self.blob(repository, digest)?;
        make_parent(repository, &path)?;
        let unwritten = |source| failed(repository, "write", &path, source);
        let identity = Identity::of(&temporary.file.metadata().map_err(unwritten)?);
        if !temporary.publish(&path).map_err(unwritten)? {
            return Ok(Created::Same);
        }
        self.remember(digest, Known { path, file: identity });
        Ok(Created::New)
    }

    /// Finds the content on this file system, in another repository or where the caller has it.
    fn link(&self, folder: &Path, wanted: &Stored, file: Option<&Path>) -> Option<Temporary> {
        let known =
            self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&wanted.digest).cloned();
        let originals = known.as_ref().map(|known| known.path.as_path()).into_iter().chain(file);
        // Read under the name that gets published, so that nobody can put another file in its place meanwhile.
        originals.into_iter().find_map(|original| {
            let temporary = Temporary::link(folder, original).ok()?;
            let metadata = temporary.file.metadata().ok()?;
            let is_readable = metadata.mode() & READABLE == READABLE;
            let was_read =
                known.as_ref().is_some_and(|known| known.file == Identity::of(&metadata))
                    && metadata.len() == wanted.size;
            let is_it = || {
                let found = sha256_of(&temporary.file).ok();
                found == Some((wanted.digest, wanted.size))
            };
            (is_readable && (was_read || is_it())).then_some(temporary)
        })
    }

    fn read_index(&self, repository: &str) -> Result<Index, RegistryError> {
        let path = self.layout(repository)?.join(INDEX);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if is_absent(&error) => return Ok(Index::default()),
            Err(source) => return Err(failed(repository, "read", &path, source)),
        };
        let wrong = |what| damaged(repository, format!("{}: {what}", path.display()));
        Index::read(&bytes).map_err(wrong)
    }

    /// Changes the index of a repository while nobody else does.
    ///
    /// `change` returns false when there is nothing to write.
    fn change(
        &self,
        repository: &str,
        change: impl FnOnce(&mut Index) -> Result<bool, RegistryError>,
    ) -> Result<Created, RegistryError> {
        let folder = self.workshop(repository)?;
        let lock_path = folder.join("lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&lock_path);
        // Held until the end of this function, or of this process.
        let lock = lock.map_err(|source| failed(repository, "open", &lock_path, source))?;
        lock.lock().map_err(|source| failed(repository, "lock", &lock_path, source))?;
        let mut index = self.read_index(repository)?;
        if !change(&mut index)? {
            return Ok(Created::Same);
        }
        let layout = self.layout(repository)?;
        let put = |path: &Path, bytes: &[u8], replace: bool| {
            let temporary = write(repository, folder, Content::Bytes(bytes))?;
            let put =
                if replace { temporary.replace(path) } else { temporary.publish(path).map(drop) };
            put.map_err(|source| failed(repository, "write", path, source))
        };
        let bytes = index.write().map_err(|what| damaged(repository, what))?;
        put(&layout.join(MARK), MARK_CONTENT, false)?;
        put(&layout.join(INDEX), &bytes, true)?;
        Ok(Created::New)
    }

    /// Refuses a manifest of which a part is not there, or has another size.
    fn check_parts(
        &self,
        repository: &str,
        digest: &Digest,
        manifest: &Manifest,
    ) -> Result<(), RegistryError> {
        for Part { digest: missing, size } in &manifest.parts {
            let path = self.blob(repository, missing)?;
            let Some(file) = open(repository, &path)? else {
                let (repository, by) = (repository.to_owned(), digest.to_string());
                return Err(RegistryError::Missing { repository, missing: *missing, by });
            };
            let found = file.metadata().map(|metadata| metadata.len());
            let found = found.map_err(|source| failed(repository, "read", &path, source))?;
            if found != *size {
                let what = format!("{missing} has {found} bytes, but it says {size}");
                let repository = repository.to_owned();
                return Err(RegistryError::Manifest { repository, digest: *digest, what });
            }
        }
        Ok(())
    }

    /// Reads a manifest of the repository with its length.
    fn manifest(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<(Manifest, u64)>, RegistryError> {
        let Some(bytes) = self.read_manifest(repository, digest)? else { return Ok(None) };
        Ok(Some((Manifest::parse(repository, digest, &bytes)?, bytes.len() as u64)))
    }
}

impl Registry for OciLayouts {
    fn has_blob(&self, repository: &str, digest: &Digest) -> Result<bool, RegistryError> {
        Ok(open(repository, &self.blob(repository, digest)?)?.is_some())
    }

    fn push_blob(&self, repository: &str, content: Content<'_>) -> Result<Created, RegistryError> {
        let (wanted, file) = match content {
            Content::Bytes(bytes) => {
                (Stored { digest: sha256(bytes), size: bytes.len() as u64 }, None)
            }
            Content::File { path, digest, size } => (Stored { digest, size }, Some(path)),
        };
        let digest = wanted.digest;
        if self.is_whole(repository, &digest)? {
            return Ok(Created::Same);
        }
        let folder = self.workshop(repository)?;
        if let Some(linked) = self.link(folder, &wanted, file)
            && let Ok(created) = self.put(repository, &digest, linked)
        {
            return Ok(created);
        }
        let temporary = write(repository, folder, content)?;
        self.put(repository, &digest, temporary)
    }

    fn push_manifest(&self, repository: &str, bytes: &[u8]) -> Result<Created, RegistryError> {
        let digest = sha256(bytes);
        let manifest = Manifest::parse(repository, &digest, bytes)?;
        self.check_parts(repository, &digest, &manifest)?;
        let created = self.push_blob(repository, Content::Bytes(bytes))?;
        if manifest.subject.is_none() {
            return Ok(created);
        }
        // Also when the blob was there: a writer may have died between the two.
        let listed = self.change(repository, |index| {
            if index.untagged().any(|untagged| untagged == digest) {
                return Ok(false);
            }
            index.add_referrer(&manifest, digest, bytes.len() as u64);
            Ok(true)
        })?;
        Ok(if listed == Created::New { listed } else { created })
    }

    fn read_manifest(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<Vec<u8>>, RegistryError> {
        let path = self.blob(repository, digest)?;
        let Some(file) = open(repository, &path)? else { return Ok(None) };
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(file, LARGEST_MANIFEST + 1), &mut bytes)
            .map_err(|source| failed(repository, "read", &path, source))?;
        let size = bytes.len() as u64;
        if size > LARGEST_MANIFEST {
            let what = format!("it is larger than {LARGEST_MANIFEST} bytes");
            let repository = repository.to_owned();
            return Err(RegistryError::Manifest { repository, digest: *digest, what });
        }
        let found = sha256(&bytes);
        if found != *digest {
            return Err(damaged(repository, format!("{} is {found}", path.display())));
        }
        Ok(Some(bytes))
    }

    fn tag(&self, repository: &str, tag: &str, digest: &Digest) -> Result<Created, RegistryError> {
        check_tag(tag)?;
        let Some((manifest, size)) = self.manifest(repository, digest)? else {
            let (repository, by) = (repository.to_owned(), format!("`{tag}`"));
            return Err(RegistryError::Missing { repository, missing: *digest, by });
        };
        self.change(repository, |index| match index.resolve(tag) {
            Some(tagged) if tagged == *digest => Ok(false),
            Some(tagged) => Err(RegistryError::Moved {
                repository: repository.to_owned(),
                tag: tag.to_owned(),
                tagged,
                digest: *digest,
            }),
            None => {
                index.add_tag(tag, &manifest, *digest, size);
                Ok(true)
            }
        })
    }

    fn resolve(&self, repository: &str, tag: &str) -> Result<Option<Digest>, RegistryError> {
        check_tag(tag)?;
        Ok(self.read_index(repository)?.resolve(tag))
    }

    fn referrers(
        &self,
        repository: &str,
        subject: &Digest,
    ) -> Result<Vec<Referrer>, RegistryError> {
        let mut found = Vec::new();
        for digest in self.read_index(repository)?.untagged() {
            let Some((manifest, size)) = self.manifest(repository, &digest)? else {
                let by = INDEX.to_owned();
                let repository = repository.to_owned();
                return Err(RegistryError::Missing { repository, missing: digest, by });
            };
            if manifest.subject == Some(*subject) {
                found.push(manifest.referrer(digest, size));
            }
        }
        found.sort_by_key(|referrer| referrer.digest);
        Ok(found)
    }
}

/// Writes content under a temporary name, and refuses a file that is not what was said.
fn write(
    repository: &str,
    folder: &Path,
    content: Content<'_>,
) -> Result<Temporary, RegistryError> {
    durable::write(folder, content).map_err(|error| match error {
        WriteError::Read(file, source) => failed(repository, "read", &file, source),
        WriteError::Write(source) => failed(repository, "write", folder, source),
        WriteError::Changed { file, expected, found } => RegistryError::Changed {
            repository: repository.to_owned(),
            file: file.display().to_string(),
            expected: Box::new(expected),
            found: Box::new(found),
        },
    })
}

/// Opens a plain file: `None` when there is nothing.
fn open(repository: &str, path: &Path) -> Result<Option<File>, RegistryError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => {
            File::open(path).map(Some).map_err(|source| failed(repository, "read", path, source))
        }
        Ok(_) => Err(damaged(repository, format!("{} is not a plain file", path.display()))),
        Err(error) if is_absent(&error) => Ok(None),
        Err(source) => Err(failed(repository, "read", path, source)),
    }
}

fn make_parent(repository: &str, path: &Path) -> Result<(), RegistryError> {
    let Some(parent) = path.parent() else { return Ok(()) };
    durable::create_directories(parent)
        .map_err(|source| failed(repository, "make the directory", parent, source))
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn damaged(repository: &str, what: String) -> RegistryError {
    RegistryError::Damaged { repository: repository.to_owned(), what }
}

fn failed(repository: &str, action: &'static str, path: &Path, source: io::Error) -> RegistryError {
    let path = path.display().to_string();
    RegistryError::Io { repository: repository.to_owned(), action, path, source }
}
