//! An image for two platforms with a layer that both share, blob by blob.

use std::{collections::BTreeMap, io::Write};

use flate2::{Compression, write::GzEncoder};
use kdistro_formats::{
    Digest, Platform, layout,
    oci::{
        CONFIG, Config, Descriptor, Execution, INDEX, Index, LAYER_GZIP, MANIFEST, Manifest, RootFs,
    },
};
use kdistro_verify::hash;

use crate::publisher::Publisher;

pub(crate) const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

/// The blobs of an image, and which one is the index.
pub(crate) struct Blobs {
    pub(crate) index: Digest,
    pub(crate) blobs: BTreeMap<Digest, Vec<u8>>,
}

impl Blobs {
    /// The image as it should be.
    pub(crate) fn new() -> Self {
        Self::holding("etcd")
    }

    /// The image with another program.
    pub(crate) fn holding(program: &str) -> Self {
        Self::make(program, &|_| {}, &|_| {}, &|_| {})
    }

    /// The image with every configuration, every manifest and the index changed before it is named by digest.
    pub(crate) fn with(
        change_config: &dyn Fn(&mut Config),
        change_manifest: &dyn Fn(&mut Manifest),
        change_index: &dyn Fn(&mut Index),
    ) -> Self {
        Self::make("etcd", change_config, change_manifest, change_index)
    }

    fn make(
        program: &str,
        change_config: &dyn Fn(&mut Config),
        change_manifest: &dyn Fn(&mut Manifest),
        change_index: &dyn Fn(&mut Index),
    ) -> Self {
        let mut made = Self { index: Digest::from_bytes([0; 32]), blobs: BTreeMap::new() };
        let base = tar("etc/passwd", b"root:x:0:0:root:/root:/sbin/nologin\n");
        let mut manifests = Vec::new();
        for arch in ARCHITECTURES {
            let own = tar("usr/local/bin/etcd", format!("{program} for {arch}").as_bytes());
            let layers = [&base, &own].map(|tar| made.add(LAYER_GZIP, gzip(tar)));
            let platform: Platform = format!("linux/{arch}").parse().unwrap();
            let platform = kdistro_formats::oci::Platform::from(&platform);
            let mut config = Config {
                created: Some("1970-01-01T00:00:01Z".to_owned()),
                architecture: platform.architecture.clone(),
                os: platform.os.clone(),
                variant: platform.variant.clone(),
                config: Execution::default(),
                rootfs: RootFs::of([&base, &own].map(|tar| hash::sha256(tar)).to_vec()),
                history: Vec::new(),
            };
            change_config(&mut config);
            let mut manifest = Manifest {
                config: made.add(CONFIG, config.to_vec().unwrap()),
                layers: layers.to_vec(),
                artifact_type: None,
                subject: None,
                annotations: BTreeMap::new(),
            };
            change_manifest(&mut manifest);
            let manifest = made.add(MANIFEST, manifest.to_vec().unwrap());
            manifests.push(Descriptor { platform: Some(platform), ..manifest });
        }
        let mut index = Index { manifests, ..Index::default() };
        change_index(&mut index);
        made.index = made.add(INDEX, index.to_vec().unwrap()).digest;
        made
    }

    fn add(&mut self, media_type: &str, bytes: Vec<u8>) -> Descriptor {
        let digest = hash::sha256(&bytes);
        let size = bytes.len() as u64;
        self.blobs.insert(digest, bytes);
        Descriptor::new(media_type, digest, size)
    }

    /// The length of all blobs.
    pub(crate) fn size(&self) -> u64 {
        self.blobs.values().map(|bytes| bytes.len() as u64).sum()
    }

    pub(crate) fn write(&self, publisher: &Publisher) {
        for (digest, bytes) in &self.blobs {
            publisher.write(&layout::image_blob(digest), bytes);
        }
    }

    /// The one platform's manifest.
    pub(crate) fn manifest(&self, arch: &str) -> Descriptor {
        let index = Index::from_slice(&self.blobs[&self.index]).unwrap();
        let is_it = |descriptor: &&Descriptor| {
            descriptor.platform.as_ref().is_some_and(|platform| platform.architecture == arch)
        };
        index.manifests.iter().find(is_it).unwrap().clone()
    }

    /// A layer of one platform, from 0 on.
    pub(crate) fn layer(&self, arch: &str, number: usize) -> Descriptor {
        let manifest = &self.blobs[&self.manifest(arch).digest];
        Manifest::from_slice(manifest).unwrap().layers[number].clone()
    }

    /// The configuration of one platform.
    pub(crate) fn config(&self, arch: &str) -> Descriptor {
        Manifest::from_slice(&self.blobs[&self.manifest(arch).digest]).unwrap().config
    }
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn tar(path: &str, content: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    builder.append_data(&mut header, path, content).unwrap();
    builder.into_inner().unwrap()
}
