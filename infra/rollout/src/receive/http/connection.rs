//! One connection: reads one request, answers it, ends.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use super::{
    super::message::LARGEST_MESSAGE, Answer, Document, Method, Phase, Request, Served, Status,
};

/// How long the head of a request may take: it is small, and sent at once.
const HEAD_PATIENCE: Duration = Duration::from_secs(2);
/// How long a whole request may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long is waited for the end of what a client still sends after its answer, and how much of it is read.
const FAREWELL: Duration = Duration::from_secs(1);
const LARGEST_REST: u64 = 4 << 20;
/// The largest head.
const LARGEST_HEAD: usize = 16 * 1024;
const MOST_HEADERS: usize = 64;

/// The head of a request.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    method: Method,
    /// The path with its query.
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    length: usize,
    /// Whether the client waits for a word before it sends the body.
    waits: bool,
}

/// A stream that ends at a time, however slowly it comes.
struct Timed<'a> {
    stream: &'a TcpStream,
    end: Instant,
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buffer)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_write_timeout(Some(left))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Serves a connection to its end.
pub(super) fn serve(served: &Served) {
    let (stream, shared) = (&*served.stream, &*served.shared);
    let read = read(stream);
    served.enter(Phase::Answered);
    let answer = match read {
        Ok((method, target, request)) => shared.answer((method, &target), &request),
        Err(status) => status.into(),
    };
    if send(stream, &answer).is_ok() {
        served.enter(Phase::Waits);
        part(stream);
    }
}

/// Answers one that is too many.
pub(super) fn refuse(mut stream: &TcpStream) {
    // The answer is small enough for the buffer of any connection, and nobody waits for more.
    let _ = stream.set_nonblocking(true);
    let _ = stream.write_all(text(&Status::ServiceUnavailable.into()).as_bytes());
}

fn read(stream: &TcpStream) -> Result<(Method, String, Request), Status> {
    let begin = Instant::now();
    let mut timed = Timed { stream, end: begin + HEAD_PATIENCE };
    let (head, mut body) = read_head(&mut timed)?;
    timed.end = begin + PATIENCE;
    // More than one request is not read; what follows the body belongs to nobody.
    body.truncate(head.length);
    if head.waits && body.len() < head.length {
        let mut stream = stream;
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").map_err(|_| Status::BadRequest)?;
    }
    let missing = head.length - body.len();
    let mut rest = Read::by_ref(&mut timed).take(missing as u64);
    rest.read_to_end(&mut body).map_err(|error| late(&error))?;
    if body.len() < head.length {
        return Err(Status::BadRequest);
    }
    Ok((head.method, head.target, Request { headers: head.headers, body }))
}

fn late(error: &io::Error) -> Status {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Status::RequestTimeout,
        _ => Status::BadRequest,
    }
}

/// Reads a head, and what came with it of the body.
fn read_head(stream: &mut impl Read) -> Result<(Head, Vec<u8>), Status> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = match stream.read(&mut piece) {
            Ok(0) => return Err(Status::BadRequest),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(late(&error)),
        };
        // An end may have begun in the piece before.
        let begin = bytes.len().saturating_sub(3);
        bytes.extend_from_slice(piece.get(..count).unwrap_or_default());
        let end =
            bytes.get(begin..).unwrap_or_default().windows(4).position(|it| it == b"\r\n\r\n");
        let end = end.map(|end| begin + end + 4);
        if end.unwrap_or(bytes.len()) > LARGEST_HEAD {
            return Err(Status::RequestHeaderFieldsTooLarge);
        }
        if let Some(end) = end {
            let body = bytes.split_off(end);
            return Ok((parse(&bytes)?, body));
        }
    }
}

/// Reads a head; refuses all that two readers could understand in two ways.
///
/// Source: RFC 9112, 6.3: a length that is said twice, or beside an encoding, is how requests are smuggled.
fn parse(bytes: &[u8]) -> Result<Head, Status> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Status::RequestHeaderFieldsTooLarge),
        _ => return Err(Status::BadRequest),
    }
    let method = match request.method {
        Some("GET") => Method::Get,
        Some("POST") => Method::Post,
        _ => Method::Other,
    };
    let headers = request.headers.iter();
    let headers = headers.map(|it| (it.name.to_ascii_lowercase(), it.value.to_vec())).collect();
    let said = Request { headers, body: Vec::new() };
    let has = |name: &str| said.headers.iter().any(|(found, _)| found == name);
    // RFC 9110, 8.6: what is posted says its length, also where it is 0; who asks to see something need not.
    let is_silent = !has("content-length");
    if has("transfer-encoding") || (is_silent && method == Method::Post) {
        return Err(Status::LengthRequired);
    }
    let length = if is_silent { Some("0") } else { said.header("content-length") };
    let length = length.filter(|text| {
        !text.is_empty() && text.len() < 16 && text.bytes().all(|byte| byte.is_ascii_digit())
    });
    let length: usize = length.and_then(|text| text.parse().ok()).ok_or(Status::BadRequest)?;
    if length > LARGEST_MESSAGE {
        return Err(Status::ContentTooLarge);
    }
    let waits = said.header("expect").is_some_and(|it| it.eq_ignore_ascii_case("100-continue"));
    let target = request.path.unwrap_or_default().to_owned();
    Ok(Head { method, target, headers: said.headers, length, waits })
}

fn send(stream: &TcpStream, answer: &Answer) -> io::Result<()> {
    let patience = if matches!(answer, Answer::Document(_)) { PATIENCE } else { FAREWELL };
    let mut timed = Timed { stream, end: Instant::now() + patience };
    timed.write_all(text(answer).as_bytes())?;
    stream.shutdown(Shutdown::Write)
}

/// Waits for the client to leave: ended with bytes unread, a connection is reset, and the answer may be lost with it.
fn part(stream: &TcpStream) {
    let rest = Timed { stream, end: Instant::now() + FAREWELL };
    let _ = io::copy(&mut rest.take(LARGEST_REST), &mut io::sink());
}

/// The whole answer. Without a document it says nothing but the status: whoever asks may be a stranger.
fn text(answer: &Answer) -> String {
    let (status, headers, content) = match answer {
        // RFC 9110, 8.6: no length with 204.
        Answer::Status(Status::NoContent) => (Status::NoContent, String::new(), ""),
        Answer::Status(status) => (*status, "Content-Length: 0\r\n".to_owned(), ""),
        Answer::NotAllowed(right) => {
            let right = if *right == Method::Get { "GET" } else { "POST" };
            let headers = format!("Content-Length: 0\r\nAllow: {right}\r\n");
            (Status::MethodNotAllowed, headers, "")
        }
        Answer::Document(document) => (Status::Ok, headers(document), document.content.as_str()),
    };
    let reason = reason(status);
    format!("HTTP/1.1 {} {reason}\r\n{headers}Connection: close\r\n\r\n{content}", status as u16)
}

/// The headers of a document that is another at every look, and that no browser shall take for anything else.
fn headers(Document { kind, content }: &Document) -> String {
    let length = content.len();
    format!(
        "Content-Type: {kind}\r\nContent-Length: {length}\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
    )
}

fn reason(status: Status) -> &'static str {
    match status {
        Status::Ok => "OK",
        Status::NoContent => "No Content",
        Status::BadRequest => "Bad Request",
        Status::Unauthorized => "Unauthorized",
        Status::NotFound => "Not Found",
        Status::MethodNotAllowed => "Method Not Allowed",
        Status::RequestTimeout => "Request Timeout",
        Status::Conflict => "Conflict",
        Status::LengthRequired => "Length Required",
        Status::ContentTooLarge => "Content Too Large",
        Status::MisdirectedRequest => "Misdirected Request",
        Status::RequestHeaderFieldsTooLarge => "Request Header Fields Too Large",
        Status::ServiceUnavailable => "Service Unavailable",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(text: &str) -> Result<Head, Status> {
        parse(text.as_bytes())
    }

    #[test]
    fn a_request_has_one_meaning_or_is_refused() {
        let read = head("POST /hook?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n").unwrap();
        assert_eq!((read.target.as_str(), read.length, read.waits), ("/hook?a=b", 7, false));
        assert_eq!(read.headers[0], ("host".to_owned(), b"x".to_vec()));
        for (text, method) in
            [("GET", Method::Get), ("HEAD", Method::Other), ("get", Method::Other)]
        {
            let read = head(&format!("{text} / HTTP/1.1\r\n\r\n")).unwrap();
            assert_eq!((read.method, read.length), (method, 0));
        }
        let long = "POST / HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n";
        let many = format!("POST / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(65));
        for (text, status) in [
            ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", Status::LengthRequired),
            ("GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", Status::BadRequest),
            ("POST / HTTP/1.1\r\n\r\n", Status::LengthRequired),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", Status::LengthRequired),
            (
                "POST / HTTP/1.1\r\nContent-Length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
                Status::LengthRequired,
            ),
            (
                "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
                Status::BadRequest,
            ),
            ("POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n", Status::BadRequest),
            ("POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n", Status::BadRequest),
            ("POST / HTTP/1.1\r\nContent-Length: \r\n\r\n", Status::BadRequest),
            ("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", Status::BadRequest),
            (long, Status::ContentTooLarge),
            (&many, Status::RequestHeaderFieldsTooLarge),
            ("POST / HTTP/1.1\nContent-Length: 1\n\nPOST / HTTP/1.1\r\n\r\n", Status::BadRequest),
            ("POST / HTTP/2.0\r\n\r\n", Status::BadRequest),
            ("POST /\r\n\r\n", Status::BadRequest),
            ("\u{16}\u{3}\u{1}\r\n\r\n", Status::BadRequest),
            ("POST / HTTP/1.1\r\nContent Length: 1\r\n\r\n", Status::BadRequest),
        ] {
            assert_eq!(head(text), Err(status), "{text}");
        }
    }

    #[test]
    fn a_head_without_end_is_not_read_for_ever() {
        let mut endless = io::repeat(b'a');
        assert_eq!(read_head(&mut endless).unwrap_err(), Status::RequestHeaderFieldsTooLarge);
        let mut cut = &b"POST / HTTP/1.1\r\nContent-Le"[..];
        assert_eq!(read_head(&mut cut).unwrap_err(), Status::BadRequest);
    }

    proptest! {
        #[test]
        fn any_head_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn a_head_is_read_alike_in_whatever_pieces_it_comes(step in 1..80_usize, body in "[a-z]{0,9}") {
            struct Pieces<'a>(std::slice::Chunks<'a, u8>);
            impl Read for Pieces<'_> {
                fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                    let piece = self.0.next().unwrap_or_default();
                    buffer[..piece.len()].copy_from_slice(piece);
                    Ok(piece.len())
                }
            }
            let head = "POST /x HTTP/1.1\r\nHost: y\r\nContent-Length: 9\r\n\r\n";
            let whole = format!("{head}{body}");
            let mut pieces = Pieces(whole.as_bytes().chunks(step));
            let (read, rest) = read_head(&mut pieces).unwrap();
            prop_assert_eq!(read, parse(head.as_bytes()).unwrap());
            prop_assert!(body.as_bytes().starts_with(&rest));
        }
    }
}
