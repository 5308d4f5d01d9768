//! Asks a component how it is.

use std::{fs, path::Path, sync::Arc, time::Duration};

use ureq::{
    Agent,
    tls::{PemItem, RootCerts, TlsConfig, parse_pem},
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How much of an answer is read.
const LENGTH: u64 = 2048;

/// Asks an address, by https with the authority of a file only; returns the code and the beginning of the text.
pub(crate) fn ask(address: &str, authority: &Path) -> Result<(u16, String), String> {
    let agent = if address.starts_with("https:") {
        let pem = fs::read(authority).map_err(|error| error.to_string())?;
        let certificates = parse_pem(&pem).filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        });
        agent(certificates.collect::<Vec<_>>().into())
    } else {
        agent(RootCerts::WebPki)
    };
    let mut answer = agent.get(address).call().map_err(|error| error.to_string())?;
    let text = answer.body_mut().with_config().limit(LENGTH).lossy_utf8(true).read_to_string();
    Ok((answer.status().as_u16(), text.unwrap_or_default()))
}

fn agent(roots: RootCerts) -> Agent {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = TlsConfig::builder().root_certs(roots).unversioned_rustls_crypto_provider(provider);
    let agent = Agent::config_builder()
        .tls_config(tls.build())
        .proxy(None)
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false);
    agent.build().new_agent()
}
