//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;
use kdistro_formats::ReleaseName;

const EXAMPLES: &str = "\
Examples:
  What happened, and why a release does not run:
    kdistro-rollout history
    kdistro-rollout why 1-20-7
  Keep a release away, and let it come after all:
    kdistro-rollout hold 1-20-7 --reason 'breaks our ingress'
    kdistro-rollout resume 1-20-7

Exit codes:
  0  done
  1  there is nothing to say of the release
  2  could not: the history is in use or unreadable, wrong usage";

/// For subscribers: rolls verified releases out to a cluster, and back when they fail.
#[derive(Parser)]
#[command(name = "kdistro-rollout", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// The folder of the history
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "/var/lib/kdistro-rollout",
        env = "KDISTRO_ROLLOUT_STATE"
    )]
    pub(crate) state: PathBuf,
    /// Write the result as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Say what runs, what is under way, and what is held
    Status,
    /// List everything that happened
    History,
    /// Say what happened to a release, and why it is held
    Why {
        /// The release
        release: ReleaseName,
    },
    /// Do not roll a release out by itself
    Hold {
        /// The release
        release: ReleaseName,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// Let a release that is held be rolled out again
    #[command(visible_alias = "retry")]
    Resume {
        /// The release
        release: ReleaseName,
    },
    /// Write a completion script
    Completions {
        /// For which shell
        shell: Shell,
    },
}
