//! A file as the body of a request: read piece by piece, and its last piece held back until all of it is known to be
//! what was said. So a server never gets the whole of anything else.

use std::{
    io,
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use aws_sdk_s3::{
    config::{
        interceptors::InterceptorContext,
        retry::{ClassifyRetry, RetryAction},
    },
    primitives::SdkBody,
};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use kdistro_border::{StoreError, Stored, plain};
use kdistro_verify::hash::Hasher;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf, Take};

use super::put::{changed, unreadable};

/// Bytes read and sent at a time.
const PIECE: usize = 256 * 1024;

/// Why a file was not sent to its end; learned while it is sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Fault(Arc<Mutex<Option<Broken>>>);

/// What is wrong with a file.
#[derive(Debug)]
pub(super) enum Broken {
    /// It cannot be read.
    Unreadable(io::Error),
    /// It is not what was said.
    Changed(Stored),
}

impl Fault {
    /// Returns what was wrong, if anything was.
    pub(super) fn take(&self) -> Option<Broken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn is_set(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Remembers what was wrong; returns the error that ends the request.
    fn set(&self, broken: Broken) -> io::Error {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(broken);
        stopped()
    }
}

/// A file that is not what was said does not become so by sending it again.
impl ClassifyRetry for Fault {
    fn classify_retry(&self, _: &InterceptorContext) -> RetryAction {
        if self.is_set() { RetryAction::RetryForbidden } else { RetryAction::NoActionIndicated }
    }

    fn name(&self) -> &'static str {
        "the file"
    }
}

fn stopped() -> io::Error {
    io::Error::other("the file is not what was to be sent")
}

impl Broken {
    pub(super) fn into_error(self, name: &str, path: &Path, expected: Stored) -> StoreError {
        match self {
            Self::Unreadable(source) => unreadable(name, path)(source),
            Self::Changed(found) => changed(name, path, (expected, found)),
        }
    }
}

/// Makes a body of a file, which is opened anew whenever the request is repeated.
pub(super) fn of_file(path: &Path, expected: Stored) -> io::Result<(SdkBody, Fault)> {
    // What cannot be opened at all is told before anything is sent.
    plain::open(path)?;
    let (path, fault) = (path.to_owned(), Fault::default());
    let shared = fault.clone();
    let body = SdkBody::retryable(move || {
        SdkBody::from_body_1_x(FileBody::open(&path, expected, shared.clone()))
    });
    Ok((body, fault))
}

/// The state of a file that is being sent.
struct FileBody {
    file: Option<Take<tokio::fs::File>>,
    hasher: Hasher<io::Sink>,
    buffer: Vec<u8>,
    held: Option<Bytes>,
    read: u64,
    expected: Stored,
    fault: Fault,
}

impl FileBody {
    fn open(path: &Path, expected: Stored, fault: Fault) -> Self {
        let opened = if fault.is_set() { Err(stopped()) } else { plain::open(path) };
        let file = match opened {
            Ok((file, length)) => {
                // One byte more shows that it grew; more than that need not have an end.
                Some(tokio::fs::File::from_std(file).take(length.saturating_add(1)))
            }
            Err(error) if !fault.is_set() => {
                fault.set(Broken::Unreadable(error));
                None
            }
            Err(_) => None,
        };
        let hasher = Hasher::new(io::sink());
        Self { file, hasher, buffer: vec![0; PIECE], held: None, read: 0, expected, fault }
    }

    /// Ends the body: its last piece, if all of it is as expected.
    fn finish(&mut self) -> Option<io::Result<Bytes>> {
        self.file = None;
        let hasher = std::mem::replace(&mut self.hasher, Hasher::new(io::sink()));
        let (_, digest, size) = hasher.finish();
        let found = Stored { digest, size };
        if found == self.expected {
            return self.held.take().map(Ok);
        }
        Some(Err(self.fault.set(Broken::Changed(found))))
    }

    /// Takes the next piece of the file; returns the one before.
    fn advance(&mut self, count: usize) -> Option<Bytes> {
        use io::Write as _;
        let piece = self.buffer.get(..count).unwrap_or_default();
        // A sink takes everything.
        let _ = self.hasher.write_all(piece);
        self.read += count as u64;
        // Of a file that has grown nothing more is sent; it is only read to say what it is.
        if self.read > self.expected.size {
            self.held = None;
            return None;
        }
        self.held.replace(Bytes::copy_from_slice(piece))
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = self.get_mut();
        loop {
            let Some(file) = this.file.as_mut() else {
                return Poll::Ready(this.fault.is_set().then(|| Err(stopped())));
            };
            let mut buffer = ReadBuf::new(&mut this.buffer);
            match Pin::new(file).poll_read(context, &mut buffer) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => {
                    this.file = None;
                    return Poll::Ready(Some(Err(this.fault.set(Broken::Unreadable(error)))));
                }
                Poll::Ready(Ok(())) => {}
            }
            let count = buffer.filled().len();
            if count == 0 {
                return Poll::Ready(this.finish().map(|last| last.map(Frame::data)));
            }
            if let Some(piece) = this.advance(count) {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.expected.size)
    }
}
