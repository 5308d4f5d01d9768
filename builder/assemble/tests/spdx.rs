//! SBOMs of every kind of asset and of a release: the same bytes for the same facts, and accepted by `pyspdxtools`.
//!
//! Installs the judge with pip into the build's folder for temporary files.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "tests run the real programs as judges")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use kdistro_assemble::{
    go_build_info::{Dependency, Module},
    licenses::Extracted,
    spdx::{
        self, Component, ContainedFile, DebianPackage, Facts, GoModule, GoProgram, Kind, License,
        Patch, Program, SpdxError, Stamp,
    },
};
use kdistro_formats::{Digest, Sha512, canonical};
use serde_json::Value;

fn license(expression: &str) -> License {
    License { expression: expression.to_owned(), extracted: Vec::new() }
}

fn unlisted() -> License {
    let extracted = Extracted {
        id: "LicenseRef-debian-Weird-0123".to_owned(),
        name: "Weird".to_owned(),
        text: Arc::from("Only on Tuesdays.\n\n\u{a9} nobody <x@example.org>\n"),
    };
    License {
        expression: "MIT OR LicenseRef-debian-Weird-0123".to_owned(),
        extracted: vec![extracted],
    }
}

fn dependency(path: &str, version: &str, sum: Option<&str>) -> Dependency {
    let module =
        Module { path: path.to_owned(), version: version.to_owned(), sum: sum.map(str::to_owned) };
    Dependency { module, replaced_by: None }
}

fn modules() -> Vec<GoModule> {
    let mut replaced = dependency("example.org/old", "v1.0.0", None);
    replaced.replaced_by = Some(dependency("example.org/new", "v1.1.0", Some("h1:a+/b=")).module);
    let mut staged = dependency("k8s.io/api", "v0.0.0", None);
    staged.replaced_by = Some(dependency("./staging/src/k8s.io/api", "", None).module);
    let of = |module: Dependency, license| GoModule {
        folder: module.folder(""),
        sum: None,
        module,
        license,
    };
    vec![
        of(dependency("golang.org/x/text", "v0.3.8", Some("h1:xyz=")), license("BSD-3-Clause")),
        of(
            dependency("github.com/Azure/go", "v1.0.0+incompatible", None),
            license("Apache-2.0 AND MIT"),
        ),
        of(replaced, unlisted()),
        of(staged, license("Apache-2.0")),
    ]
}

fn debian(name: &str, digest: Option<u8>) -> DebianPackage {
    DebianPackage {
        name: name.to_owned(),
        version: "1:2.36-9+deb12u10".to_owned(),
        architecture: "amd64".to_owned(),
        suite: "bookworm".to_owned(),
        sha256: digest.map(|byte| Digest::from_bytes([byte; 32])),
        license: unlisted(),
    }
}

fn program(path: &str, byte: u8) -> Program {
    Program {
        path: path.to_owned(),
        platform: "linux/amd64".to_owned(),
        sha256: Digest::from_bytes([byte; 32]),
        size: 12_345,
        go: Some(GoProgram {
            names_modules: true,
            package: "k8s.io/kubernetes/cmd/kubelet".to_owned(),
            main_module: "k8s.io/kubernetes".to_owned(),
            modules: modules(),
            standard_library: license("BSD-3-Clause"),
        }),
        packages: Vec::new(),
    }
}

fn component() -> Component {
    Component {
        name: "kubernetes".to_owned(),
        tag: "v1.20.2".to_owned(),
        repository: "https://github.com/kubernetes/kubernetes".to_owned(),
        commit: "0".repeat(40),
        tree: "1".repeat(40),
        patches: vec![Patch {
            name: "0001-fix.patch".to_owned(),
            sha256: Digest::from_bytes([9; 32]),
            fixes: vec!["CVE-2022-32149".to_owned()],
        }],
        toolchain: "go1.15.15".to_owned(),
        license: license("Apache-2.0"),
    }
}

fn facts(name: &str, kind: Kind) -> Facts {
    let is_image = kind == Kind::Image;
    let packages =
        if is_image { vec![debian("tzdata", Some(3)), debian("base", None)] } else { vec![] };
    let programs = match kind {
        Kind::Source | Kind::File => vec![],
        Kind::Program => vec![program("kubelet", 1)],
        Kind::Archive | Kind::Image => vec![program("usr/local/bin/kubelet", 1), pause()],
    };
    let file = ContainedFile {
        path: "kubernetes/LICENSE".to_owned(),
        sha256: Digest::from_bytes([5; 32]),
        size: 11_358,
    };
    Facts {
        name: name.to_owned(),
        kind,
        platforms: vec!["linux/amd64".to_owned()],
        sha256: Digest::from_bytes([7; 32]),
        sha512: (!is_image).then(|| Sha512::from_bytes([8; 64])),
        size: (!is_image).then_some(77),
        component: component(),
        programs,
        packages,
        files: if kind == Kind::Archive { vec![file] } else { vec![] },
    }
}

/// A program that Go did not build, with code of a Debian package in it.
fn pause() -> Program {
    Program { go: None, packages: vec![debian("libc6-dev", Some(4))], ..program("pause", 2) }
}

fn stamp() -> Stamp {
    Stamp {
        namespace: "https://distro.example.org/spdx".to_owned(),
        created: 1_610_544_489,
        organization: "Example (distro)".to_owned(),
    }
}

fn every_kind() -> Vec<Facts> {
    vec![
        facts("bin/linux/amd64/kubelet", Kind::Program),
        facts("kubernetes-node-linux-amd64.tar.gz", Kind::Archive),
        facts("kubernetes-src.tar.gz", Kind::Source),
        facts("kubelet-image", Kind::Image),
        facts("kubelet.docker_tag", Kind::File),
    ]
}

fn documents() -> Vec<(String, Vec<u8>)> {
    let mut documents: Vec<_> = every_kind()
        .iter()
        .map(|facts| (facts.name.clone(), spdx::asset(facts, &stamp()).unwrap()))
        .collect();
    let release = spdx::release("kubernetes-1-20-1", &every_kind(), &stamp()).unwrap();
    documents.push(("kubernetes-1-20-1".to_owned(), release));
    documents
}

#[test]
fn documents_are_canonical_and_do_not_depend_on_the_order_of_facts() {
    for (name, bytes) in documents() {
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        let mut canonical = canonical::to_vec(&value).unwrap();
        canonical.push(b'\n');
        assert!(canonical == bytes, "{name}: keys are not in order");
        assert_eq!(value["creationInfo"]["created"], "2021-01-13T13:28:09Z");
    }
    let mut turned = every_kind();
    turned.reverse();
    for facts in &mut turned {
        facts.programs.reverse();
        facts.packages.reverse();
        for go in facts.programs.iter_mut().filter_map(|program| program.go.as_mut()) {
            go.modules.reverse();
        }
    }
    turned.reverse();
    let turned: Vec<_> = turned
        .iter()
        .map(|facts| (facts.name.clone(), spdx::asset(facts, &stamp()).unwrap()))
        .collect();
    assert!(turned == documents()[..turned.len()]);
}

#[test]
fn a_namespace_belongs_to_one_content() {
    let namespace = |facts: &Facts| -> String {
        let bytes = spdx::asset(facts, &stamp()).unwrap();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        value["documentNamespace"].as_str().unwrap().to_owned()
    };
    let first = facts("kubelet", Kind::Program);
    let mut second = first.clone();
    second.programs[0].go.as_mut().unwrap().modules[0].module.module.version = "v0.3.9".to_owned();
    assert!(namespace(&first).starts_with("https://distro.example.org/spdx/"));
    assert_ne!(namespace(&first), namespace(&second));
    assert_eq!(namespace(&first), namespace(&first.clone()));
}

#[test]
fn a_document_says_what_is_linked_and_where_it_comes_from() {
    let bytes = spdx::asset(&facts("bin/linux/amd64/kubelet", Kind::Program), &stamp()).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    for part in [
        "pkg:golang/golang.org/x/text@v0.3.8",
        "pkg:golang/github.com/Azure/go@v1.0.0%2Bincompatible",
        "pkg:golang/example.org/new@v1.1.0",
        "in place of example.org/old v1.0.0",
        "pkg:github/kubernetes/kubernetes@v1.20.2#staging/src/k8s.io/api",
        "pkg:golang/stdlib@1.15.15",
        "h1:xyz=",
        "fixes CVE-2022-32149",
        "STATIC_LINK",
        "PATCH_FOR",
        "BUILD_TOOL_OF",
        "GENERATED_FROM",
        "git+https://github.com/kubernetes/kubernetes@0000",
        "Only on Tuesdays.",
        "\"licenseConcluded\":\"(MIT OR LicenseRef-debian-Weird-0123) AND Apache-2.0 AND BSD-3-Clause AND MIT\"",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn licences_that_are_not_written_as_spdx_does_are_refused() {
    for expression in ["Apache 2", "LicenseRef-nowhere", "MIT AND"] {
        let mut facts = facts("kubelet", Kind::Program);
        facts.programs[0].go.as_mut().unwrap().modules[0].license = license(expression);
        let error = spdx::asset(&facts, &stamp()).unwrap_err();
        assert!(matches!(error, SpdxError::License { .. }), "{expression}: {error}");
    }
    let late = Stamp { created: u64::MAX, ..stamp() };
    let error = spdx::asset(&facts("kubelet", Kind::Program), &late).unwrap_err();
    assert!(matches!(error, SpdxError::Time(_)), "{error}");
}

/// Installs the judge once for all runs of these tests.
fn pyspdxtools() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("spdx-tools");
    let judge = folder.join("bin/pyspdxtools");
    if judge.exists() {
        return Ok(judge);
    }
    let pip = folder.join("bin/pip");
    for (program, arguments) in [
        (Path::new("python3"), ["-m", "venv", folder.to_str().unwrap()]),
        (&pip, ["install", "--quiet", "spdx-tools==0.8.5"].map(|text| text)),
    ] {
        let output = Command::new(program).args(arguments).output();
        let output = output.map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
    }
    Ok(judge)
}

#[test]
fn pyspdxtools_accepts_every_document_and_refuses_a_broken_one() {
    let judge = match pyspdxtools() {
        Ok(judge) => judge,
        Err(why) => {
            #[expect(
                clippy::print_stderr,
                reason = "whoever runs the tests must see what was not judged"
            )]
            {
                eprintln!("NOT JUDGED: SBOMs by pyspdxtools: {why}");
            }
            return;
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("document.spdx.json");
    let accepts = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        let output = Command::new(&judge).arg("-i").arg(&path).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    for (name, bytes) in documents() {
        let (accepted, said) = accepts(&bytes);
        assert!(accepted, "{name}: {said}");
    }
    let whole = String::from_utf8(documents().remove(0).1).unwrap();
    for (good, bad) in [
        ("\"STATIC_LINK\"", "\"LINKS\""),
        ("\"licenseDeclared\":\"Apache-2.0\"", "\"licenseDeclared\":\"Apache 2\""),
        ("2021-01-13T13:28:09Z", "yesterday"),
        ("SPDXRef-go-golang.org-x-text", "SPDXRef-go-golang_org"),
    ] {
        assert!(whole.contains(good), "{good}");
        let (accepted, said) = accepts(whole.replace(good, bad).as_bytes());
        assert!(!accepted, "{bad} was accepted: {said}");
    }
}
