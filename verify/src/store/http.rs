//! Reads a store behind an address: https, and plain http on this machine only.

mod paced;

use std::{
    io::{self, Read},
    sync::Arc,
    time::Duration,
};

use ureq::{
    Agent, Body, BodyReader, Proxy,
    http::{Response, StatusCode, header},
    tls::TlsConfig,
};

use super::{LocateError, Reader, is_plain};
use paced::{Pace, Paced};

/// How long a connection, the first byte of an answer, each further read, and an empty file may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The slowest that a document may come, in bytes a second beyond the patience.
const DOCUMENT_RATE: u64 = 1_000_000;
/// The slowest that any other file may come.
const RATE: u64 = 10_000;
/// Redirects that are followed.
const REDIRECTS: usize = 4;

/// A store behind an address.
#[derive(Clone)]
pub struct Http {
    base: String,
    site: String,
    agent: Agent,
    patience: Duration,
}

impl Http {
    /// Reads the store whose files lie below `base`, an address without query; through `proxy` where one is given.
    pub fn new(base: &str, proxy: Option<&str>) -> Result<Self, LocateError> {
        let refuse = |why| LocateError::Address(base.to_owned(), why);
        let base = base.trim_end_matches('/');
        let site = site(base).map_err(refuse)?.to_owned();
        let proxy = proxy.map(Proxy::new).transpose();
        let proxy = proxy.map_err(|_| refuse("the proxy's address is not one"))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider).build();
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(proxy.filter(|_| base.starts_with("https://")))
            .tls_config(tls)
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .user_agent("kdistro-verify")
            .build();
        Ok(Self { base: base.to_owned(), site, agent: agent.new_agent(), patience: PATIENCE })
    }

    /// Gives a file without content this long, instead of 30 seconds; its size is allowed for on top of it.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    fn open_at(&self, name: &str, rate: u64) -> io::Result<Option<Box<dyn Read + '_>>> {
        if !is_plain(name) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a name in a store"));
        }
        let (store, name) = (self.clone(), name.to_owned());
        let pace = Pace { patience: self.patience, rate };
        let answer = Paced::open(pace, move || store.request(&name))?;
        Ok(answer.map(|answer| Box::new(answer) as Box<dyn Read>))
    }

    fn request(&self, name: &str) -> io::Result<Option<BodyReader<'static>>> {
        let response = self.follow(name)?;
        match response.status() {
            StatusCode::OK => Ok(Some(response.into_body().into_reader())),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(io::Error::other(format!("the server answered {status}"))),
        }
    }

    fn follow(&self, name: &str) -> io::Result<Response<Body>> {
        let mut url = format!("{}/{}", self.base, escape(name));
        for _ in 0..=REDIRECTS {
            let response = self.agent.get(&url).call().map_err(ureq::Error::into_io)?;
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let location = response.headers().get(header::LOCATION);
            let location = location.and_then(|value| value.to_str().ok()).unwrap_or_default();
            url = self.redirected(location)?;
        }
        Err(io::Error::other(format!("{url} is redirected more than {REDIRECTS} times")))
    }

    /// The address that a redirect leads to, which must be of the same site.
    fn redirected(&self, location: &str) -> io::Result<String> {
        if location.starts_with('/') && !location.starts_with("//") {
            return Ok(format!("{}{location}", self.site));
        }
        if site(location).is_ok_and(|other| other == self.site) {
            return Ok(location.to_owned());
        }
        Err(io::Error::other(format!("is redirected to `{location}`, away from {}", self.site)))
    }
}

impl Reader for Http {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
        self.open_at(name, RATE)
    }

    fn open_document(&self, name: &str) -> io::Result<Option<Box<dyn Read + '_>>> {
        self.open_at(name, DOCUMENT_RATE)
    }

    fn list(&self, _prefix: &str) -> io::Result<Option<Vec<String>>> {
        Ok(None)
    }

    fn place(&self) -> String {
        self.base.clone()
    }
}

/// Scheme and authority of an address that may be read.
fn site(url: &str) -> Result<&str, &'static str> {
    let (scheme, rest) = url.split_once("://").ok_or("expected an address, `https://…`")?;
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.is_empty() || authority.contains('@') || url.contains(['?', '#']) {
        return Err("expected a host and a path, without user, query or fragment");
    }
    let local = is_loopback(authority);
    if scheme != "https" && !(scheme == "http" && local) {
        return Err("expected https, or http on this machine");
    }
    Ok(url.get(..scheme.len() + "://".len() + authority.len()).unwrap_or(url))
}

fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Percent-encodes a name: some servers read a plain `+` as a space. A `:` may stand in a path (RFC 3986, section 3.3).
fn escape(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push('%');
            text.push_str(&kdistro_formats::digest::hex(&[byte]).to_uppercase());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for url in [
            "https://a.example/x",
            "http://127.0.0.1:8080",
            "http://localhost/x",
            "http://[::1]:1/x",
        ] {
            assert!(Http::new(url, None).is_ok(), "{url}");
        }
        for url in [
            "http://a.example/x",
            "ftp://a.example",
            "https://user@a.example",
            "https://a.example/?q",
            "https:///x",
            "http://127.0.0.1.a.example/",
            "http://localhost.a.example/",
        ] {
            assert!(Http::new(url, None).is_err(), "{url}");
        }
    }

    #[test]
    fn a_redirect_stays_on_its_site() {
        let store = Http::new("https://a.example/store", None).unwrap();
        assert_eq!(store.redirected("/other/x").unwrap(), "https://a.example/other/x");
        assert!(store.redirected("https://a.example/x").is_ok());
        for location in ["https://b.example/x", "http://a.example/x", "//b.example/x", "x", ""] {
            assert!(store.redirected(location).is_err(), "{location}");
        }
    }

    #[test]
    fn a_plus_stays_a_plus_and_a_digest_a_digest() {
        assert_eq!(escape("a/v1.36.2+kd.x"), "a/v1.36.2%2Bkd.x");
        assert_eq!(escape("containers/images/sha256:00"), "containers/images/sha256:00");
    }
}
