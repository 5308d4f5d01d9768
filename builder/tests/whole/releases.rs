//! What is said about releases: how two differ, what the next would bring, and where a new project begins.

use std::{collections::BTreeMap, fs, path::PathBuf};

use kdistro_verify::hash::sha256;
use serde_json::Value;

use crate::{
    shared::{DATE, commit_all, copy, files, git},
    tiny::{CHANNEL, LOCK, PATCHES, PROJECT, Tiny, write},
};

/// A patch that fixes something, in the form that `kdistro patch refresh` writes.
fn add_patch(tiny: &Tiny) {
    let into = tiny.path("checkout");
    let arguments = ["patch", "new", "tiny/hello", "v1.0.0", "--into", into.to_str().unwrap()];
    tiny.run(&arguments).expect(0);
    write(&into.join("notes.txt"), "fixed\n");
    commit_all(
        &into,
        "hello: fix it\n\nFixes: CVE-2026-0001\nSeverity: critical\nUpstream: not submitted, because it is made up\nDrop-when: v1.1.0",
    );
    let arguments = ["patch", "refresh", "tiny/hello", "v1.0.0", "--from", into.to_str().unwrap()];
    tiny.run(&arguments).expect(0);
    assert!(tiny.path("repository").join(PATCHES).is_dir());
    tiny.run(&["lock", CHANNEL]).expect(0);
    tiny.commit();
}

#[test]
fn status_foretells_what_diff_finds() {
    let tiny = Tiny::ready();
    tiny.run(&["status", CHANNEL]).expect(0).prints(&["no release yet", "0 to build"]);
    tiny.cut().expect(0);
    tiny.run(&["status"]).expect(0).prints(&[
        "9-1    last release 9-1-1 of 2026-11-21T10:00:00Z, lock current",
        "next: nothing would change",
    ]);
    tiny.run(&["diff", "9-1-1", "9-1-1"]).expect(0).prints(&["nothing differs"]);
    add_patch(&tiny);
    let foretold = tiny.run(&["status", CHANNEL]).expect(0);
    let patch = "patch      + 0001-hello-fix-it.patch";
    foretold.prints(&["next: 1 of 1 step is new, 1 to build", patch, "CVE-2026-0001 (hello)"]);
    tiny.cut().expect(0).prints(&["released 9-1-2"]);
    let found = tiny.run(&["diff", "9-1-1", "9-1-2"]).expect(1);
    found.prints(&[
        "9-1-1 -> 9-1-2",
        "CVE-2026-0001 (hello)",
        patch,
        "~ hello-linux-amd64-v1.0.0.tar.gz",
    ]);
    let announced = fs::read_dir(tiny.path("home/announcements")).unwrap();
    let announced = announced.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let critical = announced.filter(|text| text.contains("\"severity\": \"critical\"")).count();
    assert_eq!(critical, 1, "the release that fixes it");
    // The other way round, by path, as JSON.
    let manifest = |number| {
        let name = format!("kubernetes-9-1/kubernetes-9-1-{number}.yaml");
        tiny.store().join(name).display().to_string()
    };
    let json = tiny.run(&["diff", "--json", &manifest(2), &manifest(1)]).expect(1).out;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["fixesLost"]["CVE-2026-0001"][0], "hello");
    assert_eq!(json["changed"][0]["patches"]["removed"][0], "0001-hello-fix-it.patch");
    tiny.run(&["diff", "--markdown", "9-1-1", "9-1-2"])
        .expect(1)
        .prints(&["# 9-1-1 -> 9-1-2", "## hello"]);
    tiny.run(&["diff", "9-1-1", "9-1-7"])
        .expect(2)
        .says(&["there is no release 9-1-7 in ", "help:  it has 9-1-1, 9-1-2"]);
}

#[test]
fn status_names_what_was_begun_and_what_upstream_has() {
    let tiny = Tiny::ready();
    tiny.cut().expect(0);
    let claim = tiny.store().join("kubernetes-9-1/releases");
    fs::create_dir(claim.join("2")).unwrap();
    fs::copy(claim.join("1/claim"), claim.join("2/claim")).unwrap();
    tiny.run(&["status"]).expect(0).prints(&[
        "9-1-2 was begun and is not finished. Where no other run is at work on it, run `kdistro cut 9-1` with the components that it was begun with, or give it up with `kdistro abandon 9-1-2 --reason …`\n",
    ]);
    // What a part was begun with is known once its plan is there.
    let plan = |number: u32| claim.join(number.to_string()).join("plan.json");
    let part = fs::read_to_string(plan(1)).unwrap().replace("\"whole\":true", "\"whole\":false");
    fs::write(plan(2), part).unwrap();
    tiny.run(&["status"])
        .expect(0)
        .prints(&["run `kdistro cut 9-1 --component tiny/hello --platform linux/amd64`, or"]);
    let upstream = tiny.path("upstream");
    for tag in ["v1.0.1", "v1.0.10", "v1.1.0", "v1.2.0-rc.1", "other"] {
        git(&upstream, &["tag", tag]);
    }
    let asked = tiny.run(&["status", "--upstream"]).expect(0);
    asked.prints(&["upstream tiny/hello: v1.0.10 is newer (2 tags); newest of all is v1.1.0"]);
    // Nobody answers.
    fs::rename(&upstream, tiny.path("gone")).unwrap();
    let asked = tiny.run(&["status", "--upstream", "--json"]).expect(2);
    let answer: Value = serde_json::from_str(&asked.out).unwrap();
    assert!(answer[0]["upstream"]["tiny/hello"]["silent"].is_string(), "{answer:#}");
    tiny.run(&["status", "9-7"]).expect(2).says(&["unknown channel `9-7`"]);
}

/// The digests of a store's SBOMs by name.
fn sboms(tiny: &Tiny) -> BTreeMap<String, String> {
    let names = files(&tiny.store()).into_iter().filter(|name| name.ends_with(".spdx.json"));
    let digest = |name: &String| sha256(&fs::read(tiny.store().join(name)).unwrap()).to_string();
    names.map(|name| (name.clone(), digest(&name))).collect()
}

/// A world that knows all that another has made but its SBOMs; returns what is kept of what they say, too.
fn knowing(other: &Tiny) -> (Tiny, Vec<PathBuf>) {
    let (tiny, made) = (Tiny::ready(), sboms(other));
    for name in ["assemblies", "content"] {
        let _ = fs::remove_dir_all(tiny.path("home").join(name));
        copy(&other.path("home").join(name), &tiny.path("home"));
    }
    let mut said = Vec::new();
    for name in files(&tiny.path("home/assemblies")) {
        let path = tiny.path("home/assemblies").join(name);
        let record = fs::read_to_string(&path).unwrap();
        if made.values().any(|digest| record.contains(digest)) {
            fs::remove_file(&path).unwrap();
        } else if record.contains("standard_library") {
            said.push(path);
        }
    }
    (tiny, said)
}

#[test]
fn sboms_made_of_what_is_kept_are_those_made_of_what_is_read() {
    let first = Tiny::ready();
    fs::remove_dir_all(first.path("home/assemblies")).unwrap();
    first.cut().expect(0);
    let read = sboms(&first);
    assert_eq!(read.len(), 2, "of the archive and of the release: {read:?}");
    let (second, _) = knowing(&first);
    second.cut().expect(0);
    assert_eq!(sboms(&second), read);
    // They are really made of it: what is kept otherwise is said otherwise.
    let (third, said) = knowing(&first);
    let [said] = said.try_into().unwrap();
    let other = fs::read_to_string(&said).unwrap().replace("BSD-3-Clause", "BSD-2-Clause");
    write(&said, &other);
    third.cut().expect(0);
    assert_ne!(sboms(&third), read);
}

#[test]
fn a_new_project_is_written_checked_locked_and_built() {
    let tiny = Tiny::ready();
    let by_hand = tiny.read(PROJECT);
    fs::remove_file(tiny.path("repository").join(PROJECT)).unwrap();
    let new = ["new", "project", "https://upstream.example/tiny/hello", "v1.0.0"];
    let ran = tiny.run(&new).expect(0);
    ran.prints(&[
        "wrote projects/tiny/hello/project.yaml",
        "{project: tiny/hello, tag: v1.0.0, go: \"1.21\"}",
        "Go 1.21 is not in projects/inputs.yaml",
    ]);
    let written = tiny.read(PROJECT);
    assert_ne!(written, by_hand);
    assert!(written.contains("main.version: $(tag)"), "{written}");
    for program in ["{name: tiny, package: .}", "{name: hostile, package: ./hostile}"] {
        assert!(written.contains(program), "{written}");
    }
    tiny.run(&["check"]).expect(0);
    tiny.run(&new).expect(2).says(&["projects/tiny/hello/project.yaml exists"]);
    tiny.run(&["lock", CHANNEL]).expect(0);
    tiny.commit();
    tiny.run(&["build", CHANNEL]).expect(0);
    assert!(tiny.read(LOCK).contains("tiny/hello"));
    tiny.run(&["new", "project", "https://upstream.example/tiny/hello2", "v1.0.0"]).expect(2);
    tiny.run(&["cut", CHANNEL, "--date", DATE, "--until", "package"]).expect(0);
}
