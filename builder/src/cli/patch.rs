//! The command line of `kdistro patch`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use kdistro_formats::{ChannelName, ProjectName, Tag};

use super::AptSources;

/// Work on patches.
#[derive(Debug, Subcommand)]
pub enum PatchCommand {
    /// Show for each patch whether it applies, drifted, conflicts, or is upstream already; exit 1 if any conflicts
    #[command(after_help = "Example:\n  kdistro patch status 1-36")]
    Status {
        /// The channel
        channel: ChannelName,
        /// Debian's archives
        #[command(flatten)]
        archives: AptSources,
    },
    /// Check a source out with its patches as commits, to add one
    #[command(after_help = "Example:\n  kdistro patch new coredns/coredns v1.14.3 --into coredns")]
    New(WorkArgs),
    /// Check a source out with its patches as commits, to change them (git rebase -i)
    #[command(after_help = "Example:\n  kdistro patch edit coredns/coredns v1.14.3 --into coredns")]
    Edit(WorkArgs),
    /// Write the commits of a checked-out source back as patches, in canonical form
    #[command(
        after_help = "Example:\n  kdistro patch refresh coredns/coredns v1.14.3 --from coredns"
    )]
    Refresh {
        /// The project
        project: ProjectName,
        /// The tag
        tag: Tag,
        /// The work tree [default: the patches as they are, written in canonical form]
        #[arg(long, value_name = "DIR")]
        from: Option<PathBuf>,
        /// Debian's archives
        #[command(flatten)]
        archives: AptSources,
    },
}

/// What is checked out, and where.
#[derive(Clone, Debug, Args)]
pub struct WorkArgs {
    /// The project
    pub project: ProjectName,
    /// The tag
    pub tag: Tag,
    /// Where to check it out
    #[arg(long, value_name = "DIR")]
    pub into: PathBuf,
    /// Debian's archives
    #[command(flatten)]
    pub archives: AptSources,
}

impl PatchCommand {
    pub(super) fn archives(&self) -> &AptSources {
        match self {
            Self::Status { archives, .. }
            | Self::New(WorkArgs { archives, .. })
            | Self::Edit(WorkArgs { archives, .. })
            | Self::Refresh { archives, .. } => archives,
        }
    }
}
