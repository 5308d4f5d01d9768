//! Container images, piece by piece: layers, the documents that name them, and the forms they travel in.
//!
//! An image of the distribution has at most two layers, the packages of its base and our files. Everything here is
//! bytes in, bytes out, and the same image gives the same bytes; where they are kept is the caller's.
//!
//! ```
//! # use std::collections::BTreeMap;
//! # use kdistro_assemble::{Entry, EntryPath, image::{self, ImageError, LayerWriter}};
//! # use kdistro_formats::{Platform, plan::ImageConfig};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let platform: Platform = "linux/arm64".parse()?;
//! let mut writer = LayerWriter::new(Vec::new(), 1_610_544_489);
//! writer.append(Entry::file(EntryPath::new("usr/bin/pause")?, true, 5, &mut &b"pause"[..]))?;
//! let (_blob, layer) = writer.finish()?;
//! let made = [(layer.diff_id, "our programs")];
//! let config = image::config(&platform, &ImageConfig::default(), &made, 1_610_544_489)?;
//! let manifest = image::manifest(&config.descriptor, &[layer], &BTreeMap::new())?;
//! let index = image::index(&[(platform, manifest.descriptor)], &BTreeMap::new())?;
//! # assert_eq!(index.descriptor.size, index.bytes.len() as u64);
//! # Ok(())
//! # }
//! ```

mod capability;
mod docker;
mod document;
mod layer;
#[cfg(test)]
mod tests;

pub use capability::{CAPABILITY, capability};
pub use docker::{DockerLayer, docker_archive};
pub use document::{Blob, config, index, manifest, referrer};
pub use layer::{Layer, LayerWriter};

use std::io;

use kdistro_formats::{Digest, Platform, canonical::CanonicalError, oci::OciError};

use crate::{EntryPath, entry::EntryPathError, tar::TarError};

/// An image that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The tar of a layer or archive cannot be written.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// A path that could lead outside.
    #[error(transparent)]
    Path(#[from] EntryPathError),
    /// A document that breaks a rule of its format.
    #[error(transparent)]
    Oci(#[from] OciError),
    /// The end of a layer cannot be written.
    #[error("cannot write the end of the layer")]
    Write(#[source] io::Error),
    /// An entry below what is no directory.
    #[error("`{path}` of the layer lies below `{above}`, which is no directory there")]
    Below {
        /// The entry.
        path: EntryPath,
        /// What it lies below.
        above: EntryPath,
    },
    /// A word that names no capability.
    #[error("`{0}` is not a capability; expected one of Linux, such as `cap_net_bind_service`")]
    Capability(String),
    /// A program that is to have capabilities, and none are named.
    #[error("no capability is named; expected at least one")]
    NoCapability,
    /// Two images for one platform.
    #[error("the image has two manifests for {0}")]
    Platform(Platform),
    /// A name that cannot be loaded.
    #[error("`{0}` is not a name of an image; expected `<repository>:<tag>`")]
    Name(String),
    /// Layers that are not those of the configuration.
    #[error("the layers are {found:?}; expected {expected:?}, as the configuration has them")]
    Layers {
        /// The digests of the layers' plain tars.
        found: Vec<Digest>,
        /// Those in the configuration.
        expected: Vec<Digest>,
    },
    /// A layer whose content is not what was said.
    #[error("the plain tar of a layer has the digest {found}; expected {expected}")]
    Content {
        /// The digest of what was read.
        found: Digest,
        /// The digest that was announced.
        expected: Digest,
    },
    /// A document that has no canonical form.
    #[error("cannot write {what}")]
    Canonical {
        /// Such as `manifest.json`.
        what: &'static str,
        /// Why.
        source: CanonicalError,
    },
}
