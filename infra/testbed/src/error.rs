//! What can be wrong with servers that are to be started.

use std::{io, path::Path};

/// Servers that could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestbedError {
    /// A program that is needed is not installed.
    #[error("`{program}` is not installed\nhelp:  apt-get install {package}")]
    Missing {
        /// The program.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// A file or folder could not be had.
    #[error("cannot {action} {path}")]
    Io {
        /// `read`, `write` and the like.
        action: &'static str,
        /// The file, folder or program.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program that prepares something failed.
    #[error("cannot {action}; `{program}` said:\n{said}")]
    Preparation {
        /// What it prepares.
        action: String,
        /// The program.
        program: String,
        /// What it said.
        said: String,
    },
    /// A server ended at once.
    #[error("the server `{server}` ended ({how}); its log:\n{log}")]
    Ended {
        /// The server.
        server: &'static str,
        /// Its exit code or the signal that ended it.
        how: String,
        /// The end of its log.
        log: String,
    },
    /// A server does not answer.
    #[error("the server `{server}` does not answer after {seconds} seconds; its log:\n{log}")]
    Silent {
        /// The server.
        server: &'static str,
        /// How long it was waited for.
        seconds: u64,
        /// The end of its log.
        log: String,
    },
    /// The process that keeps the servers ended.
    #[error("the keeper of the servers ended; it said:\n{said}")]
    Keeper {
        /// What it said.
        said: String,
    },
}

impl TestbedError {
    /// Tells what could not be done with a file, folder or program.
    pub(crate) fn io(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().display().to_string();
        move |source| Self::Io { action, path, source }
    }
}
