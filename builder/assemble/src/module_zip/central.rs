//! The list of files at the end of a zip file, read once more by hand.
//!
//! The `zip` crate keeps one file a name, so that of two files with one name it shows the last without a word.
//!
//! Source: APPNOTE.TXT 6.3.10, section 4.3.12.

use std::io::{self, Read, Seek, SeekFrom};

const SIGNATURE: &[u8] = b"PK\x01\x02";
/// Length of an entry before its name, extra field and comment.
const FIXED: usize = 46;

/// Lists the names from byte `start` on in the order of the list, duplicates included.
pub(super) fn names(mut reader: impl Read + Seek, start: u64) -> io::Result<Vec<Vec<u8>>> {
    reader.seek(SeekFrom::Start(start))?;
    let mut reader = io::BufReader::new(reader);
    let mut names = Vec::new();
    loop {
        let mut signature = [0; 4];
        reader.read_exact(&mut signature)?;
        if signature != SIGNATURE {
            return Ok(names);
        }
        let mut fixed = [0; FIXED - 4];
        reader.read_exact(&mut fixed)?;
        let length = |at: usize| match fixed.get(at - 4..at - 2) {
            Some([low, high]) => u16::from_le_bytes([*low, *high]),
            _ => 0,
        };
        let mut name = vec![0; usize::from(length(28))];
        reader.read_exact(&mut name)?;
        let skipped = u64::from(length(30)) + u64::from(length(32));
        io::copy(&mut reader.by_ref().take(skipped), &mut io::sink())?;
        names.push(name);
    }
}
