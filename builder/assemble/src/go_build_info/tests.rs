use std::io::Cursor;

use proptest::prelude::*;

use super::*;

/// Text of build information between the two sentinels of 16 bytes.
const MODULES: &str = "0123456789abcdefpath\texample.org/a\nmod\texample.org/a\t(devel)\t\ndep\texample.org/b\tv1.2.3\th1:x=\nfedcba9876543210";

/// The data of a program at `address`: header and both texts, inline or behind pointers.
fn data(address: u64, is_inline: bool) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    let texts = ["go1.17.1", MODULES].map(str::as_bytes);
    if is_inline {
        bytes.extend([0, 2]);
        bytes.resize(HEADER, 0);
        for text in texts {
            let (low, high) = (u8::try_from(text.len() % 128).unwrap(), text.len() / 128);
            if high == 0 {
                bytes.push(low);
            } else {
                bytes.extend([low | 0x80, u8::try_from(high).unwrap()]);
            }
            bytes.extend(text);
        }
        return bytes;
    }
    bytes.extend([8, 0]);
    let strings = address + HEADER as u64;
    bytes.extend(strings.to_le_bytes());
    bytes.extend((strings + 16).to_le_bytes());
    let mut start = strings + 32;
    for text in texts {
        bytes.extend(start.to_le_bytes());
        bytes.extend((text.len() as u64).to_le_bytes());
        start += text.len() as u64;
    }
    for text in texts {
        bytes.extend_from_slice(text);
    }
    bytes
}

fn put(bytes: &mut [u8], at: usize, value: u64, size: usize) {
    bytes[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
}

const ADDRESS: u64 = 0x40_0000;

/// A program without sections, one writable segment at byte 128.
fn elf(is_inline: bool) -> Vec<u8> {
    let data = data(ADDRESS, is_inline);
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(128, 0);
    for (at, value, size) in [(32, 64, 8), (54, 56, 2), (56, 1, 2), (58, 64, 2)] {
        put(&mut bytes, at, value, size);
    }
    let size = data.len() as u64;
    for (at, value, width) in
        [(64, 1, 4), (68, 6, 4), (72, 128, 8), (80, ADDRESS, 8), (96, size, 8), (104, size, 8)]
    {
        put(&mut bytes, at, value, width);
    }
    bytes.extend(data);
    bytes
}

fn mach_o(is_inline: bool) -> Vec<u8> {
    let data = data(ADDRESS, is_inline);
    let mut bytes = b"\xcf\xfa\xed\xfe".to_vec();
    bytes.resize(128, 0);
    let size = data.len() as u64;
    for (at, value, width) in [
        (16, 1, 4),
        (20, 72, 4),
        (32, 0x19, 4),
        (36, 72, 4),
        (56, ADDRESS, 8),
        (64, size, 8),
        (72, 128, 8),
        (80, size, 8),
        (88, 3, 4),
        (92, 3, 4),
    ] {
        put(&mut bytes, at, value, width);
    }
    bytes.extend(data);
    bytes
}

fn pe(is_inline: bool) -> Vec<u8> {
    let data = data(ADDRESS + 0x1000, is_inline);
    let mut bytes = b"MZ".to_vec();
    bytes.resize(320, 0);
    bytes[64..68].copy_from_slice(b"PE\0\0");
    let size = data.len() as u64;
    for (at, value, width) in [
        (60, 64, 4),
        (70, 1, 2),
        (84, 112, 2),
        (88, 0x20b, 2),
        (112, ADDRESS, 8),
        (208, size, 4),
        (212, 0x1000, 4),
        (216, size, 4),
        (220, 320, 4),
        (236, 0xc000_0040, 4),
    ] {
        put(&mut bytes, at, value, width);
    }
    bytes.extend(data);
    bytes
}

#[test]
fn every_format_gives_the_same_information_inline_and_behind_pointers() {
    for (name, make) in [("ELF", elf as fn(bool) -> Vec<u8>), ("Mach-O", mach_o), ("PE", pe)] {
        for is_inline in [false, true] {
            let info = read(&mut Cursor::new(make(is_inline))).unwrap();
            let info = info.unwrap_or_else(|| panic!("{name} {is_inline}: nothing found"));
            assert_eq!(info.go_version, "go1.17.1", "{name}");
            assert_eq!(info.package, "example.org/a");
            assert_eq!(info.main.unwrap().version, "(devel)");
            assert_eq!(info.dependencies[0].module.sum.as_deref(), Some("h1:x="));
        }
    }
}

#[test]
fn a_text_that_begins_as_zeros_is_empty() {
    // Of the segment, the program begins with 64 bytes of zeros that the file does not hold.
    let mut program = elf(false);
    let size = (program.len() - 128) as u64;
    put(&mut program, 104, size + 64, 8);
    let modules = ADDRESS + size + 16;
    put(&mut program, 128 + 24, modules, 8);
    let info = read(&mut Cursor::new(program.clone())).unwrap().unwrap();
    assert_eq!((info.go_version.as_str(), info.is_silent()), ("go1.17.1", true));
    put(&mut program, 128 + 24, modules + 64, 8);
    let error = read(&mut Cursor::new(program)).unwrap_err().to_string();
    assert!(error.ends_with("points outside the file"), "{error}");
}

#[test]
fn other_files_have_no_build_information() {
    for bytes in [&b""[..], b"#!/bin/sh\n", b"MZ", b"\x7fELF\x01\x01", b"PK\x03\x04"] {
        let found = read(&mut Cursor::new(bytes.to_vec()));
        assert!(matches!(found, Ok(None) | Err(BuildInfoError::Executable { .. })), "{found:?}");
    }
    let mut foreign = elf(true);
    foreign[128] = 0;
    assert_eq!(read(&mut Cursor::new(foreign)).unwrap(), None);
}

#[test]
fn a_program_that_is_cut_off_is_never_read_as_another() {
    for make in [elf, mach_o, pe] {
        for is_inline in [false, true] {
            let whole = make(is_inline);
            let expected = read(&mut Cursor::new(whole.clone())).unwrap();
            for length in 0..whole.len() {
                if let Ok(Some(found)) = read(&mut Cursor::new(whole[..length].to_vec())) {
                    assert_eq!(Some(found), expected, "of {length} bytes");
                }
            }
        }
    }
}

#[test]
fn data_at_the_end_of_all_addresses_holds_nothing() {
    for address in [u64::MAX, u64::MAX - 7, u64::MAX - 16, u64::MAX - (1 << 20)] {
        let mut program = elf(true);
        put(&mut program, 64 + 16, address, 8);
        assert_eq!(read(&mut Cursor::new(program)).unwrap(), None, "at {address:#x}");
    }
}

#[test]
fn a_module_named_twice_is_linked_once() {
    let module = |version: &str| Module { path: "b".into(), version: version.into(), sum: None };
    let dependency =
        |version| Dependency { module: module(version), replaced_by: Some(module("v1")) };
    let dependencies = vec![dependency("(devel)"), dependency("v1")];
    let info = BuildInfo { dependencies, ..BuildInfo::default() };
    assert_eq!(info.linked(), [&dependency("v1")]);
}

proptest! {
    #[test]
    fn no_change_of_bytes_makes_the_reader_fail_otherwise_than_with_an_error(
        kind in 0_usize..6,
        changes in prop::collection::vec((0_usize..700, any::<u8>()), 1..8),
    ) {
        let make = [elf, mach_o, pe][kind % 3];
        let mut bytes = make(kind < 3);
        for (at, value) in changes {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        let _ = read(&mut Cursor::new(bytes));
    }
}
