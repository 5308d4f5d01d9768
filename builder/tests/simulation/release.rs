//! Releases as small as the verifier accepts, made by the pure functions that a cut uses.

mod planned;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use kdistro::{
    build::Records,
    config::{channel::Channel, distribution::Distribution},
    content::ContentStore,
    publish::{
        Ready,
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
    release::{ManifestError, Release, ReleaseRef},
    statement::{Provenance, Statement},
};
use kdistro_verify::{
    hash::{self, Hashes},
    trust::PublicKey,
};
use tempfile::TempDir;

use self::planned::Planned;

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

/// What all schedules share: content, keys and plans. None of it changes.
pub(crate) struct Site {
    folder: TempDir,
    pub(crate) content: ContentStore,
    pub(crate) keys: Keys,
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
