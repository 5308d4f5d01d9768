//! Why a figure could not be measured.

use std::{
    error::Error,
    io,
    path::{Path, PathBuf},
};

/// Why a figure could not be measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// The file system refused.
    #[error("cannot use {}", path.display())]
    Io {
        /// Which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A peer is not installed, or could not be started.
    #[error(
        "cannot start `{program}`\nhelp:  the peers are openssl, pigz, cp and sync, and go builds crane"
    )]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program that is measured did not end well.
    #[error("`{program}` ended with {status}: {said}")]
    Failed {
        /// The program and its first arguments.
        program: String,
        /// Its exit status.
        status: String,
        /// The end of what it said.
        said: String,
    },
    /// A part of kdistro refused.
    #[error("cannot {what}")]
    Kdistro {
        /// What was being done.
        what: &'static str,
        /// Why.
        source: Box<dyn Error>,
    },
    /// Two that should do the same do not, so that comparing their cost would mean nothing.
    #[error("{what}: {ours} here, {peer} from the peer")]
    Different {
        /// What differs.
        what: String,
        /// Ours.
        ours: String,
        /// The peer's.
        peer: String,
    },
    /// Something else is not as it should be.
    #[error("{0}")]
    Unexpected(String),
}

/// Says which path an error is about.
pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> BenchError {
    let path = path.to_owned();
    move |source| BenchError::Io { path: path.clone(), source }
}

/// Says what kdistro was doing.
pub(crate) fn doing<E: Error + 'static>(what: &'static str) -> impl Fn(E) -> BenchError {
    move |source| BenchError::Kdistro { what, source: Box::new(source) }
}
