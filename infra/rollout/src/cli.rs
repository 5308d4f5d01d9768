//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use clap_complete::Shell;
use kdistro_formats::ReleaseName;

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

Exit codes:
  0  done
  1  nothing is known of the release; it failed and the one before runs again; the index or a release is forged
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
    /// Look once: go on with what is under way, decide, and roll out what is to be
    Once {
        /// The subscriber's file
        #[arg(long, value_name = "FILE", default_value = "rollout.yaml")]
        config: PathBuf,
    },
    /// Listen, and look whenever something is heard, and as often as the subscriber's file says
    Run {
        /// The subscriber's file
        #[arg(long, value_name = "FILE", default_value = "rollout.yaml")]
        config: PathBuf,
    },
    /// Say that a release may be rolled out, where the policy asks somebody
    Approve {
        /// The release
        release: ReleaseName,
    },
    /// Say what runs, what is under way, and what is held
    Status,
    /// List everything that happened
    History,
    /// Say what happened to a release, and why it is held
    Why {
        /// The release
        release: ReleaseName,
    },
    /// Do not roll a release out by itself; without one, none at all
    Hold {
        /// The release
        release: Option<ReleaseName>,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// Let a release that is held be rolled out again; without one, all that are not held themselves
    #[command(visible_alias = "retry")]
    Resume {
        /// The release
        release: Option<ReleaseName>,
    },
    /// Write a completion script
    Completions {
        /// For which shell
        shell: Shell,
    },
}
