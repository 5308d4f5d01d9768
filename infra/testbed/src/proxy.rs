//! A proxy that stands between a client and a server and does what networks and overloaded servers do.
//!
//! It speaks HTTP/1.1 (RFC 9112) as far as it must to tell requests on one connection apart: heads, lengths, chunks,
//! `Expect: 100-continue`. It changes nothing that passes, but for the faults that it is told to make. Each request
//! goes to the server on a connection of its own.

mod body;
mod connection;
mod head;
mod sockets;

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use self::{head::Head, sockets::Sockets};

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: it is passed on.
    None,
    /// It never reaches the server: it is answered with a status and a body.
    Status(u16, String),
    /// It never reaches the server: the connection is reset.
    Reset,
    /// The server does what it is asked; then the connection is reset, and the answer is lost.
    ResetAfter,
    /// The connection is closed after so many bytes of the answer's body.
    Cut(u64),
    /// One bit in the middle of the answer's body (of its first chunk, when it comes in chunks) is flipped.
    Flip,
    /// It is passed on after a while.
    Delay(Duration),
}

/// A request that arrived at the proxy.
pub struct Request {
    /// Its number: from 1 in the order of arrival, on all connections together.
    pub number: u64,
    /// Its method.
    pub method: String,
    /// Its path with the query.
    pub path: String,
    headers: Vec<(String, String)>,
}

impl Request {
    fn new(number: u64, head: &Head) -> Self {
        let mut words = head.first.split(' ').map(str::to_owned);
        let [method, path] = [words.next(), words.next()].map(Option::unwrap_or_default);
        Self { number, method, path, headers: head.headers.clone() }
    }

    /// Returns the value of a header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Shows no headers: passwords and tokens stand there.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {}", self.number, self.method, self.path)
    }
}

/// A proxy that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The server's address is not one.
    #[error("`{upstream}` is not the address of a server; expected http://HOST:PORT")]
    Upstream {
        /// What was given.
        upstream: String,
    },
    /// The system gave no port.
    #[error("cannot listen on 127.0.0.1")]
    Listen {
        /// What it said.
        source: io::Error,
    },
}

/// A proxy on a free port of 127.0.0.1; dropping it ends it and its connections.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// What all connections know.
struct Shared {
    /// `HOST:PORT`.
    upstream: String,
    rule: Box<dyn Fn(&Request) -> Fault + Send + Sync>,
    requests: AtomicU64,
    sockets: Sockets,
}

impl Proxy {
    /// Starts a proxy for `http://HOST:PORT`, or just `HOST:PORT`, that asks `rule` what to do with each request.
    ///
    /// `rule` is called from several threads at once.
    pub fn start(
        upstream: &str,
        rule: impl Fn(&Request) -> Fault + Send + Sync + 'static,
    ) -> Result<Self, ProxyError> {
        let host = upstream.strip_prefix("http://").unwrap_or(upstream).trim_end_matches('/');
        let port = host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if host.contains('/') || port.is_none() {
            return Err(ProxyError::Upstream { upstream: upstream.to_owned() });
        }
        let listen = || {
            let listener = TcpListener::bind("127.0.0.1:0")?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) = listen().map_err(|source| ProxyError::Listen { source })?;
        let shared = Arc::new(Shared {
            upstream: host.to_owned(),
            rule: Box::new(rule),
            requests: AtomicU64::new(0),
            sockets: Sockets::default(),
        });
        let known = Arc::clone(&shared);
        let acceptor = Some(thread::spawn(move || accept(&listener, &known)));
        Ok(Self { address, shared, acceptor })
    }

    /// Returns `127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Returns `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Counts the requests that have arrived.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.sockets.stop();
        // Wakes the one who waits for the next client.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            // A rule that panicked has said so.
            let _ = acceptor.join();
        }
    }
}

/// Serves clients until the proxy ends, and all of them have.
fn accept(listener: &TcpListener, shared: &Shared) {
    thread::scope(|scope| {
        for client in listener.incoming() {
            if shared.sockets.are_stopped() {
                return;
            }
            // A client that is gone already needs nothing.
            let Ok(client) = client else { continue };
            // What goes wrong on a connection ends it, and the client sees that.
            scope.spawn(move || connection::serve(client, shared));
        }
    });
}
