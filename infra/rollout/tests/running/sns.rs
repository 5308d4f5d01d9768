//! Posts to the address for SNS: what it did not send is refused, and no reason to look.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::Duration,
};

use jiff::Timestamp;
use kdistro_border::WebhookAnnouncer;
use serde_json::{Value, json};

use crate::{
    announce_as, announced::SECRET, announcement, await_looks, free_address, scene::Scene,
};

const TOPIC: &str = "arn:aws:sns:us-west-2:123456789012:MyTopic";

/// Sends a request as it is; returns the status of the answer.
fn ask(address: SocketAddr, request: &str) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("{answer:?}"))
}

fn post(address: SocketAddr, path: &str, body: &str) -> u16 {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n");
    ask(address, &format!("{head}\r\n{body}"))
}

/// A proxy that leads nowhere; what it is asked for comes out at the other end.
fn proxy() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (to, asked) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut line) = (stream.unwrap(), String::new());
            BufReader::new(&stream).read_line(&mut line).unwrap();
            let _ = to.send(line.trim().to_owned());
            let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
        }
    });
    (address, asked)
}

/// A notification of now that nobody signed.
fn notification(announced: &Value) -> Value {
    json!({
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Message": announced.to_string(),
        "Timestamp": Timestamp::now().to_string(),
        "SignatureVersion": "2",
        "Signature": "QUJD",
        "SigningCertURL": "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-a.pem",
        "UnsubscribeURL": "https://sns.us-west-2.amazonaws.com/",
    })
}

#[test]
fn what_sns_did_not_send_is_refused_and_no_reason_to_look() {
    let (address, (proxy, asked)) = (free_address(), proxy());
    let mut scene = Scene::new(&format!(
        "poll: 1d, sns: {{listen: \"{address}\", topics: [\"{TOPIC}\"]}}, \
         webhook: {{listen: \"{address}\", secret: secret}}"
    ));
    std::fs::write(scene.path("secret"), SECRET).unwrap();
    let running = scene.run(&[("HTTPS_PROXY".to_owned(), proxy)]);
    running.until("1-20-1 runs");
    let release = scene.release(2);
    scene.publish();
    let whole = notification(&announcement("test", 2, release.digest));
    let with = |field: &str, value: Value| {
        let mut message = whole.clone();
        message[field] = value;
        message.to_string()
    };
    let text = whole.to_string();
    for (body, expected) in [
        (
            with("SigningCertURL", json!("https://sns.us-west-2.amazonaws.com.evil.example/a.pem")),
            401,
        ),
        (with("Signature", Value::Null), 401),
        (with("TopicArn", json!("arn:aws:sns:us-west-2:123456789012:Other")), 401),
        (with("Timestamp", json!("2026-05-02T00:54:06.655Z")), 401),
        (with("Type", json!("Other")), 400),
        (text[..text.len() / 2].to_owned(), 400),
        ("Hello".to_owned(), 400),
        // Raw delivery is signed by nobody.
        (announcement("test", 2, release.digest).to_string(), 400),
    ] {
        assert_eq!(post(address, "/sns", &body), expected, "{body}");
    }
    assert!(asked.try_recv().is_err(), "nobody is asked who is not SNS");
    // Whose certificate cannot be fetched may be SNS: it shall send again.
    assert_eq!(post(address, "/sns", &text), 503);
    let connect = "CONNECT sns.us-west-2.amazonaws.com:443 HTTP/1.1";
    assert_eq!(asked.try_iter().collect::<Vec<_>>(), [connect]);
    let large = format!("POST /sns HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 64 << 20);
    assert_eq!(ask(address, &large), 413);
    assert_eq!(ask(address, "GET /sns HTTP/1.1\r\nHost: a\r\n\r\n"), 405);
    assert_eq!(post(address, "/sns/", &text), 404);
    assert_eq!(scene.done(), ["1-20-1"]);

    // Each of them could have been heard before this one, which is.
    let announcer = WebhookAnnouncer::open(&format!("http://{address}/webhook"), SECRET.as_bytes());
    announce_as(&announcer.unwrap(), "signed", &release);
    let said = running.until("1-20-2 runs");
    assert!(said.contains("note: SNS brought "), "what is refused is said: {said}");
    await_looks(&scene, &running, 2);
    drop(running);
    assert_eq!(scene.looks(), 2, "what is refused is no reason to look");
    assert_eq!(scene.done(), ["1-20-1", "1-20-2"]);
}

#[test]
fn a_path_is_there_only_for_who_is_listened_to() {
    let body = notification(&json!({})).to_string();
    for (hear, sns, webhook) in [
        (format!("sns: {{listen: \"ADDRESS\", topics: [\"{TOPIC}\"]}}"), 400, 404),
        ("webhook: {listen: \"ADDRESS\", secret: secret}".to_owned(), 404, 401),
    ] {
        let address = free_address();
        let hear = hear.replace("ADDRESS", &address.to_string());
        let scene = Scene::new(&format!("poll: 1d, {hear}"));
        std::fs::write(scene.path("secret"), SECRET).unwrap();
        let running = scene.run(&[]);
        running.until("1-20-1 runs");
        assert_eq!(post(address, "/sns", "Hello"), sns, "{hear}");
        assert_eq!(post(address, "/webhook", &body), webhook, "{hear}");
        assert_eq!(post(address, "/", &body), 404, "{hear}");
    }
}
