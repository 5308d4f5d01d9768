//! Judges of SBOMs: pyspdxtools, and `go version -m` for what the programs themselves say.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use kdistro_formats::release::MediaType;

use super::released::{Named, Program, Released};
use crate::{
    run::{must, run},
    shared::scratch,
    tools,
};

/// Licences of SPDX's list that the judge's own list, an older one, lacks; each with one that it knows.
const NEWER: [(&str, &str); 1] = [("BSD-2-Clause-pos-unchanged", "BSD-2-Clause-first-lines")];

/// What pyspdxtools says against a document; nothing when it accepts it.
fn complaint(path: &Path) -> Option<String> {
    let ran = run(tools::python("pyspdxtools").arg("--infile").arg(path));
    (ran.code != 0).then(|| format!("{}:\n{}{}", path.display(), ran.out, ran.err))
}

/// Has every SBOM judged by pyspdxtools; all that it refuses are named.
pub(super) fn pyspdxtools_accepts(released: &Released) {
    let folder = scratch("sboms");
    let refused = released.sboms().into_iter().filter_map(|path| {
        let complaint = complaint(&path)?;
        if !NEWER.iter().any(|(newer, _)| complaint.contains(newer)) {
            return Some(complaint);
        }
        let text = NEWER.iter().fold(fs::read_to_string(&path).unwrap(), |text, (newer, known)| {
            text.replace(newer, known)
        });
        let known = folder.path().join(path.file_name().unwrap());
        fs::write(&known, text).unwrap();
        self::complaint(&known)
    });
    let refused: Vec<_> = refused.collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn pyspdxtools_accepts_every_sbom() {
    pyspdxtools_accepts(&Released::shared());
}

#[test]
fn pyspdxtools_refuses_a_broken_sbom() {
    let (folder, released) = (scratch("sbom"), Released::shared());
    let good = fs::read_to_string(&released.sboms()[0]).unwrap();
    let path = folder.path().join("broken.spdx.json");
    for (right, wrong) in [
        ("\"GENERATED_FROM\"", "\"MADE_OF\""),
        ("\"licenseDeclared\":\"MIT\"", "\"licenseDeclared\":\"free\""),
        ("\"spdxVersion\":\"SPDX-2.3\"", "\"spdxVersion\":\"SPDX-9\""),
        ("\"SPDXRef-DOCUMENT\"", "\"DOCUMENT\""),
    ] {
        assert!(good.contains(right), "{right} is not in the SBOM");
        fs::write(&path, good.replace(right, wrong)).unwrap();
        assert!(complaint(&path).is_some(), "accepted with {wrong}");
    }
}

/// What a program says of itself to `go version -m`.
struct Said {
    /// The Go package and its module.
    go: (String, String),
    modules: BTreeMap<Named, Option<String>>,
}

/// Asks a program what it is made of. A module that the source tree itself carries has the component's tag.
fn said(path: &Path, tag: &str) -> Said {
    let text = must(tools::judge("go").args(["version", "-m"]).arg(path));
    let mut lines = text.lines();
    let version = lines.next().unwrap().rsplit_once(": go").unwrap().1;
    let standard = ("stdlib".to_owned(), version.to_owned());
    let (mut go, mut modules) = ((String::new(), String::new()), BTreeMap::new());
    let mut replaced: Option<Named> = None;
    for line in lines {
        let parts: Vec<_> = line.trim_start_matches('\t').split('\t').collect();
        let sum = parts.get(3).filter(|sum| !sum.is_empty()).map(|&sum| sum.to_owned());
        match parts[..] {
            ["path", path] => path.clone_into(&mut go.0),
            ["mod", path, ..] => path.clone_into(&mut go.1),
            ["dep", path, version, ..] => {
                let named = (path.to_owned(), version.to_owned());
                replaced = Some(named.clone());
                modules.insert(named, sum);
            }
            ["=>", path, version, ..] => {
                let instead_of = replaced.take().unwrap();
                modules.remove(&instead_of);
                let named = if path.starts_with('.') {
                    (instead_of.0, tag.to_owned())
                } else {
                    (path.to_owned(), version.to_owned())
                };
                modules.insert(named, sum);
            }
            _ => {}
        }
    }
    modules.insert(standard, None);
    Said { go, modules }
}

/// The modules of a program as its SBOM names them, less the sums that the program does not say.
fn named(program: &Program, said: &Said) -> BTreeMap<Named, Option<String>> {
    let mut named = program.modules.clone();
    for (module, sum) in &mut named {
        if said.modules.get(module).is_some_and(Option::is_none) {
            *sum = None;
        }
    }
    named
}

/// Every Go program in files of the release, unpacked: its SBOM's words, its place, its component's tag.
fn programs(released: &Released, folder: &Path) -> Vec<(Program, PathBuf, String)> {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    let files = [MediaType::Program, MediaType::Gzip].map(|media| released.files_of(media));
    for (number, (component, asset, path)) in files.into_iter().flatten().enumerate() {
        let unpacked = folder.join(number.to_string());
        let is_archive = asset.media_type == Some(MediaType::Gzip);
        for program in released.sbom(component, asset).programs() {
            if program.go.is_none() || !seen.insert(program.sha256.clone()) {
                continue;
            }
            if is_archive && !unpacked.exists() {
                fs::create_dir(&unpacked).unwrap();
                must(tools::judge("bsdtar").arg("-xf").arg(&path).arg("-C").arg(&unpacked));
            }
            let place = if is_archive { unpacked.join(&program.path) } else { path.clone() };
            found.push((program, place, component.git_tag.clone()));
        }
    }
    assert!(!found.is_empty(), "no Go program in the release");
    found
}

/// Has every Go program asked by `go version -m`: the same modules, versions and sums as in the SBOM.
pub(super) fn go_agrees(released: &Released) {
    let folder = scratch("go");
    for (program, path, tag) in programs(released, folder.path()) {
        let said = said(&path, &tag);
        assert_eq!(named(&program, &said), said.modules, "{}", program.path);
        assert_eq!(program.go.as_ref(), Some(&said.go), "{}", program.path);
        // The program itself says `(devel)`.
        assert_eq!(program.version, tag, "{}", program.path);
    }
}

#[test]
fn go_lists_the_modules_that_the_sboms_name() {
    go_agrees(&Released::shared());
}

#[test]
fn go_lists_other_modules_for_another_program() {
    let folder = scratch("go");
    let programs = programs(&Released::shared(), folder.path());
    let program = |name: &str| programs.iter().find(|(program, ..)| program.name == name).unwrap();
    let ((etcd, ..), (_, etcdctl, tag)) = (program("etcd"), program("etcdctl"));
    let said = said(etcdctl, tag);
    assert_ne!(named(etcd, &said), said.modules);
}

#[test]
fn go_reads_in_the_programs_how_they_were_built() {
    let folder = scratch("go");
    let version = Released::shared().manifest.status.components[0].toolchain.clone().unwrap();
    for (program, path, _) in programs(&Released::shared(), folder.path()) {
        let facts = must(tools::judge("go").args(["version", "-m"]).arg(&path));
        for fact in [&version, "-trimpath=true", "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64"] {
            assert!(facts.contains(fact), "{}: {facts}", program.path);
        }
        assert!(!facts.contains("vcs."), "{facts}");
    }
}
