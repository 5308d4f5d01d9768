//! Modules, programs, projects and platforms that do not fit.

use super::{completes, nothing_is_published};
use crate::{
    run::run,
    shared::{commit_all, git},
    tiny::{CHANNEL, LOCK, PROJECT, Tiny},
};

const CHANNEL_FILE: &str = "release-manifests/9-1/channel.yaml";

#[test]
fn a_module_without_a_licence_is_named_until_it_is_excepted_with_a_reason() {
    let tiny = Tiny::ready();
    tiny.require("v1.1.0", &[]);
    commit_all(&tiny.path("upstream"), "a module that nobody licensed");
    git(&tiny.path("upstream"), &["tag", "v1.0.1"]);
    tiny.replace(CHANNEL_FILE, "v1.0.0", "v1.0.1");
    tiny.run(&["lock", CHANNEL]).expect(0);
    tiny.commit();
    tiny.cut().expect(2).says(&[
        "`hello`",
        "module example.org/greeting v1.1.0",
        "help:",
        "`unlicensed`",
    ]);
    nothing_is_published(&tiny);
    let recipe = tiny.read(PROJECT)
        + "    unlicensed: [{module: example.org/greeting, license: MIT, reason: its author says so}]\n";
    tiny.write(PROJECT, &recipe);
    tiny.commit();
    completes(&tiny);
}

#[test]
fn a_program_that_does_not_print_its_version_is_named_with_what_it_prints() {
    let tiny = Tiny::ready();
    tiny.replace(PROJECT, "main.version:", "main.versoin:");
    tiny.commit();
    tiny.cut().expect(2).says(&[
        "`hello` of step `tiny/hello linux/amd64`",
        "prints \"hello unset\\n\"",
        "expected `hello v1.0.0`",
        "help:",
        "-X",
    ]);
    nothing_is_published(&tiny);
    tiny.mend();
    completes(&tiny);
}

#[test]
fn two_projects_that_would_publish_under_one_name_are_named_with_it() {
    let tiny = Tiny::ready();
    let channel = tiny.read(CHANNEL_FILE);
    let other = "  - {project: other/hello, tag: v1.0.0, go: \"1.26\"}\n";
    tiny.write(CHANNEL_FILE, &(channel.clone() + other));
    tiny.write("projects/other/hello/project.yaml", &tiny.read(PROJECT));
    tiny.run(&["lock", CHANNEL]).expect(2).says(&[
        "release-manifests/9-1/channel.yaml:6: ",
        "`other/hello` and `tiny/hello` are both called `hello`",
    ]);
    // Another name of the component does not make the names of its files others.
    let renamed = tiny.read(PROJECT).replacen("name: hello", "name: greeter", 1);
    tiny.write("projects/other/hello/project.yaml", &renamed);
    tiny.run(&["lock", CHANNEL]).expect(0);
    tiny.commit();
    tiny.cut().expect(2).says(&[
        "`hello/v1.0.0/hello-linux-amd64-v1.0.0.tar.gz` would be published twice",
        "by `tiny/hello` and by `other/hello`",
        "help:",
        "projects/other/hello/project.yaml",
    ]);
    nothing_is_published(&tiny);
    tiny.write(CHANNEL_FILE, &channel);
    std::fs::remove_dir_all(tiny.path("repository/projects/other")).unwrap();
    tiny.run(&["lock", CHANNEL]).expect(0);
    tiny.commit();
    completes(&tiny);
}

#[test]
fn a_platform_that_the_toolchain_cannot_build_is_named_before_anything_is_fetched() {
    let tiny = Tiny::ready();
    let (inputs, channel) = (tiny.read("projects/inputs.yaml"), tiny.read(CHANNEL_FILE));
    let before = tiny.read(LOCK);
    let old = "go:\n  - {minor: \"1.15\", version: \"1.15.15\", root: static}\n";
    tiny.write("projects/inputs.yaml", &inputs.replace("go:\n", old));
    let asked = channel.replace("1.26", "1.15").replace("amd64]", "amd64, windows/arm64]");
    tiny.write(CHANNEL_FILE, &asked);
    for arguments in [&["check"][..], &["lock", CHANNEL], &["cut", CHANNEL]] {
        let ran = run(&mut tiny.kdistro(arguments));
        let said = format!("{}{}", ran.out, ran.err);
        assert_ne!(ran.code, 0, "{arguments:?}");
        for text in [
            "release-manifests/9-1/channel.yaml:5: `tiny/hello` is to build `hello` for windows/arm64",
            "which Go 1.15 cannot; Go can from 1.17 on: take a newer `go` for it",
        ] {
            assert!(said.contains(text), "{text}: {said}");
        }
    }
    assert_eq!(tiny.read(LOCK), before);
    nothing_is_published(&tiny);
    tiny.write("projects/inputs.yaml", &inputs);
    tiny.write(CHANNEL_FILE, &channel);
    tiny.commit();
    completes(&tiny);
}
