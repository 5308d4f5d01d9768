//! The program is killed while it pushes, before and after that is taken, and run again.

use std::{fs, path::Path};

use crate::{
    FILE, json,
    remote::{PATH, Remote, command},
    store,
};

/// Writes a subscriber's file, and returns it.
fn config(remote: &Remote) -> String {
    let (folder, store) = (remote.folder.path().display(), store::folder());
    let (store, file) = (store.display(), remote.folder.path().join("rollout.yaml"));
    let text = format!(
        "cluster: dev\nstore: {store}\nkey: {store}/keys/release.pub\nenvironment: local\nchannel: \"1-20\"\n\
         driver: {{gitops: {{repository: remote.git, path: {PATH}, branch: main, wait: [\"true\"]}}}}\nstate: {folder}/state\n"
    );
    fs::write(&file, text).unwrap();
    file.display().to_string()
}

/// Runs the program; its id lies in the file `id` while it runs.
fn once(remote: &Remote) -> (Option<i32>, String) {
    let mut once = command(env!("CARGO_BIN_EXE_kdistro-rollout"));
    once.args(["--json", "once", "--config", &config(remote), "--state"]);
    once.arg(remote.folder.path().join("state")).stdout(std::process::Stdio::piped());
    let child = once.spawn().unwrap();
    let id = remote.folder.path().join("new");
    fs::write(&id, child.id().to_string()).unwrap();
    fs::rename(id, remote.folder.path().join("id")).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_run_that_is_killed_before_or_after_its_push_makes_one_commit_in_all() {
    for is_taken in [false, true] {
        let remote = Remote::new();
        let id = remote.folder.path().join("id").display().to_string();
        let end = if is_taken { "exit 0" } else { "exit 1" };
        let kill = format!("until test -e {id}; do sleep 0.1; done; kill -KILL $(cat {id}); {end}");
        remote.hook(&format!("if mkdir killed 2>/dev/null; then {kill}; fi"));
        assert_eq!(once(&remote).0, None, "it is killed");
        let (code, text) = once(&remote);
        assert_eq!(code, Some(0), "{text}");
        assert_eq!(json(&text)["outcome"], "kept", "{text}");
        assert_eq!(remote.log(), ["kdistro-release: 1-20-2", "by hand"]);
        assert!(remote.show(FILE).contains("\"release=1-20-2\""));
        let left = remote.folder.path().join("state/gitops");
        assert!(!Path::new(&left).exists(), "the killed run's folder is left");
        let (code, text) = once(&remote);
        assert_eq!((code, &json(&text)["outcome"]), (Some(0), &"decided".into()), "{text}");
        assert_eq!(remote.log().len(), 2);
    }
}
