//! Reads and writes objects of a subscriber's cluster by kubectl, which knows how to reach it.

use std::{path::PathBuf, process::Command, time::Duration};

use kdistro_devcluster::Cluster;
use serde::de::DeserializeOwned;

use crate::{
    limited::{self, LimitedError, Limits},
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
        kubectl.args(["--namespace", &self.namespace, "--request-timeout=10s"]).args(arguments);
        let ended = limited::run(&mut kubectl, input, LIMITS)?;
        if ended.status.success() {
            Ok(ended.out.bytes)
        } else {
            Err(KubectlError::Failed { what, said: ended.text() })
        }
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
        let kubeconfig = match &self.place {
            Place::Devcluster(cluster) => return cluster.kubectl_command(),
            Place::Kubeconfig(kubeconfig) => kubeconfig,
        };
        let mut kubectl = Command::new("kubectl");
        kubectl.envs(kubeconfig.iter().map(|kubeconfig| ("KUBECONFIG", kubeconfig)));
        kubectl
    }
}
