//! The program as a whole: killed while it pushes, before and after that is taken, and run again; and overtaken.

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

/// Runs the program; its id lies in the file `id` while it runs. Programs are found in `bin` first.
fn once(remote: &Remote) -> (Option<i32>, String) {
    let mut once = command(env!("CARGO_BIN_EXE_kdistro-rollout"));
    let path = [remote.folder.path().join("bin").display().to_string(), path()].join(":");
    once.env("PATH", path);
    once.args(["--json", "once", "--config", &config(remote), "--state"]);
    once.arg(remote.folder.path().join("state")).stdout(std::process::Stdio::piped());
    let child = once.spawn().unwrap();
    let id = remote.folder.path().join("new");
    fs::write(&id, child.id().to_string()).unwrap();
    fs::rename(id, remote.folder.path().join("id")).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[expect(clippy::disallowed_methods, reason = "programs are where the user has them")]
fn path() -> String {
    std::env::var("PATH").unwrap()
}

#[test]
fn what_others_push_after_the_branch_was_fetched_is_not_lost() {
    let remote = Remote::new();
    let folder = remote.folder.path().display().to_string();
    fs::create_dir(remote.folder.path().join("bin")).unwrap();
    // When a push is about to begin, somebody else's is done.
    let overtake = format!(
        "export PATH='{}'\nwork() {{ env -u GIT_DIR git -C {folder}/work \"$@\"; }}\n\
         for word; do if [ \"$word\" = push ] && mkdir {folder}/overtaken 2>/dev/null; then\n\
         work -c user.name=o -c user.email=o@o commit --quiet --allow-empty --message overtaken\n\
         work push --quiet origin HEAD:main\nfi; done\nexec git \"$@\"",
        path()
    );
    remote.script(Path::new("bin/git"), &overtake);
    let (code, text) = once(&remote);
    assert_eq!((code, &json(&text)["outcome"]), (Some(0), &"kept".into()), "{text}");
    assert_eq!(remote.log(), ["kdistro-release: 1-20-2", "overtaken", "by hand"]);
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
