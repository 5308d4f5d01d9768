//! The program as people and scripts meet it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::Path,
    process::{Command, Output},
};

use kdistro_rollout::{history::History, policy::Subscriber};
use serde_json::Value;

#[expect(clippy::disallowed_methods, reason = "the program is tested")]
fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kdistro-rollout"));
    command.env_remove("KDISTRO_ROLLOUT_STATE");
    command
}

fn run(state: &Path, arguments: &[&str]) -> Output {
    program().arg("--state").arg(state).args(arguments).output().unwrap()
}

fn expect(state: &Path, code: i32, arguments: &[&str]) -> String {
    let output = run(state, arguments);
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    said
}

#[test]
fn a_release_is_held_and_resumed_and_all_of_it_is_history() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path();
    expect(state, 1, &["resume", "1-20-7"]);
    expect(state, 0, &["hold", "1-20-7", "--reason", "breaks \u{1b}[31mred"]);
    let said = expect(state, 0, &["status"]);
    assert!(said.contains("held       1-20-7 since ") && said.contains(": breaks "), "{said}");
    assert!(!said.contains('\u{1b}'), "control characters reach the terminal");
    let status: Value = serde_json::from_str(&expect(state, 0, &["--json", "status"])).unwrap();
    assert_eq!(status["held"][0]["release"], "1-20-7");
    expect(state, 0, &["retry", "1-20-7"]);
    let events = expect(state, 0, &["why", "1-20-7"]);
    let whats: Vec<_> = events.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    assert_eq!(whats, ["held", "released"]);
    assert_eq!(expect(state, 0, &["history"]), events);
}

#[test]
fn who_asks_where_nothing_happened_is_told_so_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (state, page) = (folder.path().join("state"), folder.path().join("page.html"));
    let page = page.display().to_string();
    for (code, arguments, expected) in [
        (0, &["status"][..], "runs       nothing yet\n"),
        (0, &["history"], ""),
        (0, &["--json", "history"], "[]\n"),
        (1, &["why", "1-20-7"], ""),
        (0, &["page", "--out", &page], ""),
    ] {
        let output = run(&state, arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{arguments:?}");
        let note =
            format!("note: nothing happened yet: there is no history in {}\n", state.display());
        assert!(said.starts_with(&note), "{arguments:?}: {said}");
        assert!(!state.exists(), "{arguments:?}");
    }
    assert!(std::fs::read_to_string(&page).unwrap().contains("nothing"));
}

#[test]
#[expect(clippy::print_stderr, reason = "whoever runs the tests must see what was not tried")]
fn a_word_to_no_cluster_is_an_error_that_says_how_to_name_one() {
    if Path::new("/var/lib/kdistro-rollout").exists() {
        eprintln!("skipped: this machine has a history of its own");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["hold", "1-20-7", "--reason", "x"][..], &["resume"], &["approve", "1-20-7"]]
    {
        let command = &mut program();
        let output = command.args(arguments).current_dir(folder.path()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        let expected = "error: there is no history in /var/lib/kdistro-rollout\nhelp:  ";
        assert!(said.starts_with(expected) && said.contains("--state"), "{said}");
    }
}

#[test]
fn two_that_roll_out_are_told_so_while_others_ask_and_steer() {
    let folder = tempfile::tempdir().unwrap();
    let (state, config) = (folder.path(), folder.path().join("rollout.yaml"));
    let text = "cluster: dev\nstore: store\nkey: release.pub\nenvironment: local\nchannel: \"1-20\"\n\
                driver: {exec: {command: [\"true\"]}}\nstate: state\n";
    std::fs::write(&config, text).unwrap();
    let history = History::open(&state.join("history")).unwrap();
    let turn = history.turn().unwrap();
    let said = expect(state, 2, &["once", "--config", &config.display().to_string()]);
    assert!(said.contains("is in use by another kdistro-rollout\nhelp:  "), "{said}");
    expect(state, 0, &["hold", "1-20-7", "--reason", "breaks"]);
    assert!(expect(state, 0, &["status"]).contains("held       1-20-7 since "));
    assert_eq!(history.held().unwrap().len(), 1, "who has the turn sees it");
    drop(turn);
    let said = expect(state, 2, &["once", "--config", &config.display().to_string()]);
    assert!(said.contains("release.pub"), "{said}");
}

#[test]
fn the_first_release_that_fails_is_tried_once_and_held_and_nothing_is_said_to_run() {
    let folder = tempfile::tempdir().unwrap();
    let (state, config) = (folder.path(), folder.path().join("rollout.yaml"));
    let (store, done) = (kdistro_testbed::releases().unwrap().join("store"), state.join("done"));
    let (store, write) = (store.display(), format!("echo x >>{}; exit 1", done.display()));
    let text = format!(
        "cluster: dev\nstore: {store}\nkey: {store}/keys/release.pub\nenvironment: local\nchannel: \"1-20\"\n\
         driver: {{exec: {{command: [sh, -c, {write:?}]}}}}\nstate: state\n"
    );
    std::fs::write(&config, text).unwrap();
    let said = expect(state, 1, &["once", "--config", &config.display().to_string()]);
    assert!(said.contains("1-20-2 failed and is held, and nothing ran before it: "), "{said}");
    assert_eq!(std::fs::read_to_string(done).unwrap(), "x\n");
    let status = expect(state, 0, &["status"]);
    assert!(status.starts_with("runs       nothing yet\nheld       1-20-2 since "), "{status}");
}

#[test]
fn a_subscribers_file_names_its_history_and_its_paths_begin_where_it_lies() {
    let folder = tempfile::tempdir().unwrap();
    let text = "cluster: dev\nstore: store\nkey: release.pub\nenvironment: local\nchannel: \"1-20\"\n\
                driver: {exec: {command: [\"true\"]}}\nstate: state\nreport: {folder: reports}\n";
    std::fs::write(folder.path().join("rollout.yaml"), text).unwrap();
    let said = |arguments: &[&str], place: &Path| {
        let output = program().args(arguments).current_dir(place).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let said_here = said(&["report"], folder.path());
    assert!(said_here.starts_with("-----BEGIN PUBLIC KEY-----\n"), "{said_here}");
    for file in ["state/history", "state/report.key", "reports/dev.json"] {
        assert!(folder.path().join(file).is_file(), "{file}");
    }
    // Who steers and asks finds the same history: by the file that is here, or that is named.
    said(&["hold", "1-20-7", "--reason", "x"], folder.path());
    let elsewhere = tempfile::tempdir().unwrap();
    let config = folder.path().join("rollout.yaml").display().to_string();
    for (named, place) in [(&[][..], &folder), (&["--config", &config], &elsewhere)] {
        let status = said(&[&["status"], named].concat(), place.path());
        assert!(status.contains("held       1-20-7"), "{status}");
    }
}

#[test]
fn wrong_usage_and_what_is_no_history_are_no_verdict() {
    let folder = tempfile::tempdir().unwrap();
    expect(folder.path(), 2, &["why", "1-20"]);
    let fleet = ["fleet", "--reports", "x", "--keys", "x", "--lacks", "cve20261234"];
    let said = expect(folder.path(), 2, &fleet);
    assert!(said.contains("expected `CVE-YEAR-NUMBER`"), "{said}");
    let said = expect(folder.path(), 2, &["inspect", "--every", "0s"]);
    assert!(said.contains("expected a second at least"), "{said}");
    std::fs::write(folder.path().join("history"), "no database").unwrap();
    let said = expect(folder.path(), 2, &["status"]);
    assert!(said.starts_with("error: cannot use the history: "), "{said}");
}

#[test]
fn what_happens_is_said_as_json_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["--log-json", "resume", "1-20-7"]);
    let line: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(
        (&line["what"], &line["text"]),
        (&"note".into(), &"release 1-20-7 is not held".into())
    );
    assert!(line["time"].is_string() && line["cluster"].is_null(), "{line}");
}

#[test]
fn the_example_of_the_readme_is_a_subscribers_file() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let (_, example) = readme.split_once("```yaml\ncluster: dev ").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let text = format!("cluster: dev {example}");
    let subscriber = Subscriber::read(Path::new("/x/rollout.yaml"), text.as_bytes()).unwrap();
    assert_eq!(subscriber.key, Path::new("/x/release.pub"));
}

#[test]
fn errors_are_json_too_where_that_is_asked_for() {
    for arguments in [["once", "--config", "no/such/file"].as_slice(), &["no-such-command"]] {
        let output = program().arg("--json").args(arguments).output().unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(said["exit"] == 2 && said["error"].is_string(), "{said}");
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(2), &b""[..]));
    }
}
