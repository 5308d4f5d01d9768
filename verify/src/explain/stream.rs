//! Compares two contents of any length, holding a block of each.

use std::io::{self, Read};

use super::hex;

/// Bytes read at a time.
const BLOCK: u64 = 64 * 1024;

/// What two streams come to.
pub(super) struct Compared {
    /// The place of the first differing byte, in words; none when there is none.
    pub(super) difference: Option<String>,
    /// How many bytes both have together; none for more than asked for.
    pub(super) bytes: Option<u64>,
}

/// Compares two streams to the first difference, and counts on until there are more than `most` bytes of both.
pub(super) fn compare(mut a: impl Read, mut b: impl Read, most: u64) -> io::Result<Compared> {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    let (mut place, mut bytes) = (0, 0_u64);
    let mut difference = None;
    loop {
        left.clear();
        right.clear();
        a.by_ref().take(BLOCK).read_to_end(&mut left)?;
        b.by_ref().take(BLOCK).read_to_end(&mut right)?;
        bytes = bytes.saturating_add(left.len() as u64).saturating_add(right.len() as u64);
        if difference.is_none() {
            difference = in_blocks(place, &left, &right);
            place += left.len() as u64;
        }
        let ended = left.is_empty() && right.is_empty();
        if ended || (difference.is_some() && bytes > most) {
            return Ok(Compared { difference, bytes: (bytes <= most).then_some(bytes) });
        }
    }
}

/// The first difference of two blocks that begin at `start`.
fn in_blocks(start: u64, left: &[u8], right: &[u8]) -> Option<String> {
    if left == right {
        return None;
    }
    let same = left.iter().zip(right).take_while(|(left, right)| left == right).count();
    let place = start + same as u64;
    if same == left.len() || same == right.len() {
        return Some(format!("the first {place} bytes are the same, then one ends"));
    }
    Some(format!("differs at byte {place}: {} and {}", hex(left, same), hex(right, same)))
}
