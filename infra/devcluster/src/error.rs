//! What can be wrong with a cluster.

use std::{error::Error, io, path::Path};

use kdistro_testbed::TestbedError;

use crate::{component::ComponentName, survey::Missing};

/// Why an API server could not answer that may be over in a moment.
///
/// Source: Kubernetes, `apimachinery/pkg/apis/meta/v1/types.go`, `StatusReason`; kubectl writes it in brackets.
const PASSING: [&str; 5] = [
    "(InternalError)",
    "(ServerTimeout)",
    "(ServiceUnavailable)",
    "(Timeout)",
    "(TooManyRequests)",
];

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
        /// Whether it is known that it is not; else it could not be told.
        differs: bool,
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
        source: Box<dyn Error + Send + Sync>,
    },
    /// A folder in which releases were looked for.
    #[error(
        "`{0}` is neither a store nor a channel of one: it has no releasechannels/<channel>.yaml\nhelp:  name a manifest: STORE/kubernetes-<channel>/kubernetes-<channel>-<number>.yaml"
    )]
    NoStore(String),
    /// A store whose channel is to be named.
    #[error("`{folder}` has several channels\nhelp:  name one of {paths}")]
    Channels {
        /// The store.
        folder: String,
        /// The folders of its channels.
        paths: String,
    },
    /// A channel of which every release is taken back.
    #[error("`{folder}` offers no release of channel {channel}")]
    Empty {
        /// The channel.
        channel: String,
        /// The store.
        folder: String,
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
    /// This machine lacks what a node needs.
    #[error("this machine cannot run a node; it lacks\n{}\nhelp:  a cluster without one needs none of that: --control-plane-only", list(.0))]
    NoNode(Vec<Missing>),
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
    /// A cluster that did not become healthy; what there is of it stays, to be looked at.
    #[error("cluster `{name}` was not started\nhelp:  look into {}, then end it with `devcluster down --name {name}`", log.display())]
    Started {
        /// The cluster.
        name: String,
        /// The folder of its logs.
        log: std::path::PathBuf,
        /// Why.
        source: Box<DevclusterError>,
    },
    /// A certificate cannot be made.
    #[error("cannot make certificates")]
    Certificate(#[from] rcgen::Error),
    /// A package of Debian cannot be had.
    #[error(transparent)]
    Debian(#[from] TestbedError),
}

impl DevclusterError {
    /// True where the release is at fault: it is not what its key signed, or what is in it does not come up. All else
    /// could not be done.
    pub fn is_no(&self) -> bool {
        match self {
            // containerd is this machine's, or Debian's.
            Self::Ended { component, .. } => component != ComponentName::Containerd.as_str(),
            Self::Unhealthy { .. } => true,
            Self::Started { source, .. } => source.is_no(),
            other => other.is_forged(),
        }
    }

    /// True where something is not what its key signed.
    pub fn is_forged(&self) -> bool {
        matches!(self, Self::Unverified { differs: true, .. } | Self::Differs { .. })
    }

    /// True where kubectl failed for a reason of the API server's that may be over in a moment.
    pub(crate) fn may_pass(&self) -> bool {
        let Self::Program { said, .. } = self else { return false };
        PASSING.iter().any(|reason| said.contains(reason))
    }

    /// Tells what could not be done with a file, folder or program.
    pub(crate) fn io(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().display().to_string();
        move |source| Self::Io { action, path, source }
    }
}

/// What is missing, a line each, with what to do.
fn list(missing: &[Missing]) -> String {
    let lines = missing.iter().map(|one| format!("  {one} ({})", one.help));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_stands_below_all_causes() {
        let error = DevclusterError::Started {
            name: "dev".to_owned(),
            log: "/l".into(),
            source: Box::new(DevclusterError::Exists("\u{1b}x".to_owned())),
        };
        let expected = "cluster `dev` was not started: a cluster `\\u{1b}x` is there\n\
                        help:  look into /l, then end it with `devcluster down --name dev`\n\
                        help:  end it with `devcluster down --name \\u{1b}x`, or give the new one another name";
        assert_eq!(kdistro_formats::failure::told(&error), expected);
    }
}
