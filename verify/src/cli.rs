//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use kdistro_verify::check::Scope;

const EXAMPLES: &str = "\
Examples:
  Check a release in a directory with nothing but the public key:
    kdistro-verify --key release.pub STORE/kubernetes-1-20/kubernetes-1-20-1.yaml
  Check a release behind an address, with every input that it was built from:
    kdistro-verify --key release.pub --inputs https://releases.example/kubernetes-1-20/kubernetes-1-20-1.yaml
  Check a mirror, and that nothing else is in it:
    kdistro-verify --key release.pub --all --store /mnt/mirror kubernetes-1-20-1.yaml
  Check a release of a stolen key, which is believed up to entry 1233 of the log:
    kdistro-verify --key release.pub --trusted-root trusted_root.json --revoked-from 1234 STORE/kubernetes-1-20/kubernetes-1-20-1.yaml
  Judge a rebuild:
    kdistro-verify compare published/ rebuilt/
    kdistro-verify explain published/etcd.tar.gz rebuilt/etcd.tar.gz

Exit codes:
  0  verified, or the same
  1  differs, is forged, missing or too much; the file is named
  2  could not tell: unreachable, unreadable, wrong usage";

/// Checks what kdistro published: signatures, log, digests. Holds no key, starts no process.
#[derive(Parser)]
#[command(
    name = "kdistro-verify",
    version,
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = false,
    subcommand_negates_reqs = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) release: Release,
    /// Write the result as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Write the verdict only
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

/// Which release is checked, and against what.
#[derive(Args)]
pub(crate) struct Release {
    /// The release key: a P-256 public key, PEM
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) key: Option<PathBuf>,
    /// The trusted root; without it the store's own, which the release key must have signed
    #[arg(long, value_name = "FILE")]
    pub(crate) trusted_root: Option<PathBuf>,
    /// The release key was stolen: the first entry of the log, counted from 0, for which it is not believed any more. What
    /// it signed there or later is as good as forged. Needs --trusted-root, as it was before: whoever has the key can sign
    /// another, of a log of their own
    #[arg(long, value_name = "INDEX")]
    pub(crate) revoked_from: Option<u64>,
    /// The store; without it the manifest's path less its layout suffix
    #[arg(long, value_name = "URL|DIR")]
    pub(crate) store: Option<String>,
    /// Check every input of the release too
    #[arg(long)]
    inputs: bool,
    /// Check every release of the store with its inputs, and that nothing else is there
    #[arg(long)]
    all: bool,
    /// The manifest: a path or an address; with --store also its bare name, and any other must be the store's manifest
    #[arg(required = true)]
    pub(crate) manifest: Option<String>,
}

impl Release {
    pub(crate) fn scope(&self) -> Scope {
        match (self.all, self.inputs) {
            (true, _) => Scope::All,
            (false, true) => Scope::Inputs,
            (false, false) => Scope::Release,
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Say whether two files or folders hold the same content
    Compare {
        /// The first
        a: PathBuf,
        /// The second
        b: PathBuf,
    },
    /// Say in words where two files or folders differ first
    Explain {
        /// The first
        a: PathBuf,
        /// The second
        b: PathBuf,
    },
    /// Write a completion script
    Completions {
        /// For which shell
        shell: Shell,
    },
}
