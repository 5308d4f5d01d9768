//! The program as people and scripts meet it, without any cluster.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    net::TcpListener,
    process::{Command, Output},
};

use serde_json::Value;

#[expect(clippy::disallowed_methods, reason = "the program is tested")]
fn run(arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_kdistro-checks"));
    // A proxy for the Internet is none for a cluster.
    program.env_remove("KUBECONFIG").env("HTTPS_PROXY", "http://127.0.0.1:1");
    program.args(arguments).output().unwrap()
}

/// Runs it; what it says when it ends as expected.
fn expect(code: i32, arguments: &[&str]) -> String {
    let output = run(arguments);
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    said
}

#[test]
fn what_can_be_checked_is_listed() {
    let said = expect(0, &["list"]);
    assert!(said.contains("\n  service-answers             a Service finds its pod, "), "{said}");
    assert!(said.contains("\n  Services should serve a basic endpoint from pods [Conformance]\n"));
    let listed: Value = serde_json::from_str(&expect(0, &["--json", "list"])).unwrap();
    assert_eq!(listed["builtin"].as_array().unwrap().len(), 11);
    assert!(expect(0, &["completions", "bash"]).contains("kdistro-checks"));
}

#[test]
fn a_cluster_that_cannot_be_reached_is_no_verdict() {
    expect(2, &["run"]);
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    let path = kubeconfig.display().to_string();
    let said = expect(2, &["run", "--kubeconfig", &path]);
    assert!(said.starts_with(&format!("error: cannot use {path}: ")), "{said}");
    // A port that nobody listens on.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\n\
         clusters: [{{name: a, cluster: {{server: \"https://127.0.0.1:{port}\"}}}}]\n\
         users: [{{name: a, user: {{}}}}]\n\
         contexts: [{{name: a, context: {{cluster: a, user: a}}}}]\n"
    );
    fs::write(&kubeconfig, text).unwrap();
    let said = expect(2, &["run", "--kubeconfig", &path]);
    assert!(said.starts_with("error: cannot ask the version at the cluster of "), "{said}");
    assert!(said.contains("onnection refused"), "{said}");
}

#[test]
fn a_job_that_cannot_be_read_is_no_verdict() {
    let job = ["run", "--kubeconfig", "/nowhere/config", "--job", "/nowhere/job.yaml"];
    let said = expect(2, &job);
    assert!(said.starts_with("error: cannot read /nowhere/job.yaml: No such file"), "{said}");
}

#[test]
fn errors_are_json_too_where_that_is_asked_for() {
    for arguments in [["run", "--kubeconfig", "no/such/file"].as_slice(), &["no-such-command"]] {
        let output = run(&[&["--json"], arguments].concat());
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(said["exit"] == 2 && said["error"].is_string(), "{said}");
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(2), &b""[..]));
    }
}
