//! Requests to one registry: credentials go to its site alone, and every answer is read whole or refused.

use std::{
    io::{self, Read},
    sync::Arc,
    thread,
    time::Duration,
};

use ureq::{
    Body,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header},
};

use super::{access::Access, error::HttpError, scope::Scope};
use crate::{
    credentials::Credentials,
    http::{Client, Outgoing, PATIENCE, PAUSES, Site, patiently, pause},
    manifest::{INDEXES, MANIFESTS},
    registry::LARGEST_MANIFEST,
};

/// How long a registry may take to answer to a blob: it reads a large layer once more before it does.
const BLOB_PATIENCE: Duration = Duration::from_mins(10);
/// How often a request is sent with other credentials.
const CREDENTIALS: usize = 3;
/// Redirects that are followed.
const REDIRECTS: usize = 3;
/// How much of a refusal is shown, in characters.
const SHOWN: usize = 400;
/// How much of it is read, in bytes: so much that a token which begins in what is shown ends in what is read.
const READ: u64 = 32 << 10;

/// One registry.
#[derive(Clone)]
pub(super) struct Connection {
    site: Site,
    client: Client,
    access: Arc<Access>,
}

/// A request without a body, or with one that is in memory.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// A path of the registry, or an address of it.
    pub(super) path: &'a str,
    pub(super) scope: Scope,
    /// Bytes and their media type.
    pub(super) content: Option<(&'a [u8], &'a str)>,
}

impl Connection {
    pub(super) fn new(site: Site, client: Client, credentials: Arc<dyn Credentials>) -> Self {
        let access = Access::new(site.clone(), client.clone(), credentials);
        Self { site, client, access: Arc::new(access) }
    }

    /// Reads something; follows redirects, without credentials when they lead to another site.
    pub(super) fn get(&self, path: &str, scope: &Scope) -> Result<Response<Body>, HttpError> {
        let call = Call { method: Method::GET, path, scope: scope.clone(), content: None };
        let mut answer = self.send(&call)?;
        let mut address = self.own("GET", "/", path)?;
        for _ in 0..REDIRECTS {
            if !answer.status().is_redirection() {
                break;
            }
            let what = format!("GET {}", plain(&address));
            address = resolve(&address, text(&answer, header::LOCATION).unwrap_or_default());
            let place = plain(&address).to_owned();
            let away = |expected| HttpError::Away { what: what.clone(), place, expected };
            let site = match Site::split(&address) {
                Ok((site, _)) if site.is_secure() || !self.site.is_secure() => site,
                _ => return Err(away("which is no https address")),
            };
            let is_own = site == self.site;
            let shown = if is_own { self.access.shown(scope)? } else { None };
            let send = || self.once(Method::GET, &address, shown.as_ref(), None);
            answer = patiently(send, HttpError::is_passing)?;
        }
        Ok(answer)
    }

    /// Sends a request, again where it may pass; shows credentials where the registry asks for them.
    pub(super) fn send(&self, call: &Call<'_>) -> Result<Response<Body>, HttpError> {
        patiently(|| self.send_once(call), HttpError::is_passing)
    }

    /// Sends a request whose answer is not to be asked for twice.
    pub(super) fn send_once(&self, call: &Call<'_>) -> Result<Response<Body>, HttpError> {
        let address = self.own(call.method.as_str(), "/", call.path)?;
        let mut shown = self.access.shown(&call.scope)?;
        for turn in 0..CREDENTIALS {
            let answer = self.once(call.method.clone(), &address, shown.as_ref(), call.content)?;
            if answer.status() != StatusCode::UNAUTHORIZED || turn + 1 == CREDENTIALS {
                return Ok(answer);
            }
            let what = format!("{} {}", call.method, plain(&address));
            let refusal = (what.as_str(), &answer);
            let next = self.access.after_refusal(refusal, &call.scope, shown.as_ref(), turn > 0)?;
            if next.is_none() {
                return Ok(answer);
            }
            shown = next;
        }
        Err(HttpError::Answer { what: call.path.to_owned(), expected: "an answer" })
    }

    /// Sends content that can be read once. What the registry refuses has to begin anew.
    pub(super) fn stream(
        &self,
        path: &str,
        scope: &Scope,
        (content, length): (&mut dyn Read, u64),
    ) -> Result<Response<Body>, HttpError> {
        let address = self.own("PUT", "/", path)?;
        let mut headers = headers(self.access.shown(scope)?.as_ref());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let what = format!("PUT {}", plain(&address));
        let mut outgoing = Outgoing {
            method: Method::PUT,
            address,
            headers,
            content: Some((content, length)),
            patience: BLOB_PATIENCE,
        };
        let answer = self.client.run(&mut outgoing);
        answer.map_err(|source| HttpError::Transport { what, source })
    }

    fn once(
        &self,
        method: Method,
        address: &str,
        shown: Option<&HeaderValue>,
        content: Option<(&[u8], &str)>,
    ) -> Result<Response<Body>, HttpError> {
        let what = format!("{method} {}", plain(address));
        let mut headers = headers(shown);
        // A request that could have a body says that it has none.
        let has_body = !matches!(method, Method::GET | Method::HEAD);
        let (mut bytes, media_type) = content.unwrap_or_default();
        if let Ok(value) = HeaderValue::from_str(media_type)
            && !media_type.is_empty()
        {
            headers.insert(header::CONTENT_TYPE, value);
        }
        let length = bytes.len() as u64;
        let content = has_body.then_some((&mut bytes as &mut dyn Read, length));
        let address = address.to_owned();
        let mut outgoing = Outgoing { method, address, headers, content, patience: PATIENCE };
        let answer = self.client.run(&mut outgoing);
        answer.map_err(|source| HttpError::Transport { what, source })
    }

    /// Resolves what an answer to a request for `path` refers to, which is never of another site.
    pub(super) fn own(&self, what: &str, path: &str, reference: &str) -> Result<String, HttpError> {
        let base = resolve(&self.site.address("/"), path);
        let address = resolve(&base, reference);
        let place = plain(&address).to_owned();
        let away = |expected| HttpError::Away { what: what.to_owned(), place, expected };
        match Site::split(&address) {
            Ok((site, _)) if site == self.site => Ok(address),
            Ok(_) => Err(away("away from itself")),
            Err(_) => Err(away("which is no address")),
        }
    }

    /// Returns where the `Location` of an answer leads, which is never to another site.
    pub(super) fn location(
        &self,
        what: &str,
        path: &str,
        answer: &Response<Body>,
    ) -> Result<String, HttpError> {
        let missing = || HttpError::Answer { what: what.to_owned(), expected: "a Location" };
        self.own(what, path, text(answer, header::LOCATION).ok_or_else(missing)?)
    }

    /// Takes everything secret out of a text that somebody else wrote.
    pub(super) fn hide(&self, text: &str) -> String {
        self.access.hide(text)
    }

    /// Makes an error of an answer that was not wanted, with what the registry says.
    pub(super) fn refused(&self, what: impl Into<String>, answer: Response<Body>) -> HttpError {
        refused(what, answer, |text| self.hide(text))
    }
}

fn headers(shown: Option<&HeaderValue>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for media_type in [INDEXES, MANIFESTS].concat() {
        headers.append(header::ACCEPT, HeaderValue::from_static(media_type));
    }
    if let Some(shown) = shown {
        headers.insert(header::AUTHORIZATION, shown.clone());
    }
    headers
}

/// Returns a header as text.
pub(super) fn text(answer: &Response<Body>, name: HeaderName) -> Option<&str> {
    answer.headers().get(name).and_then(|value| value.to_str().ok())
}

/// An address as it may be shown: without its query, which can hold what is to be kept secret.
fn plain(address: &str) -> &str {
    address.split(['?', '#']).next().unwrap_or_default()
}

/// Resolves what a `Location` or `Link` says against the address that was asked.
///
/// Source: RFC 3986, section 5.2; dots in paths are left to the server.
fn resolve(base: &str, reference: &str) -> String {
    let site_end = base.find("://").map_or(0, |at| at + "://".len());
    let path_begin = base.get(site_end..).and_then(|rest| rest.find('/'));
    let path_begin = path_begin.map_or(base.len(), |at| site_end + at);
    let (site, path) = base.split_at(path_begin);
    if reference.contains("://") && !reference.starts_with(['/', '?', '.']) {
        return reference.to_owned();
    }
    if let Some(rest) = reference.strip_prefix("//") {
        let scheme = site.split("//").next().unwrap_or_default();
        return format!("{scheme}//{rest}");
    }
    if reference.starts_with('/') {
        return format!("{site}{reference}");
    }
    let path = plain(path);
    if reference.starts_with('?') {
        return format!("{site}{path}{reference}");
    }
    let folder = path.rfind('/').and_then(|end| path.get(..=end)).unwrap_or("/");
    format!("{site}{folder}{reference}")
}

/// Asks again for an answer that broke off.
pub(super) fn whole<T>(mut read: impl FnMut() -> Result<T, HttpError>) -> Result<T, HttpError> {
    for planned in PAUSES {
        match read() {
            Err(HttpError::Read { .. }) => thread::sleep(pause(planned, None)),
            other => return other,
        }
    }
    read()
}

/// Reads a document of at most the size of a manifest.
pub(super) fn document(what: &str, answer: Response<Body>) -> Result<Vec<u8>, HttpError> {
    let mut bytes = Vec::new();
    let reader = answer.into_body().into_reader().take(LARGEST_MANIFEST + 1);
    let read = { reader }.read_to_end(&mut bytes);
    read.map_err(|source| HttpError::Read { what: what.to_owned(), source })?;
    if bytes.len() as u64 > LARGEST_MANIFEST {
        let expected = "no more than the largest manifest";
        return Err(HttpError::Answer { what: what.to_owned(), expected });
    }
    Ok(bytes)
}

/// Makes an error of an answer, with what its server says; `hide` takes out what must not be shown.
pub(super) fn refused(
    what: impl Into<String>,
    answer: Response<Body>,
    hide: impl Fn(&str) -> String,
) -> HttpError {
    let (what, status) = (what.into(), answer.status());
    let mut said = Vec::new();
    // A refusal whose text breaks off is still one.
    let _: io::Result<_> = answer.into_body().into_reader().take(READ).read_to_end(&mut said);
    // Hidden before it is cut, so that no half of a secret is left.
    let said = hide(&String::from_utf8_lossy(&said));
    let said = said.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    let said = said.take(SHOWN).collect();
    HttpError::Status { what, status, said, registry: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Anonymous, http::Reach};

    #[test]
    fn nothing_is_sent_to_another_site() {
        let (site, _) = Site::split("http://127.0.0.1:5000").unwrap();
        let client = Client::new(&Reach::default()).unwrap();
        let connection = Connection::new(site, client, Arc::new(Anonymous));
        let address = |path| connection.own("PUT", "/", path).ok();
        for path in ["/v2/", "http://127.0.0.1:5000/v2/", "v2/", "//127.0.0.1:5000/v2/"] {
            assert_eq!(address(path).unwrap(), "http://127.0.0.1:5000/v2/");
        }
        for path in [
            "//evil.example/v2/",
            "https://127.0.0.1:5000/",
            "http://127.0.0.1:50001/v2/",
            "http://127.0.0.1:5000.evil.example/",
            "http://127.0.0.1:5000@evil.example/",
            "https://evil.example/",
            "/v2/\r\nx",
            "/v2/#x",
        ] {
            assert_eq!(address(path), None, "{path}");
        }
    }

    #[test]
    fn locations_are_resolved() {
        let base = "https://a.example:5000/v2/x/blobs/uploads/?mount=y";
        for (reference, wanted) in [
            ("/v2/z?_state=/a/b", "https://a.example:5000/v2/z?_state=/a/b"),
            ("//b.example/z", "https://b.example/z"),
            ("https://b.example/z", "https://b.example/z"),
            ("z?x", "https://a.example:5000/v2/x/blobs/uploads/z?x"),
            ("?x", "https://a.example:5000/v2/x/blobs/uploads/?x"),
            ("/v2/z?back=https://b.example", "https://a.example:5000/v2/z?back=https://b.example"),
        ] {
            assert_eq!(resolve(base, reference), wanted);
        }
        assert_eq!(resolve("https://a.example", "/z"), "https://a.example/z");
        assert_eq!(resolve("https://a.example", "z"), "https://a.example/z");
    }
}
