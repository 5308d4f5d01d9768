//! Requests to one registry: what is sent goes to its host alone, and every answer is read whole or refused.

use std::{
    fs::File,
    io::{self, Read},
    sync::Arc,
    thread,
    time::Duration,
};

use ureq::{
    Agent, Body,
    http::{Request, Response, StatusCode, header},
    tls::TlsConfig,
};

use crate::{
    manifest::{INDEXES, MANIFESTS},
    registry::LARGEST_MANIFEST,
};

/// How long a connection, and each further read, may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a registry may take to answer: it reads a large layer once more before it does.
const ANSWER_PATIENCE: Duration = Duration::from_mins(10);
/// How long to wait before a question is asked again.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];
/// How much of a refusal is shown.
const SHOWN: u64 = 400;

/// A request that did not come to what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// The address is not one that anything is sent to.
    #[error("`{address}` is not the address of a registry; expected {expected}")]
    Address { address: String, expected: &'static str },
    /// The registry answered something else.
    #[error("it answered {status} to {what}: {said}")]
    Status { what: String, status: StatusCode, said: String },
    /// The registry sends the rest of an upload to somewhere else.
    #[error("it sends uploads to `{0}`, away from itself")]
    Away(String),
    /// The answer does not hold what it must.
    #[error("its answer to {0} is not what the specification asks for")]
    Answer(String),
    /// No answer came.
    #[error("no answer to {what}")]
    Transport { what: String, source: ureq::Error },
    /// An answer broke off.
    #[error("the answer to {what} broke off")]
    Read { what: String, source: io::Error },
}

/// What is sent along.
#[derive(Clone, Copy)]
pub(super) enum Sent<'a> {
    Nothing,
    Bytes(&'a [u8], &'a str),
    File(&'a File),
}

/// One registry.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    /// Such as `http://127.0.0.1:5000`.
    origin: String,
    agent: Agent,
}

impl Connection {
    pub(super) fn new(address: &str) -> Result<Self, HttpError> {
        let refuse = |expected| HttpError::Address { address: address.to_owned(), expected };
        let origin = address.trim_end_matches('/');
        let (scheme, host) = origin.split_once("://").ok_or(refuse("`https://<host>`"))?;
        if host.is_empty() || host.contains(['/', '@', '?', '#']) {
            return Err(refuse("a host alone, with a port where it has one"));
        }
        if scheme != "https" && !(scheme == "http" && is_loopback(host)) {
            return Err(refuse("https, or http on this machine"));
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = TlsConfig::builder().unversioned_rustls_crypto_provider(provider).build();
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .tls_config(tls)
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(ANSWER_PATIENCE))
            .timeout_per_read(Some(PATIENCE))
            .user_agent("kdistro")
            .build();
        Ok(Self { origin: origin.to_owned(), agent: agent.new_agent() })
    }

    /// Sends a request; `path` begins with `/`, or is an address of this registry.
    ///
    /// A question that the registry failed to answer is asked again: one that keeps its links in files cannot read
    /// them while another client's push writes them.
    pub(super) fn send(
        &self,
        method: &str,
        path: &str,
        sent: Sent<'_>,
    ) -> Result<Response<Body>, HttpError> {
        for pause in PAUSES {
            let answer = self.send_once(method, path, sent)?;
            if !answer.status().is_server_error() || !matches!(method, "GET" | "HEAD") {
                return Ok(answer);
            }
            thread::sleep(pause);
        }
        self.send_once(method, path, sent)
    }

    fn send_once(
        &self,
        method: &str,
        path: &str,
        sent: Sent<'_>,
    ) -> Result<Response<Body>, HttpError> {
        let what = || format!("{method} {}", path.split('?').next().unwrap_or_default());
        let broken = |error: ureq::http::Error| HttpError::Transport {
            what: what(),
            source: ureq::Error::Http(error),
        };
        let mut request = Request::builder().method(method).uri(self.address(path)?);
        request = request.header(header::ACCEPT, [INDEXES, MANIFESTS].concat().join(", "));
        let content_type = match sent {
            Sent::Nothing => None,
            Sent::Bytes(_, media_type) => Some(media_type),
            Sent::File(_) => Some("application/octet-stream"),
        };
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let answer = match sent {
            Sent::Nothing if matches!(method, "GET" | "HEAD") => {
                self.agent.run(request.body(()).map_err(broken)?)
            }
            Sent::Nothing => self.agent.run(request.body(&b""[..]).map_err(broken)?),
            Sent::Bytes(bytes, _) => self.agent.run(request.body(bytes).map_err(broken)?),
            Sent::File(file) => self.agent.run(request.body(file).map_err(broken)?),
        };
        answer.map_err(|source| HttpError::Transport { what: what(), source })
    }

    /// Returns the address of a path, which is never one of another host.
    fn address(&self, path: &str) -> Result<String, HttpError> {
        if path.starts_with('/') && !path.starts_with("//") {
            return Ok(format!("{}{path}", self.origin));
        }
        let rest = path.strip_prefix(&self.origin);
        if rest.is_some_and(|rest| rest.starts_with(['/', '?'])) {
            return Ok(path.to_owned());
        }
        Err(HttpError::Away(path.to_owned()))
    }
}

/// Reads a document of at most the size of a manifest.
pub(super) fn document(what: &str, answer: Response<Body>) -> Result<Vec<u8>, HttpError> {
    let mut bytes = Vec::new();
    let reader = answer.into_body().into_reader().take(LARGEST_MANIFEST + 1);
    let read = { reader }.read_to_end(&mut bytes);
    read.map_err(|source| HttpError::Read { what: what.to_owned(), source })?;
    if bytes.len() as u64 > LARGEST_MANIFEST {
        return Err(HttpError::Answer(what.to_owned()));
    }
    Ok(bytes)
}

/// Makes an error of an answer that was not wanted, with what the registry says.
pub(super) fn refused(what: impl Into<String>, answer: Response<Body>) -> HttpError {
    let (what, status) = (what.into(), answer.status());
    let mut said = Vec::new();
    // A refusal whose text breaks off is still one.
    let _ = answer.into_body().into_reader().take(SHOWN).read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said);
    let said = said.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    HttpError::Status { what, status, said }
}

fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for address in ["https://a.example", "http://127.0.0.1:5000/", "http://[::1]:1"] {
            Connection::new(address).unwrap();
        }
        for address in [
            "a.example",
            "http://a.example",
            "ftp://127.0.0.1",
            "https://",
            "https://user@a.example",
            "https://a.example/path",
        ] {
            assert!(Connection::new(address).is_err(), "accepted {address}");
        }
    }

    #[test]
    fn nothing_is_sent_to_another_host() {
        let connection = Connection::new("http://127.0.0.1:5000").unwrap();
        let address = |path| connection.address(path).ok();
        for path in ["/v2/", "http://127.0.0.1:5000/v2/"] {
            assert_eq!(address(path).unwrap(), "http://127.0.0.1:5000/v2/");
        }
        for path in [
            "//evil.example/v2/",
            "http://127.0.0.1:50001/v2/",
            "http://127.0.0.1:5000.evil.example/",
            "http://127.0.0.1:5000@evil.example/",
            "https://evil.example/",
            "v2/",
            "",
        ] {
            assert_eq!(address(path), None, "{path}");
        }
    }
}
