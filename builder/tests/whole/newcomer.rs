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
