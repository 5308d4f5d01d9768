//! A real registry for a test: Debian's docker-registry, on a free port of this machine, in a folder of the test.

use std::{
    fs,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A running registry, ended when it is dropped.
pub(crate) struct Server {
    child: Child,
    /// Such as `127.0.0.1:41234`.
    pub(crate) host: String,
}

impl Server {
    /// Starts a registry that keeps everything in `folder`; `None`, said plainly, when there is no such program.
    pub(crate) fn start(folder: &Path) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let settings = folder.join("registry.yml");
        let storage = folder.join("storage");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: {host}}}\n",
            storage.display()
        );
        fs::write(&settings, text).unwrap();
        let log = fs::File::create(folder.join("registry.log")).unwrap();
        let started = Command::new("docker-registry")
            .arg("serve")
            .arg(&settings)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        let child = match started {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                println!("SKIPPED: docker-registry is not installed, so nothing was pushed to it");
                return None;
            }
            Err(error) => panic!("docker-registry: {error}"),
        };
        let server = Self { child, host };
        let begun = Instant::now();
        while !server.answers() {
            assert!(begun.elapsed() < Duration::from_secs(20), "docker-registry does not answer");
            thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(&self.host) else { return false };
        let asked = format!("GET /v2/ HTTP/1.0\r\nHost: {}\r\n\r\n", self.host);
        stream.write_all(asked.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).is_ok() && answer.contains(" 200 ")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
