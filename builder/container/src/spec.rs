//! What a step is allowed to see and use, and the check that the description makes sense. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::outcome::StepError;

/// One build step: everything it can see, and how much it may use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StepSpec {
    /// Host folder that becomes the read-only root file system; may be empty.
    pub root: PathBuf,
    /// Read-only folders and files on top of the root, at paths that need not exist there.
    pub mounts: Vec<Mount>,
    /// The program (a path inside the container) and its arguments. No shell reads them.
    pub argv: Vec<String>,
    /// The whole environment; nothing is inherited.
    pub env: BTreeMap<String, String>,
    /// The working directory inside the container.
    pub directory: String,
    /// How much the step may use.
    pub limits: Limits,
    /// Host folder that the step sees as `/out`, writable.
    pub out: PathBuf,
    /// Host folder that the step sees as `/tmp`, writable.
    pub scratch: PathBuf,
    /// Host file that receives standard output and standard error, in the order they were written.
    pub log: PathBuf,
}

/// A host folder or file that the step can read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mount {
    /// Where it is on the host. Everybody must be able to read what is in it: as root, steps run under another user id.
    pub host: PathBuf,
    /// Where the step sees it: an absolute path without `.`, `..` or a trailing slash.
    pub path: String,
}

/// How much one step may use. Each limit ends the step when it is passed.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Wall time in seconds.
    pub seconds: u64,
    /// Memory of all processes together, file cache excluded as far as the kernel can reclaim it.
    pub memory_bytes: u64,
    /// Processes and threads together.
    pub processes: u64,
    /// `/out` and `/tmp` together; every file, folder or link counts as 4 KiB at least.
    pub disk_bytes: u64,
    /// Size of the log.
    pub log_bytes: u64,
}

/// Folders that the container makes itself, so that nothing can be mounted at or below them.
const RESERVED: [&str; 5] = ["/dev", "/out", "/proc", "/tmp", STUB_PATH];

/// Where the first process of the container lies inside it.
pub(crate) const STUB_PATH: &str = "/.kdistro-stub";

impl StepSpec {
    /// Refuses what could not be started or would mean something else than it says.
    pub(crate) fn check(&self) -> Result<(), StepError> {
        let program = self.argv.first().ok_or_else(|| refused("argv", "is empty"))?;
        if program.is_empty() {
            return Err(refused("argv", "names no program"));
        }
        for text in self.argv.iter().chain(self.env.keys()).chain(self.env.values()) {
            if text.contains('\0') {
                return Err(refused(&format!("{text:?}"), "holds a zero byte"));
            }
        }
        if let Some(name) = self.env.keys().find(|name| name.is_empty() || name.contains('=')) {
            return Err(refused(&format!("environment variable {name:?}"), "is no name"));
        }
        if !is_plain_path(&self.directory) && self.directory != "/" {
            return Err(refused(
                &format!("directory {:?}", self.directory),
                "is no plain absolute path",
            ));
        }
        let mut paths = BTreeSet::new();
        if let Some(twice) = self.mounts.iter().find(|mount| !paths.insert(&mount.path)) {
            return Err(refused(&format!("mount {:?}", twice.path), "is named twice"));
        }
        self.mounts.iter().try_for_each(Mount::check)
    }
}

impl Mount {
    fn check(&self) -> Result<(), StepError> {
        let subject = format!("mount {:?}", self.path);
        if !is_plain_path(&self.path) {
            return Err(refused(&subject, "is no plain absolute path"));
        }
        match RESERVED.iter().find(|reserved| is_at_or_below(&self.path, reserved)) {
            Some(reserved) => Err(refused(
                &subject,
                &format!("lies in {reserved}, which the container makes itself"),
            )),
            None => Ok(()),
        }
    }
}

/// Whether `path` is `folder` or something in it; both plain.
pub(crate) fn is_at_or_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_plain_path(path: &str) -> bool {
    let part = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(part))
}

fn refused(subject: &str, reason: &str) -> StepError {
    StepError::CannotStart { subject: subject.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> StepSpec {
        StepSpec {
            root: "/r".into(),
            mounts: vec![Mount { host: "/h".into(), path: "/go".into() }],
            argv: vec!["/go/bin/go".into()],
            env: BTreeMap::from([("HOME".into(), "/tmp".into())]),
            directory: "/src".into(),
            limits: Limits {
                seconds: 1,
                memory_bytes: 1,
                processes: 1,
                disk_bytes: 1,
                log_bytes: 1,
            },
            out: "/o".into(),
            scratch: "/s".into(),
            log: "/l".into(),
        }
    }

    #[test]
    fn accepts_a_plain_step() {
        spec().check().unwrap();
    }

    #[test]
    fn refuses_mounts_that_are_not_plain_or_are_ours() {
        for path in [
            "",
            "/",
            "go",
            "/go/",
            "/go//pkg",
            "/go/../etc",
            "/./go",
            "/out",
            "/tmp/x",
            "/proc/self",
            "/.kdistro-stub",
        ] {
            let mut spec = spec();
            spec.mounts = vec![Mount { host: "/h".into(), path: path.into() }];
            assert!(
                matches!(spec.check(), Err(StepError::CannotStart { .. })),
                "{path:?} was accepted"
            );
        }
    }

    #[test]
    fn accepts_mounts_whose_names_only_begin_like_ours() {
        let mut spec = spec();
        spec.mounts = vec![Mount { host: "/h".into(), path: "/output".into() }];
        spec.check().unwrap();
    }

    #[test]
    fn refuses_an_empty_command_and_broken_names() {
        let cases: [fn(&mut StepSpec); 5] = [
            |spec| spec.argv.clear(),
            |spec| spec.argv = vec![String::new()],
            |spec| spec.argv.push("a\0b".into()),
            |spec| drop(spec.env.insert("A=B".into(), String::new())),
            |spec| spec.directory = "src".into(),
        ];
        for (number, spoil) in cases.iter().enumerate() {
            let mut spec = spec();
            spoil(&mut spec);
            assert!(spec.check().is_err(), "case {number} was accepted");
        }
    }
}
