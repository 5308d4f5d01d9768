//! Archives that break the rules, and round trips.

use proptest::prelude::*;

use super::{
    TarError, TarWriter,
    header::{self, BLOCK, Block},
    pax, read_tar,
};
use crate::entry::{Entry, EntryKind, EntryPath};

fn path(text: &str) -> EntryPath {
    EntryPath::new(text).unwrap()
}

fn raw(name: &[u8], flag: u8, size: u64) -> Block {
    let mut block = [0; BLOCK];
    header::NAME.set(&mut block, name);
    header::MODE.set_number(&mut block, 0o644);
    header::SIZE.set_number(&mut block, size);
    header::TYPE.set(&mut block, &[flag]);
    header::MAGIC.set(&mut block, header::USTAR);
    header::LINK_NAME.set(&mut block, b"target");
    header::seal(&mut block);
    block
}

fn extension(flag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = raw(b"x", flag, content.len() as u64).to_vec();
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

fn names(archive: &[u8]) -> Result<Vec<String>, TarError> {
    let mut names = Vec::new();
    read_tar::<TarError>(archive, &mut |entry| {
        names.push(entry.path.to_string());
        Ok(())
    })?;
    Ok(names)
}

fn refusal(parts: &[&[u8]]) -> String {
    names(&parts.concat()).unwrap_err().to_string()
}

#[test]
fn paths_that_lead_outside_are_refused() {
    for name in ["/etc/passwd", "../x", "a/../../x", "a/./b", "a//b", "."] {
        let error = refusal(&[&raw(name.as_bytes(), b'0', 0), &END]);
        assert!(error.contains("is not a path of an archive entry"), "{name}: {error}");
        let long = pax::record("path", name.as_bytes());
        let error = refusal(&[&extension(b'x', &long), &raw(b"a", b'0', 0), &END]);
        assert!(error.contains("is not a path of an archive entry"), "{name}: {error}");
        let error = refusal(&[&extension(b'L', name.as_bytes()), &raw(b"a", b'0', 0), &END]);
        assert!(error.contains("is not a path of an archive entry"), "{name}: {error}");
    }
    let mut hardlink = raw(b"a", b'1', 0);
    header::LINK_NAME.set(&mut hardlink, b"../../../x");
    header::seal(&mut hardlink);
    assert!(refusal(&[&hardlink, &END]).contains("`../../../x`"));
}

#[test]
fn devices_and_unknown_kinds_are_refused() {
    for (flag, kind) in [
        (b'3', "a device"),
        (b'4', "a device"),
        (b'6', "a named pipe"),
        (b'S', "a sparse file"),
        (b'7', "unknown kind `7`"),
    ] {
        let error = refusal(&[&raw(b"dev/x", flag, 0), &END]);
        assert!(
            error.starts_with("`dev/x` in the tar archive is") && error.contains(kind),
            "{error}"
        );
    }
    let sparse = pax::record("GNU.sparse.major", b"1");
    assert!(
        refusal(&[&extension(b'x', &sparse), &raw(b"a", b'0', 0), &END]).contains("GNU.sparse")
    );
    let global = pax::record("path", b"everywhere");
    assert!(refusal(&[&extension(b'g', &global), &raw(b"a", b'0', 0), &END]).contains("global"));
}

#[test]
fn a_path_that_occurs_twice_is_refused() {
    let error = refusal(&[&raw(b"a", b'0', 0), &raw(b"./a", b'0', 0), &END]);
    assert_eq!(error, "`a` is in the tar archive twice");
}

#[test]
fn an_archive_must_end_properly() {
    let file = raw(b"a", b'0', 0);
    assert!(refusal(&[&file]).contains("ends at byte 512; expected a header or the end"));
    assert!(refusal(&[&file, &END[..BLOCK]]).contains("expected the second block of zeros"));
    assert!(refusal(&[&file, &END[..BLOCK], &file]).contains("a single block of zeros"));
    assert!(refusal(&[&file, &END, b"x"]).contains("something follows the end"));
    assert!(refusal(&[&raw(b"a", b'0', 9), b"123"]).contains("expected the rest of a file"));
    assert!(refusal(&[&extension(b'L', b"name"), &END]).contains("before the end"));
    // Padding to a whole record, as other writers do.
    assert_eq!(names(&[&file[..], &END, &[0; 9000]].concat()).unwrap(), ["a"]);
}

#[test]
fn a_changed_header_is_refused() {
    let mut block = raw(b"a", b'0', 0);
    block[1] = b'b';
    assert!(refusal(&[&block, &END]).contains("byte 0 is malformed: its checksum is wrong"));
}

#[test]
fn the_comment_of_git_archive_changes_nothing() {
    let comment = pax::record("comment", b"24e2b02af5543d7910c2bb074c7264df5a8f0467");
    let archive = [&extension(b'g', &comment)[..], &raw(b"a", b'0', 0), &END].concat();
    assert_eq!(names(&archive).unwrap(), ["a"]);
}

#[test]
fn what_a_visitor_leaves_unread_is_skipped() {
    let mut content = vec![b'x'; 700];
    content.resize(2 * BLOCK, 0);
    let archive = [&raw(b"a", b'0', 700)[..], &content, &raw(b"b", b'0', 0), &END].concat();
    assert_eq!(names(&archive).unwrap(), ["a", "b"]);
}

#[test]
fn the_writer_refuses_what_is_not_sorted() {
    let mut writer = TarWriter::new(Vec::new(), 0);
    writer.append(Entry::directory(path("b"))).unwrap();
    let again = writer.append(Entry::directory(path("b"))).unwrap_err();
    assert_eq!(again.to_string(), "`b` is in the tar archive twice");
    let earlier = writer.append(Entry::directory(path("a"))).unwrap_err();
    assert_eq!(earlier.to_string(), "`a` comes after `b`; expected bytewise order");
}

#[test]
fn the_writer_refuses_content_of_another_size() {
    let write = |size| {
        let mut writer = TarWriter::new(Vec::new(), 0);
        writer.append(Entry::file(path("a"), false, size, &mut &b"abc"[..]))
    };
    write(3).unwrap();
    assert_eq!(write(4).unwrap_err().to_string(), "`a` has 3 bytes; expected 4");
    assert_eq!(write(2).unwrap_err().to_string(), "`a` has 3 bytes; expected 2");
}

#[test]
fn the_writer_refuses_modes_and_links_that_are_not_canonical() {
    let write = |kind| TarWriter::new(Vec::new(), 0).append(Entry::of(path("b"), kind)).is_err();
    assert!(write(EntryKind::Directory { mode: 0o2755 }));
    assert!(write(EntryKind::Symlink { target: String::new() }));
    assert!(write(EntryKind::Hardlink { target: path("c") }));
    assert!(!write(EntryKind::Hardlink { target: path("a") }));
}

#[test]
fn times_and_sizes_beyond_ustar_go_into_records() {
    let mut writer = TarWriter::new(Vec::new(), 1 << 40);
    writer.append(Entry::directory(path("a"))).unwrap();
    let archive = writer.finish().unwrap();
    assert_eq!(&archive[512..512 + 23], b"23 mtime=1099511627776\n");
    assert_eq!(names(&archive).unwrap(), ["a"]);
}

#[test]
fn the_records_of_an_entry_are_sorted() {
    let mut writer = TarWriter::new(Vec::new(), 1 << 40);
    let mut entry = Entry::symlink(path(&"p".repeat(120)), "t".repeat(120));
    entry.xattrs.insert("b".to_owned(), vec![1]);
    entry.xattrs.insert("a".to_owned(), vec![2]);
    writer.append(entry).unwrap();
    let archive = writer.finish().unwrap();
    let size =
        usize::try_from(header::SIZE.number(archive[..512].try_into().unwrap()).unwrap()).unwrap();
    let keys: Vec<&str> =
        pax::records(&archive[512..512 + size]).unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["SCHILY.xattr.a", "SCHILY.xattr.b", "linkpath", "mtime", "path"]);
}

#[test]
fn only_posix_headers_have_a_prefix() {
    let mut block = raw(b"a", b'0', 0);
    header::PREFIX.set(&mut block, b"14756773233");
    header::seal(&mut block);
    assert_eq!(names(&[&block[..], &END].concat()).unwrap(), ["14756773233/a"]);
    // GNU tar keeps the time of access there.
    header::MAGIC.set(&mut block, header::GNU);
    header::seal(&mut block);
    assert_eq!(names(&[&block[..], &END].concat()).unwrap(), ["a"]);
}

type Listed = Vec<(String, String, Vec<u8>)>;

fn listed(archive: &[u8]) -> Result<Listed, TarError> {
    let mut found = Vec::new();
    read_tar::<TarError>(archive, &mut |entry| {
        let (kind, bytes) = match entry.kind {
            EntryKind::Directory { mode } => (format!("directory {mode:o}"), vec![]),
            EntryKind::File { executable, content, .. } => {
                let mut bytes = Vec::new();
                // Content that ends early is reported once more by the reader itself.
                let _ = content.read_to_end(&mut bytes);
                (format!("file {executable}"), bytes)
            }
            EntryKind::Symlink { target } => (format!("link {target}"), vec![]),
            EntryKind::Hardlink { target } => (format!("second {target}"), vec![]),
        };
        EntryPath::new(entry.path.as_str()).expect("an unsafe path came out");
        found.push((entry.path.to_string(), kind, bytes));
        Ok(())
    })?;
    Ok(found)
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        files in prop::collection::btree_map(
            "[a-z\u{e9}]{1,120}(/[a-z]{1,120}){0,2}",
            (any::<bool>(), prop::collection::vec(any::<u8>(), 0..1500)),
            0..8,
        ),
        target in "[a-z/\u{e9}]{1,200}",
    ) {
        let mut writer = TarWriter::new(Vec::new(), 1);
        let mut expected = Vec::new();
        for (name, (executable, content)) in &files {
            let mut reader = &content[..];
            let size = content.len() as u64;
            let entry = Entry::file(path(name), *executable, size, &mut reader);
            writer.append(entry).unwrap();
            expected.push((name.clone(), format!("file {executable}"), content.clone()));
        }
        writer.append(Entry::symlink(path("\u{fffd}"), target.as_str())).unwrap();
        expected.push(("\u{fffd}".to_owned(), format!("link {target}"), vec![]));
        let archive = writer.finish().unwrap();
        prop_assert_eq!(listed(&archive).unwrap(), expected);
    }

    #[test]
    fn no_bytes_make_the_reader_panic_or_lead_outside(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        flag in any::<u8>(),
        name in prop::collection::vec(any::<u8>(), 0..100),
        size in 0..3000_u64,
    ) {
        let _ = listed(&bytes);
        let _ = listed(&[&raw(&name, flag, size)[..], &bytes, &END].concat());
        let _ = listed(&[&extension(b'x', &bytes)[..], &raw(&name, flag, 0), &END].concat());
        let record = pax::record("path", &bytes);
        let _ = listed(&[&extension(b'x', &record)[..], &raw(&name, b'0', 0), &END].concat());
    }

    #[test]
    fn no_changed_byte_makes_the_reader_panic(
        position in 0..4096_usize,
        value in any::<u8>(),
    ) {
        let mut writer = TarWriter::new(Vec::new(), 1);
        writer.append(Entry::file(path("a"), true, 5, &mut &b"hello"[..])).unwrap();
        writer.append(Entry::symlink(path(&"l".repeat(120)), "a")).unwrap();
        let mut archive = writer.finish().unwrap();
        let length = archive.len();
        archive[position % length] = value;
        let _ = listed(&archive);
    }
}
