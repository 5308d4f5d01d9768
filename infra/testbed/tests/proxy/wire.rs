//! A client and servers that are seen byte by byte.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// A client with one connection.
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(BufReader::new(stream))
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.0.get_mut().write_all(bytes.as_ref())
    }

    /// Sends a request and reads the answer.
    pub(crate) fn ask(&mut self, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        let length = body.len();
        self.send(format!("{method} {path} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}"))?;
        self.answer(method)
    }

    pub(crate) fn answer(&mut self, method: &str) -> io::Result<Answer> {
        let head = head(&mut self.0)?;
        let length = value(&head, "content-length").and_then(|length| length.parse().ok());
        let mut body = Vec::new();
        match length {
            _ if method == "HEAD" || head.starts_with("HTTP/1.1 1") => {}
            Some(length) => {
                body = vec![0; length];
                self.0.read_exact(&mut body)?;
            }
            None => {
                self.0.read_to_end(&mut body)?;
            }
        }
        Ok(Answer { head, body: String::from_utf8(body).unwrap() })
    }

    /// Reads what comes until the connection ends.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).map(|_| rest)
    }
}

/// What a client was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

/// Reads a head in lowercase but for its first line.
pub(crate) fn head(from: &mut impl BufRead) -> io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if from.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let (first, rest) = head.split_once("\r\n").unwrap();
    Ok(format!("{first}\r\n{}", rest.to_lowercase()))
}

pub(crate) fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// A server that does with each connection what it is told.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
    /// What it notes.
    pub(crate) notes: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Serves until the test ends.
    pub(crate) fn start(
        serve: impl Fn(TcpStream, &Mutex<Vec<String>>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, notes) = (Arc::new(AtomicUsize::new(0)), Arc::default());
        let (counted, noted, serve) = (connections.clone(), Arc::clone(&notes), Arc::new(serve));
        thread::spawn(move || {
            for stream in listener.incoming() {
                counted.fetch_add(1, Ordering::SeqCst);
                let (noted, serve) = (Arc::clone(&noted), Arc::clone(&serve));
                thread::spawn(move || serve(stream.unwrap(), &noted));
            }
        });
        Self { address, connections, notes }
    }

    /// Answers each request with the path and the body that it came with, as long as it is no `/chunks`.
    pub(crate) fn echo() -> Self {
        Self::start(|stream, notes| {
            let mut from = BufReader::new(stream.try_clone()?);
            while let Ok(head) = head(&mut from) {
                let mut words = head.split(' ');
                let (method, path) = (words.next().unwrap(), words.next().unwrap());
                notes.lock().unwrap().push(format!("{method} {path}"));
                let body = body(&mut from, &head)?;
                let body = format!("{path} {}", String::from_utf8(body).unwrap());
                let text = match path {
                    "/chunks" => {
                        "Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n1\r\ne\r\n0\r\n\r\n"
                            .to_owned()
                    }
                    _ if method == "HEAD" => format!("Content-Length: {}\r\n\r\n", body.len()),
                    _ => format!("Content-Length: {}\r\n\r\n{body}", body.len()),
                };
                (&stream).write_all(format!("HTTP/1.1 200 OK\r\n{text}").as_bytes())?;
            }
            Ok(())
        })
    }

    pub(crate) fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap().clone()
    }
}

/// Reads a request's body.
pub(crate) fn body(from: &mut impl BufRead, head: &str) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    stream(from, head, |piece| all.extend_from_slice(piece))?;
    Ok(all)
}

/// Reads a request's body piece by piece.
pub(crate) fn stream(
    from: &mut impl BufRead,
    head: &str,
    mut take: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut run = |from: &mut dyn BufRead, mut left: usize| {
        while left > 0 {
            let available = from.fill_buf()?;
            let count = available.len().min(left);
            if count == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            take(&available[..count]);
            from.consume(count);
            left -= count;
        }
        Ok(())
    };
    if value(head, "transfer-encoding").is_none() {
        return run(
            from,
            value(head, "content-length").map_or(0, |length| length.parse().unwrap()),
        );
    }
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
        run(from, size)?;
        from.read_line(&mut line)?;
        if size == 0 {
            return Ok(());
        }
    }
}
