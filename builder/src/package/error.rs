//! Why an asset cannot be made.

use std::{io, path::PathBuf};

use kdistro_assemble::{
    deb::DebError,
    entry::EntryPathError,
    go_build_info::BuildInfoError,
    image::ImageError,
    licenses::{LibraryError, LicenseError, SourceError},
    root::RootError,
    spdx::SpdxError,
    tar::TarError,
};
use kdistro_formats::{Digest, canonical::CanonicalError};

use crate::{build::trees::TreeError, content::ContentError};

/// Why an asset cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// No step gave what the asset holds.
    #[error("asset `{asset}` wants `{output}`, which no step gave")]
    Output {
        /// The asset.
        asset: String,
        /// The output.
        output: String,
    },
    /// The source has no such file.
    #[error(
        "asset `{asset}` wants `{path}` of the source, which has no such file\nhelp:  `licenses` of the recipe must name files of the source"
    )]
    Source {
        /// The asset.
        asset: String,
        /// The path in the source.
        path: String,
    },
    /// The plan speaks of something that it does not have.
    #[error("asset `{asset}` wants {what}, which the plan does not have")]
    Plan {
        /// The asset.
        asset: String,
        /// What is missing.
        what: String,
    },
    /// Content is missing or damaged.
    #[error("cannot make asset `{asset}`")]
    Content {
        /// The asset.
        asset: String,
        /// Why.
        source: ContentError,
    },
    /// The archive cannot be written.
    #[error("cannot make asset `{asset}`")]
    Tar {
        /// The asset.
        asset: String,
        /// Why.
        source: TarError,
    },
    /// The image cannot be written.
    #[error("cannot make asset `{asset}`")]
    Image {
        /// The asset.
        asset: String,
        /// Why.
        source: ImageError,
    },
    /// The base of an image cannot be made of its packages.
    #[error("cannot make the base of {images}{}", advice(source))]
    Base {
        /// The images that want it, with their platforms.
        images: String,
        /// Why.
        source: TreeError,
    },
    /// The file system refused.
    #[error("cannot make asset `{asset}`: {}", path.display())]
    Io {
        /// The asset.
        asset: String,
        /// Which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An entry's path is not safe.
    #[error("asset `{asset}`")]
    Path {
        /// The asset.
        asset: String,
        /// Why.
        source: EntryPathError,
    },
    /// A key cannot be written.
    #[error("cannot name asset `{asset}`")]
    Key {
        /// The asset.
        asset: String,
        /// Why.
        source: CanonicalError,
    },
    /// A program does not say what it was built of.
    #[error("cannot read which modules are linked into `{program}`")]
    BuildInfo {
        /// The program.
        program: String,
        /// What is wrong.
        source: BuildInfoError,
    },
    /// Something is linked whose licence is not known.
    #[error(
        "component `{component}` links something without a licence\nhelp:  read its source, then name it under `unlicensed` of the recipe with licence and reason"
    )]
    License {
        /// The component.
        component: String,
        /// What.
        source: LicenseError,
    },
    /// A program of Go that names no module, and holds nothing of those below `vendor`.
    #[error(
        "`{program}` does not say which modules are linked into it, and holds none of those in `vendor/modules.txt` of its source\nhelp:  build it with Go 1.18 or newer, or from a source with a `vendor` folder"
    )]
    Silent {
        /// The program.
        program: String,
    },
    /// A program that Go did not build, and nobody said what it links.
    #[error(
        "nothing says what is linked into `{program}`\nhelp:  name the packages of the build root under `links` of its command"
    )]
    Unknown {
        /// The program.
        program: String,
    },
    /// A Debian package cannot be read.
    #[error("cannot read the licence of the Debian package {package}")]
    Package {
        /// The `.deb`.
        package: Digest,
        /// What is wrong.
        source: DebError,
    },
    /// A Debian package without a copyright file.
    #[error(
        "the Debian package `{package}` has no copyright file{}\nhelp:  list the package that has it beside it in `projects/inputs.yaml`, then lock again",
        other.as_ref().map(|other| format!(": it is in `{other}`, which is not in the same root")).unwrap_or_default()
    )]
    Copyright {
        /// Its name.
        package: String,
        /// In which package its copyright file is.
        other: Option<String>,
    },
    /// Licence files cannot be read.
    #[error("cannot collect the licences of `{component}`")]
    Licenses {
        /// The component.
        component: String,
        /// Why.
        source: SourceError,
    },
    /// The licence list cannot be loaded.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// An SBOM cannot be written.
    #[error("cannot write the SBOM of `{asset}`")]
    Sbom {
        /// The asset.
        asset: String,
        /// Why.
        source: SpdxError,
    },
}

/// What to do about a base that cannot be made.
fn advice(source: &TreeError) -> &'static str {
    match source {
        TreeError::Root(RootError::Conflict { .. } | RootError::Below { .. }) => {
            "\nhelp:  a base in projects/inputs.yaml can hold only one of the two: leave the other out of its `packages`"
        }
        _ => "",
    }
}

/// Names the asset of a failure.
pub(super) struct Failed<'a>(pub(super) &'a str);

impl Failed<'_> {
    pub(super) fn content(&self, source: ContentError) -> PackageError {
        PackageError::Content { asset: self.0.to_owned(), source }
    }

    pub(super) fn tar(&self, source: TarError) -> PackageError {
        PackageError::Tar { asset: self.0.to_owned(), source }
    }

    pub(super) fn image(&self, source: ImageError) -> PackageError {
        PackageError::Image { asset: self.0.to_owned(), source }
    }

    pub(super) fn path(&self, source: EntryPathError) -> PackageError {
        PackageError::Path { asset: self.0.to_owned(), source }
    }

    pub(super) fn key(&self, source: CanonicalError) -> PackageError {
        PackageError::Key { asset: self.0.to_owned(), source }
    }

    pub(super) fn io(&self, path: PathBuf) -> impl Fn(io::Error) -> PackageError {
        let asset = self.0.to_owned();
        move |source| PackageError::Io { asset: asset.clone(), path: path.clone(), source }
    }

    pub(super) fn plan(&self, what: impl Into<String>) -> PackageError {
        PackageError::Plan { asset: self.0.to_owned(), what: what.into() }
    }
}
