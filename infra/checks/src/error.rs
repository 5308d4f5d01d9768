//! Why nobody can tell how a cluster is, and why a check fails.

use std::path::PathBuf;

use kdistro_formats::yaml::YamlError;

/// Checks that could not be run at all: it is not known how the cluster is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChecksError {
    /// The kubeconfig cannot be used.
    #[error("cannot use {}", file.display())]
    Kubeconfig {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: Box<kube::config::KubeconfigError>,
    },
    /// The cluster does not answer, or refuses what every run needs.
    #[error("cannot {action} at the cluster of {}", file.display())]
    Cluster {
        /// What was tried.
        action: &'static str,
        /// The kubeconfig.
        file: PathBuf,
        /// What came back.
        source: Box<kube::Error>,
    },
    /// The cluster did not answer in time.
    #[error("the cluster of {} did not answer within {seconds} seconds", file.display())]
    Silent {
        /// The kubeconfig.
        file: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
    /// No image is known that pods could run.
    #[error(
        "no node has an image of etcd, which the pods of checks run\nhelp:  name one that the nodes can pull, such as the etcd image of the release, with --image"
    )]
    NoImage,
    /// A node has too little of something.
    #[error(
        "nothing can be told of a cluster without room: node {0}\nhelp:  free disk, memory or processes of the machine"
    )]
    NoRoom(String),
    /// A Job's file cannot be read.
    #[error("cannot read {}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that describes no Job.
    #[error("{} describes no Job", file.display())]
    Job {
        /// The file.
        file: PathBuf,
        /// What is wrong where.
        source: YamlError,
    },
    /// A command without a program.
    #[error("a command to run has no program")]
    EmptyCommand,
    /// This machine cannot do what is needed.
    #[error("cannot {action}")]
    Io {
        /// What.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Why a check does not hold.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The API server refused, or did not answer.
    #[error("{}", said(.0))]
    Api(#[from] kube::Error),
    /// Something is not as it should be.
    #[error("{0}")]
    Wrong(String),
}

impl Fault {
    /// The code of the API server's answer, where it gave one.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Api(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        }
    }
}

/// What the API server said, without the library's words around it.
fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => {
            format!("the API server says {}: {}", status.code, status.message)
        }
        other => other.to_string(),
    }
}
