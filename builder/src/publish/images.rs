//! Images into the registry: by digest first, then what refers to them, tags last.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use kdistro_assemble::image::{self, Blob};
use kdistro_border::Content;
use kdistro_formats::{
    Digest, ReleaseName, layout,
    oci::{self, Descriptor, Index, Manifest, OciError},
    plan::{Component, Content as Planned, Image, PlannedAsset},
};
use kdistro_verify::hash::Hashes;

use super::{PublishError, Publisher, Ready, at_once};
use crate::{
    journal::{Entry, Journal},
    release::kubeadm,
};

/// The artifact type of an SBOM.
const SPDX: &str = "application/spdx+json";

/// The artifact type of a Sigstore bundle.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// What an image consists of, but for its index.
#[derive(Clone, Debug, Default)]
pub struct ImageParts {
    /// Each manifest after the blobs that it names: the order in which a registry takes them.
    pub manifests: Vec<(Descriptor, Vec<Descriptor>)>,
}

impl ImageParts {
    /// Reads the parts out of an index, whose manifests `read` returns.
    pub fn read<E: From<OciError>>(
        index: &[u8],
        read: impl Fn(&Digest) -> Result<Vec<u8>, E>,
    ) -> Result<Self, E> {
        let mut manifests = Vec::new();
        for named in Index::from_slice(index)?.manifests {
            let Manifest { config, mut layers, .. } = Manifest::from_slice(&read(&named.digest)?)?;
            layers.push(config);
            manifests.push((named, layers));
        }
        Ok(Self { manifests })
    }

    /// Every blob and manifest with its size.
    pub fn sizes(&self) -> BTreeMap<Digest, u64> {
        let named = |(manifest, blobs): &(Descriptor, Vec<Descriptor>)| {
            let all = blobs.iter().chain([manifest]);
            all.map(|named| (named.digest, named.size)).collect::<Vec<_>>()
        };
        self.manifests.iter().flat_map(named).collect()
    }
}

/// One image on its way.
struct Pushed<'a> {
    index: Digest,
    parts: &'a ImageParts,
    sbom: Option<Digest>,
    provenance: &'a [u8],
}

/// The images of a plan with the component that each is of.
pub fn planned<'a>(
    ready: &Ready<'a>,
) -> impl Iterator<Item = (&'a Component, &'a PlannedAsset, &'a Image)> + use<'a> {
    let assets = |component: &'a Component| component.assets.iter().map(move |a| (component, a));
    let all = ready.plan.components.iter().flat_map(assets);
    all.filter_map(|(component, asset)| match &asset.content {
        Planned::Image(image) => Some((component, asset, image)),
        _ => None,
    })
}

/// Where an image goes: repositories with a tag each, its own and the one that kubeadm asks for.
pub fn places(image: &Image, component: &Component, name: &ReleaseName) -> Vec<(String, String)> {
    let own = (image.repository.clone(), layout::image_tag(component.tag.as_str(), name));
    let flat = image.flat.as_ref();
    let flat = flat.map(|flat| (kubeadm::flat(name, &flat.name), flat.tag.clone()));
    [Some(own), flat].into_iter().flatten().collect()
}

/// Every repository that an image of the release is pushed to.
pub(super) fn repositories(ready: &Ready<'_>) -> BTreeSet<String> {
    let name = ready.name();
    let all = planned(ready).flat_map(|(component, _, image)| places(image, component, &name));
    all.map(|(repository, _)| repository).collect()
}

impl Publisher<'_> {
    /// Pushes every image to all of its places, several images at once.
    pub(super) fn push_images(
        &self,
        ready: &Ready<'_>,
        (provenances, journal): (&BTreeMap<String, Vec<u8>>, &mut Journal),
    ) -> Result<(), PublishError> {
        let name = ready.name();
        let all = planned(ready).filter_map(|(component, asset, image)| {
            let pushed = pushed(ready, (component, asset), provenances)?;
            Some((pushed, places(image, component, &name)))
        });
        let journal = Mutex::new(journal);
        at_once::each(&all.collect::<Vec<_>>(), self.at_once, |(pushed, places)| {
            let mut places = places.iter();
            places
                .try_for_each(|(repository, tag)| self.push_once(pushed, repository, tag, &journal))
        })
    }

    fn push_once(
        &self,
        pushed: &Pushed<'_>,
        repository: &str,
        tag: &str,
        journal: &Mutex<&mut Journal>,
    ) -> Result<(), PublishError> {
        let name = format!("registry/{repository}:{tag}");
        // Tags come last: with it everything is there, whatever the journal says.
        if self.registry.resolve(repository, tag)? == Some(pushed.index) {
            return Ok(());
        }
        self.reporter.progress(format!("pushing {repository}:{tag}"));
        self.push(pushed, repository)?;
        self.registry.tag(repository, tag, &pushed.index)?;
        let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(journal.write(&Entry::Published { name, digest: pushed.index })?)
    }

    fn push(&self, pushed: &Pushed<'_>, repository: &str) -> Result<(), PublishError> {
        for (manifest, blobs) in &pushed.parts.manifests {
            for blob in blobs {
                self.push_blob(repository, blob)?;
            }
            self.registry.push_manifest(repository, &self.read(&manifest.digest)?)?;
        }
        let index = self.read(&pushed.index)?;
        self.registry.push_manifest(repository, &index)?;
        let subject = Descriptor::new(oci::INDEX, pushed.index, index.len() as u64);
        if let Some(sbom) = pushed.sbom {
            let bytes = self.read(&sbom)?;
            self.refer(repository, &subject, (SPDX, &bytes))?;
        }
        self.refer(repository, &subject, (BUNDLE, pushed.provenance))
    }

    fn push_blob(&self, repository: &str, blob: &Descriptor) -> Result<(), PublishError> {
        let Descriptor { digest, size, .. } = blob;
        if !self.registry.has_blob(repository, digest)? {
            // The store has it by now. In a folder it is the environment's own file, which a registry in a folder links.
            let stored = self.store.folder().map(|folder| folder.join(layout::image_blob(digest)));
            let stored = stored.filter(|path| path.is_file());
            let path = stored.unwrap_or_else(|| self.path(digest));
            let content = Content::File { path: &path, digest: *digest, size: *size };
            self.registry.push_blob(repository, content)?;
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

/// Finds the SBOM of an image.
pub(super) fn sbom<'a>(
    ready: &Ready<'a>,
    component: &Component,
    image: &PlannedAsset,
) -> Option<&'a Hashes> {
    let is_it = |other: &&PlannedAsset| matches!(&other.content, Planned::Sbom { asset } if *asset == image.name);
    component.assets.iter().find(is_it).and_then(|sbom| ready.assets.get(&sbom.path))
}

/// Collects what is pushed for one image.
fn pushed<'a>(
    ready: &Ready<'a>,
    (component, asset): (&Component, &PlannedAsset),
    provenances: &'a BTreeMap<String, Vec<u8>>,
) -> Option<Pushed<'a>> {
    Some(Pushed {
        index: ready.assets.get(&asset.path)?.sha256,
        parts: ready.images.get(&asset.path)?,
        sbom: sbom(ready, component, asset).map(|hashes| hashes.sha256),
        provenance: provenances.get(&component.name)?,
    })
}
