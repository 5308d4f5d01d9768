//! What the gate makes of how its programs end: small scripts stand in for them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Mutex, PoisonError},
};

use kdistro_gate::{Candidate, Gate, GateError, Tested};

/// A script cannot be run while another thread starts a process and so holds it open for writing.
static TURN: Mutex<()> = Mutex::new(());

/// What the gate says of a release where `devcluster run` does what a script says.
fn judge(script: &str) -> Result<Tested, GateError> {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let programs = folder.path().join("programs");
    fs::create_dir(&programs).unwrap();
    let text = format!(
        "#!/bin/sh\n[ \"$3\" = down ] && exit\nmkdir -p \"$2/releases\"\necho 'error: planted' >&2\n{script}\n"
    );
    for name in ["devcluster", "kdistro-checks"] {
        fs::write(programs.join(name), &text).unwrap();
        fs::set_permissions(programs.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let home = folder.path().join("gate");
    let gate = Gate::find(&programs, home.clone()).unwrap();
    let key = Path::new("release.pub");
    let candidate =
        Candidate { name: "1-20-7", manifest: "m.yaml", key, has_tests: false, has_dns: true };
    let tested = gate.judge(&candidate, &mut |_| ());
    assert!(!home.join("1-20-7").exists(), "{script} leaves something: {tested:?}");
    tested
}

#[test]
fn only_who_wrote_nothing_had_no_cluster() {
    let tested = judge("exit 1").unwrap();
    assert_eq!(tested.failed, [("cluster-starts".to_owned(), "planted".to_owned())]);
    for script in
        ["echo '{\"tests\": []}'; exit 1", "echo '{'; exit 1", "echo; exit 0", "echo; exit 1"]
    {
        let error = judge(script).unwrap_err().to_string();
        let (before, why) = ("the gate could not try release 1-20-7: ", "is no report of checks: ");
        assert!(error.starts_with(before) && error.contains(why), "{script}: {error}");
    }
    let error = judge("exit 2").unwrap_err().to_string();
    assert_eq!(error, "the gate could not try release 1-20-7: planted");
    // The checks are asked for JSON, and write what went wrong there.
    let failure = r#"{"error": "no answer", "causes": ["it is gone"], "exit": 2}"#;
    let error = judge(&format!("echo '{failure}'; exit 2")).unwrap_err().to_string();
    assert_eq!(error, "the gate could not try release 1-20-7: no answer: it is gone");
}

#[test]
fn what_comes_once_does_not_count() {
    let passes = "echo '{\"kubernetes\": \"v1.20.2\", \"results\": [{\"name\": \"pod-runs\", \"outcome\": \"passed\"}]}'";
    for first in ["exit 1", "exit 2", "kill -9 $$"] {
        let script = format!("[ -f \"$2/first\" ] || {{ : >\"$2/first\"; {first}; }}\n{passes}");
        assert_eq!(judge(&script).unwrap().passed, ["pod-runs"], "{first}");
    }
}

#[test]
fn where_the_release_is_stands_in_no_command_line() {
    let script = "case \"$*\" in *m.yaml*) exit 3;; esac\n[ \"$KDISTRO_DEVCLUSTER_RELEASE\" = m.yaml ] && exit 1";
    assert_eq!(judge(script).unwrap().failed.len(), 1);
}

#[test]
fn what_is_taken_out_of_a_release_goes_however_the_gate_ends() {
    let report = "{\"kubernetes\": \"v1.20.2\", \"results\": [{\"name\": \"pod-runs\", \"outcome\": \"passed\"}]}";
    assert_eq!(judge(&format!("echo '{report}'")).unwrap().passed, ["pod-runs"]);
    assert!(matches!(judge("exit 2"), Err(GateError::Untried { .. })));
    assert!(matches!(judge("kill -9 $$"), Err(GateError::Untried { .. })));
}
