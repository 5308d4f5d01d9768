//! What goes wrong around a roll-out that is half-way: the store is gone, the disk is full, there is no way back. It ends well
//! all the same.

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
use serde_json::{Value, json};

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

/// Runs in a mount namespace of its own: a cluster whose disk is full as soon as the next release is brought to it.
///
/// Arguments: where to mount, the program, that of the cluster, the subscriber's file, the key, the first release.
const FULL: &str = r#"
set -eu
mount=$1; program=$2; devcluster="$3 --home $1/home"; file=$4
mount -t tmpfs -o size=2g tmpfs "$mount"
trap '$devcluster down --all' EXIT
$devcluster up --control-plane-only --key "$5" --release "$6"
look() {
    code=0
    "$program" --state "$mount/state" once --config "$file" || code=$?
    echo "ended with $code"
    $devcluster status
    find "$mount/home/releases" -name '.tmp*' -printf 'half-brought %p\n'
}
mount -o remount,size=$(($(df --output=used -k "$mount" | tail -1) + 32768))k "$mount"
look
look
mount -o remount,size=2g "$mount"
echo "there is room"
look
"$program" --state "$mount/state" history
"#;

#[test]
#[expect(clippy::print_stdout, reason = "what was not tried is said")]
fn a_cluster_whose_disk_is_full_stays_on_its_release_until_there_is_room() {
    if !rustix::process::geteuid().is_root() {
        println!("not tried: only root mounts a small file system");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (folder, place) = (folder.path(), folder.path().join("full"));
    fs::create_dir(&place).unwrap();
    let home = place.join("home");
    let file = subscriber(
        folder,
        &format!("driver: {{devcluster: {{name: dev, home: {}}}}}", home.display()),
    );
    let mut full = command("unshare");
    full.args(["--mount", "--", "sh", "-c", FULL, "sh"]).arg(&place).arg(PROGRAM);
    full.arg(Path::new(PROGRAM).with_file_name("devcluster")).arg(&file);
    full.arg(folder.join("release.pub"));
    let output = full.arg(store().join("kubernetes-1-20/kubernetes-1-20-1.yaml")).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "{said}");
    let (full, room) = said.split_once("there is room\n").unwrap();
    let (room, _) = room.split_once("cluster dev is gone").unwrap();
    assert_eq!(said.matches(": No space left on device").count(), 2, "{said}");
    let ended: Vec<_> = full.lines().filter(|line| line.starts_with("ended with ")).collect();
    assert_eq!(ended, ["ended with 2"; 2], "{said}");
    assert!(!full.contains("half-brought") && !full.contains("1-20-2 runs"), "{said}");
    // As it was started, and after both looks.
    assert_eq!(full.matches("release     1-20-1").count(), 3, "{said}");
    assert_eq!(full.matches(" healthy\n").count(), 3 * 4, "{said}");
    assert!(room.starts_with("1-20-2 runs\nended with 0\n"), "{said}");
    assert!(
        room.contains("release     1-20-2") && room.matches(" healthy\n").count() == 4,
        "{said}"
    );
    let happened = ["began", "kept", "failed", "held"].map(|what| {
        room.lines().filter(|line| line.split_whitespace().nth(2) == Some(what)).count()
    });
    assert_eq!(happened, [1, 1, 0, 0], "{said}");
}

#[test]
fn what_cannot_go_back_is_an_alarm_and_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let broken = folder.join("broken");
    let run = format!("test ! -e {}", broken.display());
    let file = subscriber(folder, &format!("driver: {{exec: {{command: [sh, -c, {run:?}]}}}}"));
    let ask = |arguments: &[&str]| {
        let output = command(PROGRAM).args(arguments).args(["--config", &file]).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code().unwrap(), said)
    };
    let alarms = || {
        let (code, said) = ask(&["--json", "status"]);
        assert_eq!(code, 0, "{said}");
        let status: Value = serde_json::from_str(&said).unwrap();
        status["alarms"].clone()
    };
    ask(&["hold", "1-20-2", "--reason", "later"]);
    let (code, said) = ask(&["once"]);
    assert!(code == 0 && said.starts_with("1-20-1 runs\n"), "{said}");
    assert_eq!(alarms(), json!({}));
    ask(&["resume", "1-20-2"]);

    // Nothing works any more, whatever the release.
    fs::write(&broken, "").unwrap();
    let (code, said) = ask(&["once"]);
    assert!(code == 2 && said.contains("error: cannot take command back to 1-20-1: "), "{said}");
    let raised = alarms();
    let text = raised["roll-out"]["text"].as_str().unwrap();
    assert!(text.starts_with("cannot take command back to 1-20-1: "), "{raised}");
    let (code, said) = ask(&["once"]);
    assert!(code == 2 && said.contains("  resumed: going back, because command: "), "{said}");
    assert_eq!(alarms(), raised, "since the first time");

    fs::remove_file(&broken).unwrap();
    let (code, said) = ask(&["once"]);
    assert!(code == 1 && said.contains("  rolled back: 1-20-1 runs again"), "{said}");
    assert_eq!(alarms(), json!({}));
    let (code, said) = ask(&["once"]);
    assert!(code == 0 && said.contains("1-20-2 is held: command: "), "{said}");
}
