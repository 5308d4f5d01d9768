//! The plans of the simulated releases, and what is "built" by them: a program, an image of two platforms, an SBOM.

use std::collections::BTreeMap;

use kdistro::{
    config::CRDS,
    content::ContentStore,
    package::Packaged,
    publish::{ImageParts, PublishError},
};
use kdistro_formats::{
    Digest, canonical,
    oci::{CONFIG, Config, Descriptor, INDEX, Index, LAYER_TAR, MANIFEST, Manifest},
    plan::{
        self, AssemblyRules, Component, ConfigurationFile, Content, FlatName, Image, ImageConfig,
        Input, InputKind, Licensing, OutputRef, Plan, PlannedAsset, PlatformImage,
    },
    release::MediaType,
};
use kdistro_verify::hash::{self, Hashes};

use super::CHANNEL;

const TAG: &str = "v1.36.2";
const CRD: &[u8] = b"kind: CustomResourceDefinition\n";

/// A plan, and what was built by it.
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: Digest,
    pub(super) packaged: Packaged,
    pub(super) images: BTreeMap<String, ImageParts>,
}

impl Planned {
    /// Plans, and "builds", a release that differs from others by one word.
    pub(super) fn new(variant: &str, content: &ContentStore) -> Self {
        let source = format!("the source of {variant}").into_bytes();
        let project = format!("name: kubernetes # {variant}\n").into_bytes();
        let configuration = [("projects/kubernetes/kubernetes/project.yaml", &project[..])];
        let crd = format!("{CRDS}releases.yaml");
        let configuration = configuration.into_iter().chain([(crd.as_str(), CRD)]);
        let file = |(path, bytes): (&str, &[u8])| ConfigurationFile {
            path: path.to_owned(),
            sha256: content.insert_bytes(bytes).unwrap(),
            size: bytes.len() as u64,
        };
        let input = content.insert_bytes(&source).unwrap();
        let plan = Plan {
            schema: plan::SCHEMA.to_owned(),
            channel: CHANNEL.parse().unwrap(),
            platforms: vec!["linux/amd64".parse().unwrap(), "linux/arm64".parse().unwrap()],
            whole: true,
            configuration: configuration.map(file).collect(),
            inputs: vec![Input {
                sha256: input,
                size: source.len() as u64,
                kind: InputKind::Source,
                origin: "git+https://git.example/kubernetes@1".to_owned(),
            }],
            trees: BTreeMap::new(),
            steps: Vec::new(),
            components: vec![component(input)],
            assembly: AssemblyRules {
                rules: "1".to_owned(),
                gzip: "none".to_owned(),
                licenses: "none".to_owned(),
            },
        };
        let mut planned = Self {
            bytes: canonical::to_vec(&plan).unwrap(),
            digest: Digest::from_bytes([0; 32]),
            plan,
            packaged: Packaged::default(),
            images: BTreeMap::new(),
        };
        planned.digest = hash::sha256(&planned.bytes);
        planned.build(variant, content);
        planned
    }

    /// Makes the assets.
    fn build(&mut self, variant: &str, content: &ContentStore) {
        let keep = |bytes: &[u8]| {
            content.insert_bytes(bytes).unwrap();
            hash::hashes_of(bytes).unwrap()
        };
        self.packaged.sbom = Some(keep(format!("what {variant} consists of").as_bytes()));
        for asset in &self.plan.components[0].assets {
            let hashes = if let Content::Image(image) = &asset.content {
                let (index, parts) = image_of(image, variant, content);
                let sizes: u64 = parts.sizes().values().sum();
                self.images.insert(asset.path.clone(), parts);
                Hashes { size: index.size + sizes, ..index }
            } else {
                keep(format!("{} of {variant}", asset.name).as_bytes())
            };
            self.packaged.assets.insert(asset.path.clone(), hashes);
        }
    }
}

fn component(input: Digest) -> Component {
    Component {
        name: "kubernetes".to_owned(),
        project: "kubernetes/kubernetes".parse().unwrap(),
        tag: TAG.parse().unwrap(),
        commit: "1".repeat(40).parse().unwrap(),
        source_tree: "2".repeat(40).parse().unwrap(),
        patches: Vec::new(),
        toolchain: "go1.26.3".to_owned(),
        repository: "https://git.example/kubernetes".to_owned(),
        commit_time: 1,
        licensing: Licensing {
            source: input,
            files: Vec::new(),
            toolchain: input,
            modules: None,
            exceptions: Vec::new(),
            packages: Vec::new(),
        },
        assets: vec![program(), image(), sbom()],
    }
}

fn program() -> PlannedAsset {
    let output = OutputRef { step: Digest::from_bytes([1; 32]), name: "kubelet".to_owned() };
    PlannedAsset {
        name: "bin/linux/amd64/kubelet".to_owned(),
        description: "kubelet for linux/amd64".to_owned(),
        media_type: MediaType::Program,
        os: "linux".to_owned(),
        arch: vec!["amd64".to_owned()],
        path: format!("kubernetes/{TAG}/kubelet"),
        content: Content::File { output },
    }
}

fn image() -> PlannedAsset {
    let platform = |arch: &str| PlatformImage {
        platform: format!("linux/{arch}").parse().unwrap(),
        base: Some(Digest::from_bytes([7; 32])),
        entries: Vec::new(),
        config: ImageConfig { entrypoint: vec!["/kube-apiserver".to_owned()], ..<_>::default() },
    };
    let flat = FlatName { name: "kube-apiserver".to_owned(), tag: TAG.to_owned() };
    PlannedAsset {
        name: "kube-apiserver-image".to_owned(),
        description: "kube-apiserver container image".to_owned(),
        media_type: MediaType::Index,
        os: "linux".to_owned(),
        arch: vec!["amd64".to_owned(), "arm64".to_owned()],
        path: "kubernetes/kube-apiserver".to_owned(),
        content: Content::Image(Image {
            repository: "kubernetes/kube-apiserver".to_owned(),
            created: 1,
            flat: Some(flat),
            annotations: BTreeMap::new(),
            platforms: vec![platform("amd64"), platform("arm64")],
        }),
    }
}

fn sbom() -> PlannedAsset {
    PlannedAsset {
        name: "kube-apiserver-image.spdx.json".to_owned(),
        description: "what the image consists of".to_owned(),
        media_type: MediaType::Spdx,
        os: String::new(),
        arch: Vec::new(),
        path: format!("kubernetes/{TAG}/kube-apiserver-image.spdx.json"),
        content: Content::Sbom { asset: "kube-apiserver-image".to_owned() },
    }
}

/// Makes an image as it is planned: a layer that both platforms share, and one of each.
fn image_of(image: &Image, variant: &str, content: &ContentStore) -> (Hashes, ImageParts) {
    let keep = |media_type: &str, bytes: &[u8]| {
        let digest = content.insert_bytes(bytes).unwrap();
        Descriptor::new(media_type, digest, bytes.len() as u64)
    };
    let base = keep(LAYER_TAR, b"packages");
    let manifests = image.platforms.iter().map(|platform| {
        let own = format!("kube-apiserver of {variant} for {}", platform.platform);
        let layers = [base.clone(), keep(LAYER_TAR, own.as_bytes())];
        let diff_ids = layers.iter().map(|layer| layer.digest).collect();
        let config = Config::planned(image, platform, diff_ids).unwrap();
        let config = keep(CONFIG, &config.to_vec().unwrap());
        keep(MANIFEST, &Manifest::planned(image, &config, &layers).to_vec().unwrap())
    });
    let index = Index::planned(image, &manifests.collect::<Vec<_>>()).to_vec().unwrap();
    keep(INDEX, &index);
    let read = |digest: &Digest| -> Result<Vec<u8>, PublishError> { Ok(content.read(digest)?) };
    (hash::hashes_of(&index[..]).unwrap(), ImageParts::read(&index, read).unwrap())
}
