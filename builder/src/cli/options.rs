//! Options that several commands share, and those of `kdistro rebuild`.

use std::path::PathBuf;

use clap::Args;
use kdistro_formats::{Platform, ProjectName};

/// The environment that embeds everything in the home folder.
pub(crate) const LOCAL: &str = "local";

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct Global {
    /// Folder for mirrors, caches, keys and the local store [default: `KDISTRO_HOME`, else kdistro in the cache folder]
    #[arg(long, global = true, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Print the result or the error as one JSON document, and progress as one JSON event a line on standard error
    #[arg(long, global = true)]
    pub json: bool,
    /// Print nothing but the result and errors
    #[arg(long, global = true)]
    pub quiet: bool,
}

/// Which environment.
#[derive(Clone, Debug, Args)]
pub struct EnvironmentName {
    /// Where releases, images and keys are: the name of a file in infra/environments
    #[arg(long, default_value = LOCAL, value_name = "NAME")]
    pub environment: String,
}

/// Where Debian's archives are.
#[derive(Clone, Debug, Args)]
pub struct AptSources {
    /// A .sources file to take Debian's archives from, in place of the host's
    #[arg(long, value_name = "FILE")]
    pub apt_sources: Option<PathBuf>,
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
    /// Debian's archives
    #[command(flatten)]
    pub archives: AptSources,
}

/// Where the inputs of a rebuild come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum InputsFrom {
    /// The publisher's store.
    Publisher,
    /// Where they came from: the publisher's store gives the configuration only.
    Upstream,
}
