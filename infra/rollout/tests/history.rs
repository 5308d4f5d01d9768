//! The history of a cluster while the processes that write it are killed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use kdistro_rollout::history::{History, What};

/// Holds a release, in a process of its own.
#[expect(clippy::disallowed_methods, reason = "the program is tested")]
fn hold(state: &str, number: u32) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kdistro-rollout"));
    command.args(["--state", state, "hold", &format!("1-20-{number}"), "--reason", "x"]);
    command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn writers_that_are_killed_leave_it_whole_for_those_that_have_it_open() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().display().to_string();
    let reader = History::open(&folder.path().join("history")).unwrap();
    let mut killed = 0;
    for number in 1..=40 {
        let mut children = [hold(&state, number), hold(&state, 100 + number)];
        thread::sleep(Duration::from_millis(u64::from(number % 10) * 2));
        let [first, second] = &mut children;
        first.kill().unwrap();
        killed += u32::from(!first.wait().unwrap().success());
        assert!(second.wait().unwrap().success(), "another goes on");
        let standing = reader.standing(usize::MAX).unwrap();
        let counted = standing.counts.get(&What::Held).copied().unwrap_or_default();
        assert_eq!(counted, standing.events.len() as u64, "counted is what happened");
        assert_eq!(standing.held.len(), standing.events.len(), "all of a change or nothing");
        assert!(standing.held.iter().any(|held| held.release.number == 100 + number));
    }
    assert!(killed > 3, "only {killed} were killed while they worked");
}
