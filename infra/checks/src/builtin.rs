//! Our own checks: each makes what it looks at, in the namespace of the run, and needs none of the others.

mod access;
mod deployments;
mod objects;
mod pods;
mod services;

use futures::future::LocalBoxFuture;

use crate::{error::Fault, scene::Scene};

pub(crate) use objects::remove;

/// What a check needs of a cluster; it is skipped where that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Only the API.
    Api,
    /// A node that runs pods.
    Node,
    /// A node, and a resolver for its pods.
    Dns,
}

/// One of our own checks.
pub struct Builtin {
    /// Its name.
    pub name: &'static str,
    /// What it finds out.
    pub about: &'static str,
    /// What it needs.
    pub needs: Needs,
    pub(crate) run: fn(Scene) -> LocalBoxFuture<'static, Result<(), Fault>>,
}

/// Every check of our own, in the order in which they are reported.
pub const BUILTIN: &[Builtin] = &[
    Builtin {
        name: "pod-runs",
        about: "a pod is given a node, runs there and becomes ready",
        needs: Needs::Node,
        run: |scene| Box::pin(pods::runs(scene)),
    },
    Builtin {
        name: "service-answers",
        about: "a Service finds its pod, and another pod reaches it at the Service's address",
        needs: Needs::Node,
        run: |scene| Box::pin(services::answers(scene)),
    },
    Builtin {
        name: "dns-answers",
        about: "a pod reaches a Service by its name",
        needs: Needs::Dns,
        run: |scene| Box::pin(services::has_a_name(scene)),
    },
    Builtin {
        name: "configmap-and-secret-mounted",
        about: "containers read a ConfigMap and a Secret as files",
        needs: Needs::Node,
        run: |scene| Box::pin(pods::mounts(scene)),
    },
    Builtin {
        name: "exec-and-logs",
        about: "a command is run in a container, its exit code comes back, and the log can be read",
        needs: Needs::Node,
        run: |scene| Box::pin(pods::exec_and_logs(scene)),
    },
    Builtin {
        name: "deployment-rolls-out",
        about: "a changed Deployment replaces its pods by new ones",
        needs: Needs::Node,
        run: |scene| Box::pin(deployments::rolls_out(scene)),
    },
    Builtin {
        name: "eviction-honours-budget",
        about: "a pod is not evicted against its disruption budget, and evicted without one",
        needs: Needs::Node,
        run: |scene| Box::pin(deployments::eviction_honours_budget(scene)),
    },
    Builtin {
        name: "rbac-refuses-and-lets",
        about: "a ServiceAccount may do what a Role lets it, and nothing else",
        needs: Needs::Api,
        run: |scene| Box::pin(access::refuses_and_lets(scene)),
    },
    Builtin {
        name: "custom-resource-works",
        about: "a resource is defined, made, read, refused against its schema, and removed",
        needs: Needs::Api,
        run: |scene| Box::pin(objects::custom_resource(scene)),
    },
    Builtin {
        name: "watch-in-order",
        about: "a watch sees every change of an object, in order",
        needs: Needs::Api,
        run: |scene| Box::pin(objects::watch(scene)),
    },
    Builtin {
        name: "garbage-collected",
        about: "what an object owned goes after it",
        needs: Needs::Api,
        run: |scene| Box::pin(objects::garbage(scene)),
    },
];
