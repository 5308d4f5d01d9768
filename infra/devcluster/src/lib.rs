//! A small real Kubernetes cluster from a kdistro release, on one machine, in namespaces of its own.
//!
//! ```text
//! release   verified documents, then programs and images by their digests
//! cluster   namespaces, certificates, then component after component until each says that it is well
//! survey    what this machine lacks for a node
//! supervisor  the cluster's first process: who ends it ends everything
//! ```
//! Inside, every cluster has the same addresses, as each has a network of its own. Outside it is one port of 127.0.0.1
//! and a kubeconfig. A cluster is one folder; `down` removes it, and with the last one what they took out of releases.

mod cluster;
mod component;
mod config;
mod control;
mod debian;
mod error;
mod home;
mod host;
mod manifests;
mod pki;
mod probe;
mod release;
mod supervisor;
mod survey;

pub use cluster::{Cluster, Order, State, Status};
pub use component::ComponentName;
pub use control::Process;
pub use debian::packages;
pub use error::DevclusterError;
pub use home::{Kept, clear, keep, releases};
pub use host::home;
pub use release::{
    REGISTRY, Release, Source, TESTS, bring, bring_tests, brought, image_name, newest,
};
pub use supervisor::{Place, run as supervise};
pub use survey::{Missing, look, survey, without_containerd};
