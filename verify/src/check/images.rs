//! The images: index, manifests, configurations and layers of each, as the store holds them for registries.

mod layers;
mod planned;

use std::collections::{BTreeMap, BTreeSet};

use kdistro_formats::{
    Digest, Platform, layout,
    oci::{self, Config, Descriptor, Index, LARGEST_DOCUMENT, Manifest, OciError},
    plan::{self, Content, Plan},
    release::{Asset, AssetKind, Component},
};

use super::{
    Scope,
    manifest::SignedManifest,
    reading::{Checker, DOCUMENT},
    report::chain,
};
use crate::hash;
use layers::Layer;

/// What the blobs of one image, and the layers of all images, are said to be.
#[derive(Default)]
struct Images<'a> {
    /// What names a layer and what it says of it.
    layers: Vec<Layer>,
    /// The length of every blob of the image at hand.
    sizes: BTreeMap<Digest, u64>,
    /// What the plan says of the image at hand; none where there is no such plan, which was said.
    planned: Option<&'a plan::Image>,
}

/// Finds an image in a plan.
fn planned<'a>(plan: &'a Plan, component: &str, name: &str) -> Option<&'a plan::Image> {
    let component = plan.components.iter().find(|planned| planned.name == component)?;
    let asset = component.assets.iter().find(|asset| asset.name == name)?;
    if let Content::Image(image) = &asset.content { Some(image) } else { None }
}

impl Checker<'_> {
    /// Checks every blob of every image, that each image is for the platforms that its asset lists, and that its
    /// documents say what the plan does.
    pub(super) fn check_images(&mut self, signed: &SignedManifest, plan: Option<&Plan>) {
        let mut images = Images::default();
        for component in &signed.release.status.components {
            self.check_sboms(component, plan);
            for asset in component.assets.iter().filter(|asset| asset.kind == AssetKind::Image) {
                let path = format!("{}/{}", component.name, asset.name);
                images.sizes.clear();
                images.planned = plan.and_then(|plan| planned(plan, &component.name, &asset.name));
                self.check_image(&path, asset, &mut images);
            }
        }
        self.check_layers(&images.layers);
    }

    /// Checks the SBOMs of a component's images among the blobs.
    fn check_sboms(&mut self, component: &Component, plan: Option<&Plan>) {
        let planned = plan.into_iter().flat_map(|plan| &plan.components);
        let planned = planned.filter(|planned| planned.name == component.name);
        for sbom in planned.flat_map(|planned| &planned.assets) {
            let Content::Sbom { asset: of } = &sbom.content else { continue };
            let find = |name: &str| component.assets.iter().find(|asset| asset.name == name);
            if find(of).is_some_and(|of| of.kind == AssetKind::Image)
                && let Some(digest) = find(&sbom.name).and_then(Asset::digest)
            {
                self.check_referrer(&digest);
            }
        }
    }

    /// Checks content of something that refers to an image: it lies among the blobs, where registries send their
    /// clients.
    pub(super) fn check_referrer(&mut self, digest: &Digest) {
        let file = layout::image_blob(digest);
        if self.known.contains(&file) || self.scope < Scope::Release {
            return;
        }
        let Some(bytes) = self.document(&file, DOCUMENT) else { return };
        let found = hash::sha256(&bytes);
        if found != *digest {
            self.differs(&file, format!("is {found}, which is not its name"));
        }
    }

    /// Checks an image but for what its layers hold; none where its index says nothing.
    fn check_image(&mut self, path: &str, asset: &Asset, images: &mut Images<'_>) -> Option<()> {
        let digest = asset.digest()?;
        let file = layout::image_blob(&digest);
        let bytes = self.document(&file, LARGEST_DOCUMENT)?;
        let found = hash::sha256(&bytes);
        if found != digest {
            self.differs(&file, format!("is {found}, but image `{path}` {digest}"));
            return None;
        }
        images.sizes.insert(digest, bytes.len() as u64);
        let index = self.understood(&file, Index::from_canonical(&bytes))?;
        if index.artifact_type.is_some() || index.subject.is_some() {
            self.differs(&file, "is about something else: no index of an image");
        }
        self.check_platforms(&file, path, asset, &index);
        if let Some(planned) = images.planned {
            self.compare_index((&file, &bytes), &index, planned);
        }
        let mut is_complete = true;
        for descriptor in &index.manifests {
            is_complete &= self.check_manifest_blob(&file, descriptor, images).is_some();
        }
        let size = images.sizes.values().try_fold(0_u64, |sum, size| sum.checked_add(*size));
        if let Some(said) = asset.size.filter(|said| is_complete && Some(*said) != size) {
            let found = size.map_or_else(|| "too many".to_owned(), |size| size.to_string());
            let what = "with everything it names";
            self.differs(&file, format!("has {found} bytes {what}, signed were {said}"));
        }
        Some(())
    }

    /// An index must list exactly the platforms that the asset does, each once.
    fn check_platforms(&mut self, file: &str, path: &str, asset: &Asset, index: &Index) {
        let mut expected = BTreeSet::new();
        for arch in &asset.arch {
            let platform = format!("{}/{arch}", asset.os);
            // What has no name of ours has no variant either.
            expected.insert(platform.parse::<Platform>().map_or_else(
                |_| oci::Platform {
                    architecture: arch.clone(),
                    os: asset.os.clone(),
                    variant: None,
                },
                |platform| oci::Platform::from(&platform),
            ));
        }
        for descriptor in &index.manifests {
            let Some(platform) = &descriptor.platform else {
                self.differs(file, format!("says not what {} runs on", descriptor.digest));
                continue;
            };
            if !expected.remove(platform) {
                self.differs(
                    file,
                    format!("is for {platform}, which `{path}` does not list, or lists it twice"),
                );
            }
        }
        for platform in &expected {
            self.differs(file, format!("is not for {platform}, which `{path}` lists"));
        }
    }

    fn check_manifest_blob(
        &mut self,
        named_by: &str,
        descriptor: &Descriptor,
        images: &mut Images<'_>,
    ) -> Option<()> {
        let (file, bytes) = self.blob(named_by, descriptor, images)?;
        let manifest = self.understood(&file, Manifest::from_canonical(&bytes))?;
        if !manifest.is_image() || manifest.artifact_type.is_some() || manifest.subject.is_some() {
            self.differs(&file, "is no manifest of an image");
            return None;
        }
        if let Some(planned) = images.planned {
            self.compare_manifest((&file, &bytes), &manifest, planned);
        }
        let config_file = layout::image_blob(&manifest.config.digest);
        let config = self.check_config(&file, descriptor, &manifest, images);
        let diff_ids = config.as_ref().map_or(&[][..], |config| &config.rootfs.diff_ids);
        for (number, descriptor) in manifest.layers.into_iter().enumerate() {
            images.sizes.insert(descriptor.digest, descriptor.size);
            images.layers.push(Layer {
                named_by: file.clone(),
                descriptor,
                config: config_file.clone(),
                diff_id: diff_ids.get(number).copied(),
            });
        }
        config.map(drop)
    }

    /// Checks that a configuration is for the platform of its manifest, as planned for it, and has as many layers.
    fn check_config(
        &mut self,
        named_by: &str,
        descriptor: &Descriptor,
        manifest: &Manifest,
        images: &mut Images<'_>,
    ) -> Option<Config> {
        let (file, bytes) = self.blob(named_by, &manifest.config, images)?;
        let config = self.understood(&file, Config::from_canonical(&bytes))?;
        let found = config.platform();
        if let Some(expected) = descriptor.platform.as_ref().filter(|&expected| *expected != found)
        {
            self.differs(&file, format!("is for {found}, but the index says {expected}"));
        }
        if let (Some(planned), Some(platform)) = (images.planned, &descriptor.platform) {
            self.compare_config((&file, &bytes), &config.rootfs.diff_ids, (planned, platform));
        }
        let (said, there) = (config.rootfs.diff_ids.len(), manifest.layers.len());
        if said != there {
            self.differs(&file, format!("has {said} layers, but its manifest {there}"));
        }
        Some(config)
    }

    /// Reads a small blob that another one names.
    fn blob(
        &mut self,
        named_by: &str,
        descriptor: &Descriptor,
        images: &mut Images<'_>,
    ) -> Option<(String, Vec<u8>)> {
        let file = layout::image_blob(&descriptor.digest);
        let bytes = self.document(&file, LARGEST_DOCUMENT)?;
        let found = hash::sha256(&bytes);
        if found != descriptor.digest {
            self.differs(&file, format!("is {found}, which is not its name"));
            return None;
        }
        if bytes.len() as u64 != descriptor.size {
            let (has, said) = (bytes.len(), descriptor.size);
            self.differs(named_by, format!("says that {file} has {said} bytes, it has {has}"));
            return None;
        }
        images.sizes.insert(descriptor.digest, descriptor.size);
        Some((file, bytes))
    }

    fn understood<T>(&mut self, file: &str, read: Result<T, OciError>) -> Option<T> {
        read.map_err(|error| self.differs(file, chain(&error))).ok()
    }
}
