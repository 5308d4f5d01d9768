//! Archives and programs as small as their readers take them.

use std::io::{Cursor, Write};

use kdistro_assemble::{Entry, EntryPath, gzip::gzip, tar::TarWriter};
use zip::{ZipWriter, write::SimpleFileOptions};

use super::{Failure, MODULE};

/// An ELF program of one segment that holds nothing but build information, inline as Go has it since 1.18.
///
/// Source: `elf(5)`; Go, `debug/buildinfo`.
pub(super) fn go_program() -> Vec<u8> {
    let modules = "0123456789abcdefpath\texample.org/a\nmod\texample.org/a\t(devel)\t\ndep\texample.org/b\tv1.2.3\th1:x=\nbuild\t-tags=x\nfedcba9876543210";
    let mut info = b"\xff Go buildinf:\x08\x02".to_vec();
    info.resize(32, 0);
    info.push(8);
    info.extend(b"go1.26.1");
    // Its length in two groups of seven bits, the lower first.
    let [.., high, low] = (modules.len() * 2).to_be_bytes();
    info.extend([(low / 2) | 0x80, high]);
    info.extend(modules.as_bytes());
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    for half in [2_u16, 62] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend(1_u32.to_le_bytes());
    for long in [0_u64, 64, 0] {
        elf.extend(long.to_le_bytes());
    }
    elf.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 64, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    for word in [1_u32, 6] {
        elf.extend(word.to_le_bytes());
    }
    let size = info.len() as u64;
    for long in [0x80, 0x40_0080, 0x40_0080, size, size, 16] {
        elf.extend(long.to_le_bytes());
    }
    elf.resize(0x80, 0);
    elf.extend(info);
    elf
}

/// Two contents with the length of the first in front.
pub(super) fn pair(a: &[u8], b: &[u8]) -> Vec<u8> {
    let length = u16::try_from(a.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), a, b].concat()
}

pub(super) fn tar(files: &[(&str, &[u8])]) -> Result<Vec<u8>, Failure> {
    let mut writer = TarWriter::new(Vec::new(), 1_700_000_000);
    for (name, content) in files {
        let mut reader = *content;
        let path = EntryPath::new(*name)?;
        writer.append(Entry::file(path, false, content.len() as u64, &mut reader))?;
    }
    writer.append(Entry::symlink(EntryPath::new("z")?, "../x"))?;
    Ok(writer.finish()?)
}

/// Source: `deb(5)` and `ar(5)`.
pub(super) fn deb(data: &[u8]) -> Result<Vec<u8>, Failure> {
    let control = b"Package: seed\nVersion: 1-1\nArchitecture: amd64\nDescription: a\n more\n";
    let control = tar(&[("control", control), ("postinst", b"#!/bin/sh\n")])?;
    let control = gzip(&control[..], Vec::new())?;
    let data = gzip(data, Vec::new())?;
    let mut out = b"!<arch>\n".to_vec();
    for (name, content) in
        [("debian-binary", &b"2.0\n"[..]), ("control.tar.gz", &control), ("data.tar.gz", &data)]
    {
        let size = content.len();
        writeln!(out, "{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`", 0, 0, 0, 100_644)?;
        out.extend_from_slice(content);
        if size % 2 == 1 {
            out.push(b'\n');
        }
    }
    Ok(out)
}

pub(super) fn module_zip() -> Result<Vec<u8>, Failure> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in [("go.mod", "module example.org/seed\n"), ("seed.go", "package seed\n")] {
        zip.start_file(format!("{MODULE}{name}"), SimpleFileOptions::default())?;
        zip.write_all(text.as_bytes())?;
    }
    Ok(zip.finish()?.into_inner())
}
