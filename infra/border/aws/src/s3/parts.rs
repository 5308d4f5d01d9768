//! Puts large content in parts, a few at once, and makes an object of them only when all of it is what was said.

use std::io::{self, Read, Write};

use aws_sdk_s3::{
    Client,
    primitives::ByteStream,
    types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart},
};
use aws_smithy_types::base64;
use bytes::Bytes;
use kdistro_border::{Content, StoreError, Stored, plain};
use kdistro_verify::hash::Hasher;
use tokio::task::JoinSet;

use super::{
    S3Store, failed,
    headers::Headers,
    object::DIGEST,
    put::{Condition, Outcome, Signed, changed, is_refused, of_bytes, unreadable},
};
use crate::error::AwsError;

/// From this size on content is sent in parts.
pub(super) const MULTIPART: u64 = 16 << 20;
/// An upload that was begun.
#[derive(Clone)]
struct Upload {
    client: Client,
    bucket: String,
    key: String,
    id: String,
}

/// Parts on their way.
type Sending = JoinSet<Result<CompletedPart, Stopped>>;

impl S3Store {
    /// Puts an object in parts. Whatever goes wrong, none of them stays.
    pub(super) async fn put_parts(
        &self,
        name: &str,
        stored: Stored,
        content: Content<'_>,
    ) -> Result<Outcome, StoreError> {
        let mut reader: Box<dyn Read + Send + '_> = match content {
            Content::Bytes(bytes) => Box::new(bytes),
            Content::File { path, .. } => {
                Box::new(plain::read(path).map_err(unreadable(name, path))?)
            }
        };
        let upload = self.begin(name, stored).await.map_err(|error| failed(name, error))?;
        let mut sending = Sending::new();
        let sent = self.send(&upload, &mut reader, stored.size, &mut sending).await;
        let outcome = match (sent, content) {
            (Ok((found, parts)), _) if found == stored => {
                let completed = self.complete(&upload, parts).await;
                completed.map_err(|error| failed(name, error))
            }
            (Ok((found, _)), Content::File { path, .. }) => {
                Err(changed(name, path, (stored, found)))
            }
            (Err(Stopped::Unreadable(error)), Content::File { path, .. }) => {
                Err(unreadable(name, path)(error))
            }
            (Err(Stopped::Refused(error)), _) => Err(failed(name, error)),
            (Err(Stopped::Overtaken), _) => Ok(Outcome::Refused),
            // What is in memory can be read and stays as it is.
            (_, Content::Bytes(_)) => Err(self.unfit(name, "was sent other bytes".to_owned())),
        };
        sending.shutdown().await;
        if matches!(outcome, Ok(Outcome::Stored)) {
            self.clear(&upload).await;
        } else {
            upload.abort(&upload.id).await;
        }
        outcome
    }

    async fn begin(&self, name: &str, stored: Stored) -> Result<Upload, AwsError> {
        let headers = Headers::of(name);
        let (bucket, key) = (self.settings.bucket.clone(), self.key(name));
        let begun = self
            .client
            .create_multipart_upload()
            .bucket(&bucket)
            .key(&key)
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .content_type(headers.content_type)
            .cache_control(headers.cache_control)
            .metadata(DIGEST, stored.digest.to_string())
            .send()
            .await
            .map_err(|error| AwsError::of(self.target(), &error))?;
        let id = begun.upload_id().map(str::to_owned);
        let id = id.ok_or_else(|| AwsError::unfit(self.target(), "does not name the upload"))?;
        Ok(Upload { client: self.client.clone(), bucket, key, id })
    }

    /// Reads content to its end and sends its parts; returns what it was. Nothing is sent beyond its expected size.
    async fn send(
        &self,
        upload: &Upload,
        reader: &mut (dyn Read + Send),
        expected: u64,
        sending: &mut Sending,
    ) -> Result<(Stored, Vec<CompletedPart>), Stopped> {
        let (mut whole, mut read, mut parts) = (Hasher::new(io::sink()), 0, Vec::new());
        for number in 1.. {
            let mut piece = self.room.take().await?;
            let count = piece.fill(reader)?;
            if count == 0 {
                break;
            }
            whole.write_all(piece.as_ref())?;
            read += count as u64;
            if read <= expected {
                let (upload, piece) = (upload.clone(), Bytes::from_owner(piece));
                sending.spawn(async move { upload.send_part(number, piece).await });
            }
            // A part that failed ends it early.
            while let Some(sent) = sending.try_join_next() {
                parts.push(part(sent)?);
            }
        }
        while let Some(sent) = sending.join_next().await {
            parts.push(part(sent)?);
        }
        parts.sort_by_key(CompletedPart::part_number);
        let (_, digest, size) = whole.finish();
        Ok((Stored { digest, size }, parts))
    }

    async fn complete(
        &self,
        upload: &Upload,
        parts: Vec<CompletedPart>,
    ) -> Result<Outcome, AwsError> {
        let absent = (self.absent() == Condition::Absent).then(|| "*".to_owned());
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let completed = upload
            .client
            .complete_multipart_upload()
            .bucket(&upload.bucket)
            .key(&upload.key)
            .upload_id(&upload.id)
            .set_if_none_match(absent)
            .multipart_upload(parts)
            .send()
            .await;
        match completed {
            Ok(_) => Ok(Outcome::Stored),
            Err(error) if is_refused(&error) => Ok(Outcome::Refused),
            Err(error) => Err(AwsError::of(self.target(), &error)),
        }
    }

    /// Ends all other uploads to a key that has its object now: none of them can ever succeed.
    ///
    /// What cannot be ended here is removed by the bucket's own rule for unfinished uploads.
    async fn clear(&self, upload: &Upload) {
        let request = upload.client.list_multipart_uploads().bucket(&upload.bucket);
        let Ok(found) = request.prefix(&upload.key).send().await else { return };
        for other in found.uploads() {
            if let (Some(key), Some(id)) = (other.key(), other.upload_id())
                && key == upload.key
            {
                upload.abort(id).await;
            }
        }
    }
}

impl Upload {
    async fn send_part(self, number: i32, piece: Bytes) -> Result<CompletedPart, Stopped> {
        let stored = of_bytes(&piece);
        let checksum = base64::encode(stored.digest.as_bytes());
        let sent = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(&self.key)
            .upload_id(&self.id)
            .part_number(number)
            .checksum_sha256(&checksum)
            .body(ByteStream::from(piece))
            .customize()
            .interceptor(Signed::of(&stored))
            .send()
            .await;
        let sent = match sent {
            Ok(sent) => sent,
            Err(error) if is_refused(&error) => return Err(Stopped::Overtaken),
            Err(error) => {
                return Err(AwsError::of(format!("bucket `{}`", self.bucket), &error).into());
            }
        };
        let part = CompletedPart::builder().part_number(number).checksum_sha256(checksum);
        Ok(part.set_e_tag(sent.e_tag().map(str::to_owned)).build())
    }

    /// Ends an upload of the same key. One that is gone already, or cannot be ended, is left.
    async fn abort(&self, id: &str) {
        let request = self.client.abort_multipart_upload().bucket(&self.bucket).key(&self.key);
        let _ = request.upload_id(id).send().await;
    }
}

/// Why content was not sent to its end.
enum Stopped {
    /// It cannot be read.
    Unreadable(io::Error),
    /// AWS refused a part.
    Refused(AwsError),
    /// Somebody else stored the object, and ended this upload.
    Overtaken,
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

impl From<AwsError> for Stopped {
    fn from(error: AwsError) -> Self {
        Self::Refused(error)
    }
}

/// Returns what became of a part.
fn part(
    sent: Result<Result<CompletedPart, Stopped>, tokio::task::JoinError>,
) -> Result<CompletedPart, Stopped> {
    sent.map_err(|error| AwsError::silent("the store", &error))?
}
