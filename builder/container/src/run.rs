//! Runs one step: starts a supervisor, hands it the description, and waits for what it reports.

use std::io::{Read, Write};
use std::path::{self, Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::outcome::{Finished, StepError};
use crate::reexec;
use crate::spec::StepSpec;

/// What a supervisor is asked to do.
#[derive(Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) spec: StepSpec,
    /// Only the probe's self-test turns the system call filter off.
    pub(crate) filter: bool,
}

/// Runs a step to its end. Several may run at once, each from a thread of its own.
///
/// `out` and `scratch` must exist and should be empty. As root they come to belong to another user id while the step
/// runs; afterwards everything in `out` belongs to the owner that `out` had. The log is written anew.
/// Fails unless `main` began with [`enter_if_helper`](crate::enter_if_helper).
pub fn run(spec: &StepSpec) -> Result<Finished, StepError> {
    if !reexec::is_entered() {
        return Err(StepError::engine("start", "main did not begin with enter_if_helper"));
    }
    run_with(Path::new("/proc/self/exe"), spec)
}

/// Runs a step with another program as the helper: one whose `main` begins with
/// [`enter_if_helper`](crate::enter_if_helper), for callers that do not own their `main`.
pub fn run_with(helper: &Path, spec: &StepSpec) -> Result<Finished, StepError> {
    run_job(helper, &Job { spec: absolute(spec)?, filter: true })
}

pub(crate) fn run_job(helper: &Path, job: &Job) -> Result<Finished, StepError> {
    job.spec.check()?;
    let begun = Instant::now();
    let mut line =
        serde_json::to_vec(job).map_err(|error| StepError::engine("describing the step", error))?;
    line.push(b'\n');
    let mut supervisor =
        start(helper).map_err(|error| StepError::engine("starting the supervisor", error))?;
    let answer = converse(&mut supervisor, &line);
    let status = supervisor
        .wait()
        .map_err(|error| StepError::engine("waiting for the supervisor", error))?;
    let (report, complaint) =
        answer.map_err(|error| StepError::engine("talking to the supervisor", error))?;
    let result: Result<Finished, StepError> = serde_json::from_slice(&report).map_err(|_| {
        let complaint = String::from_utf8_lossy(&complaint);
        StepError::engine(
            "supervising",
            format!("no report ({status}) {}", complaint.trim()).trim_end(),
        )
    })?;
    result.map(|finished| Finished { wall: begun.elapsed(), ..finished })
}

#[expect(
    clippy::disallowed_methods,
    reason = "the supervisor is this program again, in a process of its own"
)]
fn start(helper: &Path) -> std::io::Result<Child> {
    Command::new(helper)
        .arg(reexec::SUPERVISE)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// Sends the job and reads the report. Standard input stays open until the report is there: its end is how the
/// supervisor notices that this program died.
fn converse(supervisor: &mut Child, line: &[u8]) -> std::io::Result<(Vec<u8>, Vec<u8>)> {
    let mut input = supervisor.stdin.take();
    if let Some(input) = &mut input {
        // A supervisor that died before reading is told by its missing report.
        let _ = input.write_all(line).and_then(|()| input.flush());
    }
    let (mut report, mut complaint) = (Vec::new(), Vec::new());
    if let Some(mut output) = supervisor.stdout.take() {
        output.read_to_end(&mut report)?;
    }
    if let Some(mut errors) = supervisor.stderr.take() {
        errors.read_to_end(&mut complaint)?;
    }
    drop(input);
    Ok((report, complaint))
}

/// Makes all paths absolute: the helper looks at them from another working directory.
pub(crate) fn absolute(spec: &StepSpec) -> Result<StepSpec, StepError> {
    let fixed = |path: &PathBuf| {
        path::absolute(path).map_err(|error| StepError::CannotStart {
            subject: path.display().to_string(),
            reason: error.to_string(),
        })
    };
    let mut spec = spec.clone();
    for path in [&mut spec.root, &mut spec.out, &mut spec.scratch, &mut spec.log] {
        *path = fixed(path)?;
    }
    for mount in &mut spec.mounts {
        mount.host = fixed(&mount.host)?;
    }
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::spec::Limits;

    #[test]
    fn a_program_that_cannot_become_the_helper_is_told_so() {
        // This test program's main is not ours: started again, it would run all tests again.
        let spec = StepSpec {
            root: "root".into(),
            mounts: Vec::new(),
            argv: vec!["/true".to_owned()],
            env: BTreeMap::new(),
            directory: "/".to_owned(),
            limits: Limits {
                seconds: 1,
                memory_bytes: 1,
                processes: 1,
                disk_bytes: 1,
                log_bytes: 1,
            },
            out: "out".into(),
            scratch: "scratch".into(),
            log: "log".into(),
        };
        let error = run(&spec).unwrap_err().to_string();
        assert!(
            error.starts_with(
                "the build container failed at start: main did not begin with enter_if_helper"
            ),
            "{error}"
        );
        assert!(absolute(&spec).unwrap().out.is_absolute());
    }
}
