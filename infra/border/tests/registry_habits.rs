//! What registries do differently, and what broken ones do: answered by a server that keeps what it is sent.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "openssl makes certificates for the test")]

#[path = "contract/recording.rs"]
#[expect(dead_code, reason = "another test needs TLS")]
mod recording;

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use kdistro_border::{Address, Anonymous, Content, Created, HttpRegistry, Registry, RegistryError};
use kdistro_formats::Digest;
use kdistro_verify::hash::sha256;
use serde_json::{Value, json};

use crate::recording::{Answer, Recorder, Request, answer, whole};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn open(url: &str) -> HttpRegistry {
    HttpRegistry::open(Address { url, ..Address::default() }, Arc::new(Anonymous)).unwrap()
}

/// Answers by method.
fn methods(rule: impl Fn(&str, &Request) -> Option<Answer> + Send + Sync + 'static) -> Recorder {
    Recorder::start(move |request| rule(&request.method, request).unwrap_or_else(|| answer(404)))
}

fn bodies(server: &Recorder, method: &str) -> Vec<Vec<u8>> {
    let requests = server.requests().into_iter();
    requests.filter(|request| request.method == method).map(|request| request.body).collect()
}

/// A manifest without parts that are to be found, about `subject`.
fn about(subject: &Digest, text: &str) -> Vec<u8> {
    let document = json!({
        "schemaVersion": 2, "mediaType": INDEX, "manifests": [], "artifactType": "text/x",
        "subject": {"mediaType": MANIFEST, "digest": subject, "size": 1}, "annotations": {"text": text},
    });
    serde_json::to_vec(&document).unwrap()
}

#[test]
fn uploads_go_where_the_location_says() {
    let digest = sha256(b"x");
    for (location, wanted) in [
        (
            "/v2/a/blobs/uploads/1?_state=s%2F",
            format!("/v2/a/blobs/uploads/1?_state=s%2F&digest={digest}"),
        ),
        ("/other/1", format!("/other/1?digest={digest}")),
        ("{url}/v2/u/1?x", format!("/v2/u/1?x&digest={digest}")),
        ("1", format!("/v2/a/blobs/uploads/1?digest={digest}")),
    ] {
        let server = Recorder::start(move |request| match request.method.as_str() {
            "POST" => {
                let host = request.header("host").unwrap();
                answer(202).with("Location", location.replace("{url}", &format!("http://{host}")))
            }
            "PUT" => answer(201).with("Docker-Content-Digest", digest.to_string()),
            _ => answer(404),
        });
        assert_eq!(open(&server.url).push_blob("a", Content::Bytes(b"x")).unwrap(), Created::New);
        let wanted = [
            format!("HEAD /v2/a/blobs/{digest}"),
            "POST /v2/a/blobs/uploads/".to_owned(),
            format!("PUT {wanted}"),
        ];
        assert_eq!(server.lines(), wanted);
        assert_eq!(bodies(&server, "PUT"), [b"x"]);
    }
}

#[test]
fn an_upload_that_is_not_said_to_be_created_is_looked_for() {
    for (status, is_there) in [(200, true), (202, true), (204, true), (202, false)] {
        let heads = AtomicUsize::new(0);
        let server = methods(move |method, _| match method {
            "POST" => Some(answer(202).with("Location", "/u")),
            "PUT" => Some(answer(status)),
            _ => (heads.fetch_add(1, Ordering::SeqCst) > 0 && is_there).then(|| answer(200)),
        });
        let pushed = open(&server.url).push_blob("a", Content::Bytes(b""));
        assert_eq!(pushed.is_ok(), is_there, "{pushed:?}");
        assert_eq!(server.lines().len(), 4);
    }
}

#[test]
fn registries_that_do_not_take_head_are_asked_with_get() {
    for (get, wanted) in [(404, false), (405, false), (200, true), (307, true)] {
        let server = Recorder::start(move |request| match request.method.as_str() {
            "GET" => answer(get).with("Content-Length", "100000000"),
            _ => answer(405),
        });
        assert_eq!(open(&server.url).has_blob("a", &sha256(b"x")).unwrap(), wanted, "{get}");
    }
}

#[test]
fn other_content_than_was_asked_for_is_never_taken() {
    let other = sha256(b"other").to_string();
    let server = Recorder::start(move |request| match request.method.as_str() {
        "POST" => answer(202).with("Location", "/u"),
        "PUT" => answer(201).with("Docker-Content-Digest", &other),
        "HEAD" => answer(404),
        _ => answer(200).body("{\"other\":1}"),
    });
    let registry = open(&server.url);
    let error = registry.read_manifest("a", &sha256(b"{}")).unwrap_err();
    assert!(whole(&error).starts_with("`a` is damaged: it gives sha256:"), "{}", whole(&error));
    let error = registry.push_blob("a", Content::Bytes(b"x")).unwrap_err();
    assert!(whole(&error).contains("speaks of `sha256:"), "{}", whole(&error));
    let large = Recorder::start(|_| answer(200).body(vec![b' '; (4 << 20) + 1]));
    let error = open(&large.url).resolve("a", "v1").unwrap_err();
    assert!(whole(&error).contains("no more than the largest manifest"), "{}", whole(&error));
    let cut = Recorder::start(|_| answer(200).with("Content-Length", "12").body("{"));
    let error = open(&cut.url).resolve("a", "v1").unwrap_err();
    assert!(whole(&error).contains("broke off"), "{}", whole(&error));
}

#[test]
fn a_busy_registry_is_asked_again_for_a_while() {
    for status in [429, 500, 502, 503, 504] {
        let count = AtomicUsize::new(0);
        let server = Recorder::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
            0 => answer(status),
            1 => answer(status).with("Retry-After", "0"),
            _ => answer(200).body("{}"),
        });
        assert_eq!(open(&server.url).resolve("a", "v1").unwrap(), Some(sha256(b"{}")));
        assert_eq!(server.requests().len(), 3);
    }
    let server =
        Recorder::start(|_| answer(503).with("Retry-After", "0").body("try\nlater\u{1b}[m"));
    let error = open(&server.url).resolve("a", "v1").unwrap_err();
    assert_eq!(
        whole(&error),
        "cannot read `a` in the registry: it answered 503 Service Unavailable to GET /v2/a/manifests/v1: try later [m"
    );
    assert_eq!(server.requests().len(), 5);
    for status in [400, 403, 501] {
        let server = Recorder::start(move |_| answer(status));
        open(&server.url).resolve("a", "v1").unwrap_err();
        assert_eq!(server.requests().len(), 1, "{status} was asked for again");
    }
}

#[test]
fn an_upload_begins_anew_once_and_waits_where_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("layer");
    let content = vec![7; 300_000];
    fs::write(&path, &content).unwrap();
    let file = Content::File { path: &path, digest: sha256(&content), size: 300_000 };
    let serve = |status: u16, failing: usize| {
        let puts = AtomicUsize::new(0);
        methods(move |method, _| match method {
            "POST" => Some(answer(202).with("Location", "/u")),
            "PUT" if puts.fetch_add(1, Ordering::SeqCst) < failing => {
                Some(answer(status).with("Retry-After", "0"))
            }
            "PUT" => Some(answer(201)),
            _ => None,
        })
    };
    for (status, failing, puts, is_pushed) in [
        (500, 1, 2, true),
        (500, 2, 2, false),
        (404, 1, 2, true),
        (429, 4, 5, true),
        (429, 5, 5, false),
        (400, 1, 1, false),
    ] {
        let server = serve(status, failing);
        let pushed = open(&server.url).push_blob("a", file);
        assert_eq!(pushed.is_ok(), is_pushed, "{status} {failing}: {pushed:?}");
        assert_eq!(bodies(&server, "POST").len(), puts, "{status} {failing}");
        let sent = bodies(&server, "PUT");
        assert_eq!(sent.len(), puts, "{status} {failing}");
        assert!(sent.iter().all(|sent| *sent == content), "not all of it was sent each time");
    }
}

#[test]
fn a_file_that_is_not_what_was_said_is_not_sent_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("layer");
    fs::write(&path, vec![7; 300_000]).unwrap();
    let server = methods(|method, _| match method {
        "POST" => Some(answer(202).with("Location", "/u")),
        "PUT" => Some(answer(201)),
        _ => None,
    });
    let file = Content::File { path: &path, digest: sha256(b"other"), size: 300_000 };
    let error = open(&server.url).push_blob("a", file).unwrap_err();
    assert!(matches!(error, RegistryError::Changed { .. }), "{error}");
    assert!(bodies(&server, "PUT").is_empty(), "the registry got all of it");
}

#[test]
fn a_blob_is_mounted_from_where_it_is_known_to_be() {
    let digest = sha256(b"x");
    for (status, uploads) in [(201, 0), (202, 1), (403, 1), (404, 1)] {
        let server = methods(move |method, request| match method {
            "POST" if request.path.contains('?') => Some(answer(status).with("Location", "/u")),
            "POST" => Some(answer(202).with("Location", "/u")),
            "PUT" => Some(answer(201)),
            "HEAD" => request.path.contains("team/one/").then(|| answer(200)),
            _ => None,
        });
        let address = Address { url: &server.url, prefix: "team", ca: None };
        let registry = HttpRegistry::open(address, Arc::new(Anonymous)).unwrap();
        assert_eq!(registry.push_blob("one", Content::Bytes(b"x")).unwrap(), Created::Same);
        assert_eq!(registry.push_blob("two", Content::Bytes(b"x")).unwrap(), Created::New);
        assert_eq!(bodies(&server, "PUT").len(), uploads, "{status}");
        let mount = format!("POST /v2/team/two/blobs/uploads/?mount={digest}&from=team/one");
        assert_eq!(server.lines()[2], mount);
        // What was pushed once is not asked for again.
        let count = server.lines().len();
        assert_eq!(registry.push_blob("two", Content::Bytes(b"x")).unwrap(), Created::Same);
        assert_eq!(server.lines().len(), count);
    }
}

#[test]
fn a_list_of_referrers_is_read_to_its_end() {
    let subject = sha256(b"subject");
    let documents: Vec<_> = ["one", "two", "three"].map(|text| about(&subject, text)).to_vec();
    let (shown, of) = (documents.clone(), format!("/v2/a/referrers/{subject}"));
    let server = Recorder::start(move |request| {
        let entry = |document: &Vec<u8>| json!({"digest": sha256(document)});
        let page = |part: &[Vec<u8>]| {
            let entries: Vec<Value> = part.iter().map(entry).collect();
            answer(200).body(json!({"manifests": entries}).to_string())
        };
        match request.path.strip_prefix(&of) {
            Some("") => page(&shown[..2]).with("Link", format!("<{of}?next=2>; rel=\"next\"")),
            Some(_) => page(&shown[2..]),
            None => {
                let digest = request.path.rsplit('/').next().unwrap();
                let found = shown.iter().find(|document| sha256(document).to_string() == digest);
                answer(200).body(found.unwrap().clone())
            }
        }
    });
    let found = open(&server.url).referrers("a", &subject).unwrap();
    let mut wanted: Vec<_> = documents.iter().map(|document| sha256(document)).collect();
    wanted.sort_unstable();
    assert_eq!(found.iter().map(|found| found.digest).collect::<Vec<_>>(), wanted);
    let stranger = Recorder::start(|_| answer(200));
    let link = format!("<{}/next>; rel=next", stranger.url);
    let server =
        Recorder::start(move |_| answer(200).with("Link", &link).body("{\"manifests\":[]}"));
    let error = open(&server.url).referrers("a", &subject).unwrap_err();
    assert!(whole(&error).contains("away from itself"), "{}", whole(&error));
    assert!(stranger.requests().is_empty());
}

#[test]
fn a_list_of_referrers_without_end_is_refused() {
    let subject = sha256(b"subject");
    let blank = |size: usize| format!("{{\"manifests\":[]{}}}", " ".repeat(size));
    for (size, moves, expected, most) in [
        (3 << 20, true, "has more than 16777216 bytes", 6),
        (0, true, "has more than 1000 pages", 1000),
        (0, false, "names one page as the next of itself", 2),
    ] {
        let (count, body) = (AtomicUsize::new(0), blank(size));
        let server = methods(move |method, request| {
            let number = count.fetch_add(usize::from(moves), Ordering::SeqCst);
            let link = format!("</v2/a/referrers/x?page={number}>; rel=next");
            let is_asked = method == "GET" && request.path.contains("/referrers/");
            is_asked.then(|| answer(200).with("Link", link).body(body.clone()))
        });
        let registry = open(&server.url).without_fallback_tags();
        let error = registry.referrers("a", &subject).unwrap_err();
        assert!(whole(&error).contains(expected), "{}", whole(&error));
        assert!(server.requests().len() <= most, "{} pages", server.requests().len());
        // Who pushes a referrer looks into the list as well.
        let error = registry.push_manifest("a", &about(&subject, "x")).unwrap_err();
        assert!(!whole(&error).is_empty());
    }
    // Few entries, large manifests.
    let documents: Vec<_> =
        (0..6).map(|number| about(&subject, &format!("{number}{}", " ".repeat(3 << 20)))).collect();
    let entries: Vec<_> =
        documents.iter().map(|document| json!({"digest": sha256(document)})).collect();
    let list = json!({"manifests": entries}).to_string();
    let server = Recorder::start(move |request| {
        if request.path.contains("/referrers/") {
            return answer(200).body(list.clone());
        }
        let is_it = |document: &&Vec<u8>| request.path.ends_with(&sha256(document).to_string());
        answer(200).body(documents.iter().find(is_it).unwrap().clone())
    });
    let error = open(&server.url).referrers("a", &subject).unwrap_err();
    assert!(whole(&error).contains("have more than 16777216 bytes together"), "{}", whole(&error));
}

#[test]
fn where_tags_never_change_no_list_stands_behind_one() {
    let subject = sha256(b"subject");
    let document = about(&subject, "x");
    // Keeps them and says so; keeps them only; keeps none.
    for (says, keeps) in [(true, true), (false, true), (false, false)] {
        let own = json!({"manifests": [{"digest": sha256(&document)}]}).to_string();
        let server = methods(move |method, request| match method {
            "PUT" if says => Some(answer(201).with("OCI-Subject", subject.to_string())),
            "PUT" => Some(answer(201)),
            "GET" if keeps && request.path.contains("referrers") => {
                Some(answer(200).body(own.clone()))
            }
            _ => None,
        });
        let pushed = open(&server.url).without_fallback_tags().push_manifest("a", &document);
        let puts = server.lines().into_iter().filter(|line| line.starts_with("PUT"));
        assert_eq!(
            puts.collect::<Vec<_>>(),
            [format!("PUT /v2/a/manifests/{}", sha256(&document))]
        );
        assert_eq!(pushed.is_ok(), keeps, "{pushed:?}");
        if let Err(error) = pushed {
            let expected = format!(
                "the registry does not list what is about {subject} in `a` (it has no referrers API), and a tag"
            );
            assert!(error.to_string().starts_with(&expected), "{error}");
        }
    }
}

#[test]
fn a_tag_that_a_registry_forgets_or_refuses_is_told() {
    let manifest = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    let by_digest = sha256(manifest).to_string();
    let serve = |put: u16, then: &'static [u8]| {
        let (by_digest, is_set) = (by_digest.clone(), AtomicUsize::new(0));
        methods(move |method, request| match method {
            "GET" if request.path.ends_with(&by_digest) => Some(answer(200).body(&manifest[..])),
            "PUT" => {
                is_set.fetch_add(1, Ordering::SeqCst);
                Some(answer(put))
            }
            "GET" => (is_set.load(Ordering::SeqCst) > 0 && !then.is_empty())
                .then(|| answer(200).body(then)),
            _ => None,
        })
    };
    let tag = |server: &Recorder| open(&server.url).tag("a", "v1", &sha256(manifest));
    assert_eq!(tag(&serve(201, manifest)).unwrap(), Created::New);
    // The answer was lost, the tag is there.
    assert_eq!(tag(&serve(500, manifest)).unwrap(), Created::New);
    for (put, then) in [(201, &b"{}"[..]), (400, b"{}"), (500, b"{}")] {
        let server = serve(put, then);
        let error = tag(&server).unwrap_err();
        assert!(matches!(error, RegistryError::Moved { .. }), "{error}");
        assert_eq!(bodies(&server, "PUT").len(), 1, "it was moved back");
    }
    let error = tag(&serve(403, b"")).unwrap_err();
    assert!(whole(&error).contains("it answered 403"), "{}", whole(&error));
    let error = tag(&serve(201, b"")).unwrap_err();
    assert!(whole(&error).contains("`v1` was set and is not there"), "{}", whole(&error));
}

#[test]
fn addresses_and_prefixes_are_checked() {
    for (url, prefix, expected) in [
        ("registry.example", "", "expected `https://<host>`"),
        ("http://registry.example", "", "expected https, or http on this machine"),
        ("https://registry.example/path", "", "expected no path"),
        ("https://registry.example?x", "", "expected no path"),
        ("https://registry.example", "Team", "`Team` is not a repository"),
        ("https://registry.example", "../x", "`../x` is not a repository"),
    ] {
        let error = HttpRegistry::open(Address { url, prefix, ca: None }, Arc::new(Anonymous));
        let error = error.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let prefix = "x".repeat(250);
    let address = Address { url: "https://registry.example", prefix: &prefix, ca: None };
    let registry = HttpRegistry::open(address, Arc::new(Anonymous)).unwrap();
    let error = registry.has_blob("abcdef", &sha256(b"x")).unwrap_err();
    assert!(matches!(error, RegistryError::Name { .. }), "{error}");
}
