//! A store in a bucket of Amazon S3, or of anything that speaks its protocol.
//!
//! Each object carries the SHA-256 of its content twice: as S3's own checksum, which S3 computes itself, and in its
//! metadata, since the checksum of what came in parts is a sum of sums and some stores keep none. One HEAD tells both.

mod body;
mod conditions;
pub(crate) mod headers;
mod listing;
mod object;
mod parts;
mod put;
mod reader;
mod room;

use std::{fmt, io::Read, time::Duration};

use aws_sdk_s3::{
    Client,
    config::{Builder, RequestChecksumCalculation, ResponseChecksumValidation},
};
use aws_smithy_types::timeout::TimeoutConfig;
use kdistro_border::{
    Content, Created, Store, StoreError, Stored,
    store::{check_creation, check_name, check_swap},
};
use kdistro_formats::layout;

use crate::{account::Aws, error::AwsError};
use conditions::Conditions;
use room::Room;

/// The time that one request with up to 16 MiB may take, and that it may take with all its repeats.
const ATTEMPT: Duration = Duration::from_mins(5);
const OPERATION: Duration = Duration::from_mins(20);

/// Which bucket, and how to write to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Settings {
    /// The bucket.
    pub bucket: String,
    /// What all names begin with in the bucket, without slashes at the ends; empty for none.
    pub prefix: String,
    /// Whether the bucket stands in the path of URLs, not in the host's name, as most stores but Amazon's want it.
    pub path_style: bool,
    /// Whether the store honours `If-None-Match` and `If-Match`; that is tried before anything is written.
    ///
    /// Without them two publishers at once can overwrite each other: only for stores with a single writer.
    pub conditional_writes: bool,
}

/// A store in a bucket.
///
/// An object `.kdistro-store/conditional-writes` in the bucket serves to try what the store honours.
#[derive(Clone)]
pub struct S3Store {
    aws: Aws,
    client: Client,
    settings: S3Settings,
    conditions: Conditions,
    room: Room,
}

impl S3Store {
    /// Takes a bucket. Nothing is asked of it yet.
    pub fn new(aws: &Aws, settings: S3Settings) -> Self {
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(ATTEMPT)
            .operation_timeout(OPERATION);
        let mut timeouts = timeouts.build();
        if let Some(shared) = aws.config().timeout_config() {
            timeouts.take_defaults_from(shared);
        }
        let config = Builder::from(aws.config())
            .timeout_config(timeouts)
            .force_path_style(settings.path_style)
            // The checksum of all content is known here, and what is read is checked here.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        let prefix = settings.prefix.trim_matches('/').to_owned();
        Self {
            aws: aws.clone(),
            client: Client::from_conf(config),
            settings: S3Settings { prefix, ..settings },
            conditions: Conditions::default(),
            room: Room::default(),
        }
    }

    /// Stores a small document in place of whatever has its name. That is for documents of which the last one counts, such
    /// as reports of clusters, and never for published releases: those are created, or swapped.
    pub fn overwrite(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        check_name(name)?;
        self.aws.wait(self.put_over(name, bytes))
    }

    /// Returns the key of a name in the bucket.
    fn key(&self, name: &str) -> String {
        if self.settings.prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.settings.prefix)
        }
    }

    /// Says what all errors are about.
    fn target(&self) -> String {
        format!("bucket `{}`", self.settings.bucket)
    }
}

/// Tells whether a name is in the folder that a store keeps for itself.
fn is_own(name: &str) -> bool {
    name.strip_prefix(layout::WORKSHOP).is_some_and(|rest| rest.starts_with('/'))
}

fn failed(name: &str, source: AwsError) -> StoreError {
    StoreError::Service { name: name.to_owned(), source: Box::new(source) }
}

impl Store for S3Store {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        check_name(name)?;
        Ok(self.aws.wait(self.fetch(name))?.map(|(bytes, _)| bytes))
    }

    fn open(&self, name: &str) -> Result<Option<Box<dyn Read + Send + '_>>, StoreError> {
        check_name(name)?;
        let answer = self.aws.wait(self.ask(name))?;
        Ok(answer.map(|answer| -> Box<dyn Read + Send> { Box::new(self.reader(answer.body)) }))
    }

    fn stat(&self, name: &str) -> Result<Option<Stored>, StoreError> {
        check_name(name)?;
        self.aws.wait(self.stored(name))
    }

    fn create(&self, name: &str, content: Content<'_>) -> Result<Created, StoreError> {
        check_creation(name)?;
        self.aws.wait(self.put_new(name, content))
    }

    fn swap(&self, name: &str, old: Option<&[u8]>, new: &[u8]) -> Result<bool, StoreError> {
        check_swap(name)?;
        self.aws.wait(self.replace(name, old, new))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        if !folder.is_empty() {
            check_name(folder)?;
        }
        self.aws.wait(self.names(prefix)).map_err(|error| failed(prefix, error))
    }

    fn place(&self) -> String {
        // Without a slash at its end: one follows, and the name of a file.
        format!("s3://{}/{}", self.settings.bucket, self.settings.prefix)
            .trim_end_matches('/')
            .to_owned()
    }
}

/// Shows which bucket, never as whom.
impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store").field("settings", &self.settings).finish_non_exhaustive()
    }
}
