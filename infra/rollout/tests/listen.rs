//! `kdistro-rollout run` hears of a release by the real announcers, and rolls it out by a command.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[cfg(feature = "aws")]
mod amazon;

#[path = "follow/announced.rs"]
mod announced;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "follow/program.rs"]
mod program;

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use jiff::Timestamp;
use kdistro_border::{Announcer, FileAnnouncer, WebhookAnnouncer};
use kdistro_verify::hash::sha256;

use announced::{SECRET, announce, announcement};
use program::Running;

fn announce_from(announcer: &dyn Announcer, environment: &str) {
    announce(announcer, environment, &announcement(environment, 2, sha256(environment.as_bytes())));
}

/// Writes a subscriber's file into a folder, whose store is not there yet; returns where releases are.
fn subscribe(path: &Path, hear: &str, command: &str) -> PathBuf {
    let published = kdistro_testbed::releases().unwrap().join("store");
    fs::copy(published.join("keys/release.pub"), path.join("release.pub")).unwrap();
    fs::write(path.join("secret"), SECRET).unwrap();
    let text = format!(
        "cluster: dev\nstore: {}/store\nkey: release.pub\nenvironment: local\nchannel: 1-20\n\
         hear: {{poll: 1d, {hear}}}\ndriver: {{exec: {{command: [sh, -c, {command:?}]}}}}\nstate: state\n",
        path.display()
    );
    fs::write(path.join("rollout.yaml"), text).unwrap();
    published
}

/// Looks once in vain, as there is no store yet, then hears by `announcer` and rolls out.
fn hears(
    (hear, variables): (&str, &[(String, String)]),
    announcer: impl FnOnce(&Path) -> Box<dyn Announcer>,
) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let done = path.join("done");
    let write = format!("echo $KDISTRO_RELEASE $KDISTRO_MANIFEST >>{}", done.display());
    let published = subscribe(path, hear, &write);
    let running = Running::start(path, variables);
    let said = running.until("error: ");
    assert!(!done.exists(), "{said}");
    symlink(&published, path.join("store")).unwrap();
    let announcer = announcer(path);
    // Another environment's news are no reason to look.
    announce_from(&*announcer, "production");
    thread::sleep(Duration::from_secs(2));
    assert!(!done.exists(), "{}", running.said());
    announce_from(&*announcer, "local");
    let said = running.until_in(&done, "1-20-2 ");
    assert!(said.trim_end().ends_with("/kubernetes-1-20/kubernetes-1-20-2.yaml"), "{said}");
    assert!(!running.until("1-20-2 runs").contains(SECRET));
    // The same once more, and what should have come before it.
    announce_from(&*announcer, "local");
    let late = announcement("local", 1, sha256(b"late"));
    announce(&*announcer, "late", &late);
    thread::sleep(Duration::from_secs(3));
    drop(running);
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

#[test]
fn a_turn_that_comes_long_before_the_next_look_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let published = subscribe(path, "", "true");
    symlink(&published, path.join("store")).unwrap();
    let manifest = published.join("kubernetes-1-20/kubernetes-1-20-2.yaml");
    let manifest = fs::read_to_string(manifest).unwrap();
    let date = manifest.lines().find_map(|line| line.trim().strip_prefix("date: ")).unwrap();
    let date: Timestamp = date.trim_matches('"').parse().unwrap();
    let turn = Timestamp::now() + Duration::from_secs(20);
    let file = path.join("rollout.yaml");
    let after = turn.duration_since(date).as_secs();
    let text = fs::read_to_string(&file).unwrap() + &format!("wave: {{after: {after}s}}\n");
    fs::write(&file, text).unwrap();

    let running = Running::start(path, &[]);
    assert!(!running.until("after its date").contains("1-20-2 runs"));
    running.until("1-20-2 runs");
    // Whole seconds were left out.
    assert!(Timestamp::now() + Duration::from_secs(1) > turn, "{}", running.said());
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

#[cfg(feature = "aws")]
#[test]
fn who_waits_for_a_message_of_a_queue_sleeps() {
    use kdistro_testbed::{Server, Testbed};

    let bed = Testbed::start(&[Server::Aws]).unwrap();
    amazon::cli(&bed, &["sqs", "create-queue", "--queue-name", "dev"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    subscribe(path, &format!("sqs: {{queue: dev, endpoint: \"{}\"}}", bed.aws()), "false");
    let running = Running::start(path, &bed.environment());
    running.until("error: ");
    thread::sleep(Duration::from_secs(5));
    let before = running.sleeps();
    thread::sleep(Duration::from_secs(10));
    let woken = running.sleeps() - before;
    // Once a second to see whether somebody approved, and for an answer now and then.
    assert!(woken < 50, "woken {woken} times in ten seconds");
}

#[cfg(feature = "aws")]
#[test]
fn a_message_is_kept_until_the_look_is_over_and_what_is_none_goes_to_the_dead_letters() {
    use std::time::Instant;

    use kdistro_testbed::{Server, Testbed};
    use serde_json::{Value, json};

    let bed = Testbed::start(&[Server::Aws]).unwrap();
    let create = |name: &str, attributes: &Value| {
        let attributes = attributes.to_string();
        let create = ["sqs", "create-queue", "--queue-name", name, "--attributes", &attributes];
        amazon::cli(&bed, &create)["QueueUrl"].as_str().unwrap().to_owned()
    };
    let count = |queue: &str, what: &str| {
        let query =
            ["sqs", "get-queue-attributes", "--attribute-names", what, "--queue-url", queue];
        amazon::cli(&bed, &query)["Attributes"][what].as_str().unwrap().to_owned()
    };
    let dead = create("dead", &json!({"VisibilityTimeout": "0"}));
    let target = "arn:aws:sqs:us-east-1:000000000000:dead";
    let redrive = json!({"deadLetterTargetArn": target, "maxReceiveCount": "1"}).to_string();
    let queue = create("dev", &json!({"RedrivePolicy": redrive}));
    let send = |body: &str| {
        let send = ["sqs", "send-message", "--queue-url", &queue, "--message-body", body];
        amazon::cli(&bed, &send);
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (began, go) = (path.join("began"), path.join("go"));
    let wait = format!(
        "echo $KDISTRO_RELEASE >{}; until [ -e {} ]; do sleep 0.1; done",
        began.display(),
        go.display()
    );
    let hear = format!("sqs: {{queue: dev, endpoint: \"{}\"}}", bed.aws());
    let published = subscribe(path, &hear, &wait);
    let running = Running::start(path, &bed.environment());
    running.until("error: ");
    symlink(&published, path.join("store")).unwrap();
    send("Hello");
    running.until("is not JSON");
    send(&announcement("local", 2, sha256(b"m")).to_string());
    running.until_in(&began, "1-20-2");
    // Longer than a message is kept at once.
    thread::sleep(Duration::from_secs(65));
    assert_eq!(count(&queue, "ApproximateNumberOfMessagesNotVisible"), "1");
    fs::write(&go, "").unwrap();
    running.until("1-20-2 runs");
    let end = Instant::now() + Duration::from_mins(2);
    while count(&queue, "ApproximateNumberOfMessagesNotVisible") != "0" {
        assert!(Instant::now() < end, "{}", running.said());
        thread::sleep(Duration::from_millis(500));
    }
    let query = ["sqs", "receive-message", "--max-number-of-messages", "10", "--queue-url", &dead];
    let letters = amazon::cli(&bed, &query)["Messages"].clone();
    let letters = letters.as_array().unwrap();
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(letters[0]["Body"], "Hello");
}
