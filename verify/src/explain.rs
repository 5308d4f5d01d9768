//! Says in words where two files differ first: entry and attribute of an archive, section of a program, field of a JSON
//! document, line of a text; of two images, platform, configuration, or file in a layer.
//!
//! Reads hostile bytes: whatever cannot be read as what it looks like is compared byte by byte.

mod archive;
mod elf;
mod go;
mod json;
mod oci;
mod text;

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use flate2::read::MultiGzDecoder;

use crate::compare::{self, Verdict};

/// The most that is unpacked into memory.
const LARGEST: u64 = 2 * 1024 * 1024 * 1024;
/// Bytes shown around a difference.
const SHOWN: usize = 8;
/// Archives in archives that are opened.
const DEEPEST: usize = 4;

/// Returns the first difference of two files or folders in words, none when they are the same.
///
/// Two OCI layouts are compared as images, and so are two blobs that are indexes or manifests, each with the blobs
/// beside it.
pub fn first_difference(a: &Path, b: &Path) -> io::Result<Option<String>> {
    if let Some(difference) = oci::first_difference(a, b)? {
        return Ok(Some(difference));
    }
    if a.is_dir() && b.is_dir() {
        return first_in_folders(a, b);
    }
    Ok(of_bytes(&fs::read(a)?, &fs::read(b)?, DEEPEST))
}

fn first_in_folders(a: &Path, b: &Path) -> io::Result<Option<String>> {
    let compared = compare::compare_folders(a, b)?;
    let Some(first) = compared.into_iter().find(|file| file.verdict != Verdict::Same) else {
        return Ok(None);
    };
    let path = &first.path;
    if let Some(note) = first.note {
        return Ok(Some(format!("`{path}` is {note}")));
    }
    let inside = first_difference(&a.join(path), &b.join(path))?;
    Ok(inside.map(|inside| format!("`{path}`: {inside}")))
}

/// The first difference of two contents; `depth` archives may still be opened.
fn of_bytes(a: &[u8], b: &[u8], depth: usize) -> Option<String> {
    if a == b {
        return None;
    }
    let special = match depth.checked_sub(1) {
        Some(depth) => in_gzip(a, b, depth).or_else(|| archive::first_difference(a, b, depth)),
        None => None,
    };
    special
        .or_else(|| elf::first_difference(a, b))
        .or_else(|| json::first_difference(a, b))
        .or_else(|| text::first_difference(a, b))
        .or_else(|| at_byte(a, b))
}

fn in_gzip(a: &[u8], b: &[u8], depth: usize) -> Option<String> {
    let (left, right) = (gunzip(a)?, gunzip(b)?);
    if left != right {
        return of_bytes(&left, &right, depth);
    }
    at_byte(a, b).map(|place| format!("the same content, compressed otherwise: {place}"))
}

fn gunzip(bytes: &[u8]) -> Option<Vec<u8>> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return None;
    }
    let mut content = Vec::new();
    let read = MultiGzDecoder::new(bytes).take(LARGEST + 1).read_to_end(&mut content).ok()?;
    (read as u64 <= LARGEST).then_some(content)
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
        of_bytes(a, b, DEEPEST).unwrap()
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
        assert_eq!(of_bytes(&content, &content, DEEPEST), None);
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
            prop_assert_eq!(of_bytes(&a, &b, DEEPEST).is_some(), a != b);
        }

        #[test]
        fn a_changed_archive_or_program_never_panics(at in 0usize..4096, to in any::<u8>()) {
            let base = tar(&[("a", 0o644, 1, b"text\n"), ("b/c", 0o755, 2, b"\x7fELF more")]);
            let mut other = base.clone();
            let at = at % base.len();
            other[at] = to;
            prop_assert_eq!(of_bytes(&base, &other, DEEPEST).is_some(), base != other);
            let mut packed = gzip(&base, 6);
            let whole = packed.clone();
            let at = at % packed.len();
            packed[at] = to;
            prop_assert_eq!(of_bytes(&whole, &packed, DEEPEST).is_some(), whole != packed);
        }
    }
}
