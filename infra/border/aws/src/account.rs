//! Where AWS is called and as whom.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, profile::ProfileFileCredentialsProvider,
    retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tokio::runtime::Runtime;

use crate::{error::AwsError, runtime};

/// How often a request is sent before it is given up.
const ATTEMPTS: u32 = 5;
const CONNECT: Duration = Duration::from_secs(10);
/// The time that one small request may take, and that it may take with all its repeats.
const ATTEMPT: Duration = Duration::from_secs(30);
const OPERATION: Duration = Duration::from_mins(2);

/// Where AWS is called and as whom.
///
/// What is left out is taken from AWS's usual places: the environment, the profile, a web identity, the instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AwsSettings {
    /// The region, such as `eu-west-1`.
    pub region: Option<String>,
    /// The URL that answers in place of AWS's own.
    pub endpoint: Option<String>,
    /// The profile of the configuration and credentials files.
    pub profile: Option<String>,
    /// A file of credentials that is read in place of all the usual places.
    pub credentials: Option<PathBuf>,
    /// How often a request is sent before it is given up, with growing pauses between; 5 by default.
    pub attempts: Option<u32>,
    /// Certificates of an own authority in PEM, believed in place of the system's.
    pub authority: Option<Vec<u8>>,
}

/// AWS as one caller sees it: everything of this crate is opened with it.
#[derive(Clone)]
pub struct Aws {
    config: SdkConfig,
    region: Region,
    runtime: &'static Runtime,
}

impl Aws {
    /// Reads AWS's configuration. Credentials are asked for when the first request is sent.
    pub fn load(settings: &AwsSettings) -> Result<Self, AwsError> {
        let runtime = runtime::start().map_err(|source| AwsError::Threads { source })?;
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(ATTEMPT)
            .operation_timeout(OPERATION);
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(
                RetryConfig::standard().with_max_attempts(settings.attempts.unwrap_or(ATTEMPTS)),
            )
            .timeout_config(timeouts.build());
        if let Some(region) = &settings.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(endpoint) = &settings.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        if let Some(profile) = &settings.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(file) = &settings.credentials {
            loader = loader.credentials_provider(from_file(file, settings.profile.as_deref()));
        }
        if let Some(pem) = &settings.authority {
            check_authority(pem)?;
            let store = TrustStore::empty().with_pem_certificate(pem.as_slice());
            let tls = TlsContext::builder().with_trust_store(store).build();
            let tls = tls.map_err(|_| AwsError::Authority)?;
            let provider = Provider::Rustls(CryptoMode::AwsLc);
            let client = Builder::new().tls_provider(provider).tls_context(tls).build_https();
            loader = loader.http_client(client);
        }
        let config = runtime.block_on(loader.load());
        let region = config.region().cloned().ok_or(AwsError::NoRegion)?;
        Ok(Self { config, region, runtime })
    }

    /// Returns the region.
    pub fn region(&self) -> &str {
        self.region.as_ref()
    }

    /// Returns the configuration of a client.
    pub(crate) fn config(&self) -> &SdkConfig {
        &self.config
    }

    /// Returns the configuration of a client for something that says itself where it is.
    ///
    /// Source: AWS General Reference, "Amazon Resource Names": `arn:partition:service:region:account:…`.
    pub(crate) fn config_for(&self, name: &str) -> SdkConfig {
        let region = name.strip_prefix("arn:").and_then(|rest| rest.split(':').nth(2));
        let region = region.filter(|region| !region.is_empty());
        let region = region.map_or_else(|| self.region.clone(), |it| Region::new(it.to_owned()));
        self.config.to_builder().region(region).build()
    }

    /// Waits on this thread for the end of something that talks to AWS.
    pub(crate) fn wait<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }
}

/// Refuses what holds no certificates, or others than those: the HTTP client would panic.
fn check_authority(pem: &[u8]) -> Result<(), AwsError> {
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| AwsError::Authority)?;
        store.add(certificate).map_err(|_| AwsError::Authority)?;
    }
    if store.is_empty() { Err(AwsError::Authority) } else { Ok(()) }
}

fn from_file(file: &Path, profile: Option<&str>) -> ProfileFileCredentialsProvider {
    let files = EnvConfigFiles::builder().with_file(EnvConfigFileKind::Credentials, file).build();
    let mut provider = ProfileFileCredentialsProvider::builder().profile_files(files);
    if let Some(profile) = profile {
        provider = provider.profile_name(profile);
    }
    provider.build()
}

/// Shows where, never as whom.
impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.config.endpoint_url();
        f.debug_struct("Aws")
            .field("region", &self.region.as_ref())
            .field("endpoint", &endpoint)
            .finish_non_exhaustive()
    }
}
