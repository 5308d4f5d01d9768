//! The command line.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  A cluster with a node, from a release of this machine:
    devcluster up --key release.pub --release STORE/kubernetes-1-20/kubernetes-1-20-1.yaml
  The newest one that a channel offers:
    devcluster up --key release.pub --release STORE/kubernetes-1-20
  Only etcd and the control plane, without root:
    devcluster up --name small --control-plane-only --key release.pub --release …
  Use it, and end it:
    devcluster kubectl -- get nodes
    KUBECONFIG=$(devcluster status --json | jq -r .kubeconfig) kubectl get nodes
    devcluster down
  A cluster for one program, which ends with it:
    devcluster run --key release.pub --release … -- ./smoke-tests

Exit codes:
  0  done, or healthy
  1  not healthy; or the release is not what its key signed
  2  could not: missing programs, no rights, wrong usage
  run: those of the program, once the cluster is there";

/// Starts, shows and ends small real clusters from kdistro releases.
#[derive(Parser)]
#[command(name = "devcluster", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// The folder of clusters and of what they take out of releases
    #[arg(long, global = true, value_name = "DIR", env = "KDISTRO_DEVCLUSTER_HOME")]
    pub(crate) home: Option<PathBuf>,
    /// Write the result as JSON, errors too
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// Which cluster.
#[derive(Args)]
pub(crate) struct Name {
    /// The cluster's name
    #[arg(long, default_value = "dev")]
    pub(crate) name: String,
}

/// Which release, and whom to believe.
#[derive(Args)]
pub(crate) struct Signed {
    /// The manifest of the release: a path or an address; with --store also its bare name. Of a folder, a store with one
    /// channel or a channel in it, the newest release that is offered. Others on this machine see an address that is an
    /// argument, and not one in the environment
    #[arg(
        long,
        value_name = "URL|FILE|DIR",
        env = "KDISTRO_DEVCLUSTER_RELEASE",
        hide_env_values = true
    )]
    pub(crate) release: String,
    /// The release key: a P-256 public key, PEM
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// The trusted root; without it the store's own, which the release key must have signed
    #[arg(long, value_name = "FILE")]
    pub(crate) trusted_root: Option<PathBuf>,
    /// The release key was stolen: the first entry of the log for which it is not believed any more. Needs --trusted-root
    #[arg(long, value_name = "INDEX")]
    pub(crate) revoked_from: Option<u64>,
    /// The store; without it the manifest's path less its layout suffix
    #[arg(long, value_name = "URL|DIR")]
    pub(crate) store: Option<String>,
}

/// A program, and the cluster that is there as long as it runs.
#[derive(Args)]
pub(crate) struct Run {
    /// The cluster's name [default: one that no other has]
    #[arg(long)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) signed: Signed,
    /// No node: nothing runs pods, and nothing needs root; without this a machine that can run none is an error
    #[arg(long)]
    pub(crate) control_plane_only: bool,
    /// Bring upstream's tests of the release, too; `KDISTRO_E2E_TEST` says where, and `KDISTRO_E2E_REGISTRY` their images
    #[arg(long, conflicts_with = "control_plane_only")]
    pub(crate) tests: bool,
    /// End also when the process that starts this, which has this id, ends in whatever way
    #[arg(long, value_name = "ID")]
    pub(crate) bound: Option<i32>,
    /// Believe a release that no channel's index offers yet: for publishers, who try it first
    #[arg(long)]
    pub(crate) unoffered: bool,
    /// The program and its arguments; it finds `KUBECONFIG` in its environment
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<OsString>,
}

/// What is to be started.
#[derive(Args)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) name: Name,
    #[command(flatten)]
    pub(crate) signed: Signed,
    /// No node: nothing runs pods, and nothing needs root
    #[arg(long)]
    pub(crate) control_plane_only: bool,
    /// Start nothing where this machine cannot run a node; else the control plane runs alone then
    #[arg(long, conflicts_with = "control_plane_only")]
    pub(crate) require_node: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Start a cluster
    Up(Up),
    /// Run a program with a cluster of its own, which ends with it; what it took out of the release stays for the next one
    Run(Run),
    /// End a cluster and remove everything of it, of the last one also what was taken out of releases
    Down {
        #[command(flatten)]
        name: Name,
        /// All clusters, also where there is none: then only what was taken out of releases is removed
        #[arg(long, conflicts_with = "name")]
        all: bool,
    },
    /// Say how a cluster is
    Status {
        #[command(flatten)]
        name: Name,
    },
    /// Give the node of a cluster the image of upstream's tests, and say where the release's e2e.test is
    Tests {
        #[command(flatten)]
        name: Name,
        #[command(flatten)]
        signed: Signed,
    },
    /// List the clusters
    List,
    /// Run the release's kubectl as the cluster's administrator
    Kubectl {
        #[command(flatten)]
        name: Name,
        /// What to tell it
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
    /// Run a program in the cluster's namespaces
    Exec {
        #[command(flatten)]
        name: Name,
        /// The program and its arguments
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Say what is missing for a node in the namespaces of this process
    #[command(hide = true)]
    Survey {
        /// A folder that ends with them
        #[arg(long)]
        folder: PathBuf,
    },
    /// Be the first process of a cluster
    #[command(hide = true)]
    Supervise {
        /// The cluster's folder
        #[arg(long)]
        folder: PathBuf,
        /// Pods will run
        #[arg(long)]
        node: bool,
    },
}
