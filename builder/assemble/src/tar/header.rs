//! The 512 bytes in front of an entry: fields, numbers and the sum over them.

/// Length of a header, and the unit that content is padded to.
pub(super) const BLOCK: usize = 512;

/// One header.
pub(super) type Block = [u8; BLOCK];

/// A field: where it starts and how long it is.
#[derive(Clone, Copy)]
pub(super) struct Field(usize, usize);

pub(super) const NAME: Field = Field(0, 100);
pub(super) const MODE: Field = Field(100, 8);
pub(super) const UID: Field = Field(108, 8);
pub(super) const GID: Field = Field(116, 8);
pub(super) const SIZE: Field = Field(124, 12);
pub(super) const MTIME: Field = Field(136, 12);
pub(super) const CHECKSUM: Field = Field(148, 8);
pub(super) const TYPE: Field = Field(156, 1);
pub(super) const LINK_NAME: Field = Field(157, 100);
pub(super) const MAGIC: Field = Field(257, 8);
pub(super) const DEVICE_MAJOR: Field = Field(329, 8);
pub(super) const DEVICE_MINOR: Field = Field(337, 8);
pub(super) const PREFIX: Field = Field(345, 155);

/// Magic and version of POSIX.
pub(super) const USTAR: &[u8] = b"ustar\x0000";
/// Magic and version of GNU tar.
pub(super) const GNU: &[u8] = b"ustar  \0";

impl Field {
    /// Returns how many bytes the field holds.
    pub(super) const fn length(self) -> usize {
        self.1
    }

    /// Returns the whole field.
    pub(super) fn bytes(self, block: &Block) -> &[u8] {
        block.get(self.0..self.0 + self.1).unwrap_or_default()
    }

    /// Returns the field up to its first NUL.
    pub(super) fn text(self, block: &Block) -> &[u8] {
        let bytes = self.bytes(block);
        bytes.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// Reads a number: octal digits between blanks, or GNU's binary form when the first bit is set.
    pub(super) fn number(self, block: &Block) -> Option<u64> {
        let bytes = self.bytes(block);
        if let Some((first, rest)) = bytes.split_first()
            && first & 0x80 != 0
        {
            let start = u64::from(first & 0x7f);
            let number = rest
                .iter()
                .try_fold(start, |number, byte| Some(number.checked_mul(256)? | u64::from(*byte)));
            return number.filter(|number| i64::try_from(*number).is_ok());
        }
        let digits = self.text(block).trim_ascii();
        digits.iter().try_fold(0_u64, |number, digit| match digit {
            b'0'..=b'7' => number.checked_mul(8)?.checked_add(u64::from(digit - b'0')),
            _ => None,
        })
    }

    /// Writes the start of `text`, as much as fits.
    pub(super) fn set(self, block: &mut Block, text: &[u8]) {
        if let Some(field) = block.get_mut(self.0..self.0 + self.1) {
            for (to, from) in field.iter_mut().zip(text) {
                *to = *from;
            }
        }
    }

    /// Writes a number as octal digits and a NUL; tells whether it fits.
    pub(super) fn set_number(self, block: &mut Block, number: u64) -> bool {
        let digits = format!("{number:0width$o}", width = self.1 - 1);
        let fits = digits.len() < self.1;
        if fits {
            self.set(block, digits.as_bytes());
        }
        fits
    }
}

/// Sums the bytes of a header, its own sum counted as blanks.
fn sum(block: &Block) -> u64 {
    let all: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    let own: u64 = CHECKSUM.bytes(block).iter().map(|byte| u64::from(*byte)).sum();
    all - own + CHECKSUM.length() as u64 * u64::from(b' ')
}

/// Writes the sum into a header that is otherwise complete.
pub(super) fn seal(block: &mut Block) {
    let sum = format!("{:06o}\0 ", sum(block));
    CHECKSUM.set(block, sum.as_bytes());
}

/// Tells whether the sum in a header is right.
pub(super) fn is_sealed(block: &Block) -> bool {
    CHECKSUM.number(block) == Some(sum(block))
}

/// Returns how many bytes follow `size` bytes of content up to the next block.
pub(super) fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &[u8]) -> Option<u64> {
        let mut block = [0; BLOCK];
        SIZE.set(&mut block, text);
        SIZE.number(&block)
    }

    #[test]
    fn reads_numbers_as_every_tar_writes_them() {
        assert_eq!(number(b"00000000017\0"), Some(15));
        assert_eq!(number(b"        17 \0"), Some(15));
        assert_eq!(number(b"777777777777"), Some(0o777_777_777_777));
        assert_eq!(number(b"\x80\0\0\0\0\0\0\x02\0\0\0\0"), Some(1 << 33));
        assert_eq!(number(b""), Some(0));
    }

    #[test]
    fn refuses_what_is_no_number_and_what_is_below_zero() {
        assert_eq!(number(b"00000000018\0"), None);
        assert_eq!(number(b"-0000000001\0"), None);
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
        assert_eq!(number(b"\x80\0\0\0\xff\0\0\0\0\0\0\0"), None);
    }

    #[test]
    fn a_number_that_does_not_fit_is_not_written() {
        let mut block = [0; BLOCK];
        assert!(SIZE.set_number(&mut block, 0o77_777_777_777));
        assert_eq!(SIZE.number(&block), Some(0o77_777_777_777));
        let mut block = [0; BLOCK];
        assert!(!SIZE.set_number(&mut block, 0o100_000_000_000));
        assert_eq!(SIZE.bytes(&block), [0; 12]);
    }

    #[test]
    fn content_is_padded_to_whole_blocks() {
        assert_eq!([0, 1, 511, 512, 513].map(padding), [0, 511, 1, 0, 511]);
    }
}
