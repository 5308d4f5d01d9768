//! A subscriber's own program as a check: it holds when the program ends with 0.

use std::{
    ffi::OsStr,
    path::Path,
    time::{Duration, Instant},
};

use crate::{
    process::{self, Program},
    result::{CheckResult, Outcome},
};

/// Runs a command; `KUBECONFIG` and, where it is known, `KDISTRO_RELEASE` stand in its environment.
pub(crate) async fn run(
    command: &[String],
    (kubeconfig, release): (&Path, Option<&str>),
    limit: Duration,
) -> CheckResult {
    let (begin, name) = (Instant::now(), name(command));
    let (program, arguments) = command.split_first().unzip();
    let mut environment = vec![("KUBECONFIG", kubeconfig.as_os_str())];
    environment.extend(release.map(|release| ("KDISTRO_RELEASE", OsStr::new(release))));
    let program = Program {
        path: Path::new(program.map_or("", String::as_str)),
        arguments: arguments.unwrap_or_default(),
        environment,
        limit,
    };
    let (outcome, output) = match process::run(&program).await {
        Ok(ended) => match ended.why_not(limit) {
            None => (Outcome::Passed, String::new()),
            Some(why) => (Outcome::Failed(with_last_line(why, &ended.output)), ended.output),
        },
        Err(error) => (Outcome::Failed(format!("it cannot be started: {error}")), String::new()),
    };
    CheckResult::new(&name, outcome, begin.elapsed().as_secs_f64(), &output)
}

/// A reason, and the last that was said.
fn with_last_line(why: String, output: &str) -> String {
    match output.lines().rev().map(str::trim).find(|line| !line.is_empty()) {
        Some(last) => format!("{why}: {last}"),
        None => why,
    }
}

/// What the check is called: its command.
fn name(command: &[String]) -> String {
    format!("command {}", command.join(" "))
}
