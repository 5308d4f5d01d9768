//! What a subscriber's file names outside of itself: what is heard, what rolls out, what checks.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Deserializer, de};

use super::Length;

/// How often the channel's index is looked at where nothing else is said, in seconds.
const POLL: u32 = 300;
/// How long a cluster may take to follow a git repository where nothing else is said, in seconds.
const PATIENCE: u32 = 1800;
/// How long a command may roll out, in seconds.
const LONG_PATIENCE: u32 = 6 * 3600;

/// What is listened to. The channel's index is looked at in any case, so that no lost message is lost for long.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Hear {
    /// How often the channel's index is looked at: 1 second to 1 day, 5 minutes where nothing is said.
    pub poll: Length,
    /// A folder in which announcements appear, one file each.
    pub folder: Option<PathBuf>,
    /// An address that a distributor posts to.
    pub webhook: Option<HearWebhook>,
    /// An address that SNS posts to.
    pub sns: Option<HearSns>,
    /// A queue.
    pub sqs: Option<HearSqs>,
}

impl Default for Hear {
    fn default() -> Self {
        let poll = Length::from_secs(POLL);
        Self { poll, folder: None, webhook: None, sns: None, sqs: None }
    }
}

/// An address that a distributor posts to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HearWebhook {
    /// Where it listens.
    #[serde(deserialize_with = "listen")]
    pub listen: SocketAddr,
    /// The file whose content, without white space around it, is the secret that messages are signed with.
    pub secret: PathBuf,
}

/// An address that SNS posts to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HearSns {
    /// Where it listens.
    #[serde(deserialize_with = "listen")]
    pub listen: SocketAddr,
    /// The ARNs of the topics that are believed and whose subscription is confirmed.
    pub topics: Vec<String>,
}

/// A queue of Amazon SQS.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HearSqs {
    /// Its name or address.
    pub queue: String,
    /// The ARNs of the topics whose messages are taken; of any, where none is given.
    #[serde(default)]
    pub topics: Vec<String>,
    /// Its region, where AWS's usual places do not name it.
    pub region: Option<String>,
    /// The address of another service than Amazon's.
    pub endpoint: Option<String>,
}

/// What rolls out.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RollOutBy {
    /// Our own small cluster on this machine.
    Devcluster(Devcluster),
    /// A program.
    Exec(Exec),
    /// A git repository that something else applies.
    Gitops(Gitops),
}

/// Our own small cluster on this machine.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Devcluster {
    /// Its name.
    pub name: String,
    /// The folder of all such clusters.
    pub home: PathBuf,
}

/// A program that rolls out the release that its environment names.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Exec {
    /// The program and its arguments; no shell reads them.
    pub command: Vec<String>,
    /// How long it may take: 1 second to 1 day, 6 hours where nothing is said.
    #[serde(default = "long_patience")]
    pub timeout: Length,
}

fn long_patience() -> Length {
    Length::from_secs(LONG_PATIENCE)
}

/// A git repository that something else applies.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Gitops {
    /// Where it is fetched from and pushed to.
    pub repository: String,
    /// The kustomization's folder in it; `.` is its top.
    pub path: String,
    /// The branch.
    pub branch: String,
    /// A program, with its arguments, that says by its exit code 0 that the cluster is there; no shell reads them.
    pub wait: Vec<String>,
    /// How long that may take: 1 second to 1 day, 30 minutes where nothing is said.
    #[serde(default = "patience")]
    pub timeout: Length,
    /// Whom commits name.
    #[serde(default)]
    pub author: Author,
    /// The registry, or a folder of one, that images are pulled from, if not from where the manifest says.
    pub registry: Option<String>,
}

/// Whom commits name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Author {
    /// A name.
    pub name: String,
    /// An address.
    pub email: String,
}

impl Default for Author {
    fn default() -> Self {
        Self { name: "kdistro-rollout".to_owned(), email: "kdistro-rollout@localhost".to_owned() }
    }
}

fn patience() -> Length {
    Length::from_secs(PATIENCE)
}

/// A namespace of a cluster that kubectl reaches.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct InCluster {
    /// The file that says where the cluster is; without it kubectl finds it as it usually does.
    pub kubeconfig: Option<PathBuf>,
    /// The namespace.
    #[serde(default = "system")]
    pub namespace: String,
}

fn system() -> String {
    "kube-system".to_owned()
}

/// Something that must hold after a roll-out as it did before.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum Check {
    /// Our own checks of a cluster.
    Builtin(bool),
    /// A program, with its arguments; no shell reads them.
    Command(Vec<String>),
    /// The file of a Job that is run in the cluster.
    Job(PathBuf),
    /// Upstream's conformance specs.
    Conformance(Specs),
}

/// Where upstream's conformance specs are.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Specs {
    /// The program `e2e.test`, with `kubectl` beside it. A devcluster takes that of each release where none is given.
    pub e2e_test: Option<PathBuf>,
    /// Where nodes have the images of upstream's specs; upstream's own registries where nothing is given.
    pub registry: Option<String>,
}

impl Check {
    /// True for upstream's specs as the release has them.
    pub fn is_of_release(&self) -> bool {
        matches!(self, Self::Conformance(Specs { e2e_test: None, .. }))
    }
}

pub(super) fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        let expected = "expected an IP address and a port, such as `127.0.0.1:8443` or `[::]:8443`";
        de::Error::custom(format!("`{text}` is nothing to listen on; {expected}"))
    })
}
