//! Real servers on free ports of this machine, each ended with the test that started it.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

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
