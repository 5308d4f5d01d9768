//! The subjects, a file each.

mod build;
mod cluster;
mod empty_step;
mod gzip;
mod hash;
mod nothing_changed;
mod packaging;
mod promote;
mod push;
mod subscriber;
mod upload;

use clap::ValueEnum;

use crate::{error::BenchError, figures::Figure, prepared::Prepared};

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Subject {
    /// The CPU of compiling etcd and the CNI plugins through kdistro, and of the same `go build` run bare
    Build,
    /// The same for every `go build` of the channel's Linux platforms whose component was built in the home, and in sum
    BuildAll,
    /// The wall time of a step that does nothing
    EmptyStep,
    /// The wall time of a cut where nothing changed
    NothingChanged,
    /// The CPU and memory of both digests in one read, and of openssl run twice
    Hash,
    /// The CPU of compressing a layer of programs, and of pigz on one core at the same level
    Gzip,
    /// The wall time and memory of making the images of all components that were built in the home
    Images,
    /// The wall time and memory of writing the SBOMs of all components that were built in the home
    Sboms,
    /// The CPU, wall time and memory of uploading 1 GB in 300 files to S3, and of `aws s3 sync`; the requests of doing it again
    Upload,
    /// The CPU and wall time of pushing a layer of 52 MB to a registry, and of `crane push`; what is sent when it is there
    Push,
    /// The wall time of promoting a release from one local environment to another, and of copying its bytes
    Promote,
    /// The wall time of starting a development cluster without a node, and as root with one, of rolling a release out to it, and
    /// how long its API is away meanwhile
    Cluster,
    /// The wall time and memory of a subscriber's program from a message to a verified decision, what it takes while nothing
    /// happens, and the wall time of asking a fleet of 1,000 clusters
    Subscriber,
}

impl Subject {
    /// Measures; `pairs` is how often, where the subject's own choice will not do.
    pub(crate) fn measure(
        self,
        prepared: &Prepared,
        pairs: Option<usize>,
    ) -> Result<Vec<Figure>, BenchError> {
        match self {
            Self::Build => build::measure(prepared, pairs.unwrap_or(3)),
            Self::BuildAll => build::measure_all(prepared, pairs.unwrap_or(1)),
            Self::EmptyStep => empty_step::measure(prepared, pairs.unwrap_or(50)),
            Self::NothingChanged => nothing_changed::measure(prepared, pairs.unwrap_or(21)),
            Self::Hash => hash::measure(prepared, pairs.unwrap_or(11)),
            Self::Gzip => gzip::measure(prepared, pairs.unwrap_or(5)),
            Self::Images => packaging::images(prepared, pairs.unwrap_or(5)),
            Self::Sboms => packaging::sboms(prepared, pairs.unwrap_or(5)),
            Self::Upload => upload::measure(prepared, pairs.unwrap_or(3)),
            Self::Push => push::measure(prepared, pairs.unwrap_or(7)),
            Self::Promote => promote::measure(prepared, pairs.unwrap_or(5)),
            Self::Subscriber => subscriber::measure(prepared, pairs.unwrap_or(3)),
            Self::Cluster => cluster::measure(prepared, pairs.unwrap_or(3)),
        }
    }
}
