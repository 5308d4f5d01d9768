//! What somebody meets who uses the program for the first time: where a word too much, or too few, costs an evening.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
};

use crate::{
    crash::{no_step_runs_on, start},
    run::{KDISTRO, Ran, must, with},
    tiny::{CHANNEL, MANIFEST, PROJECT, Tiny},
};

const INTERRUPTED: &str = "interrupted; run the same command again to go on";

#[test]
fn ctrl_c_says_how_to_go_on_and_leaves_no_process() {
    let tiny = Tiny::unbuilt();
    tiny.generate_by("sleep");
    let mut cut = start(&tiny);
    let mut lines = BufReader::new(cut.stderr.take().unwrap()).lines().map(Result::unwrap);
    let begun = |line: &String| line.contains("step-started") && line.contains("attempt");
    assert!(lines.any(|line| begun(&line)), "the step that never ends did not start");
    must(&mut with("kill", ["-INT", &cut.id().to_string()]));
    assert_eq!(cut.wait().unwrap().code(), Some(130));
    assert_eq!(lines.last().as_deref(), Some(INTERRUPTED));
    no_step_runs_on(&tiny);
    assert!(!tiny.store().join("kubernetes-9-1").exists());
    tiny.mend();
    tiny.cut().expect(0).prints(&["released 9-1-1"]);
    tiny.verify(MANIFEST).expect(0);
}

#[test]
fn a_reader_that_stops_reading_is_no_error() {
    let tiny = Tiny::ready();
    for arguments in
        [&["completions", "bash"][..], &["plan", CHANNEL], &["plan", CHANNEL, "--json"]]
    {
        let mut child = tiny.kdistro(arguments);
        child.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        drop(child.stdout.take());
        let ran = Ran::of(&child.wait_with_output().unwrap()).expect(0);
        assert!(!ran.err.contains("ipe"), "{}", ran.err);
    }
}

#[test]
fn an_unknown_environment_is_told_with_those_that_there_are() {
    let tiny = Tiny::ready();
    let ran = tiny.run(&["cut", CHANNEL, "--environment", "prod"]).expect(2);
    ran.says(&["unknown environment `prod`, expected one of `local`", "help:  "]);
    let promote = |from: &str, to: &str| {
        let ran = tiny.run(&["promote", "9-1-1", "--from", from, "--to", to]).expect(2);
        assert!(!ran.err.contains("--environment"), "promote has no such option: {}", ran.err);
        ran
    };
    promote("prod", "local").says(&["unknown environment `prod`", "another one with --from, "]);
    promote("local", "prod").says(&["unknown environment `prod`", "another one with --to, "]);
    promote("local", "../x").says(&["`../x` is not the name of an environment"]);
    let ran = tiny.run(&["cut", CHANNEL, "--environment", "../../x"]).expect(2);
    let ran = ran.says(&["`../../x` is not the name of an environment; expected letters"]);
    assert!(!ran.err.contains("x.yaml"), "{}", ran.err);
}

/// Writes the file of an environment with places of its own.
fn write_environment(tiny: &Tiny, name: &str, more: &str) {
    let text = format!(
        "name: {name}\n{more}store: {{directory: {name}/store}}\nregistry: {{directory: {name}/registry}}\n\
         announcements: {{directory: {name}/announcements}}\nkeys: {{directory: {name}/keys}}\n\
         logOrigin: log.{name}.kdistro.dev\n"
    );
    tiny.write(&format!("infra/environments/{name}.yaml"), &text);
    tiny.commit();
}

#[test]
fn a_help_names_the_command_for_the_environment_that_was_named() {
    let tiny = Tiny::ready();
    write_environment(&tiny, "dev", "development: true\n");
    let dev = |words: &[&str]| tiny.run(&[words, &["--environment", "dev"]].concat());
    dev(&["key", "show"])
        .expect(2)
        .says(&["help:  make both with `kdistro key new --environment dev`"]);
    dev(&["cut", CHANNEL]).expect(0);
    dev(&["abandon", "9-1-1", "--reason", "x"])
        .expect(2)
        .says(&["yank it with `kdistro yank 9-1-1 --reason … --environment dev`"]);
    let claim = tiny.path("home/dev/store/kubernetes-9-1/releases");
    fs::create_dir(claim.join("2")).unwrap();
    let first = fs::read_to_string(claim.join("1/claim")).unwrap();
    fs::write(claim.join("2/claim"), first.replace("\"number\":1", "\"number\":2")).unwrap();
    fs::copy(claim.join("1/plan.json"), claim.join("2/plan.json")).unwrap();
    dev(&["status"]).expect(0).prints(&[
        "run `kdistro cut 9-1 --environment dev`, or",
        "`kdistro abandon 9-1-2 --reason … --environment dev`",
    ]);
    // Another channel's failure is told with the same help, when it is one of several.
    tiny.replace(PROJECT, "hello tarball", "hello archive");
    dev(&["cut", CHANNEL, "9-7"])
        .expect(2)
        .says(&["`kdistro abandon 9-1-2 --reason … --environment dev`"]);
}

#[test]
fn what_only_a_development_environment_takes_is_told_with_how_to_make_one() {
    let tiny = Tiny::ready();
    write_environment(&tiny, "production", "");
    tiny.run(&["key", "new", "--environment", "production"]).expect(0);
    tiny.write("README", "not committed\n");
    tiny.run(&["cut", CHANNEL, "--environment", "production"]).expect(2).says(&[
        "takes only whole channels from a clean tree",
        "help:  commit everything and cut the whole channel, or say `development: true` in infra/environments/production.yaml",
    ]);
}

#[test]
fn keys_and_a_log_that_are_not_those_of_the_store_are_told_before_anything_is_claimed() {
    let tiny = Tiny::ready();
    tiny.cut().expect(0);
    tiny.replace(PROJECT, "hello tarball", "hello archive");
    tiny.commit();
    let refused = |expected: &str| {
        let ran = tiny.cut().expect(2).says(&[expected, "help:  put "]);
        assert!(!ran.err.contains("find out who wrote it before"), "{}", ran.err);
        assert!(!tiny.store().join("kubernetes-9-1/releases/2").exists());
    };
    let file = "infra/environments/local.yaml";
    tiny.replace(file, "log.local", "log.other");
    refused(
        "was published with logOrigin log.local.kdistro.dev, and environment `local` has log.other.kdistro.dev",
    );
    tiny.replace(file, "log.other", "log.local");
    let (key, kept) = (tiny.path("home/keys/log.key"), tiny.path("log.key"));
    fs::rename(&key, &kept).unwrap();
    refused("release.key is there, and ");
    assert!(!key.exists(), "a new key was made beside the old one");
    write_environment(&tiny, "other", "");
    tiny.run(&["key", "new", "--environment", "other"]).expect(0);
    fs::copy(tiny.path("home/other/keys/log.key"), &key).unwrap();
    refused("was published with log key sha256:");
    fs::rename(&kept, &key).unwrap();
    tiny.cut().expect(0);
}

#[test]
fn a_home_that_cannot_be_written_is_told_with_what_to_do() {
    let tiny = Tiny::ready();
    let file = tiny.path("file");
    fs::write(&file, "").unwrap();
    for home in [file.join("home"), file] {
        let mut mirror = with(KDISTRO, ["mirror", CHANNEL, "--home"]);
        tiny.enter(&mut mirror);
        let ran = Ran::of(&mirror.arg(&home).output().unwrap()).expect(2);
        ran.says(&[&home.display().to_string(), "as home folder", "help:  ", "--home"]);
    }
}

#[test]
fn a_mistake_in_yaml_has_one_place_and_environments_are_checked_too() {
    let tiny = Tiny::ready();
    tiny.run(&["check"]).expect(0).prints(&["no problem"]);
    tiny.replace(PROJECT, "dependencies: modules", "dependancies: modules");
    let ran = tiny.run(&["check"]).expect(1).prints(&["1 problem\n"]);
    let line = tiny.read(PROJECT).lines().position(|line| line.contains("dependancies")).unwrap();
    let place = format!("{PROJECT}:{}: at `recipes[0].builds[0].dependancies`: unknown", line + 1);
    let ran = ran.prints(&[&place]);
    assert!(!ran.out.contains("at line"), "{}", ran.out);
    tiny.mend();
    tiny.replace("infra/environments/local.yaml", "store: {", "stores: {");
    let ran = tiny.run(&["check"]).expect(1);
    ran.prints(&["infra/environments/local.yaml:3: at `stores`: unknown field `stores`"]);
}

#[test]
fn one_step_is_one_step_and_locking_tells_what_it_does() {
    let tiny = Tiny::ready();
    tiny.run(&["plan", CHANNEL]).expect(0).prints(&["\n1 step, 0 to build; "]);
    let ran = tiny.run(&["lock", CHANNEL, "--json"]).expect(0);
    ran.says(&[
        "checking Go 1.26",
        "locking tiny/hello v1.0.0",
        "patching tiny/hello",
        "looking for",
    ]);
}
