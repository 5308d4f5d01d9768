//! Programs of others in Go, built once below cargo's own folder: crane, and a registry with the referrers API.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// What the programs are built from.
const SOURCES: [&str; 3] = ["go.mod", "go.sum", "registry.go"];

/// Returns the folder with the programs `crane` and `registry`.
#[track_caller]
pub(crate) fn programs() -> PathBuf {
    let top = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers");
    let lock = File::create(top.join("border-servers.lock")).unwrap();
    lock.lock().unwrap();
    let folder = top.join("border-servers");
    let wanted: Vec<u8> =
        SOURCES.iter().flat_map(|name| fs::read(sources.join(name)).unwrap()).collect();
    // Written last: it says that all of it is built.
    let done = folder.join("built-from");
    if fs::read(&done).is_ok_and(|built| built == wanted) {
        return folder;
    }
    fs::create_dir_all(&folder).unwrap();
    for (name, package) in
        [("registry", "."), ("crane", "github.com/google/go-containerregistry/cmd/crane")]
    {
        let built = Command::new("go")
            .args(["build", "-mod=readonly", "-modcacherw", "-trimpath", "-ldflags=-s -w", "-o"])
            .arg(folder.join(name))
            .arg(package)
            .current_dir(&sources)
            .env("GOCACHE", top.join("border-servers-cache"))
            .env("GOMODCACHE", top.join("border-servers-modules"))
            .env("GOFLAGS", "")
            .output();
        let built = built.unwrap_or_else(|error| {
            panic!("{error}: `{name}` is built with Go 1.25 or newer; install it")
        });
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "`{name}` could not be built from tests/servers:\n{said}");
    }
    fs::write(done, wanted).unwrap();
    folder
}

/// A running registry in memory, ended when it is dropped.
pub(crate) struct MemoryRegistry {
    child: Child,
    /// Such as `127.0.0.1:41234`.
    pub(crate) host: String,
}

impl MemoryRegistry {
    /// Starts one with options such as `-immutable`.
    pub(crate) fn start(options: &[&str]) -> Self {
        let mut command = Command::new(programs().join("registry"));
        // It ends with its standard input, and so with this process, however that ends.
        let command = command.args(options).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut host = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut host).unwrap();
        Self { child, host: host.trim().to_owned() }
    }
}

impl Drop for MemoryRegistry {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
