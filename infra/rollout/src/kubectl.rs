//! Reads and writes objects of a subscriber's cluster by kubectl, which knows how to reach it.

use std::{path::PathBuf, process::Command, time::Duration};

use kdistro_devcluster::Cluster;
use serde::de::DeserializeOwned;

use crate::{
    limited::{self, Ended, LimitedError, Limits},
    policy::InCluster,
};

/// What a call may take, and how much it may say.
const LIMITS: Limits = Limits { time: Duration::from_secs(20), bytes: 1 << 20, is_part: false };

/// A call that did not do what it was to do.
#[derive(Debug, thiserror::Error)]
pub enum KubectlError {
    /// The program did not come to its end.
    #[error(transparent)]
    Program(#[from] LimitedError),
    /// It failed.
    #[error("`kubectl {what}` failed: {said}")]
    Failed {
        /// What it was told.
        what: &'static str,
        /// What it said.
        said: String,
    },
    /// It said more than is kept, or somebody kept its output open.
    #[error("the answer to `kubectl {what}` was cut off")]
    Cut {
        /// What it was told.
        what: &'static str,
    },
    /// An object is none that this program writes.
    #[error("the cluster has something else under this name than this program writes")]
    Content(#[from] serde_json::Error),
}

/// A namespace of a cluster.
#[derive(Clone, Debug)]
pub struct Kubectl {
    place: Place,
    namespace: String,
}

/// Where the cluster is.
#[derive(Clone, Debug)]
enum Place {
    /// On this machine.
    Devcluster(Box<Cluster>),
    /// Where a file says, or else where kubectl usually finds it.
    Kubeconfig(Option<PathBuf>),
}

impl Kubectl {
    /// A namespace of a small cluster of this machine.
    pub fn of_devcluster(cluster: Cluster, namespace: &str) -> Self {
        Self { place: Place::Devcluster(Box::new(cluster)), namespace: namespace.to_owned() }
    }

    /// A namespace of any cluster that kubectl reaches.
    pub fn of_cluster(place: &InCluster) -> Self {
        let InCluster { kubeconfig, namespace } = place.clone();
        Self { place: Place::Kubeconfig(kubeconfig), namespace }
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Runs kubectl, which is given `input`, and returns what it wrote; `what` names the call in errors.
    pub fn run(
        &self,
        what: &'static str,
        arguments: &[&str],
        input: &[u8],
    ) -> Result<Vec<u8>, KubectlError> {
        let mut kubectl = self.command();
        kubectl.args(["--namespace", &self.namespace]).args(arguments);
        answer(what, limited::run(&mut kubectl, input, LIMITS)?)
    }

    /// Reads an object; none where there is none.
    pub fn read<T: DeserializeOwned>(
        &self,
        kind: &str,
        name: &str,
    ) -> Result<Option<T>, KubectlError> {
        let get = ["get", kind, name, "--ignore-not-found", "--output", "json"];
        let bytes = self.run("get", &get, b"")?;
        if bytes.trim_ascii().is_empty() {
            Ok(None)
        } else {
            Ok(Some(serde_json::from_slice(&bytes)?))
        }
    }

    #[expect(clippy::disallowed_methods, reason = "kubectl is the subscriber's own")]
    fn command(&self) -> Command {
        let mut kubectl = match &self.place {
            Place::Devcluster(cluster) => cluster.kubectl_command(),
            // In a pod it finds its cluster by itself, but not where it is told how long that may take.
            Place::Kubeconfig(None) => return Command::new("kubectl"),
            Place::Kubeconfig(Some(kubeconfig)) => {
                let mut kubectl = Command::new("kubectl");
                kubectl.env("KUBECONFIG", kubeconfig);
                kubectl
            }
        };
        kubectl.arg("--request-timeout=10s");
        kubectl
    }
}

/// What a call wrote, where it succeeded.
fn answer(what: &'static str, ended: Ended) -> Result<Vec<u8>, KubectlError> {
    if !ended.status.success() {
        return Err(KubectlError::Failed { what, said: ended.text() });
    }
    if !ended.out.is_whole {
        return Err(KubectlError::Cut { what });
    }
    Ok(ended.out.bytes)
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

    use super::*;
    use crate::limited::Said;

    #[test]
    fn an_answer_that_was_cut_is_none() {
        let answered = |bytes: &[u8], is_whole, code| {
            let said = |bytes: &[u8], is_whole| Said { bytes: bytes.to_vec(), is_whole };
            let status = ExitStatus::from_raw(code << 8);
            answer("get", Ended { status, out: said(bytes, is_whole), err: said(b"", true) })
        };
        assert_eq!(answered(b"{}", true, 0).unwrap(), b"{}");
        assert_eq!(answered(b"", true, 0).unwrap(), b"");
        for bytes in [&b""[..], b" ", b"{}"] {
            let cut = answered(bytes, false, 0).unwrap_err().to_string();
            assert_eq!(cut, "the answer to `kubectl get` was cut off");
        }
        let failed = answered(b"no", false, 1).unwrap_err().to_string();
        assert_eq!(failed, "`kubectl get` failed: no");
    }
}
