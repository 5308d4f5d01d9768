//! The command line. Help texts only; what a command does stands in `commands/`.

mod image;
mod key;
mod options;
mod patch;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub(crate) use self::options::LOCAL;
pub use self::{
    image::{ExportArgs, ImageCommand, ImageFormat, ImageOf, RunArgs},
    key::KeyCommand,
    options::{AptSources, EnvironmentName, Global, InputsFrom, Part, RebuildArgs},
    patch::{PatchCommand, WorkArgs},
};

use clap::{Args, Parser, Subcommand};
use kdistro_formats::{ChannelName, ReleaseName, Tag, terminal::printable};

use crate::{config::environment::Gate, cut::Stage};

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

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Cut a release on this machine (but for the conformance tests), verify it as a stranger, rebuild etcd and compare
    #[command(
        after_help = "Example:\n  kdistro quickstart --fast  etcd and the CNI plugins: about five minutes"
    )]
    Quickstart {
        /// Only etcd and the CNI plugins
        #[arg(long)]
        fast: bool,
        /// The channel [default: 1-36 where git reaches its upstreams, else 1-20]
        #[arg(long)]
        channel: Option<ChannelName>,
        /// Where to publish
        #[command(flatten)]
        environment: EnvironmentName,
        /// Debian's archives
        #[command(flatten)]
        archives: AptSources,
    },
    /// Say what this machine can and cannot do, and how to fix it
    #[command(after_help = "Examples:\n  kdistro doctor\n  kdistro doctor --probe --json")]
    Doctor {
        /// Also run the hostile probe in the container, and show what it tried
        #[arg(long)]
        probe: bool,
        /// Debian's archives
        #[command(flatten)]
        archives: AptSources,
    },
    /// Check every declarative file; lists all problems
    #[command(after_help = "Example:\n  kdistro check")]
    Check,
    /// Show channels: what they ship, whether the lock is current, the last release, what the next one would change
    #[command(
        after_help = "Examples:\n  kdistro status\n  kdistro status 1-36 --upstream  is anything newer out?"
    )]
    Status {
        /// The channels [default: all]
        channels: Vec<ChannelName>,
        /// Ask each upstream for newer tags; exit 2 where one cannot be asked
        #[arg(long)]
        upstream: bool,
        /// Where releases are
        #[command(flatten)]
        environment: EnvironmentName,
    },
    /// Begin something new in the build repository
    #[command(
        subcommand,
        after_help = "Example:\n  kdistro new project https://github.com/etcd-io/etcd v3.6.12"
    )]
    New(NewCommand),
    /// Mirror the sources of channels
    #[command(after_help = "Example:\n  kdistro mirror 1-35 1-36")]
    Mirror {
        /// The channels
        #[arg(required = true)]
        channels: Vec<ChannelName>,
        /// Ask upstream again about tags that are mirrored
        #[arg(long)]
        refresh: bool,
        /// Debian's archives
        #[command(flatten)]
        archives: AptSources,
    },
    /// Work on patches
    #[command(
        subcommand,
        after_help = "Examples:\n  kdistro patch status 1-36\n  kdistro patch new coredns/coredns v1.14.3 --into coredns"
    )]
    Patch(PatchCommand),
    /// Pin the content of every input of channels
    #[command(
        after_help = "Examples:\n  kdistro lock 1-20\n  kdistro lock 1-20 --check  in CI: exit 1 when the lock is not current"
    )]
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
        /// Debian's archives
        #[command(flatten)]
        archives: AptSources,
    },
    /// Show every step: whether it is cached, and if not, what changed
    #[command(
        after_help = "Examples:\n  kdistro plan 1-20 --component etcd-io/etcd\n  kdistro plan --from STORE/kubernetes-1-20/kubernetes-1-20-1.yaml"
    )]
    Plan {
        /// The channels
        #[arg(required_unless_present = "from")]
        channels: Vec<ChannelName>,
        /// Make the plan again from what this release published, and compare (path or address of a manifest)
        #[arg(long, value_name = "MANIFEST", conflicts_with_all = ["channels", "components", "platforms"])]
        from: Option<String>,
        /// Which part
        #[command(flatten)]
        part: Part,
    },
    /// Build and keep the outputs; publish nothing
    #[command(
        after_help = "Example:\n  kdistro build 1-20 --component etcd-io/etcd --platform linux/amd64"
    )]
    Build {
        /// The channels
        #[arg(required = true)]
        channels: Vec<ChannelName>,
        /// Which part
        #[command(flatten)]
        part: Part,
        /// Whose rules hold
        #[command(flatten)]
        environment: EnvironmentName,
        /// Debian's archives
        #[command(flatten)]
        archives: AptSources,
    },
    /// Cut a release: fetch, build, package, publish, announce; run again to go on after an interruption
    #[command(
        after_help = "Examples:\n  kdistro cut 1-20\n  kdistro cut 1-35 1-36 --until package\n  kdistro cut 1-36 --gate devcluster\n  kdistro cut 1-36 --component etcd-io/etcd --component coredns/coredns"
    )]
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
        /// What a release has to pass before it is offered, and else is withheld: `devcluster` starts it as a cluster on
        /// this machine and checks it [default: what the environment demands]
        #[arg(long, value_enum)]
        gate: Option<Gate>,
        /// The date of the claim, such as 2026-11-21T10:00:00Z [default: now]
        #[arg(long)]
        date: Option<String>,
        /// Where to publish
        #[command(flatten)]
        environment: EnvironmentName,
        /// Debian's archives
        #[command(flatten)]
        archives: AptSources,
    },
    /// Give up a release number that was claimed and cannot be finished
    #[command(after_help = "Example:\n  kdistro abandon 1-20-2 --reason disk-lost")]
    Abandon(Settled),
    /// Say in the channel's index that a published release should not be used any more; it stays where it is
    #[command(after_help = "Example:\n  kdistro yank 1-20-2 --reason CVE-2026-0001")]
    Yank(Settled),
    /// Publish a keyless signature of a release beside it: a bundle that cosign made of the manifest, checked first
    #[command(
        after_help = "Example:\n  kdistro attest 1-36-7 --bundle M.sigstore.json --identity release@example.com --issuer https://accounts.example.com\n\n\
        Made with: cosign sign-blob --bundle M.sigstore.json STORE/kubernetes-1-36/kubernetes-1-36-7.yaml"
    )]
    Attest(AttestArgs),
    /// Bring a release from one environment to another: verified, the same bytes, signed and announced anew
    #[command(
        after_help = "Examples:\n  kdistro promote 1-36-7 --from dev --to production --dry-run\n  kdistro promote 1-36-7 --from dev --to production\n  \
        kdistro promote 1-36-7 --from dev --key dev.pub --to production"
    )]
    Promote(PromoteArgs),
    /// Build a published release again from its plan and inputs, in an empty cache, and compare
    #[command(
        after_help = "Examples:\n  kdistro rebuild --key release.pub STORE/kubernetes-1-20/kubernetes-1-20-1.yaml\n  \
        kdistro rebuild --key release.pub --component etcd https://releases.example/kubernetes-1-20/kubernetes-1-20-1.yaml"
    )]
    Rebuild(RebuildArgs),
    /// Compare two releases by facts: components, patches, CVEs, parts, assets; exit 1 if anything differs
    #[command(
        after_help = "Examples:\n  kdistro diff 1-36-1 1-36-2\n  kdistro diff --markdown OLD/kubernetes-1-36/kubernetes-1-36-1.yaml 1-36-2 > notes.md"
    )]
    Diff {
        /// The older release: a name such as 1-36-1 in the environment's store, or path or address of a manifest
        from: String,
        /// The newer one
        to: String,
        /// Write Markdown, for a review or release notes
        #[arg(long, conflicts_with = "json")]
        markdown: bool,
        /// Where releases are
        #[command(flatten)]
        environment: EnvironmentName,
    },
    /// Look at the images of a release, export one, or start one
    #[command(
        subcommand,
        after_help = "Examples:\n  kdistro image inspect 1-36-1\n  kdistro image run 1-36-1 etcd -- --version"
    )]
    Image(ImageCommand),
    /// Make or show the keys of the environment
    #[command(subcommand, after_help = "Example:\n  kdistro key show > release.pub")]
    Key(KeyCommand),
    /// Print completions for a shell
    #[command(after_help = "Example:\n  kdistro completions bash > kdistro.bash")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// A release, and why it is not offered.
#[derive(Clone, Debug, Args)]
pub struct Settled {
    /// The release, such as 1-20-2
    pub release: ReleaseName,
    /// Why; stands in the channel index
    #[arg(long, value_parser = reason)]
    pub reason: String,
    /// Where it is
    #[command(flatten)]
    pub environment: EnvironmentName,
}

/// The longest reason in characters: it stands in the index for ever, and in an announcement.
const LONGEST_REASON: usize = 500;

/// Reads a reason: a line of text that any terminal shows as it is.
fn reason(text: &str) -> Result<String, String> {
    let is_shown = printable(text) == text;
    let length = text.chars().count();
    if is_shown && length <= LONGEST_REASON && !text.trim().is_empty() {
        return Ok(text.to_owned());
    }
    Err(format!("expected one line of 1 to {LONGEST_REASON} printable characters"))
}

/// A keyless signature, and whose it must be.
#[derive(Debug, Args)]
pub struct AttestArgs {
    /// The release, such as 1-36-7
    pub release: ReleaseName,
    /// The bundle
    #[arg(long, value_name = "FILE")]
    pub bundle: PathBuf,
    /// Who must have signed: the email address or URI that the certificate names
    #[arg(long, value_name = "EMAIL|URI", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub identity: String,
    /// Who must have vouched for that identity, such as <https://accounts.example.com>
    #[arg(long, value_name = "URL", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub issuer: String,
    /// The trusted root of the certificate's authority and the log [default: Sigstore's public one, as it was when this program was built]
    #[arg(long, value_name = "FILE")]
    pub trusted_root: Option<PathBuf>,
    /// Where the release is
    #[command(flatten)]
    pub environment: EnvironmentName,
}

/// What is brought where.
#[derive(Debug, Args)]
pub struct PromoteArgs {
    /// The release, such as 1-36-7
    pub release: ReleaseName,
    /// The environment that it is in
    #[arg(long, value_name = "NAME")]
    pub from: String,
    /// The environment that it goes to
    #[arg(long, value_name = "NAME")]
    pub to: String,
    /// The public key that must have signed it, PEM [default: the first environment's own]
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Only say what would be copied, signed and announced
    #[arg(long)]
    pub dry_run: bool,
}

/// Begin something new.
#[derive(Debug, Subcommand)]
pub enum NewCommand {
    /// Write a first projects/OWNER/REPO/project.yaml from what a tag of an upstream looks like
    #[command(
        after_help = "Example:\n  kdistro new project https://github.com/etcd-io/etcd v3.6.12"
    )]
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

impl Command {
    /// The environment, for commands that publish, or look at what was published.
    pub fn environment(&self) -> Option<&str> {
        let named = match self {
            Self::Quickstart { environment, .. }
            | Self::Status { environment, .. }
            | Self::Build { environment, .. }
            | Self::Cut { environment, .. }
            | Self::Diff { environment, .. }
            | Self::Abandon(Settled { environment, .. })
            | Self::Yank(Settled { environment, .. })
            | Self::Attest(AttestArgs { environment, .. })
            | Self::Key(KeyCommand::New(environment) | KeyCommand::Show(environment)) => {
                environment
            }
            Self::Image(command) => &command.of().environment,
            _ => return None,
        };
        Some(&named.environment)
    }

    /// Other archives of Debian than the host's, for commands that fetch.
    pub fn apt_sources(&self) -> Option<&PathBuf> {
        let archives = match self {
            Self::Quickstart { archives, .. }
            | Self::Doctor { archives, .. }
            | Self::Mirror { archives, .. }
            | Self::Lock { archives, .. }
            | Self::Build { archives, .. }
            | Self::Cut { archives, .. }
            | Self::Rebuild(RebuildArgs { archives, .. }) => archives,
            Self::Patch(command) => command.archives(),
            _ => return None,
        };
        archives.apt_sources.as_ref()
    }

    /// True for commands that leave nothing in the home folder, and so need none that can be written to.
    pub fn only_reads(&self) -> bool {
        matches!(
            self,
            Self::Check
                | Self::Status { .. }
                | Self::Plan { .. }
                | Self::Diff { .. }
                | Self::Image(ImageCommand::Inspect { .. } | ImageCommand::Export(_))
                | Self::Key(KeyCommand::Show(_))
                | Self::Completions { .. }
        )
    }
}
