//! The places of Amazon Web Services, for a kdistro that was built with them.

use std::sync::Arc;

use kdistro_aws::{
    Aws, AwsSettings, Ecr, EcrSettings, KmsSigner, S3Settings, S3Store, SnsAnnouncer,
};
use kdistro_border::{Announcer, Registry, Store};

use super::{PlaceError, certificates};
use crate::{
    config::environment::{Bucket, EcrRegistry, KmsKeys, Topic},
    context::Context,
    sign::keys::Keys,
};

pub(super) fn store(context: &Context, bucket: &Bucket) -> Result<Arc<dyn Store>, PlaceError> {
    let authority = certificates(context, bucket.ca.as_deref())?;
    let aws = load(bucket.region.as_deref(), bucket.endpoint.as_deref(), authority)?;
    let settings = S3Settings {
        bucket: bucket.bucket.clone(),
        prefix: bucket.prefix.clone(),
        path_style: bucket.path_style,
        conditional_writes: bucket.conditional_writes,
    };
    Ok(Arc::new(S3Store::new(&aws, settings)))
}

pub(super) fn registry(
    context: &Context,
    ecr: &EcrRegistry,
) -> Result<Box<dyn Registry>, PlaceError> {
    let authority = certificates(context, ecr.ca.as_deref())?;
    let aws = load(ecr.region.as_deref(), ecr.endpoint.as_deref(), None)?;
    let settings = EcrSettings {
        registry_id: ecr.account.clone(),
        prefix: ecr.prefix.clone(),
        address: ecr.address.clone(),
        authority,
    };
    Ok(Box::new(Ecr::open(&aws, settings)?))
}

pub(super) fn announcer(topic: &Topic) -> Result<Box<dyn Announcer>, PlaceError> {
    // A topic is called in the region that its ARN names; the account's own region may be another, or none.
    let region = topic.topic.split(':').nth(3);
    let aws = load(region, topic.endpoint.as_deref(), None)?;
    Ok(Box::new(SnsAnnouncer::new(&aws, topic.topic.clone())))
}

pub(super) fn keys(kms: &KmsKeys) -> Result<Keys, PlaceError> {
    let aws = load(kms.region.as_deref(), kms.endpoint.as_deref(), None)?;
    let open =
        |key: &str| KmsSigner::open(&aws, key).map_err(|source| PlaceError::Aws(Box::new(source)));
    Ok(Keys::new(Box::new(open(&kms.release)?), Box::new(open(&kms.log)?))?)
}

fn load(
    region: Option<&str>,
    endpoint: Option<&str>,
    authority: Option<Vec<u8>>,
) -> Result<Aws, PlaceError> {
    let settings = AwsSettings {
        region: region.map(str::to_owned),
        endpoint: endpoint.map(str::to_owned),
        authority,
        ..AwsSettings::default()
    };
    Aws::load(&settings).map_err(|source| PlaceError::Aws(Box::new(source)))
}
