//! Images into the registry: by digest first, then what refers to them, tags last.

use std::collections::BTreeMap;

use kdistro_assemble::image::{self, Blob};
use kdistro_border::Content;
use kdistro_formats::{
    Digest, ReleaseName, layout,
    oci::{self, Descriptor},
    plan::{Component, Content as Planned, PlannedAsset},
};

use super::{PublishError, Publisher, Ready};
use crate::{
    journal::{Entry, Journal},
    package::PackagedImage,
    release::kubeadm,
};

/// The artifact type of an SBOM.
const SPDX: &str = "application/spdx+json";

/// The artifact type of a Sigstore bundle.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// One image on its way.
struct Pushed<'a> {
    packaged: &'a PackagedImage,
    index: Digest,
    sbom: Option<Digest>,
    provenance: &'a [u8],
}

impl Publisher<'_> {
    /// Pushes every image under its own name, and under the one that kubeadm asks for.
    pub(super) fn push_images(
        &self,
        ready: &Ready<'_>,
        name: &ReleaseName,
        (provenances, journal): (&BTreeMap<String, Vec<u8>>, &mut Journal),
    ) -> Result<(), PublishError> {
        for component in &ready.plan.components {
            for asset in &component.assets {
                let Planned::Image(image) = &asset.content else { continue };
                let Some(pushed) = pushed(ready, (component, asset), provenances) else {
                    continue;
                };
                let tag = layout::image_tag(component.tag.as_str(), name);
                self.push_once(&pushed, &image.repository, &tag, journal)?;
                if let Some(flat) = &image.flat {
                    let repository = format!("{}/{}", kubeadm::repository(name), flat.name);
                    self.push_once(&pushed, &repository, &flat.tag, journal)?;
                }
            }
        }
        Ok(())
    }

    fn push_once(
        &self,
        pushed: &Pushed<'_>,
        repository: &str,
        tag: &str,
        journal: &mut Journal,
    ) -> Result<(), PublishError> {
        let name = format!("registry/{repository}:{tag}");
        if journal.has_published(&name, &pushed.index) {
            return Ok(());
        }
        self.reporter.progress(format!("pushing {repository}:{tag}"));
        self.push(pushed, repository)?;
        self.registry.tag(repository, tag, &pushed.index)?;
        Ok(journal.write(&Entry::Published { name, digest: pushed.index })?)
    }

    fn push(&self, pushed: &Pushed<'_>, repository: &str) -> Result<(), PublishError> {
        let blobs = &pushed.packaged.blobs;
        for platform in pushed.packaged.platforms.values() {
            let layers = platform.layers.iter().map(|layer| layer.digest);
            for digest in layers.chain([platform.config]) {
                let size = blobs.get(&digest).copied().unwrap_or_default();
                self.push_blob(repository, digest, size)?;
            }
            let manifest = self.content.read(&platform.manifest)?;
            self.registry.push_manifest(repository, &manifest)?;
        }
        let index = self.content.read(&pushed.index)?;
        self.registry.push_manifest(repository, &index)?;
        let subject = Descriptor::new(oci::INDEX, pushed.index, index.len() as u64);
        if let Some(sbom) = pushed.sbom {
            let bytes = self.content.read(&sbom)?;
            self.refer(repository, &subject, (SPDX, &bytes))?;
        }
        self.refer(repository, &subject, (BUNDLE, pushed.provenance))
    }

    fn push_blob(&self, repository: &str, digest: Digest, size: u64) -> Result<(), PublishError> {
        if !self.registry.has_blob(repository, &digest)? {
            let path = self.content.path(&digest);
            self.registry.push_blob(repository, Content::File { path: &path, digest, size })?;
        }
        Ok(())
    }

    /// Puts a document beside an image, found by the image's digest.
    fn refer(
        &self,
        repository: &str,
        subject: &Descriptor,
        (kind, bytes): (&str, &[u8]),
    ) -> Result<(), PublishError> {
        let blob = Blob::of(kind, bytes.to_vec());
        self.registry.push_blob(repository, Content::Bytes(bytes))?;
        self.registry.push_blob(repository, Content::Bytes(oci::EMPTY_CONTENT))?;
        let referrer = image::referrer(subject, kind, &blob.descriptor, &BTreeMap::new());
        let referrer = referrer
            .map_err(|source| PublishError::Image { repository: repository.to_owned(), source })?;
        self.registry.push_manifest(repository, &referrer.bytes)?;
        Ok(())
    }
}

/// Collects what is pushed for one image.
fn pushed<'a>(
    ready: &Ready<'a>,
    (component, asset): (&Component, &PlannedAsset),
    provenances: &'a BTreeMap<String, Vec<u8>>,
) -> Option<Pushed<'a>> {
    let sbom = component
        .assets
        .iter()
        .find(|other| matches!(&other.content, Planned::Sbom { asset: of } if *of == asset.name));
    let sbom = sbom.and_then(|sbom| ready.packaged.assets.get(&sbom.path));
    Some(Pushed {
        packaged: ready.packaged.images.get(&asset.path)?,
        index: ready.packaged.assets.get(&asset.path)?.sha256,
        sbom: sbom.map(|hashes| hashes.sha256),
        provenance: provenances.get(&component.name)?,
    })
}
