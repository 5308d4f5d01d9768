//! The steps from one release to another, and whether the versions allow it at all. Pure.
//!
//! Source: Kubernetes, "Version Skew Policy"; etcd, "Upgrading etcd clusters and applications".

use kdistro_devcluster::ComponentName::{
    self, Etcd, KubeApiserver, KubeControllerManager, KubeProxy, KubeScheduler, Kubelet,
};
use kdistro_formats::release::Release;
use semver::Version;
use serde::{Deserialize, Serialize};

/// One step; after each the cluster is asked whether it is well.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Save etcd's content, and try to restore it elsewhere.
    Snapshot,
    /// Bring the images to the nodes.
    Images,
    /// Take a component to the other release.
    Replace(ComponentName),
    /// Take `CoreDNS`, which runs in pods, to the other release.
    Dns,
    /// Let no new pod come to the node.
    Close,
    /// Ask the pods to leave the node.
    Drain,
    /// Let pods come to the node.
    Open,
    /// Let somebody else do all of it.
    Command,
    /// Write the release into a git repository.
    Commit,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Snapshot => f.write_str("snapshot of etcd"),
            Self::Images => f.write_str("images"),
            Self::Replace(component) => component.fmt(f),
            Self::Dns => f.write_str("CoreDNS"),
            Self::Close => f.write_str("cordon"),
            Self::Drain => f.write_str("drain"),
            Self::Open => f.write_str("uncordon"),
            Self::Command => f.write_str("command"),
            Self::Commit => f.write_str("commit"),
        }
    }
}

/// The versions that decide what is possible; none where a release does not ship that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// Of Kubernetes.
    pub kubernetes: Option<Version>,
    /// Of etcd.
    pub etcd: Option<Version>,
}

impl Versions {
    /// The versions that a release's manifest names.
    pub fn of(release: &Release) -> Self {
        let version = |name: &str| {
            let component = release.status.components.iter().find(|one| one.name == name)?;
            component.git_tag.trim_start_matches('v').parse().ok()
        };
        Self { kubernetes: version("kubernetes"), etcd: version("etcd") }
    }
}

/// A way that the versions forbid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SkewError {
    /// Backwards.
    #[error(
        "{what} would go back from {from} to {to}\nhelp:  only a roll-out that failed goes back, by itself; start a new cluster for an older release"
    )]
    Back {
        /// Kubernetes or etcd.
        what: &'static str,
        /// What runs.
        from: Version,
        /// What was to run.
        to: Version,
    },
    /// Too far at once.
    #[error(
        "{what} would go from {from} to {to} at once\nhelp:  roll out a release of each minor version between them first"
    )]
    TooFar {
        /// Kubernetes or etcd.
        what: &'static str,
        /// What runs.
        from: Version,
        /// What was to run.
        to: Version,
    },
    /// A bug of etcd forbids it.
    #[error(
        "etcd {from} cannot go to {to}: members may be left behind before 3.5.26\nhelp:  roll out a release with etcd 3.5.26 or a later 3.5 first"
    )]
    TooEarly {
        /// What runs.
        from: Version,
        /// What was to run.
        to: Version,
    },
}

/// Says whether the versions allow the way from one release to another.
///
/// # Errors
///
/// When a version goes back or skips a minor version, or etcd 3.5 before 3.5.26 would go to 3.6.
pub fn check(from: &Versions, to: &Versions) -> Result<(), SkewError> {
    let etcd = from.etcd.as_ref().zip(to.etcd.as_ref());
    let kubernetes = from.kubernetes.as_ref().zip(to.kubernetes.as_ref());
    for (what, (from, to)) in [("Kubernetes", kubernetes), ("etcd", etcd)]
        .into_iter()
        .filter_map(|(what, pair)| Some((what, pair?)))
    {
        if (to.major, to.minor, to.patch) < (from.major, from.minor, from.patch) {
            return Err(SkewError::Back { what, from: from.clone(), to: to.clone() });
        }
        if to.major != from.major || to.minor > from.minor + 1 {
            return Err(SkewError::TooFar { what, from: from.clone(), to: to.clone() });
        }
    }
    if let Some((from, to)) = etcd
        && from < &Version::new(3, 5, 26)
        && to >= &Version::new(3, 6, 0)
    {
        return Err(SkewError::TooEarly { from: from.clone(), to: to.clone() });
    }
    Ok(())
}

/// The steps of a cluster of which each component can be changed alone; `node` says whether it has one, `dns` whether
/// `CoreDNS` is shipped.
///
/// The API server goes before everybody who talks to it, the kubelet last and on a node without pods.
pub fn steps(node: bool, dns: bool) -> Vec<Step> {
    let control_plane = [Etcd, KubeApiserver, KubeControllerManager, KubeScheduler];
    let mut steps = vec![Step::Snapshot];
    if node {
        steps.push(Step::Images);
    }
    steps.extend(control_plane.map(Step::Replace));
    if node {
        steps.push(Step::Replace(KubeProxy));
        steps.extend(dns.then_some(Step::Dns));
        steps.extend([Step::Close, Step::Drain, Step::Replace(Kubelet), Step::Open]);
    }
    steps
}

/// What undoes a step that was done, or begun; none where nothing is to be undone.
pub fn undo(step: Step) -> Option<Step> {
    match step {
        Step::Replace(component) => Some(Step::Replace(component)),
        Step::Dns | Step::Command | Step::Commit => Some(step),
        // Whatever becomes of the kubelet, pods may come again.
        Step::Close => Some(Step::Open),
        Step::Snapshot | Step::Images | Step::Drain | Step::Open => None,
    }
}

/// Whether a step changes who writes into etcd.
pub fn writes(step: Step) -> bool {
    matches!(step, Step::Replace(Etcd | KubeApiserver))
}

/// Whether programs of `from` may not understand what those of `to` have written into etcd: then going back needs the
/// snapshot.
pub fn needs_snapshot(from: &Versions, to: &Versions) -> bool {
    let minor = |version: &Option<Version>| version.as_ref().map(|it| (it.major, it.minor));
    minor(&from.kubernetes) != minor(&to.kubernetes) || minor(&from.etcd) != minor(&to.etcd)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(kubernetes: &str, etcd: &str) -> Versions {
        Versions { kubernetes: kubernetes.parse().ok(), etcd: etcd.parse().ok() }
    }

    #[test]
    fn one_minor_version_at_a_time_and_never_back() {
        let from = versions("1.35.6", "3.5.26");
        for (kubernetes, etcd, problem) in [
            ("1.35.6", "3.5.26", ""),
            ("1.36.2", "3.6.12", ""),
            ("1.37.0", "3.5.26", "Kubernetes would go from 1.35.6 to 1.37.0 at once"),
            ("1.35.5", "3.5.26", "Kubernetes would go back from 1.35.6 to 1.35.5"),
            ("1.35.6", "3.5.25", "etcd would go back from 3.5.26 to 3.5.25"),
            ("1.35.6", "3.7.0", "etcd would go from 3.5.26 to 3.7.0 at once"),
            ("2.0.0", "3.5.26", "Kubernetes would go from 1.35.6 to 2.0.0 at once"),
            ("", "3.7.0", "etcd would go from 3.5.26 to 3.7.0 at once"),
            ("1.36.0", "", ""),
        ] {
            let said = check(&from, &versions(kubernetes, etcd));
            let said = said.err().map(|error| error.to_string()).unwrap_or_default();
            let first = said.lines().next().unwrap_or_default();
            assert_eq!(first, problem, "{kubernetes} {etcd}");
        }
        let early = check(&versions("1.35.6", "3.5.21"), &versions("1.35.6", "3.6.12"));
        assert!(matches!(early, Err(SkewError::TooEarly { .. })), "{early:?}");
    }

    #[test]
    fn a_node_is_emptied_before_its_kubelet_changes_and_comes_last() {
        let steps = steps(true, true);
        let place = |step| steps.iter().position(|other| *other == step).unwrap();
        let order = [
            Step::Snapshot,
            Step::Replace(Etcd),
            Step::Replace(KubeApiserver),
            Step::Replace(KubeControllerManager),
            Step::Replace(KubeProxy),
            Step::Dns,
            Step::Drain,
            Step::Replace(Kubelet),
            Step::Open,
        ];
        assert!(order.map(place).is_sorted());
        assert!(super::steps(false, true).iter().all(|step| undo(*step) != Some(Step::Open)));
        assert!(!super::steps(true, false).contains(&Step::Dns));
    }

    #[test]
    fn only_another_minor_version_needs_the_snapshot() {
        let from = versions("1.35.6", "3.5.26");
        assert!(!needs_snapshot(&from, &versions("1.35.7", "3.5.27")));
        assert!(needs_snapshot(&from, &versions("1.36.0", "3.5.26")));
        assert!(needs_snapshot(&from, &versions("1.35.6", "3.6.12")));
    }
}
