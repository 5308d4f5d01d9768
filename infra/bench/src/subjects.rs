//! The subjects, a file each.

mod build;
mod empty_step;
mod gzip;
mod hash;
mod nothing_changed;
mod packaging;

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
        }
    }
}
