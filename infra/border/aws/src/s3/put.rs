//! Puts an object: whole, under a condition, with the SHA-256 that its content must have.

use std::{io::Read, path::Path};

use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::{
    config::http::HttpResponse,
    config::{
        Builder, ConfigBag, Intercept, RuntimeComponents,
        interceptors::BeforeTransmitInterceptorContextMut,
    },
    error::{BoxError, ProvideErrorMetadata, SdkError},
    primitives::ByteStream,
};
use aws_smithy_types::base64;
use kdistro_border::{Content, Created, StoreError, Stored, plain};
use kdistro_formats::digest::hex;
use kdistro_verify::hash::{sha256, sha256_of};

use super::{
    S3Store,
    body::{self, Fault},
    failed,
    headers::{Headers, NOT_CACHED},
    object::{DIGEST, SWAP},
    parts::MULTIPART,
};
use crate::error::AwsError;

/// Files up to this size are read and checked before they are sent.
const SMALL: u64 = 256 * 1024;
/// How often a write is repeated that met another one at the same time.
const TRIES: usize = 5;

/// When an object may be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition<'a> {
    /// Always, where the store knows no conditions.
    None,
    /// Always: whatever lies there is replaced, again and again.
    Over,
    /// Where there is none.
    Absent,
    /// In place of this version of it.
    Version(&'a str),
}

/// What putting came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was stored.
    Stored,
    /// The condition did not hold, or somebody else wrote at the same time.
    Refused,
}

/// An object to put.
#[derive(Clone, Copy)]
pub(super) struct Put<'a> {
    pub(super) name: &'a str,
    pub(super) stored: Stored,
    pub(super) condition: Condition<'a>,
    /// What tells this swap from all others.
    pub(super) swap: Option<&'a str>,
}

/// Hashes bytes.
pub(super) fn of_bytes(bytes: &[u8]) -> Stored {
    Stored { digest: sha256(bytes), size: bytes.len() as u64 }
}

impl S3Store {
    /// Stores content under a name that never changes.
    pub(super) async fn put_new(
        &self,
        name: &str,
        content: Content<'_>,
    ) -> Result<Created, StoreError> {
        let stored = match content {
            Content::Bytes(bytes) => of_bytes(bytes),
            Content::File { digest, size, .. } => Stored { digest, size },
        };
        // Content is sent at once, for who uploads has looked at a listing: mostly it is new. Without conditions one asks.
        if !self.settings.conditional_writes
            && let Some(created) = self.present(name, stored).await?
        {
            return Ok(created);
        }
        self.try_conditions(name).await?;
        for _ in 0..TRIES {
            let outcome = match self.put_content(name, stored, content).await {
                // What is there already decides, before the file does.
                Err(error @ StoreError::Changed { .. }) => {
                    return self.present(name, stored).await?.ok_or(error);
                }
                other => other?,
            };
            if outcome == Outcome::Stored && self.settings.conditional_writes {
                return Ok(Created::New);
            }
            // Refused, or a store without conditions: what is there now?
            if let Some(created) = self.present(name, stored).await? {
                let is_new = outcome == Outcome::Stored;
                return Ok(if is_new { Created::New } else { created });
            }
        }
        let what = format!("refused to store the object {TRIES} times and does not have it");
        Err(self.unfit(name, what))
    }

    /// Compares what is there with what is to be stored; `None` when nothing is.
    async fn present(&self, name: &str, wanted: Stored) -> Result<Option<Created>, StoreError> {
        let Some(published) = self.stored(name).await? else { return Ok(None) };
        if published.digest == wanted.digest {
            return Ok(Some(Created::Same));
        }
        let (published, digest) = (published.digest, wanted.digest);
        Err(StoreError::Conflict { name: name.to_owned(), published, digest })
    }

    async fn put_content(
        &self,
        name: &str,
        stored: Stored,
        content: Content<'_>,
    ) -> Result<Outcome, StoreError> {
        if stored.size >= MULTIPART {
            return self.put_parts(name, stored, content).await;
        }
        let condition = self.absent();
        let put = Put { name, stored, condition, swap: None };
        let (body, fault) = match content {
            Content::Bytes(bytes) => (ByteStream::from(bytes.to_vec()), Fault::default()),
            Content::File { path, .. } if stored.size <= SMALL => {
                (ByteStream::from(read_small(name, path, stored)?), Fault::default())
            }
            Content::File { path, .. } => {
                let (body, fault) = body::of_file(path, stored).map_err(unreadable(name, path))?;
                (ByteStream::new(body), fault)
            }
        };
        let outcome = self.put_unless(put, body, fault.clone()).await;
        if let (Some(broken), Content::File { path, .. }) = (fault.take(), content) {
            return Err(broken.into_error(name, path, stored));
        }
        outcome.map_err(|error| failed(name, error))
    }

    /// The condition under which a name is created.
    pub(super) fn absent(&self) -> Condition<'static> {
        if self.settings.conditional_writes { Condition::Absent } else { Condition::None }
    }

    /// Puts an object in one request.
    pub(super) async fn put(&self, put: Put<'_>, body: ByteStream) -> Result<Outcome, AwsError> {
        self.put_unless(put, body, Fault::default()).await
    }

    /// Puts an object in one request, which is not repeated once a fault is known.
    async fn put_unless(
        &self,
        put: Put<'_>,
        body: ByteStream,
        fault: Fault,
    ) -> Result<Outcome, AwsError> {
        let Put { name, stored, condition, swap } = put;
        let headers = match condition {
            Condition::Over => Headers { cache_control: NOT_CACHED, ..Headers::of(name) },
            _ => Headers::of(name),
        };
        let checksum = base64::encode(stored.digest.as_bytes());
        let (absent, version) = match condition {
            Condition::None | Condition::Over => (None, None),
            Condition::Absent => (Some("*".to_owned()), None),
            Condition::Version(etag) => (None, Some(etag.to_owned())),
        };
        let request = self
            .client
            .put_object()
            .bucket(&self.settings.bucket)
            .key(self.key(name))
            .set_if_none_match(absent)
            .set_if_match(version)
            .checksum_sha256(&checksum)
            .content_length(i64::try_from(stored.size).unwrap_or(i64::MAX))
            .content_type(headers.content_type)
            .cache_control(headers.cache_control)
            .metadata(DIGEST, stored.digest.to_string());
        let request = match swap {
            Some(swap) => request.metadata(SWAP, swap),
            None => request,
        };
        let request = request.body(body).customize().interceptor(Signed::of(&stored));
        let request = request.config_override(Builder::new().retry_classifier(fault));
        match request.send().await {
            Ok(answer) if answer.checksum_sha256().is_some_and(|said| said != checksum) => {
                Err(AwsError::unfit(self.target(), "stored other content than was sent"))
            }
            Ok(_) => Ok(Outcome::Stored),
            Err(error) if is_refused(&error) => Ok(Outcome::Refused),
            Err(error) => Err(AwsError::of(self.target(), &error)),
        }
    }

    /// Stores a document in place of whatever has its name.
    pub(super) async fn put_over(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let put = Put { name, stored: of_bytes(bytes), condition: Condition::Over, swap: None };
        match self.put(put, ByteStream::from(bytes.to_vec())).await {
            Ok(Outcome::Stored) => Ok(()),
            Ok(Outcome::Refused) => Err(self.unfit(name, "is written by somebody else".to_owned())),
            Err(error) => Err(failed(name, error)),
        }
    }

    /// Replaces a document that may change, if it is still `old`.
    pub(super) async fn replace(
        &self,
        name: &str,
        old: Option<&[u8]>,
        new: &[u8],
    ) -> Result<bool, StoreError> {
        self.try_conditions(name).await?;
        let swap = unique().map_err(|error| failed(name, error))?;
        for _ in 0..TRIES {
            let found = self.fetch(name).await?;
            let seen = found.as_ref().map(|(bytes, _)| bytes.as_slice());
            if seen != old {
                return Ok(false);
            }
            let etag = found.as_ref().and_then(|(_, facts)| facts.etag.as_deref());
            let condition = match (etag, self.settings.conditional_writes) {
                (_, false) => Condition::None,
                (Some(etag), true) => Condition::Version(etag),
                (None, true) if found.is_some() => {
                    return Err(self.unfit(name, "does not say the ETag of the object".to_owned()));
                }
                (None, true) => Condition::Absent,
            };
            let put = Put { name, stored: of_bytes(new), condition, swap: Some(&swap) };
            let outcome = self.put(put, ByteStream::from(new.to_vec())).await;
            let outcome = outcome.map_err(|error| failed(name, error))?;
            if outcome == Outcome::Stored && self.settings.conditional_writes {
                return Ok(true);
            }
            // An answer may have been lost, and the repeat refused because of what the first request did.
            let facts = self.facts(name).await?;
            if facts.is_some_and(|facts| facts.swap.as_deref() == Some(swap.as_str())) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Reads a small file, which must be what was said.
fn read_small(name: &str, path: &Path, expected: Stored) -> Result<Vec<u8>, StoreError> {
    let file = plain::read(path).map_err(unreadable(name, path))?;
    let mut bytes = Vec::new();
    let read = file.take(expected.size + 1).read_to_end(&mut bytes);
    read.map_err(unreadable(name, path))?;
    let mut found = of_bytes(&bytes);
    if found.size > expected.size {
        let (digest, size) =
            plain::read(path).and_then(sha256_of).map_err(unreadable(name, path))?;
        found = Stored { digest, size };
    }
    if found == expected { Ok(bytes) } else { Err(changed(name, path, (expected, found))) }
}

pub(super) fn unreadable(name: &str, path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    move |source| StoreError::Io {
        name: name.to_owned(),
        action: "read",
        path: path.display().to_string(),
        source,
    }
}

pub(super) fn changed(name: &str, path: &Path, (expected, found): (Stored, Stored)) -> StoreError {
    StoreError::Changed {
        name: name.to_owned(),
        file: path.display().to_string(),
        expected: Box::new(expected),
        found: Box::new(found),
    }
}

/// Tells whether a condition did not hold, or somebody else wrote at the same time.
///
/// Source: Amazon S3, "How to prevent object overwrites with conditional writes", 412, 409 and 404.
pub(super) fn is_refused<E>(error: &SdkError<E, HttpResponse>) -> bool
where
    E: ProvideErrorMetadata,
{
    let SdkError::ServiceError(refused) = error else { return false };
    let code = refused.err().code();
    let is_gone = matches!(code, Some("NoSuchKey" | "NoSuchUpload"));
    is_gone || matches!(refused.raw().status().as_u16(), 412 | 409)
}

/// Returns a text that nobody else has.
fn unique() -> Result<String, AwsError> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| AwsError::unfit("the cryptographic library", "has no random numbers"))?;
    Ok(hex(&bytes))
}

/// Signs a request with the known digest of its content, which is then not hashed again.
#[derive(Debug)]
pub(super) struct Signed(String);

impl Signed {
    pub(super) fn of(stored: &Stored) -> Self {
        Self(stored.digest.hex())
    }
}

impl Intercept for Signed {
    fn name(&self) -> &'static str {
        "Signed"
    }

    fn modify_before_signing(
        &self,
        _: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        settings: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let digest = PayloadSigningOverride::Precomputed(self.0.clone());
        settings.interceptor_state().store_put(digest);
        Ok(())
    }
}
