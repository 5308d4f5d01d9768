//! Passes bodies on as they come, and sees where they end.

use std::{
    io::{self, BufRead, Read, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use super::head::Framing;

/// The longest line between chunks.
const LONGEST_LINE: u64 = 4096;

/// What is special about passing a body on.
#[derive(Default)]
pub(super) struct Passage<'a> {
    /// One bit in the middle of the body, or of its first chunk, changes.
    pub(super) flip: bool,
    /// Becomes true when all of the body has been read, before the last of it is written: so whoever hears of the end
    /// of the body finds it true.
    pub(super) is_read: Option<&'a AtomicBool>,
}

/// Passes a body on, byte by byte as it came.
pub(super) fn pass(
    from: &mut impl BufRead,
    to: &mut impl Write,
    framing: Framing,
    mut passage: Passage<'_>,
) -> io::Result<()> {
    match framing {
        Framing::Length(length) => {
            run(from, to, length, &mut passage)?;
        }
        Framing::Chunked => chunks(from, to, passage)?,
        Framing::UntilClose => {
            // Only a connection that has ended has no more bytes.
            while let size @ 1.. = fill(from)?.len() as u64 {
                run(from, to, size, &mut passage)?;
            }
        }
    }
    to.flush()
}

/// Passes on chunks to the last.
///
/// Source: RFC 9112, clause 7.1.
fn chunks(
    from: &mut impl BufRead,
    to: &mut impl Write,
    mut passage: Passage<'_>,
) -> io::Result<()> {
    let is_read = passage.is_read.take();
    loop {
        let size = line(from)?;
        to.write_all(&size)?;
        let size = chunk_size(&size)?;
        if size == 0 {
            break;
        }
        run(from, to, size, &mut passage)?;
        to.write_all(&line(from)?)?;
    }
    loop {
        let trailer = line(from)?;
        let is_last = trailer.trim_ascii() == b"";
        if is_last && let Some(is_read) = is_read {
            is_read.store(true, Ordering::SeqCst);
        }
        to.write_all(&trailer)?;
        if is_last {
            return Ok(());
        }
    }
}

/// Passes on so many bytes.
fn run(
    from: &mut impl BufRead,
    to: &mut impl Write,
    length: u64,
    passage: &mut Passage<'_>,
) -> io::Result<()> {
    let mut position = 0;
    while position < length {
        let available = fill(from)?;
        let count = available.len().min(usize::try_from(length - position).unwrap_or(usize::MAX));
        let Some(piece @ [_, ..]) = available.get(..count) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let end = position + count as u64;
        if end == length
            && let Some(is_read) = passage.is_read
        {
            is_read.store(true, Ordering::SeqCst);
        }
        let at = (length / 2).checked_sub(position).and_then(|at| usize::try_from(at).ok());
        match at.filter(|at| passage.flip && *at < count) {
            Some(at) => {
                let bytes = piece.iter().enumerate();
                let flipped: Vec<u8> = bytes.map(|(i, byte)| byte ^ u8::from(i == at)).collect();
                passage.flip = false;
                to.write_all(&flipped)?;
            }
            None => to.write_all(piece)?,
        }
        from.consume(count);
        position = end;
    }
    Ok(())
}

/// What can be read without waiting, or once something comes.
fn fill(from: &mut impl BufRead) -> io::Result<&[u8]> {
    // Asked twice because a loop that returns what it borrowed is beyond the borrow checker.
    while from.fill_buf().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {}
    from.fill_buf()
}

/// Reads a line with its end.
fn line(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    from.take(LONGEST_LINE).read_until(b'\n', &mut line)?;
    if !line.ends_with(b"\n") {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line)
}

fn chunk_size(line: &[u8]) -> io::Result<u64> {
    let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let size = str::from_utf8(size.trim_ascii()).ok();
    let size = size.and_then(|size| u64::from_str_radix(size, 16).ok());
    size.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no size of a chunk"))
}

/// Takes so many bytes, then fails.
pub(super) struct Cut<W> {
    pub(super) to: W,
    pub(super) left: u64,
}

impl<W: Write> Write for Cut<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.to.write(bytes.get(..count).unwrap_or_default())?;
        self.left -= count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Takes all, even when nobody listens any more.
pub(super) struct Lenient<W>(pub(super) Option<W>);

impl<W: Write> Write for Lenient<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.as_mut().is_some_and(|to| to.write_all(bytes).is_err()) {
            self.0 = None;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(text: &str, framing: Framing, flip: bool) -> (io::Result<()>, String, String) {
        let (mut from, mut to) = (io::BufReader::with_capacity(3, text.as_bytes()), Vec::new());
        let result = pass(&mut from, &mut to, framing, Passage { flip, is_read: None });
        let mut rest = String::new();
        from.read_to_string(&mut rest).unwrap();
        (result, String::from_utf8(to).unwrap(), rest)
    }

    #[test]
    fn passes_a_body_on_to_its_end_and_no_further() {
        let chunks = "5;x=y\r\nhello\r\nA\r\n0123456789\r\n0\r\nSum: 1\r\n\r\n";
        for (body, framing) in [
            ("hello", Framing::Length(5)),
            ("", Framing::Length(0)),
            (chunks, Framing::Chunked),
            ("0\r\n\r\n", Framing::Chunked),
        ] {
            let (result, to, rest) = passed(&format!("{body}GET /"), framing, false);
            result.unwrap();
            assert_eq!((&*to, &*rest), (body, "GET /"));
        }
        let (result, to, _) = passed("all of it", Framing::UntilClose, false);
        result.unwrap();
        assert_eq!(to, "all of it");
    }

    #[test]
    fn a_body_that_ends_early_or_has_a_wrong_chunk_is_an_error() {
        for (body, framing) in [
            ("hell", Framing::Length(5)),
            ("5\r\nhell", Framing::Chunked),
            ("5\r\nhello\r\n", Framing::Chunked),
            ("0\r\n", Framing::Chunked),
            ("x\r\n\r\n", Framing::Chunked),
            ("", Framing::Chunked),
        ] {
            assert!(passed(body, framing, false).0.is_err(), "{body:?}");
        }
    }

    #[test]
    fn flips_one_bit_in_the_middle() {
        for (body, framing, expected) in [
            ("abcde", Framing::Length(5), "abbde"),
            ("a", Framing::Length(1), "`"),
            (
                "4\r\nabcd\r\n2\r\nxy\r\n0\r\n\r\n",
                Framing::Chunked,
                "4\r\nabbd\r\n2\r\nxy\r\n0\r\n\r\n",
            ),
            ("", Framing::Length(0), ""),
        ] {
            let (result, to, _) = passed(body, framing, true);
            result.unwrap();
            assert_eq!(to, expected);
        }
        let (_, to, _) = passed("abcdefgh", Framing::UntilClose, true);
        assert_eq!(to.bytes().zip("abcdefgh".bytes()).filter(|(a, b)| a != b).count(), 1, "{to}");
    }

    #[test]
    fn cuts_after_so_many_bytes() {
        let mut to = Vec::new();
        let mut cut = Cut { to: &mut to, left: 4 };
        assert!(
            pass(&mut "hello".as_bytes(), &mut cut, Framing::Length(5), Passage::default())
                .is_err()
        );
        assert_eq!(to, b"hell");
    }

    #[test]
    fn all_is_known_to_be_read_before_the_last_of_it_is_written() {
        /// Notes with each write whether all has been read.
        struct Noting<'a>(&'a AtomicBool, Vec<bool>);
        impl Write for Noting<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.1.push(self.0.load(Ordering::SeqCst));
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let chunks = "3\r\nabc\r\n4\r\ndefg\r\n0\r\nSum: 1\r\n\r\n";
        for (body, framing) in [("hello", Framing::Length(5)), (chunks, Framing::Chunked)] {
            let is_read = AtomicBool::new(false);
            let mut to = Noting(&is_read, Vec::new());
            let passage = Passage { flip: false, is_read: Some(&is_read) };
            let mut from = io::BufReader::with_capacity(3, body.as_bytes());
            pass(&mut from, &mut to, framing, passage).unwrap();
            let (last, others) = to.1.split_last().unwrap();
            assert!(*last && others.iter().all(|is_read| !is_read), "{body}: {:?}", to.1);
        }
    }
}
