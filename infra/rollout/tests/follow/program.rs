//! `kdistro-rollout run` on its own, and what it says.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// A program that ends with the test.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts it with the subscriber's file of a folder; what it says goes into a file there.
    #[expect(clippy::disallowed_methods, reason = "the program is tested")]
    pub(crate) fn start(folder: &Path, variables: &[(String, String)]) -> Self {
        let log = folder.join("log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_kdistro-rollout"));
        command.arg("--state").arg(folder.join("state")).args(["run", "--config"]);
        command.arg(folder.join("rollout.yaml")).stdin(Stdio::null());
        let file = fs::File::create(&log).unwrap();
        command.stdout(file.try_clone().unwrap()).stderr(file).envs(variables.iter().cloned());
        Self { child: command.spawn().unwrap(), log }
    }

    /// What it said so far.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it says something.
    pub(crate) fn until(&self, text: &str) -> String {
        self.until_in(&self.log, text)
    }

    /// Waits until a file says something.
    pub(crate) fn until_in(&self, file: &Path, text: &str) -> String {
        let read = || fs::read_to_string(file).unwrap_or_default();
        self.wait(&format!("{text:?} in {}", file.display()), || {
            Some(read()).filter(|said| said.contains(text))
        })
    }

    /// Waits for a minute until there is something.
    pub(crate) fn wait<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> T {
        for _ in 0..600 {
            if let Some(found) = look() {
                return found;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("no {what}; {}", self.said());
    }

    /// How often one of its threads has gone to sleep so far.
    ///
    /// Source: `proc(5)`, `/proc/pid/task/tid/status`, `voluntary_ctxt_switches`.
    pub(crate) fn sleeps(&self) -> u64 {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let statuses = threads.map(|thread| thread.unwrap().path().join("status"));
        let sleeps = statuses.filter_map(|status| {
            // A thread that ends meanwhile sleeps no more.
            let status = fs::read_to_string(status).ok()?;
            let count =
                status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            Some(count.unwrap().trim().parse::<u64>().unwrap())
        });
        sleeps.sum()
    }

    /// Whether it is the process that was started, and works on.
    pub(crate) fn goes_on(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
