//! The command line. Help texts only; what a command does stands in `commands/`.

mod image;

use std::path::PathBuf;

pub use self::image::{ExportArgs, ImageCommand, ImageFormat, ImageOf, RunArgs};

use clap::{Args, Parser, Subcommand};
use kdistro_formats::{ChannelName, Platform, ProjectName, ReleaseName, Tag};

use crate::cut::Stage;

/// Cuts, publishes and rebuilds releases of a reproducible Kubernetes distribution.
#[derive(Debug, Parser)]
#[command(
    name = "kdistro",
    version,
    after_help = "Exit codes: 0 yes (done, verified, same), 1 no (differs, forged, a named problem found), 2 could not tell or do.\n\n\
        Examples:\n  kdistro quickstart --fast          cut, verify and rebuild etcd and the CNI plugins\n  \
        kdistro plan 1-20                  what would be built, and why\n  \
        kdistro cut 1-20                   all of it, published into the local store\n  \
        kdistro rebuild --key release.pub STORE/kubernetes-1-20/kubernetes-1-20-1.yaml"
)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Folder for mirrors, caches, keys and the local store [default: `KDISTRO_HOME`, else kdistro in the cache folder]
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Where to publish: a file in infra/environments
    #[arg(long, global = true, default_value = "local", value_name = "NAME")]
    pub environment: String,
    /// A .sources file to take Debian's archives from, in place of the host's
    #[arg(long, global = true, value_name = "FILE")]
    pub apt_sources: Option<PathBuf>,
    /// Print the result as JSON, and progress as one JSON event a line on standard error
    #[arg(long, global = true)]
    pub json: bool,
    /// Print nothing but the result and errors
    #[arg(long, global = true)]
    pub quiet: bool,
}

/// Which part of a channel.
#[derive(Clone, Debug, Args)]
pub struct Part {
    /// Only this component, by project; can be repeated
    #[arg(long = "component", value_name = "OWNER/REPO")]
    pub components: Vec<ProjectName>,
    /// Only this platform; can be repeated
    #[arg(long = "platform", value_name = "OS/ARCH")]
    pub platforms: Vec<Platform>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Cut a release on this machine (but for the conformance tests), verify it as a stranger, rebuild etcd and compare
    Quickstart {
        /// Only etcd and the CNI plugins
        #[arg(long)]
        fast: bool,
        /// The channel [default: 1-36 where git reaches its upstreams, else 1-20]
        #[arg(long)]
        channel: Option<ChannelName>,
    },
    /// Say what this machine can and cannot do, and how to fix it
    Doctor {
        /// Also run the hostile probe in the container, and show what it tried
        #[arg(long)]
        probe: bool,
    },
    /// Check every declarative file; lists all problems
    Check,
    /// Show channels: what they ship, whether the lock is current, the last release, what the next one would change
    Status {
        /// The channels [default: all]
        channels: Vec<ChannelName>,
        /// Ask each upstream for newer tags; exit 2 where one cannot be asked
        #[arg(long)]
        upstream: bool,
    },
    /// Begin something new in the build repository
    #[command(subcommand)]
    New(NewCommand),
    /// Mirror the sources of channels
    Mirror {
        /// The channels
        #[arg(required = true)]
        channels: Vec<ChannelName>,
        /// Ask upstream again about tags that are mirrored
        #[arg(long)]
        refresh: bool,
    },
    /// Work on patches
    #[command(subcommand)]
    Patch(PatchCommand),
    /// Pin the content of every input of channels
    Lock {
        /// The channels
        #[arg(required = true)]
        channels: Vec<ChannelName>,
        /// Write nothing; exit 1 when anything differs
        #[arg(long)]
        check: bool,
        /// Ask upstream again about tags and packages
        #[arg(long)]
        refresh: bool,
        /// Where a source cannot be reached, lock its commit alone
        #[arg(long)]
        partial: bool,
    },
    /// Show every step: whether it is cached, and if not, what changed
    Plan {
        /// The channels
        #[arg(required_unless_present = "from")]
        channels: Vec<ChannelName>,
        /// Make the plan again from what this release published, and compare (path or address of a manifest)
        #[arg(long, value_name = "MANIFEST", conflicts_with = "channels")]
        from: Option<String>,
        /// Which part
        #[command(flatten)]
        part: Part,
    },
    /// Build and keep the outputs; publish nothing
    Build {
        /// The channels
        #[arg(required = true)]
        channels: Vec<ChannelName>,
        /// Which part
        #[command(flatten)]
        part: Part,
    },
    /// Cut a release: fetch, build, package, publish, announce; run again to go on after an interruption
    Cut {
        /// The channels; one that fails does not stop the others
        #[arg(required = true)]
        channels: Vec<ChannelName>,
        /// Which part
        #[command(flatten)]
        part: Part,
        /// The last stage to run
        #[arg(long, value_enum, default_value_t = Stage::Announce)]
        until: Stage,
        /// The date of the claim, such as 2026-11-21T10:00:00Z [default: now]
        #[arg(long)]
        date: Option<String>,
    },
    /// Give up a release number that was claimed and cannot be finished
    Abandon {
        /// The release, such as 1-20-2
        release: ReleaseName,
        /// Why; stands in the channel index
        #[arg(long)]
        reason: String,
    },
    /// Build a published release again from its plan and inputs, in an empty cache, and compare
    Rebuild(RebuildArgs),
    /// Compare two releases by facts: components, patches, CVEs, parts, assets; exit 1 if anything differs
    Diff {
        /// The older release: a name such as 1-36-1 in the environment's store, or path or address of a manifest
        from: String,
        /// The newer one
        to: String,
        /// Write Markdown, for a review or release notes
        #[arg(long, conflicts_with = "json")]
        markdown: bool,
    },
    /// Look at the images of a release, export one, or start one
    #[command(subcommand)]
    Image(ImageCommand),
    /// Make or show the keys of the environment
    #[command(subcommand)]
    Key(KeyCommand),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Options of `kdistro rebuild`.
#[derive(Clone, Debug, Args)]
pub struct RebuildArgs {
    /// The manifest, by path or address
    pub manifest: String,
    /// The publisher's public key; the release is verified before it is rebuilt
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The store [default: the manifest's path less its layout suffix]
    #[arg(long, value_name = "URL|DIR")]
    pub store: Option<String>,
    /// Only this component, by name such as `etcd` or project such as `etcd-io/etcd`; can be repeated
    #[arg(long = "component", value_name = "NAME")]
    pub components: Vec<String>,
    /// Where inputs come from
    #[arg(long, value_enum, default_value_t = InputsFrom::Publisher)]
    pub inputs_from: InputsFrom,
    /// Write a rebuild statement here
    #[arg(long, value_name = "FILE")]
    pub statement: Option<PathBuf>,
    /// Sign the statement with this key file
    #[arg(long, value_name = "FILE", requires = "statement")]
    pub sign_with: Option<PathBuf>,
    /// Build in this folder and keep it [default: a new one, removed at the end]
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,
}

/// Where the inputs of a rebuild come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum InputsFrom {
    /// The publisher's store.
    Publisher,
    /// Where they came from: the publisher's store gives the configuration only.
    Upstream,
}

/// Work on patches.
#[derive(Debug, Subcommand)]
pub enum PatchCommand {
    /// Show for each patch whether it applies, drifted, conflicts, or is upstream already; exit 1 if any conflicts
    Status {
        /// The channel
        channel: ChannelName,
    },
    /// Check a source out with its patches as commits, to add one
    New {
        /// The project
        project: ProjectName,
        /// The tag
        tag: Tag,
        /// Where to check it out
        #[arg(long, value_name = "DIR")]
        into: PathBuf,
    },
    /// Check a source out with its patches as commits, to change them (git rebase -i)
    Edit {
        /// The project
        project: ProjectName,
        /// The tag
        tag: Tag,
        /// Where to check it out
        #[arg(long, value_name = "DIR")]
        into: PathBuf,
    },
    /// Write the commits of a checked-out source back as patches, in canonical form
    Refresh {
        /// The project
        project: ProjectName,
        /// The tag
        tag: Tag,
        /// The work tree [default: the patches as they are, written in canonical form]
        #[arg(long, value_name = "DIR")]
        from: Option<PathBuf>,
    },
}

/// Begin something new.
#[derive(Debug, Subcommand)]
pub enum NewCommand {
    /// Write a first projects/OWNER/REPO/project.yaml from what a tag of an upstream looks like
    Project {
        /// The upstream's public https address, such as `https://github.com/etcd-io/etcd`
        url: String,
        /// The tag to look at
        tag: Tag,
        /// The component's name [default: the repository's]
        #[arg(long)]
        name: Option<String>,
    },
}

/// Make or show keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make the keys of the environment, unless they are there
    New,
    /// Print the public key of releases, PEM
    Show,
}
