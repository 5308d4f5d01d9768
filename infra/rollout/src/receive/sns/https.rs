//! The way to SNS: TLS with the public authorities, no redirect, little time and little to read.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use ureq::{Agent, Proxy, tls::TlsConfig};

use super::{Address, Outside};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// The most that is read: a certificate has about 2 KiB.
const LARGEST: u64 = 64 * 1024;

/// Fetches over https.
pub struct Https {
    agent: Agent,
}

impl Https {
    /// Takes the address of a proxy, where only that leads outside.
    pub fn new(proxy: Option<&str>) -> Result<Self, ureq::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider).build();
        let agent = Agent::config_builder()
            .https_only(true)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .proxy(proxy.map(Proxy::new).transpose()?)
            .tls_config(tls)
            .timeout_global(Some(PATIENCE))
            .user_agent("kdistro")
            .build()
            .new_agent();
        Ok(Self { agent })
    }
}

impl Outside for Https {
    fn fetch(&self, address: &Address) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        let mut answer = self.agent.get(address.as_str()).call()?;
        if answer.status() != ureq::http::StatusCode::OK {
            return Err(format!("it answered {}", answer.status()).into());
        }
        Ok(answer.body_mut().with_config().limit(LARGEST).read_to_vec()?)
    }
}

impl fmt::Debug for Https {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Https").finish_non_exhaustive()
    }
}
