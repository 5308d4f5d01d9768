//! The release gate: a release that nobody was told of yet is started as a cluster of this machine, and checked.
//!
//! `devcluster` starts it, from its published documents and by their digests, and `kdistro-checks` checks it: programs
//! of their own, so that whoever cuts releases needs neither of their libraries. Only [`Gate::judge`] starts processes.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{self, Child, ChildStderr, Command, Stdio},
    thread,
};

use kdistro_formats::failure::Failure;
use serde::Deserialize;

/// The programs.
const DEVCLUSTER: &str = "devcluster";
const CHECKS: &str = "kdistro-checks";
/// Where `devcluster` finds the release: others on this machine see command lines, and an address may hold a secret.
const RELEASE: &str = "KDISTRO_DEVCLUSTER_RELEASE";
/// What a program's last words begin with.
const ERROR: &str = "error: ";
/// How much of a program's last words is kept, in bytes.
const LONGEST: usize = 4096;
/// The name of the cluster, in a home of its own.
const CLUSTER: &str = "gate";
/// What results of upstream's tests begin with.
const UPSTREAM: &str = "conformance";
/// The name of the one test that failed when there is no cluster to try others on.
const STARTS: &str = "cluster-starts";

/// A gate that cannot tell.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// A program is missing.
    #[error(
        "the gate needs {}, which is missing\nhelp:  in a clone of the repository: `cargo build -p kdistro-devcluster -p kdistro-checks`, with `--release` where this program was built with it; else put it beside this one", .0.display()
    )]
    Missing(PathBuf),
    /// A program cannot be run.
    #[error("cannot run {}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is left of a cluster cannot be removed.
    #[error("cannot remove {}", folder.display())]
    Left {
        /// Its folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The cluster or its checks could not be carried out, whatever the release is like.
    #[error("the gate could not try release {release}: {said}")]
    Untried {
        /// The release.
        release: String,
        /// What was said.
        said: String,
    },
}

/// What starts a release as a cluster and checks it.
#[derive(Clone, Debug)]
pub struct Gate {
    devcluster: PathBuf,
    checks: PathBuf,
    home: PathBuf,
}

/// A release at the gate.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its name, such as `1-20-7`.
    pub name: &'a str,
    /// Path or address of its manifest, in its store.
    pub manifest: &'a str,
    /// The file of the public key that signed it.
    pub key: &'a Path,
    /// Whether upstream's conformance tests are part of it.
    pub has_tests: bool,
    /// Whether it ships a resolver for pods.
    pub has_dns: bool,
}

/// What came out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tested {
    /// Whether the cluster had a node that ran pods: that needs root.
    pub node: bool,
    /// What the API server said it is; none where there was no cluster.
    pub kubernetes: Option<String>,
    /// The tests that passed.
    pub passed: Vec<String>,
    /// The tests that could not be tried, each with the reason.
    pub skipped: Vec<(String, String)>,
    /// The tests that failed, each with the reason.
    pub failed: Vec<(String, String)>,
}

impl Gate {
    /// Finds the programs in a folder; what there is of clusters lies below `home` while they last.
    pub fn find(folder: &Path, home: PathBuf) -> Result<Self, GateError> {
        let find = |name| {
            let program = folder.join(name);
            if program.is_file() { Ok(program) } else { Err(GateError::Missing(program)) }
        };
        Ok(Self { devcluster: find(DEVCLUSTER)?, checks: find(CHECKS)?, home })
    }

    /// Starts a release as a cluster, checks it, and ends the cluster; `say` is told how far it is, a line at a time. A
    /// failure counts when it comes twice, and so does that nothing can be told: a machine that was busy for a moment takes
    /// no release back, and stops nobody.
    ///
    /// As root the cluster has a node, and upstream's conformance tests run too, where the release has them.
    pub fn judge(
        &self,
        candidate: &Candidate<'_>,
        say: &mut dyn FnMut(&str),
    ) -> Result<Tested, GateError> {
        let home = self.home.join(candidate.name);
        self.clear(&home)?;
        let tested = self.judge_twice(candidate, &home, say);
        let cleared = self.clear(&home);
        let tested = tested?;
        cleared.map(|()| tested)
    }

    fn judge_twice(
        &self,
        candidate: &Candidate<'_>,
        home: &Path,
        say: &mut dyn FnMut(&str),
    ) -> Result<Tested, GateError> {
        let first = self.judge_once(candidate, home, say);
        match &first {
            Ok(tested) if tested.failed.is_empty() => return first,
            Ok(tested) => say(&format!("{}: once more", tested.failures())),
            Err(GateError::Untried { said, .. }) => say(&format!("{said}: once more")),
            Err(_) => return first,
        }
        self.end(home)?;
        self.judge_once(candidate, home, say)
    }

    fn judge_once(
        &self,
        candidate: &Candidate<'_>,
        home: &Path,
        say: &mut dyn FnMut(&str),
    ) -> Result<Tested, GateError> {
        let node = rustix::process::geteuid().is_root();
        let mut run = command(&self.devcluster);
        run.arg("--home").arg(home).args(["run", "--unoffered", "--name", CLUSTER]);
        // It ends with this process, and is told of nothing else: what a terminal says goes to both otherwise.
        run.args(["--bound", &process::id().to_string()]).process_group(0);
        run.env(RELEASE, candidate.manifest).arg("--key").arg(candidate.key);
        if !node {
            run.arg("--control-plane-only");
        } else if candidate.has_tests {
            run.arg("--tests");
        }
        run.arg("--").arg(&self.checks).args(["--json", "run", "--builtin"]);
        run.args(["--release", candidate.name, "--owner", "kdistro-gate"]);
        // What is not there any more was lost, and is not left out.
        run.args(node.then_some("--expect-node"));
        run.args((node && candidate.has_dns).then_some("--expect-dns"));
        let (code, out, said) = carry_out(&mut run, say).map_err(|source| self.failed(source))?;
        let untried = |said: &str| GateError::Untried {
            release: candidate.name.to_owned(),
            said: said.to_owned(),
        };
        match (serde_json::from_slice::<Report>(&out), code) {
            (Ok(report), Some(code @ (0 | 1))) => {
                let tested = report.tested(node);
                let wrong = tested.contradicts(code, candidate.has_tests);
                wrong.map_or(Ok(tested), |wrong| Err(untried(wrong)))
            }
            // What is no cluster is no release: on one, the checks would have written something.
            (Err(_), Some(1)) if out.is_empty() => {
                let failed = vec![(STARTS.to_owned(), said)];
                Ok(Tested { node, failed, ..Tested::default() })
            }
            (Err(error), Some(0 | 1)) => {
                Err(untried(&format!("what was written is no report of checks: {error}")))
            }
            _ => Err(untried(&last_words(&out, said))),
        }
    }

    /// Ends a cluster that a run left which was killed together with all that could have ended it, and removes what it took
    /// out of the release.
    fn clear(&self, home: &Path) -> Result<(), GateError> {
        if !home.exists() {
            return Ok(());
        }
        self.end(home)?;
        fs::remove_dir_all(home)
            .map_err(|source| GateError::Left { folder: home.to_owned(), source })
    }

    /// Ends what there is of clusters.
    fn end(&self, home: &Path) -> Result<(), GateError> {
        let mut down = command(&self.devcluster);
        down.arg("--home").arg(home).args(["down", "--all"]);
        down.stdout(Stdio::null()).stderr(Stdio::null());
        down.status().map(drop).map_err(|source| self.failed(source))
    }

    fn failed(&self, source: io::Error) -> GateError {
        GateError::Run { program: self.devcluster.clone(), source }
    }
}

impl Tested {
    /// What failed, each with the reason, in one line.
    fn failures(&self) -> String {
        let failed = self.failed.iter().map(|(name, why)| format!("{name} failed: {why}"));
        failed.collect::<Vec<_>>().join("; ").replace('\n', " ")
    }

    /// Why these results are none: they do not fit to the exit code, or nothing was tried.
    fn contradicts(&self, code: i32, has_tests: bool) -> Option<&'static str> {
        let is_upstreams = |name: &&String| name.starts_with(UPSTREAM);
        let tried = self.passed.iter().chain(self.failed.iter().map(|(name, _)| name));
        let tried = tried.filter(is_upstreams).count();
        let left_out = self.skipped.iter().map(|(name, _)| name).filter(is_upstreams).count();
        if (code == 1) == self.failed.is_empty() {
            return Some("what the checks said and how they ended do not fit");
        }
        if self.passed.is_empty() && self.failed.is_empty() {
            return Some("no check was run");
        }
        let is_missing = self.node && has_tests && (tried == 0 || tried < left_out);
        is_missing.then_some("most of upstream's tests were not run")
    }
}

/// What `kdistro-checks --json run` writes, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Report {
    kubernetes: String,
    results: Vec<CheckResult>,
}

#[derive(Debug, Deserialize)]
struct CheckResult {
    name: String,
    outcome: Outcome,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

impl Report {
    fn tested(self, node: bool) -> Tested {
        let kubernetes = Some(self.kubernetes);
        let mut tested = Tested { node, kubernetes, ..Tested::default() };
        for CheckResult { name, outcome } in self.results {
            match outcome {
                Outcome::Passed => tested.passed.push(name),
                Outcome::Skipped(why) => tested.skipped.push((name, why)),
                Outcome::Failed(why) => tested.failed.push((name, why)),
            }
        }
        tested
    }
}

/// Why there are no results: the checks say it where they were asked for JSON, the cluster in words.
fn last_words(out: &[u8], said: String) -> String {
    serde_json::from_slice::<Failure>(out).map_or(said, |failure| failure.told())
}

#[expect(clippy::disallowed_methods, reason = "the gate is two programs")]
fn command(program: &Path) -> Command {
    Command::new(program)
}

/// Runs a program; returns its exit code, what it wrote, and its last words.
fn carry_out(
    command: &mut Command,
    say: &mut dyn FnMut(&str),
) -> io::Result<(Option<i32>, Vec<u8>, String)> {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let reading = thread::spawn(move || {
        let mut bytes = Vec::new();
        out.map_or(Ok(0), |mut out| out.read_to_end(&mut bytes)).map(|_| bytes)
    });
    let said = listen(err, say);
    let status = Child::wait(&mut child)?;
    let bytes = reading.join().map_err(|_| io::Error::other("its output was not read"))??;
    Ok((status.code(), bytes, said))
}

/// Passes lines on, until there are no more; returns those from the last that says an error on.
fn listen(err: Option<ChildStderr>, say: &mut dyn FnMut(&str)) -> String {
    let mut said = String::new();
    let lines = err.map(BufReader::new).into_iter().flat_map(|err| err.split(b'\n'));
    for line in lines.map_while(Result::ok) {
        let line = String::from_utf8_lossy(&line);
        if let Some(error) = line.strip_prefix(ERROR) {
            error.clone_into(&mut said);
        } else if !said.is_empty() && said.len() < LONGEST {
            said.push('\n');
            said.push_str(&line);
        } else {
            say(line.trim());
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tested(passed: &[&str], failed: &[&str]) -> Tested {
        Tested {
            node: true,
            passed: passed.iter().map(ToString::to_string).collect(),
            failed: failed.iter().map(|name| ((*name).to_owned(), "why".to_owned())).collect(),
            ..Tested::default()
        }
    }

    #[test]
    fn results_that_contradict_themselves_are_none() {
        let upstreams = "conformance: [sig-node] Pods should run";
        let left_out = |count| vec![(upstreams.to_owned(), "it was not run".to_owned()); count];
        for (tested, code, has_tests, fits) in [
            (tested(&["pod-runs"], &[]), 0, false, true),
            (tested(&["pod-runs"], &[]), 1, false, false),
            (tested(&[], &["pod-runs"]), 1, false, true),
            (tested(&[], &["pod-runs"]), 0, false, false),
            (tested(&[], &[]), 0, false, false),
            (tested(&["pod-runs"], &[]), 0, true, false),
            (tested(&["pod-runs", upstreams], &[]), 0, true, true),
            (tested(&["pod-runs"], &["conformance"]), 1, true, true),
            (
                Tested { skipped: left_out(2), ..tested(&["pod-runs", upstreams], &[]) },
                0,
                true,
                false,
            ),
            (
                Tested { skipped: left_out(1), ..tested(&["pod-runs", upstreams], &[]) },
                0,
                true,
                true,
            ),
        ] {
            assert_eq!(tested.contradicts(code, has_tests).is_none(), fits, "{tested:?}");
        }
    }

    #[test]
    fn last_words_begin_with_the_last_error_and_have_an_end() {
        let mut child = command(Path::new("sh"));
        let script = "echo 'a line' >&2; echo 'error: first' >&2; echo 'error: last' >&2; echo more >&2; echo out";
        let mut said = Vec::new();
        let (code, out, words) =
            carry_out(child.args(["-c", script]), &mut |line| said.push(line.to_owned())).unwrap();
        assert_eq!((code, &*out, &*words), (Some(0), &b"out\n"[..], "last\nmore"));
        assert_eq!(said, ["a line"]);
    }
}
