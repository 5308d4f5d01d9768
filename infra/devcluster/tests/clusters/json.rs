//! What is said to programs: one document on standard output, errors too.

use serde_json::{Value, json};

use super::Home;

/// Runs the program with `--json`; returns the one document that it writes.
pub(crate) fn said(home: &Home, code: i32, arguments: &[&str]) -> Value {
    let output = home.run(&[arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(!err.contains("error:"), "{arguments:?}: {err}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{arguments:?}: {e}"))
}

#[test]
fn what_cannot_be_done_is_one_document_for_every_command() {
    let home = Home::new(false);
    let source = ["--key", "/no/key", "--release", "r"];
    let tests = [&["tests", "--name", "none"], &source[..]].concat();
    for (arguments, error) in [
        (&["down", "--name", "none"][..], "there is no cluster `none`"),
        (&["status", "--name", "none"], "there is no cluster `none`"),
        (&["status", "--name", "NONE"], "`NONE` cannot be a cluster's name: "),
        (&tests, "there is no cluster `none`"),
        (&[&["up", "--control-plane-only"], &source[..]].concat(), "/no/key: No such file"),
        (&["up"], "the following required arguments were not provided"),
        (&["list", "--wrong"], "unexpected argument '--wrong' found"),
        (&["wrong"], "unrecognized subcommand 'wrong'"),
        (&[], "'devcluster' requires a subcommand"),
    ] {
        let failure = said(&home, 2, arguments);
        assert!(failure["error"].as_str().unwrap().starts_with(error), "{failure:#}");
        assert_eq!(failure["exit"], 2);
        assert!(failure["causes"].is_array(), "{failure:#}");
    }
    let missing = said(&home, 2, &["down"]);
    let help = missing["help"][0].as_str().unwrap();
    assert!(help.starts_with("start one with `devcluster up --name dev "), "{missing:#}");
    // What follows the two dashes is another program's.
    let kubectl = home.expect(2, &["kubectl", "--name", "none", "--", "get", "--json"]);
    assert!(kubectl.starts_with("error: there is no cluster `none`"), "{kubectl}");
}

#[test]
fn what_was_done_is_one_document() {
    let home = Home::new(false);
    assert_eq!(said(&home, 0, &["list"]), json!({"clusters": []}));
    assert_eq!(said(&home, 0, &["down", "--all"]), json!({"gone": []}));
    for name in ["a", "b"] {
        std::fs::create_dir_all(home.path().join("clusters").join(name)).unwrap();
    }
    assert_eq!(said(&home, 0, &["list"]), json!({"clusters": ["a", "b"]}));
    assert_eq!(said(&home, 0, &["down", "--name", "a"]), json!({"gone": ["a"]}));
    assert_eq!(said(&home, 0, &["down", "--all"]), json!({"gone": ["b"]}));
}
