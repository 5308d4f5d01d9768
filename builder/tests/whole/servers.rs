//! Real servers on free ports of this machine, each ended with the test that started it.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::tools;

/// A server, ended when it is dropped.
pub(crate) struct Server(Child);

impl Server {
    /// Starts a server and waits until it answers; its words are shown when it does not.
    #[track_caller]
    pub(crate) fn start(command: &mut Command, log: &Path, answers: impl Fn() -> bool) -> Self {
        let out = File::create(log).unwrap();
        command.stdout(out.try_clone().unwrap()).stderr(out).stdin(Stdio::null());
        let mut server = Self(command.spawn().unwrap());
        let begun = Instant::now();
        while !answers() {
            let gone = server.0.try_wait().unwrap();
            let late = begun.elapsed() > Duration::from_mins(2);
            let said = || fs::read_to_string(log).unwrap();
            assert!(gone.is_none() && !late, "{command:?} does not answer: {gone:?}\n{}", said());
            thread::sleep(Duration::from_millis(50));
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// A port that nobody uses now.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Debian's registry, without encryption.
pub(crate) struct Registry {
    _server: Server,
    /// Such as `127.0.0.1:41234`.
    pub(crate) host: String,
}

impl Registry {
    /// Starts a registry that keeps everything in a folder.
    pub(crate) fn start(folder: &Path) -> Self {
        let host = format!("127.0.0.1:{}", free_port());
        let settings = folder.join("registry.yml");
        let storage = folder.join("storage").display().to_string();
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {storage}}}}}\nhttp: {{addr: {host}}}\n"
        );
        fs::write(&settings, text).unwrap();
        let mut serve = tools::judge("docker-registry");
        let server =
            Server::start(serve.arg("serve").arg(settings), &folder.join("registry.log"), || {
                answers(&host)
            });
        Self { _server: server, host }
    }
}

/// True when a registry answers, and not only its port.
fn answers(host: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(host) else { return false };
    let asked = format!("GET /v2/ HTTP/1.0\r\nHost: {host}\r\n\r\n");
    stream.write_all(asked.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).is_ok() && answer.contains(" 200 ")
}
