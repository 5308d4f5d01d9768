//! Stores, registries, announcers, queues and signers of Amazon Web Services: the only crate that knows the AWS SDK.
//!
//! The traits are those of `kdistro-border`, ordinary functions that wait. One runtime a process drives all connections.

mod account;
mod ecr;
mod error;
mod kms;
mod runtime;
mod s3;
mod sns;
mod sqs;

pub use account::{Aws, AwsSettings};
pub use ecr::{Ecr, EcrSettings};
pub use error::{AwsError, Cause};
pub use kms::KmsSigner;
pub use s3::{
    S3Settings, S3Store,
    headers::{CACHED_BRIEFLY, CACHED_FOR_EVER, Headers},
};
pub use sns::SnsAnnouncer;
pub use sqs::{Fate, Letter, SqsQueue};
