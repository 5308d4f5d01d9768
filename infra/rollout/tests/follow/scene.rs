//! A subscriber of a small store, who rolls out by a command that writes down which release it was given.

use std::{
    cell::Cell,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use kdistro_formats::{layout, release::ReleaseRef};
use serde_json::Value;

use crate::{content::name, program::Running, publisher::Publisher};

/// A store that is published as a whole, and a subscriber's folder beside it.
pub(crate) struct Scene {
    pub(crate) publisher: Publisher,
    folder: tempfile::TempDir,
    published: Cell<u32>,
}

impl Scene {
    /// Publishes the first release to a subscriber who hears in these ways.
    pub(crate) fn new(hear: &str) -> Self {
        let (publisher, folder) = (Publisher::new(), tempfile::tempdir().unwrap());
        fs::write(folder.path().join("release.pub"), publisher.read(layout::PUBLIC_KEY)).unwrap();
        let mut scene = Self { publisher, folder, published: Cell::new(0) };
        scene.release(1);
        scene.publish();
        scene.configure(hear);
        scene
    }

    /// Writes the subscriber's file.
    pub(crate) fn configure(&self, hear: &str) {
        let (done, bad) = (self.path("done"), self.path("bad"));
        let command = format!(
            "echo $KDISTRO_RELEASE >>{}; test ! -e {}-$KDISTRO_RELEASE",
            done.display(),
            bad.display()
        );
        let text = format!(
            "cluster: dev\nstore: store\nkey: release.pub\nenvironment: test\nchannel: \"1-20\"\n\
             hear: {{{hear}}}\ndriver: {{exec: {{command: [sh, -c, {command:?}]}}}}\nstate: state\n"
        );
        fs::write(self.path("rollout.yaml"), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a release of which the command says that it does not work.
    pub(crate) fn spoil(&self, number: u32) {
        fs::write(self.path(&format!("bad-{}", name(number))), "").unwrap();
    }

    /// Signs a release after those that the index lists; it is published later.
    pub(crate) fn release(&mut self, number: u32) -> ReleaseRef {
        let previous = self.publisher.index.status.releases.last().cloned();
        let release = self.publisher.release(number, previous);
        self.publisher.write_index();
        release
    }

    /// Shows subscribers the publisher's store as it is now, all of it at once.
    pub(crate) fn publish(&self) {
        self.show(&self.keep());
    }

    /// Copies the publisher's store as it is now, and returns the copy.
    pub(crate) fn keep(&self) -> PathBuf {
        self.published.set(self.published.get() + 1);
        let copied = self.path(&format!("store-{}", self.published.get()));
        copy(&self.publisher.root(), &copied);
        copied
    }

    /// Shows subscribers another store in place of the one before.
    pub(crate) fn show(&self, store: &Path) {
        let new = self.path("store.new");
        symlink(store, &new).unwrap();
        fs::rename(new, self.path("store")).unwrap();
    }

    /// Starts to follow.
    pub(crate) fn run(&self, variables: &[(String, String)]) -> Running {
        Running::start(self.folder.path(), variables)
    }

    /// Runs the program to its end.
    #[expect(clippy::disallowed_methods, reason = "the program is tested")]
    pub(crate) fn ended(&self, arguments: &[&str]) -> (i32, String) {
        let mut program = Command::new(env!("CARGO_BIN_EXE_kdistro-rollout"));
        program.arg("--state").arg(self.path("state")).args(arguments);
        let Output { status, stdout, stderr } =
            program.current_dir(self.folder.path()).output().unwrap();
        (status.code().unwrap(), String::from_utf8([stdout, stderr].concat()).unwrap())
    }

    /// How things stand.
    pub(crate) fn status(&self) -> Value {
        let (code, said) = self.ended(&["--json", "status"]);
        assert_eq!(code, 0, "{said}");
        serde_json::from_str(&said).unwrap()
    }

    /// How often it was looked.
    pub(crate) fn looks(&self) -> u64 {
        let status = self.status();
        let last = status["looks"]["last"].as_array().unwrap();
        last.iter().map(|look| look["times"].as_u64().unwrap()).sum()
    }

    /// The releases that the command was given, in their order.
    pub(crate) fn done(&self) -> Vec<String> {
        let done = fs::read_to_string(self.path("done")).unwrap_or_default();
        done.lines().map(str::to_owned).collect()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}
