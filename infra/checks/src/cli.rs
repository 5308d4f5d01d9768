//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

const EXAMPLES: &str = "\
Examples:
  Our own checks of the cluster that KUBECONFIG names:
    kdistro-checks run
  A subscriber's own besides, with a report for CI:
    kdistro-checks run --builtin --job smoke.yaml --junit checks.xml -- ./smoke-tests --fast
  Upstream's conformance specs on a cluster of infra/devcluster:
    kdistro-checks run --conformance \"$(devcluster tests --key release.pub --release …)\" --registry kdistro.local
  All of ours and upstream's on a cluster that is there for them alone:
    devcluster run --tests --key release.pub --release … -- kdistro-checks run --builtin

Exit codes:
  0  all checks passed; what the cluster lacks the parts for was skipped
  1  a check failed
  2  could not tell: the cluster does not answer, a file cannot be read, wrong usage";

/// Checks a Kubernetes cluster, from 1.20 on.
#[derive(Parser)]
#[command(name = "kdistro-checks", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Write the result as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run checks; our own where nothing else is named
    Run(Box<Run>),
    /// List our own checks, and upstream's specs that are run
    List,
    /// Write a completion script
    Completions {
        /// For which shell
        shell: Shell,
    },
}

/// Which checks of which cluster.
#[derive(Args)]
pub(crate) struct Run {
    /// The cluster: one file, whose current context counts
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub(crate) kubeconfig: PathBuf,
    /// The release that the cluster runs, such as 1-20-7
    #[arg(long)]
    pub(crate) release: Option<String>,
    /// Who checks: what an earlier run of the same left is removed first
    #[arg(long)]
    pub(crate) owner: Option<String>,
    /// An image with etcd and etcdctl for pods; else one that a node has
    #[arg(long)]
    pub(crate) image: Option<String>,
    /// Run our own checks
    #[arg(long)]
    pub(crate) builtin: bool,
    /// The cluster has a node with room for pods: what needs one and finds none fails
    #[arg(long)]
    pub(crate) expect_node: bool,
    /// The cluster has a resolver: what needs one and finds none fails
    #[arg(long)]
    pub(crate) expect_dns: bool,
    /// Run a Job, which must complete
    #[arg(long, value_name = "FILE")]
    pub(crate) job: Vec<PathBuf>,
    /// Run upstream's conformance specs with the e2e.test of the release
    #[arg(long, value_name = "E2E_TEST", env = "KDISTRO_E2E_TEST")]
    pub(crate) conformance: Option<PathBuf>,
    /// The kubectl that some of upstream's specs use; else the one beside e2e.test
    #[arg(long, value_name = "FILE", requires = "conformance")]
    pub(crate) kubectl: Option<PathBuf>,
    /// Where nodes have the images of upstream's specs; else upstream's own registries
    #[arg(long, requires = "conformance", env = "KDISTRO_E2E_REGISTRY")]
    pub(crate) registry: Option<String>,
    /// How long each of our own checks may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) limit: Duration,
    /// How long each job, each command and all of upstream's specs may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds)]
    pub(crate) own_limit: Duration,
    /// Write the results as XML of the form of `JUnit`, too
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Run a program with its arguments, which must end with 0; it finds `KUBECONFIG` and `KDISTRO_RELEASE` in its environment
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) own: Vec<String>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("expected 1 to 86400 seconds".to_owned()),
    }
}
