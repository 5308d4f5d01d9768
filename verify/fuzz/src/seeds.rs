//! Writes what each target starts from into a folder, one folder a target, and prints the targets' names.
//!
//! A target itself, which ends before the first input: only libFuzzer has what instrumented code calls.

#![no_main]

use std::{
    env, fs,
    io::{Cursor, Write},
    path::Path,
    process,
};

use kdistro_assemble::{Entry, EntryPath, gzip::gzip, tar::TarWriter};
use kdistro_formats::{
    Digest, canonical,
    statement::{self, Rebuild, RebuildVerdict, RebuiltAsset, Statement, Subject},
};
use kdistro_fuzz::{BUNDLE, CHECKPOINT, KEY, MODULE, STATEMENT, TRUSTED_ROOT};
use zip::{ZipWriter, write::SimpleFileOptions};

type Seeds = Vec<Vec<u8>>;
type Failure = Box<dyn std::error::Error>;

macro_rules! golden {
    ($($name:literal),+) => { vec![$(include_bytes!(concat!("../../../builder/tests/golden/", $name)).to_vec()),+] };
}

macro_rules! sample {
    ($name:literal) => {
        include_bytes!(concat!("../../formats/tests/samples/", $name)).to_vec()
    };
}

libfuzzer_sys::fuzz_target!(init: finish(&write_all()), |_data: &[u8]| {});

/// Ends the program before libFuzzer starts.
fn finish(result: &Result<(), Failure>) {
    if let Err(error) = result {
        eprintln!("error: {error}");
    }
    process::exit(if result.is_ok() { 0 } else { 2 });
}

fn write_all() -> Result<(), Failure> {
    let folder = env::args().nth(1).ok_or("name a folder for the seeds")?;
    for (target, seeds) in all()? {
        let folder = Path::new(&folder).join(target);
        fs::create_dir_all(&folder)?;
        for (number, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{number}")), seed)?;
        }
        println!("{target}");
    }
    Ok(())
}

/// Every target with its seeds, sorted by name.
fn all() -> Result<Vec<(&'static str, Seeds)>, Failure> {
    let tar = tar(&[("a", b"text"), ("b/c", b"#!/bin/sh\n")])?;
    Ok(vec![
        ("announcement", golden!("announcement.json")),
        ("bundle", vec![BUNDLE.to_vec(), STATEMENT.to_vec()]),
        ("canonical", texts(&["{\"a\":[1,-2,true,null,\"\\u000f\u{20ac}\"],\"b\":{}}"])),
        ("channel-index", [golden!("index.yaml"), vec![sample!("eks-d-channel.yaml")]].concat()),
        ("checkpoint", texts(&[CHECKPOINT])),
        ("claim", canonical(golden!("claim.json"))?),
        ("configuration", configuration()),
        ("deb", vec![deb(&tar)?]),
        ("explain", vec![pair(&tar, &gzip(&tar[..], Vec::new())?), pair(b"a\nb\n", b"a\nc\n")]),
        ("go-build-info", vec![go_program()]),
        ("log", log()),
        ("manifest", [golden!("manifest.yaml"), vec![sample!("eks-d-release.yaml")]].concat()),
        ("module-zip", vec![module_zip()?]),
        ("names", names()),
        ("oci", oci()),
        ("patch", texts(&[PATCH])),
        ("plan", canonical(golden!("plan.json"))?),
        ("statement", vec![statement()?]),
        ("tar", vec![tar]),
        ("trust", vec![TRUSTED_ROOT.to_vec(), KEY.as_bytes().to_vec(), der()]),
        (
            "yaml",
            texts(&[
                "text: '1.30'\nnumber: 7\nflag: true\nmaybe: null\ntexts: [yes, 012]\nmap: {a: b}\ninner:\n  - text: |\n      x\n",
            ]),
        ),
    ])
}

const PATCH: &str = "From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\nFrom: A <a@example.org>\nDate: Tue, 14 Nov 2023 22:13:20 +0000\nSubject: [PATCH] Say it\n otherwise\n\nA text.\n\nFixes: CVE-2026-1234\nUpstream: not submitted, because it is a seed\nDrop-when: v2.0.0\n---\n a | 2 +-\n 1 file changed, 1 insertion(+), 1 deletion(-)\n\ndiff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-b\n+c\n-- \n2.39.5\n\n";

fn texts(texts: &[&str]) -> Seeds {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Golden files are laid out for people.
fn canonical(documents: Seeds) -> Result<Seeds, Failure> {
    let documents = documents.iter().map(|document| {
        let value: serde_json::Value = serde_json::from_slice(document)?;
        Ok(canonical::to_vec(&value)?)
    });
    documents.collect()
}

/// A rebuild that came out the same.
fn statement() -> Result<Vec<u8>, Failure> {
    let digest = Digest::from_bytes([7; 32]);
    let asset = RebuiltAsset {
        name: "etcd/etcd.tar.gz".to_owned(),
        published: digest,
        rebuilt: digest,
        verdict: RebuildVerdict::Same,
    };
    let predicate = Rebuild {
        release: "1-20-1".to_owned(),
        plan: digest,
        plan_reproduced: true,
        inputs_from: "publisher".to_owned(),
        assets: vec![asset],
        left_out: Vec::new(),
    };
    let statement = Statement {
        kind: statement::STATEMENT.to_owned(),
        subject: vec![Subject::new("1-20-1", &digest)],
        predicate_type: statement::REBUILD.to_owned(),
        predicate,
    };
    Ok(serde_json::to_vec(&statement)?)
}

/// An index, a manifest and a configuration.
fn oci() -> Seeds {
    let digest = format!("sha256:{}", "7".repeat(64));
    let index = format!(
        r#"{{"manifests":[{{"annotations":{{"a":"b"}},"digest":"{digest}","mediaType":"application/vnd.oci.image.manifest.v1+json","platform":{{"architecture":"arm64","os":"linux","variant":"v8"}},"size":7}}],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}}"#
    );
    let manifest = format!(
        r#"{{"config":{{"digest":"{digest}","mediaType":"application/vnd.oci.image.config.v1+json","size":7}},"layers":[{{"digest":"{digest}","mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","size":7}}],"mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}}"#
    );
    let config = format!(
        r#"{{"architecture":"amd64","config":{{"Entrypoint":["/a"],"Env":["A=b"],"ExposedPorts":{{"53/udp":{{}}}},"Labels":{{"a":"b"}},"User":"1"}},"created":"2026-11-21T10:00:00Z","history":[{{"created":"2026-11-21T10:00:00Z","created_by":"a"}}],"os":"linux","rootfs":{{"diff_ids":["{digest}"],"type":"layers"}}}}"#
    );
    texts(&[&index, &manifest, &config])
}

/// An ELF program of one segment that holds nothing but build information, inline as Go has it since 1.18.
///
/// Source: `elf(5)`; Go, `debug/buildinfo`.
fn go_program() -> Vec<u8> {
    let modules = "0123456789abcdefpath\texample.org/a\nmod\texample.org/a\t(devel)\t\ndep\texample.org/b\tv1.2.3\th1:x=\nbuild\t-tags=x\nfedcba9876543210";
    let mut info = b"\xff Go buildinf:\x08\x02".to_vec();
    info.resize(32, 0);
    info.push(8);
    info.extend(b"go1.26.1");
    info.extend([(modules.len() % 128) as u8 | 0x80, (modules.len() / 128) as u8]);
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

/// The files that the target lists, each behind its number.
fn configuration() -> Seeds {
    const FILES: [&str; 4] = [
        include_str!("../seeds/inputs.yaml"),
        include_str!("../seeds/project.yaml"),
        include_str!("../seeds/channel.yaml"),
        include_str!("../../../builder/tests/golden/channel.lock.yaml"),
    ];
    (0..).zip(FILES).map(|(number, text)| [&[number], text.as_bytes()].concat()).collect()
}

fn names() -> Seeds {
    let digest = "0".repeat(64);
    let digest = format!("sha256:{digest}");
    let commit = "0123456789".repeat(4);
    let names = [
        "1-36",
        "1-36-7",
        "v1.36.2+kd.t0",
        "linux/arm64",
        "etcd-io/etcd",
        "golang.org/x/Sync",
        "/store/kubernetes-1-20/kubernetes-1-20-1.yaml",
        &digest,
        &commit,
    ];
    texts(&names)
}

/// Sizes of trees and a tile, an entries tile, and names.
fn log() -> Seeds {
    let tile = [&[0; 7][..], &[3], &[0; 7], &[5], &[9; 5 * 32]].concat();
    let mut seeds = texts(&["checkpoint", "tile/0/x001/x234/067", "tile/entries/000.p/5"]);
    seeds.extend([tile, vec![0, 2, b'a', b'b', 0, 1, b'c']]);
    seeds
}

/// The key as DER.
fn der() -> Vec<u8> {
    kdistro_fuzz::key().as_der().to_vec()
}

/// Two contents with the length of the first in front.
fn pair(a: &[u8], b: &[u8]) -> Vec<u8> {
    let length = u16::try_from(a.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), a, b].concat()
}

fn tar(files: &[(&str, &[u8])]) -> Result<Vec<u8>, Failure> {
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
fn deb(data: &[u8]) -> Result<Vec<u8>, Failure> {
    let control = b"Package: seed\nVersion: 1-1\nArchitecture: amd64\nDescription: a\n more\n";
    let control = tar(&[("control", control), ("postinst", b"#!/bin/sh\n")])?;
    let control = gzip(&control[..], Vec::new())?;
    let data = gzip(data, Vec::new())?;
    let mut out = b"!<arch>\n".to_vec();
    for (name, content) in
        [("debian-binary", &b"2.0\n"[..]), ("control.tar.gz", &control), ("data.tar.gz", &data)]
    {
        let size = content.len();
        write!(out, "{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n", 0, 0, 0, 100_644)?;
        out.extend_from_slice(content);
        if size % 2 == 1 {
            out.push(b'\n');
        }
    }
    Ok(out)
}

fn module_zip() -> Result<Vec<u8>, Failure> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in [("go.mod", "module example.org/seed\n"), ("seed.go", "package seed\n")] {
        zip.start_file(format!("{MODULE}{name}"), SimpleFileOptions::default())?;
        zip.write_all(text.as_bytes())?;
    }
    Ok(zip.finish()?.into_inner())
}
