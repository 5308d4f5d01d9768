//! The webhook from end to end: our own announcer posts to our own receiver, and strangers try what they can.
#![cfg(test)]

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use kdistro_border::{AnnounceError, Announced, Announcer, WebhookAnnouncer};
use kdistro_rollout::receive::{
    Heard, Ignored, Known, Outcome, Receiver, Source,
    http::{Desk, Server},
    webhook::Webhook,
};
use kdistro_verify::hash::sha256;
use serde_json::json;

const SECRET: &[u8] = b"planted-secret-of-the-webhook";

fn start(known: Known) -> Server {
    let desk: Box<dyn Desk> = Box::new(Webhook::new(SECRET).unwrap());
    Server::start("127.0.0.1:0", BTreeMap::from([("/hook".to_owned(), desk)]), known).unwrap()
}

fn announcer(address: SocketAddr, path: &str, secret: &[u8]) -> WebhookAnnouncer {
    WebhookAnnouncer::open(&format!("http://{address}{path}"), secret).unwrap()
}

fn announce(announcer: &WebhookAnnouncer, number: u32) -> Result<Announced, AnnounceError> {
    let digest = |name: &str| sha256(format!("{name} {number}").as_bytes());
    let document =
        |name: &str| json!({"uri": format!("https://a.example/{name}"), "sha256": digest(name)});
    let said = json!({
        "schema": "kdistro.dev/announcement/v1", "environment": "production", "channel": "1-36",
        "number": number, "manifest": document("m"), "bundle": document("b"),
        "severity": "critical", "fixes": ["CVE-2026-1"],
    });
    let message = json!({"default": said.to_string(), "email": "A text"}).to_string();
    let attributes = BTreeMap::from([("channel".to_owned(), "1-36".to_owned())]);
    announcer.announce(&digest("m"), "kdistro is released", &message, &attributes)
}

fn heard(server: &mut Server, patience: Duration) -> Vec<Result<Heard, Ignored>> {
    let mut all = Vec::new();
    let mut tell = |it| {
        all.push(it);
        Outcome::Done
    };
    server.receive(patience, &mut tell).unwrap();
    all
}

fn numbers(server: &mut Server) -> Vec<u32> {
    heard(server, Duration::from_millis(200)).into_iter().map(|it| it.unwrap().number).collect()
}

/// Sends bytes and returns the status that is answered, and how long that took.
fn asked(address: SocketAddr, bytes: &[u8]) -> (String, Duration) {
    let begin = Instant::now();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(bytes).unwrap();
    (status(&mut stream), begin.elapsed())
}

fn status(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn what_our_announcer_posts_is_heard_once() {
    let mut server = start(Known::default());
    let announcer = announcer(server.address(), "/hook", SECRET);
    assert_eq!(announce(&announcer, 7).unwrap(), Announced::New);
    assert_eq!(announce(&announcer, 7).unwrap(), Announced::Repeated);
    assert_eq!(announce(&announcer, 8).unwrap(), Announced::New);
    let all = heard(&mut server, Duration::from_secs(5));
    let all: Vec<_> = all.into_iter().map(Result::unwrap).collect();
    assert_eq!(all.iter().map(|it| it.number).collect::<Vec<_>>(), [7, 8]);
    assert_eq!((all[0].source, all[0].environment.as_str()), (Source::Webhook, "production"));
    assert_eq!(announce(&announcer, 8).unwrap(), Announced::Repeated);
    assert_eq!(numbers(&mut server), [0; 0]);
    // The next run knows what the caller kept.
    let mut server = start(all.iter().map(|it| it.id).collect());
    let announcer = self::announcer(server.address(), "/hook", SECRET);
    assert_eq!(announce(&announcer, 7).unwrap(), Announced::Repeated);
    assert_eq!(announce(&announcer, 9).unwrap(), Announced::New);
    assert_eq!(numbers(&mut server), [9]);
}

#[test]
fn whoever_does_not_know_the_secret_or_the_path_is_not_heard() {
    let mut server = start(Known::default());
    for (path, secret, status) in [
        ("/hook", &b"another-secret-of-somebody"[..], "401"),
        ("/other", SECRET, "404"),
        ("/hook/", SECRET, "404"),
        ("/hook?a", SECRET, "404"),
    ] {
        let error = announce(&announcer(server.address(), path, secret), 7).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.ends_with(&format!("answered {status} {}", reason(status))), "{source}");
    }
    // What is ignored is told with the next news, or after the wait.
    let all = heard(&mut server, Duration::ZERO);
    let [Err(ignored)] = &all[..] else { panic!("{all:?}") };
    assert_eq!(ignored.source.to_string(), "it is not signed with the secret of the webhook");
    // Strangers cannot fill the memory, nor be in the way of news.
    for _ in 0..100 {
        announce(&announcer(server.address(), "/hook", b"another-secret-of-somebody"), 7)
            .unwrap_err();
    }
    announce(&announcer(server.address(), "/hook", SECRET), 7).unwrap();
    let all = heard(&mut server, Duration::from_secs(5));
    assert!(all.len() < 30 && all[0].as_ref().unwrap().number == 7, "{}", all.len());
}

fn reason(status: &str) -> &str {
    if status == "401" { "Unauthorized" } else { "Not Found" }
}

#[test]
fn news_that_nobody_takes_is_sent_again_later() {
    let mut server = start(Known::default());
    let announcer = announcer(server.address(), "/hook", SECRET);
    for number in 1..=64 {
        announce(&announcer, number).unwrap();
    }
    let late = thread::scope(|scope| {
        // It is refused for now, and tried again.
        let late = scope.spawn(|| announce(&announcer, 65));
        thread::sleep(Duration::from_millis(300));
        assert_eq!(numbers(&mut server), (1..=64).collect::<Vec<_>>());
        late.join().unwrap()
    });
    assert_eq!(late.unwrap(), Announced::New);
    assert_eq!(numbers(&mut server), [65]);
}

#[test]
fn bad_requests_are_answered_and_end() {
    let server = start(Known::default());
    let large =
        format!("POST /hook HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n{}", "x".repeat(1_048_577));
    let head = format!("POST /hook HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    for (bytes, wanted) in [
        (&large[..], "413"),
        (&head, "431"),
        ("GET /hook HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
        ("POST /hook HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "411"),
        ("POST /hook HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", "401"),
        ("POST /hook HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}POST /hook", "401"),
        ("\u{16}\u{3}\u{1}\r\n\r\n", "400"),
    ] {
        let (status, took) = asked(server.address(), bytes.as_bytes());
        assert_eq!(status, wanted, "{}", &bytes[..50.min(bytes.len())]);
        assert!(took < Duration::from_secs(5), "{wanted} took {took:?}");
    }
    // One that is cut.
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(b"POST /hook HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(status(&mut stream), "400");
    // One that waits for a word.
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head = "POST /hook HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut word = [0; 25];
    stream.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"{}").unwrap();
    assert_eq!(status(&mut stream), "401");
}

#[test]
fn slow_ones_are_ended_and_the_oldest_of_them_makes_room_for_others() {
    let server = start(Known::default());
    let address = server.address();
    let begun = |bytes: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(bytes.as_bytes()).unwrap();
        stream
    };
    let begin = Instant::now();
    let mut idle: Vec<_> = (0..15).map(|_| begun("POST /hook HT")).collect();
    // A body may take longer than a head.
    let mut slow = begun("POST /hook HTTP/1.1\r\nContent-Length: 2\r\n\r\n{");
    thread::sleep(Duration::from_millis(200));
    for _ in 0..2 {
        let request = b"POST /hook HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(asked(address, request).0, "401");
    }
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    let mut oldest = idle.remove(0);
    assert!(!matches!(oldest.read(&mut [0]), Ok(1)), "it is ended without an answer");
    // A drop now and then does not make it longer.
    let mut drops = idle[9].try_clone().unwrap();
    let drops = thread::spawn(move || {
        while begin.elapsed() < Duration::from_secs(30) && drops.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    });
    for mut stream in idle {
        let mut text = String::new();
        // What came too late resets the connection.
        let _ = stream.read_to_string(&mut text);
        assert!(text.is_empty() || text.contains(" 408 "), "{text}");
    }
    let took = begin.elapsed();
    assert!((Duration::from_secs(2)..Duration::from_secs(6)).contains(&took), "{took:?}");
    slow.write_all(b"}").unwrap();
    assert_eq!(status(&mut slow), "401");
    drops.join().unwrap();
    announce(&announcer(address, "/hook", SECRET), 7).unwrap();
}

#[test]
fn a_server_that_is_dropped_leaves_its_address() {
    let server = start(Known::default());
    let address = server.address();
    drop(server);
    TcpListener::bind(address).unwrap();
}
