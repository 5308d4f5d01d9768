//! Takes in content that has no name yet: it is on its way to the disk while the next of it comes.
//!
//! Whole blocks go past the page cache, where the file system can do that: this saves the kernel a copy of everything,
//! and leaves the memory to those who need it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    mem,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, SyncSender},
    },
    thread::{self, JoinHandle},
};

use kdistro_formats::Digest;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::durable::Temporary;

/// How much goes to the disk at a time: enough for it to be busy, little enough to stay in the cache of a processor.
const PIECE: usize = 1 << 20;

/// Where in memory, and in how many bytes at a time, a disk takes what goes past the page cache.
const BLOCK: usize = 4096;

/// What was taken in and has no name yet. Each holds a file open.
pub(crate) type Received = Arc<Mutex<BTreeMap<Digest, Temporary>>>;

/// Content that is being taken in; dropped before its end, nothing of it stays.
pub struct Incoming {
    piece: Piece,
    size: u64,
    pieces: SyncSender<Message>,
    /// Pieces that were written, to be filled again.
    spare: Receiver<Piece>,
    /// After `pieces`: it waits for its thread, which waits for those.
    whole: Whole,
}

/// Content that was taken in to its end; dropped before it is kept, nothing of it stays.
pub struct Whole {
    size: u64,
    writer: Option<JoinHandle<io::Result<Temporary>>>,
    received: Received,
}

/// What is said to the thread that writes.
enum Message {
    /// There may be more.
    More(Piece),
    /// There is no more. Silence before it is no end.
    Last(Piece),
}

impl Incoming {
    pub(crate) fn new(temporary: Temporary, received: Received) -> io::Result<Self> {
        // One is filled, one waits, one is written.
        let (pieces, waiting) = mpsc::sync_channel(1);
        let (written, spare) = mpsc::channel();
        let write = move || write(temporary, &waiting, &written);
        let writer = Some(thread::Builder::new().spawn(write)?);
        let whole = Whole { size: 0, writer, received };
        Ok(Self { piece: Piece::new(), size: 0, pieces, spare, whole })
    }

    /// Ends it; the rest goes to the disk at once.
    pub fn finish(self) -> io::Result<Whole> {
        let Self { piece, size, pieces, mut whole, .. } = self;
        pieces.send(Message::Last(piece)).map_err(|_| stopped())?;
        whole.size = size;
        Ok(whole)
    }
}

impl Write for Incoming {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.is_full() {
            let next = self.spare.try_recv().unwrap_or_else(|_| Piece::new());
            let full = mem::replace(&mut self.piece, next);
            self.pieces.send(Message::More(full)).map_err(|_| stopped())?;
        }
        let count = self.piece.fill(bytes);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Whole {
    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Keeps it as the content of this digest, without reading it: the caller answers for that with all that relies on
    /// the store. Fails where it could not be written.
    pub fn keep(mut self, digest: Digest) -> io::Result<()> {
        let temporary = self.join()?;
        self.received.lock().unwrap_or_else(PoisonError::into_inner).insert(digest, temporary);
        Ok(())
    }

    fn join(&mut self) -> io::Result<Temporary> {
        let writer = self.writer.take().ok_or_else(stopped)?;
        writer.join().unwrap_or_else(|_| Err(stopped()))
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        // Whatever was written is removed with it, before anybody looks.
        let _ = self.join();
    }
}

fn stopped() -> io::Error {
    io::Error::other("it could not be written to its end")
}

/// Writes pieces until the last, and brings the file to the disk.
fn write(
    temporary: Temporary,
    waiting: &Receiver<Message>,
    written: &mpsc::Sender<Piece>,
) -> io::Result<Temporary> {
    let mut target = Target::new(&temporary.file);
    loop {
        match waiting.recv() {
            Ok(Message::More(mut piece)) => {
                target.write_all(piece.filled())?;
                piece.length = 0;
                // Nobody may want it any more.
                let _ = written.send(piece);
            }
            Ok(Message::Last(piece)) => {
                target.write_all(piece.filled())?;
                temporary.file.sync_data()?;
                return Ok(temporary);
            }
            Err(_) => return Err(stopped()),
        }
    }
}

/// A part of a file, at a place in memory from which a disk takes it.
struct Piece {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Piece {
    fn new() -> Self {
        let memory = vec![0; PIECE + BLOCK];
        // Where none is found, it is as slow as without.
        let start = Some(memory.as_ptr().align_offset(BLOCK)).filter(|start| *start < BLOCK);
        Self { memory, start: start.unwrap_or_default(), length: 0 }
    }

    fn is_full(&self) -> bool {
        self.length == PIECE
    }

    fn filled(&self) -> &[u8] {
        self.memory.get(self.start..self.start + self.length).unwrap_or_default()
    }

    /// Takes as many bytes as there is room for.
    fn fill(&mut self, bytes: &[u8]) -> usize {
        let room = self.memory.get_mut(self.start + self.length..self.start + PIECE);
        let room = room.unwrap_or_default();
        let count = room.len().min(bytes.len());
        for (room, bytes) in room.get_mut(..count).into_iter().zip(bytes.get(..count)) {
            room.copy_from_slice(bytes);
        }
        self.length += count;
        count
    }
}

/// A file that is written past the page cache, as long as that can be done.
struct Target<'a> {
    file: &'a File,
    is_direct: bool,
}

impl<'a> Target<'a> {
    fn new(file: &'a File) -> Self {
        let mut target = Self { file, is_direct: false };
        // Not every file system can.
        target.is_direct = target.set_direct(true).is_ok();
        target
    }

    fn set_direct(&mut self, direct: bool) -> io::Result<()> {
        let mut flags = fcntl_getfl(self.file)?;
        flags.set(OFlags::DIRECT, direct);
        fcntl_setfl(self.file, flags)?;
        self.is_direct = direct;
        Ok(())
    }
}

impl Write for Target<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let blocks = bytes.len() - bytes.len() % BLOCK;
        if self.is_direct {
            if blocks > 0 {
                match self.file.write(bytes.get(..blocks).unwrap_or_default()) {
                    // Some say so only now.
                    Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                    written => return written,
                }
            }
            self.set_direct(false)?;
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_length_arrives_in_pieces_of_any_length() {
        let folder = tempfile::tempdir().unwrap();
        let lengths = [0, 1, BLOCK - 1, BLOCK, PIECE - 1, PIECE, PIECE + 1, 4 * PIECE + BLOCK + 7];
        for length in lengths {
            let content: Vec<u8> = (0..=250).cycle().take(length).collect();
            for step in [1000, 128 * 1024, 3 * PIECE] {
                let temporary = Temporary::create(folder.path(), 0o644).unwrap();
                let received = Received::default();
                let mut incoming = Incoming::new(temporary, Arc::clone(&received)).unwrap();
                content.chunks(step).for_each(|part| incoming.write_all(part).unwrap());
                let whole = incoming.finish().unwrap();
                assert_eq!(whole.size(), length as u64);
                let digest = kdistro_verify::hash::sha256(&content);
                whole.keep(digest).unwrap();
                let temporary = received.lock().unwrap().remove(&digest).unwrap();
                let name = folder.path().join("name");
                assert!(temporary.publish(&name).unwrap());
                assert!(fs::read(&name).unwrap() == content, "{length} by {step}");
                fs::remove_file(name).unwrap();
            }
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_lies_badly_in_memory_is_written_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let file = tempfile::tempfile_in(folder.path()).unwrap();
        let mut target = Target::new(&file);
        let piece = Piece::new();
        let badly = piece.memory.get(piece.start + 1..).unwrap();
        target.write_all(badly).unwrap();
        assert_eq!(file.metadata().unwrap().len(), badly.len() as u64);
    }

    #[test]
    fn a_disk_that_refuses_is_told_and_nothing_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut temporary = Temporary::create(folder.path(), 0o644).unwrap();
        // Its own file, opened to be read only, refuses every write.
        let path = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        temporary.file = File::open(path).unwrap();
        let mut incoming = Incoming::new(temporary, Received::default()).unwrap();
        let content = vec![1; 8 * PIECE];
        let error = incoming.write_all(&content).unwrap_err();
        assert_eq!(error.to_string(), "it could not be written to its end");
        drop(incoming);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_not_kept_is_gone_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let temporary = Temporary::create(folder.path(), 0o644).unwrap();
        let mut incoming = Incoming::new(temporary, Received::default()).unwrap();
        incoming.write_all(&vec![1; 8 * PIECE]).unwrap();
        drop(incoming.finish().unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
