//! Images: layers once each, the documents that name them, and one platform of them as a file.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
};

use kdistro_assemble::{
    entry::{Entry, EntryPath},
    gzip,
    image::{self, Blob, CAPABILITY, DockerLayer, ImageError, Layer, LayerWriter},
};
use kdistro_formats::{
    Digest, Platform, canonical, oci,
    plan::{AssemblyRules, Content, DockerArchive, Image, ImageEntry, PlatformImage},
};
use kdistro_verify::hash;
use serde::{Deserialize, Serialize};

use super::{Making, PackageError, Packaged, Packager, error::Failed, read_kept, write_kept};
use crate::build::trees::{TreeError, Trees};

/// The time of everything in the base of an image, seconds since 1970: the first second of 1980, so that images of
/// different components share the layer, and so that no tool takes it for a mistake.
const BASE_TIME: u64 = 315_532_800;

/// What an image consists of.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PackagedImage {
    /// Everything that is to be published, with its size: index, manifests, configurations, layers.
    pub blobs: BTreeMap<Digest, u64>,
    /// One image a platform.
    pub platforms: BTreeMap<Platform, PackagedPlatform>,
}

/// An image for one platform.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PackagedPlatform {
    /// Its manifest.
    pub manifest: Digest,
    /// Its configuration.
    pub config: Digest,
    /// Its layers, the lowest first.
    pub layers: Vec<KeptLayer>,
}

/// A layer as it is kept.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptLayer {
    /// The digest of the plain tar.
    pub diff_id: Digest,
    /// The length of the plain tar in bytes.
    pub uncompressed_size: u64,
    /// The digest of the gzipped tar.
    pub digest: Digest,
    /// The length of the gzipped tar in bytes.
    pub size: u64,
}

/// What a layer is made of, in full: the key under which it is kept.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LayerRecipe<'a> {
    rules: &'a AssemblyRules,
    mtime: u64,
    base: Option<&'a Digest>,
    entries: &'a [ImageEntry],
    content: Vec<Digest>,
}

impl Packager<'_> {
    /// Makes the layers of all bases that these assets need, each once.
    pub(super) fn bases(&self, all: &[Making<'_>]) -> Result<(), PackageError> {
        let mut bases = BTreeSet::new();
        for making in all {
            if let Content::Image(image) = &making.asset.content {
                bases.extend(image.platforms.iter().filter_map(|platform| platform.base));
            }
        }
        let bases: Vec<_> = bases.into_iter().collect();
        self.side_by_side(bases, |base| self.base_layer(&base).map(drop))?;
        Ok(())
    }

    /// Makes an image; returns the digest of its index, and what it consists of.
    pub(super) fn image(
        &self,
        making: &Making<'_>,
        planned: &Image,
    ) -> Result<(Digest, PackagedImage), PackageError> {
        let failed = Failed(&making.asset.name);
        let mut made = PackagedImage::default();
        let mut manifests = Vec::new();
        for platform in &planned.platforms {
            let mut layers = Vec::new();
            if let Some(base) = &platform.base {
                layers.push((self.base_layer(base)?, oci::BASE_LAYER));
            }
            layers.push((self.own_layer(making, planned, platform)?, oci::OWN_LAYER));
            let diff_ids: Vec<_> = layers.iter().map(|(layer, by)| (layer.diff_id, *by)).collect();
            let config =
                image::config(&platform.platform, &platform.config, &diff_ids, planned.created);
            let config = config.map_err(|error| failed.image(error))?;
            let layers: Vec<Layer> = layers.into_iter().map(|(layer, _)| layer).collect();
            let manifest = image::manifest(&config.descriptor, &layers, &planned.annotations);
            let manifest = manifest.map_err(|error| failed.image(error))?;
            let packaged = PackagedPlatform {
                manifest: self.keep(&failed, &manifest, &mut made)?,
                config: self.keep(&failed, &config, &mut made)?,
                layers: layers.iter().map(KeptLayer::from).collect(),
            };
            made.blobs.extend(layers.iter().map(|layer| (layer.digest, layer.size)));
            made.platforms.insert(platform.platform.clone(), packaged);
            manifests.push((platform.platform.clone(), manifest.descriptor));
        }
        let index = image::index(&manifests, &planned.annotations);
        let index = index.map_err(|error| failed.image(error))?;
        Ok((self.keep(&failed, &index, &mut made)?, made))
    }

    fn keep(
        &self,
        failed: &Failed<'_>,
        blob: &Blob,
        made: &mut PackagedImage,
    ) -> Result<Digest, PackageError> {
        let digest =
            self.content.insert_bytes(&blob.bytes).map_err(|error| failed.content(error))?;
        made.blobs.insert(digest, blob.bytes.len() as u64);
        Ok(digest)
    }

    /// The layer of a base: everything in its packages, and what the recipe adds.
    fn base_layer(&self, base: &Digest) -> Result<Layer, PackageError> {
        let name = format!("base {base}");
        let failed = |source| PackageError::Base { images: self.images_on(base), source };
        let tree = self.plan.trees.get(base).ok_or_else(|| failed(TreeError::Undefined(*base)))?;
        let recipe = LayerRecipe {
            rules: &self.plan.assembly,
            mtime: BASE_TIME,
            base: Some(base),
            entries: &[],
            content: Vec::new(),
        };
        self.layer(&Failed(&name), &recipe, |writer| {
            self.reporter.progress(format!("packing the base {} of images", base.hex()));
            let records = self.records;
            let trees = Trees { plan: self.plan, home: self.home, content: self.content, records };
            let mut root = trees.read_root(tree).map_err(failed)?;
            root.visit(&mut |entry| writer.append(entry).map_err(BaseError::Image)).map_err(
                |error| match error {
                    BaseError::Root(source) => failed(TreeError::Root(source)),
                    BaseError::Image(source) => Failed(&name).image(source),
                },
            )
        })
    }

    /// Names the images that stand on a base.
    fn images_on(&self, base: &Digest) -> String {
        let mut names = Vec::new();
        for asset in self.plan.components.iter().flat_map(|component| &component.assets) {
            let Content::Image(image) = &asset.content else { continue };
            let on = image.platforms.iter().filter(|image| image.base.as_ref() == Some(base));
            names.extend(on.map(|image| format!("`{}` for {}", asset.name, image.platform)));
        }
        names.join(", ")
    }

    /// The layer of what we add to a base.
    fn own_layer(
        &self,
        making: &Making<'_>,
        planned: &Image,
        platform: &PlatformImage,
    ) -> Result<Layer, PackageError> {
        let failed = Failed(&making.asset.name);
        let mut content = Vec::new();
        for entry in &platform.entries {
            content.extend(self.digest_of(making, &entry.from)?);
        }
        let recipe = LayerRecipe {
            rules: &self.plan.assembly,
            mtime: planned.created,
            base: None,
            entries: &platform.entries,
            content,
        };
        self.layer(&failed, &recipe, |writer| {
            for entry in &platform.entries {
                let path = EntryPath::new(entry.path.clone()).map_err(|e| failed.path(e))?;
                let mut opened = self.open_entry(making, &entry.from)?;
                let mut file =
                    Entry::file(path, entry.executable, opened.size, &mut opened.content);
                if !entry.capabilities.is_empty() {
                    let value = image::capability(&entry.capabilities);
                    let value = value.map_err(|error| failed.image(error))?;
                    file.xattrs.insert(CAPABILITY.to_owned(), value);
                }
                writer.append(file).map_err(|error| failed.image(error))?;
            }
            Ok(())
        })
    }

    /// What an entry holds, by digest; none where the plan says it already.
    fn digest_of(
        &self,
        making: &Making<'_>,
        from: &kdistro_formats::plan::EntryContent,
    ) -> Result<Option<Digest>, PackageError> {
        use kdistro_formats::plan::EntryContent;
        match from {
            EntryContent::Output(output) => self.output(&making.asset.name, output).map(Some),
            EntryContent::Attribution { programs } => Ok(making.linked.attribution(programs)),
            EntryContent::Source { .. } => Ok(None),
        }
    }

    /// Makes a layer, unless it is kept.
    fn layer(
        &self,
        failed: &Failed<'_>,
        recipe: &LayerRecipe<'_>,
        write: impl FnOnce(&mut LayerWriter<&mut dyn Write>) -> Result<(), PackageError>,
    ) -> Result<Layer, PackageError> {
        let key = canonical::to_vec(recipe).map_err(|error| failed.key(error))?;
        let record = self.record(&hash::sha256(&key));
        let whole = |kept: &KeptLayer| self.content.has(&kept.digest);
        if let Some(kept) = read_kept::<KeptLayer>(&record).filter(whole) {
            return Ok(kept.into());
        }
        let mut new = self.content.create().map_err(|error| failed.content(error))?;
        let mut writer = LayerWriter::new(&mut new as &mut dyn Write, recipe.mtime);
        write(&mut writer)?;
        let (_, layer) = writer.finish().map_err(|error| failed.image(error))?;
        new.keep().map_err(|error| failed.content(error))?;
        write_kept(&record, &KeptLayer::from(&layer)).map_err(failed.io(record.clone()))?;
        Ok(layer)
    }

    /// One platform of an image, as `docker save` writes it.
    pub(super) fn docker_archive(
        &self,
        making: &Making<'_>,
        docker: &DockerArchive,
        done: &Packaged,
    ) -> Result<Digest, PackageError> {
        let failed = Failed(&making.asset.name);
        let missing = || failed.plan(format!("image `{}` for {}", docker.image, docker.platform));
        let planned = making.component.assets.iter().find(|asset| asset.name == docker.image);
        let planned = planned.ok_or_else(missing)?;
        let Content::Image(Image { created, .. }) = &planned.content else { return Err(missing()) };
        let packaged = done.images.get(&planned.path);
        let platform = packaged.and_then(|image| image.platforms.get(&docker.platform));
        let platform = platform.ok_or_else(missing)?;
        let config = self.content.read(&platform.config).map_err(|error| failed.content(error))?;
        let mut plain = Vec::new();
        for layer in &platform.layers {
            let file = self.content.open(&layer.digest).map_err(|error| failed.content(error))?;
            plain.push((layer, gzip::gunzip(std::io::BufReader::new(file))));
        }
        let mut layers: Vec<_> = plain
            .iter_mut()
            .map(|(layer, content)| DockerLayer {
                diff_id: layer.diff_id,
                size: layer.uncompressed_size,
                content,
            })
            .collect();
        let new = self.content.create().map_err(|error| failed.content(error))?;
        let new = image::docker_archive(new, &docker.tag, &config, &mut layers, *created);
        let new = new.map_err(|error| failed.image(error))?;
        Ok(new.keep().map_err(|error| failed.content(error))?.0)
    }
}

/// Why the layer of a base could not be written.
enum BaseError {
    Root(kdistro_assemble::root::RootError),
    Image(ImageError),
}

impl From<kdistro_assemble::root::RootError> for BaseError {
    fn from(error: kdistro_assemble::root::RootError) -> Self {
        Self::Root(error)
    }
}

impl From<&Layer> for KeptLayer {
    fn from(layer: &Layer) -> Self {
        let Layer { diff_id, uncompressed_size, digest, size } = *layer;
        Self { diff_id, uncompressed_size, digest, size }
    }
}

impl From<KeptLayer> for Layer {
    fn from(layer: KeptLayer) -> Self {
        let KeptLayer { diff_id, uncompressed_size, digest, size } = layer;
        Self { diff_id, uncompressed_size, digest, size }
    }
}
