//! The places of Amazon Web Services, for a kdistro that was built without them: each is refused.

use std::sync::Arc;

use kdistro_border::{Announcer, Registry, Store};

use super::PlaceError;
use crate::{
    config::environment::{Bucket, EcrRegistry, KmsKeys, Topic},
    context::Context,
    sign::keys::Keys,
};

pub(super) fn store(_: &Context, _: &Bucket) -> Result<Arc<dyn Store>, PlaceError> {
    Err(PlaceError::WithoutAws("store: {s3: …}"))
}

pub(super) fn registry(_: &Context, _: &EcrRegistry) -> Result<Box<dyn Registry>, PlaceError> {
    Err(PlaceError::WithoutAws("registry: {ecr: …}"))
}

pub(super) fn announcer(_: &Topic) -> Result<Box<dyn Announcer>, PlaceError> {
    Err(PlaceError::WithoutAws("announcements: {sns: …}"))
}

pub(super) fn keys(_: &KmsKeys) -> Result<Keys, PlaceError> {
    Err(PlaceError::WithoutAws("keys: {kms: …}"))
}
