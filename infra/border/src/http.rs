//! Requests over https: to whom they may go, how long they wait, and when they are sent again.

mod site;

use std::{
    io::Read,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use ureq::{
    Agent, AsSendBody, Body, Proxy, SendBody,
    http::{HeaderMap, Method, Request, Response, StatusCode, header},
    tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem},
};

pub(crate) use self::site::Site;
pub use self::site::is_address;

/// How long a connection, the begin of an answer, and each further read may take.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// How long to wait before something is sent again.
pub(crate) const PAUSES: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(800),
    Duration::from_secs(2),
];
/// The longest that a server may ask to wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Whom to trust, and the way to the outside.
#[derive(Clone, Default)]
pub(crate) struct Reach {
    /// Own certificate authorities in PEM, in place of the built-in ones.
    pub(crate) ca: Option<Vec<u8>>,
    /// Whether the built-in ones are trusted beside those.
    pub(crate) trusts_public: bool,
    /// The address of a proxy for https.
    pub(crate) proxy: Option<String>,
}

/// Settings that no connection can be made with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReachError {
    /// The certificate authorities are none.
    #[error("the certificate authorities are not certificates in PEM")]
    Authorities,
    /// The proxy's address is none.
    #[error("the address of the proxy is not one")]
    Proxy,
}

/// What sends requests.
#[derive(Clone)]
pub(crate) struct Client {
    /// One for the own authorities, one for the public ones, or both.
    agents: Arc<[Agent]>,
    /// Which one was right last.
    last: Arc<AtomicUsize>,
}

/// A request; what it sends has a known length.
pub(crate) struct Outgoing<'a> {
    pub(crate) method: Method,
    pub(crate) address: String,
    pub(crate) headers: HeaderMap,
    pub(crate) content: Option<(&'a mut dyn Read, u64)>,
    /// How long the server may take to begin its answer.
    pub(crate) patience: Duration,
}

impl Client {
    pub(crate) fn new(reach: &Reach) -> Result<Self, ReachError> {
        let mut roots = Vec::new();
        if let Some(ca) = &reach.ca {
            roots.push(authorities(ca)?);
        }
        if reach.ca.is_none() || reach.trusts_public {
            roots.push(RootCerts::WebPki);
        }
        let proxy = reach.proxy.as_deref().map(Proxy::new).transpose();
        let proxy = proxy.map_err(|_| ReachError::Proxy)?;
        let agents = roots.into_iter().map(|roots| agent(roots, proxy.clone())).collect();
        Ok(Self { agents, last: Arc::default() })
    }

    /// Sends a request once. No redirect is followed.
    pub(crate) fn run(&self, request: &mut Outgoing<'_>) -> Result<Response<Body>, ureq::Error> {
        let first = self.last.load(Ordering::Relaxed);
        let count = self.agents.len().max(1);
        let mut last = ureq::Error::ConnectionFailed;
        for turn in 0..count {
            let index = (first + turn) % count;
            let Some(agent) = self.agents.get(index) else { continue };
            match run(agent, request) {
                Err(error) if is_distrust(&error) => last = error,
                other => {
                    self.last.store(index, Ordering::Relaxed);
                    return other;
                }
            }
        }
        Err(last)
    }
}

fn run(agent: &Agent, request: &mut Outgoing<'_>) -> Result<Response<Body>, ureq::Error> {
    let patience = Some(request.patience);
    let mut builder = Request::builder().method(request.method.clone()).uri(&request.address);
    if let Some(headers) = builder.headers_mut() {
        headers.clone_from(&request.headers);
    }
    if let Some((_, length)) = &request.content {
        builder = builder.header(header::CONTENT_LENGTH, *length);
    }
    match &mut request.content {
        Some((content, _)) => send(agent, patience, builder.body(SendBody::from_reader(*content))),
        None => send(agent, patience, builder.body(())),
    }
}

fn send(
    agent: &Agent,
    patience: Option<Duration>,
    request: Result<Request<impl AsSendBody>, ureq::http::Error>,
) -> Result<Response<Body>, ureq::Error> {
    let request = agent.configure_request(request.map_err(ureq::Error::Http)?);
    let request = request.timeout_recv_response(patience).timeout_per_read(patience);
    agent.run(request.build())
}

fn agent(roots: RootCerts, proxy: Option<Proxy>) -> Agent {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = TlsConfig::builder().root_certs(roots);
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(proxy)
        .tls_config(tls.unversioned_rustls_crypto_provider(provider).build())
        .timeout_connect(Some(PATIENCE))
        .timeout_per_write(Some(PATIENCE))
        .max_idle_connections_per_host(16)
        .max_idle_connections(32)
        .user_agent("kdistro")
        .build()
        .new_agent()
}

/// Reads certificates in PEM: at least one, and nothing else.
fn authorities(pem: &[u8]) -> Result<RootCerts, ReachError> {
    let items: Result<Vec<PemItem<'_>>, _> = parse_pem(pem).collect();
    let certificates =
        items.map_err(|_| ReachError::Authorities)?.into_iter().map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        });
    let certificates: Option<Vec<Certificate<'static>>> = certificates.collect();
    let certificates = certificates.filter(|certificates| !certificates.is_empty());
    Ok(RootCerts::Specific(Arc::new(certificates.ok_or(ReachError::Authorities)?)))
}

/// True when the server was not trusted, before anything was sent to it.
fn is_distrust(error: &ureq::Error) -> bool {
    let is_it = |error: &rustls::Error| matches!(error, rustls::Error::InvalidCertificate(_));
    match error {
        ureq::Error::Rustls(error) => is_it(error),
        ureq::Error::Io(error) => {
            error.get_ref().is_some_and(|inner| inner.downcast_ref().is_some_and(is_it))
        }
        _ => false,
    }
}

/// Tells whether a request may succeed when it is sent again.
pub(crate) fn is_passing(error: &ureq::Error) -> bool {
    use std::io::ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, TimedOut,
        UnexpectedEof,
    };
    let kinds = [
        BrokenPipe,
        ConnectionAborted,
        ConnectionRefused,
        ConnectionReset,
        Interrupted,
        TimedOut,
        UnexpectedEof,
    ];
    match error {
        ureq::Error::Io(error) => kinds.contains(&error.kind()),
        ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed | ureq::Error::Protocol(_) => true,
        _ => false,
    }
}

/// Tells whether a status says that the server may answer otherwise later.
pub(crate) fn is_busy(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// How long to wait before asking again: as long as the server says, within limits, else about as long as planned.
pub(crate) fn pause(planned: Duration, answer: Option<&Response<Body>>) -> Duration {
    let said = answer.and_then(|answer| answer.headers().get(header::RETRY_AFTER));
    let said = said.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    if let Some(seconds) = said {
        return Duration::from_secs(seconds).min(LONGEST_PAUSE);
    }
    // Several that were turned away together should not come back together.
    let mut random = [128];
    // Without chance the middle will do.
    let _ = aws_lc_rs::rand::fill(&mut random);
    let [share] = random;
    planned / 2 + planned * u32::from(share) / 256
}

/// Tries something until it comes to an answer that will stay, or for a handful of times.
pub(crate) fn patiently<E>(
    mut attempt: impl FnMut() -> Result<Response<Body>, E>,
    is_passing: impl Fn(&E) -> bool,
) -> Result<Response<Body>, E> {
    for planned in PAUSES {
        match attempt() {
            Ok(answer) if is_busy(answer.status()) => thread::sleep(pause(planned, Some(&answer))),
            Err(error) if is_passing(&error) => thread::sleep(pause(planned, None)),
            other => return other,
        }
    }
    attempt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_waited_for_as_long_as_it_says_within_limits() {
        let answer = |value: &str| {
            Response::builder()
                .header(header::RETRY_AFTER, value)
                .body(Body::builder().data(""))
                .unwrap()
        };
        let second = Duration::from_secs(1);
        assert_eq!(pause(second, Some(&answer("0"))), Duration::ZERO);
        assert_eq!(pause(second, Some(&answer("7"))), 7 * second);
        assert_eq!(pause(second, Some(&answer("86400"))), LONGEST_PAUSE);
        for other in [None, Some(&answer("Wed, 21 Oct 2015 07:28:00 GMT")), Some(&answer("-1"))] {
            let waited = pause(second, other);
            assert!(waited >= second / 2 && waited < second * 3 / 2, "{waited:?}");
        }
    }

    #[test]
    fn only_certificates_are_authorities() {
        for pem in [
            "",
            "x",
            "-----BEGIN CERTIFICATE-----\n",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            let reach = Reach { ca: Some(pem.into()), ..Reach::default() };
            assert!(matches!(Client::new(&reach), Err(ReachError::Authorities)), "{pem}");
        }
        let reach = Reach { proxy: Some("ftp:// ".to_owned()), ..Reach::default() };
        assert!(matches!(Client::new(&reach), Err(ReachError::Proxy)));
    }
}
