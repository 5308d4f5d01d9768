//! A git repository that something else applies: the release's digests are committed there, and then it is waited.
//!
//! What is written is one file of its own, a kustomize component in the folder [`COMPONENT`] beside the subscriber's
//! `kustomization.yaml`, which includes it once:
//! ```yaml
//! components: [kdistro-release]
//! ```
//! Nothing else of the repository changes, comments included. A commit is made only where the file says something else, so
//! that a run that is killed anywhere makes no second one.

mod component;
mod repository;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use kdistro_formats::{
    Digest,
    release::Release,
    yaml::{self, YamlError},
};
use serde::Deserialize;

pub use self::component::COMPONENT;
use self::{
    component::{FILE, component},
    repository::{Change, Fetched},
};
use super::{Driver, DriverError};
use crate::{
    history::Target,
    limited::{self, LimitedError, Limits, typed},
    plan::{self, Step, Versions},
    policy,
};

/// How often a commit is made anew when others push meanwhile.
const ATTEMPTS: u32 = 5;
/// How long it is waited before the next question whether the cluster is there.
const PAUSE: Duration = Duration::from_secs(2);
/// How much of what a command wrote is kept, in bytes.
const SAID: usize = 4096;
/// What kustomize reads in a folder, in its order.
///
/// Source: kustomize, `konfig.RecognizedKustomizationFileNames`.
const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// A repository that cannot be used, or a cluster that does not follow it.
#[derive(Debug, thiserror::Error)]
pub enum GitopsError {
    /// A program did not come to its end.
    #[error(transparent)]
    Program(#[from] LimitedError),
    /// git refused.
    #[error("`git {what}` failed: {said}")]
    Git {
        /// Its sub-command.
        what: String,
        /// What it said.
        said: String,
    },
    /// The folder of the fetched branch cannot be made anew.
    #[error("cannot remove {}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that is larger than what is read.
    #[error("a file of the repository has more than {limit} bytes")]
    Large {
        /// The most that is read.
        limit: usize,
    },
    /// A file that is none.
    #[error("`{0}` of the repository is a symbolic link")]
    Link(String),
    /// A file that is not text.
    #[error("`{0}` of the repository is not UTF-8")]
    Text(String),
    /// No kustomization is there.
    #[error(
        "`{0}` of the repository has no kustomization.yaml\nhelp:  `driver.gitops.path` names the folder of one"
    )]
    Missing(String),
    /// The kustomization cannot be read.
    #[error("`{file}` of the repository")]
    Kustomization {
        /// The file.
        file: String,
        /// What is wrong.
        source: YamlError,
    },
    /// The kustomization would not see what is written.
    #[error(
        "`{0}` of the repository does not include the release\nhelp:  add `components: [{COMPONENT}]` to it"
    )]
    NotIncluded(String),
    /// Others pushed each time.
    #[error(
        "others pushed to `{branch}` each of the {ATTEMPTS} times that a commit was made upon it"
    )]
    Overtaken {
        /// The branch.
        branch: String,
    },
    /// Somebody else wrote the file meanwhile.
    #[error(
        "somebody else changed `{file}` of the repository since release {release} was written there"
    )]
    Changed {
        /// The file.
        file: String,
        /// The release.
        release: String,
    },
    /// The cluster did not follow.
    #[error(
        "the cluster was not there after {seconds} seconds: `{command}` said last ({how}): {said}"
    )]
    NotThere {
        /// The command that was asked.
        command: String,
        /// How long it was waited.
        seconds: u64,
        /// How the command ended last.
        how: String,
        /// The end of what it wrote.
        said: String,
    },
    /// An image of the release that cannot be pinned.
    #[error("image `{0}` of the release has no digest")]
    NoDigest(String),
}

/// A cluster that follows a git repository.
pub struct Gitops {
    place: policy::Gitops,
    releases: BTreeMap<Digest, Release>,
    /// Where the branch is fetched into, for as long as a step takes.
    folder: PathBuf,
}

/// What of a kustomization is asked.
#[derive(Deserialize)]
struct Kustomization {
    #[serde(default)]
    components: Vec<String>,
}

impl Gitops {
    /// Takes a repository, the verified releases that may be written there, each with its manifest's digest, and a folder to
    /// work in.
    pub fn new(
        place: policy::Gitops,
        releases: impl IntoIterator<Item = (Digest, Release)>,
        folder: &Path,
    ) -> Self {
        Self { place, releases: releases.into_iter().collect(), folder: folder.join("gitops") }
    }

    fn release(&self, target: &Target) -> Result<&Release, DriverError> {
        let found = self.releases.get(&target.digest);
        found.ok_or_else(|| DriverError::Unknown(target.name.to_string()))
    }

    /// The path of a file in the kustomization's folder.
    fn path(&self, name: &str) -> String {
        let parts = self.place.path.split('/').filter(|part| !matches!(*part, "" | "."));
        parts.chain([name]).collect::<Vec<_>>().join("/")
    }

    /// The one file that is written.
    fn file(&self) -> String {
        self.path(&format!("{COMPONENT}/{FILE}"))
    }

    fn fetch(&self) -> Result<Fetched<'_>, GitopsError> {
        Fetched::fetch(&self.place, &self.folder)
    }

    /// Demands that what is written will be read by the kustomization.
    fn check_included(&self, fetched: &Fetched<'_>) -> Result<(), GitopsError> {
        for file in KUSTOMIZATIONS.map(|name| self.path(name)) {
            let Some(text) = fetched.read(&file)? else { continue };
            let read: Result<Kustomization, _> = yaml::from_str(&text);
            let read =
                read.map_err(|source| GitopsError::Kustomization { file: file.clone(), source })?;
            let is_ours =
                |name: &String| name.trim_start_matches("./").trim_end_matches('/') == COMPONENT;
            let is_included = read.components.iter().any(is_ours);
            return if is_included { Ok(()) } else { Err(GitopsError::NotIncluded(file)) };
        }
        Err(GitopsError::Missing(self.place.path.clone()))
    }

    /// Lets the branch name a release, by a commit where it does not do so yet.
    fn write(&self, to: &Target, text: &str) -> Result<(), GitopsError> {
        let file = self.file();
        let message = format!("{COMPONENT}: {}\n\nManifest: {}\n", to.name, to.digest);
        for _ in 0..ATTEMPTS {
            let fetched = self.fetch()?;
            self.check_included(&fetched)?;
            if fetched.read(&file)?.as_deref() == Some(text) {
                return Ok(());
            }
            let commit = fetched.commit(&Change { file: &file, text, message: &message })?;
            let base = fetched.head.clone();
            let Err(refused) = fetched.push(&commit) else { return Ok(()) };
            drop(fetched);
            // Whether somebody else was faster, the branch says.
            if self.fetch()?.head == base {
                return Err(refused);
            }
        }
        Err(GitopsError::Overtaken { branch: self.place.branch.clone() })
    }

    /// Returns the commit in which the branch names a release.
    fn written(&self, to: &Target, text: &str) -> Result<String, GitopsError> {
        let (fetched, file) = (self.fetch()?, self.file());
        if fetched.read(&file)?.as_deref() == Some(text) {
            return Ok(fetched.head.clone());
        }
        Err(GitopsError::Changed { file, release: to.name.to_string() })
    }

    /// Asks the subscriber's command until it says that the cluster is there.
    #[expect(clippy::disallowed_methods, reason = "the subscriber's own command")]
    fn wait(&self, to: &Target, commit: &str) -> Result<(), GitopsError> {
        let (program, arguments) = self.place.wait.split_first().unzip();
        let mut command = Command::new(program.map_or("", String::as_str));
        command.args(arguments.unwrap_or_default());
        command.env("KDISTRO_RELEASE", to.name.to_string());
        command.env("KDISTRO_MANIFEST_DIGEST", to.digest.to_string());
        command.env("KDISTRO_COMMIT", commit);
        let time = self.place.timeout.as_duration().unsigned_abs();
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let limits = Limits { time: left, bytes: SAID, is_part: false };
            let (how, said) = match limited::run(&mut command, b"", limits) {
                Ok(ended) if ended.status.success() => return Ok(()),
                Ok(ended) => (ended.status.to_string(), ended.text()),
                Err(LimitedError::Late { .. }) => ("no answer".to_owned(), String::new()),
                Err(error) => return Err(error.into()),
            };
            if end.saturating_duration_since(Instant::now()) < PAUSE {
                let (command, seconds) = (typed(&command), time.as_secs());
                return Err(GitopsError::NotThere { command, seconds, how, said });
            }
            thread::sleep(PAUSE);
        }
    }

    fn text(&self, target: &Target) -> Result<String, DriverError> {
        let registry = self.place.registry.as_deref();
        Ok(component(self.release(target)?, &target.digest, registry)?)
    }
}

impl Driver for Gitops {
    fn steps(&self, from: &Target, to: &Target) -> Result<Vec<Step>, DriverError> {
        plan::check(&Versions::of(self.release(from)?), &Versions::of(self.release(to)?))?;
        self.check_included(&self.fetch()?)?;
        Ok(vec![Step::Commit])
    }

    fn carry_out(&mut self, step: Step, to: &Target) -> Result<(), DriverError> {
        if step != Step::Commit {
            return Err(DriverError::Foreign(step));
        }
        Ok(self.write(to, &self.text(to)?)?)
    }

    fn gate(&self, _: Step) -> Result<(), DriverError> {
        Ok(())
    }

    fn restore(&mut self, _: &Target, _: &Target) -> Result<(), DriverError> {
        Ok(())
    }

    fn revive(&mut self, _: &Target) -> Result<(), DriverError> {
        Ok(())
    }

    fn check(&mut self, runs: &Target) -> Result<(), DriverError> {
        let commit = self.written(runs, &self.text(runs)?)?;
        Ok(self.wait(runs, &commit)?)
    }

    fn keep(&mut self, _: &Target) -> Result<(), DriverError> {
        Ok(())
    }
}
