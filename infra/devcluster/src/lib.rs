//! A small real Kubernetes cluster from a kdistro release, on one machine, in namespaces of its own.
//!
//! ```text
//! release   verified documents, then programs and images by their digests
//! cluster   namespaces, certificates, then component after component until each says that it is well
//! supervisor  the cluster's first process: who ends it ends everything
//! ```
//! Inside, every cluster has the same addresses, as each has a network of its own. Outside it is one port of 127.0.0.1
//! and a kubeconfig. A cluster is one folder; `down` removes it, and nothing else was written.

mod cluster;
mod component;
mod config;
mod control;
mod debian;
mod error;
mod host;
mod manifests;
mod pki;
mod probe;
mod release;
mod supervisor;

pub use cluster::{Cluster, Order, State, Status};
pub use component::ComponentName;
pub use control::Process;
pub use debian::packages;
pub use error::{DevclusterError, told};
pub use host::home;
pub use release::{REGISTRY, Release, Source, bring, bring_tests, brought, image_name};
pub use supervisor::{Place, run as supervise};
