//! A small HTTP/1.1 server for what is posted, and for what is shown: one request a connection, and none may take long,
//! be large, or be many.
//!
//! It speaks no TLS: it listens on an address of this machine, behind whatever ends TLS there. The kept servers are
//! asynchronous, and `tiny_http` (unchanged since 2022) bounds neither time nor connections; so only the head is read by
//! others (`httparse`), and a connection is ended after its answer, which leaves little to get wrong.

mod connection;
mod connections;

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError, SyncSender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use self::connections::{Connections, Phase};
use super::{Heard, Ignored, Known, ReceiveError, Receiver, Tell};

/// How many connections are served at once. Another one ends the oldest that waits for its client; where all are being
/// answered, it is asked to come again.
const MOST_CONNECTIONS: usize = 16;
/// How much waits for being told: news, and what is ignored, which must not be in its way.
const MOST_NEWS: usize = 64;
const MOST_IGNORED: usize = 16;
/// How long to wait after the system had no connection to give.
const PAUSE: Duration = Duration::from_millis(50);

/// What takes the requests of one path.
pub trait Desk: Send + Sync {
    /// Reads a request of its method.
    fn take(&self, request: &Request) -> Taken;

    /// The method of the requests that it takes; others are refused.
    fn method(&self) -> Method {
        Method::Post
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// To see something.
    Get,
    /// To take something.
    Post,
    /// What no desk does.
    Other,
}

/// What is shown to whoever asks to see it.
#[derive(Debug, PartialEq, Eq)]
pub struct Document {
    /// Its media type.
    pub kind: &'static str,
    /// Its content.
    pub content: String,
}

/// A request that was read to its end.
#[derive(Debug, Default)]
pub struct Request {
    /// The headers in their order, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
}

/// What a desk makes of a request.
#[derive(Debug)]
pub enum Taken {
    /// Something to tell, unless it is known.
    News(Heard),
    /// It was right, and is no news.
    Nothing,
    /// It is not right.
    Refused(Status, Ignored),
    /// Something to see.
    Shown(Document),
    /// There is something to see, but not now, or not for whoever asks.
    Failed(Status),
}

/// What is answered to a request.
enum Answer {
    Status(Status),
    /// Another method is right.
    NotAllowed(Method),
    Document(Document),
}

impl From<Status> for Answer {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

/// What is answered.
///
/// Source: RFC 9110, 15; RFC 6585, 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the standard")]
pub enum Status {
    Ok = 200,
    NoContent = 204,
    BadRequest = 400,
    Unauthorized = 401,
    NotFound = 404,
    MethodNotAllowed = 405,
    RequestTimeout = 408,
    Conflict = 409,
    LengthRequired = 411,
    ContentTooLarge = 413,
    MisdirectedRequest = 421,
    RequestHeaderFieldsTooLarge = 431,
    ServiceUnavailable = 503,
}

/// The server; dropping it ends it.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
    news: mpsc::Receiver<Heard>,
    ignored: mpsc::Receiver<Ignored>,
}

/// What all connections share.
struct Shared {
    desks: BTreeMap<String, Box<dyn Desk>>,
    known: Mutex<Known>,
    news: SyncSender<Heard>,
    ignored: SyncSender<Ignored>,
    connections: Connections,
    stops: AtomicBool,
}

impl Request {
    /// Returns the value of a header that is there exactly once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(found, _)| found == name);
        let (_, value) = values.next()?;
        values.next().is_none().then_some(str::from_utf8(value).ok()?)
    }
}

impl Server {
    /// Listens on an address of this machine; each path, such as `/hook`, has its desk. `known` is what was told before.
    pub fn start(
        address: impl ToSocketAddrs,
        desks: BTreeMap<String, Box<dyn Desk>>,
        known: Known,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let (to_news, news) = mpsc::sync_channel(MOST_NEWS);
        let (to_ignored, ignored) = mpsc::sync_channel(MOST_IGNORED);
        let shared = Arc::new(Shared {
            desks,
            known: Mutex::new(known),
            news: to_news,
            ignored: to_ignored,
            connections: Connections::default(),
            stops: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        let accepting = move || accept(&listener, &accepting);
        let accepting = Some(thread::Builder::new().name("receive".to_owned()).spawn(accepting)?);
        Ok(Self { address, shared, accepting, news, ignored })
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Receiver for Server {
    /// What was posted was answered when it came, so that [`Outcome::Later`](super::Outcome::Later) changes nothing.
    fn receive(&mut self, patience: Duration, tell: &mut Tell<'_>) -> Result<usize, ReceiveError> {
        let first = match self.news.recv_timeout(patience) {
            Ok(heard) => Some(heard),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                let source = "its server has ended".into();
                return Err(ReceiveError { place: self.address.to_string(), source });
            }
        };
        let mut told = 0;
        for heard in first.into_iter().chain(self.news.try_iter()) {
            tell(Ok(heard));
            told += 1;
        }
        for ignored in self.ignored.try_iter() {
            tell(Err(ignored));
            told += 1;
        }
        Ok(told)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stops.store(true, Ordering::SeqCst);
        // Whoever waits for a connection gets one.
        let woken = TcpStream::connect(self.address).is_ok();
        if let Some(accepting) = self.accepting.take().filter(|_| woken) {
            // It does not panic, and there is nobody to tell.
            let _ = accepting.join();
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Shared {
    /// Decides what is answered to a request that came to its end.
    fn answer(&self, (method, path): (Method, &str), request: &Request) -> Answer {
        let Some(desk) = self.desks.get(path) else { return Status::NotFound.into() };
        if method != desk.method() {
            return Answer::NotAllowed(desk.method());
        }
        match desk.take(request) {
            Taken::News(heard) => self.tell(heard).into(),
            Taken::Nothing => Status::NoContent.into(),
            Taken::Refused(status, ignored) => {
                // Strangers may send more than anybody wants to read.
                let _ = self.ignored.try_send(ignored);
                status.into()
            }
            Taken::Shown(document) => Answer::Document(document),
            Taken::Failed(status) => status.into(),
        }
    }

    /// Remembers only what will be told: the sender repeats the rest.
    fn tell(&self, heard: Heard) -> Status {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let id = heard.id;
        if known.has(&id) {
            return Status::Conflict;
        }
        if self.news.try_send(heard).is_err() {
            return Status::ServiceUnavailable;
        }
        known.add(id);
        Status::NoContent
    }
}

/// A connection for as long as it is served.
struct Served {
    stream: Arc<TcpStream>,
    shared: Arc<Shared>,
}

impl Served {
    fn enter(&self, phase: Phase) {
        self.shared.connections.enter(&self.stream, phase);
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.shared.connections.remove(&self.stream);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stops.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else {
            thread::sleep(PAUSE);
            continue;
        };
        let stream = Arc::new(stream);
        if !shared.connections.add(&stream, MOST_CONNECTIONS) {
            connection::refuse(&stream);
            continue;
        }
        let served = Served { stream, shared: Arc::clone(shared) };
        let serve = move || connection::serve(&served);
        // Without a thread the connection ends, and whoever made it comes again.
        let _ = thread::Builder::new().name("received".to_owned()).spawn(serve);
    }
}
