//! What really runs on real clusters is compared with real releases.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "inspect/alarms.rs"]
mod alarms;
#[path = "inspect/counted.rs"]
mod counted;
#[path = "inspect/processes.rs"]
mod processes;
#[path = "inspect/scene.rs"]
mod scene;
#[path = "cluster/started.rs"]
mod started;

use std::{fs, path::Path, process::Command};

use jiff::Timestamp;
use kdistro_devcluster::ComponentName::{KubeScheduler, Kubelet};
use kdistro_rollout::{
    history::{Change, Direction, Event, History, Target, UnderWay, What},
    plan::Step,
};
use serde_json::Value;

use scene::Scene;
use started::{brought, store};

fn inspect(arguments: &[&str]) -> (i32, Value) {
    let mut program = command(Path::new(env!("CARGO_BIN_EXE_kdistro-rollout")));
    result(program.args(arguments))
}

/// The exit code, and the report, or else what was complained of.
fn result(program: &mut Command) -> (i32, Value) {
    let output = program.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::from(said));
    (output.status.code().unwrap(), report)
}

#[expect(clippy::disallowed_methods, reason = "tests start real programs")]
fn command(program: &Path) -> Command {
    Command::new(program)
}

/// The verdict on each program and image, by its name; with the release where it is another one's.
fn verdicts(report: &Value) -> Vec<(String, String)> {
    let findings = report["report"]["findings"].as_array().unwrap_or_else(|| panic!("{report}"));
    let verdict = |finding: &Value| {
        let subject = &finding["subject"];
        let place = subject["process"]["path"].as_str().or(subject["image"]["name"].as_str());
        let place = place.or(subject["container"]["id"].as_str()).or(subject.as_str());
        let name = place.unwrap().rsplit('/').next().unwrap().to_owned();
        let release = finding["release"].as_str().map(|name| format!(" {name}"));
        let verdict = finding["verdict"].as_str().unwrap();
        (name, format!("{verdict}{}", release.unwrap_or_default()))
    };
    let mut all: Vec<_> = findings.iter().map(verdict).collect();
    // How many containers there are of an image is of one moment.
    all.sort();
    all.dedup();
    all
}

/// All of the release, but for some.
fn expected(names: &[&str], but: &[(&str, &str)]) -> Vec<(String, String)> {
    let verdict =
        |name: &str| but.iter().find(|(other, _)| *other == name).map_or("of-release", |it| it.1);
    names.iter().map(|name| ((*name).to_owned(), verdict(name).to_owned())).collect()
}

const CONTROL_PLANE: [&str; 4] =
    ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// Looks at a cluster that is between two releases, as the history says.
fn nothing_is_told_while_a_roll_out_is_under_way(scene: &Scene) {
    let target = |number: u8| Target {
        name: format!("1-20-{number}").parse().unwrap(),
        digest: kdistro_formats::Digest::from_bytes([number; 32]),
    };
    let state = scene.state();
    fs::create_dir_all(&state).unwrap();
    let history = History::open(&state.join("history")).unwrap();
    let (from, to, direction) = (target(1), target(2), Direction::Forward);
    let event = Event {
        at: Timestamp::UNIX_EPOCH,
        release: Some(to.name.clone()),
        what: What::Began,
        text: String::new(),
    };
    let under_way = UnderWay { from, to, steps: vec![Step::Snapshot], done: 0, direction };
    history.write(&event, &Change::UnderWay(&under_way)).unwrap();
    drop(history);
    let (code, said) = scene.inspect(&[]);
    assert_eq!(code, 2, "{said}");
    let expected = "both 1-20-1 and 1-20-2 may run: a roll-out is under way";
    assert_eq!(said["error"], expected);
    fs::remove_dir_all(state).unwrap();
}

#[test]
fn a_control_plane_is_the_release_and_not_the_next_until_one_byte_is_strange() {
    let scene = Scene::new(false);
    let (code, report) = scene.inspect(&[]);
    assert_eq!((code, verdicts(&report)), (0, expected(&CONTROL_PLANE, &[])), "{report}");
    assert_eq!(report["report"]["release"], "1-20-1");
    assert_eq!(report["outcome"], "verified");
    what_the_release_before_left_behind_is_named(&scene);
    nothing_is_told_while_a_roll_out_is_under_way(&scene);

    scene.replace(KubeScheduler, &scene.strange("kube-scheduler"));
    let (code, report) = scene.inspect(&[]);
    let strange = expected(&CONTROL_PLANE, &[("kube-scheduler", "strange")]);
    assert_eq!((code, verdicts(&report)), (1, strange), "{report}");
    let mut findings = report["report"]["findings"].as_array().unwrap().iter();
    let strange = findings.find(|one| one["verdict"] == "strange").unwrap();
    let digest = strange["subject"]["process"]["digest"].as_str().unwrap();
    let (code, report) = scene.inspect(&["--known", digest]);
    let known = expected(&CONTROL_PLANE, &[("kube-scheduler", "known")]);
    assert_eq!((code, verdicts(&report)), (0, known), "{report}");
}

/// Compares a cluster of the first release with the second.
fn what_the_release_before_left_behind_is_named(scene: &Scene) {
    let store = store();
    let [key, release] = ["keys/release.pub", "kubernetes-1-20/kubernetes-1-20-2.yaml"]
        .map(|file| store.join(file).display().to_string());
    let id = scene.started.cluster.status().supervisor.unwrap().to_string();
    let look = ["--json", "inspect", "--key", &key, "--release", &release, "--below", &id];
    // Only etcd has a patch more in the second: everything else is the same in both.
    let (code, report) = inspect(&look);
    let before = expected(&CONTROL_PLANE, &[("etcd", "of-other-release 1-20-1")]);
    assert_eq!((code, verdicts(&report)), (1, before), "{report}");
}

#[test]
#[expect(clippy::print_stdout, reason = "what was not tried is said")]
fn a_node_is_the_release_with_its_containers() {
    if !rustix::process::geteuid().is_root() {
        println!("not tried: a node needs root");
        return;
    }
    let scene = Scene::new(true);
    scene.started.cluster.canary(&scene.started.release).unwrap();
    // The canary is a pod of etcd's image, in a sandbox of the release's pause.
    let of_pods = ["etcd:1-20-1", "kube-proxy", "kubelet", "pause", "pause:1-20-1"];
    let mut names = [&CONTROL_PLANE[..], &of_pods].concat();
    names.sort_unstable();
    let (code, report) = scene.inspect(&[]);
    assert_eq!((code, verdicts(&report)), (0, expected(&names, &[])), "{report}");
    assert_eq!(report["containers"], true);
    containers_of_another_release_are_named(&scene);
    let strange = scene.strange("kubelet");
    std::os::unix::fs::symlink(scene.started.release.plugins(), strange.plugins()).unwrap();
    scene.replace(Kubelet, &strange);
    let (code, report) = scene.inspect(&[]);
    assert_eq!(code, 1, "{report}");
    let kubelet = ("kubelet".to_owned(), "strange".to_owned());
    assert!(verdicts(&report).contains(&kubelet), "{report}");
}

/// Lets pods run the next release's image of etcd.
fn containers_of_another_release_are_named(scene: &Scene) {
    let two = brought(2, scene.started.folder.path(), true);
    scene.started.cluster.bring_images(&two, &scene.started.debian).unwrap();
    scene.started.cluster.canary(&two).unwrap();
    let (code, report) = scene.inspect(&[]);
    assert_eq!(code, 1, "{report}");
    for name in ["etcd", "etcd:1-20-2"] {
        let other = (name.to_owned(), "of-other-release 1-20-2".to_owned());
        assert!(verdicts(&report).contains(&other), "{report}");
    }
}
