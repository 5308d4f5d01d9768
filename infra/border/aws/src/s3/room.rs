//! Room for the parts of large content, shared by all who write to a store: what bounds the memory.
//!
//! The same few buffers are used again and again; each is free again when whatever sends it has dropped it.

use std::{
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::AwsError;

/// The size of a part, but for the last.
///
/// Source: Amazon S3, "Amazon S3 multipart upload limits": at least 5 MiB, at most 10,000 parts.
const PART: usize = 8 << 20;
/// Parts in memory at once.
const PARTS_AT_ONCE: usize = 4;

/// The room of one store.
#[derive(Clone)]
pub(super) struct Room {
    places: Arc<Semaphore>,
    free: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Default for Room {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(PARTS_AT_ONCE)), free: Arc::default() }
    }
}

impl Room {
    /// Waits for a place.
    pub(super) async fn take(&self) -> Result<Piece, AwsError> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(|error| AwsError::silent("the store", &error))?;
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = free.pop().unwrap_or_else(|| Vec::with_capacity(PART));
        Ok(Piece { bytes, free: Arc::clone(&self.free), _place: place })
    }
}

/// A place with a part in it.
pub(super) struct Piece {
    bytes: Vec<u8>,
    free: Arc<Mutex<Vec<Vec<u8>>>>,
    _place: OwnedSemaphorePermit,
}

impl Piece {
    /// Reads the next part; returns its length, which is 0 at the end.
    pub(super) fn fill(&mut self, reader: &mut (dyn Read + Send)) -> io::Result<usize> {
        reader.take(PART as u64).read_to_end(&mut self.bytes)
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Gives the buffer back, and after it the place.
impl Drop for Piece {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}
