//! A store behind an address: verified as in a directory, and an unreachable one is neither verified nor forged.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use kdistro_formats::layout;
use kdistro_verify::{
    check::{Outcome, Report, Scope, check},
    store::{self, Directory, Reader, http::Http},
};

use crate::{content::name, publisher::Publisher};

/// How a server answers.
#[derive(Clone, Copy)]
enum Manner {
    Right,
    Redirects,
    Refuses,
    CutsArtifacts,
    SendsWithoutEnd,
    /// Answers for files below this, head and all, byte by byte.
    Drips(&'static str),
}

/// A server of one folder on a free port of this machine, until it is dropped.
struct Server {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    fn start(root: PathBuf, manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let serve = move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let root = root.clone();
                thread::spawn(move || answer(&stream.unwrap(), &root, manner));
            }
        };
        Self { port, stop, thread: Some(thread::spawn(serve)) }
    }

    fn check(&self, publisher: &Publisher) -> Report {
        self.check_scope(publisher, Scope::Inputs)
    }

    fn check_scope(&self, publisher: &Publisher, scope: Scope) -> Report {
        let manifest = format!("http://127.0.0.1:{}/{}", self.port, layout::manifest(&name(3)));
        let (reader, file) = store::locate(&manifest, None, None).unwrap();
        check(&*reader, &file, &publisher.source(), scope)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the loop.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Answers one request and closes; a client that hangs up is no error.
fn answer(stream: &TcpStream, root: &Path, manner: Manner) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    for _ in lines.by_ref().take_while(|line| !line.is_empty()) {}
    let mut out = stream;
    let name = path.trim_start_matches('/').trim_start_matches("moved/");
    let content = fs::read(root.join(name));
    let (status, more, body) = match (manner, content) {
        (Manner::Redirects, _) if !path.starts_with("/moved/") => {
            ("302 Found", format!("Location: /moved{path}\r\n"), Vec::new())
        }
        (Manner::Refuses, _) if name.contains("artifacts/") => {
            ("503 Unavailable", String::new(), Vec::new())
        }
        (_, Ok(content)) => ("200 OK", String::new(), content),
        (_, Err(_)) => ("404 Not Found", String::new(), Vec::new()),
    };
    let cut = matches!(manner, Manner::CutsArtifacts) && name.contains("artifacts/");
    let endless =
        matches!(manner, Manner::SendsWithoutEnd) && name.ends_with("bin/linux/amd64/etcd");
    let length = if endless { u64::MAX >> 8 } else { body.len() as u64 + u64::from(cut) };
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n");
    if matches!(manner, Manner::Drips(folder) if name.starts_with(folder)) {
        return drip(out, &[head.as_bytes(), &body].concat());
    }
    let _ = out.write_all(head.as_bytes()).and_then(|()| out.write_all(&body));
    while endless && out.write_all(&[0; 4096]).is_ok() {}
    let _ = out.flush();
}

fn drip(mut out: &TcpStream, answer: &[u8]) {
    for byte in answer.chunks(1) {
        thread::sleep(Duration::from_millis(100));
        if out.write_all(byte).is_err() {
            return;
        }
    }
}

#[test]
fn a_store_that_drips_is_given_up() {
    let publisher = Publisher::with_releases();
    for dripping in ["kubernetes-1-20/kubernetes", "kubernetes-1-20/releases/3/artifacts/etcd"] {
        let server = Server::start(publisher.root(), Manner::Drips(dripping));
        let store = Http::new(&format!("http://127.0.0.1:{}", server.port), None).unwrap();
        let store = store.with_patience(Duration::from_millis(500));
        let started = Instant::now();
        let manifest = layout::manifest(&name(3));
        let report = check(&store, &manifest, &publisher.source(), Scope::Release);
        // Each answer drips for ten seconds or more.
        assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
        assert_eq!(report.outcome, Outcome::Unknown, "{report}");
        assert!(report.to_string().contains("too slow: "), "{report}");
        assert!(
            report.problems.iter().all(|problem| problem.file.starts_with(dripping)),
            "{report}"
        );
    }
}

#[test]
fn an_address_is_verified_as_a_directory_is() {
    let publisher = Publisher::with_releases();
    for manner in [Manner::Right, Manner::Redirects] {
        let report = Server::start(publisher.root(), manner).check(&publisher);
        assert_eq!(report.outcome, Outcome::Verified, "{report}");
        let note = "the store cannot be listed";
        assert!(report.notes.iter().any(|found| found.message.starts_with(note)), "{report}");
    }
}

#[test]
fn whether_more_is_behind_an_address_cannot_be_told() {
    let publisher = Publisher::with_releases();
    let server = Server::start(publisher.root(), Manner::Right);
    let report = server.check_scope(&publisher, Scope::All);
    assert_eq!(report.outcome, Outcome::Unknown, "{report}");
    let files = Directory::new(publisher.root()).list("crds").unwrap().unwrap();
    publisher.write(&files[0], "kind: Other");
    let report = server.check_scope(&publisher, Scope::All);
    assert_eq!(report.outcome, Outcome::Differs, "{report}");
    assert!(report.problems.iter().any(|problem| problem.file == files[0]), "{report}");
}

#[test]
fn a_changed_file_behind_an_address_is_named() {
    let publisher = Publisher::with_releases();
    let file = layout::artifact(&name(3), "etcd/v3.4.23/bin/linux/amd64/etcd");
    publisher.write(&file, "a program that keeps keys and valued");
    let server = Server::start(publisher.root(), Manner::Right);
    let report = server.check(&publisher);
    assert_eq!(report.outcome, Outcome::Differs, "{report}");
    assert_eq!(report.problems[0].file, file);
    publisher.remove(&file);
    assert_eq!(server.check(&publisher).outcome, Outcome::Differs);
}

#[test]
fn an_unreachable_store_is_neither_verified_nor_forged() {
    let publisher = Publisher::with_releases();
    let server = Server::start(publisher.root(), Manner::Right);
    let port = server.port;
    drop(server);
    let manifest = format!("http://127.0.0.1:{port}/{}", layout::manifest(&name(3)));
    let (reader, file) = store::locate(&manifest, None, None).unwrap();
    let report = check(&*reader, &file, &publisher.source(), Scope::Release);
    assert_eq!(report.outcome, Outcome::Unknown, "{report}");
    for manner in [Manner::Refuses, Manner::CutsArtifacts] {
        let report = Server::start(publisher.root(), manner).check(&publisher);
        assert_eq!(report.outcome, Outcome::Unknown, "{report}");
        assert!(
            report.problems.iter().all(|problem| problem.file.contains("artifacts/")),
            "{report}"
        );
    }
}

#[test]
fn a_store_that_sends_without_end_is_not_read_without_end() {
    let publisher = Publisher::with_releases();
    let report = Server::start(publisher.root(), Manner::SendsWithoutEnd).check(&publisher);
    assert_eq!(report.outcome, Outcome::Differs, "{report}");
}
