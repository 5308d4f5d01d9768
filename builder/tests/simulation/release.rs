//! Releases as small as the verifier accepts, made by the pure functions that a cut uses.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use kdistro::{
    build::Records,
    config::{CRDS, channel::Channel, distribution::Distribution},
    content::ContentStore,
    package::Packaged,
    publish::{
        ImageParts, PublishError, Ready,
        provenance::{self, Built},
    },
    release::{self, kubeadm},
    report::Reporter,
    sign::keys::Keys,
};
use kdistro_border::KeyFile;
use kdistro_formats::{
    Digest, ReleaseName, canonical,
    channel::ReleaseChannel,
    claim::{Claim, Header},
    oci::{CONFIG, Config, Descriptor, INDEX, Index, LAYER_TAR, MANIFEST, Manifest},
    plan::{
        self, AssemblyRules, Component, ConfigurationFile, Content, FlatName, Image, ImageConfig,
        Input, InputKind, Licensing, OutputRef, Plan, PlannedAsset, PlatformImage,
    },
    release::{ManifestError, MediaType, Release, ReleaseRef},
    statement::{Provenance, Statement},
};
use kdistro_verify::{
    hash::{self, Hashes},
    trust::{PublicKey, Trust},
};
use tempfile::TempDir;

/// The channel of all releases.
pub(crate) const CHANNEL: &str = "1-36";
/// Where the store is, seen from outside.
pub(crate) const URL: &str = "https://releases.example";
/// Where images are, seen from outside.
pub(crate) const REGISTRY: &str = "registry.example";
/// The name of the log.
pub(crate) const ORIGIN: &str = "log.releases.example";
/// The one environment.
pub(crate) const ENVIRONMENT: &str = "simulated";

const TAG: &str = "v1.36.2";
const CRD: &[u8] = b"kind: CustomResourceDefinition\n";

/// What all schedules share: content, keys and plans. None of it changes.
pub(crate) struct Site {
    folder: TempDir,
    pub(crate) content: ContentStore,
    pub(crate) keys: Keys,
    pub(crate) trust: Trust,
    pub(crate) channel: Channel,
    pub(crate) distribution: Distribution,
    pub(crate) reporter: Reporter,
    pub(crate) plans: Vec<Planned>,
    pub(crate) nowhere: BTreeMap<Digest, PathBuf>,
    /// What was made of each claim: schedules make the same again and again.
    made: Mutex<BTreeMap<Vec<u8>, Arc<Made>>>,
    manifests: Mutex<BTreeMap<Digest, Arc<Release>>>,
    indexes: Mutex<BTreeMap<Digest, Arc<ReleaseChannel>>>,
}

/// A plan, and what was built by it.
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: Digest,
    packaged: Packaged,
    images: BTreeMap<String, ImageParts>,
}

/// A release that is ready to be published.
pub(crate) struct Made {
    pub(crate) claim: Claim,
    pub(crate) manifest: String,
    documents: BTreeMap<String, Hashes>,
    provenances: BTreeMap<String, Statement<Provenance>>,
}

/// A folder for journals, heads and content: in memory where that is possible, since they are written durably.
pub(crate) fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let builder = tempfile::Builder::new().prefix("kdistro-simulation-").to_owned();
    let made = memory.is_dir().then(|| builder.tempdir_in(memory).ok()).flatten();
    made.unwrap_or_else(|| builder.tempdir().unwrap())
}

/// The release of the channel with a number.
pub(crate) fn name(number: u32) -> ReleaseName {
    ReleaseName { channel: CHANNEL.parse().unwrap(), number }
}

impl Site {
    pub(crate) fn new() -> Self {
        let folder = scratch();
        let content = ContentStore::new(folder.path().join("content"));
        let key = |name: &str| Box::new(KeyFile::generate(&folder.path().join(name)).unwrap());
        let keys = Keys { release: key("release.key"), log: key("log.key") };
        let root = keys.trusted_root(ORIGIN).unwrap();
        let trust = Trust::from_trusted_root(&root, &keys.release_key().unwrap()).unwrap();
        let plans = ["one", "two", "three"].map(|variant| Planned::new(variant, &content));
        Self {
            channel: Channel {
                channel: CHANNEL.parse().unwrap(),
                active: true,
                supported_until: None,
                platforms: Vec::new(),
                components: Vec::new(),
            },
            distribution: Distribution {
                name: "simulated".to_owned(),
                url: URL.to_owned(),
                registry: REGISTRY.to_owned(),
            },
            reporter: Reporter::new(false, true, None),
            plans: plans.into(),
            nowhere: BTreeMap::new(),
            made: Mutex::default(),
            manifests: Mutex::default(),
            indexes: Mutex::default(),
            folder,
            content,
            keys,
            trust,
        }
    }

    /// A new folder of one machine, removed with the site.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    pub(crate) fn key(&self) -> PublicKey {
        self.keys.release_key().unwrap()
    }

    /// The plan with this digest.
    pub(crate) fn plan(&self, digest: &Digest) -> usize {
        self.plans.iter().position(|planned| planned.digest == *digest).unwrap()
    }

    /// The claim on a number for a plan.
    pub(crate) fn claim(
        &self,
        plan: usize,
        (number, previous): (u32, Option<ReleaseRef>),
        date: String,
    ) -> Claim {
        let header = Header {
            channel: self.channel.channel.clone(),
            number,
            previous,
            build_repo_commit: Some("3".repeat(40).parse().unwrap()),
            date,
        };
        Claim { plan: self.plans[plan].digest, header }
    }

    /// Makes all of the release that a claim is for.
    pub(crate) fn make(&self, claim: Claim) -> Arc<Made> {
        let key = canonical::to_vec(&claim).unwrap();
        if let Some(made) = self.made.lock().unwrap().get(&key) {
            return made.clone();
        }
        let made = Arc::new(self.make_anew(claim));
        self.made.lock().unwrap().insert(key, made.clone());
        made
    }

    fn make_anew(&self, claim: Claim) -> Made {
        let planned = &self.plans[self.plan(&claim.plan)];
        let header = &claim.header;
        let name = name(header.number);
        let mut documents = BTreeMap::new();
        documents.extend(planned.packaged.sbom.map(|sbom| (release::SBOM.to_owned(), sbom)));
        if let Some(text) = kubeadm::configuration(&planned.plan, &name, REGISTRY).unwrap() {
            self.content.insert_bytes(text.as_bytes()).unwrap();
            let hashes = hash::hashes_of(text.as_bytes()).unwrap();
            documents.insert(kubeadm::NAME.to_owned(), hashes);
        }
        let plan = (&planned.plan, &planned.digest);
        let packaged = (&planned.packaged, &documents);
        let manifest = release::manifest(plan, packaged, header, &self.distribution).unwrap();
        let (assets, records) = (&planned.packaged.assets, &Records::default());
        let provenances = provenance::statements(&Built { plan, assets, records, header });
        Made { claim, manifest, documents, provenances }
    }

    /// Reads a manifest, which schedules have again and again.
    pub(crate) fn manifest(&self, bytes: &[u8]) -> Result<Arc<Release>, String> {
        known(&self.manifests, bytes, Release::from_yaml)
    }

    /// Reads an index, likewise.
    pub(crate) fn index(&self, bytes: &[u8]) -> Result<Arc<ReleaseChannel>, String> {
        known(&self.indexes, bytes, ReleaseChannel::from_yaml)
    }

    /// All of a release, as the publisher takes it.
    pub(crate) fn ready<'a>(&'a self, made: &'a Made) -> Ready<'a> {
        let planned = &self.plans[self.plan(&made.claim.plan)];
        Ready {
            plan: &planned.plan,
            plan_bytes: &planned.bytes,
            manifest: &made.manifest,
            claim: &made.claim,
            assets: &planned.packaged.assets,
            images: &planned.images,
            documents: &made.documents,
            provenances: &made.provenances,
        }
    }

    /// Two releases as another environment cut and offers them; the second comes after the first.
    pub(crate) fn cut_elsewhere(&self) -> [Arc<Made>; 2] {
        let date = || "2026-08-01T00:00:00Z".to_owned();
        let first = self.make(self.claim(0, (1, None), date()));
        let previous = first.reference();
        let second = self.make(self.claim(1, (2, Some(previous)), date()));
        [first, second]
    }
}

/// What `read` made of the same bytes before, or makes of them now.
fn known<T>(
    known: &Mutex<BTreeMap<Digest, Arc<T>>>,
    bytes: &[u8],
    read: impl Fn(&str) -> Result<T, ManifestError>,
) -> Result<Arc<T>, String> {
    let digest = hash::sha256(bytes);
    if let Some(known) = known.lock().unwrap().get(&digest) {
        return Ok(known.clone());
    }
    let made = Arc::new(read(&String::from_utf8_lossy(bytes)).map_err(|error| error.to_string())?);
    known.lock().unwrap().insert(digest, made.clone());
    Ok(made)
}

impl Made {
    pub(crate) fn reference(&self) -> ReleaseRef {
        let digest = hash::sha256(self.manifest.as_bytes());
        ReleaseRef { number: self.claim.header.number, digest }
    }
}

impl Planned {
    /// Plans, and "builds", a release that differs from others by one word.
    fn new(variant: &str, content: &ContentStore) -> Self {
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
