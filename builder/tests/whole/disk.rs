//! A full disk in every stage: said, nothing half-published, and the next run goes on.

use std::{collections::BTreeSet, fs, path::Path};

use crate::{
    run::{Ran, is_root, not_judged, run, verifier, with},
    tiny::{CHANNEL, MANIFEST, Tiny},
};

/// Runs in a mount namespace of its own: the home folder on a small file system, larger by a little each time.
///
/// Arguments: the home folder as it is, the mount point, `inodes` or `blocks`, the verifier; then the command.
const GROWING: &str = r#"
set -eu
home=$1; mount=$2; what=$3; verifier=$4; shift 4
mount -t tmpfs -o size=2g,nr_inodes=1m,mode=755 tmpfs "$mount"
cp -a "$home/." "$mount/"
slack=1
before=
for turn in $(seq 1 300); do
    if [ "$what" = inodes ]; then
        used=$(df --output=iused "$mount" | tail -1)
        mount -o remount,size=2g,nr_inodes=$((used + slack)) "$mount"
    else
        used=$(df --output=used -k "$mount" | tail -1)
        mount -o remount,size=$((used + slack * 4))k "$mount"
    fi
    code=0
    "$@" > "$mount.answer" 2> "$mount.said" || code=$?
    stage=$(grep -o '"stage":"[a-z]*"' "$mount.said" | tail -1 || true)
    echo "$code|$stage|$(tr '\n' ' ' < "$mount.answer")"
    if [ $code = 0 ]; then break; fi
    # The same stage again gets more room; the next begins with nearly none.
    if [ "$stage" = "$before" ]; then slack=$((slack * 8 / 5 + 1)); else slack=2; fi
    before=$stage
done
"$verifier" --quiet --all --key "$mount/store/keys/release.pub" "$mount/store/MANIFEST"
ls "$mount/store/kubernetes-9-1/releases"
"#;

/// Cuts on a file system that has too little of something until it is enough; returns the stages that failed.
fn grows(what: &str, tiny: &Tiny) -> BTreeSet<String> {
    let trees = tiny.path("trees");
    // Trees are there already and large; they stay where they are.
    fs::rename(tiny.path("home/trees"), &trees).unwrap();
    std::os::unix::fs::symlink(&trees, tiny.path("home/trees")).unwrap();
    let mount = tiny.path("mount");
    fs::create_dir(&mount).unwrap();
    let script = GROWING.replace("MANIFEST", MANIFEST);
    let mut command = with("unshare", ["--mount", "--", "sh", "-c", &script, "sh"]);
    command.arg(tiny.path("home")).arg(&mount).arg(what).arg(verifier());
    command.args([crate::run::KDISTRO, "cut", CHANNEL, "--json", "--home"]).arg(&mount);
    tiny.enter(&mut command);
    judge(&run(&mut command), &mount)
}

fn judge(ran: &Ran, mount: &Path) -> BTreeSet<String> {
    assert_eq!(ran.code, 0, "{}\n{}", ran.out, ran.err);
    let mut stages = BTreeSet::new();
    for line in ran.out.lines().filter(|line| line.starts_with("2|")) {
        let mut parts = line.splitn(3, '|').skip(1);
        let (stage, said) = (parts.next().unwrap(), parts.next().unwrap());
        let place = mount.display().to_string();
        let full = said.to_lowercase().contains("no space left on device");
        // A compiler has words of its own for what it could not write; its step and log are named.
        let step = said.contains("step `tiny/hello linux/amd64` failed");
        assert!(full || step, "not said that the disk is full: {line}");
        assert!(said.contains(&place) || said.contains('`'), "no file or step is named: {line}");
        stages.insert(stage.replace("\"stage\":", "").replace('"', ""));
    }
    let codes: Vec<_> = ran.out.lines().filter(|line| line.contains('|')).collect();
    assert!(
        codes.iter().all(|line| line.starts_with("2|") || line.starts_with("0|")),
        "{codes:#?}"
    );
    assert_eq!(ran.out.lines().last(), Some("1"), "a number was used twice: {}", ran.out);
    stages
}

#[test]
fn a_full_disk_in_any_stage_is_said_and_the_next_run_goes_on() {
    if !is_root() {
        return not_judged("full disks", "only root mounts a small file system");
    }
    if run(&mut with("unshare", ["--mount", "--", "mount", "-t", "tmpfs", "none", "/mnt"])).code
        != 0
    {
        return not_judged("full disks", "this system does not let root mount a file system");
    }
    let mut stages = BTreeSet::new();
    for what in ["inodes", "blocks"] {
        let nothing_fetched = Tiny::unbuilt();
        let archive = nothing_fetched.locked("project: tiny/hello", "archive: ");
        fs::remove_file(nothing_fetched.content(&archive)).unwrap();
        stages.extend(grows(what, &nothing_fetched));
    }
    // What a build needs leaves room enough for packaging, unless the build is there already.
    let built = Tiny::ready();
    fs::remove_dir_all(built.path("home/assemblies")).unwrap();
    stages.extend(grows("inodes", &built));
    for stage in ["fetch", "build", "package", "publish"] {
        assert!(stages.contains(stage), "the disk was never full in {stage}: {stages:?}");
    }
}
