//! Says in words where two files differ first: entry and attribute of an archive, section of a program, field of a JSON
//! document, line of a text; of two images, platform, configuration, or file in a layer.
//!
//! Reads hostile bytes: whatever cannot be read as what it looks like is compared byte by byte. Holds a gigabyte and a
//! half of content at most, of both sides together: what is larger, or unpacks to more, is compared as a stream, and
//! only the place is said. What it says is one line, harmless for a terminal.

mod archive;
mod elf;
mod go;
pub(crate) mod json;
mod oci;
mod stream;
mod text;

use std::{
    fs::{self, File},
    io::{self, BufReader},
    path::Path,
};

use flate2::read::MultiGzDecoder;
use kdistro_formats::terminal::printable;

use crate::{
    compare::{self, Verdict},
    store::read_at_most,
};

/// The most that is held in memory, in bytes: enough for two archives of Kubernetes' servers.
const LARGEST: u64 = 3 << 29;
/// Bytes shown around a difference.
const SHOWN: usize = 8;
/// Archives in archives that are opened.
const DEEPEST: usize = 4;

/// What may still be done to look into two contents.
#[derive(Clone, Copy)]
struct Room {
    /// Archives in archives that may be opened.
    archives: usize,
    /// Bytes that may be held, of both sides together.
    bytes: u64,
}

impl Room {
    /// What may be done while nothing was done yet.
    const WHOLE: Self = Self { archives: DEEPEST, bytes: LARGEST };

    /// What is left when one more archive is open; none when no more may be.
    fn inside(self) -> Option<Self> {
        Some(Self { archives: self.archives.checked_sub(1)?, ..self })
    }

    /// What is left when two contents of this length together are held.
    fn beside(self, held: u64) -> Option<Self> {
        Some(Self { bytes: self.bytes.checked_sub(held)?, ..self })
    }
}

/// Returns the first difference of two files or folders in words, none when they are the same.
///
/// Two OCI layouts are compared as images, and so are two blobs that are indexes or manifests, each with the blobs
/// beside it.
pub fn first_difference(a: &Path, b: &Path) -> io::Result<Option<String>> {
    Ok(in_paths(a, b)?.map(|difference| printable(&difference)))
}

fn in_paths(a: &Path, b: &Path) -> io::Result<Option<String>> {
    if let Some(difference) = oci::first_difference(a, b)? {
        return Ok(Some(difference));
    }
    if a.is_dir() && b.is_dir() {
        return in_folders(a, b);
    }
    of_files(a, b, Room::WHOLE)
}

fn in_folders(a: &Path, b: &Path) -> io::Result<Option<String>> {
    let compared = compare::compare_folders(a, b)?;
    let Some(first) = compared.into_iter().find(|file| file.verdict != Verdict::Same) else {
        return Ok(None);
    };
    let path = &first.path;
    if let Some(note) = first.note {
        return Ok(Some(format!("`{path}` is {note}")));
    }
    let inside = in_paths(&a.join(path), &b.join(path))?;
    Ok(inside.map(|inside| format!("`{path}`: {inside}")))
}

/// The first difference of two files, which are read into memory where there is room.
fn of_files(a: &Path, b: &Path, room: Room) -> io::Result<Option<String>> {
    let lengths = fs::metadata(a)?.len().checked_add(fs::metadata(b)?.len());
    if lengths.is_some_and(|lengths| lengths <= room.bytes)
        && let Some((left, room)) = hold(a, room)?
        && let Some((right, room)) = hold(b, room)?
    {
        return Ok(of_bytes(&left, &right, room));
    }
    let large = format!("they have more than {} bytes, too many to look into", room.bytes);
    let place = stream::compare(File::open(a)?, File::open(b)?, 0)?.difference;
    let Some(place) = place else { return Ok(None) };
    if compare::is_gzip(a)? && compare::is_gzip(b)? {
        let unpack = |path| File::open(path).map(|file| MultiGzDecoder::new(BufReader::new(file)));
        match stream::compare(unpack(a)?, unpack(b)?, 0) {
            Ok(stream::Compared { difference: Some(inside), .. }) => {
                return Ok(Some(format!("{large}; unpacked: {inside}")));
            }
            Ok(_) => return Ok(Some(format!("the same content, compressed otherwise: {place}"))),
            Err(error) if compare::is_broken_gzip(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(format!("{large}: {place}")))
}

/// Reads a file, and says what room is left; none when there is too little.
fn hold(path: &Path, room: Room) -> io::Result<Option<(Vec<u8>, Room)>> {
    let bytes = read_at_most(File::open(path)?, room.bytes)?;
    Ok(bytes.and_then(|bytes| {
        let room = room.beside(bytes.len() as u64)?;
        Some((bytes, room))
    }))
}

/// The first difference of two contents.
fn of_bytes(a: &[u8], b: &[u8], room: Room) -> Option<String> {
    if a == b {
        return None;
    }
    let inside = room.inside();
    inside
        .and_then(|room| in_gzip(a, b, room).or_else(|| archive::first_difference(a, b, room)))
        .or_else(|| elf::first_difference(a, b))
        .or_else(|| json::first_difference(a, b))
        .or_else(|| text::first_difference(a, b))
        .or_else(|| at_byte(a, b))
}

/// The first difference of what two gzip files unpack to; none when one of them is none.
fn in_gzip(a: &[u8], b: &[u8], room: Room) -> Option<String> {
    if [a, b].iter().any(|bytes| !bytes.starts_with(&[0x1f, 0x8b])) {
        return None;
    }
    // A few bytes can unpack to any number: what they come to is known before any of it is kept.
    let unpacked =
        stream::compare(MultiGzDecoder::new(a), MultiGzDecoder::new(b), room.bytes).ok()?;
    let Some(place) = unpacked.difference else {
        return at_byte(a, b)
            .map(|place| format!("the same content, compressed otherwise: {place}"));
    };
    let Some((held, room)) = unpacked.bytes.and_then(|held| Some((held, room.beside(held)?)))
    else {
        let most = room.bytes;
        return Some(format!(
            "they unpack to more than {most} bytes, too many to look into: {place}"
        ));
    };
    let unpack = |bytes| read_at_most(MultiGzDecoder::new(bytes), held).ok().flatten();
    of_bytes(&unpack(a)?, &unpack(b)?, room)
}

/// The place of the first differing byte, none when there is none.
fn at_byte(a: &[u8], b: &[u8]) -> Option<String> {
    if a == b {
        return None;
    }
    let place = a.iter().zip(b).take_while(|(left, right)| left == right).count();
    if place == a.len() || place == b.len() {
        return Some(format!(
            "the first {place} bytes are the same, then one ends: {} and {} bytes",
            a.len(),
            b.len()
        ));
    }
    Some(format!("differs at byte {place}: {} and {}", hex(a, place), hex(b, place)))
}

fn hex(bytes: &[u8], from: usize) -> String {
    let shown = bytes.iter().skip(from).take(SHOWN);
    shown.map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    fn gzip(content: &[u8], level: u32) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn tar(entries: &[(&str, u32, u64, &[u8])]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, mode, mtime, content) in entries {
            let mut header = tar::Header::new_ustar();
            header.set_mode(*mode);
            header.set_mtime(*mtime);
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, path, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn explain(a: &[u8], b: &[u8]) -> String {
        of_bytes(a, b, Room::WHOLE).unwrap()
    }

    #[test]
    fn names_the_entry_and_what_differs_of_it() {
        let base =
            tar(&[("LICENSE", 0o644, 1, b"free\nfor all\n"), ("etcd", 0o755, 1, b"\0program")]);
        for (other, expected) in [
            (
                tar(&[("LICENSE", 0o644, 1, b"free\nfor all\n"), ("etcd", 0o644, 1, b"\0program")]),
                "`etcd`: mode is 755 and 644",
            ),
            (
                tar(&[("LICENSE", 0o644, 1, b"free\nfor all\n"), ("etcd", 0o755, 9, b"\0program")]),
                "`etcd`: mtime is 1 and 9",
            ),
            (
                tar(&[("LICENSE", 0o644, 1, b"free\nfor one\n"), ("etcd", 0o755, 1, b"\0program")]),
                "`LICENSE`: line 2 is `for all` and `for one`",
            ),
            (
                tar(&[("LICENSE", 0o644, 1, b"free\nfor all\n"), ("etcd", 0o755, 1, b"\0projram")]),
                "`etcd`: differs at byte 4: 67 72 61 6d and 6a 72 61 6d",
            ),
            (tar(&[("LICENSE", 0o644, 1, b"free\nfor all\n")]), "`etcd` is only in the first"),
            (
                tar(&[("etcd", 0o755, 1, b"\0program"), ("LICENSE", 0o644, 1, b"free\nfor all\n")]),
                "entry 1 is `LICENSE` and `etcd`",
            ),
        ] {
            let text = explain(&gzip(&base, 6), &gzip(&other, 6));
            assert!(text.contains(expected), "{text}\nexpected {expected}");
        }
    }

    #[test]
    fn tells_compression_from_content() {
        let content = b"again and again and again ".repeat(999);
        let text = explain(&gzip(&content, 1), &gzip(&content, 9));
        assert!(text.starts_with("the same content, compressed otherwise"), "{text}");
        assert_eq!(of_bytes(&content, &content, Room::WHOLE), None);
    }

    #[test]
    fn names_the_section_of_a_program() {
        let mut program = fs::read(std::env::current_exe().unwrap()).unwrap();
        let original = program.clone();
        let range = elf::range_of(&original, ".rodata").unwrap();
        program[range.start + 5] ^= 1;
        let text = explain(&original, &program);
        assert!(text.contains("section `.rodata` differs at byte 5"), "{text}");
        program = original.clone();
        program[7] ^= 1;
        assert!(explain(&original, &program).contains("differs at byte 7"));
    }

    #[test]
    fn folders_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        fs::create_dir_all(&a).unwrap();
        fs::create_dir_all(&b).unwrap();
        fs::write(a.join("x"), "one\n").unwrap();
        fs::write(b.join("x"), "two\n").unwrap();
        let text = first_difference(&a, &b).unwrap().unwrap();
        assert_eq!(text, "`x`: line 1 is `one` and `two`");
        fs::remove_file(b.join("x")).unwrap();
        assert_eq!(first_difference(&a, &b).unwrap().unwrap(), "`x` is only in the first");
    }

    #[test]
    fn what_unpacks_to_more_than_there_is_room_for_is_not_held() {
        let (zeros, mut other) = (vec![0; 1 << 20], vec![0; 1 << 20]);
        other[700_001] = 1;
        let (a, b) = (gzip(&zeros, 9), gzip(&other, 9));
        let room = Room { archives: DEEPEST, bytes: 1 << 20 };
        let expected = "they unpack to more than 1048576 bytes, too many to look into: \
                        differs at byte 700001: 00 00";
        let text = of_bytes(&a, &b, room).unwrap();
        assert!(text.starts_with(expected), "{text}");
        let text = of_bytes(&a, &b, Room::WHOLE).unwrap();
        assert!(text.starts_with("differs at byte 700001: 00"), "{text}");
    }

    #[test]
    fn what_an_archive_in_an_archive_unpacks_to_counts_with_what_holds_it() {
        let (zeros, mut other) = (vec![0; 100_000], vec![0; 100_000]);
        other[9] = 1;
        let [a, b] =
            [zeros, other].map(|content| gzip(&tar(&[("in", 0o644, 1, &gzip(&content, 9))]), 9));
        // Both tars have 1,024 bytes and the content's.
        let text = of_bytes(&a, &b, Room { archives: DEEPEST, bytes: 200_000 }).unwrap();
        assert!(text.starts_with("`in`: they unpack to more than"), "{text}");
        let text = of_bytes(&a, &b, Room { archives: DEEPEST, bytes: 210_000 }).unwrap();
        assert!(text.starts_with("`in`: differs at byte 9"), "{text}");
    }

    #[test]
    fn files_that_there_is_no_room_for_are_compared_as_streams() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        let small = Room { archives: DEEPEST, bytes: 100 };
        let explain = |left: &[u8], right: &[u8]| {
            fs::write(&a, left).unwrap();
            fs::write(&b, right).unwrap();
            of_files(&a, &b, small).unwrap()
        };
        let (mut one, other) = (b"line\n".repeat(90_000), b"line\n".repeat(90_000));
        assert_eq!(explain(&one, &other), None);
        one[123_456] = b'X';
        let text = explain(&one, &other).unwrap();
        let place = "differs at byte 123456: 58 6e 65 0a 6c 69 6e 65 and 69 6e 65 0a 6c 69 6e 65";
        assert!(text.ends_with(&format!("too many to look into: {place}")), "{text}");
        let text = explain(&gzip(&one, 1), &gzip(&other, 1)).unwrap();
        assert!(
            text.contains("too many to look into; unpacked: differs at byte 123456: 58 "),
            "{text}"
        );
        let text = explain(&gzip(&one, 1), &gzip(&one, 9)).unwrap();
        assert!(
            text.starts_with("the same content, compressed otherwise: differs at byte "),
            "{text}"
        );
        let text = explain(&one, &one[..5000]).unwrap();
        assert!(text.ends_with(": the first 5000 bytes are the same, then one ends"), "{text}");
        assert!(explain(&gzip(&one, 1), &gzip(&one, 1)[..300]).unwrap().contains("then one ends"));
    }

    #[test]
    fn nothing_that_is_said_moves_a_terminal() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        let hostile = "x\x1b[2J\u{202e}\nsame";
        let with = |mode| gzip(&tar(&[(hostile, mode, 1, b"")]), 6);
        fs::write(&a, with(0o644)).unwrap();
        fs::write(&b, with(0o755)).unwrap();
        let text = first_difference(&a, &b).unwrap().unwrap();
        assert_eq!(text, "`x\\u{1b}[2J\\u{202e}\\nsame`: mode is 644 and 755");
    }

    proptest! {
        #[test]
        fn never_panics_and_never_calls_different_bytes_the_same(
            a in proptest::collection::vec(any::<u8>(), 0..600),
            b in proptest::collection::vec(any::<u8>(), 0..600),
            kind in 0..4,
        ) {
            let start: &[u8] = match kind {
                0 => &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3],
                1 => b"\x7fELF\x02\x01\x01",
                _ => b"",
            };
            let (mut a, mut b) = ([start, &a].concat(), [start, &b].concat());
            if kind == 2 && a.len() > 300 && b.len() > 300 {
                a[257..262].copy_from_slice(b"ustar");
                b[257..262].copy_from_slice(b"ustar");
            }
            prop_assert_eq!(of_bytes(&a, &b, Room::WHOLE).is_some(), a != b);
        }

        #[test]
        fn a_changed_archive_or_program_never_panics(at in 0usize..4096, to in any::<u8>()) {
            let base = tar(&[("a", 0o644, 1, b"text\n"), ("b/c", 0o755, 2, b"\x7fELF more")]);
            let mut other = base.clone();
            let at = at % base.len();
            other[at] = to;
            prop_assert_eq!(of_bytes(&base, &other, Room::WHOLE).is_some(), base != other);
            let mut packed = gzip(&base, 6);
            let whole = packed.clone();
            let at = at % packed.len();
            packed[at] = to;
            prop_assert_eq!(of_bytes(&whole, &packed, Room::WHOLE).is_some(), whole != packed);
        }
    }
}
