//! Published images, read from a store: looked at, exported, started. Every blob is checked against its digest.

mod error;
pub mod export;
pub mod inspect;
pub mod run;
mod unpack;

pub use self::error::ImageError;

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek, Write},
    path::Path,
};

use kdistro_assemble::gzip;
use kdistro_formats::{
    Digest, Platform,
    layout::image_blob,
    oci::{self, Config, Descriptor, Index, LAYER_GZIP, LAYER_TAR, Manifest},
    release::{Asset, AssetImage, Release},
};
use kdistro_verify::{
    hash::{Hasher, sha256},
    store::{self, Reader},
};

/// How much the layers of one image may be when they are unpacked: more is no image of ours but an attack.
const LARGEST_UNPACKED: u64 = 16 << 30;

/// An image asset of a release.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// The component's name.
    pub component: &'a str,
    /// The asset.
    pub asset: &'a Asset,
    /// Where the image is.
    pub image: &'a AssetImage,
}

impl Listed<'_> {
    /// Returns the digest of the image's index.
    pub fn digest(&self) -> Result<Digest, ImageError> {
        self.image.image_digest.ok_or_else(|| ImageError::NoDigest(self.asset.name.clone()))
    }
}

/// Lists the images of a release, in the manifest's order.
pub fn listed(release: &Release) -> Vec<Listed<'_>> {
    let components = release.status.components.iter();
    let assets = components.flat_map(|c| c.assets.iter().map(|asset| (c.name.as_str(), asset)));
    let images = assets.filter_map(|(component, asset)| {
        Some(Listed { component, asset, image: asset.image.as_ref()? })
    });
    images.collect()
}

/// Finds an image by its asset's name, with or without `-image` at its end.
pub fn find<'a>(release: &'a Release, name: &str) -> Result<Listed<'a>, ImageError> {
    let images = listed(release);
    let is_it = |image: &&Listed<'_>| {
        let own = image.asset.name.as_str();
        own == name || own.strip_suffix("-image") == Some(name)
    };
    let found: Vec<_> = images.iter().filter(is_it).collect();
    let names = || images.iter().map(|image| image.asset.name.clone()).collect();
    let refuse = |found| Err(ImageError::Name { name: name.to_owned(), found, names: names() });
    match found.as_slice() {
        [one] => Ok(**one),
        [] => refuse("no image"),
        _ => refuse("several images"),
    }
}

/// The images of a store.
#[derive(Clone, Copy)]
pub struct Images<'a> {
    reader: &'a dyn Reader,
}

/// An image: its index, and everything but the layers' content.
#[derive(Clone, Debug)]
pub struct Image {
    /// The index by digest.
    pub index: Descriptor,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// What it has for each platform, in the index's order.
    pub platforms: Vec<PlatformImage>,
}

/// An image for one platform.
#[derive(Clone, Debug)]
pub struct PlatformImage {
    /// The platform, as the index has it.
    pub platform: oci::Platform,
    /// The manifest by digest.
    pub manifest: Descriptor,
    /// Its bytes.
    pub manifest_bytes: Vec<u8>,
    /// The configuration by digest.
    pub config_blob: Descriptor,
    /// Its bytes.
    pub config_bytes: Vec<u8>,
    /// The configuration.
    pub config: Config,
    /// The layers with the digests of their plain tars, the lowest first.
    pub layers: Vec<(Descriptor, Digest)>,
}

impl PlatformImage {
    /// Returns the platform as `<os>/<arch>`.
    pub fn platform_name(&self) -> String {
        format!("{}/{}", self.platform.os, self.platform.architecture)
    }
}

impl Image {
    /// Returns what the image has for a platform; without one, for its only platform.
    pub fn platform(&self, wanted: Option<&Platform>) -> Result<&PlatformImage, ImageError> {
        let has = || self.platforms.iter().map(PlatformImage::platform_name).collect();
        match (wanted, self.platforms.as_slice()) {
            (None, [one]) => Ok(one),
            (None, _) => Err(ImageError::ManyPlatforms(has())),
            (Some(wanted), all) => {
                let found = all.iter().find(|image| image.platform_name() == wanted.as_str());
                found.ok_or_else(|| ImageError::Platform { wanted: wanted.to_string(), has: has() })
            }
        }
    }
}

/// A layer, unpacked.
#[derive(Debug)]
pub struct PlainLayer<'a> {
    /// The layer as the manifest names it.
    pub layer: &'a Descriptor,
    /// The digest of the plain tar.
    pub diff_id: &'a Digest,
    /// The plain tar, a file without a name.
    pub tar: File,
    /// Its length in bytes.
    pub size: u64,
}

impl<'a> Images<'a> {
    /// Reads the images of this store.
    pub fn new(reader: &'a dyn Reader) -> Self {
        Self { reader }
    }

    /// Reads an image by the digest of its index: index, manifests and configurations.
    pub fn read(&self, digest: &Digest) -> Result<Image, ImageError> {
        let bytes = self.document(digest, None)?;
        let wrong = |source| ImageError::Document { digest: *digest, source };
        let index = Index::from_slice(&bytes).map_err(wrong)?;
        let platforms = index.manifests.iter().map(|manifest| self.platform(digest, manifest));
        Ok(Image {
            index: Descriptor::new(oci::INDEX, *digest, bytes.len() as u64),
            platforms: platforms.collect::<Result<_, _>>()?,
            annotations: index.annotations,
            bytes,
        })
    }

    fn platform(&self, index: &Digest, named: &Descriptor) -> Result<PlatformImage, ImageError> {
        let unfit = |digest: &Digest, what: String| ImageError::Unfit { digest: *digest, what };
        let Some(platform) = named.platform.clone() else {
            return Err(unfit(index, format!("{} is for no platform", named.digest)));
        };
        let manifest_bytes = self.document(&named.digest, Some(named.size))?;
        let wrong = |digest: Digest| move |source| ImageError::Document { digest, source };
        let manifest = Manifest::from_slice(&manifest_bytes).map_err(wrong(named.digest))?;
        if !manifest.is_image() {
            return Err(unfit(&named.digest, "it is not an image".to_owned()));
        }
        let config_blob = manifest.config;
        let config_bytes = self.document(&config_blob.digest, Some(config_blob.size))?;
        let config = Config::from_slice(&config_bytes).map_err(wrong(config_blob.digest))?;
        if (&config.os, &config.architecture) != (&platform.os, &platform.architecture) {
            let (os, arch) = (&platform.os, &platform.architecture);
            let what = format!("it is for {}/{}, not {os}/{arch}", config.os, config.architecture);
            return Err(unfit(&config_blob.digest, what));
        }
        let (layers, diff_ids) = (manifest.layers, config.rootfs.diff_ids.clone());
        if layers.len() != diff_ids.len() {
            let what = format!("it has {} layers, expected {}", diff_ids.len(), layers.len());
            return Err(unfit(&config_blob.digest, what));
        }
        let layers = layers.into_iter().zip(diff_ids).collect();
        let manifest = named.clone();
        Ok(PlatformImage {
            platform,
            manifest,
            manifest_bytes,
            config_blob,
            config_bytes,
            config,
            layers,
        })
    }

    fn open(&self, digest: &Digest) -> Result<Box<dyn Read + '_>, ImageError> {
        let opened = self.reader.open(&image_blob(digest));
        let opened = opened.map_err(|source| ImageError::Read { digest: *digest, source })?;
        opened.ok_or_else(|| ImageError::Missing { digest: *digest, place: self.reader.place() })
    }

    /// Reads a small blob; of an index nobody says the size.
    fn document(&self, digest: &Digest, size: Option<u64>) -> Result<Vec<u8>, ImageError> {
        let read = store::read(self.reader, &image_blob(digest), oci::LARGEST_DOCUMENT);
        let read = read.map_err(|source| ImageError::Read { digest: *digest, source })?;
        let place = || self.reader.place();
        let bytes = read.ok_or_else(|| ImageError::Missing { digest: *digest, place: place() })?;
        let (found, found_size) = (sha256(&bytes), bytes.len() as u64);
        let size = size.unwrap_or(found_size);
        if (found, found_size) != (*digest, size) {
            return Err(ImageError::Content { digest: *digest, size, found, found_size });
        }
        Ok(bytes)
    }

    /// Copies a blob, and fails at its end when it is not what its name says.
    pub fn copy(&self, blob: &Descriptor, to: &mut File, path: &Path) -> Result<(), ImageError> {
        let (digest, size) = (blob.digest, blob.size);
        // One byte more than it may have shows that it has more.
        let mut from = self.open(&digest)?.take(size.saturating_add(1));
        let mut to = Hasher::new(to);
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(ImageError::Read { digest, source }),
            };
            to.write_all(buffer.get(..count).unwrap_or_default()).map_err(failed(path))?;
        }
        let (_, found, found_size) = to.finish();
        if (found, found_size) != (digest, size) {
            return Err(ImageError::Content { digest, size, found, found_size });
        }
        Ok(())
    }

    /// Opens the layers of an image one after the other, the lowest first; see [`Images::layer`].
    pub fn layers<'i>(
        &'i self,
        image: &'i PlatformImage,
        folder: &'i Path,
    ) -> impl Iterator<Item = Result<PlainLayer<'i>, ImageError>> {
        let mut room = LARGEST_UNPACKED;
        image.layers.iter().map(move |(layer, diff_id)| {
            let (tar, size) = self.layer((layer, diff_id), folder, &mut room)?;
            Ok(PlainLayer { layer, diff_id, tar, size })
        })
    }

    /// Returns the plain tar of a layer as a file without a name, made in `folder`, and its length, for which there
    /// must be room.
    fn layer(
        &self,
        (layer, diff_id): (&Descriptor, &Digest),
        folder: &Path,
        room: &mut u64,
    ) -> Result<(File, u64), ImageError> {
        let spool = || tempfile::tempfile_in(folder).map_err(failed(folder));
        let mut blob = spool()?;
        self.copy(layer, &mut blob, folder)?;
        blob.rewind().map_err(failed(folder))?;
        let compressed: Box<dyn Read> = match layer.media_type.as_str() {
            LAYER_GZIP => Box::new(gzip::gunzip(blob)),
            LAYER_TAR => Box::new(blob),
            other => {
                let what = format!("layers of the media type `{other}` are not unpacked here");
                return Err(ImageError::Unfit { digest: layer.digest, what });
            }
        };
        let mut plain = Hasher::new(spool()?);
        // One byte more than there is room for shows that there is more.
        let mut reader = compressed.take(room.saturating_add(1));
        io::copy(&mut reader, &mut plain).map_err(failed(folder))?;
        let (mut plain, found, size) = plain.finish();
        *room = room.checked_sub(size).ok_or_else(|| {
            let what = format!("the layers unpack to more than {LARGEST_UNPACKED} bytes");
            ImageError::Unfit { digest: layer.digest, what }
        })?;
        if found != *diff_id {
            let (digest, expected) = (layer.digest, *diff_id);
            return Err(ImageError::DiffId { digest, found, expected });
        }
        plain.rewind().map_err(failed(folder))?;
        Ok((plain, size))
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> ImageError {
    let path = path.to_owned();
    move |source| ImageError::Io { path: path.clone(), source }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use kdistro_verify::store::Directory;

    use super::*;

    #[test]
    fn layers_for_which_there_is_no_room_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let content = [0; 100];
        let layer = Descriptor::new(LAYER_TAR, sha256(&content), 100);
        let path = folder.path().join(image_blob(&layer.digest));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        let reader = Directory::new(folder.path());
        let images = Images::new(&reader);
        let mut room = 150;
        let layer = (&layer, &layer.digest);
        assert_eq!(images.layer(layer, folder.path(), &mut room).unwrap().1, 100);
        // Each alone has room, both have not.
        let error = images.layer(layer, folder.path(), &mut room).unwrap_err();
        assert!(
            matches!(&error, ImageError::Unfit { what, .. } if what.contains("unpack to more"))
        );
    }
}
