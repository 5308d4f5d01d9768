//! What must hold after every operation that changes the world, whoever is killed next.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kdistro::{config::CRDS, publish::announce, release::kubeadm};
use kdistro_formats::{
    Digest, ReleaseName,
    announcement::{Announcement, Envelope},
    canonical,
    channel::ReleaseChannel,
    claim::{Claim, Header},
    layout,
    oci::{Index, Manifest},
    plan::{Content, Plan},
    release::{Asset, Release, ReleaseRef},
};
use kdistro_verify::{
    hash,
    log::{Checkpoint, Tree, leaf_hash},
};

use crate::{
    release::{CHANNEL, ENVIRONMENT, ORIGIN, REGISTRY, Site, URL, name},
    world::{Change, World},
};

/// What was seen to hold so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// What the index of the channel says.
    pub(crate) index: Option<Arc<ReleaseChannel>>,
    /// The claims that were made.
    pub(crate) claims: BTreeMap<u32, Claim>,
    /// The release before each of which there is a manifest.
    previous: BTreeMap<u32, Option<ReleaseRef>>,
    /// The leaves of the log.
    leaves: Vec<Digest>,
    /// What was announced as released, and as yanked.
    pub(crate) released: BTreeMap<u32, Digest>,
    pub(crate) yanked: BTreeMap<u32, Digest>,
}

type Checked = Result<(), String>;

fn demand(holds: bool, otherwise: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Seen {
    /// Looks at the world after a change.
    pub(crate) fn check(&mut self, site: &Site, world: &World, change: &Change) -> Checked {
        match change {
            Change::Created(file) => self.check_created(site, world, file),
            Change::Swapped(file) if file == layout::CHECKPOINT => self.check_log(world),
            Change::Swapped(file) => self.check_index(site, world, file),
            Change::Tagged(repository, digest) => check_referrers(world, repository, digest),
            Change::Told => self.check_told(world),
        }
    }

    fn check_created(&mut self, site: &Site, world: &World, file: &str) -> Checked {
        if let Some(folder) = file.strip_suffix("/SHA256SUM") {
            return check_sums(world, folder);
        }
        let resource = file.rsplit('/').next().and_then(|file| file.strip_suffix(".yaml"));
        let release = resource.and_then(|resource| resource.strip_prefix("kubernetes-"));
        if let Some(release) = release.and_then(|release| release.parse::<ReleaseName>().ok())
            && file == layout::manifest(&release)
        {
            return self.check_manifest(site, world, &release);
        }
        let number = file.strip_suffix("/claim").and_then(|folder| folder.rsplit('/').next());
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            return self.check_claim(world, number);
        }
        let is_beside = file.starts_with("kubernetes-") && !file.contains("/attestations/");
        if let Some(document) = file.strip_suffix(layout::BUNDLE).filter(|_| is_beside) {
            let there = world.files.contains_key(document);
            return demand(there, || format!("{file} signs what is not there"));
        }
        if file.ends_with("/announcement.json") || file.ends_with("/announcement.yank.json") {
            let released = self.released.keys().map(|number| layout::announcement(&name(*number)));
            let yanked = self.yanked.keys().map(|number| layout::yank_announcement(&name(*number)));
            let told = released.chain(yanked).any(|record| record == file);
            return demand(told, || format!("{file} records what nobody was told"));
        }
        Ok(())
    }

    fn check_claim(&mut self, world: &World, number: u32) -> Checked {
        let bytes = world.read(&layout::claim(&name(number))).unwrap_or_default();
        let claim: Claim = canonical::from_slice(bytes).map_err(|error| error.to_string())?;
        let is_it = (claim.header.channel.as_str(), claim.header.number) == (CHANNEL, number);
        demand(is_it, || format!("the claim on {number} is on another number"))?;
        self.claims.insert(number, claim);
        Ok(())
    }

    /// A manifest names only what is there, in the store and in the registry, with that digest.
    fn check_manifest(&mut self, site: &Site, world: &World, name: &ReleaseName) -> Checked {
        let manifest = world.read(&layout::manifest(name)).unwrap_or_default();
        let release = site.manifest(manifest)?;
        let spec = &release.spec;
        let claim = self.claims.get(&name.number).ok_or(format!("{name} was not claimed"))?;
        let plan = &site.plans[site.plan(&claim.plan)].plan;
        let header = Header {
            channel: spec.channel.clone(),
            number: spec.number,
            previous: spec.previous.clone(),
            build_repo_commit: spec.build_repo_commit.clone(),
            date: release.status.date.clone().unwrap_or_default(),
        };
        let planned = spec.plan.as_ref().map(|plan| plan.sha256);
        let is_claimed = claim.header == header && planned == Some(claim.plan);
        demand(is_claimed, || format!("the manifest of {name} is not what was claimed"))?;
        let there = |file: &str, digest: &Digest| {
            let is_there = world.is(file, digest);
            demand(is_there, || format!("the manifest of {name} names {file}, which is not there"))
        };
        there(&layout::plan(name), &claim.plan)?;
        for file in &plan.configuration {
            there(&layout::input(&file.sha256), &file.sha256)?;
            if let Some(crd) = file.path.strip_prefix(CRDS) {
                there(&layout::crd(crd), &file.sha256)?;
            }
        }
        for input in &plan.inputs {
            there(&layout::input(&input.sha256), &input.sha256)?;
        }
        for document in &release.status.documents {
            there(&layout::document(name, &document.name), &document.sha256)?;
        }
        for component in &release.status.components {
            let provenance = layout::provenance(name, &component.name);
            demand(world.files.contains_key(&provenance), || format!("no {provenance}"))?;
            for asset in &component.assets {
                check_asset(world, name, asset)?;
            }
        }
        check_flat(world, name, plan, &release)?;
        let keys = [layout::PUBLIC_KEY, layout::LOG_KEY, layout::TRUSTED_ROOT];
        let has_keys = keys.iter().all(|key| world.files.contains_key(*key));
        demand(has_keys, || format!("{name} has a manifest and no keys"))?;
        self.previous.insert(name.number, spec.previous.clone());
        Ok(())
    }

    /// The index is signed before it is there, only grows, has no hole, and lists only what is there.
    fn check_index(&mut self, site: &Site, world: &World, file: &str) -> Checked {
        let bytes = world.read(file).unwrap_or_default();
        let bundle = layout::channel_bundle(&hash::sha256(bytes));
        demand(world.files.contains_key(&bundle), || {
            "the index is there before its bundle".into()
        })?;
        let index =
            site.index(bytes).map_err(|error| format!("the index cannot be read: {error}"))?;
        let status = &index.status;
        if let Some(old) = &self.index {
            let old = &old.status;
            let kept = old.releases.iter().all(|release| status.releases.contains(release))
                && old.withheld.iter().all(|withheld| status.withheld.contains(withheld))
                && old.yanked.iter().all(|yanked| status.yanked.contains(yanked));
            demand(kept, || {
                format!("the index lost or changed an entry: {old:?}, now {status:?}")
            })?;
        }
        let listed: BTreeMap<u32, Option<Digest>> = status
            .releases
            .iter()
            .map(|release| (release.number, Some(release.digest)))
            .chain(status.withheld.iter().map(|withheld| (withheld.number, withheld.digest)))
            .collect();
        let hole = (1..status.latest_release).find(|number| !listed.contains_key(number));
        demand(hole.is_none(), || format!("the index has a hole: {status:?}"))?;
        for release in &status.releases {
            let (name, number) = (name(release.number), release.number);
            let manifest = layout::manifest(&name);
            let is_there = world.is(&manifest, &release.digest)
                && world.files.contains_key(&layout::bundle(&manifest));
            demand(is_there, || format!("the index lists {name}, which is not there and signed"))?;
            if let Some(Some(previous)) = self.previous.get(&number) {
                let found = listed.get(&previous.number);
                let is_listed = found == Some(&Some(previous.digest));
                demand(is_listed, || format!("{name} came after {previous:?}, not listed"))?;
            }
        }
        let offered: BTreeSet<u32> = status.releases.iter().map(|one| one.number).collect();
        let is_offered = status.yanked.iter().all(|yanked| offered.contains(&yanked.number));
        demand(is_offered, || "something is yanked that was not released".to_owned())?;
        self.index = Some(index);
        Ok(())
    }

    /// The log only grows, and its head is the root of what its tiles hold.
    ///
    /// Its signature is the verifier's to judge, at the end of the schedule.
    fn check_log(&mut self, world: &World) -> Checked {
        let head = text(world.read(layout::CHECKPOINT).unwrap_or_default());
        let size = head.lines().nth(1).and_then(|size| size.parse::<u64>().ok()).unwrap_or(0);
        let was = self.leaves.len() as u64;
        demand(size > was, || format!("the log had {was} leaves, now {size}"))?;
        let fetch =
            |path: &str| Ok(world.read(&format!("{}/{path}", layout::LOG)).map(<[u8]>::to_vec));
        let mut tree = Tree::new(size, &fetch);
        let wrong = |error: &dyn std::error::Error| format!("the head of the log: {error}");
        let root = tree.root().map_err(|error| wrong(&error))?;
        let body = Checkpoint { origin: ORIGIN.to_owned(), size, root }.body();
        demand(head.starts_with(&body), || "the head of the log is of another tree".to_owned())?;
        let entries = tree.entries(0).map_err(|error| wrong(&error))?;
        let leaves: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let fits = tree.tile(0, 0).map_err(|error| wrong(&error))? == leaves;
        demand(fits, || "the leaves of the log do not hash to its tiles".to_owned())?;
        demand(leaves.starts_with(&self.leaves), || "the log lost a leaf".to_owned())?;
        self.leaves = leaves;
        Ok(())
    }

    /// Nothing is announced that the index does not say, and always with the same id.
    fn check_told(&mut self, world: &World) -> Checked {
        let Some(told) = world.told.last() else { return Ok(()) };
        let envelope: Result<Envelope, _> = serde_json::from_str(&told.message);
        let envelope = envelope.map_err(|error| error.to_string())?;
        let said: Result<Announcement, _> = serde_json::from_str(&envelope.default);
        let said = said.map_err(|error| error.to_string())?;
        let number = said.number;
        let status = self.index.as_ref().map(|index| &index.status);
        let mut releases = status.iter().flat_map(|status| &status.releases);
        let reference = ReleaseRef { number, digest: said.manifest.sha256 };
        let is_listed = releases.any(|release| *release == reference);
        demand(is_listed, || format!("{number} is announced, and the index does not list it"))?;
        let mut yanked = status.iter().flat_map(|status| &status.yanked);
        let ids = match &said.yanked {
            None => {
                let id = announce::id(ENVIRONMENT, &said.manifest.sha256);
                demand(told.id == id, || "the id is another".to_owned())?;
                &mut self.released
            }
            Some(reason) => {
                let is = yanked.any(|one| one.number == number && one.reason == *reason);
                demand(is, || format!("{number} is announced as yanked, and the index says no"))?;
                &mut self.yanked
            }
        };
        let first = *ids.entry(number).or_insert(told.id);
        demand(first == told.id, || format!("{number} is announced with two ids"))
    }
}

/// The sums of a folder are the record of what is complete: all that they list is there, with its sidecars.
fn check_sums(world: &World, folder: &str) -> Checked {
    let sums = text(world.read(&format!("{folder}/SHA256SUM")).unwrap_or_default());
    for line in sums.lines() {
        let (hex, file) = line.split_once("  ").ok_or_else(|| line.to_owned())?;
        let digest = Digest::from_hex(hex).map_err(|error| error.to_string())?;
        let file = format!("{folder}/{file}");
        let sidecars = [".sha256", ".sha512"].map(|suffix| format!("{file}{suffix}"));
        let is_complete = world.is(&file, &digest)
            && sidecars.iter().all(|sidecar| world.files.contains_key(sidecar));
        demand(is_complete, || format!("{folder}/SHA256SUM is there before {file}"))?;
    }
    let long = format!("{folder}/SHA512SUM");
    demand(world.files.contains_key(&long), || format!("{folder}/SHA256SUM is before {long}"))
}

fn check_asset(world: &World, name: &ReleaseName, asset: &Asset) -> Checked {
    let missing = || format!("the manifest of {name} names `{}`, not all there", asset.name);
    if let Some(archive) = &asset.archive {
        let file = archive.uri.strip_prefix(&format!("{URL}/")).unwrap_or_default();
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let beside = [format!("{folder}/SHA256SUM"), format!("{file}.sha512")];
        let is_there = world.is(file, &archive.sha256)
            && beside.iter().all(|file| world.files.contains_key(file));
        return demand(is_there, missing);
    }
    let image = asset.image.as_ref().ok_or_else(missing)?;
    let (place, digest) = (&image.uri, image.image_digest.ok_or_else(missing)?);
    let place = place.strip_prefix(&format!("{REGISTRY}/")).unwrap_or_default();
    let (repository, tag) = place.rsplit_once(':').unwrap_or_default();
    check_image(world, (repository, tag), &digest)
}

/// An image is there, in the store and in the registry, with everything that it consists of.
fn check_image(world: &World, (repository, tag): (&str, &str), digest: &Digest) -> Checked {
    let missing =
        |what: &str| format!("image {repository}:{tag} is named, and {what} is not there");
    let there = world.repositories.get(repository).ok_or_else(|| missing("its repository"))?;
    demand(there.tags.get(tag) == Some(digest), || missing("its tag"))?;
    let read = |digest: &Digest| {
        let file = world.read(&layout::image_blob(digest)).ok_or_else(|| missing("a blob"))?;
        let is_same = there.manifests.get(digest).is_some_and(|bytes| **bytes == *file);
        demand(is_same, || missing("a manifest")).map(|()| file)
    };
    let index = Index::from_slice(read(digest)?).map_err(|error| error.to_string())?;
    for named in &index.manifests {
        let bytes = read(&named.digest)?;
        let manifest = Manifest::from_slice(bytes).map_err(|error| error.to_string())?;
        for blob in manifest.layers.iter().chain([&manifest.config]) {
            let is_there = world.is(&layout::image_blob(&blob.digest), &blob.digest)
                && there.blobs.contains_key(&blob.digest);
            demand(is_there, || missing("a layer or configuration"))?;
        }
    }
    check_referrers(world, repository, digest)
}

/// Whoever finds a tag finds what is said of the image, too.
fn check_referrers(world: &World, repository: &str, digest: &Digest) -> Checked {
    let there = world.repositories.get(repository).and_then(|there| there.referrers.get(digest));
    let kinds: BTreeSet<&str> =
        there.into_iter().flatten().map(|(_, referrer)| referrer.artifact_type.as_str()).collect();
    demand(kinds.len() == 2, || format!("{repository}: only {kinds:?} refer to {digest}"))
}

/// What kubeadm asks for is there under its names.
fn check_flat(world: &World, name: &ReleaseName, plan: &Plan, release: &Release) -> Checked {
    let shipped = release.status.components.iter().flat_map(|component| &component.assets);
    let shipped: BTreeMap<&str, &Asset> = shipped.map(|asset| (&*asset.name, asset)).collect();
    for asset in plan.components.iter().flat_map(|component| &component.assets) {
        let Content::Image(image) = &asset.content else { continue };
        let digest = shipped.get(&*asset.name).and_then(|asset| asset.digest());
        if let (Some(flat), Some(digest)) = (&image.flat, digest) {
            check_image(world, (&kubeadm::flat(name, &flat.name), &flat.tag), &digest)?;
        }
    }
    Ok(())
}
