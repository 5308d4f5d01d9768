//! Writes tar entries whose bytes depend on nothing but name, kind and content.
//!
//! Source: POSIX.1-2017, `pax`, "ustar Interchange Format" and "pax Interchange Format".

use std::io::{self, Read, Write};

const BLOCK: usize = 512;

/// The longest size that eleven octal digits can say.
const LARGEST: u64 = 0o777_7777_7777;

/// A regular file to append.
pub(crate) struct File<'a> {
    pub path: &'a [u8],
    pub executable: bool,
    pub size: u64,
}

/// Appends a regular file; `content` must yield exactly its size.
pub(crate) fn append_file(
    writer: &mut impl Write,
    file: &File<'_>,
    content: &mut dyn Read,
) -> io::Result<()> {
    if file.size > LARGEST {
        return Err(io::Error::other(format!(
            "{} bytes are more than a tar entry holds",
            file.size
        )));
    }
    let mode = if file.executable { 0o755 } else { 0o644 };
    write_names(writer, file.path, b"")?;
    writer.write_all(&header(b'0', mode, file.size, file.path, b""))?;
    let copied = io::copy(&mut content.take(file.size), writer)?;
    if copied != file.size {
        return Err(io::Error::other(format!("{copied} bytes, expected {}", file.size)));
    }
    pad(writer, file.size)
}

/// Appends a symbolic link.
pub(crate) fn append_symlink(
    writer: &mut impl Write,
    path: &[u8],
    target: &[u8],
) -> io::Result<()> {
    write_names(writer, path, target)?;
    writer.write_all(&header(b'2', 0o777, 0, path, target))
}

/// Writes the two empty blocks that end an archive.
pub(crate) fn finish(writer: &mut impl Write) -> io::Result<()> {
    writer.write_all(&[0; 2 * BLOCK])
}

/// Writes a pax header for the names that do not fit into the fields of ustar.
fn write_names(writer: &mut impl Write, path: &[u8], target: &[u8]) -> io::Result<()> {
    let mut records = Vec::new();
    if split(path).is_none() {
        records.extend(record("path", path));
    }
    if target.len() > 100 {
        records.extend(record("linkpath", target));
    }
    if records.is_empty() {
        return Ok(());
    }
    let size = records.len() as u64;
    writer.write_all(&header(b'x', 0o644, size, b"PaxHeader", b""))?;
    writer.write_all(&records)?;
    pad(writer, size)
}

/// Makes a pax record: its own length in decimal, key and value, a line end.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + " =\n".len();
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

/// Splits a path into the prefix and name fields; none when it does not fit.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= 100 {
        return Some((b"", path));
    }
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    let mut parts = slashes.filter_map(|at| Some((path.get(..at)?, path.get(at + 1..)?)));
    parts.find(|(prefix, name)| prefix.len() <= 155 && name.len() <= 100 && !name.is_empty())
}

fn header(kind: u8, mode: u64, size: u64, path: &[u8], target: &[u8]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    // A name that does not fit stands in the pax header; readers ignore this one.
    let (prefix, name) = split(path).unwrap_or((b"", path));
    put(&mut block, 0, 100, name);
    put(&mut block, 100, 8, format!("{mode:07o}").as_bytes());
    put(&mut block, 108, 8, b"0000000");
    put(&mut block, 116, 8, b"0000000");
    put(&mut block, 124, 12, format!("{size:011o}").as_bytes());
    put(&mut block, 136, 12, b"00000000000");
    put(&mut block, 148, 8, b"        ");
    put(&mut block, 156, 1, &[kind]);
    put(&mut block, 157, 100, target);
    put(&mut block, 257, 8, b"ustar\x0000");
    put(&mut block, 345, 155, prefix);
    let sum: u64 = block.iter().copied().map(u64::from).sum();
    put(&mut block, 148, 8, format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Copies as much of `value` as the field holds.
fn put(block: &mut [u8; BLOCK], at: usize, length: usize, value: &[u8]) {
    let field = block.iter_mut().skip(at).take(length);
    for (to, from) in field.zip(value) {
        *to = *from;
    }
}

fn pad(writer: &mut impl Write, size: u64) -> io::Result<()> {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    let missing = if over == 0 { 0 } else { BLOCK - over };
    writer.write_all(ZEROS.get(..missing).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn another_reader_sees_the_same_names_and_content(
            path in "[a-z]{1,120}(/[a-z\u{e4}]{1,110}){0,4}",
            target in "[a-z./]{1,150}",
            content in proptest::collection::vec(any::<u8>(), 0..1500),
            executable: bool,
        ) {
            let mut archive = Vec::new();
            let file = File { path: path.as_bytes(), executable, size: content.len() as u64 };
            append_file(&mut archive, &file, &mut &content[..]).unwrap();
            append_symlink(&mut archive, path.as_bytes(), target.as_bytes()).unwrap();
            finish(&mut archive).unwrap();
            let mut reader = tar::Archive::new(&archive[..]);
            let mut entries = reader.entries().unwrap();
            let mut first = entries.next().unwrap().unwrap();
            prop_assert_eq!(&*first.path_bytes(), path.as_bytes());
            prop_assert_eq!(first.header().mode().unwrap(), if executable { 0o755 } else { 0o644 });
            let mut read = Vec::new();
            first.read_to_end(&mut read).unwrap();
            prop_assert_eq!(read, content);
            let second = entries.next().unwrap().unwrap();
            prop_assert_eq!(&*second.path_bytes(), path.as_bytes());
            prop_assert_eq!(&*second.link_name_bytes().unwrap(), target.as_bytes());
            prop_assert!(entries.next().is_none());
        }
    }
}
