//! A subscriber's cluster is looked at, its containers too, and alarms are raised: no cluster is needed for it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use jiff::Timestamp;
use kdistro_formats::Digest;
use kdistro_rollout::{
    history::{Alarm, Change, Direction, Event, History, Target, UnderWay, What},
    plan::Step,
};
use kdistro_verify::hash;
use serde_json::Value;

use crate::{
    command,
    processes::{Runs, archive, begun, changed_store, copy, strangers},
    result,
    started::{store, subscriber},
    verdicts,
};

/// Answers with tables, and with what a file has of a container, where there is one.
const TABLES: &str = "cd \"${0%/*}\"; if [ \"$6\" != info ]; then cat \"$5\"; elif [ -f \"$7\" ]; then cat \"$7\"; \
                      else echo '{}'; fi";

/// A subscriber whose cluster is said to run the first release of a store, with a containerd that says what it is told.
struct Watched {
    folder: tempfile::TempDir,
}

impl Watched {
    fn of(releases: &Path) -> Self {
        let it = Self { folder: tempfile::tempdir().unwrap() };
        let text = subscriber(it.folder.path(), "driver: {exec: {command: [\"true\"]}}");
        let text = text.replace(&store().display().to_string(), &releases.display().to_string());
        fs::write(it.path("rollout.yaml"), text).unwrap();
        for name in ["state", "bin"] {
            fs::create_dir(it.path(name)).unwrap();
        }
        it.containerd(TABLES);
        for table in ["tasks", "containers", "images"] {
            fs::write(it.path("bin").join(table), "HEAD\n").unwrap();
        }
        let manifest = fs::read(store().join("kubernetes-1-20/kubernetes-1-20-1.yaml")).unwrap();
        let target = Target { name: "1-20-1".parse().unwrap(), digest: hash::sha256(&manifest) };
        it.write(What::Began, &Change::Runs(&target));
        it
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Lets a script answer as containerd's client.
    fn containerd(&self, script: &str) {
        let ctr = self.path("bin/ctr");
        fs::write(&ctr, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(ctr, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Lets containers run, each with its image, of which some have a digest.
    fn run(&self, containers: &[(&str, &str)], images: &[(&str, Digest)]) {
        let table = |rows: Vec<String>| format!("HEAD\n{}", rows.concat());
        let tasks = containers.iter().map(|(id, _)| format!("{id} 1 RUNNING\n"));
        let listed = containers.iter().map(|(id, image)| format!("{id} {image} runc\n"));
        let images = images.iter().map(|(name, digest)| format!("{name} type {digest} 1 B -\n"));
        let (tasks, listed) = (table(tasks.collect()), table(listed.collect()));
        let images = table(images.collect());
        for (table, text) in [("tasks", tasks), ("containers", listed), ("images", images)] {
            fs::write(self.path("bin").join(table), text).unwrap();
        }
    }

    fn history(&self) -> History {
        History::open(&self.path("state/history")).unwrap()
    }

    fn write(&self, what: What, change: &Change<'_>) {
        let release = Some("1-20-1".parse().unwrap());
        let event = Event { at: Timestamp::UNIX_EPOCH, release, what, text: String::new() };
        self.history().write(&event, change).unwrap();
    }

    fn alarms(&self) -> BTreeMap<String, Alarm> {
        self.history().standing(0).unwrap().alarms
    }

    fn abouts(&self) -> Vec<String> {
        self.alarms().into_keys().collect()
    }

    /// A look in which everything is compared that `program` starts.
    fn command(&self, program: &mut Command, more: &[&str]) {
        program.env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()));
        program.args(["--json", "inspect", "--containerd", "/dev/null", "--config"]);
        program.arg(self.path("rollout.yaml")).args(more);
    }

    /// Looks at what one process has started.
    fn below(&self, runs: &Runs, more: &[&str]) -> Command {
        let mut look = command(Path::new(env!("CARGO_BIN_EXE_kdistro-rollout")));
        self.command(&mut look, more);
        look.arg("--below").arg(runs.id());
        look
    }

    fn look(&self, runs: &Runs) -> (i32, Value) {
        result(&mut self.below(runs, &[]))
    }
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..300 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("{what}");
}

#[test]
fn a_container_of_no_known_image_hides_neither_images_nor_processes() {
    let (watched, (_folder, runs)) = (Watched::of(&store()), strangers(&["kubelet"]));
    let digest = Digest::from_bytes([7; 32]);
    watched.run(
        &[("bare", "-"), ("left", "registry.example/gone:1"), ("other", "registry.example/etcd:1")],
        &[("registry.example/etcd:1", digest)],
    );
    let (code, report) = watched.look(&runs);
    let found = [
        ("bare", "not-looked-at"),
        ("etcd:1", "strange"),
        ("kubelet", "strange"),
        ("left", "not-looked-at"),
    ];
    let found = found.map(|(name, verdict)| (name.to_owned(), verdict.to_owned()));
    assert_eq!((code, verdicts(&report)), (1, found.to_vec()), "{report}");
    assert_eq!(report["containers"], true);
}

#[test]
fn a_name_that_got_another_image_hides_none_that_runs() {
    let (watched, (_folder, runs)) = (Watched::of(&store()), strangers(&["sleep"]));
    let manifest =
        fs::read_to_string(store().join("kubernetes-1-20/kubernetes-1-20-1.yaml")).unwrap();
    let (_, first) = manifest.split_once("imageDigest: ").unwrap();
    let right: Digest = first.split_whitespace().next().unwrap().trim_matches('"').parse().unwrap();
    watched.run(
        &[("moved", "registry.example/etcd:1")],
        &[("registry.example/etcd:1", right), ("sha256:0b", Digest::from_bytes([7; 32]))],
    );
    // `{"Metadata":{"ImageRef":"sha256:0b"}}`
    let kept = "eyJNZXRhZGF0YSI6eyJJbWFnZVJlZiI6InNoYTI1NjowYiJ9fQ==";
    let extension = "io.cri-containerd.container.metadata";
    let info = format!(r#"{{"Extensions":{{"{extension}":{{"value":"{kept}"}}}}}}"#);
    fs::write(watched.path("bin/moved"), info).unwrap();
    let (code, report) = watched.look(&runs);
    let strange = vec![("etcd:1".to_owned(), "strange".to_owned())];
    assert_eq!((code, verdicts(&report)), (1, strange), "{report}");
}

#[test]
fn processes_are_looked_at_where_containerd_does_not_answer() {
    let (watched, (_folder, runs)) = (Watched::of(&store()), strangers(&["kubelet"]));
    watched.containerd("echo cannot connect >&2; exit 1");
    let (code, report) = watched.look(&runs);
    let found = [("containers", "not-looked-at"), ("kubelet", "strange")];
    let found = found.map(|(name, verdict)| (name.to_owned(), verdict.to_owned()));
    assert_eq!((code, verdicts(&report)), (1, found.to_vec()), "{report}");
    assert_eq!(report["containers"], false);
    assert!(report.to_string().contains("cannot connect"), "{report}");
    let (_folder, runs) = strangers(&["sleep"]);
    assert_eq!(watched.look(&runs).0, 2);
}

#[test]
#[expect(clippy::print_stdout, reason = "what was not tried is said")]
fn an_alarm_stays_until_a_look_saw_that_it_is_over() {
    let watched = Watched::of(&store());
    watched.run(&[("a", "r/etcd:1")], &[("r/etcd:1", Digest::from_bytes([7; 32]))]);
    let (_folder, runs) = strangers(&["kubelet"]);
    assert_eq!(watched.look(&runs).0, 1);
    assert_eq!(watched.abouts(), ["images", "nodes"]);
    let raised = watched.alarms();
    watched.run(&[], &[]);
    let (_folder, runs) = strangers(&["sleep"]);
    assert_eq!(watched.look(&runs).0, 2);
    assert_eq!(watched.alarms(), raised, "only a part was looked at");
    if rustix::process::geteuid().is_root() {
        a_whole_look_ends_what_it_looked_at(&watched);
    } else {
        println!("not tried: a machine of its own needs root");
    }
}

/// Looks at a machine of its own that runs a program of the release, without containers first.
fn a_whole_look_ends_what_it_looked_at(watched: &Watched) {
    let kubectl = "kubernetes-1-20/releases/1/artifacts/kubernetes/v1.20.2/bin/linux/amd64/kubectl";
    let (copied, server) = (watched.path("kubectl"), "http://127.0.0.1:1");
    copy(&store().join(kubectl), &copied);
    fs::set_permissions(&copied, fs::Permissions::from_mode(0o755)).unwrap();
    let script = "\"$0\" proxy --port=0 --server=\"$1\" > \"$0.out\" 2>&1 & shift\n\
                  until [ -s \"$0.out\" ]; do sleep 0.1; done; exec \"$@\"";
    let look = || {
        let mut machine = command(Path::new("unshare"));
        machine.args(["--pid", "--fork", "--mount-proc", "--kill-child", "--", "sh", "-c", script]);
        machine.arg(&copied).arg(server).arg(env!("CARGO_BIN_EXE_kdistro-rollout"));
        watched.command(&mut machine, &[]);
        result(&mut machine)
    };
    watched.containerd("exit 1");
    let (code, report) = look();
    assert_eq!((code, watched.abouts()), (2, vec!["images".to_owned()]), "{report}");
    watched.containerd(TABLES);
    let (code, report) = look();
    assert_eq!((code, watched.abouts()), (0, vec![]), "{report}");
}

#[test]
fn an_alarm_is_raised_where_nobody_reads_the_report() {
    let (watched, (_folder, runs)) = (Watched::of(&store()), strangers(&["kubelet"]));
    let full = File::options().write(true).open("/dev/full").unwrap();
    let status = watched.below(&runs, &[]).stdout(full).status().unwrap();
    assert_eq!((status.code(), watched.abouts()), (Some(2), vec!["nodes".to_owned()]));
}

#[test]
fn what_the_key_did_not_sign_is_an_alarm_also_where_it_is_looked_again_and_again() {
    let manifest = "kubernetes-1-20/kubernetes-1-20-1.yaml";
    for (file, why) in [(manifest, "is not verified"), (&archive(1), "of the store is sha256:")] {
        let changed = changed_store(file);
        let (watched, (_folder, runs)) = (Watched::of(changed.path()), strangers(&["etcd"]));
        let mut look = watched.below(&runs, &["--every", "1s"]);
        let look = look.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let look = Runs::of(look);
        until(file, || watched.abouts() == ["store"]);
        drop(look);
        let text = &watched.alarms()["store"].text;
        assert!(text.contains(why), "{text}");
    }
}

#[test]
fn a_process_that_begins_again_and_again_is_one_notice() {
    let watched = Watched::of(&store());
    let (folder, runs) = strangers(&["kubelet"]);
    let (first, _) = watched.look(&runs);
    let again = begun(folder.path(), &["kubelet"]);
    let (second, report) = watched.look(&again);
    assert_eq!((first, second), (1, 1), "{report}");
    assert_eq!(watched.history().notices().unwrap().newest, 1, "{:?}", watched.alarms());
    let text = &watched.alarms()["nodes"].text;
    let kubelet = folder.path().join("kubelet");
    let (digest, _) = hash::sha256_of(File::open(&kubelet).unwrap()).unwrap();
    assert_eq!(*text, format!("kubelet STRANGE: {digest} {}", kubelet.display()));
}

#[test]
fn a_look_during_which_a_roll_out_begins_tells_nothing() {
    let target = |number: u8| Target {
        name: format!("1-20-{number}").parse().unwrap(),
        digest: Digest::from_bytes([number; 32]),
    };
    let (from, to, direction) = (target(1), target(2), Direction::Forward);
    let steps = vec![Step::Snapshot];
    let under_way = UnderWay { from, to: to.clone(), steps, done: 0, direction };
    for (what, change, why) in [
        (What::Began, Change::UnderWay(&under_way), "a roll-out is under way"),
        (What::Kept, Change::Runs(&to), "meanwhile"),
        (What::Began, Change::Nothing, "meanwhile"),
    ] {
        let (watched, (_folder, runs)) = (Watched::of(&store()), strangers(&["kubelet"]));
        let (begun, on) = (watched.path("begun"), watched.path("on"));
        let (shown, wait) = (begun.display(), on.display());
        watched.containerd(&format!(
            "touch {shown}; until [ -e {wait} ]; do sleep 0.1; done; cat \"${{0%/*}}/$5\""
        ));
        let look = watched.below(&runs, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        until("it looks", || begun.exists());
        watched.write(what, &change);
        fs::write(&on, "").unwrap();
        let output = look.unwrap().wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!((output.status.code(), watched.abouts()), (Some(2), vec![]), "{said}");
        assert!(said.contains(why), "{said}");
    }
}
