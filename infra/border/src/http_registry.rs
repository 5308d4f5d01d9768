//! A registry behind the OCI distribution API, without a password: on this machine, or any that trusts the network.

mod connection;

use std::{
    collections::BTreeMap,
    fs::File,
    io::Seek,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kdistro_formats::{Digest, canonical};
use kdistro_verify::hash::{sha256, sha256_of};
use serde_json::{Value, json};
use ureq::{
    Body,
    http::{Response, StatusCode, header},
};

use self::connection::{Connection, HttpError, Sent, document, refused};
use crate::{
    manifest::{INDEXES, Manifest, Part},
    registry::{Referrer, Registry, RegistryError, check_repository, check_tag},
    store::{Content, Created, Stored},
};

/// The header by which a registry says that it keeps referrers itself.
///
/// Source: OCI distribution-spec 1.1, "Pushing Manifests with Subject".
const KEEPS_REFERRERS: &str = "OCI-Subject";

/// A registry that is reached over the OCI distribution API.
///
/// A tag is looked up before and after it is set. Of several who set one at the same moment through one of these,
/// exactly one wins; among machines only a registry with immutable tags can promise that, and who lost is told.
#[derive(Clone, Debug)]
pub struct HttpRegistry {
    connection: Connection,
    /// In which repository a blob is known to be, so that it can be mounted into another.
    known: Arc<Mutex<BTreeMap<Digest, String>>>,
    /// Held while a tag is compared and set.
    tags: Arc<Mutex<()>>,
}

impl HttpRegistry {
    /// Takes the address of a registry, such as `https://registry.example.org`; http on this machine only.
    pub fn new(address: &str) -> Result<Self, RegistryError> {
        let connection = Connection::new(address).map_err(service("", "reach"))?;
        Ok(Self { connection, known: Arc::default(), tags: Arc::default() })
    }

    /// Returns the size of a blob or manifest, or `None` when it is not there; `kind` is `blobs` or `manifests`.
    #[expect(
        clippy::option_option,
        reason = "there or not, and its length where the registry tells it"
    )]
    fn size(
        &self,
        repository: &str,
        kind: &str,
        digest: &Digest,
    ) -> Result<Option<Option<u64>>, HttpError> {
        let path = format!("/v2/{repository}/{kind}/{digest}");
        let answer = self.connection.send("HEAD", &path, Sent::Nothing)?;
        match answer.status() {
            StatusCode::OK => {
                let length = answer.headers().get(header::CONTENT_LENGTH);
                Ok(Some(length.and_then(|length| length.to_str().ok()?.parse().ok())))
            }
            // The blob lies elsewhere, but it is there.
            status if status.is_redirection() => Ok(Some(None)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(refused(format!("HEAD {path}"), answer)),
        }
    }

    /// Returns a manifest by digest or tag.
    fn fetch(&self, repository: &str, which: &str) -> Result<Option<Vec<u8>>, HttpError> {
        let path = format!("/v2/{repository}/manifests/{which}");
        let answer = self.connection.send("GET", &path, Sent::Nothing)?;
        match answer.status() {
            StatusCode::OK => document(&format!("GET {path}"), answer).map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(refused(format!("GET {path}"), answer)),
        }
    }

    fn put(
        &self,
        repository: &str,
        which: &str,
        (bytes, media_type): (&[u8], &str),
    ) -> Result<Response<Body>, HttpError> {
        let path = format!("/v2/{repository}/manifests/{which}");
        let answer = self.connection.send("PUT", &path, Sent::Bytes(bytes, media_type))?;
        if answer.status() == StatusCode::CREATED {
            return Ok(answer);
        }
        Err(refused(format!("PUT {path}"), answer))
    }

    /// Begins an upload, or mounts the blob from another repository: then there is nothing left to send.
    fn begin(&self, repository: &str, digest: &Digest) -> Result<Option<String>, HttpError> {
        let known = locked(&self.known).get(digest).cloned();
        let from = known.filter(|known| known != repository);
        let mount = from.map_or_else(String::new, |from| format!("?mount={digest}&from={from}"));
        let path = format!("/v2/{repository}/blobs/uploads/{mount}");
        let answer = self.connection.send("POST", &path, Sent::Nothing)?;
        let location = answer.headers().get(header::LOCATION);
        let location = location.and_then(|value| value.to_str().ok()).map(str::to_owned);
        match (answer.status(), location) {
            (StatusCode::CREATED, _) => Ok(None),
            (StatusCode::ACCEPTED, Some(location)) => Ok(Some(location)),
            (StatusCode::ACCEPTED, None) => Err(HttpError::Answer(format!("POST {path}"))),
            _ => Err(refused(format!("POST {path}"), answer)),
        }
    }

    fn upload(&self, repository: &str, digest: &Digest, sent: Sent<'_>) -> Result<(), HttpError> {
        let Some(location) = self.begin(repository, digest)? else { return Ok(()) };
        let joint = if location.contains('?') { '&' } else { '?' };
        let answer =
            self.connection.send("PUT", &format!("{location}{joint}digest={digest}"), sent)?;
        if answer.status() == StatusCode::CREATED {
            return Ok(());
        }
        Err(refused(format!("PUT {digest}"), answer))
    }

    /// Refuses a manifest of which a part is not there, or has another size: not every registry does.
    fn check_parts(
        &self,
        repository: &str,
        digest: &Digest,
        manifest: &Manifest,
    ) -> Result<(), RegistryError> {
        let kind = if manifest.is_index { "manifests" } else { "blobs" };
        for Part { digest: part, size } in &manifest.parts {
            let found = self.size(repository, kind, part).map_err(service(repository, "look into"));
            let Some(found) = found? else {
                let (repository, by) = (repository.to_owned(), digest.to_string());
                return Err(RegistryError::Missing { repository, missing: *part, by });
            };
            if let Some(found) = found.filter(|found| found != size) {
                let what = format!("{part} has {found} bytes, but it says {size}");
                let repository = repository.to_owned();
                return Err(RegistryError::Manifest { repository, digest: *digest, what });
            }
        }
        Ok(())
    }

    /// Adds a referrer to the tag that stands for the referrers of its subject, where the registry keeps none itself.
    ///
    /// Source: OCI distribution-spec 1.1, "Referrers Tag Schema": the one tag whose content changes.
    fn list_referrer(
        &self,
        repository: &str,
        subject: &Digest,
        referrer: &Referrer,
    ) -> Result<(), RegistryError> {
        let _held = locked(&self.tags);
        let tag = referrers_tag(subject);
        let failed = |error| service(repository, "list a referrer in")(error);
        let bytes = self.fetch(repository, &tag).map_err(failed)?;
        let mut listed =
            bytes.map_or_else(|| Ok(Vec::new()), |bytes| entries(repository, &bytes))?;
        let digest = referrer.digest.to_string();
        let is_it = |entry: &Value| entry.get("digest").and_then(Value::as_str) == Some(&digest);
        if listed.iter().any(is_it) {
            return Ok(());
        }
        listed.push(json!({
            "mediaType": referrer.media_type, "digest": digest, "size": referrer.size,
            "artifactType": referrer.artifact_type, "annotations": referrer.annotations,
        }));
        let [index, _] = INDEXES;
        let index_document = json!({"schemaVersion": 2, "mediaType": index, "manifests": listed});
        let bytes = canonical::to_vec(&index_document)
            .map_err(|error| damaged(repository, error.to_string()))?;
        self.put(repository, &tag, (&bytes, index)).map(drop).map_err(failed)
    }

    /// Lists the digests of the referrers of a manifest, as the registry or its tag says.
    fn referrer_digests(
        &self,
        repository: &str,
        subject: &Digest,
    ) -> Result<Vec<Digest>, RegistryError> {
        let failed = |error| service(repository, "list referrers in")(error);
        let path = format!("/v2/{repository}/referrers/{subject}");
        let answer = self.connection.send("GET", &path, Sent::Nothing).map_err(failed)?;
        let bytes = match answer.status() {
            StatusCode::OK => Some(document(&path, answer).map_err(failed)?),
            StatusCode::NOT_FOUND => {
                self.fetch(repository, &referrers_tag(subject)).map_err(failed)?
            }
            _ => return Err(failed(refused(format!("GET {path}"), answer))),
        };
        let Some(bytes) = bytes else { return Ok(Vec::new()) };
        let entries = entries(repository, &bytes)?;
        let digest = |entry: &Value| entry.get("digest")?.as_str()?.parse().ok();
        let digests = entries.iter().map(digest).collect::<Option<Vec<_>>>();
        digests.ok_or_else(|| damaged(repository, format!("the referrers of {subject}")))
    }
}

impl Registry for HttpRegistry {
    fn has_blob(&self, repository: &str, digest: &Digest) -> Result<bool, RegistryError> {
        check_repository(repository)?;
        let found = self.size(repository, "blobs", digest);
        Ok(found.map_err(service(repository, "look into"))?.is_some())
    }

    fn push_blob(&self, repository: &str, content: Content<'_>) -> Result<Created, RegistryError> {
        let digest = match content {
            Content::Bytes(bytes) => sha256(bytes),
            Content::File { digest, .. } => digest,
        };
        if self.has_blob(repository, &digest)? {
            locked(&self.known).insert(digest, repository.to_owned());
            return Ok(Created::Same);
        }
        let failed = service(repository, "push to");
        match content {
            Content::Bytes(bytes) => {
                let sent = Sent::Bytes(bytes, "application/octet-stream");
                self.upload(repository, &digest, sent).map_err(failed)?;
            }
            Content::File { path, digest, size } => {
                let file = checked(repository, path, Stored { digest, size })?;
                self.upload(repository, &digest, Sent::File(&file)).map_err(failed)?;
            }
        }
        locked(&self.known).insert(digest, repository.to_owned());
        Ok(Created::New)
    }

    fn push_manifest(&self, repository: &str, bytes: &[u8]) -> Result<Created, RegistryError> {
        check_repository(repository)?;
        let digest = sha256(bytes);
        let manifest = Manifest::parse(repository, &digest, bytes)?;
        self.check_parts(repository, &digest, &manifest)?;
        let there = self.read_manifest(repository, &digest)?.is_some();
        if there && manifest.subject.is_none() {
            return Ok(Created::Same);
        }
        // A referrer is put again: its writer may have died before it was listed.
        let put = self.put(repository, &digest.to_string(), (bytes, &manifest.media_type));
        let answer = put.map_err(service(repository, "push to"))?;
        if let Some(subject) = manifest.subject
            && answer.headers().get(KEEPS_REFERRERS).is_none()
        {
            let referrer = manifest.referrer(digest, bytes.len() as u64);
            self.list_referrer(repository, &subject, &referrer)?;
        }
        Ok(if there { Created::Same } else { Created::New })
    }

    fn read_manifest(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<Vec<u8>>, RegistryError> {
        check_repository(repository)?;
        let read = self.fetch(repository, &digest.to_string());
        let Some(bytes) = read.map_err(service(repository, "read"))? else { return Ok(None) };
        let found = sha256(&bytes);
        if found != *digest {
            return Err(damaged(repository, format!("it gives {found} for {digest}")));
        }
        Ok(Some(bytes))
    }

    fn tag(&self, repository: &str, tag: &str, digest: &Digest) -> Result<Created, RegistryError> {
        check_tag(tag)?;
        let Some(bytes) = self.read_manifest(repository, digest)? else {
            let (repository, by) = (repository.to_owned(), format!("`{tag}`"));
            return Err(RegistryError::Missing { repository, missing: *digest, by });
        };
        let manifest = Manifest::parse(repository, digest, &bytes)?;
        let _held = locked(&self.tags);
        let is_it = |tagged: Option<Digest>| match tagged {
            Some(tagged) if tagged != *digest => Err(RegistryError::Moved {
                repository: repository.to_owned(),
                tag: tag.to_owned(),
                tagged,
                digest: *digest,
            }),
            other => Ok(other.is_some()),
        };
        if is_it(self.resolve(repository, tag)?)? {
            return Ok(Created::Same);
        }
        let put = self.put(repository, tag, (&bytes, &manifest.media_type));
        put.map_err(service(repository, "tag in"))?;
        if is_it(self.resolve(repository, tag)?)? {
            return Ok(Created::New);
        }
        Err(damaged(repository, format!("the tag `{tag}` was set and is not there")))
    }

    fn resolve(&self, repository: &str, tag: &str) -> Result<Option<Digest>, RegistryError> {
        check_repository(repository)?;
        check_tag(tag)?;
        let read = self.fetch(repository, tag).map_err(service(repository, "read"))?;
        Ok(read.map(|bytes| sha256(&bytes)))
    }

    fn referrers(
        &self,
        repository: &str,
        subject: &Digest,
    ) -> Result<Vec<Referrer>, RegistryError> {
        check_repository(repository)?;
        let mut found = Vec::new();
        for digest in self.referrer_digests(repository, subject)? {
            let Some(bytes) = self.read_manifest(repository, &digest)? else {
                let (repository, by) = (repository.to_owned(), referrers_tag(subject));
                return Err(RegistryError::Missing { repository, missing: digest, by });
            };
            let manifest = Manifest::parse(repository, &digest, &bytes)?;
            // Only what the manifest itself says counts.
            if manifest.subject == Some(*subject) {
                found.push(manifest.referrer(digest, bytes.len() as u64));
            }
        }
        found.sort_by_key(|referrer| referrer.digest);
        Ok(found)
    }
}

/// Opens a file that is to be pushed, and refuses it when it is not what was said.
fn checked(repository: &str, path: &Path, expected: Stored) -> Result<File, RegistryError> {
    let failed = |source| RegistryError::Io {
        repository: repository.to_owned(),
        action: "read",
        path: path.display().to_string(),
        source,
    };
    let mut file = File::open(path).map_err(failed)?;
    let (digest, size) = sha256_of(&file).map_err(failed)?;
    let found = Stored { digest, size };
    if found != expected {
        return Err(RegistryError::Changed {
            repository: repository.to_owned(),
            file: path.display().to_string(),
            expected: Box::new(expected),
            found: Box::new(found),
        });
    }
    file.rewind().map_err(failed)?;
    Ok(file)
}

/// Reads the entries of an index.
fn entries(repository: &str, bytes: &[u8]) -> Result<Vec<Value>, RegistryError> {
    let document: Option<Value> = serde_json::from_slice(bytes).ok();
    let entries = document.as_ref().and_then(|document| document.get("manifests")?.as_array());
    let no_index = || damaged(repository, "its list of referrers is no index".to_owned());
    entries.cloned().ok_or_else(no_index)
}

/// Source: OCI distribution-spec 1.1, "Referrers Tag Schema".
fn referrers_tag(subject: &Digest) -> String {
    subject.to_string().replace(':', "-")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn damaged(repository: &str, what: String) -> RegistryError {
    RegistryError::Damaged { repository: repository.to_owned(), what }
}

fn service(repository: &str, action: &'static str) -> impl Fn(HttpError) -> RegistryError {
    let repository = repository.to_owned();
    move |source| RegistryError::Service {
        repository: repository.clone(),
        action,
        source: Box::new(source),
    }
}
