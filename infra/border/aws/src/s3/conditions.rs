//! Whether a store honours conditions: tried once before anything is written, with an object made for it.
//!
//! A store that does not know `If-None-Match` ignores it and overwrites what was to be created once. So the trial object,
//! whose content is always the same, is created until it is there, and must then be refused.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use aws_sdk_s3::primitives::ByteStream;
use kdistro_border::StoreError;
use kdistro_formats::layout;
use tokio::sync::OnceCell;

use super::{
    S3Store, failed,
    put::{Condition, Outcome},
};
use crate::error::AwsError;

/// A version that the trial object never has: its content has another MD5.
const NO_VERSION: &str = "\"00000000000000000000000000000000\"";

/// What was learned of a store, shared by all who use it.
#[derive(Clone, Default)]
pub(super) struct Conditions {
    tried: Arc<OnceCell<()>>,
    seen: Arc<AtomicBool>,
}

impl Conditions {
    pub(super) fn bucket_is_there(&self) -> bool {
        self.seen.load(Ordering::Relaxed)
    }

    pub(super) fn bucket_was_seen(&self) {
        self.seen.store(true, Ordering::Relaxed);
    }
}

impl S3Store {
    /// Refuses to write `name` to a store that ignores conditions, unless the settings know that it does.
    pub(super) async fn try_conditions(&self, name: &str) -> Result<(), StoreError> {
        if !self.settings.conditional_writes {
            return Ok(());
        }
        let tried = self.conditions.tried.get_or_try_init(|| self.trial()).await;
        tried.map(|()| self.conditions.bucket_was_seen()).map_err(|error| failed(name, error))
    }

    async fn trial(&self) -> Result<(), AwsError> {
        let is_new = self.put_trial(Condition::Absent).await? == Outcome::Stored;
        if is_new && self.put_trial(Condition::Absent).await? == Outcome::Stored {
            return Err(self.ignores("If-None-Match"));
        }
        match self.put_trial(Condition::Version(NO_VERSION)).await {
            Ok(Outcome::Stored) => Err(self.ignores("If-Match")),
            Ok(Outcome::Refused) => Ok(()),
            // A policy of the bucket may forbid all writes but creations here, and so has heard the condition.
            Err(error) if error.is(&["AccessDenied"]) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn put_trial(&self, condition: Condition<'_>) -> Result<Outcome, AwsError> {
        let content = layout::TRIAL_CONTENT.as_bytes();
        let put = super::put::Put {
            name: layout::WORKSHOP_TRIAL,
            stored: super::put::of_bytes(content),
            condition,
            swap: None,
        };
        self.put(put, ByteStream::from_static(content)).await
    }

    fn ignores(&self, header: &str) -> AwsError {
        AwsError::Unfit {
            target: self.target(),
            what: format!("ignores `{header}`: published names could be overwritten"),
            help: Some(
                "take a store that honours conditional writes, or set `conditionalWrites: false` where there is only one publisher",
            ),
        }
    }
}
