//! The command line of `kdistro key`.

use clap::Subcommand;

use super::EnvironmentName;

/// Make or show keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make the keys of the environment, unless they are there
    #[command(after_help = "Example:\n  kdistro key new")]
    New(EnvironmentName),
    /// Print the public key of releases, PEM
    #[command(after_help = "Example:\n  kdistro key show > release.pub")]
    Show(EnvironmentName),
}
