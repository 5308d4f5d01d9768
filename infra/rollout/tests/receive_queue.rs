//! A release is announced to a topic, and heard by a queue that subscribes to it.
#![cfg(test)]
#![cfg(feature = "aws")]

mod amazon;

use std::{collections::BTreeMap, time::Duration};

use kdistro_aws::{SnsAnnouncer, SqsQueue};
use kdistro_border::Announcer;
use kdistro_rollout::receive::{Heard, Ignored, Outcome, Receiver, Source, queue::Queue};
use kdistro_testbed::{Server, Testbed};
use kdistro_verify::hash::sha256;
use serde_json::{Value, json};

use amazon::{aws, cli};

const PATIENCE: Duration = Duration::from_secs(5);

fn arn(bed: &Testbed, queue: &str) -> String {
    let query = ["sqs", "get-queue-attributes", "--attribute-names", "QueueArn", "--queue-url"];
    let all = cli(bed, &[&query[..], &[queue]].concat());
    all["Attributes"]["QueueArn"].as_str().unwrap().to_owned()
}

fn create(bed: &Testbed, name: &str, attributes: &Value) -> String {
    let attributes = attributes.to_string();
    let create = ["sqs", "create-queue", "--queue-name", name, "--attributes", &attributes];
    cli(bed, &create)["QueueUrl"].as_str().unwrap().to_owned()
}

fn announcement(number: u32) -> String {
    let document = json!({"uri": "https://a.example/m", "sha256": sha256(&number.to_be_bytes())});
    let said = json!({
        "schema": "kdistro.dev/announcement/v1", "environment": "production", "channel": "1-36",
        "number": number, "manifest": document, "bundle": document, "severity": "critical", "fixes": [],
    });
    said.to_string()
}

fn receive(queue: &mut Queue) -> Option<Result<Heard, Ignored>> {
    let mut told = None;
    let mut tell = |it: Result<Heard, Ignored>| {
        let outcome = if it.is_ok() { Outcome::Done } else { Outcome::Later };
        told = Some(it);
        outcome
    };
    queue.receive(PATIENCE, &mut tell).unwrap();
    told
}

#[test]
fn an_announcement_is_heard_and_what_is_none_goes_to_the_dead_letters() {
    let bed = Testbed::start(&[Server::Aws]).unwrap();
    let topic = cli(&bed, &["sns", "create-topic", "--name", "updates"]);
    let topic = topic["TopicArn"].as_str().unwrap();
    let dead = create(&bed, "dead", &json!({"VisibilityTimeout": "0"}));
    let redrive = json!({"deadLetterTargetArn": arn(&bed, &dead), "maxReceiveCount": "1"});
    let url = create(&bed, "queue", &json!({"RedrivePolicy": redrive.to_string()}));
    let endpoint = arn(&bed, &url);
    let subscribe = ["sns", "subscribe", "--topic-arn", topic, "--protocol", "sqs"];
    cli(&bed, &[&subscribe[..], &["--notification-endpoint", &endpoint]].concat());
    let aws = aws(&bed);
    let announcer = SnsAnnouncer::new(&aws, topic);
    let announce = |text: &str| {
        let message = json!({"default": text, "email": "A text"}).to_string();
        announcer.announce(&sha256(b"x"), "s", &message, &BTreeMap::new()).unwrap();
    };
    let open = |topic: &str| {
        let queue = SqsQueue::new(&aws, url.as_str()).with_visibility(Duration::from_secs(1));
        Queue::new(queue, vec![topic.to_owned()])
    };
    let mut queue = open(topic);
    announce(&announcement(7));
    let heard = receive(&mut queue).unwrap().unwrap();
    assert_eq!((heard.number, heard.source), (7, Source::Queue));
    // Raw, as SNS delivers it where that is asked for, or somebody by hand.
    cli(&bed, &["sqs", "send-message", "--queue-url", &url, "--message-body", &announcement(8)]);
    assert_eq!(receive(&mut queue).unwrap().unwrap().number, 8);
    // By its name, too.
    announce(&announcement(10));
    let mut named = Queue::new(SqsQueue::new(&aws, "queue"), Vec::new());
    assert_eq!(receive(&mut named).unwrap().unwrap().number, 10);
    let mut unknown = Queue::new(SqsQueue::new(&aws, "nobodys"), Vec::new());
    let error = unknown.receive(PATIENCE, &mut |_| Outcome::Later).unwrap_err();
    assert!(format!("{:?}", error.source).contains("nobodys"), "{:?}", error.source);
    announce("Hello");
    let ignored = receive(&mut queue).unwrap().unwrap_err();
    assert!(ignored.source.to_string().starts_with("it is not JSON"), "{}", ignored.source);
    // Another topic than the settings name.
    announce(&announcement(9));
    let mut other = open("arn:aws:sns:us-east-1:000000000000:other");
    let ignored = receive(&mut other).unwrap().unwrap_err();
    assert!(ignored.source.to_string().starts_with("it comes from the topic"));
    // Neither comes again: both are among the dead letters.
    assert!(receive(&mut queue).is_none());
    let query = ["sqs", "receive-message", "--max-number-of-messages", "10", "--queue-url", &dead];
    assert_eq!(cli(&bed, &query)["Messages"].as_array().unwrap().len(), 2);
}
