//! A server that answers as it is told and keeps what it was sent: for what no real server does on request.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    thread,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

/// What was sent.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The method and the path, as one text.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn read(stream: &mut impl Read) -> Option<Self> {
        let mut reader = BufReader::new(stream);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if line.trim_end().is_empty() {
                break;
            }
            lines.push(line.trim_end().to_owned());
        }
        let mut words = lines.first()?.split(' ').map(str::to_owned);
        let (method, path) = (words.next()?, words.next()?);
        let headers = lines.iter().skip(1).filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut request = Self { method, path, headers, body: Vec::new() };
        let length = request.header("content-length").map_or(0, |text| text.parse().unwrap());
        request.body = vec![0; length];
        reader.read_exact(&mut request.body).ok()?;
        Some(request)
    }
}

/// What is answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

/// An answer without a body.
pub(crate) fn answer(status: u16) -> Answer {
    Answer { status, ..Answer::default() }
}

impl Answer {
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    fn write(&self, stream: &mut impl Write, is_head: bool) {
        let mut headers: Vec<_> =
            self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        if !self.headers.iter().any(|(name, _)| *name == "Content-Length") {
            headers.push(format!("Content-Length: {}\r\n", self.body.len()));
        }
        let first = format!("HTTP/1.1 {} Status\r\nConnection: close\r\n", self.status);
        let mut bytes = format!("{first}{}\r\n", headers.concat()).into_bytes();
        if !is_head {
            bytes.extend(&self.body);
        }
        let _ = stream.write_all(&bytes).and_then(|()| stream.flush());
    }
}

/// A server of this process; it ends with it.
#[derive(Clone)]
pub(crate) struct Recorder {
    /// Such as `https://localhost:41234`.
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Recorder {
    /// Starts a server without TLS.
    pub(crate) fn start(rule: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::serve("http://127.0.0.1", rule, |stream, serve| serve(&mut { stream }))
    }

    /// Starts a server with TLS, as `localhost`.
    pub(crate) fn start_tls(
        tls: &Tls,
        rule: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let config = Arc::clone(&tls.config);
        Self::serve("https://localhost", rule, move |stream, serve| {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            serve(&mut stream);
            stream.conn.send_close_notify();
            let _ = stream.flush();
        })
    }

    fn serve(
        name: &str,
        rule: impl Fn(&Request) -> Answer + Send + Sync + 'static,
        wrap: impl Fn(TcpStream, &dyn Fn(&mut dyn Stream)) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{name}:{}", listener.local_addr().unwrap().port());
        let requests: Arc<Mutex<Vec<Request>>> = Arc::default();
        let kept = Arc::clone(&requests);
        let shared = Arc::new((rule, wrap));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (shared, kept) = (Arc::clone(&shared), Arc::clone(&kept));
                thread::spawn(move || {
                    (shared.1)(stream.unwrap(), &|mut stream| {
                        let Some(request) = Request::read(&mut stream) else { return };
                        kept.lock().unwrap().push(request.clone());
                        (shared.0)(&request).write(&mut stream, request.method == "HEAD");
                    });
                });
            }
        });
        Self { url, requests }
    }

    /// Returns all that was sent until now.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// Returns methods and paths of all that was sent until now.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.requests().iter().map(Request::line).collect()
    }
}

/// Both ways of a connection.
pub(crate) trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

/// A throw-away authority, and a certificate of it for this machine.
pub(crate) struct Tls {
    /// The authority in PEM.
    pub(crate) ca: Vec<u8>,
    config: Arc<ServerConfig>,
}

impl Tls {
    /// Makes them with openssl.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        openssl(folder, "req -x509 -days 2 -subj /CN=authority -keyout ca.key -out ca.pem", &key);
        openssl(folder, "req -subj /CN=localhost -keyout server.key -out server.csr", &key);
        fs::write(folder.join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
        let sign = "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.pem";
        openssl(folder, sign, &[]);
        let read = |name: &str| fs::read(folder.join(name)).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(&read("server.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(&read("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let config = Arc::new(config.with_single_cert(chain, key).unwrap());
        Self { ca: read("ca.pem"), config }
    }
}

fn openssl(folder: &Path, line: &str, more: &[&str]) {
    let ran = Command::new("openssl").args(line.split(' ')).args(more).current_dir(folder).output();
    let ran = ran.unwrap_or_else(|error| panic!("{error}: install the Debian package openssl"));
    assert!(ran.status.success(), "openssl: {}", String::from_utf8_lossy(&ran.stderr));
}

/// Joins an error with its sources, as the printer does.
pub(crate) fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}
