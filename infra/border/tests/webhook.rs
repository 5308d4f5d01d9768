//! What an announcer to a web address promises, and to whom it sends what.
#![cfg(test)]
#![expect(
    clippy::disallowed_methods,
    reason = "tests start a receiver that others could have written"
)]

#[path = "contract/announcer.rs"]
mod contract;
#[path = "contract/recording.rs"]
mod recording;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use kdistro_border::{AnnounceError, Announced, Announcer, WebhookAnnouncer};
use kdistro_verify::hash::sha256;

use crate::recording::{Recorder, Tls, answer, whole};

static TLS: LazyLock<Tls> = LazyLock::new(Tls::new);

const SECRET: &[u8] = b"planted-secret-of-the-webhook";

/// A receiver as a subscriber would write one: checks the signature and drops what it knows.
const RECEIVER: &str = r#"
import hashlib, hmac, http.server, json, sys
known = set()
class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        wanted = "sha256=" + hmac.new(sys.argv[1].encode(), body, hashlib.sha256).hexdigest()
        document = json.loads(body)
        is_good = hmac.compare_digest(wanted, self.headers["Kdistro-Signature"]) and \
            document["id"] == self.headers["Kdistro-Id"] and \
            sorted(document) == ["attributes", "id", "message", "subject"]
        self.send_response(401 if not is_good else 409 if document["id"] in known else 204)
        if is_good:
            known.add(document["id"])
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *words):
        pass
server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_port, flush=True)
server.serve_forever()
"#;

/// A running receiver, ended when it is dropped.
struct Receiver(Child, String);

impl Receiver {
    fn start() -> Self {
        let secret = str::from_utf8(SECRET).unwrap();
        let child =
            Command::new("python3").args(["-c", RECEIVER, secret]).stdout(Stdio::piped()).spawn();
        let mut child = child.expect("install the Debian package python3");
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self(child, format!("http://127.0.0.1:{}/hook", port.trim()))
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn announce(announcer: &WebhookAnnouncer) -> Result<Announced, AnnounceError> {
    let attributes = BTreeMap::from([("channel".to_owned(), "1-36".to_owned())]);
    announcer.announce(&sha256(b"x"), "Release 7", r#"{"default":"{}"}"#, &attributes)
}

#[test]
fn a_receiver_of_somebody_else_takes_what_is_posted() {
    let receiver = Receiver::start();
    contract::check(&WebhookAnnouncer::open(&receiver.1, SECRET).unwrap());
    let other = WebhookAnnouncer::open(&receiver.1, b"another-secret-of-somebody").unwrap();
    let error = announce(&other).unwrap_err();
    assert!(whole(&error).contains("answered 401"), "{}", whole(&error));
}

#[test]
fn what_is_posted_is_signed() {
    let server = Recorder::start_tls(&TLS, |_| answer(200));
    let announcer = WebhookAnnouncer::open(&format!("{}/hook?key=k", server.url), SECRET).unwrap();
    let announcer = announcer.with_authorities(&TLS.ca).unwrap();
    assert_eq!(announce(&announcer).unwrap(), Announced::New);
    let [request] = &server.requests()[..] else { panic!("{:?}", server.lines()) };
    assert_eq!(request.line(), "POST /hook?key=k");
    let id = sha256(b"x").to_string();
    let body = format!(
        r#"{{"id":"{id}","subject":"Release 7","message":"{{\"default\":\"{{}}\"}}","attributes":{{"channel":"1-36"}}}}"#
    );
    assert_eq!(String::from_utf8_lossy(&request.body), body);
    assert_eq!(request.header("content-type"), Some("application/json"));
    assert_eq!(request.header("kdistro-id"), Some(id.as_str()));
    // printf '%s' "$body" | openssl dgst -sha256 -hmac planted-secret-of-the-webhook
    let signature = request.header("kdistro-signature").unwrap();
    assert_eq!(
        signature,
        "sha256=5be7feac54863238656238afc5b42dc276563c0423c58808fffcd1c10520a563"
    );
}

#[test]
fn what_may_pass_is_sent_again_and_nothing_else() {
    for (failing, status, wanted, count) in [
        (2, 503, Some(Announced::New), 3),
        (1, 429, Some(Announced::New), 2),
        (9, 500, None, 5),
        (9, 400, None, 1),
        (9, 409, Some(Announced::Repeated), 1),
        (9, 302, None, 1),
    ] {
        let stranger = Recorder::start(|_| answer(200));
        let (asked, to) = (AtomicUsize::new(0), stranger.url.clone());
        let server = Recorder::start(move |_| {
            let fails = asked.fetch_add(1, Ordering::SeqCst) < failing;
            answer(if fails { status } else { 202 }).with("Retry-After", "0").with("Location", &to)
        });
        let announced = announce(&WebhookAnnouncer::open(&server.url, SECRET).unwrap());
        assert_eq!(announced.as_ref().ok(), wanted.as_ref(), "{status}: {announced:?}");
        assert_eq!(server.requests().len(), count, "{status}");
        let bodies: Vec<_> = server.requests().into_iter().map(|request| request.body).collect();
        assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "a repeat says something else");
        assert!(stranger.requests().is_empty(), "a redirect was followed");
    }
}

#[test]
fn neither_the_secret_nor_the_address_is_shown() {
    let server = Recorder::start(|request| {
        answer(400).body(format!("{:?} planted-secret-of-the-webhook", request.body))
    });
    let announcer =
        WebhookAnnouncer::open(&format!("{}/planted-path?planted-query", server.url), SECRET)
            .unwrap();
    let error = announce(&announcer).unwrap_err();
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/planted-path", listener.local_addr().unwrap())
    };
    let gone = announce(&WebhookAnnouncer::open(&gone, SECRET).unwrap()).unwrap_err();
    let shown = format!("{announcer:?} {error:?} {} {gone:?} {}", whole(&error), whole(&gone));
    assert!(!shown.contains("planted"), "{shown}");
    assert!(whole(&gone).contains("no answer from http://127.0.0.1:"), "{}", whole(&gone));
    for address in [
        "http://planted.example/",
        "https://planted@a.example",
        "planted",
        "https://a.example/#planted",
    ] {
        let error = WebhookAnnouncer::open(address, SECRET).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("planted"), "{error}");
    }
    let error = WebhookAnnouncer::open("https://a.example", b"planted").unwrap_err();
    assert_eq!(error.to_string(), "the secret of the webhook has 7 bytes; expected at least 16");
}
