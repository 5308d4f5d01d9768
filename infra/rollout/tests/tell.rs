//! `kdistro-rollout run` tells how things stand while it rolls out, and `fleet` believes what it reported.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "tell/hook.rs"]
mod hook;

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use hook::Hook;
use serde_json::Value;

const SECRET: &str = "planted-secret-of-the-webhook";

/// A subscriber in a folder that ends with it, whose command waits until there is a script that says how it ends.
struct Scene {
    folder: tempfile::TempDir,
    /// The index of its channel, which a test may change.
    index: PathBuf,
    told: SocketAddr,
    hook: Hook,
    running: Option<Child>,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let index = copy(&kdistro_testbed::releases().unwrap(), folder.path());
        let port = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (told, hook) = (port(), Hook::start(SECRET));
        fs::write(folder.path().join("secret"), SECRET).unwrap();
        let text = format!(
            "cluster: dev\nstore: store\nkey: store/keys/release.pub\nenvironment: local\nchannel: 1-20\n\
             hear: {{poll: 1s}}\nstate: state\nreport: {{folder: reports}}\ntell: {{listen: \"{told}\"}}\n\
             notify: {{webhook: {{address: \"http://{0}/\", secret: secret}}}}\n\
             driver: {{exec: {{command: [sh, -c, \"until [ -e {1} ]; do sleep 0.1; done; . {1}\"]}}}}\n",
            hook.address,
            folder.path().join("end").display(),
        );
        fs::write(folder.path().join("rollout.yaml"), text).unwrap();
        Self { folder, index, told, hook, running: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    #[expect(clippy::disallowed_methods, reason = "the program is tested")]
    fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kdistro-rollout"));
        command.arg("--state").arg(self.path("state")).args(arguments).stdin(Stdio::null());
        command.current_dir(self.folder.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.program(arguments).output().unwrap()
    }

    fn said(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        said
    }

    fn start(&mut self) {
        let log = fs::File::create(self.path("log")).unwrap();
        let mut program = self.program(&["--log-json", "run"]);
        program.stdout(Stdio::null()).stderr(log);
        self.running = Some(program.spawn().unwrap());
    }

    /// What is shown at a path; nothing while nobody listens.
    fn shown(&self, path: &str) -> String {
        self.shown_as("localhost", path)
    }

    fn shown_as(&self, host: &str, path: &str) -> String {
        let Ok(mut stream) = TcpStream::connect(self.told) else { return String::new() };
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Waits for half a minute until a path shows something.
    fn until(&self, path: &str, text: &str) -> String {
        for _ in 0..300 {
            let shown = self.shown(path);
            if shown.contains(text) {
                return shown;
            }
            thread::sleep(Duration::from_millis(100));
        }
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        panic!("{path} does not show {text:?}: {}\n{log}", self.shown(path));
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(running) = &mut self.running {
            let _ = running.kill();
            let _ = running.wait();
        }
    }
}

/// Copies the documents of a store, not what is built; returns the channel's index.
fn copy(home: &Path, folder: &Path) -> PathBuf {
    for name in ["keys", "log", "kubernetes-1-20", "releasechannels"] {
        let mut folders = vec![Path::new("store").join(name)];
        while let Some(inner) = folders.pop() {
            fs::create_dir_all(folder.join(&inner)).unwrap();
            for entry in fs::read_dir(home.join(&inner)).unwrap() {
                let entry = entry.unwrap();
                let path = inner.join(entry.file_name());
                if entry.file_type().unwrap().is_file() {
                    fs::copy(entry.path(), folder.join(path)).unwrap();
                } else if entry.file_name() != "artifacts" {
                    folders.push(path);
                }
            }
        }
    }
    folder.join("store/releasechannels/1-20.yaml")
}

fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

/// Prometheus' own judge.
#[expect(clippy::disallowed_methods, reason = "another program judges ours")]
fn assert_metrics(text: &str) {
    let root = kdistro_testbed::debian_packages(&["prometheus"]).unwrap();
    let mut command = Command::new(root.join("usr/bin/promtool"));
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut judge = command.stderr(Stdio::piped()).spawn().unwrap();
    judge.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = judge.wait_with_output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
}

fn assert_lines_are_json(log: &Path) {
    let log = fs::read_to_string(log).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let whats = lines.iter().map(|line| line["what"].as_str().unwrap());
    // The receiver of notices fails at first, which is a note.
    let whats: Vec<_> = whats.filter(|what| *what != "note").collect();
    assert!(whats.starts_with(&["decided", "began", "step", "kept"]), "{log}");
    for line in &lines {
        assert_eq!(line["cluster"], "dev", "{line}");
    }
}

#[test]
fn a_roll_out_is_seen_notified_and_reported() {
    let mut scene = Scene::new();
    scene.start();
    let page = scene.until("/", "Under way");
    assert!(page.contains("Content-Type: text/html; charset=utf-8\r\n"), "{page}");
    assert!(page.contains("0 of 1 steps are done"), "{page}");
    // Another process asks and steers meanwhile; another roll-out has to wait.
    assert!(scene.said(0, &["status"]).contains("under way  1-20-2: 0 of 1 steps are done"));
    assert!(scene.said(2, &["once"]).contains("is in use by another kdistro-rollout"));
    scene.said(0, &["hold", "1-20-9", "--reason", "<b>breaks</b>"]);
    let metrics = scene.shown("/metrics");
    assert!(metrics.contains("kdistro_rollout_under_way 1\n"), "{metrics}");
    assert_metrics(body(&metrics));
    fs::write(scene.path("end"), "").unwrap();
    let metrics = scene.until("/metrics", "kdistro_rollout_outcomes_total{outcome=\"kept\"} 1\n");
    assert_metrics(body(&metrics));
    let page = scene.until("/", "all is well");
    assert!(page.contains("&lt;b&gt;breaks&lt;/b&gt;") && !page.contains("<b>"), "{page}");
    let status: Value = serde_json::from_str(body(&scene.shown("/status.json"))).unwrap();
    assert_eq!(status["running"]["name"], "1-20-2");
    for (path, status) in [("/no", "404 Not Found"), ("/?", "404 Not Found")] {
        assert!(scene.shown(path).starts_with(&format!("HTTP/1.1 {status}\r\n")));
    }
    let foreign = scene.shown_as("evil.example", "/status.json");
    assert!(foreign.starts_with("HTTP/1.1 421 Misdirected Request\r\n"), "{foreign}");
    assert!(foreign.ends_with("\r\n\r\n"), "{foreign}");
    scene.said(0, &["page", "--out", "page.html"]);
    assert!(fs::read_to_string(scene.path("page.html")).unwrap().contains("all is well"));
    assert_notices(&scene);
    assert_fleet(&scene);
    assert_lines_are_json(&scene.path("log"));
}

/// Each notice came once, signed, though the receiver failed at first.
fn assert_notices(scene: &Scene) {
    let notices = scene.hook.until(2);
    let told: Vec<_> =
        notices.iter().map(|it| (it["what"].as_str(), it["number"].as_u64())).collect();
    assert_eq!(told, [(Some("held"), Some(1)), (Some("kept"), Some(2))], "{notices:?}");
    assert_eq!((&notices[1]["cluster"], &notices[1]["release"]), (&"dev".into(), &"1-20-2".into()));
}

/// The report is believed by the key that the program says, and by no other.
fn assert_fleet(scene: &Scene) {
    fs::create_dir(scene.path("keys")).unwrap();
    let fleet = |code, more: &[&str]| {
        let asked = ["fleet", "--reports", "reports", "--keys", "keys", "--json"];
        scene.said(code, &[&asked, more].concat())
    };
    assert!(fleet(1, &[]).contains("the key of this cluster is not known"));
    fs::write(scene.path("keys/dev.pub"), scene.said(0, &["report"])).unwrap();
    let said: Value = serde_json::from_str(&fleet(0, &["--silent-for", "7d"])).unwrap();
    let dev = &said["clusters"][0];
    assert_eq!((&dev["runs"]["release"], &dev["silent"]), (&"1-20-2".into(), &false.into()));
    assert_eq!(dev["holds"][0]["verdict"], "held");
    let store = kdistro_testbed::releases().unwrap().join("store").display().to_string();
    let key = format!("{store}/keys/release.pub");
    let lacks = |code, cve| {
        let asked = ["--lacks", cve, "--store", &store, "--key", &key, "--environment", "local"];
        serde_json::from_str::<Value>(&fleet(code, &asked)).unwrap()["clusters"][0]["fix"].clone()
    };
    assert_eq!(lacks(0, "CVE-2022-41723"), "has");
    assert_eq!(lacks(1, "CVE-2026-99999"), "lacks");
    assert!(fleet(0, &["--seen", "seen", "--html", "fleet.html"]).contains("1-20-2"));
    assert!(fs::read_to_string(scene.path("fleet.html")).unwrap().contains("<h1>Fleet</h1>"));
    scene.said(2, &["fleet", "--reports", "reports", "--keys", "keys", "--lacks", "CVE-2026-1"]);
}

#[test]
fn nobody_who_takes_no_notice_hinders_a_roll_out() {
    let mut scene = Scene::new();
    scene.hook.refuse_everything();
    fs::write(scene.path("end"), "").unwrap();
    scene.start();
    scene.until("/", "all is well");
    let text = "webhook: notice 1 (kept) is tried again later: ";
    let log = || fs::read_to_string(scene.path("log")).unwrap();
    let is_said = (0..300).any(|_| {
        thread::sleep(Duration::from_millis(100));
        log().contains(text)
    });
    assert!(is_said && !log().contains(SECRET), "{}", log());
    assert!(scene.shown("/status.json").contains("\"kept\": 1"), "{}", log());
}

#[test]
fn a_release_that_fails_is_reported_as_such_beside_the_one_that_runs_again() {
    let scene = Scene::new();
    scene.said(0, &["hold", "1-20-2", "--reason", "later"]);
    fs::write(scene.path("end"), "test $KDISTRO_RELEASE = 1-20-1").unwrap();
    assert!(scene.said(0, &["once"]).contains("1-20-1 runs\n"));
    scene.said(0, &["resume", "1-20-2"]);
    assert!(
        scene.said(1, &["once"]).contains("1-20-2 failed and is held, the release before runs")
    );
    scene.said(0, &["once"]);
    let told = scene.hook.until(4);
    let whats: Vec<_> = told.iter().filter_map(|it| it["what"].as_str()).collect();
    assert_eq!(whats, ["held", "kept", "held", "rolled-back"]);
    fs::create_dir(scene.path("keys")).unwrap();
    fs::write(scene.path("keys/dev.pub"), scene.said(0, &["report"])).unwrap();
    let fleet = scene.said(0, &["fleet", "--reports", "reports", "--keys", "keys"]);
    assert!(fleet.contains("dev      1-20-1 ") && fleet.contains("holds 1-20-2 since "), "{fleet}");
    assert!(fleet.trim_end().ends_with(", where it failed"), "{fleet}");
    assert!(!fs::read_to_string(scene.path("reports/dev.json")).unwrap().contains("exit status"));
    scene.said(0, &["page", "--out", "page.html"]);
    let page = fs::read_to_string(scene.path("page.html")).unwrap();
    assert!(page.contains("failed here") && page.contains("rolled back"), "{page}");
}

#[test]
fn a_forged_index_is_an_alarm_until_it_is_right_again() {
    let scene = Scene::new();
    fs::write(scene.path("end"), "").unwrap();
    scene.said(0, &["once"]);
    let right = fs::read(&scene.index).unwrap();
    fs::write(&scene.index, [&right[..], b" "].concat()).unwrap();
    for _ in 0..2 {
        assert!(scene.said(1, &["once"]).contains("error: "));
    }
    let status = || serde_json::from_str::<Value>(&scene.said(0, &["--json", "status"])).unwrap();
    let stands = status();
    assert!(stands["alarms"]["channel"]["text"].is_string(), "{stands}");
    assert_eq!(stands["looks"]["last"][1]["times"], 2, "{stands}");
    assert_eq!(stands["looks"]["last"][1]["succeeded"], false);
    fs::write(&scene.index, right).unwrap();
    scene.said(0, &["once"]);
    assert_eq!(status()["alarms"], Value::Object(serde_json::Map::new()));
    let told = scene.hook.until(2);
    let whats: Vec<_> = told.iter().filter_map(|it| it["what"].as_str()).collect();
    assert_eq!(whats, ["kept", "alarm"], "once each");
}

#[test]
fn an_index_that_is_forged_or_not_there_hides_no_cluster_of_a_fleet() {
    let scene = Scene::new();
    fs::write(scene.path("end"), "").unwrap();
    scene.said(0, &["once"]);
    fs::create_dir(scene.path("keys")).unwrap();
    fs::write(scene.path("keys/dev.pub"), scene.said(0, &["report"])).unwrap();
    let fleet = |code| {
        let asked =
            ["fleet", "--reports", "reports", "--keys", "keys", "--lacks", "CVE-2022-41723"];
        let store =
            ["--store", "store", "--key", "store/keys/release.pub", "--environment", "local"];
        scene.said(code, &[&asked[..], &store].concat())
    };
    assert!(fleet(0).contains("has the fix"));
    let right = fs::read(&scene.index).unwrap();
    fs::write(&scene.index, [&right[..], b" "].concat()).unwrap();
    let said = fleet(1);
    let forged = "could not tell: nothing signs `releasechannels/1-20.yaml`";
    assert!(said.contains("dev ") && said.contains(forged), "{said}");
    fs::remove_file(&scene.index).unwrap();
    let said = fleet(2);
    assert!(said.contains("dev ") && said.contains("could not tell: "), "{said}");
}

#[test]
fn who_is_asked_to_approve_is_told_and_whoever_waits_looks_at_once() {
    let mut scene = Scene::new();
    let file = scene.path("rollout.yaml");
    let text = fs::read_to_string(&file).unwrap().replace("poll: 1s", "poll: 1h");
    fs::write(file, text + "policy: {approval: manual}\n").unwrap();
    fs::write(scene.path("end"), "").unwrap();
    scene.said(0, &["hold", "--reason", "on holiday"]);
    // The receiver refuses what comes first, until the next look.
    scene.said(0, &["hold", "1-20-9", "--reason", "breaks"]);
    scene.start();
    scene.until("/status.json", "1-20-2 waits, since roll-outs are paused: on holiday");
    scene.said(0, &["resume"]);
    let told = scene.hook.until(2);
    assert_eq!(
        (&told[1]["what"], &told[1]["release"]),
        (&"waits-for-approval".into(), &"1-20-2".into())
    );
    scene.until("/", "kdistro-rollout approve 1-20-2");
    scene.said(0, &["approve", "1-20-2"]);
    scene.until("/", "all is well");
    assert_eq!(scene.hook.until(3)[2]["what"], "kept");
    let history = scene.said(0, &["history"]);
    for text in ["paused       on holiday", "unpaused     releases are rolled out again"] {
        assert!(history.contains(text), "{history}");
    }
    assert!(scene.said(1, &["resume"]).contains("roll-outs are not paused"));
}
