//! The command line of `kdistro image`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use kdistro_formats::Platform;

use super::EnvironmentName;

/// Look at images, export or start one.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// Show platforms, digests, layers, configuration and packages; reads and checks every blob
    #[command(after_help = "Example:\n  kdistro image inspect 1-36-1 etcd")]
    Inspect {
        /// Which release
        #[command(flatten)]
        of: ImageOf,
        /// The image, such as `kube-apiserver` [default: all]
        image: Option<String>,
    },
    /// Write an image as a folder or file that other programs take
    #[command(after_help = "Examples:\n  kdistro image export 1-36-1 etcd --to etcd\n  \
        kdistro image export 1-36-1 etcd --to etcd.tar --format docker-archive --platform linux/arm64 --key release.pub")]
    Export(ExportArgs),
    /// Unpack an image and start it in the build container, without network: arguments stand after `--`
    #[command(after_help = "Example:\n  kdistro image run 1-36-1 kube-apiserver -- --version")]
    Run(RunArgs),
}

/// Which release's images.
#[derive(Clone, Debug, Args)]
pub struct ImageOf {
    /// A name such as 1-36-1 in the environment's store, or path or address of a manifest
    pub release: String,
    /// The store [default: the environment's, or the manifest's path less its layout suffix]
    #[arg(long, value_name = "URL|DIR")]
    pub store: Option<String>,
    /// The public release key: the whole release is verified first, and nothing is done unless it holds
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Where releases are
    #[command(flatten)]
    pub environment: EnvironmentName,
}

impl ImageCommand {
    /// Which release it is about.
    pub fn of(&self) -> &ImageOf {
        match self {
            Self::Inspect { of, .. } => of,
            Self::Export(arguments) => &arguments.of,
            Self::Run(arguments) => &arguments.of,
        }
    }
}

/// Options of `kdistro image export`.
#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// Which release
    #[command(flatten)]
    pub of: ImageOf,
    /// The image, such as `kube-apiserver`
    pub image: String,
    /// The folder or file to write; it must not be there yet
    #[arg(long, value_name = "DIR|FILE")]
    pub to: PathBuf,
    /// What to write
    #[arg(long, value_enum, default_value_t = ImageFormat::Oci)]
    pub format: ImageFormat,
    /// Only this platform; a docker-archive holds one
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<Platform>,
}

/// What an image is exported as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ImageFormat {
    /// A folder: an OCI image layout.
    Oci,
    /// A file: the tar of `docker save`.
    DockerArchive,
}

/// Options of `kdistro image run`.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// Which release
    #[command(flatten)]
    pub of: ImageOf,
    /// The image, such as `kube-apiserver`
    pub image: String,
    /// The platform [default: this machine's]
    #[arg(long, value_name = "OS/ARCH")]
    pub platform: Option<Platform>,
    /// A program of the image in place of its entry point
    #[arg(long, value_name = "PROGRAM")]
    pub entrypoint: Option<String>,
    /// End it after this time: a server would run for ever
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: u64,
    /// Arguments in place of the image's command
    #[arg(last = true, value_name = "ARGS")]
    pub arguments: Vec<String>,
}
