//! nginx for a test: one process with a folder of its own, on free ports of this machine.

use std::{
    env, fs,
    fs::File,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// A running nginx, ended when it is dropped.
pub(crate) struct Nginx {
    child: Child,
    /// Where it listens, such as `127.0.0.1:41234`; always at the first.
    pub(crate) addresses: [String; 2],
}

impl Nginx {
    /// Starts it with what `http` says for the addresses in the block of this name.
    pub(crate) fn start(folder: &Path, http: impl Fn(&[String; 2]) -> String) -> Self {
        fs::create_dir_all(folder).unwrap();
        // Between choosing a port and listening there somebody else may take it.
        for _ in 0..5 {
            let addresses = free_addresses();
            let text = settings(folder, &http(&addresses));
            fs::write(folder.join("nginx.conf"), text).unwrap();
            let mut nginx = Self { child: spawn(folder), addresses };
            if nginx.is_up() {
                return nginx;
            }
        }
        panic!("{}", fs::read_to_string(folder.join("error.log")).unwrap());
    }

    fn is_up(&mut self) -> bool {
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            if TcpStream::connect(&self.addresses[0]).is_ok() {
                return true;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "nginx does not answer");
            thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn settings(folder: &Path, http: &str) -> String {
    let at = |name: &str| folder.join(name).display().to_string();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {};\n", at(kind)))
        .concat();
    let own = format!("daemon off;\nmaster_process off;\npid {};\n", at("pid"));
    format!("{own}events {{}}\nhttp {{\naccess_log off;\n{temporary}{http}}}\n")
}

fn spawn(folder: &Path) -> Child {
    let mut paths: Vec<_> = env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect();
    paths.push("/usr/sbin".into());
    let is_installed = paths.iter().any(|folder| folder.join("nginx").is_file());
    assert!(is_installed, "`nginx` is not installed: apt-get install nginx");
    // Should this test be killed, it dies too.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", "nginx", "-p"]).arg(folder);
    command.arg("-e").arg(folder.join("error.log")).arg("-c").arg(folder.join("nginx.conf"));
    command.env("PATH", env::join_paths(&paths).unwrap());
    let output = File::create(folder.join("output.log")).unwrap();
    command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
    command.spawn().unwrap()
}

fn free_addresses() -> [String; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().to_string())
}
