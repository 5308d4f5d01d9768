//! A real registry for the judges of images: Debian's `docker-registry`.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::tools;

/// A running registry on a free port of this machine, ended when it is dropped.
pub(super) struct Registry {
    child: Child,
    /// Such as `127.0.0.1:41234`.
    pub(super) host: String,
}

impl Registry {
    /// Starts a registry that keeps everything in a folder.
    #[track_caller]
    pub(super) fn start(folder: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let (settings, storage) = (folder.join("registry.yml"), folder.join("storage"));
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: {host}}}\n",
            storage.display()
        );
        fs::write(&settings, text).unwrap();
        let log = File::create(folder.join("registry.log")).unwrap();
        let mut serve = tools::judge("docker-registry");
        serve.arg("serve").arg(&settings).stdout(Stdio::null()).stderr(log);
        let registry = Self { child: serve.spawn().unwrap(), host };
        let begun = Instant::now();
        while !registry.answers() {
            assert!(begun.elapsed() < Duration::from_secs(20), "docker-registry does not answer");
            thread::sleep(Duration::from_millis(20));
        }
        registry
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(&self.host) else { return false };
        let asked = format!("GET /v2/ HTTP/1.0\r\nHost: {}\r\n\r\n", self.host);
        stream.write_all(asked.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).is_ok() && answer.contains(" 200 ")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
