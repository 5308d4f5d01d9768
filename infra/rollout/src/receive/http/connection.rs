//! One connection: reads one request, answers it, ends.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use super::{super::message::LARGEST_MESSAGE, Request, Shared, Status};

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

/// Serves a connection to its end.
pub(super) fn serve(stream: &TcpStream, shared: &Shared) {
    let status = match read(stream) {
        Ok((target, request)) => shared.answer(&target, &request),
        Err(status) => status,
    };
    answer(stream, status);
}

/// Answers one that is too many.
pub(super) fn refuse(mut stream: &TcpStream) {
    // The answer is small enough for the buffer of any connection, and nobody waits for more.
    let _ = stream.set_nonblocking(true);
    let _ = stream.write_all(text(Status::ServiceUnavailable).as_bytes());
}

fn read(stream: &TcpStream) -> Result<(String, Request), Status> {
    let mut timed = Timed { stream, end: Instant::now() + PATIENCE };
    let (head, mut body) = read_head(&mut timed)?;
    // More than one request is not read; what follows the body belongs to nobody.
    body.truncate(head.length);
    if head.waits && body.len() < head.length {
        let mut stream = stream;
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").map_err(|_| Status::BadRequest)?;
    }
    let missing = head.length - body.len();
    timed.by_ref().take(missing as u64).read_to_end(&mut body).map_err(|error| late(&error))?;
    if body.len() < head.length {
        return Err(Status::BadRequest);
    }
    Ok((head.target, Request { headers: head.headers, body }))
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
    if request.method != Some("POST") {
        return Err(Status::MethodNotAllowed);
    }
    let headers = request.headers.iter();
    let headers = headers.map(|it| (it.name.to_ascii_lowercase(), it.value.to_vec())).collect();
    let said = Request { headers, body: Vec::new() };
    let has = |name: &str| said.headers.iter().any(|(found, _)| found == name);
    if has("transfer-encoding") || !has("content-length") {
        return Err(Status::LengthRequired);
    }
    let length = said.header("content-length").filter(|text| {
        !text.is_empty() && text.len() < 16 && text.bytes().all(|byte| byte.is_ascii_digit())
    });
    let length: usize = length.and_then(|text| text.parse().ok()).ok_or(Status::BadRequest)?;
    if length > LARGEST_MESSAGE {
        return Err(Status::ContentTooLarge);
    }
    let waits = said.header("expect").is_some_and(|it| it.eq_ignore_ascii_case("100-continue"));
    let target = request.path.unwrap_or_default().to_owned();
    Ok(Head { target, headers: said.headers, length, waits })
}

fn answer(mut stream: &TcpStream, status: Status) {
    let _ = stream.set_write_timeout(Some(FAREWELL));
    if stream.write_all(text(status).as_bytes()).is_err()
        || stream.shutdown(Shutdown::Write).is_err()
    {
        return;
    }
    // Ended with bytes unread, a connection is reset, and the answer may be lost with it.
    let rest = Timed { stream, end: Instant::now() + FAREWELL };
    let _ = io::copy(&mut rest.take(LARGEST_REST), &mut io::sink());
}

/// The whole answer. It says nothing but the status: whoever asks may be a stranger.
fn text(status: Status) -> String {
    let reason = match status {
        Status::NoContent => "No Content",
        Status::BadRequest => "Bad Request",
        Status::Unauthorized => "Unauthorized",
        Status::NotFound => "Not Found",
        Status::MethodNotAllowed => "Method Not Allowed",
        Status::RequestTimeout => "Request Timeout",
        Status::Conflict => "Conflict",
        Status::LengthRequired => "Length Required",
        Status::ContentTooLarge => "Content Too Large",
        Status::RequestHeaderFieldsTooLarge => "Request Header Fields Too Large",
        Status::ServiceUnavailable => "Service Unavailable",
    };
    // RFC 9110, 8.6: none with 204.
    let length = if status == Status::NoContent { "" } else { "Content-Length: 0\r\n" };
    let allow = if status == Status::MethodNotAllowed { "Allow: POST\r\n" } else { "" };
    format!("HTTP/1.1 {} {reason}\r\n{length}{allow}Connection: close\r\n\r\n", status as u16)
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
        let long = "POST / HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n";
        let many = format!("POST / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(65));
        for (text, status) in [
            ("GET / HTTP/1.1\r\n\r\n", Status::MethodNotAllowed),
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
