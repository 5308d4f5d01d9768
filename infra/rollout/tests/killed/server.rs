//! A store behind an address that goes away in the middle of a file, and comes back.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

/// A server of a folder.
pub(crate) struct StoreServer {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    root: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The paths that were asked for.
    asked: Vec<String>,
    /// After which file it goes away, and after how many bytes of a later artifact.
    fate: Option<(String, u64)>,
    is_away: bool,
}

impl StoreServer {
    /// Serves a folder for as long as the test goes on.
    pub(crate) fn start(root: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { root, state: Mutex::default() });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let serving = Arc::clone(&serving);
                // A client that hangs up is no error.
                thread::spawn(move || stream.is_ok_and(|stream| serving.answer(&stream).is_ok()));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on: once a program was asked for, it goes away after so many bytes of the next one.
    pub(crate) fn goes_away_after(&self, program: &str, bytes: u64) {
        self.shared.state().fate = Some((program.to_owned(), bytes));
    }

    pub(crate) fn comes_back(&self) {
        let mut state = self.shared.state();
        (state.fate, state.is_away) = (None, false);
    }

    /// How often a file whose path ends so was asked for.
    pub(crate) fn asked_for(&self, end: &str) -> usize {
        self.shared.state().asked.iter().filter(|path| path.ends_with(end)).count()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many bytes of a file are served; none where nothing is answered at all.
    fn allowed(&self, path: &str) -> Option<u64> {
        let mut state = self.state();
        if state.is_away {
            return None;
        }
        let asked = |program: &str| state.asked.iter().any(|path| path.ends_with(program));
        let fate = state.fate.as_ref().filter(|(program, _)| asked(program));
        let bytes = fate.filter(|_| path.contains("/artifacts/")).map_or(u64::MAX, |fate| fate.1);
        state.is_away = bytes != u64::MAX;
        state.asked.push(path.to_owned());
        Some(bytes)
    }

    fn answer(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        let request = lines.next().unwrap_or_default();
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        for _ in lines.by_ref().take_while(|line| !line.is_empty()) {}
        let Some(bytes) = self.allowed(&path) else { return Ok(()) };
        let Ok(file) = File::open(self.root.join(path.trim_start_matches('/'))) else {
            return stream
                .write_all(b"HTTP/1.1 404 x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        };
        let length = file.metadata()?.len();
        let head =
            format!("HTTP/1.1 200 x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        std::io::copy(&mut file.take(bytes), &mut stream).map(drop)
    }
}
