//! Hands a store out over http on this machine, as long as the gate needs it: to programs that have none of the
//! credentials by which this one reads a bucket.
//!
//! Nobody else on this machine reads it: the address begins with a secret. What only this user may read, such as the
//! environment of a process, may hold it; a command line may not.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use aws_lc_rs::{constant_time::verify_slices_are_equal, rand};
use kdistro_border::Store;

/// The longest head of a request, in bytes.
const LONGEST_HEAD: u64 = 16 * 1024;
/// How long whoever asks may take for it, and for taking some of the answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A store that is handed out until this is dropped.
pub(super) struct Served {
    address: SocketAddr,
    /// The first part of every path.
    secret: Arc<str>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    /// Hands a store out on a free port.
    pub(super) fn start(store: Arc<dyn Store>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (address, over) = (listener.local_addr()?, Arc::new(AtomicBool::new(false)));
        let (secret, is_over) = (secret()?, Arc::clone(&over));
        let known = Arc::clone(&secret);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else {
                    // Too many open files, for one: others may end meanwhile.
                    thread::sleep(Duration::from_millis(100));
                    continue;
                };
                let (store, secret) = (Arc::clone(&store), Arc::clone(&known));
                // Whoever asked sees for himself that there is no answer.
                thread::spawn(move || drop(answer(&stream, &*store, &secret)));
            }
        });
        Ok(Self { address, secret, over, thread: Some(thread) })
    }

    /// The store's address.
    pub(super) fn url(&self) -> String {
        format!("http://{}/{}", self.address, self.secret)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // It waits for somebody to ask; nobody can be done any harm by it when that fails.
        if TcpStream::connect(self.address).is_ok() {
            let _ = self.thread.take().map(JoinHandle::join);
        }
    }
}

/// Something that nobody guesses, in lowercase hex digits.
fn secret() -> io::Result<Arc<str>> {
    let mut bytes = [0; 16];
    rand::fill(&mut bytes).map_err(|_| io::Error::other("the machine gives no random numbers"))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)).into())
}

/// Answers one request, and closes.
fn answer(stream: &TcpStream, store: &dyn Store, secret: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    let mut head = BufReader::new(stream.take(LONGEST_HEAD));
    head.read_line(&mut line)?;
    let path = path(&line);
    while line.trim_end() != "" {
        line.clear();
        head.read_line(&mut line)?;
    }
    let mut out = stream;
    let Some(path) = path else { return refuse(out, "400 Bad Request") };
    let Some(name) = below(secret, &path) else { return refuse(out, "404 Not Found") };
    let found = store.stat(name).and_then(|there| Ok(there.zip(store.open(name)?)));
    match found {
        Ok(Some((there, mut content))) => {
            write!(
                out,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                there.size
            )?;
            io::copy(&mut content, &mut out).map(drop)
        }
        Ok(None) => refuse(out, "404 Not Found"),
        Err(_) => refuse(out, "502 Bad Gateway"),
    }
}

fn refuse(mut out: impl Write, why: &str) -> io::Result<()> {
    write!(out, "HTTP/1.1 {why}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

/// The name in the store, of a path that begins with the secret. How long that takes says nothing of the secret.
fn below<'a>(secret: &str, path: &'a str) -> Option<&'a str> {
    let (first, name) = path.split_once('/')?;
    verify_slices_are_equal(secret.as_bytes(), first.as_bytes()).ok().map(|()| name)
}

/// The path that a request is for: `GET /<path> HTTP/1.1`, with percent-encoded bytes.
///
/// Source: RFC 9112, section 3; RFC 3986, section 2.1.
fn path(line: &str) -> Option<String> {
    let path = line.strip_prefix("GET /")?.split(' ').next()?;
    let mut parts = path.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use kdistro_border::{Content, Directory};
    use kdistro_verify::store;

    use super::*;

    #[test]
    fn what_is_in_a_store_is_read_over_http_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let directory: Arc<dyn Store> = Arc::new(Directory::new(folder.path().join("store")));
        let large = vec![7; 3 << 20];
        let name = "kubernetes-1-20/releases/1/artifacts/a/v1.20.2+kd.t0/a.tar.gz";
        directory.create(name, Content::Bytes(&large)).unwrap();
        let served = Served::start(directory).unwrap();
        let reader = store::open(&served.url(), None).unwrap();
        let mut read = Vec::new();
        reader.open(name).unwrap().unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, large);
        assert!(reader.open("keys/release.pub").unwrap().is_none());
        assert_eq!(answered(&served, &format!("GET /{name} HTTP/1.1")), "HTTP/1.1 404 Not Found");
        // Others may be half-way through asking when it ends.
        let _idle = TcpStream::connect(served.address).unwrap();
        let address = served.address;
        drop(served);
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn only_paths_are_asked_for() {
        assert_eq!(path("GET /a/v1%2Bkd HTTP/1.1\r\n").unwrap(), "a/v1+kd");
        for line in ["", "POST /a HTTP/1.1", "GET a", "GET /%2", "GET /%zz", "GET /%ff HTTP/1.1"] {
            assert_eq!(path(line), None, "{line}");
        }
        let folder = tempfile::tempdir().unwrap();
        let served = Served::start(Arc::new(Directory::new(folder.path()))).unwrap();
        let secret = &served.secret;
        for (line, code) in [
            (format!("GET /{secret}/../x HTTP/1.1"), "502 Bad Gateway"),
            ("GET /../x HTTP/1.1".to_owned(), "404 Not Found"),
            ("HEAD / HTTP/1.1".to_owned(), "400 Bad Request"),
        ] {
            assert_eq!(answered(&served, &line), format!("HTTP/1.1 {code}"), "{line}");
        }
    }

    #[test]
    fn who_was_not_told_the_address_finds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let directory: Arc<dyn Store> = Arc::new(Directory::new(folder.path()));
        directory.create("a", Content::Bytes(b"embargoed")).unwrap();
        let [one, two] = [(), ()].map(|()| Served::start(Arc::clone(&directory)).unwrap());
        assert!(one.secret.len() == 32 && one.secret != two.secret, "{}", one.secret);
        assert_eq!(answered(&one, &format!("GET /{}/a HTTP/1.1", one.secret)), "HTTP/1.1 200 OK");
        for path in ["", "a", "/a", &two.secret, &format!("{}/a", two.secret), &one.secret] {
            let said = answered(&one, &format!("GET /{path} HTTP/1.1"));
            assert_eq!(said, "HTTP/1.1 404 Not Found", "{path}");
        }
    }

    /// The first line of the answer to a request.
    fn answered(served: &Served, line: &str) -> String {
        let mut stream = TcpStream::connect(served.address).unwrap();
        write!(stream, "{line}\r\n\r\n").unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said.lines().next().unwrap_or_default().to_owned()
    }
}
