//! An image for two platforms with a layer that both share, blob by blob.

use std::{collections::BTreeMap, io::Write};

use flate2::{Compression, write::GzEncoder};
use kdistro_formats::{
    Digest, Platform, layout,
    oci::{
        CONFIG, Config, Descriptor, Execution, History, INDEX, Index, LAYER_GZIP, MANIFEST,
        Manifest, RootFs,
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

/// What is changed of an image before it is named by digest.
struct Changes<'a> {
    /// In every configuration.
    config: &'a dyn Fn(&mut Config),
    /// In every manifest.
    manifest: &'a dyn Fn(&mut Manifest),
    /// In the index.
    index: &'a dyn Fn(&mut Index),
    /// In what is written of a document of this media type.
    form: &'a dyn Fn(&str, Vec<u8>) -> Vec<u8>,
}

const AS_IT_SHOULD_BE: Changes<'static> =
    Changes { config: &|_| {}, manifest: &|_| {}, index: &|_| {}, form: &|_, bytes| bytes };

impl Blobs {
    /// The image as it should be.
    pub(crate) fn new() -> Self {
        Self::holding("etcd")
    }

    /// The image with another program.
    pub(crate) fn holding(program: &str) -> Self {
        Self::make(program, &AS_IT_SHOULD_BE)
    }

    /// The image with every configuration, every manifest and the index changed before it is named by digest.
    pub(crate) fn with(
        config: &dyn Fn(&mut Config),
        manifest: &dyn Fn(&mut Manifest),
        index: &dyn Fn(&mut Index),
    ) -> Self {
        Self::make("etcd", &Changes { config, manifest, index, ..AS_IT_SHOULD_BE })
    }

    /// The image with its documents, each of a media type, written in another form.
    pub(crate) fn written(form: &dyn Fn(&str, Vec<u8>) -> Vec<u8>) -> Self {
        Self::make("etcd", &Changes { form, ..AS_IT_SHOULD_BE })
    }

    fn make(program: &str, changes: &Changes<'_>) -> Self {
        let mut made = Self { index: Digest::from_bytes([0; 32]), blobs: BTreeMap::new() };
        let base = tar("etc/passwd", b"root:x:0:0:root:/root:/sbin/nologin\n");
        let mut manifests = Vec::new();
        for arch in ARCHITECTURES {
            let own = tar("usr/local/bin/etcd", format!("{program} for {arch}").as_bytes());
            let layers = [&base, &own].map(|tar| made.add(LAYER_GZIP, gzip(tar)));
            let platform: Platform = format!("linux/{arch}").parse().unwrap();
            let platform = kdistro_formats::oci::Platform::from(&platform);
            let mut config = config(&platform, [&base, &own].map(|tar| hash::sha256(tar)));
            (changes.config)(&mut config);
            let config = (changes.form)(CONFIG, config.to_vec().unwrap());
            let mut manifest = Manifest {
                config: made.add(CONFIG, config),
                layers: layers.to_vec(),
                artifact_type: None,
                subject: None,
                annotations: annotations(),
            };
            (changes.manifest)(&mut manifest);
            let manifest = (changes.form)(MANIFEST, manifest.to_vec().unwrap());
            let manifest = made.add(MANIFEST, manifest);
            manifests.push(Descriptor { platform: Some(platform), ..manifest });
        }
        let mut index = Index { manifests, annotations: annotations(), ..Index::default() };
        (changes.index)(&mut index);
        let index = (changes.form)(INDEX, index.to_vec().unwrap());
        made.index = made.add(INDEX, index).digest;
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

/// What index and manifests say of the image.
pub(crate) fn annotations() -> BTreeMap<String, String> {
    [("org.opencontainers.image.title".to_owned(), "etcd".to_owned())].into()
}

/// The configuration as it follows from the plan of [`crate::content`].
fn config(platform: &kdistro_formats::oci::Platform, diff_ids: [Digest; 2]) -> Config {
    let created = || Some("1970-01-01T00:00:01Z".to_owned());
    let text = |text: &str| text.to_owned();
    let history = ["packages of the base", "programs"].map(|made_by| History {
        created: created(),
        created_by: Some(text(made_by)),
        ..History::default()
    });
    Config {
        created: created(),
        architecture: platform.architecture.clone(),
        os: platform.os.clone(),
        variant: platform.variant.clone(),
        config: Execution {
            user: text("65535:65535"),
            exposed_ports: vec![text("2379/tcp"), text("2380/tcp")],
            env: vec![text("A=1"), text("PATH=/usr/local/bin")],
            entrypoint: vec![text("/usr/local/bin/etcd")],
            command: vec![text("--help")],
            working_directory: text("/var/lib/etcd"),
            labels: annotations(),
        },
        rootfs: RootFs::of(diff_ids.to_vec()),
        history: history.to_vec(),
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
