//! Why an image cannot be read or used.

use std::{io, path::PathBuf};

use kdistro_assemble::image::ImageError as AssembleError;
use kdistro_container::StepError;
use kdistro_formats::{Digest, layout::image_blob, oci::OciError};

use crate::{build::trees::TreeError, home::HomeError};

/// An image that cannot be read or used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The release has no such image, or several.
    #[error("the release has {found} called `{name}`; it has {}", names.join(", "))]
    Name {
        /// What was asked for.
        name: String,
        /// `no image` or `several images`.
        found: &'static str,
        /// The names of its images.
        names: Vec<String>,
    },
    /// The manifest gives no digest, so nothing can be checked.
    #[error("the manifest gives no digest of `{0}`")]
    NoDigest(String),
    /// The image has nothing for this platform.
    #[error("the image has nothing for {wanted}; it has {}", has.join(", "))]
    Platform {
        /// What was asked for.
        wanted: String,
        /// What it has.
        has: Vec<String>,
    },
    /// One platform must be chosen.
    #[error("the image has several platforms: {}\nhelp:  choose one with --platform", .0.join(", "))]
    ManyPlatforms(Vec<String>),
    /// The store has no such blob.
    #[error("{place} has no {}", image_blob(digest))]
    Missing {
        /// The blob.
        digest: Digest,
        /// The store.
        place: String,
    },
    /// The store does not give a blob.
    #[error("cannot read {}", image_blob(digest))]
    Read {
        /// The blob.
        digest: Digest,
        /// What the store said.
        source: io::Error,
    },
    /// A blob is not what its name says.
    #[error("{} is {found} ({found_size} bytes), expected {size} bytes", image_blob(digest))]
    Content {
        /// The blob.
        digest: Digest,
        /// Its length as the manifest has it.
        size: u64,
        /// The digest of what was read.
        found: Digest,
        /// How much was read at most.
        found_size: u64,
    },
    /// An index, manifest or configuration is not one.
    #[error("{}", image_blob(digest))]
    Document {
        /// The blob.
        digest: Digest,
        /// What is wrong.
        source: OciError,
    },
    /// The parts of an image do not fit together.
    #[error("{}: {what}", image_blob(digest))]
    Unfit {
        /// The blob.
        digest: Digest,
        /// What is wrong.
        what: String,
    },
    /// A layer cannot be unpacked.
    #[error("cannot unpack layer {digest}")]
    Layer {
        /// The layer.
        digest: Digest,
        /// Why.
        source: TreeError,
    },
    /// A layer's content is not that of the configuration.
    #[error("layer {digest} holds a tar with the digest {found}, expected {expected}")]
    DiffId {
        /// The layer.
        digest: Digest,
        /// The digest of its plain tar.
        found: Digest,
        /// What the configuration says.
        expected: Digest,
    },
    /// The file system refused.
    #[error("cannot write {}", path.display())]
    Io {
        /// Which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is to be written exists.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// Nothing says what to start.
    #[error("the image has no entry point\nhelp:  name a program with --entrypoint")]
    NoEntryPoint,
    /// The program is for another architecture, and there is no emulator.
    #[error(
        "this machine cannot run programs for {arch}, and `{emulator}` is not on PATH\nhelp:  install qemu-user-static"
    )]
    NoEmulator {
        /// The architecture.
        arch: String,
        /// The emulator's name.
        emulator: String,
    },
    /// The container did not run the program to its end.
    #[error("cannot run the image")]
    Step(#[source] StepError),
    /// The program did not end by itself.
    #[error(
        "the image was still at work after {0} s, and was ended\nhelp:  give it longer with --seconds"
    )]
    AtWork(u64),
    /// The image cannot be written in another form.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// The home folder cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
}
