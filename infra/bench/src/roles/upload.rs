//! Publishes files as a release, in a bucket or in a folder, as `kdistro cut` does once they are packaged.

use std::{collections::BTreeMap, error::Error, path::PathBuf};

use kdistro::{
    config::channel::Channel,
    content::ContentStore,
    journal::Journal,
    plan,
    publish::{Offer, Publisher, Ready},
    report::Reporter,
    sign::{Signing, keys::Keys, log::Log},
};
use kdistro_aws::{Aws, AwsSettings, S3Settings, S3Store};
use kdistro_border::{Directory, OciLayouts, Store};
use kdistro_formats::{
    ChannelName, Digest, Sha512, canonical,
    claim::{Claim, Header},
    plan::Plan,
};
use kdistro_verify::hash::{self, Hashes};
use serde::{Deserialize, Serialize};

/// The journal, in the folder of what is kept between runs.
pub(crate) const JOURNAL: &str = "journal.jsonl";

/// Whose release it is.
const CHANNEL: &str = "1-20";
const DATE: &str = "2026-01-01T00:00:00Z";
const ORIGIN: &str = "log.bench.kdistro.dev";
const ENVIRONMENT: &str = "bench";
/// Nobody reads it on the way.
const MANIFEST: &str = "files of a benchmark\n";

/// How many files are on their way at once, as of a cut.
const AT_ONCE: usize = 8;

/// What is to be uploaded, and where.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Upload {
    /// The bucket, where the variables of AWS say; none for the folder `store` of what is kept.
    pub(crate) bucket: Option<String>,
    /// Where keys, journal and the head of the log are kept between runs.
    pub(crate) kept: PathBuf,
    /// Where the assets lie, under their paths.
    pub(crate) folder: PathBuf,
    /// The assets.
    pub(crate) assets: Vec<Asset>,
}

/// A file whose digests are known, as they are once it is packaged.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Asset {
    /// Its path below `artifacts/`.
    pub(crate) path: String,
    /// Its SHA-256.
    pub(crate) sha256: Digest,
    /// Its SHA-512.
    pub(crate) sha512: Sha512,
    /// Its length in bytes.
    pub(crate) size: u64,
}

/// Publishes a release of files alone: claim, keys, artifacts with their sums, plan, manifest, log, channel index.
pub(super) fn upload(order: &Upload) -> Result<(), Box<dyn Error>> {
    match &order.bucket {
        None => publish(order, &Directory::new(order.kept.join("store"))),
        Some(bucket) => {
            let settings = S3Settings {
                bucket: bucket.clone(),
                prefix: String::new(),
                path_style: true,
                conditional_writes: true,
            };
            publish(order, &S3Store::new(&Aws::load(&AwsSettings::default())?, settings))
        }
    }
}

fn publish(order: &Upload, store: &dyn Store) -> Result<(), Box<dyn Error>> {
    let channel: ChannelName = CHANNEL.parse()?;
    let plan = plan::empty(&channel);
    let keys = Keys::open_or_make(&order.kept.join("keys"))?;
    let head = order.kept.join("log-head");
    let log = Log { store, origin: ORIGIN, signer: keys.log.as_ref(), head };
    let place = |asset: &Asset| (asset.sha256, order.folder.join(&asset.path));
    let publisher = Publisher {
        store,
        registry: &OciLayouts::new(order.kept.join("registry")),
        content: &ContentStore::new(order.kept.join("content")),
        elsewhere: &order.assets.iter().map(place).collect(),
        at_once: AT_ONCE,
        signing: &Signing { signer: keys.release.as_ref(), log },
        environment: ENVIRONMENT,
        reporter: &Reporter::new(false, true, None),
    };
    let offer = Offer {
        keys: &keys,
        channel: &Channel {
            channel,
            active: true,
            supported_until: None,
            platforms: Vec::new(),
            components: Vec::new(),
        },
        topic: None,
        skipped: &[],
    };
    let mut journal = Journal::open(&order.kept.join(JOURNAL))?;
    release(&publisher, (&plan, &order.assets), (&offer, &mut journal))
}

fn release(
    publisher: &Publisher<'_>,
    (plan, assets): (&Plan, &[Asset]),
    (offer, journal): (&Offer<'_>, &mut Journal),
) -> Result<(), Box<dyn Error>> {
    let plan_bytes = canonical::to_vec(plan)?;
    let header = Header {
        channel: plan.channel.clone(),
        number: 1,
        previous: None,
        build_repo_commit: None,
        date: DATE.to_owned(),
    };
    let hashes = |asset: &Asset| {
        let Asset { path, sha256, sha512, size } = asset;
        (path.clone(), Hashes { sha256: *sha256, sha512: *sha512, size: *size })
    };
    let ready = Ready {
        plan,
        plan_bytes: &plan_bytes,
        manifest: MANIFEST,
        claim: &Claim { plan: hash::sha256(&plan_bytes), header },
        assets: &assets.iter().map(hashes).collect(),
        images: &BTreeMap::new(),
        documents: &BTreeMap::new(),
        provenances: &BTreeMap::new(),
    };
    let published = publisher.publish(&ready, offer, journal)?;
    publisher.offer(&published, offer, journal)?;
    Ok(())
}
