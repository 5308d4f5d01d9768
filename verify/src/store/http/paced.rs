//! Reads an answer against the clock, whatever the server does to take its time.
//!
//! The time-outs of a connection start anew with each byte that comes, and inside of a TLS record nobody can look at
//! the clock at all. So a thread of its own waits for the server, and the reader waits for that thread only as long
//! as the file may take. A thread that is given up ends with its connection.

use std::{
    io::{self, ErrorKind, Read},
    sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    thread,
    time::{Duration, Instant},
};

/// The most bytes that are handed over at once.
const PART: usize = 64 * 1024;
/// Parts that wait to be read.
const WAITING: usize = 4;

/// How long a file may take: a while, and longer with each byte that has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The while.
    pub(super) patience: Duration,
    /// Bytes that are worth another second.
    pub(super) rate: u64,
}

impl Pace {
    fn allows(&self, received: u64) -> Duration {
        self.patience + Duration::from_millis(received.saturating_mul(1000) / self.rate.max(1))
    }
}

/// What the thread hands over.
enum Part {
    Absent,
    Begun,
    Bytes(Vec<u8>),
    End,
    Failed(io::Error),
}

/// An answer under way.
pub(super) struct Paced {
    parts: Receiver<Part>,
    pace: Pace,
    started: Instant,
    received: u64,
    unread: io::Cursor<Vec<u8>>,
    ended: bool,
}

impl Paced {
    /// Starts a request and waits for the first of its answer; none when that is that there is no such file.
    pub(super) fn open<R: Read>(
        pace: Pace,
        request: impl FnOnce() -> io::Result<Option<R>> + Send + 'static,
    ) -> io::Result<Option<Self>> {
        let (sender, parts) = mpsc::sync_channel(WAITING);
        let started = Instant::now();
        thread::Builder::new().spawn(move || hand_over(request, &sender))?;
        let unread = io::Cursor::default();
        let mut answer = Self { parts, pace, started, received: 0, unread, ended: false };
        match answer.next()? {
            Part::Absent => Ok(None),
            Part::Failed(error) => Err(error),
            Part::Begun | Part::Bytes(_) | Part::End => Ok(Some(answer)),
        }
    }

    fn next(&mut self) -> io::Result<Part> {
        let left = self.pace.allows(self.received).saturating_sub(self.started.elapsed());
        self.parts.recv_timeout(left).map_err(|error| match error {
            RecvTimeoutError::Timeout => {
                let (received, seconds) = (self.received, self.started.elapsed().as_secs());
                let message = format!("too slow: {received} bytes came in {seconds} seconds");
                io::Error::new(ErrorKind::TimedOut, message)
            }
            RecvTimeoutError::Disconnected => {
                io::Error::other("the answer was not read to its end")
            }
        })
    }
}

impl Read for Paced {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.unread.read(buffer)?;
            if count > 0 || buffer.is_empty() || self.ended {
                return Ok(count);
            }
            match self.next()? {
                Part::Bytes(bytes) => {
                    self.received += bytes.len() as u64;
                    self.unread = io::Cursor::new(bytes);
                }
                Part::Failed(error) => return Err(error),
                Part::Absent | Part::Begun | Part::End => self.ended = true,
            }
        }
    }
}

fn hand_over<R: Read>(request: impl FnOnce() -> io::Result<Option<R>>, parts: &SyncSender<Part>) {
    // Where nobody waits any more, nothing is left to be said.
    let _ = match request() {
        Ok(Some(content)) => hand_over_content(content, parts),
        Ok(None) => parts.send(Part::Absent),
        Err(error) => parts.send(Part::Failed(error)),
    };
}

fn hand_over_content(
    mut content: impl Read,
    parts: &SyncSender<Part>,
) -> Result<(), mpsc::SendError<Part>> {
    parts.send(Part::Begun)?;
    loop {
        let mut bytes = vec![0; PART];
        match content.read(&mut bytes) {
            Ok(0) => return parts.send(Part::End),
            Ok(count) => {
                bytes.truncate(count);
                parts.send(Part::Bytes(bytes))?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return parts.send(Part::Failed(error)),
        }
    }
}
