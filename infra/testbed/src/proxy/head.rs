//! The head of a request or an answer.

use std::io::{self, BufRead, Read};

/// The longest head.
const LONGEST: u64 = 64 * 1024;

/// The head of a message, as it came.
pub(super) struct Head {
    /// All of it, with the empty line at its end.
    pub(super) bytes: Vec<u8>,
    /// Its first line.
    pub(super) first: String,
    /// Names and values.
    pub(super) headers: Vec<(String, String)>,
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// By its length in bytes.
    Length(u64),
    /// It comes in chunks, the last of them empty.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

impl Head {
    /// Reads a head; `None` where the connection ends before one.
    pub(super) fn read(from: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut from = from.take(LONGEST);
        let mut bytes = Vec::new();
        loop {
            let begin = bytes.len();
            from.read_until(b'\n', &mut bytes)?;
            match bytes.get(begin..).unwrap_or_default() {
                [] if begin == 0 => return Ok(None),
                // Empty lines before a request are passed over.
                b"\r\n" | b"\n" if begin == 0 => bytes.clear(),
                b"\r\n" | b"\n" => break,
                [.., b'\n'] => {}
                _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "no whole head")),
            }
        }
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default().to_owned();
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        let headers = headers.collect();
        Ok(Some(Self { bytes, first, headers }))
    }

    /// The status of an answer; 0 if it has none.
    pub(super) fn status(&self) -> u16 {
        self.first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// True when one of the comma-separated values of a header is `value`.
    pub(super) fn says(&self, name: &str, value: &str) -> bool {
        let mut of_name = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        of_name.any(|(_, all)| all.split(',').any(|one| one.trim().eq_ignore_ascii_case(value)))
    }

    /// True when nothing follows on the connection.
    pub(super) fn closes(&self) -> bool {
        let is_old = self.first.starts_with("HTTP/1.0") || self.first.ends_with("HTTP/1.0");
        self.says("connection", "close") || is_old && !self.says("connection", "keep-alive")
    }

    /// How the end of a request's body is known.
    ///
    /// Source: RFC 9112, clause 6.3.
    pub(super) fn of_request(&self) -> io::Result<Framing> {
        Ok(self.framing()?.unwrap_or(Framing::Length(0)))
    }

    /// How the end of an answer's body is known.
    pub(super) fn of_answer(&self, method: &str) -> io::Result<Framing> {
        if method == "HEAD" || matches!(self.status(), 100..200 | 204 | 304) {
            return Ok(Framing::Length(0));
        }
        Ok(self.framing()?.unwrap_or(Framing::UntilClose))
    }

    fn framing(&self) -> io::Result<Option<Framing>> {
        if self.says("transfer-encoding", "chunked") {
            return Ok(Some(Framing::Chunked));
        }
        let known =
            self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let Some((_, length)) = known else { return Ok(None) };
        let length =
            length.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "no length"));
        length.map(|length| Some(Framing::Length(length)))
    }

    /// Adds that nothing follows on the connection.
    pub(super) fn close(&mut self) {
        if self.closes() {
            return;
        }
        let end = if self.bytes.ends_with(b"\r\n") { 2 } else { 1 };
        self.bytes.truncate(self.bytes.len() - end);
        self.bytes.extend(b"Connection: close\r\n\r\n");
        self.headers.push(("Connection".to_owned(), "close".to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        Head::read(&mut text.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn reads_one_head_and_leaves_what_follows() {
        let mut from =
            "\r\nPUT /a?b HTTP/1.1\r\nContent-Length:  3 \r\nx: y: z\r\n\r\nabc".as_bytes();
        let head = Head::read(&mut from).unwrap().unwrap();
        assert_eq!(from, b"abc");
        assert_eq!(head.first, "PUT /a?b HTTP/1.1");
        assert_eq!(head.of_request().unwrap(), Framing::Length(3));
        assert!(head.says("X", "y: z") && !head.closes());
        assert!(head.bytes.starts_with(b"PUT ") && head.bytes.ends_with(b"z\r\n\r\n"));
    }

    #[test]
    fn refuses_what_is_no_whole_head() {
        assert!(Head::read(&mut "".as_bytes()).unwrap().is_none());
        let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(70_000));
        for text in ["GET / HTTP/1.1\r\n", "GET / HT", "GET / HTTP/1.1\r\nx: y", &long] {
            assert!(Head::read(&mut text.as_bytes()).is_err(), "{} bytes", text.len());
        }
        let wrong = head("PUT / HTTP/1.1\r\nContent-Length: x\r\n\r\n");
        assert!(wrong.of_request().is_err());
    }

    #[test]
    fn knows_the_end_of_a_body() {
        let length = head("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n");
        assert_eq!(length.of_answer("GET").unwrap(), Framing::Length(7));
        assert_eq!(length.of_answer("HEAD").unwrap(), Framing::Length(0));
        let chunks = head("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n");
        assert_eq!(chunks.of_answer("GET").unwrap(), Framing::Chunked);
        let none = head("HTTP/1.1 200 OK\r\n\r\n");
        assert_eq!(none.of_answer("GET").unwrap(), Framing::UntilClose);
        assert_eq!(none.of_request().unwrap(), Framing::Length(0));
        for status in ["100 Continue", "204 No Content", "304 Not Modified"] {
            let head = head(&format!("HTTP/1.1 {status}\r\ncontent-length: 7\r\n\r\n"));
            assert_eq!(head.of_answer("GET").unwrap(), Framing::Length(0), "{status}");
        }
    }

    #[test]
    fn knows_and_says_that_nothing_follows() {
        for (text, expected) in [
            ("GET / HTTP/1.1\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nConnection: x, Close\r\n\r\n", true),
            ("GET / HTTP/1.0\r\n\r\n", true),
            ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false),
            ("HTTP/1.0 200 OK\r\n\r\n", true),
        ] {
            assert_eq!(head(text).closes(), expected, "{text}");
        }
        let mut answer = head("HTTP/1.1 401 No\r\na: b\r\n\r\n");
        answer.close();
        answer.close();
        assert_eq!(answer.bytes, b"HTTP/1.1 401 No\r\na: b\r\nConnection: close\r\n\r\n");
        assert!(answer.closes());
    }
}
