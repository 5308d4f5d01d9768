//! What every announcer promises, kept by a topic, and what subscribers get of it.

use std::collections::BTreeMap;

use crate::bed::{BED, Bed, hides_secrets, told, unique};
use crate::contract;
use kdistro_aws::SnsAnnouncer;
use kdistro_border::{AnnounceError, Announced, Announcer};
use kdistro_testbed::{Fault, Proxy};
use kdistro_verify::hash::sha256;
use serde_json::{Value, json};

fn topic(url: &str, name: &str) -> String {
    let client = aws_sdk_sns::Client::new(&Bed::client(url));
    let request = client.create_topic().name(name);
    let is_fifo = name.ends_with("fifo");
    let request = if is_fifo { request.attributes("FifoTopic", "true") } else { request };
    BED.wait(request.send()).unwrap().topic_arn().unwrap().to_owned()
}

/// Makes a queue that gets what a topic publishes; returns its URL.
fn subscriber(topic: &str, name: &str, attributes: &[&str]) -> String {
    let create = [&["sqs", "create-queue", "--queue-name", name], attributes].concat();
    let url = BED.cli(&create)["QueueUrl"].as_str().unwrap().to_owned();
    let query = ["sqs", "get-queue-attributes", "--attribute-names", "QueueArn", "--queue-url"];
    let arn = BED.cli(&[&query[..], &[&url]].concat());
    let arn = arn["Attributes"]["QueueArn"].as_str().unwrap();
    BED.cli(&[
        "sns",
        "subscribe",
        "--topic-arn",
        topic,
        "--protocol",
        "sqs",
        "--notification-endpoint",
        arn,
    ]);
    url
}

/// Takes all messages of a queue.
fn received(queue: &str) -> Vec<Value> {
    let receive =
        ["sqs", "receive-message", "--max-number-of-messages", "10", "--queue-url", queue];
    let messages = BED.cli(&receive);
    let messages = messages["Messages"].as_array().cloned().unwrap_or_default();
    messages.iter().map(|it| serde_json::from_str(it["Body"].as_str().unwrap()).unwrap()).collect()
}

fn attributes() -> BTreeMap<String, String> {
    let pairs = [("channel", "1-36"), ("environment", "production"), ("number", "7")];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

#[test]
fn a_topic_keeps_the_promises_of_an_announcer() {
    for url in [BED.servers.aws(), BED.servers.moto()] {
        let arn = topic(url, &unique("topic"));
        contract::announcer::check_all(&SnsAnnouncer::new(&BED.aws_at(url), arn), Announced::New);
    }
}

#[test]
fn a_subscriber_gets_document_and_attributes() {
    let arn = topic(BED.servers.aws(), &unique("updates"));
    let queue = subscriber(&arn, &unique("queue"), &[]);
    let announcer = SnsAnnouncer::new(&BED.aws_at(BED.servers.aws()), arn.as_str());
    let document = r#"{"number":7,"url":"https://example.org/\u00e4"}"#;
    let message = json!({"default": document, "email": "Release 7"}).to_string();
    let id = sha256(b"manifest");
    let announced = announcer.announce(&id, "Release 1-36-7", &message, &attributes());
    assert_eq!(announced.unwrap(), Announced::New);
    let messages = received(&queue);
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0]["Subject"], "Release 1-36-7");
    assert_eq!(messages[0]["TopicArn"], arn);
    // The document as it is, not the object of texts around it.
    assert_eq!(messages[0]["Message"], document);
    for (name, value) in attributes() {
        let expected = json!({"Type": "String", "Value": value});
        assert_eq!(messages[0]["MessageAttributes"][name], expected);
    }
}

#[test]
fn a_fifo_topic_drops_repeats_by_their_id() {
    let arn = topic(BED.servers.aws(), &format!("{}.fifo", unique("updates")));
    let queue =
        subscriber(&arn, &format!("{}.fifo", unique("queue")), &["--attributes", "FifoQueue=true"]);
    let announcer = SnsAnnouncer::new(&BED.aws_at(BED.servers.aws()), arn);
    for (id, text) in [(b"1", "one"), (b"1", "one, said otherwise"), (b"2", "two")] {
        let message = json!({"default": text}).to_string();
        let announced = announcer.announce(&sha256(id), "Release", &message, &attributes());
        assert_eq!(announced.unwrap(), Announced::New);
    }
    // A FIFO queue hands out the next of a group when the first was deleted, or both at once.
    let messages = received(&queue);
    assert_eq!(messages[0]["Message"], "one");
    assert!(messages.iter().all(|it| it["Message"] != "one, said otherwise"), "{messages:?}");
}

#[test]
fn what_goes_wrong_names_the_topic() {
    let announce = |url: &str, arn: &str| {
        let announcer = SnsAnnouncer::new(&BED.aws_at(url), arn);
        hides_secrets(&announcer);
        let error = announcer
            .announce(&sha256(b"x"), "s", r#"{"default":"x"}"#, &BTreeMap::new())
            .unwrap_err();
        assert!(matches!(error, AnnounceError::Service { .. }), "{error}");
        told(&error)
    };
    let absent = "arn:aws:sns:us-east-1:000000000000:absent";
    let text = announce(BED.servers.aws(), absent);
    let expected = format!("cannot announce `s`: topic `{absent}` answers NotFound: ");
    assert!(text.starts_with(&expected), "{text}");
    assert!(
        text.ends_with("\nhelp:  make it first, or correct its name, its region or the account"),
        "{text}"
    );
    for (code, help) in [
        ("AuthorizationError", "the role may not do this"),
        ("ExpiredToken", "the credentials have expired"),
        ("InvalidClientTokenId", "AWS does not know these credentials"),
    ] {
        let body = format!(
            "<ErrorResponse><Error><Code>{code}</Code><Message>M</Message></Error></ErrorResponse>"
        );
        let rule = move |_: &_| Fault::Status(403, body.clone());
        let proxy = Proxy::start(BED.servers.aws(), rule).unwrap();
        let text = announce(&proxy.url(), absent);
        assert!(
            text.contains(&format!("topic `{absent}` answers {code}: M\nhelp:  {help}")),
            "{text}"
        );
    }
}

#[test]
fn a_fault_at_the_first_request_is_overcome() {
    let arn = topic(BED.servers.aws(), &unique("updates"));
    let queue = subscriber(&arn, &unique("queue"), &[]);
    for kind in 0..3 {
        let rule = move |request: &kdistro_testbed::Request| match (request.number, kind) {
            (1, 0) => Fault::Status(500, String::new()),
            (1, 1) => Fault::Reset,
            (1, _) => Fault::ResetAfter,
            _ => Fault::None,
        };
        let proxy = Proxy::start(BED.servers.aws(), rule).unwrap();
        let announcer = SnsAnnouncer::new(&BED.aws_at(&proxy.url()), arn.as_str());
        let id = sha256(&[kind]);
        announcer.announce(&id, "s", r#"{"default":"x"}"#, &BTreeMap::new()).unwrap();
    }
    // At least once: the one whose answer was lost came twice.
    assert_eq!(received(&queue).len(), 4);
}
