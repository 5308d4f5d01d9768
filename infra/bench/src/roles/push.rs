//! Pushes an image to a registry, as publishing does: blobs, manifest, tag.

use std::{error::Error, fs, path::PathBuf, sync::Arc};

use kdistro_border::{
    Address, Content, DockerConfig, HttpRegistry, OciLayouts, Registry, RegistryError,
};
use kdistro_formats::oci::{Manifest, layout};
use serde::{Deserialize, Serialize};

/// The image among the layouts, and its tag there and in the registry.
pub(crate) const REPOSITORY: &str = "image";
pub(crate) const TAG: &str = "v1";

/// What is to be pushed, and where.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Push {
    /// The folder of image layouts that has [`REPOSITORY`].
    pub(crate) layouts: PathBuf,
    /// Such as `https://localhost:5000`.
    pub(crate) registry: String,
    /// The PEM file of the authority that signed its certificate.
    pub(crate) authority: Option<PathBuf>,
    /// The `config.json` that has the password.
    pub(crate) credentials: PathBuf,
    /// The repository in the registry.
    pub(crate) repository: String,
}

pub(super) fn push(order: &Push) -> Result<(), Box<dyn Error>> {
    let Push { registry, repository, .. } = order;
    let ca = order.authority.as_ref().map(fs::read).transpose()?;
    let address = Address { url: registry, prefix: "", ca: ca.as_deref() };
    // The file names no helpers.
    let credentials = DockerConfig::new(&order.credentials, Arc::new(|_, _| Ok(None)));
    push_to(order, &HttpRegistry::open(address, Arc::new(credentials))?, repository)
}

fn push_to(order: &Push, registry: &dyn Registry, repository: &str) -> Result<(), Box<dyn Error>> {
    let image = OciLayouts::new(&order.layouts);
    let folder = image.layout(REPOSITORY)?;
    let digest = image.resolve(REPOSITORY, TAG)?.ok_or("there is no image")?;
    let manifest = image.read_manifest(REPOSITORY, &digest)?.ok_or("there is no manifest")?;
    let Manifest { config, layers, .. } = Manifest::from_slice(&manifest)?;
    for blob in layers.iter().chain([&config]) {
        let path = folder.join(layout::blob(&blob.digest));
        let content = Content::File { path: &path, digest: blob.digest, size: blob.size };
        registry.push_blob(repository, content)?;
    }
    registry.push_manifest(repository, &manifest)?;
    registry.tag(repository, TAG, &digest).map(drop).map_err(RegistryError::into)
}
