//! Messages of SNS in their real shape, signed by openssl with a key of our own in place of Amazon's, and what others
//! would make of them.
#![cfg(test)]
#![expect(
    clippy::disallowed_methods,
    reason = "openssl signs, so that no code of ours judges itself"
)]

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use kdistro_rollout::receive::{
    Known, Outcome, Receiver, Source,
    http::{Desk, Request, Server, Taken},
    sns::{Address, Https, Outside, Sns},
};
use kdistro_verify::hash::sha256;
use rcgen::{
    CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, date_time_ymd,
};
use serde_json::{Value, json};

const TOPIC: &str = "arn:aws:sns:us-west-2:123456789012:MyTopic";
const CERTIFICATE: &str = "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem";
const SENT: &str = "2026-05-02T00:54:06.655Z";
const NOW: &str = "2026-05-02T00:54:07Z";

static KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap());
static OTHER: LazyLock<KeyPair> =
    LazyLock::new(|| KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap());

/// A certificate of 2026 in PEM.
fn certificate(name: &str, key: &KeyPair) -> String {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.not_before = date_time_ymd(2026, 1, 1);
    parameters.not_after = date_time_ymd(2026, 12, 31);
    parameters.self_signed(key).unwrap().pem()
}

/// Signs as Amazon's page says, by another program and from the message alone.
fn sign(message: &Value, key: &KeyPair, algorithm: &str) -> String {
    let names: &[&str] = if message["Type"] == "Notification" {
        &["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
    } else {
        &["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    };
    let lines =
        names.iter().filter_map(|name| Some(format!("{name}\n{}\n", message[name].as_str()?)));
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("text"), lines.collect::<String>()).unwrap();
    fs::write(at("key"), key.serialize_pem()).unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", algorithm, "-sign"]).arg(at("key")).arg("-out").arg(at("signature"));
    let output = openssl.arg(at("text")).output().expect("install the Debian package openssl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    STANDARD.encode(fs::read(at("signature")).unwrap())
}

fn announcement(number: u32) -> String {
    let digest = sha256(&number.to_be_bytes());
    let document = json!({"uri": "https://a.example/m", "sha256": digest});
    let said = json!({
        "schema": "kdistro.dev/announcement/v1", "environment": "production", "channel": "1-36",
        "number": number, "manifest": document, "bundle": document, "severity": "critical", "fixes": [],
        "yanked": "it says \"é\" and\nends",
    });
    said.to_string()
}

/// A notification as Amazon's pages show it.
fn notification(number: u32) -> Value {
    json!({
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Subject": "My First Message",
        "Message": announcement(number),
        "Timestamp": SENT,
        "SigningCertURL": CERTIFICATE,
        "UnsubscribeURL": "https://sns.us-west-2.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=x",
    })
}

fn confirmation(kind: &str) -> Value {
    let token = "2336412f37fb687f5d51e6e241d09c805a5a57b30d712f794cc5f6a988666d92";
    let site = "https://sns.us-west-2.amazonaws.com/";
    json!({
        "Type": kind,
        "MessageId": "165545c9-2a5c-472c-8df2-7ff2be2b3b1b",
        "Token": token,
        "TopicArn": TOPIC,
        "Message": format!("You have chosen to subscribe to the topic {TOPIC}.\nVisit the SubscribeURL."),
        "SubscribeURL": format!("{site}?Action=ConfirmSubscription&TopicArn={TOPIC}&Token={token}"),
        "Timestamp": SENT,
        "SigningCertURL": CERTIFICATE,
    })
}

fn signed(mut message: Value, version: &str) -> Value {
    let algorithm = if version == "1" { "-sha1" } else { "-sha256" };
    message["Signature"] = sign(&message, &KEY, algorithm).into();
    message["SignatureVersion"] = version.into();
    message
}

/// What stands in for SNS: hands out one certificate, and notes what is asked.
#[derive(Clone, Default)]
struct Stand {
    certificate: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Outside for Stand {
    fn fetch(&self, address: &Address) -> Result<Vec<u8>, Box<dyn Error + Send + Sync>> {
        self.asked.lock().unwrap().push(address.as_str().to_owned());
        if self.certificate.is_empty() {
            return Err("no way".into());
        }
        Ok(self.certificate.clone().into_bytes())
    }
}

impl Stand {
    fn new(name: &str, key: &KeyPair) -> Self {
        Self { certificate: certificate(name, key), asked: Arc::default() }
    }

    fn desk(&self, now: &str) -> Sns {
        let now: Timestamp = now.parse().unwrap();
        Sns::new(&[TOPIC.to_owned()], Box::new(self.clone()), Box::new(move || now)).unwrap()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn take(desk: &Sns, message: &Value) -> Taken {
    desk.take(&Request { headers: Vec::new(), body: message.to_string().into_bytes() })
}

/// The status and what is said of something that is refused.
fn refused(desk: &Sns, message: &Value) -> String {
    match take(desk, message) {
        Taken::Refused(status, ignored) => format!("{} {}", status as u16, ignored.source),
        other => panic!("{other:?}"),
    }
}

#[test]
fn both_versions_of_signatures_are_heard_with_and_without_a_subject() {
    let stand = Stand::new("sns.amazonaws.com", &KEY);
    let desk = stand.desk(NOW);
    for version in ["1", "2"] {
        for subject in [true, false] {
            let mut message = notification(7);
            if !subject {
                message.as_object_mut().unwrap().remove("Subject");
            }
            let taken = take(&desk, &signed(message, version));
            let Taken::News(heard) = taken else { panic!("{taken:?}") };
            assert_eq!((heard.number, heard.yanked, heard.source), (7, true, Source::Sns));
        }
    }
    assert_eq!(stand.asked(), [CERTIFICATE], "the certificate is fetched more than once");
}

#[test]
fn a_message_that_was_changed_anywhere_is_forged() {
    let desk = Stand::new("sns.amazonaws.com", &KEY).desk(NOW);
    let whole = signed(notification(7), "2");
    for (field, value) in [
        ("Message", json!(announcement(8))),
        ("MessageId", json!("22b80b92-fdea-4c2c-8f9d-bdfb0c7bf325")),
        ("Subject", json!("Other")),
        ("Subject", Value::Null),
        ("Timestamp", json!("2026-05-02T00:54:06.656Z")),
        ("Signature", json!("")),
        ("Signature", json!("no base64!")),
        ("Signature", json!(sign(&notification(7), &OTHER, "-sha256"))),
        ("SignatureVersion", json!("1")),
    ] {
        let mut changed = whole.clone();
        changed[field] = value;
        let told = refused(&desk, &changed);
        assert!(told.starts_with("401 its signature is not by the key of https://sns."), "{told}");
    }
    // A line that moves from one field to the next would be the same text.
    let mut moved = whole.clone();
    moved["Message"] = format!("{}\nMessageId\nx", announcement(7)).into();
    assert!(refused(&desk, &moved).starts_with("401 its signature"));
}

#[test]
fn what_comes_from_elsewhere_is_refused_before_anything_is_fetched() {
    let stand = Stand::new("sns.amazonaws.com", &KEY);
    let desk = stand.desk(NOW);
    let other = "arn:aws:sns:us-west-2:123456789012:Other";
    for (field, value, expected) in [
        (
            "TopicArn",
            json!(other),
            "401 it comes from the topic `arn:aws:sns:us-west-2:123456789012:Other`",
        ),
        (
            "SigningCertURL",
            json!("https://sns.us-west-2.amazonaws.com.evil.example/a.pem"),
            "401 its `SigningCertURL` is",
        ),
        (
            "SigningCertURL",
            json!("http://sns.us-west-2.amazonaws.com/a.pem"),
            "401 its `SigningCertURL` is",
        ),
        ("SigningCertURL", Value::Null, "401 it has no `SigningCertURL`"),
        ("Signature", Value::Null, "401 it has no `Signature`"),
        ("SignatureVersion", Value::Null, "401 it has no `SignatureVersion`"),
        ("SignatureVersion", json!("3"), "401 its `SignatureVersion` is `3`"),
        ("Timestamp", json!("yesterday"), "401 its `Timestamp` is `yesterday`"),
        (
            "Timestamp",
            json!("2026-05-01T23:54:06.999Z"),
            "401 it is of 2026-05-01T23:54:06.999Z and came at",
        ),
        (
            "Timestamp",
            json!("2026-05-02T00:59:08Z"),
            "401 it is of 2026-05-02T00:59:08Z and came at",
        ),
        ("Type", json!("Other"), "400 it is not a message of SNS"),
        ("Message", json!(7), "400 it is not a message of SNS"),
    ] {
        let mut message = notification(7);
        message[field] = value;
        let mut message = signed_as_is(message);
        if field == "Signature" {
            message[field] = Value::Null;
        }
        let told = refused(&desk, &message);
        assert!(told.starts_with(expected), "{told}");
    }
    let raw = Request { headers: Vec::new(), body: announcement(7).into_bytes() };
    assert!(matches!(desk.take(&raw), Taken::Refused(..)), "raw delivery is not signed");
    let text = signed(notification(7), "2").to_string();
    for length in (0..text.len()).step_by(97) {
        let cut = Request { headers: Vec::new(), body: text.as_bytes()[..length].to_vec() };
        assert!(matches!(desk.take(&cut), Taken::Refused(..)));
    }
    assert_eq!(stand.asked(), [""; 0]);
}

/// Signs whatever it is, and leaves a version that was set.
fn signed_as_is(mut message: Value) -> Value {
    message["Signature"] = sign(&message, &KEY, "-sha256").into();
    if message.get("SignatureVersion").is_none() {
        message["SignatureVersion"] = "2".into();
    }
    message
}

#[test]
fn a_recorded_message_is_a_replay_after_an_hour() {
    let stand = Stand::new("sns.amazonaws.com", &KEY);
    let message = signed(notification(7), "2");
    for (now, is_heard) in [
        ("2026-05-02T00:49:07Z", true),
        ("2026-05-02T00:49:06Z", false),
        ("2026-05-02T01:54:06Z", true),
        ("2026-05-02T01:54:07Z", false),
        ("2027-05-02T00:54:07Z", false),
    ] {
        let taken = take(&stand.desk(now), &message);
        assert_eq!(matches!(taken, Taken::News(_)), is_heard, "{now}: {taken:?}");
    }
}

#[test]
fn only_a_certificate_of_sns_that_lasts_is_believed() {
    let message = signed(notification(7), "2");
    let elliptic = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let bad = |certificate: String| Stand { certificate, asked: Arc::default() };
    let good = certificate("sns.amazonaws.com", &KEY);
    for (stand, expected) in [
        (Stand::new("evil.example", &KEY), "is for `evil.example`; expected `sns.amazonaws.com`"),
        (Stand::new("sns-signing.eu-west-1.amazonaws.com", &KEY), "is for `sns-signing.eu-west-1"),
        (Stand::new("sns.amazonaws.com", &OTHER), "its signature is not by the key"),
        (Stand::new("sns.amazonaws.com", &elliptic), "has no RSA key"),
        (bad(good[..200].to_owned()), "is not one in PEM"),
        (bad("<html>".to_owned()), "is not one in PEM"),
        (bad(KEY.serialize_pem()), "is not one in PEM"),
    ] {
        let told = refused(&stand.desk(NOW), &message);
        assert!(told.starts_with("401 ") && told.contains(expected), "{told}");
    }
    for name in ["sns-signing.us-west-2.amazonaws.com", "sns-us-west-2.amazonaws.com"] {
        let taken = take(&Stand::new(name, &KEY).desk(NOW), &message);
        assert!(matches!(taken, Taken::News(_)), "{taken:?}");
    }
    // The first of several is the one that signs.
    let chain = format!("{good}{}", certificate("Amazon RSA 2048 M01", &OTHER));
    let taken = take(&bad(chain).desk(NOW), &message);
    assert!(matches!(taken, Taken::News(_)), "{taken:?}");
    // Before and after its time.
    for (sent, now) in [
        ("2025-12-31T23:59:59Z", "2025-12-31T23:59:59Z"),
        ("2027-01-02T00:00:00Z", "2027-01-02T00:00:00Z"),
    ] {
        let mut message = notification(7);
        message["Timestamp"] = sent.into();
        let stand = Stand::new("sns.amazonaws.com", &KEY);
        let told = refused(&stand.desk(now), &signed(message, "2"));
        assert!(told.ends_with(&format!("is not valid at {now}")), "{told}");
    }
    // SNS cannot be reached: it shall send again.
    let told = refused(&bad(String::new()).desk(NOW), &message);
    assert!(
        told.starts_with("503 cannot fetch https://sns.us-west-2.amazonaws.com/Simple"),
        "{told}"
    );
}

#[test]
fn a_subscription_is_confirmed_where_it_is_ours() {
    let stand = Stand::new("sns.amazonaws.com", &KEY);
    let desk = stand.desk(NOW);
    let message = confirmation("SubscriptionConfirmation");
    let address = message["SubscribeURL"].as_str().unwrap().to_owned();
    for version in ["1", "2"] {
        let taken = take(&desk, &signed(message.clone(), version));
        assert!(matches!(taken, Taken::Nothing), "{taken:?}");
    }
    assert_eq!(stand.asked(), [CERTIFICATE, &address, &address]);
    for (from, to) in [
        ("https://sns.us-west-2.amazonaws.com/?", "https://evil.example/?"),
        ("MyTopic", "Other"),
        ("Action=ConfirmSubscription", "Action=Subscribe"),
        ("Token=2336", "Token=2337"),
    ] {
        let mut message = message.clone();
        message["SubscribeURL"] = address.replace(from, to).into();
        let told = refused(&desk, &signed(message, "2"));
        assert!(told.starts_with("401 its `SubscribeURL` is `https://"), "{told}");
        assert!(!told.contains("2336"), "a token is shown: {told}");
    }
    let mut changed = signed(message.clone(), "2");
    changed["Token"] = "other".into();
    assert!(refused(&desk, &changed).starts_with("401 its signature"), "the token is not signed");
    let mut other = message;
    other["TopicArn"] = "arn:aws:sns:us-west-2:123456789012:Other".into();
    assert!(refused(&desk, &signed(other, "2")).starts_with("401 it comes from the topic"));
    assert_eq!(stand.asked().len(), 3, "something else was fetched: {:?}", stand.asked());
    let told = refused(&desk, &signed(confirmation("UnsubscribeConfirmation"), "2"));
    assert_eq!(told, "204 it is a UnsubscribeConfirmation of SNS");
    assert_eq!(stand.asked().len(), 3, "it subscribed again");
}

#[test]
fn sns_posts_to_the_same_server() {
    let desk: Box<dyn Desk> = Box::new(Stand::new("sns.amazonaws.com", &KEY).desk(NOW));
    let desks = BTreeMap::from([("/sns".to_owned(), desk)]);
    let mut server = Server::start("127.0.0.1:0", desks, Known::default()).unwrap();
    let body = signed(notification(7), "1").to_string();
    // Its headers as Amazon's page shows them.
    let head = format!(
        "POST /sns HTTP/1.1\r\nx-amz-sns-message-type: Notification\r\nx-amz-sns-topic-arn: {TOPIC}\r\n\
         Content-Length: {}\r\nContent-Type: text/plain; charset=UTF-8\r\nHost: myhost.example.com\r\n\
         Connection: Keep-Alive\r\nUser-Agent: Amazon Simple Notification Service Agent\r\n\r\n",
        body.len()
    );
    for expected in ["HTTP/1.1 204 ", "HTTP/1.1 409 "] {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(expected), "{answer}");
    }
    let mut numbers = Vec::new();
    let mut tell = |heard: Result<kdistro_rollout::receive::Heard, _>| {
        numbers.push(heard.unwrap().number);
        Outcome::Done
    };
    server.receive(Duration::from_secs(5), &mut tell).unwrap();
    assert_eq!(numbers, [7]);
    // The real way outside can be made; no test asks Amazon.
    Https::new(None).unwrap();
    Https::new(Some("http://127.0.0.1:3128")).unwrap();
}
