//! A lease on a cluster: whoever has it changes the cluster, and nobody else meanwhile.
//!
//! It is an object of the cluster itself, written by kubectl on the condition that it is as it was read, so that of two who
//! want it one gets it. Who is not heard of for a while is believed to be gone.
//!
//! Source: Kubernetes, `coordination.k8s.io/v1`, `Lease`.

use std::{path::PathBuf, process::Command, time::Duration};

use jiff::{SignedDuration, Timestamp};
use kdistro_devcluster::Cluster;
use serde::{Deserialize, Serialize};

use crate::{
    limited::{self, LimitedError, Limits},
    policy::InCluster,
};

/// The name of the lease.
const NAME: &str = "kdistro-rollout";
/// How long whoever has it is believed to be at work after they were heard of last.
pub const LENGTH: SignedDuration = SignedDuration::from_mins(15);
/// How often it is asked for when others change it meanwhile.
const ATTEMPTS: u32 = 3;
/// What a call of kubectl may take, and how much it may say.
const LIMITS: Limits = Limits { time: Duration::from_secs(20), bytes: 1 << 20 };

/// A lease that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Somebody else has it.
    #[error(
        "`{holder}` changes the cluster, at least until {until}\nhelp:  wait for it; if it is gone for good, `kubectl --namespace {namespace} delete lease {NAME}`"
    )]
    Held {
        /// Who.
        holder: String,
        /// Until when that is believed.
        until: Timestamp,
        /// Where the lease is.
        namespace: String,
    },
    /// A program did not come to its end.
    #[error(transparent)]
    Program(#[from] LimitedError),
    /// kubectl failed.
    #[error("`kubectl {what}` failed: {said}")]
    Kubectl {
        /// What it was told.
        what: &'static str,
        /// What it said.
        said: String,
    },
    /// The object is none that this program writes.
    #[error("the lease `{NAME}` of the cluster holds something else than a lease")]
    Content(#[from] serde_json::Error),
}

/// The lease of a cluster, as one holder sees it.
pub struct Lease {
    place: Place,
    namespace: String,
    holder: String,
}

/// Where the cluster is.
enum Place {
    /// On this machine.
    Devcluster(Cluster),
    /// Where a file says, or else where kubectl usually finds it.
    Kubeconfig(Option<PathBuf>),
}

impl Place {
    #[expect(clippy::disallowed_methods, reason = "kubectl is the subscriber's own")]
    fn kubectl(&self) -> Command {
        let kubeconfig = match self {
            Self::Devcluster(cluster) => return cluster.kubectl_command(),
            Self::Kubeconfig(kubeconfig) => kubeconfig,
        };
        let mut kubectl = Command::new("kubectl");
        kubectl.envs(kubeconfig.iter().map(|kubeconfig| ("KUBECONFIG", kubeconfig)));
        kubectl
    }
}

/// What of the object is read and written.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    api_version: String,
    kind: String,
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    namespace: String,
    /// What the object must still be when it is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_version: Option<String>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    #[serde(skip_serializing_if = "Option::is_none")]
    holder_identity: Option<String>,
    lease_duration_seconds: Option<i64>,
    /// With six digits of a second, or Kubernetes refuses it.
    renew_time: Option<String>,
}

impl Lease {
    /// The lease of a small cluster of this machine; no other has the name of the holder.
    pub fn of_devcluster(cluster: Cluster, holder: String) -> Self {
        let namespace = "kube-system".to_owned();
        Self { place: Place::Devcluster(cluster), namespace, holder }
    }

    /// The lease of any cluster that kubectl reaches; no other has the name of the holder.
    pub fn of_cluster(place: &InCluster, holder: String) -> Self {
        let InCluster { kubeconfig, namespace } = place.clone();
        Self { place: Place::Kubeconfig(kubeconfig), namespace, holder }
    }

    /// Takes the lease, or goes on having it.
    pub fn take(&self, now: Timestamp) -> Result<(), LeaseError> {
        let mut written = Ok(());
        for _ in 0..ATTEMPTS {
            let found = self.read()?;
            if let Some(found) = &found {
                self.check_free(&found.spec, now)?;
            }
            // Where somebody else was faster, the next reading says who.
            written = self.write(Some(&self.holder), found, now);
            if written.is_ok() {
                return Ok(());
            }
        }
        written
    }

    /// Gives the lease back, where it is this holder's.
    pub fn give_back(&self, now: Timestamp) -> Result<(), LeaseError> {
        let found = self.read()?;
        match found.filter(|found| found.spec.holder_identity.as_ref() == Some(&self.holder)) {
            Some(found) => self.write(None, Some(found), now),
            None => Ok(()),
        }
    }

    fn check_free(&self, spec: &Spec, now: Timestamp) -> Result<(), LeaseError> {
        let holder = spec.holder_identity.clone().unwrap_or_default();
        if holder.is_empty() || holder == self.holder {
            return Ok(());
        }
        let length = spec.lease_duration_seconds.map_or(LENGTH, SignedDuration::from_secs);
        // A time that cannot be read is as good as none.
        let renewed = spec.renew_time.as_ref().and_then(|time| time.parse().ok()).unwrap_or(now);
        let until = renewed.checked_add(length).unwrap_or(now);
        let namespace = self.namespace.clone();
        if until > now { Err(LeaseError::Held { holder, until, namespace }) } else { Ok(()) }
    }

    fn read(&self) -> Result<Option<Object>, LeaseError> {
        let get = ["get", "lease", NAME, "--ignore-not-found", "--output", "json"];
        let bytes = self.kubectl("get", &get, b"")?;
        if bytes.trim_ascii().is_empty() {
            Ok(None)
        } else {
            Ok(Some(serde_json::from_slice(&bytes)?))
        }
    }

    /// Writes the lease anew, if it is still the one that was found.
    fn write(
        &self,
        holder: Option<&str>,
        found: Option<Object>,
        now: Timestamp,
    ) -> Result<(), LeaseError> {
        let verb = if found.is_some() { "replace" } else { "create" };
        let object = Object {
            api_version: "coordination.k8s.io/v1".to_owned(),
            kind: "Lease".to_owned(),
            metadata: Metadata {
                name: NAME.to_owned(),
                namespace: self.namespace.clone(),
                resource_version: found.and_then(|found| found.metadata.resource_version),
            },
            spec: Spec {
                holder_identity: holder.map(str::to_owned),
                lease_duration_seconds: Some(LENGTH.as_secs()),
                renew_time: Some(format!("{now:.6}")),
            },
        };
        let bytes = serde_json::to_vec(&object)?;
        self.kubectl(verb, &[verb, "--filename", "-"], &bytes).map(drop)
    }

    fn kubectl(
        &self,
        what: &'static str,
        arguments: &[&str],
        input: &[u8],
    ) -> Result<Vec<u8>, LeaseError> {
        let mut kubectl = self.place.kubectl();
        kubectl.args(["--namespace", &self.namespace, "--request-timeout=10s"]).args(arguments);
        let ended = limited::run(&mut kubectl, input, LIMITS)?;
        if ended.status.success() {
            Ok(ended.out.bytes)
        } else {
            Err(LeaseError::Kubectl { what, said: ended.text() })
        }
    }
}
