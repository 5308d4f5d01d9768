//! A queue that subscribes to a topic, with dead letters, as subscribers have one.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use crate::bed::{BED, hides_secrets, told, unique};
use kdistro_aws::{Fate, Letter, SnsAnnouncer, SqsQueue};
use kdistro_border::Announcer;
use kdistro_testbed::{Fault, Proxy, Request};
use kdistro_verify::hash::sha256;
use serde_json::{Value, json};

const SECOND: Duration = Duration::from_secs(1);

/// A topic, a queue that subscribes to it, and where that queue's dead letters go after two attempts.
struct Subscription {
    announcer: SnsAnnouncer,
    queue: String,
    dead: String,
}

fn arn(queue: &str) -> String {
    let query =
        ["sqs", "get-queue-attributes", "--attribute-names", "QueueArn", "--queue-url", queue];
    BED.cli(&query)["Attributes"]["QueueArn"].as_str().unwrap().to_owned()
}

fn create(kind: &str, attributes: &Value) -> String {
    let (name, attributes) = (unique(kind), attributes.to_string());
    let create = ["sqs", "create-queue", "--queue-name", &name, "--attributes", &attributes];
    BED.cli(&create)["QueueUrl"].as_str().unwrap().to_owned()
}

impl Subscription {
    fn new() -> Self {
        let topic = BED.cli(&["sns", "create-topic", "--name", &unique("updates")]);
        let topic = topic["TopicArn"].as_str().unwrap();
        let dead = create("dead", &json!({"VisibilityTimeout": "0"}));
        let redrive = json!({"deadLetterTargetArn": arn(&dead), "maxReceiveCount": "2"});
        let queue = create("queue", &json!({"RedrivePolicy": redrive.to_string()}));
        let subscribe = ["sns", "subscribe", "--protocol", "sqs", "--topic-arn", topic];
        BED.cli(&[&subscribe[..], &["--notification-endpoint", &arn(&queue)]].concat());
        let announcer = SnsAnnouncer::new(&BED.aws_at(BED.servers.aws()), topic);
        Self { announcer, queue, dead }
    }

    fn announce(&self, text: &str) {
        let message = json!({"default": text}).to_string();
        self.announcer.announce(&sha256(b"x"), "s", &message, &BTreeMap::new()).unwrap();
    }

    fn open(&self, seconds: u64) -> SqsQueue {
        open(&self.queue).with_visibility(SECOND * u32::try_from(seconds).unwrap())
    }

    /// How many messages the queue holds: those that wait, and those that somebody has.
    fn count(&self) -> (u32, u32) {
        let query = ["sqs", "get-queue-attributes", "--attribute-names", "All", "--queue-url"];
        let all = BED.cli(&[&query[..], &[&self.queue]].concat());
        let number = |name: &str| all["Attributes"][name].as_str().unwrap().parse().unwrap();
        (number("ApproximateNumberOfMessages"), number("ApproximateNumberOfMessagesNotVisible"))
    }
}

fn open(url: &str) -> SqsQueue {
    SqsQueue::new(&BED.aws_at(BED.servers.aws()), url)
}

/// Takes one message, if there is one.
fn take(queue: &SqsQueue, patience: Duration, fate: Fate) -> Option<String> {
    let mut taken = None;
    let mut work = |letter: &Letter| {
        let body: Value = serde_json::from_str(&letter.body).unwrap();
        taken = Some(body["Message"].as_str().unwrap().to_owned());
        fate
    };
    let count = queue.receive(patience, &mut work).unwrap();
    assert_eq!(count, usize::from(taken.is_some()));
    taken
}

#[test]
fn what_is_dealt_with_is_deleted() {
    let subscription = Subscription::new();
    let queue = subscription.open(60);
    assert_eq!(take(&queue, Duration::ZERO, Fate::Deleted), None);
    subscription.announce("one");
    subscription.announce("two");
    let mut taken: Vec<_> =
        (0..2).map(|_| take(&queue, 5 * SECOND, Fate::Deleted).unwrap()).collect();
    taken.sort();
    assert_eq!(taken, ["one", "two"]);
    assert_eq!(subscription.count(), (0, 0));
}

#[test]
fn what_fails_comes_again_and_goes_to_the_dead_letters() {
    let subscription = Subscription::new();
    let queue = subscription.open(1);
    subscription.announce("bad");
    for attempt in 0..2 {
        let taken = take(&queue, 5 * SECOND, Fate::Left);
        assert_eq!(taken.as_deref(), Some("bad"), "attempt {attempt}");
    }
    assert_eq!(take(&queue, 3 * SECOND, Fate::Deleted), None, "it is tried for ever");
    assert_eq!(take(&open(&subscription.dead), 5 * SECOND, Fate::Deleted).as_deref(), Some("bad"));
    // The next is not in its way.
    subscription.announce("good");
    assert_eq!(take(&queue, 5 * SECOND, Fate::Deleted).as_deref(), Some("good"));
}

#[test]
fn nobody_else_gets_what_is_worked_on_however_long_that_takes() {
    let subscription = Subscription::new();
    let queue = subscription.open(2);
    subscription.announce("one");
    let (other, mut others) = (subscription.open(2), Vec::new());
    let mut work = |_: &Letter| {
        let begin = Instant::now();
        while begin.elapsed() < 6 * SECOND {
            thread::sleep(SECOND);
            others.extend(take(&other, Duration::ZERO, Fate::Left));
        }
        Fate::Deleted
    };
    assert_eq!(queue.receive(5 * SECOND, &mut work).unwrap(), 1);
    assert_eq!(others, [""; 0]);
    assert_eq!(subscription.count(), (0, 0));
}

#[test]
fn whoever_dies_at_work_leaves_the_message_to_others() {
    let subscription = Subscription::new();
    subscription.announce("one");
    let queue = subscription.open(1);
    let died = thread::spawn(move || queue.receive(5 * SECOND, &mut |_| panic!("planned")));
    died.join().unwrap_err();
    let taken = take(&subscription.open(1), 5 * SECOND, Fate::Deleted);
    assert_eq!(taken.as_deref(), Some("one"), "it is kept by the dead");
}

#[test]
fn whoever_waits_hears_at_once() {
    let subscription = Subscription::new();
    let queue = subscription.open(60);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let taken = take(&queue, Duration::from_hours(1), Fate::Deleted);
            (taken, Instant::now())
        });
        thread::sleep(SECOND / 2);
        let announced = Instant::now();
        subscription.announce("one");
        let (taken, heard) = waiting.join().unwrap();
        assert_eq!(taken.as_deref(), Some("one"));
        assert!(heard.duration_since(announced) < 5 * SECOND);
    });
}

#[test]
fn faults_are_overcome_or_name_the_queue() {
    let subscription = Subscription::new();
    subscription.announce("one");
    let rule = |request: &Request| match request.number {
        1 => Fault::Status(500, String::new()),
        3 => Fault::Reset,
        _ => Fault::None,
    };
    let proxy = Proxy::start(BED.servers.aws(), rule).unwrap();
    let queue = SqsQueue::new(&BED.aws_at(&proxy.url()), subscription.queue.as_str());
    assert_eq!(take(&queue, 5 * SECOND, Fate::Deleted).as_deref(), Some("one"));
    assert_eq!(subscription.count(), (0, 0));
    hides_secrets(&queue);
    let absent = subscription.queue.replace("/queue", "/absent");
    let error = open(&absent).receive(SECOND, &mut |_| Fate::Deleted).unwrap_err();
    let text = told(&error);
    assert!(text.starts_with(&format!("queue `{absent}` answers ")), "{text}");
    // What was dealt with, and cannot be deleted, is told: it will come again.
    subscription.announce("two");
    let rule = |request: &Request| match request.number {
        1 => Fault::None,
        _ => Fault::Status(500, String::new()),
    };
    let proxy = Proxy::start(BED.servers.aws(), rule).unwrap();
    let queue = SqsQueue::new(&BED.aws_at(&proxy.url()), subscription.queue.as_str());
    let error = queue.receive(5 * SECOND, &mut |_| Fate::Deleted).unwrap_err();
    assert!(told(&error).contains(&subscription.queue), "{}", told(&error));
}
