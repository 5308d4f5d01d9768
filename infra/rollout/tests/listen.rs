//! `kdistro-rollout run` hears of a release by the real announcers, and rolls it out by a command.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[cfg(feature = "aws")]
mod amazon;

use std::{
    collections::BTreeMap,
    fs,
    net::TcpListener,
    os::unix::fs::symlink,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use kdistro_border::{Announcer, FileAnnouncer, WebhookAnnouncer};
use kdistro_verify::hash::sha256;
use serde_json::json;

const SECRET: &str = "planted-secret-of-the-webhook";

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "the program is tested")]
fn run(folder: &Path, log: &Path, variables: &[(String, String)]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kdistro-rollout"));
    command.arg("--state").arg(folder.join("state")).args(["run", "--config"]);
    command.arg(folder.join("rollout.yaml")).stdin(Stdio::null());
    let log = fs::File::create(log).unwrap();
    command.stdout(log.try_clone().unwrap()).stderr(log).envs(variables.iter().cloned());
    Running(command.spawn().unwrap())
}

/// Waits until a file says something, for a minute; what the program said is in `log`.
fn until((path, log): (&Path, &Path), text: &str) -> String {
    for _ in 0..600 {
        let said = fs::read_to_string(path).unwrap_or_default();
        if said.contains(text) {
            return said;
        }
        thread::sleep(Duration::from_millis(100));
    }
    let [said, log] = [path, log].map(|path| fs::read_to_string(path).unwrap_or_default());
    panic!("{text:?} is not in {said:?}; {log}");
}

fn announce(announcer: &dyn Announcer, (environment, severity): (&str, &str)) {
    let digest = |name: &str| sha256(format!("{name} {environment}").as_bytes());
    let document =
        |name: &str| json!({"uri": format!("https://a.example/{name}"), "sha256": digest(name)});
    let said = json!({
        "schema": "kdistro.dev/announcement/v1", "environment": environment, "channel": "1-20",
        "number": 2, "manifest": document("m"), "bundle": document("b"),
        "severity": severity, "fixes": [],
    });
    let message = json!({"default": said.to_string(), "email": "A text"}).to_string();
    announcer.announce(&digest("m"), "kdistro is released", &message, &BTreeMap::new()).unwrap();
}

/// Looks once in vain, as there is no store yet, then hears by `announcer` and rolls out.
fn hears(
    (hear, variables): (&str, &[(String, String)]),
    announcer: impl FnOnce(&Path) -> Box<dyn Announcer>,
) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (store, done, log) = (path.join("store"), path.join("done"), path.join("log"));
    let published = kdistro_testbed::releases().unwrap().join("store");
    fs::copy(published.join("keys/release.pub"), path.join("release.pub")).unwrap();
    fs::write(path.join("secret"), SECRET).unwrap();
    let write = format!("echo $KDISTRO_RELEASE $KDISTRO_MANIFEST >>{}", done.display());
    let text = format!(
        "cluster: dev\nstore: {}\nkey: release.pub\nenvironment: local\nchannel: 1-20\n\
         hear: {{poll: 1d, {hear}}}\ndriver: {{exec: {{command: [sh, -c, {write:?}]}}}}\nstate: state\n",
        store.display()
    );
    fs::write(path.join("rollout.yaml"), text).unwrap();
    let running = run(path, &log, variables);
    let said = until((&log, &log), "error: ");
    assert!(!done.exists(), "{said}");
    symlink(&published, &store).unwrap();
    let announcer = announcer(path);
    // Another environment's news are no reason to look.
    announce(&*announcer, ("production", "routine"));
    thread::sleep(Duration::from_secs(2));
    assert!(!done.exists(), "{}", fs::read_to_string(&log).unwrap());
    announce(&*announcer, ("local", "routine"));
    let said = until((&done, &log), "1-20-2 ");
    assert!(said.trim_end().ends_with("/kubernetes-1-20/kubernetes-1-20-2.yaml"), "{said}");
    until((&log, &log), "1-20-2 runs");
    drop(running);
    assert!(!fs::read_to_string(&log).unwrap().contains(SECRET));
    assert_eq!(fs::read_to_string(&done).unwrap().lines().count(), 1, "rolled out once");
}

#[test]
fn what_our_webhook_posts_is_a_reason_to_look() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let hear = format!("webhook: {{listen: \"127.0.0.1:{port}\", secret: secret}}");
    let address = format!("http://127.0.0.1:{port}/webhook");
    hears((&hear, &[]), |_| Box::new(WebhookAnnouncer::open(&address, SECRET.as_bytes()).unwrap()));
}

#[test]
fn what_lies_in_a_folder_is_a_reason_to_look() {
    hears(("folder: announcements", &[]), |path| {
        Box::new(FileAnnouncer::new(path.join("announcements")))
    });
}

#[cfg(feature = "aws")]
#[test]
fn what_a_topic_gives_to_a_queue_is_a_reason_to_look() {
    use kdistro_aws::SnsAnnouncer;
    use kdistro_testbed::{Server, Testbed};

    let bed = Testbed::start(&[Server::Aws]).unwrap();
    let topic = amazon::cli(&bed, &["sns", "create-topic", "--name", "releases"]);
    let topic = topic["TopicArn"].as_str().unwrap().to_owned();
    amazon::cli(&bed, &["sqs", "create-queue", "--queue-name", "dev"]);
    let queue = topic.replace(":sns:", ":sqs:").replace(":releases", ":dev");
    let subscribe = ["sns", "subscribe", "--protocol", "sqs", "--topic-arn", &topic];
    amazon::cli(&bed, &[&subscribe[..], &["--notification-endpoint", &queue]].concat());
    let hear = format!("sqs: {{queue: dev, endpoint: \"{}\"}}", bed.aws());
    hears((&hear, &bed.environment()), |_| Box::new(SnsAnnouncer::new(&amazon::aws(&bed), topic)));
}
