//! What is stored: read whole, or told by its headers; in both cases it must be what was put.

use std::{collections::HashMap, error::Error, io, io::Write};

use aws_sdk_s3::{
    operation::{
        get_object::{GetObjectError, GetObjectOutput},
        head_object::{HeadObjectError, HeadObjectOutput},
    },
    types::ChecksumMode,
};
use aws_smithy_types::base64;
use kdistro_border::{StoreError, Stored, store::LARGEST_DOCUMENT};
use kdistro_formats::Digest;
use kdistro_verify::hash::{Hasher, sha256};

use super::{S3Store, failed};
use crate::error::AwsError;

/// The metadata that holds the SHA-256 of the whole content.
pub(super) const DIGEST: &str = "kdistro-sha256";
/// The metadata that tells one swap from another.
pub(super) const SWAP: &str = "kdistro-swap";
/// The header that asks for the checksum of an object.
const CHECKSUM_MODE: &str = "x-amz-checksum-mode";
/// How often content is asked for whose connection breaks in the middle.
const READS: usize = 3;

/// What the headers of an object say.
pub(super) struct Facts {
    /// The digest, where the store or whoever stored it says one.
    digest: Option<Digest>,
    size: u64,
    /// The version of the content, as conditions name it.
    pub(super) etag: Option<String>,
    /// Which swap put it there.
    pub(super) swap: Option<String>,
}

impl Facts {
    fn of_head(head: &HeadObjectOutput) -> Result<Self, String> {
        let facts = Self::of(head.checksum_sha256(), head.metadata(), head.content_length())?;
        Ok(Self { etag: head.e_tag().map(str::to_owned), ..facts })
    }

    fn of_answer(answer: &GetObjectOutput) -> Result<Self, String> {
        let length = answer.content_length();
        let facts = Self::of(answer.checksum_sha256(), answer.metadata(), length)?;
        Ok(Self { etag: answer.e_tag().map(str::to_owned), ..facts })
    }

    fn of(
        checksum: Option<&str>,
        metadata: Option<&HashMap<String, String>>,
        length: Option<i64>,
    ) -> Result<Self, String> {
        let swap = metadata.and_then(|metadata| metadata.get(SWAP)).cloned();
        Ok(Self { digest: recorded(checksum, metadata)?, size: size(length)?, etag: None, swap })
    }
}

fn size(length: Option<i64>) -> Result<u64, String> {
    let size = length.and_then(|length| u64::try_from(length).ok());
    size.ok_or_else(|| "does not say how long the object is".to_owned())
}

/// Returns the digest that was recorded, and refuses two that differ.
fn recorded(
    checksum: Option<&str>,
    metadata: Option<&HashMap<String, String>>,
) -> Result<Option<Digest>, String> {
    // A sum of sums ends with `-` and the number of parts: it says nothing about the whole.
    let checksum = checksum.filter(|checksum| !checksum.contains('-'));
    let computed = checksum.map(|text| {
        let bytes = base64::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Digest::from_bytes).ok_or_else(|| "answers with a bad checksum".to_owned())
    });
    let computed = computed.transpose()?;
    let said = metadata.and_then(|metadata| metadata.get(DIGEST));
    let said = said.map(|text| text.parse::<Digest>().map_err(|_| bad_metadata()));
    let said = said.transpose()?;
    match (computed, said) {
        (Some(computed), Some(said)) if computed != said => {
            Err(format!("holds {computed}, not {said} which was stored"))
        }
        (computed, said) => Ok(computed.or(said)),
    }
}

fn bad_metadata() -> String {
    format!("holds an object whose metadata `{DIGEST}` is no digest")
}

impl S3Store {
    /// Asks for what the headers of an object say.
    pub(super) async fn facts(&self, name: &str) -> Result<Option<Facts>, StoreError> {
        let request = self.client.head_object().bucket(&self.settings.bucket).key(self.key(name));
        match request.checksum_mode(ChecksumMode::Enabled).send().await {
            Ok(head) => Facts::of_head(&head).map(Some).map_err(|what| self.unfit(name, what)),
            Err(error) if error.as_service_error().is_some_and(HeadObjectError::is_not_found) => {
                self.absent_or_refused(name).await
            }
            Err(error) => {
                // An answer to HEAD has no body, and so no reason: the first byte is asked for to learn it.
                let plain = AwsError::of(self.target(), &error);
                let refused = match plain {
                    AwsError::Refused { .. } => self.reason(name).await.unwrap_or(plain),
                    other => other,
                };
                Err(failed(name, refused))
            }
        }
    }

    /// Tells an object that is not there from a bucket that is not there, once: HEAD answers both alike.
    async fn absent_or_refused(&self, name: &str) -> Result<Option<Facts>, StoreError> {
        if self.conditions.bucket_is_there() {
            return Ok(None);
        }
        match self.reason(name).await {
            Some(error) if !error.is(&["NoSuchKey", "NotFound", "status 404"]) => {
                Err(failed(name, error))
            }
            _ => {
                self.conditions.bucket_was_seen();
                Ok(None)
            }
        }
    }

    /// Asks why an object cannot be had.
    async fn reason(&self, name: &str) -> Option<AwsError> {
        let request = self.client.get_object().bucket(&self.settings.bucket).key(self.key(name));
        let answer = request.range("bytes=0-0").send().await;
        answer.err().map(|error| AwsError::of(self.target(), &error))
    }

    /// Returns digest and size of an object. One that others stored without a digest is read to its end.
    pub(super) async fn stored(&self, name: &str) -> Result<Option<Stored>, StoreError> {
        let Some(facts) = self.facts(name).await? else { return Ok(None) };
        match facts.digest {
            Some(digest) => Ok(Some(Stored { digest, size: facts.size })),
            None => self.hashed(name).await,
        }
    }

    async fn hashed(&self, name: &str) -> Result<Option<Stored>, StoreError> {
        let Some(answer) = self.ask(name).await? else { return Ok(None) };
        let (mut body, mut hasher) = (answer.body, Hasher::new(io::sink()));
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| self.broken(name, &error))?;
            // A sink takes everything.
            let _ = hasher.write_all(&chunk);
        }
        let (_, digest, size) = hasher.finish();
        Ok(Some(Stored { digest, size }))
    }

    /// Reads a document and checks it against what the store says of it.
    pub(super) async fn fetch(&self, name: &str) -> Result<Option<(Vec<u8>, Facts)>, StoreError> {
        let mut left = READS;
        loop {
            left -= 1;
            match self.fetch_once(name).await {
                Err(StoreError::Service { source, .. })
                    if left > 0 && is_broken(source.as_ref()) => {}
                other => return other,
            }
        }
    }

    async fn fetch_once(&self, name: &str) -> Result<Option<(Vec<u8>, Facts)>, StoreError> {
        let Some(answer) = self.ask(name).await? else { return Ok(None) };
        let facts = Facts::of_answer(&answer).map_err(|what| self.unfit(name, what))?;
        let too_large = |size| Err(StoreError::TooLarge { name: name.to_owned(), size });
        if facts.size > LARGEST_DOCUMENT {
            return too_large(facts.size);
        }
        let (mut body, mut bytes) = (answer.body, Vec::new());
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| self.broken(name, &error))?;
            bytes.extend_from_slice(&chunk);
            if bytes.len() as u64 > LARGEST_DOCUMENT {
                return too_large(bytes.len() as u64);
            }
        }
        let expected = Stored { digest: sha256(&bytes), size: bytes.len() as u64 };
        let digest = facts.digest.unwrap_or(expected.digest);
        if expected != (Stored { digest, size: facts.size }) {
            let what = format!("serves {expected} and says that it is {digest}");
            return Err(self.unfit(name, what));
        }
        Ok(Some((bytes, facts)))
    }

    pub(super) async fn ask(&self, name: &str) -> Result<Option<GetObjectOutput>, StoreError> {
        let request = self.client.get_object().bucket(&self.settings.bucket).key(self.key(name));
        // Said in the SDK's own way, it would check the content itself, and blame the connection.
        let request = request.customize().mutate_request(|request| {
            request.headers_mut().insert(CHECKSUM_MODE, "ENABLED");
        });
        match request.send().await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.as_service_error().is_some_and(GetObjectError::is_no_such_key) => {
                Ok(None)
            }
            Err(error) => Err(failed(name, AwsError::of(self.target(), &error))),
        }
    }

    pub(super) fn unfit(&self, name: &str, what: String) -> StoreError {
        failed(name, AwsError::unfit(self.target(), what))
    }

    fn broken(&self, name: &str, error: &(dyn Error + 'static)) -> StoreError {
        failed(name, AwsError::broken(self.target(), error))
    }
}

/// Tells whether an answer broke off.
fn is_broken(error: &(dyn Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(AwsError::Broken { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_digests_that_differ_none_is_believed() {
        let digest = sha256(b"x");
        let checksum = base64::encode(digest.as_bytes());
        let said = |digest: Digest| HashMap::from([(DIGEST.to_owned(), digest.to_string())]);
        let (same, other) = (said(digest), said(sha256(b"y")));
        assert_eq!(recorded(Some(&checksum), None), Ok(Some(digest)));
        assert_eq!(recorded(Some(&checksum), Some(&same)), Ok(Some(digest)));
        assert_eq!(recorded(None, Some(&same)), Ok(Some(digest)));
        assert_eq!(recorded(None, None), Ok(None));
        let composite = format!("{checksum}-3");
        assert_eq!(recorded(Some(&composite), Some(&other)), Ok(Some(sha256(b"y"))));
        assert_eq!(recorded(Some(&composite), None), Ok(None));
        assert!(recorded(Some(&checksum), Some(&other)).is_err());
        assert!(recorded(Some("AAAA"), None).is_err());
        let junk = HashMap::from([(DIGEST.to_owned(), "junk".to_owned())]);
        assert!(recorded(None, Some(&junk)).is_err());
    }
}
