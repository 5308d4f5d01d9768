//! A registry behind the OCI distribution API.
//!
//! Plain http is for this machine only. What was found or pushed once is not asked for again, and mounted from one
//! repository into another where the registry allows it.

mod access;
pub mod answers;
mod connection;
mod error;
mod manifests;
mod referrers;
mod scope;
mod secrets;
mod seen;
mod tags;
mod upload;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kdistro_formats::Digest;
use kdistro_verify::hash::sha256;
use ureq::http::{Method, StatusCode, header};

use self::{
    connection::{Call, Connection, document, text, whole},
    error::HttpError,
    referrers::LARGEST_LIST,
    scope::Scope,
    seen::{Kind, Seen},
    upload::check_digest,
};
use crate::{
    credentials::Credentials,
    http::{Client, Reach, Site},
    manifest::Manifest,
    registry::{Referrer, Registry, RegistryError, check_repository},
    store::{Content, Created, Stored},
};

/// Where a registry is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Address<'a> {
    /// Such as `https://registry.example.org:5000`; http on this machine only.
    pub url: &'a str,
    /// What stands before every repository's name, such as `team/kdistro`; may be empty.
    pub prefix: &'a str,
    /// Certificate authorities in PEM that are trusted in place of the public ones.
    pub ca: Option<&'a [u8]>,
}

/// A registry that is reached over the OCI distribution API.
///
/// A tag is looked up before and after it is set. Of several who set one at the same moment through one of these,
/// exactly one wins; among machines only a registry with immutable tags can promise that, and who lost is told.
#[derive(Clone)]
pub struct HttpRegistry {
    connection: Connection,
    site: Site,
    reach: Reach,
    credentials: Arc<dyn Credentials>,
    /// Empty, or with a slash at its end.
    prefix: String,
    takes_fallback_tags: bool,
    has_login: bool,
    seen: Seen,
    /// Held while a tag of a repository is compared and set.
    tags: Arc<Mutex<BTreeMap<String, Arc<Mutex<()>>>>>,
}

impl HttpRegistry {
    /// Takes the address of a registry and what to show it. Nothing is sent yet.
    pub fn open(
        address: Address<'_>,
        credentials: Arc<dyn Credentials>,
    ) -> Result<Self, RegistryError> {
        let wrong = |expected: &str| RegistryError::Address {
            address: site_of(address.url),
            what: format!("is not the address of a registry; expected {expected}"),
        };
        let (site, rest) = Site::split(address.url).map_err(wrong)?;
        if !matches!(rest, "" | "/") {
            return Err(wrong("no path"));
        }
        let mut prefix = address.prefix.trim_end_matches('/').to_owned();
        if !prefix.is_empty() {
            check_repository(&prefix)?;
            prefix.push('/');
        }
        let ca = address.ca.map(<[u8]>::to_owned);
        let reach = Reach { ca, ..Reach::default() };
        let connection = connect(&site, &reach, &credentials)?;
        Ok(Self {
            connection,
            site,
            reach,
            credentials,
            prefix,
            takes_fallback_tags: true,
            has_login: false,
            seen: Seen::default(),
            tags: Arc::default(),
        })
    }

    /// Trusts the public certificate authorities beside those of the address.
    pub fn with_public_authorities(mut self) -> Result<Self, RegistryError> {
        self.reach.trusts_public = true;
        self.connection = connect(&self.site, &self.reach, &self.credentials)?;
        Ok(self)
    }

    /// Goes through a proxy, unless the registry is on this machine.
    pub fn with_proxy(mut self, proxy: &str) -> Result<Self, RegistryError> {
        self.reach.proxy = Some(proxy.to_owned()).filter(|_| !self.site.is_local());
        self.connection = connect(&self.site, &self.reach, &self.credentials)?;
        Ok(self)
    }

    /// Says in refusals that `docker login` helps: for credentials that are where docker keeps them.
    #[must_use]
    pub fn with_docker_login(self) -> Self {
        Self { has_login: true, ..self }
    }

    /// Refuses to list referrers behind a tag where the registry keeps none itself: for registries whose tags never change.
    #[must_use]
    pub fn without_fallback_tags(self) -> Self {
        Self { takes_fallback_tags: false, ..self }
    }

    /// Returns the name of a repository in the registry.
    fn full(&self, repository: &str) -> String {
        format!("{}{repository}", self.prefix)
    }

    fn check(&self, repository: &str) -> Result<(), RegistryError> {
        check_repository(repository)?;
        if self.prefix.is_empty() { Ok(()) } else { check_repository(&self.full(repository)) }
    }

    /// Says what was not done, and why. Whatever servers say is told through this, and nothing secret in it.
    fn service(
        &self,
        repository: &str,
        action: &'static str,
    ) -> impl Fn(HttpError) -> RegistryError {
        let repository = repository.to_owned();
        move |error| {
            let error = error.without(|text| self.connection.hide(text));
            let source = Box::new(error.of_registry(self.site.authority(), self.has_login));
            RegistryError::Service { repository: repository.clone(), action, source }
        }
    }

    /// Returns the lock of the tags of a repository.
    fn held(&self, repository: &str) -> Arc<Mutex<()>> {
        Arc::clone(locked(&self.tags).entry(repository.to_owned()).or_default())
    }

    /// Returns the size of a blob or manifest where the registry tells it, or `None` when it is not there.
    #[expect(
        clippy::option_option,
        reason = "there or not, and its length where the registry tells it"
    )]
    fn size(
        &self,
        repository: &str,
        kind: Kind,
        digest: &Digest,
    ) -> Result<Option<Option<u64>>, HttpError> {
        let full = self.full(repository);
        let folder = if kind == Kind::Blob { "blobs" } else { "manifests" };
        let path = format!("/v2/{full}/{folder}/{digest}");
        let ask = |method| {
            let scope = Scope::pull(&full);
            self.connection.send(&Call { method, path: &path, scope, content: None })
        };
        let mut answer = ask(Method::HEAD)?;
        if answer.status() == StatusCode::METHOD_NOT_ALLOWED {
            // The content is not read: the connection ends with the answer.
            answer = ask(Method::GET)?;
        }
        let size = match answer.status() {
            StatusCode::OK => {
                check_digest(&format!("HEAD {path}"), &answer, digest)?;
                text(&answer, header::CONTENT_LENGTH).and_then(|length| length.parse().ok())
            }
            // The blob lies elsewhere, but it is there.
            status if status.is_redirection() => None,
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => return Ok(None),
            _ => return Err(self.connection.refused(format!("HEAD {path}"), answer)),
        };
        self.seen.note(kind, digest, repository, size);
        Ok(Some(size))
    }

    /// Returns a manifest by digest or tag.
    fn fetch(&self, repository: &str, which: &str) -> Result<Option<Vec<u8>>, HttpError> {
        let full = self.full(repository);
        let path = format!("/v2/{full}/manifests/{which}");
        whole(|| {
            let answer = self.connection.get(&path, &Scope::pull(&full))?;
            match answer.status() {
                StatusCode::OK => document(&format!("GET {path}"), answer).map(Some),
                StatusCode::NOT_FOUND => Ok(None),
                _ => Err(self.connection.refused(format!("GET {path}"), answer)),
            }
        })
    }
}

impl Registry for HttpRegistry {
    fn has_blob(&self, repository: &str, digest: &Digest) -> Result<bool, RegistryError> {
        self.check(repository)?;
        let found = self.size(repository, Kind::Blob, digest);
        Ok(found.map_err(self.service(repository, "look into"))?.is_some())
    }

    fn push_blob(&self, repository: &str, content: Content<'_>) -> Result<Created, RegistryError> {
        self.check(repository)?;
        let wanted = match content {
            Content::Bytes(bytes) => Stored { digest: sha256(bytes), size: bytes.len() as u64 },
            Content::File { digest, size, .. } => Stored { digest, size },
        };
        let is_seen = self.seen.size(Kind::Blob, &wanted.digest, repository).is_some();
        if is_seen || self.has_blob(repository, &wanted.digest)? {
            return Ok(Created::Same);
        }
        self.upload(repository, wanted, content)?;
        self.seen.note(Kind::Blob, &wanted.digest, repository, Some(wanted.size));
        Ok(Created::New)
    }

    fn push_manifest(&self, repository: &str, bytes: &[u8]) -> Result<Created, RegistryError> {
        self.check(repository)?;
        let digest = sha256(bytes);
        let manifest = Manifest::parse(repository, &digest, bytes)?;
        self.check_parts(repository, &digest, &manifest)?;
        let is_there = self.read_manifest(repository, &digest)?.is_some();
        if is_there && manifest.subject.is_none() {
            return Ok(Created::Same);
        }
        // A referrer is put again: its writer may have died before it was listed.
        let answer = self.put_whole(repository, &digest, (bytes, &manifest))?;
        // Anything but `201 Created` does not say that it is there.
        if answer.status() != StatusCode::CREATED
            && self.read_manifest(repository, &digest)?.is_none()
        {
            return Err(damaged(repository, format!("{digest} was pushed and is not there")));
        }
        let size = bytes.len() as u64;
        self.seen.note(Kind::Manifest, &digest, repository, Some(size));
        if let Some(subject) = manifest.subject {
            let referrer = manifest.referrer(digest, size);
            self.list_referrer(repository, &subject, &referrer, &answer)?;
        }
        Ok(if is_there { Created::Same } else { Created::New })
    }

    fn read_manifest(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<Vec<u8>>, RegistryError> {
        self.check(repository)?;
        let read = self.fetch(repository, &digest.to_string());
        let Some(bytes) = read.map_err(self.service(repository, "read"))? else { return Ok(None) };
        let found = sha256(&bytes);
        if found != *digest {
            return Err(damaged(repository, format!("it gives {found} for {digest}")));
        }
        self.seen.note(Kind::Manifest, digest, repository, Some(bytes.len() as u64));
        Ok(Some(bytes))
    }

    fn tag(&self, repository: &str, tag: &str, digest: &Digest) -> Result<Created, RegistryError> {
        self.set_tag(repository, tag, digest)
    }

    fn resolve(&self, repository: &str, tag: &str) -> Result<Option<Digest>, RegistryError> {
        self.tagged(repository, tag)
    }

    fn referrers(
        &self,
        repository: &str,
        subject: &Digest,
    ) -> Result<Vec<Referrer>, RegistryError> {
        self.check(repository)?;
        let (mut found, mut read) = (Vec::new(), 0);
        let digests: BTreeSet<_> =
            self.referrer_digests(repository, subject)?.into_iter().collect();
        for digest in digests {
            let Some(bytes) = self.read_manifest(repository, &digest)? else {
                let by = format!("the list of the referrers of {subject}");
                let repository = repository.to_owned();
                return Err(RegistryError::Missing { repository, missing: digest, by });
            };
            read += bytes.len() as u64;
            if read > LARGEST_LIST {
                let what = format!(
                    "the referrers of {subject} have more than {LARGEST_LIST} bytes together"
                );
                return Err(damaged(repository, what));
            }
            // The registry chooses what is read here, and so what is said of it.
            let manifest = Manifest::read(&bytes).map_err(|what| {
                let (repository, what) = (repository.to_owned(), self.connection.hide(&what));
                RegistryError::Manifest { repository, digest, what }
            })?;
            // Only what the manifest itself says counts.
            if manifest.subject == Some(*subject) {
                found.push(manifest.referrer(digest, bytes.len() as u64));
            }
        }
        Ok(found)
    }
}

impl fmt::Debug for HttpRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("HttpRegistry");
        shown.field("site", &self.site).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

fn connect(
    site: &Site,
    reach: &Reach,
    credentials: &Arc<dyn Credentials>,
) -> Result<Connection, RegistryError> {
    let wrong = |error: crate::http::ReachError| RegistryError::Address {
        address: site.address(""),
        what: format!("cannot be reached: {error}"),
    };
    let client = Client::new(reach).map_err(wrong)?;
    Ok(Connection::new(site.clone(), client, Arc::clone(credentials)))
}

/// What may be shown of an address that is none: passwords can stand before its host, tokens behind it.
fn site_of(address: &str) -> String {
    Site::split(address).map_or_else(|_| "…".to_owned(), |(site, _)| site.address("/…"))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn damaged(repository: &str, what: String) -> RegistryError {
    RegistryError::Damaged { repository: repository.to_owned(), what }
}
