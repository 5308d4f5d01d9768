//! Announcements to a web address: one signed JSON document each, for subscribers without a cloud.

use std::{collections::BTreeMap, fmt};

use aws_lc_rs::hmac;
use kdistro_formats::{Digest, digest::hex};
use ureq::{
    Body,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header},
};

use crate::{
    announcer::{AnnounceError, Announced, Announcer, Document, check},
    http::{Client, Outgoing, PATIENCE, Reach, Site, is_passing, patiently},
};

/// The header with the digest of what is announced. There is no time in it: whoever saw an id drops its repeat.
pub const ID: HeaderName = HeaderName::from_static("kdistro-id");
/// The header with `sha256=` and the HMAC-SHA-256 of the body in lowercase hex digits (RFC 2104).
pub const SIGNATURE: HeaderName = HeaderName::from_static("kdistro-signature");
/// The shortest secret in bytes: what nobody guesses.
const SHORTEST_SECRET: usize = 16;

/// Announces by posting to an address: https, or http on this machine.
///
/// The body is a JSON object with `id`, `subject`, `message` and `attributes`, as [`FileAnnouncer`](crate::FileAnnouncer)
/// writes it. An answer of 200 to 299 says that it was taken, 409 that it was known. What may pass is sent again a
/// handful of times. The address can hold a secret itself, so that only its site is ever shown.
#[derive(Clone)]
pub struct WebhookAnnouncer {
    address: String,
    site: Site,
    key: hmac::Key,
    reach: Reach,
    client: Client,
}

/// A webhook that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// The address is not one that anything is sent to; it is not shown, since it can hold a secret.
    #[error("the address of the webhook is of no use; expected {0}")]
    Address(&'static str),
    /// The secret is too short to be one.
    #[error("the secret of the webhook has {0} bytes; expected at least {SHORTEST_SECRET}")]
    Secret(usize),
    /// The certificate authorities or the proxy are of no use.
    #[error("the webhook cannot be reached: {0}")]
    Reach(String),
}

/// What an address answered.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{site} answered {status}")]
    Status { site: String, status: StatusCode },
    #[error("no answer from {site}")]
    Transport { site: String, source: ureq::Error },
    #[error("the document cannot be written")]
    Document(#[from] serde_json::Error),
}

impl WebhookAnnouncer {
    /// Takes the address and the secret that its server knows as well. Nothing is sent yet.
    pub fn open(address: &str, secret: &[u8]) -> Result<Self, WebhookError> {
        let (site, rest) = Site::split(address).map_err(WebhookError::Address)?;
        if secret.len() < SHORTEST_SECRET {
            return Err(WebhookError::Secret(secret.len()));
        }
        let rest = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
        let reach = Reach::default();
        Ok(Self {
            address: site.address(&rest),
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
            client: connect(&reach)?,
            site,
            reach,
        })
    }

    /// Trusts these certificate authorities in PEM, in place of the public ones.
    pub fn with_authorities(mut self, ca: &[u8]) -> Result<Self, WebhookError> {
        self.reach.ca = Some(ca.to_owned());
        self.client = connect(&self.reach)?;
        Ok(self)
    }

    /// Goes through a proxy, unless the address is on this machine.
    pub fn with_proxy(mut self, proxy: &str) -> Result<Self, WebhookError> {
        self.reach.proxy = Some(proxy.to_owned()).filter(|_| !self.site.is_local());
        self.client = connect(&self.reach)?;
        Ok(self)
    }

    fn headers(&self, id: &Digest, body: &[u8]) -> HeaderMap {
        let signature = format!("sha256={}", hex(hmac::sign(&self.key, body).as_ref()));
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in [(ID, id.to_string()), (SIGNATURE, signature)] {
            // Both are plain ASCII.
            headers.extend(HeaderValue::from_str(&value).ok().map(|value| (name, value)));
        }
        headers
    }

    fn post(&self, headers: &HeaderMap, body: &[u8]) -> Result<Response<Body>, Refusal> {
        let send = || {
            let mut content = body;
            self.client.run(&mut Outgoing {
                method: Method::POST,
                address: self.address.clone(),
                headers: headers.clone(),
                content: Some((&mut content, body.len() as u64)),
                patience: PATIENCE,
            })
        };
        let answer = patiently(send, is_passing);
        answer.map_err(|source| Refusal::Transport { site: self.site.address(""), source })
    }
}

impl Announcer for WebhookAnnouncer {
    fn announce(
        &self,
        id: &Digest,
        subject: &str,
        message: &str,
        attributes: &BTreeMap<String, String>,
    ) -> Result<Announced, AnnounceError> {
        check(id, subject, message, attributes)?;
        let failed = |refusal| AnnounceError::Service {
            subject: subject.to_owned(),
            source: Box::new(refusal),
        };
        let document = Document { id, subject, message, attributes };
        let body = serde_json::to_vec(&document).map_err(|error| failed(error.into()))?;
        let answer = self.post(&self.headers(id, &body), &body).map_err(failed)?;
        match answer.status() {
            StatusCode::CONFLICT => Ok(Announced::Repeated),
            status if status.is_success() => Ok(Announced::New),
            status => Err(failed(Refusal::Status { site: self.site.address(""), status })),
        }
    }
}

impl fmt::Debug for WebhookAnnouncer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookAnnouncer").field("site", &self.site).finish_non_exhaustive()
    }
}

fn connect(reach: &Reach) -> Result<Client, WebhookError> {
    Client::new(reach).map_err(|error| WebhookError::Reach(error.to_string()))
}
