//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use kdistro_formats::{Digest, ReleaseName, release::is_cve};
use kdistro_rollout::policy::Length;

/// The subscriber's file where nothing names another.
pub(crate) const CONFIG: &str = "rollout.yaml";

const EXAMPLES: &str = "\
Examples:
  Look once, say what was decided, and roll out what is to be:
    kdistro-rollout once --config rollout.yaml
  What happened, and why a release does not run:
    kdistro-rollout history
    kdistro-rollout why 1-20-7
  Keep a release away, and let it come after all:
    kdistro-rollout hold 1-20-7 --reason 'breaks our ingress'
    kdistro-rollout resume 1-20-7
  Which clusters lack a fix, and which have not been heard of for a week:
    kdistro-rollout fleet --reports reports --keys keys --silent-for 7d \\
        --lacks CVE-2026-1234 --store https://releases.example.org --key release.pub --environment production
  Whether what runs on this machine is the release, byte for byte:
    kdistro-rollout inspect --config rollout.yaml
    kdistro-rollout inspect --key release.pub --release https://…/kubernetes-1-20-7.yaml --every 10m

Exit codes:
  0  done
  1  nothing is known of the release; it failed and the one before runs again; the index or a release is forged;
     a cluster lacks the fix or is silent, or a report does not count; something strange runs
  2  could not: the history is in use or unreadable, wrong usage";

/// For subscribers: rolls verified releases out to a cluster, and back when they fail.
#[derive(Parser)]
#[command(name = "kdistro-rollout", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// The folder of the history: where none is given, that of the subscriber's file, else /var/lib/kdistro-rollout
    #[arg(long, global = true, value_name = "DIR", env = "KDISTRO_ROLLOUT_STATE")]
    pub(crate) state: Option<PathBuf>,
    /// Write the result as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Write what happens meanwhile as one JSON object a line
    #[arg(long, global = true)]
    pub(crate) log_json: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Look once: go on with what is under way, decide, and roll out what is to be
    Once {
        /// The subscriber's file
        #[arg(long, value_name = "FILE", default_value = CONFIG)]
        config: PathBuf,
    },
    /// Listen, and look whenever something is heard, and as often as the subscriber's file says
    Run {
        /// The subscriber's file
        #[arg(long, value_name = "FILE", default_value = CONFIG)]
        config: PathBuf,
    },
    /// Say that a release may be rolled out, where the policy asks somebody
    Approve {
        /// The release
        release: ReleaseName,
        #[command(flatten)]
        of: Of,
    },
    /// Say what runs, what is under way, and what is held
    Status(Of),
    /// List everything that happened
    History(Of),
    /// Say what happened to a release, and why it is held
    Why {
        /// The release
        release: ReleaseName,
        #[command(flatten)]
        of: Of,
    },
    /// Do not roll a release out by itself; without one, none at all
    Hold {
        /// The release
        release: Option<ReleaseName>,
        /// Why
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        of: Of,
    },
    /// Let a release that is held be rolled out again; without one, all that are not held themselves
    #[command(visible_alias = "retry")]
    Resume {
        /// The release
        release: Option<ReleaseName>,
        #[command(flatten)]
        of: Of,
    },
    /// Write the status page into a file
    Page {
        /// The file
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        of: Of,
    },
    /// Report to the distributor how things are now, and say by which public key reports are believed
    Report {
        /// The subscriber's file
        #[arg(long, value_name = "FILE", default_value = CONFIG)]
        config: PathBuf,
    },
    /// For distributors: say which cluster runs what, from the reports of many
    Fleet(Asked),
    /// Compare what really runs on this machine with the release
    Inspect(Inspect),
    /// Write a completion script
    Completions {
        /// For which shell
        shell: Shell,
    },
}

/// Whose history it is about.
#[derive(Args)]
pub(crate) struct Of {
    /// The subscriber's file, which says where the history is: rollout.yaml, where there is one
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// What is asked of a fleet.
#[derive(Args)]
pub(crate) struct Asked {
    /// Where the reports lie, `<cluster>.json`: a folder, or a bucket such as `s3://BUCKET/PREFIX`
    #[arg(long, value_name = "DIR|BUCKET")]
    pub(crate) reports: String,
    /// Of a bucket: the address of another service than Amazon's
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,
    /// The folder of the clusters' public keys, `<cluster>.pub`, as `report` says them
    #[arg(long, value_name = "DIR")]
    pub(crate) keys: PathBuf,
    /// Remember the newest report of each cluster in this file, so that an older one in its place does not count
    #[arg(long, value_name = "FILE")]
    pub(crate) seen: Option<PathBuf>,
    /// Name clusters that have not reported for longer, such as `7d`: each reports at least once a day
    #[arg(long, value_name = "TIME", value_parser = Length::parse)]
    pub(crate) silent_for: Option<Length>,
    /// Name clusters that lack the fix of a CVE
    #[arg(long, value_name = "CVE", requires = "Releases", value_parser = cve)]
    pub(crate) lacks: Option<String>,
    #[command(flatten)]
    pub(crate) releases: Option<Releases>,
    /// Write the answer as a page, too
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

/// Where the releases are that clusters run.
#[derive(Args)]
pub(crate) struct Releases {
    /// Where the releases are published: an address, or a folder
    #[arg(long, value_name = "STORE", required = false, requires_all = ["key", "environment"])]
    pub(crate) store: String,
    /// The file with the public key, PEM, that signs them
    #[arg(long, value_name = "PEM", required = false)]
    pub(crate) key: PathBuf,
    /// The environment whose releases the clusters take
    #[arg(long, value_name = "NAME", required = false)]
    pub(crate) environment: String,
}

/// What is to be compared with what.
#[derive(Args)]
pub(crate) struct Inspect {
    /// The subscriber's file: its cluster, and the release that runs there as far as the history says
    #[arg(long, value_name = "FILE", default_value = CONFIG)]
    pub(crate) config: PathBuf,
    /// Instead: the manifest of the release, a path or an address; with --store also its bare name
    #[arg(long, value_name = "URL|FILE", requires = "key", conflicts_with = "config")]
    pub(crate) release: Option<String>,
    /// The release key: a P-256 public key, PEM
    #[arg(long, value_name = "FILE", requires = "release")]
    pub(crate) key: Option<PathBuf>,
    /// The trusted root; without it the store's own, which the release key must have signed
    #[arg(long, value_name = "FILE", requires = "release")]
    pub(crate) trusted_root: Option<PathBuf>,
    /// The store; without it the manifest's path less its layout suffix
    #[arg(long, value_name = "URL|DIR", requires = "release")]
    pub(crate) store: Option<String>,
    /// Only this process and what it has started
    #[arg(long, value_name = "PID")]
    pub(crate) below: Option<u32>,
    /// Where containerd listens; without it where it usually does, if it is there
    #[arg(long, value_name = "SOCKET")]
    pub(crate) containerd: Option<PathBuf>,
    /// The digest of a program or image that is called as one of the release, is none, and is meant to run
    #[arg(long, value_name = "DIGEST")]
    pub(crate) known: Vec<Digest>,
    /// Again and again, such as every 10m; at least a second passes between two looks
    #[arg(long, value_name = "LENGTH", value_parser = every)]
    pub(crate) every: Option<Length>,
}

fn every(text: &str) -> Result<Length, String> {
    let length = Length::parse(text)?;
    if length < Length::from_secs(1) {
        Err("expected a second at least".to_owned())
    } else {
        Ok(length)
    }
}

fn cve(text: &str) -> Result<String, &'static str> {
    let expected = "expected `CVE-YEAR-NUMBER`, such as CVE-2026-1234";
    if is_cve(text) { Ok(text.to_owned()) } else { Err(expected) }
}
