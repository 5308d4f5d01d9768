//! A lease on a cluster: whoever has it changes the cluster, and nobody else meanwhile.
//!
//! It is an object of the cluster itself, written by kubectl on the condition that it is as it was read, so that of two who
//! want it one gets it. Who is not heard of for a while is believed to be gone.
//!
//! Source: Kubernetes, `coordination.k8s.io/v1`, `Lease`.

use jiff::{SignedDuration, Timestamp};
use kdistro_devcluster::Cluster;
use serde::{Deserialize, Serialize};

use crate::{
    kubectl::{Kubectl, KubectlError},
    policy::InCluster,
};

/// Where a devcluster's lease is.
const SYSTEM: &str = "kube-system";
/// The name of the lease.
const NAME: &str = "kdistro-rollout";
/// How long whoever has it is believed to be at work after they were heard of last.
pub const LENGTH: SignedDuration = SignedDuration::from_mins(15);
/// How often it is asked for when others change it meanwhile.
const ATTEMPTS: u32 = 3;
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
    /// The cluster cannot be asked.
    #[error(transparent)]
    Kubectl(#[from] KubectlError),
}

/// The lease of a cluster, as one holder sees it.
pub struct Lease {
    kubectl: Kubectl,
    holder: String,
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
        Self { kubectl: Kubectl::of_devcluster(cluster, SYSTEM), holder }
    }

    /// The lease of any cluster that kubectl reaches; no other has the name of the holder.
    pub fn of_cluster(place: &InCluster, holder: String) -> Self {
        Self { kubectl: Kubectl::of_cluster(place), holder }
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
        let namespace = self.kubectl.namespace().to_owned();
        if until > now { Err(LeaseError::Held { holder, until, namespace }) } else { Ok(()) }
    }

    fn read(&self) -> Result<Option<Object>, LeaseError> {
        Ok(self.kubectl.read("lease", NAME)?)
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
                namespace: self.kubectl.namespace().to_owned(),
                resource_version: found.and_then(|found| found.metadata.resource_version),
            },
            spec: Spec {
                holder_identity: holder.map(str::to_owned),
                lease_duration_seconds: Some(LENGTH.as_secs()),
                renew_time: Some(format!("{now:.6}")),
            },
        };
        let bytes = serde_json::to_vec(&object).map_err(KubectlError::from)?;
        self.kubectl.run(verb, &[verb, "--filename", "-"], &bytes)?;
        Ok(())
    }
}
