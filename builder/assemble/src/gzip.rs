//! The one gzip encoder of the distribution: the same content gives the same bytes, on every machine.
//!
//! Encoders differ between libraries and their versions, so this one is pinned (exact versions in Cargo.toml), named
//! in the plan document ([`ENCODER`]) and held by a golden digest. The header carries no name, no time and the
//! operating system "unknown".

use std::io::{self, Read, Write};

use flate2::{Compression, GzBuilder, read::MultiGzDecoder, write::GzEncoder};

/// Encoder, versions and level, as the plan document names them.
pub const ENCODER: &str = "flate2 1.1.10, zlib-rs 0.6.8, level 6";

/// Of 86 MB of Go programs: level 6 takes 1.3 s and leaves 38.0 %; levels 5 and 7 leave 38.1 and 37.8 % in 1.1 and
/// 2.2 s; level 9 leaves 37.2 % and takes three times as long. (`pigz -p1 -6`: 37.3 % in 3.3 s.)
const LEVEL: u32 = 6;

/// The byte that stands for an unknown operating system (RFC 1952, section 2.3.1).
const UNKNOWN_SYSTEM: u8 = 255;

/// How much the encoder is given at a time: always the same, so that only the content decides.
const CHUNK: usize = 128 * 1024;

/// A writer that compresses what passes through it.
pub struct GzipWriter<W: Write> {
    encoder: GzEncoder<W>,
    chunk: Vec<u8>,
}

impl<W: Write> GzipWriter<W> {
    /// Compresses into `inner`.
    pub fn new(inner: W) -> Self {
        let header = GzBuilder::new().mtime(0).operating_system(UNKNOWN_SYSTEM);
        let encoder = header.write(inner, Compression::new(LEVEL));
        Self { encoder, chunk: Vec::with_capacity(CHUNK) }
    }

    /// Writes what is left with its checksum, and returns the inner writer.
    pub fn finish(mut self) -> io::Result<W> {
        self.encoder.write_all(&self.chunk)?;
        self.encoder.finish()
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(bytes.get(..count).unwrap_or_default());
        if self.chunk.len() == CHUNK {
            self.encoder.write_all(&self.chunk)?;
            self.chunk.clear();
        }
        Ok(count)
    }

    /// Does nothing: a flush in the middle would change the bytes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Compresses everything `reader` yields into `writer`, and returns the writer.
pub fn gzip<W: Write>(mut reader: impl Read, writer: W) -> io::Result<W> {
    let mut encoder = GzipWriter::new(writer);
    io::copy(&mut reader, &mut encoder)?;
    encoder.finish()
}

/// Reads what a gzip file holds, checksums checked, several members one after the other.
pub fn gunzip<R: Read>(reader: R) -> impl Read {
    MultiGzDecoder::new(reader)
}

#[cfg(test)]
mod tests {
    use kdistro_verify::hash::sha256;
    use proptest::prelude::*;

    use super::*;

    /// Two megabytes that compress to about half: words of a fixed sequence, repeated at odd distances.
    fn sample() -> Vec<u8> {
        let mut state = 1_u32;
        let mut bytes: Vec<u8> = Vec::new();
        while bytes.len() < 2_000_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let distance = (state >> 12) as usize % 40_000 + 1;
            if state & 0x300 == 0 && distance < bytes.len() {
                let start = bytes.len() - distance;
                let end = bytes.len().min(start + (state >> 24) as usize);
                bytes.extend_from_within(start..end);
            } else {
                bytes.extend(state.to_be_bytes());
            }
        }
        bytes
    }

    fn read(compressed: &[u8]) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        gunzip(compressed).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn the_bytes_of_the_encoder_never_change() {
        let sample = sample();
        let compressed = gzip(&sample[..], Vec::new()).unwrap();
        assert_eq!(compressed[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
        assert_eq!(
            sha256(&compressed).to_string(),
            "sha256:c8886da7c64e9bdd56b3d6b82bc244d4d2b098d94176bc68da339a3a5b7556b6",
            "the encoder changed: every published archive would, and ENCODER must"
        );
        assert_eq!(read(&compressed).unwrap(), sample);
    }

    #[test]
    fn the_encoder_is_named_with_the_versions_that_are_pinned() {
        let manifest = include_str!("../Cargo.toml");
        for pin in ["flate2 = { version = \"=", "zlib-rs = { version = \"="] {
            let (name, _) = pin.split_once(' ').unwrap();
            let (_, rest) = manifest.split_once(pin).unwrap();
            let (version, _) = rest.split_once('"').unwrap();
            assert!(
                ENCODER.contains(&format!("{name} {version}")),
                "{ENCODER} lacks {name} {version}"
            );
        }
        assert!(ENCODER.ends_with(&format!("level {LEVEL}")));
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let mut compressed = gzip(&b"some content"[..], Vec::new()).unwrap();
        let checksum = compressed.len() - 8;
        compressed[checksum] ^= 1;
        assert!(read(&compressed).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn how_the_content_comes_does_not_matter(sizes in prop::collection::vec(1..300_000_usize, 1..12)) {
            let sample = &sample()[..700_000];
            let mut writer = GzipWriter::new(Vec::new());
            let (mut rest, mut sizes) = (sample, sizes.into_iter().cycle());
            while !rest.is_empty() {
                let (part, after) = rest.split_at(sizes.next().unwrap().min(rest.len()));
                writer.write_all(part).unwrap();
                writer.flush().unwrap();
                rest = after;
            }
            prop_assert!(writer.finish().unwrap() == gzip(sample, Vec::new()).unwrap());
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            let _ = read(&bytes);
            let _ = read(&[&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255], &bytes[..]].concat());
        }
    }
}
