//! The program: what it hands a command, how it ends, and what it says when it cannot.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "the tests start the program")]

#[path = "servers/processes.rs"]
mod processes;

use std::{
    env, fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// The program with its quickest server.
fn testbed(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testbed"));
    command.args(["--with", "plain-registry"]).args(words);
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Starts a program that prints the folder of its testbed, and waits for that.
fn start(command: &mut Command) -> (Child, PathBuf) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines().map(Result::unwrap);
    let line = lines.find(|line| line.contains("TESTBED_FOLDER=")).unwrap();
    let folder = line.split_once("TESTBED_FOLDER=").unwrap().1.trim_matches('\'').to_owned();
    (child, folder.into())
}

fn signal(child: &Child, name: &str) {
    let number = child.id().to_string();
    assert!(Command::new("kill").args(["-s", name, &number]).status().unwrap().success());
}

#[test]
fn ends_with_the_code_of_the_command() {
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137)] {
        let output = testbed(&["sh", "-c", script]).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{script}: {}", said(&output));
    }
    let output = testbed(&["/no/such/command"]).output().unwrap();
    assert_eq!(output.status.code(), Some(127));
    assert!(said(&output).contains("/no/such/command"), "{}", said(&output));
}

#[test]
fn hands_the_command_the_addresses_and_nothing_of_a_real_account() {
    let script = "env; test -d \"$TESTBED_FOLDER\"";
    let mut command = testbed(&["sh", "-c", script]);
    let output = command.env("AWS_PROFILE", "real").env("AWS_SESSION_TOKEN", "planted").output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("\nTESTBED_PLAIN_REGISTRY=127.0.0.1:"), "{printed}");
    assert!(!printed.contains("AWS_"), "{printed}");
    let folder = printed.lines().find_map(|line| line.strip_prefix("TESTBED_FOLDER=")).unwrap();
    assert!(!Path::new(folder).exists());
    assert!(processes::of(Path::new(folder)).is_empty());
}

#[test]
fn without_a_command_it_stays_until_it_is_interrupted() {
    for (name, code) in [("INT", 0), ("TERM", 143)] {
        let (mut child, folder) = start(testbed(&[]).env("AWS_PROFILE", "real"));
        assert_eq!(processes::of(&folder).len(), 2);
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert!(!folder.exists() && processes::of(&folder).is_empty());
    }
}

#[test]
fn what_it_prints_is_for_a_shell() {
    let program = env!("CARGO_BIN_EXE_testbed");
    let script = "\"$0\" --with git >\"$1\" & \
        while ! grep -q TESTBED_GIT_ROOT \"$1\"; do sleep 0.05; done; . \"$1\"; \
        git ls-remote \"$TESTBED_GIT/a.git\" && test -z \"${AWS_PROFILE+set}\"; code=$?; kill -INT $!; wait $!; exit $code";
    let folder = tempfile::tempdir().unwrap();
    let prepared = "git init -q --bare \"$TESTBED_GIT_ROOT/a.git\" && git ls-remote";
    let script = script.replacen("git ls-remote", prepared, 1);
    let mut sh = Command::new("sh");
    sh.args(["-c", &script, program]).arg(folder.path().join("it's")).env("AWS_PROFILE", "real");
    let output = sh.env("TMPDIR", folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn a_signal_ends_the_command_too() {
    let script = "echo TESTBED_FOLDER=$TESTBED_FOLDER; exec sleep 1000";
    // One that ends when it is told to, and one that does not care.
    let deaf = "trap '' INT TERM; echo TESTBED_FOLDER=$TESTBED_FOLDER; while :; do sleep 0.1; done";
    for (script, name, code) in [(script, "INT", 130), (script, "TERM", 143), (deaf, "TERM", 143)] {
        let script = format!(": $TESTBED_FOLDER; {script}");
        let (mut child, folder) = start(&mut testbed(&["sh", "-c", &script]));
        let command = children(child.id());
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(code), "{name}");
        processes::gone(&folder);
        assert!(command.iter().all(|number| !is_alive(*number)), "{name}");
    }
}

#[test]
fn when_it_is_killed_nothing_is_left() {
    let script = "echo TESTBED_FOLDER=$TESTBED_FOLDER; exec sleep 1000";
    let (mut child, folder) = start(&mut testbed(&["sh", "-c", script]));
    let command = children(child.id());
    assert_eq!(command.len(), 2, "the keeper and the command");
    let servers = processes::of(&folder);
    assert_eq!(processes::listening(&servers).len(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    processes::gone(&folder);
    assert!(processes::listening(&servers).is_empty());
    let begin = Instant::now();
    while command.iter().any(|number| is_alive(*number)) {
        assert!(begin.elapsed() < Duration::from_secs(10));
    }
}

/// The children of a process.
fn children(parent: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{parent}/task")).unwrap();
    let lists =
        tasks.map(|task| fs::read_to_string(task.unwrap().path().join("children")).unwrap());
    let lists: Vec<String> = lists.collect();
    lists
        .iter()
        .flat_map(|list| list.split_whitespace())
        .map(|number| number.parse().unwrap())
        .collect()
}

fn is_alive(number: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{number}/status")).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}

#[test]
fn says_which_server_it_does_not_know() {
    let program = env!("CARGO_BIN_EXE_testbed");
    for (words, expected) in [
        (
            ["--with", "aws,gti"],
            "`gti` is not a server; expected one of aws, moto, registry, plain-registry, git",
        ),
        (["--with", ""], "`` is not a server"),
        (["--what", "x"], "what is `--what`?\n\nusage: testbed"),
    ] {
        let output = Command::new(program).args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(said(&output).starts_with(&format!("error: {expected}")), "{}", said(&output));
    }
    let help = Command::new(program).arg("--help").output().unwrap();
    assert!(help.status.success() && help.stdout.starts_with(b"usage: testbed"));
}

#[test]
fn says_what_is_missing_and_what_a_server_said_that_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let programs = folder.path().join("programs");
    fs::create_dir(&programs).unwrap();
    // A PATH with nothing but what the keeper needs.
    for (name, script) in [
        ("setpriv", "command -v setpriv"),
        ("python3", "python3 -c 'import sys; print(sys.executable)'"),
    ] {
        let output = Command::new("sh").args(["-c", script]).output().unwrap();
        let found = String::from_utf8(output.stdout).unwrap();
        std::os::unix::fs::symlink(found.trim(), programs.join(name)).unwrap();
    }
    let run =
        || testbed(&["true"]).env("PATH", &programs).env("TMPDIR", folder.path()).output().unwrap();
    let output = run();
    assert_eq!(output.status.code(), Some(2));
    let expected =
        "error: `docker-registry` is not installed\nhelp:  apt-get install docker-registry\n";
    assert!(said(&output).ends_with(expected), "{}", said(&output));
    let fake = programs.join("docker-registry");
    fs::write(&fake, "#!/bin/sh\necho no configuration\nexit 3\n").unwrap();
    fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
    let output = run();
    assert_eq!(output.status.code(), Some(2));
    let expected =
        "error: the server `plain-registry` ended (exit code 3); its log:\nno configuration\n";
    assert!(said(&output).starts_with(expected), "{}", said(&output));
    // Nothing is left but what was put there.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_script_builds_and_runs_it() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("run");
    let folder = tempfile::tempdir().unwrap();
    let mut run = Command::new(script);
    let words = ["--with", "plain-registry", "sh", "-c", "pwd; exit 5"];
    let output = run.args(words).current_dir(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), folder.path().to_str().unwrap());
}
