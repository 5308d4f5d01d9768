//! syft as a judge: it must find in the images what their SBOMs name.
//!
//! What it says otherwise, and why:
//! - The main module of a program has the version `(devel)`: no Go program knows its own tag. The SBOM has the tag.
//! - A module that the source tree itself carries (`staging/` of Kubernetes) is named by its folder and has no
//!   version: the SBOM has the module's path and the component's tag.
//! - The standard library has the version `go1.26`: the SBOM's is that of its package URL, without `go`.
//! - C code that is linked statically (glibc in pause) leaves no trace that a scanner knows; only the SBOM names it.
//! - Its package URLs carry more (the distribution, Debian's source package) or break a module path in two: names and
//!   versions are compared.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use super::{
    images,
    released::{Program, Released, Sbom},
};
use crate::{run::run, shared::scratch, tools};

/// What is in an image: `deb NAME VERSION ARCHITECTURE` and `go NAME VERSION`.
type Found = BTreeSet<String>;

/// What syft finds, in its own words.
fn found(source: &str, folder: &Path) -> Found {
    let mut syft = tools::python("syft");
    syft.args(["scan", "--verbose", "--output", "json", source]);
    syft.args(["--source-name", "image", "--source-version", "1"]);
    syft.env("SYFT_CHECK_FOR_APP_UPDATE", "false");
    syft.envs(["HOME", "XDG_CACHE_HOME", "TMPDIR"].map(|name| (name, folder)));
    let ran = run(&mut syft).expect(0);
    // It ends well when it could not read a program.
    let troubles = ran.err.lines().filter(|line| line.contains("WARN") || line.contains("ERROR"));
    assert_eq!(troubles.collect::<Vec<_>>(), [""; 0], "{source}");
    let answer: Value = serde_json::from_str(&ran.out).unwrap();
    let artifacts = answer["artifacts"].as_array().unwrap().iter();
    let found = artifacts.map(|artifact| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let (name, version) = (text(&artifact["name"]), text(&artifact["version"]));
        match artifact["type"].as_str().unwrap() {
            "deb" => {
                format!("deb {name} {version} {}", text(&artifact["metadata"]["architecture"]))
            }
            "go-module" => format!("go {name} {version}"),
            other => panic!("{name} {version} is of another kind: {other}"),
        }
    });
    found.collect()
}

/// What the SBOM says of one platform, in syft's words.
fn said(sbom: &Sbom, platform: &str) -> Found {
    let architecture = platform.split_once('/').unwrap().1;
    let debian = sbom.debian(architecture).into_iter();
    let mut said: Found = debian.map(|package| format!("deb {package}")).collect();
    let programs = sbom.programs().into_iter().filter(|program| program.platform == platform);
    for Program { go, modules, carried, .. } in programs {
        said.extend(go.map(|(_, module)| format!("go {module} (devel)")));
        said.extend(modules.keys().map(|named| {
            let (name, version) = named;
            match carried.get(named) {
                Some(folder) => format!("go ./{folder} UNKNOWN"),
                None if name == "stdlib" => format!("go stdlib go{version}"),
                None => format!("go {name} {version}"),
            }
        }));
    }
    said
}

/// Has every image of a release scanned, platform by platform.
pub(super) fn finds_what_the_sboms_name(released: &Released) {
    let folder = scratch("syft");
    let mut differences = Vec::new();
    for one in images::platforms(released, folder.path()) {
        let found = found(&format!("oci-dir:{}", one.layout.display()), folder.path());
        let said = said(&one.sbom, &one.platform);
        let only = |what: &str, these: &Found, those: &Found| -> Vec<String> {
            let only = these.difference(those);
            only.map(|entry| format!("{} {}: only {what}: {entry}", one.name, one.platform))
                .collect()
        };
        differences.extend(only("syft", &found, &said));
        differences.extend(only("the SBOM", &said, &found));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn syft_finds_the_modules_and_packages_that_the_sboms_name() {
    finds_what_the_sboms_name(&Released::shared());
}

#[test]
fn syft_misses_what_was_taken_out_of_an_image() {
    let (folder, released) = (scratch("less"), Released::shared());
    let one = images::platforms(&released, folder.path()).remove(0);
    let root = images::unpack(&one, &folder.path().join("bundle"));
    let status = root.join("var/lib/dpkg/status");
    let packages = fs::read_to_string(&status).unwrap();
    let (first, others) = packages.split_once("\n\n").unwrap();
    let taken = first.lines().find_map(|line| line.strip_prefix("Package: ")).unwrap();
    fs::write(&status, others).unwrap();
    fs::remove_file(root.join("usr/local/bin/etcd")).unwrap();
    let (found, said) =
        (found(&format!("dir:{}", root.display()), folder.path()), said(&one.sbom, &one.platform));
    let missed: Vec<_> = said.difference(&found).collect();
    assert!(found.is_subset(&said), "{found:?}");
    assert!(missed.iter().any(|entry| entry.starts_with(&format!("deb {taken} "))), "{missed:?}");
    assert!(
        missed.iter().any(|entry| entry.starts_with("go github.com/sirupsen/logrus ")),
        "{missed:?}"
    );
}
