//! Runs one step in the container, checks what it left, and keeps it.

use std::{collections::BTreeMap, fs, io, path::Path};

use kdistro_container::{Mount, StepError, StepSpec};
use kdistro_formats::{
    Digest,
    plan::{Check, Limits, Step},
};

use super::{BuildError, Builder, Output, Records, StepRecord, trees::Trees};
use crate::report::seconds;

impl Builder<'_> {
    pub(super) fn run(&self, step: &Step, records: &Records) -> Result<StepRecord, BuildError> {
        let scratch = self.home.scratch("step")?;
        let make = |name: &str| {
            let path = scratch.path().join(name);
            fs::create_dir(&path)
                .map_err(|source| BuildError::Io { path: path.clone(), source })?;
            Ok::<_, BuildError>(path)
        };
        let (out, temporary) = (make("out")?, make("tmp")?);
        let log = self.home.folder("logs")?.join(format!("{}.log", step.key.hex()));
        let spec = self.spec(step, records, (&out, &temporary, &log))?;
        let finished = kdistro_container::run(&spec).map_err(|source| BuildError::Step {
            full: if is_full(&out) { " (the disk is full)" } else { "" },
            step: step.name.clone(),
            tail: tail(&log),
            log: log.clone(),
            source,
        })?;
        let left =
            files_below(&out).map_err(|source| BuildError::Io { path: out.clone(), source })?;
        if let Some(what) = unexpected(&step.body.outputs, &left) {
            return Err(BuildError::Outputs { step: step.name.clone(), what });
        }
        let checks = if self.can_run(step) { step.checks.clone() } else { Vec::new() };
        self.check(step, &checks, &out)?;
        let mut outputs = BTreeMap::new();
        for name in &step.body.outputs {
            let keep = |source| BuildError::Keep { step: step.name.clone(), source };
            let (digest, size) = self.content.take(&out.join(name)).map_err(keep)?;
            outputs.insert(name.clone(), Output { digest, size });
        }
        let record = StepRecord {
            name: step.name.clone(),
            body: step.body.clone(),
            outputs,
            checks,
            seconds: seconds(finished.wall),
            cpu_seconds: seconds(finished.cpu),
            peak_memory_bytes: finished.peak_memory_bytes,
            isolation: finished.isolation,
        };
        record.write(self.home, &step.key)?;
        Ok(record)
    }

    fn spec(
        &self,
        step: &Step,
        records: &Records,
        (out, scratch, log): (&Path, &Path, &Path),
    ) -> Result<StepSpec, BuildError> {
        let trees = Trees { plan: self.plan, home: self.home, content: self.content, records };
        let lay_out = |digest: &Digest| {
            let failed = |source| BuildError::Tree { step: step.name.clone(), source };
            trees.lay_out(digest).map_err(failed)
        };
        let mut mounts = Vec::new();
        for (path, digest) in &step.body.mounts {
            mounts.push(Mount { host: lay_out(digest)?, path: path.clone() });
        }
        Ok(StepSpec {
            root: lay_out(&step.body.root)?,
            mounts,
            argv: step.body.argv.clone(),
            env: step.body.env.clone(),
            directory: step.body.directory.clone(),
            limits: limits(&step.body.limits),
            out: out.to_owned(),
            scratch: scratch.to_owned(),
            log: log.to_owned(),
        })
    }

    /// Runs each program that says its version, in the container and with nothing but itself.
    fn check(&self, step: &Step, checks: &[Check], out: &Path) -> Result<(), BuildError> {
        for check in checks {
            let scratch = self.home.scratch("check")?;
            let make = |name: &str| {
                let path = scratch.path().join(name);
                fs::create_dir(&path)
                    .map_err(|source| BuildError::Io { path: path.clone(), source })?;
                Ok::<_, BuildError>(path)
            };
            let log = scratch.path().join("log");
            let program = "/programs/".to_owned() + &check.output;
            let spec = StepSpec {
                root: make("root")?,
                mounts: vec![Mount { host: out.to_owned(), path: "/programs".to_owned() }],
                argv: [program].into_iter().chain(check.arguments.iter().cloned()).collect(),
                env: BTreeMap::from([("HOME".to_owned(), "/tmp".to_owned())]),
                directory: "/".to_owned(),
                limits: limits(&step.body.limits),
                out: make("out")?,
                scratch: make("tmp")?,
                log: log.clone(),
            };
            let ran = kdistro_container::run(&spec);
            let printed = fs::read(&log).map_err(|source| BuildError::Io { path: log, source })?;
            let printed = String::from_utf8_lossy(&printed).into_owned();
            // What it prints decides: a CNI plugin says who it is and exits with 1.
            let ended = matches!(ran, Ok(_) | Err(StepError::Exited { .. }));
            let missing =
                check.expect.iter().find(|text| !ended || !printed.contains(text.as_str()));
            if let Some(expected) = missing {
                return Err(BuildError::Check {
                    step: step.name.clone(),
                    program: format!("{} {}", check.output, check.arguments.join(" "))
                        .trim()
                        .to_owned(),
                    printed: printed.chars().take(400).collect(),
                    expected: expected.clone(),
                });
            }
        }
        Ok(())
    }
}

fn limits(limits: &Limits) -> kdistro_container::Limits {
    kdistro_container::Limits {
        seconds: limits.seconds,
        memory_bytes: limits.memory_bytes,
        processes: limits.processes,
        disk_bytes: limits.disk_bytes,
        log_bytes: limits.log_bytes,
    }
}

/// Lists what lies below a folder, by path from it, sorted; what is no plain file is called so.
fn files_below(folder: &Path) -> io::Result<Vec<String>> {
    let (mut found, mut folders) = (Vec::new(), vec![(folder.to_owned(), String::new())]);
    while let Some((folder, prefix)) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push((entry.path(), format!("{name}/")));
            } else if kind.is_file() {
                found.push(name);
            } else {
                // An output that is a link could lead to any file of this machine.
                found.push(format!("{name} (a link)"));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn unexpected(wanted: &[String], left: &[String]) -> Option<String> {
    if let Some(name) = wanted.iter().find(|name| !left.contains(name)) {
        return Some(format!("did not leave `{name}`; it left {left:?}"));
    }
    let name = left.iter().find(|name| !wanted.contains(name))?;
    Some(format!("left `{name}`, which is not one of its outputs"))
}

/// True when hardly any block or file is left where a step writes.
fn is_full(folder: &Path) -> bool {
    rustix::fs::statvfs(folder).is_ok_and(|found| {
        let bytes = found.f_bavail.saturating_mul(found.f_frsize);
        bytes < 1 << 20 || (found.f_files > 0 && found.f_favail < 16)
    })
}

fn tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().rev().take(15).collect();
    lines.into_iter().rev().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}
