//! What a registry behind the OCI distribution API promises, tried on one that others wrote.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "tests start a registry and the judges")]
#![expect(clippy::print_stdout, reason = "a skipped test says so")]

#[path = "contract/registry.rs"]
mod contract;
#[path = "contract/registry_server.rs"]
mod registry_server;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use kdistro_border::{Content, HttpRegistry, Registry, RegistryError};
use kdistro_verify::hash::sha256;

use crate::registry_server::Server;

#[test]
fn a_real_registry_keeps_the_promises() {
    for (promise, check) in contract::PROMISES {
        println!("{promise}");
        let folder = tempfile::tempdir().unwrap();
        let Some(server) = Server::start(folder.path()) else { return };
        let registry = HttpRegistry::new(&format!("http://{}", server.host)).unwrap();
        check(&registry, folder.path());
    }
}

#[test]
fn skopeo_pulls_what_was_pushed() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = Server::start(folder.path()) else { return };
    let registry = HttpRegistry::new(&format!("http://{}", server.host)).unwrap();
    let manifest = contract::push_image(&registry, "kubernetes/pause", "a layer");
    registry.tag("kubernetes/pause", "v1", &sha256(&manifest)).unwrap();
    let image = format!("docker://{}/kubernetes/pause:v1", server.host);
    let copied = folder.path().join("copied");
    let skopeo = Command::new("skopeo")
        .args(["copy", "--quiet", "--insecure-policy", "--src-tls-verify=false", &image])
        .arg(format!("dir:{}", copied.display()))
        .output();
    let Ok(ran) = skopeo else {
        println!("SKIPPED: skopeo is not installed, so it did not pull");
        return;
    };
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(fs::read(copied.join("manifest.json")).unwrap(), manifest);
}

/// Answers every request by its method, as long as somebody asks; returns its address.
fn server_of(answer: impl Fn(&str) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let head = lines.map_while(Result::ok).take_while(|line| !line.is_empty());
            let head: Vec<String> = head.collect();
            let method = head.first().and_then(|line| line.split(' ').next()).unwrap_or_default();
            let _ = stream.write_all(answer(method).as_bytes());
        }
    });
    address
}

/// One answer without content, after which the connection ends.
fn answer(status: &str, headers: &str) -> String {
    format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}Content-Length: 0\r\n\r\n")
}

/// Joins an error with its sources, as the printer does.
fn whole(error: &RegistryError) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

#[test]
fn what_a_broken_registry_says_is_told() {
    let registry = |content: &'static str| {
        let address = server_of(move |_| {
            let (status, text) = content.split_once('|').unwrap();
            format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 12\r\n\r\n{text}")
        });
        HttpRegistry::new(&address).unwrap()
    };
    let error =
        registry("503 Service Unavailable|try\nlater\x1b[m").resolve("a", "v1").unwrap_err();
    assert_eq!(
        whole(&error),
        "cannot read `a` in the registry: it answered 503 Service Unavailable to GET /v2/a/manifests/v1: try later [m"
    );
    let error = registry("200 OK|{          }").read_manifest("a", &sha256(b"x")).unwrap_err();
    assert!(whole(&error).starts_with("`a` is damaged: it gives sha256:"), "{}", whole(&error));
    let error = registry("200 OK|{").resolve("a", "v1").unwrap_err();
    assert!(whole(&error).contains("broke off"), "{}", whole(&error));
    let error = HttpRegistry::new("http://registry.example.org").unwrap_err();
    assert!(whole(&error).ends_with("expected https, or http on this machine"));
}

#[test]
fn an_upload_is_never_sent_to_another_host() {
    let asked = Arc::new(AtomicBool::new(false));
    let mark = Arc::clone(&asked);
    let other = server_of(move |_| {
        mark.store(true, Ordering::Relaxed);
        answer("201 Created", "")
    });
    let shown = other.clone();
    let registry = HttpRegistry::new(&server_of(move |method| match method {
        "POST" => answer("202 Accepted", &format!("Location: {other}/upload\r\n")),
        _ => answer("404 Not Found", ""),
    }));
    let error = registry.unwrap().push_blob("a", Content::Bytes(b"secret")).unwrap_err();
    let expected = format!("it sends uploads to `{shown}/upload?digest=");
    assert!(whole(&error).contains(&expected), "{}", whole(&error));
    assert!(!asked.load(Ordering::Relaxed), "something was sent to the other host");
}

#[test]
fn a_tag_that_somebody_else_moves_at_the_same_moment_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = Server::start(folder.path()) else { return };
    let registry = HttpRegistry::new(&format!("http://{}", server.host)).unwrap();
    let images: Vec<_> = (0..4)
        .map(|number| sha256(&contract::push_image(&registry, "a", &number.to_string())))
        .collect();
    // Each through a connection of its own, as from four machines.
    let outcomes: Vec<_> = thread::scope(|scope| {
        let start = |digest| {
            let other = HttpRegistry::new(&format!("http://{}", server.host)).unwrap();
            scope.spawn(move || other.tag("a", "v1", digest).map(|_| *digest))
        };
        let threads: Vec<_> = images.iter().map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let tagged = registry.resolve("a", "v1").unwrap();
    let losers = outcomes.iter().filter(|outcome| outcome.is_err());
    for outcome in losers {
        assert!(matches!(outcome, Err(RegistryError::Moved { .. })), "{outcome:?}");
    }
    assert!(images.contains(&tagged.unwrap()));
}
