//! Images in Amazon ECR: a registry of the OCI distribution API whose repositories must be made before the first push.

mod token;

use std::{collections::BTreeSet, fmt, sync::Arc};

use aws_sdk_ecr::{
    Client,
    error::SdkError,
    types::{ImageScanningConfiguration, ImageTagMutability},
};
use kdistro_border::{Address, Content, Created, HttpRegistry, Referrer, Registry, RegistryError};
use kdistro_formats::Digest;

use self::token::Token;
use crate::{account::Aws, error::AwsError};

/// Repositories that ECR lists at once, at most.
const PAGE: i32 = 1000;

/// Which registry of ECR.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EcrSettings {
    /// The account that owns the registry; by default that of the credentials.
    pub registry_id: Option<String>,
    /// What the names of all repositories begin with, such as `team/kdistro`; empty for none.
    pub prefix: String,
    /// The URL that answers in place of the one that ECR names.
    pub address: Option<String>,
    /// Certificates of an own authority in PEM, believed in place of the public ones.
    pub authority: Option<Vec<u8>>,
}

/// A private registry of ECR.
///
/// Its tags cannot move, and so it must keep referrers itself: a tag that lists them could never be updated.
pub struct Ecr {
    aws: Aws,
    client: Client,
    settings: EcrSettings,
    address: String,
    registry: HttpRegistry,
}

impl Ecr {
    /// Asks ECR for a token, and for the address of the registry.
    pub fn open(aws: &Aws, settings: EcrSettings) -> Result<Self, RegistryError> {
        let client = Client::new(aws.config());
        let prefix = settings.prefix.trim_matches('/').to_owned();
        let settings = EcrSettings { prefix, ..settings };
        let token = Token::new(aws, &client, settings.registry_id.clone());
        let address = match &settings.address {
            Some(address) => address.clone(),
            None => token.address().map_err(|error| failed("*", "reach", error))?,
        };
        let registry = HttpRegistry::open(
            Address { url: &address, prefix: &settings.prefix, ca: settings.authority.as_deref() },
            Arc::new(token.of_host(&address)),
        )?;
        Ok(Self {
            aws: aws.clone(),
            client,
            settings,
            address,
            registry: registry.without_fallback_tags(),
        })
    }

    /// Returns the address of the registry with the prefix, as it stands in the names of images.
    pub fn name(&self) -> String {
        let host = self.address.split_once("://").map_or(self.address.as_str(), |(_, host)| host);
        let host = host.trim_end_matches('/');
        if self.settings.prefix.is_empty() {
            host.to_owned()
        } else {
            format!("{host}/{}", self.settings.prefix)
        }
    }

    fn repository(&self, name: &str) -> String {
        if self.settings.prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.settings.prefix)
        }
    }

    async fn present(&self) -> Result<BTreeSet<String>, AwsError> {
        let request = self.client.describe_repositories().max_results(PAGE);
        let request = request.set_registry_id(self.settings.registry_id.clone());
        let mut pages = request.into_paginator().send();
        let mut names = BTreeSet::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| AwsError::of(target("all repositories"), &error))?;
            let found = page.repositories().iter().filter_map(|it| it.repository_name());
            names.extend(found.map(str::to_owned));
        }
        Ok(names)
    }

    async fn make(&self, name: &str) -> Result<(), AwsError> {
        let scanning = ImageScanningConfiguration::builder().scan_on_push(true).build();
        let request = self
            .client
            .create_repository()
            .repository_name(name)
            .set_registry_id(self.settings.registry_id.clone())
            .image_tag_mutability(ImageTagMutability::Immutable)
            .image_scanning_configuration(scanning);
        match request.send().await {
            // Somebody else was faster.
            Err(SdkError::ServiceError(e)) if e.err().is_repository_already_exists_exception() => {
                Ok(())
            }
            Err(error) => Err(AwsError::of(target(name), &error)),
            Ok(_) => Ok(()),
        }
    }

    /// Makes what is missing, or names all that is missing.
    async fn make_missing(&self, wanted: BTreeSet<String>) -> Result<(), RegistryError> {
        let present = self.present().await;
        let present = present.map_err(|error| failed(&listed(&wanted), "find", error))?;
        let mut missing: BTreeSet<_> = wanted.difference(&present).cloned().collect();
        while let Some(name) = missing.first() {
            if let Err(error) = self.make(name).await {
                return Err(failed(&listed(&missing), "create", error));
            }
            missing.pop_first();
        }
        Ok(())
    }
}

/// Names several repositories where one is named.
fn listed(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join("`, `")
}

fn target(repository: &str) -> String {
    format!("ECR for `{repository}`")
}

fn failed(repository: &str, action: &'static str, error: AwsError) -> RegistryError {
    RegistryError::Service { repository: repository.to_owned(), action, source: Box::new(error) }
}

impl Registry for Ecr {
    fn prepare(&self, repositories: &BTreeSet<String>) -> Result<(), RegistryError> {
        let wanted = repositories.iter().map(|name| self.repository(name)).collect();
        self.aws.wait(self.make_missing(wanted))
    }

    fn has_blob(&self, repository: &str, digest: &Digest) -> Result<bool, RegistryError> {
        self.registry.has_blob(repository, digest)
    }

    fn push_blob(&self, repository: &str, content: Content<'_>) -> Result<Created, RegistryError> {
        self.registry.push_blob(repository, content)
    }

    fn push_manifest(&self, repository: &str, bytes: &[u8]) -> Result<Created, RegistryError> {
        self.registry.push_manifest(repository, bytes)
    }

    fn read_manifest(
        &self,
        repository: &str,
        digest: &Digest,
    ) -> Result<Option<Vec<u8>>, RegistryError> {
        self.registry.read_manifest(repository, digest)
    }

    fn tag(&self, repository: &str, tag: &str, digest: &Digest) -> Result<Created, RegistryError> {
        self.registry.tag(repository, tag, digest)
    }

    fn resolve(&self, repository: &str, tag: &str) -> Result<Option<Digest>, RegistryError> {
        self.registry.resolve(repository, tag)
    }

    fn referrers(
        &self,
        repository: &str,
        subject: &Digest,
    ) -> Result<Vec<Referrer>, RegistryError> {
        self.registry.referrers(repository, subject)
    }
}

/// Shows which registry, never as whom.
impl fmt::Debug for Ecr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ecr").field("name", &self.name()).finish_non_exhaustive()
    }
}
