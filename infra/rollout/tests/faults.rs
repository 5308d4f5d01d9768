//! What goes wrong around a roll-out that is half-way: the store is gone, the disk is full. It ends well all the same.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
#[path = "cluster/started.rs"]
mod started;

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Output, Stdio},
};

use kdistro_formats::Digest;

use started::{Started, store};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kdistro-rollout");

#[expect(clippy::disallowed_methods, reason = "the program is tested")]
fn command(program: &str) -> Command {
    Command::new(program)
}

/// Writes a subscriber's file into a folder, in which `store` leads to the store; returns it.
fn subscriber(folder: &Path, more: &str) -> String {
    fs::copy(store().join("keys/release.pub"), folder.join("release.pub")).unwrap();
    symlink(store(), folder.join("store")).unwrap();
    let file = folder.join("rollout.yaml");
    let text = format!(
        "cluster: dev\nstore: store\nkey: release.pub\nenvironment: local\nchannel: \"1-20\"\nstate: state\n{more}\n"
    );
    fs::write(&file, text).unwrap();
    file.display().to_string()
}

#[test]
fn who_is_killed_half_way_arrives_though_the_store_is_gone() {
    let started = Started::new(false);
    let folder = started.folder.path();
    let file = subscriber(folder, &started.driver());
    let once = || {
        let mut once = command(PROGRAM);
        once.args(["once", "--config", &file]);
        once
    };
    let mut child = once().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    // etcd is the second step of five.
    let step = said.find(|line| line.contains("  step: etcd (2 of 5)"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(step.is_some(), "it did not come to a step");
    fs::remove_file(folder.join("store")).unwrap();

    let Output { status, stdout, stderr } = once().output().unwrap();
    let said = String::from_utf8([stdout, stderr].concat()).unwrap();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.starts_with("1-20-2 runs\n") && said.contains("resumed"), "{said}");
    assert!(started.cluster.status().is_healthy());
    let runs = started.cluster.runs().unwrap().into_values();
    let digests: std::collections::BTreeSet<Digest> = runs.collect();
    assert_eq!(digests.len(), 1, "parts of two releases run");
    assert_ne!(digests.first(), Some(&started.release.digest));
    // Of what could be next nobody can tell now.
    assert_eq!(once().output().unwrap().status.code(), Some(2));
}

/// Runs in a mount namespace of its own: looks with its state on a small file system, larger by a little each time.
///
/// Arguments: where to mount, the program, the subscriber's file.
const GROWING: &str = r#"
set -eu
mount=$1; program=$2; file=$3
size=4
mount -t tmpfs -o size=${size}k tmpfs "$mount"
for turn in $(seq 1 400); do
    code=0
    "$program" --state "$mount/state" once --config "$file" >"$mount.answer" 2>&1 || code=$?
    echo "$code|$(tr '\n' ' ' <"$mount.answer")"
    if [ $code = 0 ]; then break; fi
    size=$((size + size / 16 + 8))
    mount -o remount,size=${size}k "$mount"
done
"$program" --state "$mount/state" history
"#;

#[test]
#[expect(clippy::print_stdout, reason = "what was not tried is said")]
fn a_full_disk_is_said_and_a_later_look_goes_on() {
    let mut mount = command("unshare");
    mount.args(["--mount", "--", "mount", "-t", "tmpfs", "none", "/mnt"]);
    if !mount.output().unwrap().status.success() {
        println!("not tried: only root mounts a small file system");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (folder, place) = (folder.path(), folder.path().join("full"));
    fs::create_dir(&place).unwrap();
    let done = folder.join("done");
    let run = format!("echo $KDISTRO_RELEASE >>{}", done.display());
    let file = subscriber(folder, &format!("driver: {{exec: {{command: [sh, -c, {run:?}]}}}}"));
    let mut grow = command("unshare");
    grow.args(["--mount", "--", "sh", "-c", GROWING, "sh"]).arg(&place);
    let output = grow.args([PROGRAM, &file]).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{said}");
    let (looks, history): (Vec<_>, Vec<_>) =
        said.lines().partition(|line| line.starts_with("2|") || line.starts_with("0|"));
    let (last, full) = looks.split_last().unwrap();
    assert!(last.starts_with("0|") && last.contains("1-20-2 runs"), "{said}");
    assert!(full.len() > 2, "the disk was never full: {said}");
    for look in full {
        assert!(look.contains("No space left on device"), "{look}");
    }
    let kept = history.iter().filter(|line| line.contains("kept")).count();
    assert_eq!(kept, 1, "{history:#?}");
    let ran = fs::read_to_string(&done).unwrap();
    assert!(ran.lines().all(|line| line == "1-20-2"), "{ran}");
}
