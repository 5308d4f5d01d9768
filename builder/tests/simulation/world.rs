//! What is outside of all publishers: the files of a store, a registry, and the announcements that were made.
//!
//! It is as strict as the strictest of the real ones: a name is stored once, a manifest after all that it names, and
//! only in a repository that was prepared; a tag never moves.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read},
    sync::Arc,
};

use kdistro_border::{
    Content, Created, Referrer, RegistryError, StoreError, Stored,
    registry::{check_repository, check_tag},
    store::{check_creation, check_name, check_swap},
};
use kdistro_formats::{
    Digest,
    oci::{Descriptor, Index, Manifest},
};
use kdistro_verify::{hash, store::Reader};

/// A file of the store.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) stored: Stored,
}

/// A repository of the registry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Repository {
    pub(crate) blobs: BTreeMap<Digest, u64>,
    pub(crate) manifests: BTreeMap<Digest, Arc<[u8]>>,
    pub(crate) tags: BTreeMap<String, Digest>,
    pub(crate) referrers: BTreeMap<Digest, BTreeMap<Digest, Referrer>>,
}

/// An announcement that reached subscribers.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) id: Digest,
    pub(crate) message: String,
}

/// What is outside of all publishers.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) files: BTreeMap<String, File>,
    pub(crate) repositories: BTreeMap<String, Repository>,
    prepared: BTreeSet<String>,
    pub(crate) told: Vec<Told>,
    /// How many more files do not fit.
    pub(crate) full: u32,
}

/// What changed in the world.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// A file is there that was not.
    Created(String),
    /// One of the three has new content.
    Swapped(String),
    /// An image has a name.
    Tagged(String, Digest),
    /// Subscribers were told, for the first time or once more.
    Told,
}

/// What an operation gave, and what it changed.
pub(crate) type Done<T, E> = Result<(T, Option<Change>), E>;

impl File {
    fn new(bytes: &[u8]) -> Self {
        let stored = Stored { digest: hash::sha256(bytes), size: bytes.len() as u64 };
        Self { bytes: bytes.into(), stored }
    }
}

/// The bytes of some content, which must be what they are said to be.
fn bytes_of(content: Content<'_>) -> io::Result<Vec<u8>> {
    match content {
        Content::Bytes(bytes) => Ok(bytes.to_vec()),
        Content::File { path, digest, size } => {
            let bytes = fs::read(path)?;
            if (hash::sha256(&bytes), bytes.len() as u64) == (digest, size) {
                return Ok(bytes);
            }
            Err(io::Error::other(format!("{} is not what was said", path.display())))
        }
    }
}

/// The store.
impl World {
    pub(crate) fn read(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(|file| &*file.bytes)
    }

    pub(crate) fn is(&self, name: &str, digest: &Digest) -> bool {
        self.files.get(name).is_some_and(|file| file.stored.digest == *digest)
    }

    pub(crate) fn stat(&self, name: &str) -> Result<Option<Stored>, StoreError> {
        check_name(name)?;
        Ok(self.files.get(name).map(|file| file.stored))
    }

    pub(crate) fn names(&self, prefix: &str) -> Vec<String> {
        let from = self.files.range(prefix.to_owned()..).map(|(name, _)| name);
        from.take_while(|name| name.starts_with(prefix)).cloned().collect()
    }

    pub(crate) fn create(&mut self, name: &str, content: Content<'_>) -> Done<Created, StoreError> {
        check_creation(name)?;
        let failed = |source| service(name, source);
        let file = File::new(&bytes_of(content).map_err(failed)?);
        match self.files.get(name).map(|there| there.stored.digest) {
            Some(published) if published == file.stored.digest => Ok((Created::Same, None)),
            Some(published) => {
                let (name, digest) = (name.to_owned(), file.stored.digest);
                Err(StoreError::Conflict { name, published, digest })
            }
            None => {
                self.refuse_full(name)?;
                self.files.insert(name.to_owned(), file);
                Ok((Created::New, Some(Change::Created(name.to_owned()))))
            }
        }
    }

    pub(crate) fn swap(
        &mut self,
        name: &str,
        old: Option<&[u8]>,
        new: &[u8],
    ) -> Done<bool, StoreError> {
        check_swap(name)?;
        if self.read(name) != old {
            return Ok((false, None));
        }
        self.refuse_full(name)?;
        self.files.insert(name.to_owned(), File::new(new));
        Ok((true, Some(Change::Swapped(name.to_owned()))))
    }

    fn refuse_full(&mut self, name: &str) -> Result<(), StoreError> {
        if self.full == 0 {
            return Ok(());
        }
        self.full -= 1;
        Err(service(name, io::Error::other(format!("{INJECTED}: no space is left"))))
    }
}

/// How every error begins that the simulation made.
pub(crate) const INJECTED: &str = "simulated";

pub(crate) fn service(name: &str, source: io::Error) -> StoreError {
    StoreError::Service { name: name.to_owned(), source: Box::new(source) }
}

/// The registry.
impl World {
    pub(crate) fn prepare(&mut self, repositories: &BTreeSet<String>) {
        self.prepared.extend(repositories.iter().cloned());
    }

    fn repository(&mut self, name: &str) -> Result<&mut Repository, RegistryError> {
        check_repository(name)?;
        if self.prepared.contains(name) {
            return Ok(self.repositories.entry(name.to_owned()).or_default());
        }
        let (address, what) = (name.to_owned(), "is a repository that nobody made".to_owned());
        Err(RegistryError::Address { address, what })
    }

    pub(crate) fn has_blob(&self, repository: &str, digest: &Digest) -> bool {
        self.repositories.get(repository).is_some_and(|there| there.blobs.contains_key(digest))
    }

    pub(crate) fn push_blob(
        &mut self,
        repository: &str,
        content: Content<'_>,
    ) -> Done<Created, RegistryError> {
        let there = self.repository(repository)?;
        let bytes = bytes_of(content).map_err(|source| RegistryError::Service {
            repository: repository.to_owned(),
            action: "push a blob to",
            source: Box::new(source),
        })?;
        let old = there.blobs.insert(hash::sha256(&bytes), bytes.len() as u64);
        Ok((if old.is_some() { Created::Same } else { Created::New }, None))
    }

    pub(crate) fn push_manifest(
        &mut self,
        repository: &str,
        bytes: &[u8],
    ) -> Done<Created, RegistryError> {
        let digest = hash::sha256(bytes);
        let there = self.repository(repository)?;
        let (parts, subject) = named(bytes).map_err(|what| RegistryError::Manifest {
            repository: repository.to_owned(),
            digest,
            what,
        })?;
        for part in parts {
            let size = there.blobs.get(&part.digest).copied();
            let manifest = there.manifests.get(&part.digest).map(|bytes| bytes.len() as u64);
            if size.or(manifest) != Some(part.size) {
                let (missing, by) = (part.digest, digest.to_string());
                let repository = repository.to_owned();
                return Err(RegistryError::Missing { repository, missing, by });
            }
        }
        if let Some((subject, referrer)) = subject {
            let referrer = Referrer { digest, size: bytes.len() as u64, ..referrer };
            there.referrers.entry(subject).or_default().insert(digest, referrer);
        }
        let old = there.manifests.insert(digest, bytes.into());
        Ok((if old.is_some() { Created::Same } else { Created::New }, None))
    }

    pub(crate) fn tag(
        &mut self,
        repository: &str,
        tag: &str,
        digest: &Digest,
    ) -> Done<Created, RegistryError> {
        check_tag(tag)?;
        let there = self.repository(repository)?;
        if !there.manifests.contains_key(digest) {
            let (repository, by) = (repository.to_owned(), format!("`{tag}`"));
            return Err(RegistryError::Missing { repository, missing: *digest, by });
        }
        match there.tags.get(tag) {
            Some(tagged) if tagged == digest => Ok((Created::Same, None)),
            Some(tagged) => Err(RegistryError::Moved {
                repository: repository.to_owned(),
                tag: tag.to_owned(),
                tagged: *tagged,
                digest: *digest,
            }),
            None => {
                there.tags.insert(tag.to_owned(), *digest);
                Ok((Created::New, Some(Change::Tagged(repository.to_owned(), *digest))))
            }
        }
    }
}

/// What a manifest or index names, and what it is about.
type Named = (Vec<Descriptor>, Option<(Digest, Referrer)>);

fn named(bytes: &[u8]) -> Result<Named, String> {
    if let Ok(index) = Index::from_slice(bytes) {
        return Ok((index.manifests, None));
    }
    let manifest = Manifest::from_slice(bytes).map_err(|error| error.to_string())?;
    let artifact_type = manifest.artifact_type.unwrap_or_default();
    let subject = manifest.subject.map(|subject| {
        let media_type = kdistro_formats::oci::MANIFEST.to_owned();
        let (digest, annotations) = (subject.digest, manifest.annotations);
        (digest, Referrer { digest, size: 0, media_type, artifact_type, annotations })
    });
    Ok((manifest.layers.into_iter().chain([manifest.config]).collect(), subject))
}

/// The store, as the verifier reads it.
impl Reader for World {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
        Ok(self.read(name).map(|bytes| Box::new(bytes) as Box<dyn Read>))
    }

    fn list(&self, prefix: &str) -> io::Result<Option<Vec<String>>> {
        let folder = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Some(self.names(&folder)))
    }

    fn place(&self) -> String {
        "the world".to_owned()
    }
}
