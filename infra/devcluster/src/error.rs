//! What can be wrong with a cluster.

use std::{io, path::Path};

use kdistro_testbed::TestbedError;

/// Something that a cluster could not do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DevclusterError {
    /// A file, folder or program could not be had.
    #[error("cannot {action} {path}")]
    Io {
        /// `read`, `write` and the like.
        action: &'static str,
        /// The file, folder or program.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The release is not what its key signed, or nobody can tell.
    #[error("{manifest} is not verified:{problems}")]
    Unverified {
        /// The manifest.
        manifest: String,
        /// Every problem, a line each.
        problems: String,
    },
    /// A file of the release is not what its manifest says.
    #[error("`{name}` differs from what release {release} says: {found}, not {expected}")]
    Differs {
        /// The file.
        name: String,
        /// The release.
        release: String,
        /// What was read.
        found: String,
        /// What the manifest says.
        expected: String,
    },
    /// The release lacks something that a cluster needs.
    #[error("release {release} has no {what} for {platform}")]
    Lacks {
        /// The release.
        release: String,
        /// What is missing.
        what: String,
        /// The platform of this machine.
        platform: String,
    },
    /// A document of the release cannot be read.
    #[error("cannot read {name}")]
    Document {
        /// Its name.
        name: String,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A cluster of this name is there.
    #[error(
        "a cluster `{0}` is there\nhelp:  end it with `devcluster down --name {0}`, or give the new one another name"
    )]
    Exists(String),
    /// There is no cluster of this name.
    #[error(
        "there is no cluster `{0}`\nhelp:  start one with `devcluster up --name {0} --release MANIFEST --key KEY`"
    )]
    Missing(String),
    /// A name that is none.
    #[error(
        "`{0}` cannot be a cluster's name: expected 1 to 20 of a-z, 0-9 and -, the first a letter"
    )]
    Name(String),
    /// The folder of clusters is one that each cluster has a private copy of.
    #[error(
        "clusters cannot lie in {0}, of which each of them has a copy of its own\nhelp:  name another folder with --home"
    )]
    Hidden(String),
    /// This machine cannot do what is needed.
    #[error("this machine cannot {what}: {why}\nhelp:  {help}")]
    Unable {
        /// What.
        what: String,
        /// What it says.
        why: String,
        /// What to do.
        help: String,
    },
    /// The process that keeps a cluster does not answer.
    #[error("the supervisor of cluster `{name}` does not answer{log}")]
    Supervisor {
        /// The cluster.
        name: String,
        /// The end of its log.
        log: String,
    },
    /// The supervisor could not do something.
    #[error("cannot {action}: {said}")]
    Refused {
        /// What.
        action: String,
        /// What it said.
        said: String,
    },
    /// A component ended.
    #[error("{component} ended ({how}); its log:\n{log}")]
    Ended {
        /// The component.
        component: String,
        /// Its exit code or signal.
        how: String,
        /// The end of its log.
        log: String,
    },
    /// Something is not healthy in time.
    #[error("{what} is not healthy after {seconds} seconds: {said}; its log:\n{log}")]
    Unhealthy {
        /// What.
        what: String,
        /// How long it was waited for.
        seconds: u64,
        /// What its last answer was.
        said: String,
        /// The end of its log.
        log: String,
    },
    /// A program failed.
    #[error("`{program}` failed: {said}")]
    Program {
        /// The program with its arguments.
        program: String,
        /// What it said.
        said: String,
    },
    /// A certificate cannot be made.
    #[error("cannot make certificates")]
    Certificate(#[from] rcgen::Error),
    /// A package of Debian cannot be had.
    #[error(transparent)]
    Debian(#[from] TestbedError),
}

impl DevclusterError {
    /// Tells what could not be done with a file, folder or program.
    pub(crate) fn io(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().display().to_string();
        move |source| Self::Io { action, path, source }
    }
}
