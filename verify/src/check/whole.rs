//! The rest of a store: every other release, every older index's bundle, and the CRDs.

use std::collections::{BTreeMap, BTreeSet};

use kdistro_formats::{
    ChannelName, Digest, ReleaseName, canonical,
    claim::Claim,
    layout,
    plan::{Content, Plan},
};

use super::{
    reading::{Checker, DOCUMENT, SMALL},
    report::chain,
};
use crate::{bundle, hash, store, trust::Trust};

/// Where a build repository keeps the CRDs that are published under `crds/`.
const CRD_SOURCE: &str = "release-manifests/crds/";

impl Checker<'_> {
    /// Checks what the check of the release that was asked for (`done`) left out.
    pub(super) fn check_others(
        &mut self,
        done: Option<(ReleaseName, Option<Plan>)>,
        trust: &Trust,
    ) {
        let (done, plan) = done.unzip();
        let mut plans: Vec<Plan> = plan.flatten().into_iter().collect();
        let indexes = self.listed("releasechannels");
        for file in indexes.iter().filter(|file| !file.starts_with("releasechannels/bundles/")) {
            let channel =
                file.strip_prefix("releasechannels/").and_then(|name| name.strip_suffix(".yaml"));
            let Some(channel) = channel.and_then(|name| name.parse::<ChannelName>().ok()) else {
                continue;
            };
            self.check_releases(&channel, done.as_ref(), trust, &mut plans);
        }
        // Bundles of indexes that were replaced stay; each must still be sound.
        for file in indexes.iter().filter(|file| file.starts_with("releasechannels/bundles/")) {
            self.check_index_bundle(file, trust);
        }
        self.note_newer_index();
        for plan in &plans {
            self.check_inputs(plan);
        }
        self.check_crds(&plans);
    }

    fn check_releases(
        &mut self,
        channel: &ChannelName,
        done: Option<&ReleaseName>,
        trust: &Trust,
        plans: &mut Vec<Plan>,
    ) {
        let Some(index) = self.read_index(channel, trust) else { return };
        for release in &index.status.releases {
            let name = ReleaseName { channel: channel.clone(), number: release.number };
            if Some(&name) != done {
                plans.extend(self.check_other_release(&name, &release.digest, trust));
            }
        }
        for withheld in &index.status.withheld {
            let name = ReleaseName { channel: channel.clone(), number: withheld.number };
            self.known.insert(layout::abandoned(&name));
            if Some(&name) == done {
                continue;
            }
            match withheld.digest.filter(|_| self.has_signed_manifest(&name)) {
                Some(digest) => plans.extend(self.check_other_release(&name, &digest, trust)),
                None => self.check_abandoned(&name),
            }
        }
    }

    /// False where a number was given up before its manifest was signed, or cut in another environment and never promoted
    /// to this one.
    fn has_signed_manifest(&self, name: &ReleaseName) -> bool {
        let manifest = layout::manifest(name);
        let is_absent = |file: &str| matches!(self.reader.open(file), Ok(None));
        !is_absent(&layout::bundle(&manifest)) && !is_absent(&manifest)
    }

    fn check_other_release(
        &mut self,
        name: &ReleaseName,
        digest: &Digest,
        trust: &Trust,
    ) -> Option<Plan> {
        let file = layout::manifest(name);
        let bytes = self.document(&file, DOCUMENT)?;
        let found = hash::sha256(&bytes);
        if found != *digest {
            self.differs(&file, format!("is {found}, but the index lists {digest}"));
            return None;
        }
        self.check_release(&file, trust, false)?.1
    }

    /// A number that was never published here. What there is of it begins with a claim; nothing of it is signed.
    fn check_abandoned(&mut self, name: &ReleaseName) {
        let manifest = layout::manifest(name);
        let beside = [layout::bundle(&manifest), manifest];
        let is_there = |file: &String| matches!(self.reader.open(file), Ok(Some(_)));
        let mut left: Vec<_> = beside.into_iter().filter(is_there).collect();
        left.extend(self.listed(&layout::release(name)));
        if left.is_empty() {
            self.note(
                &layout::release(name),
                "is empty: the number was cut in another environment",
            );
            return;
        }
        if let Some(plan) =
            self.abandoned_claim(name).and_then(|claim| self.abandoned_plan(name, &claim))
        {
            self.expect_left_over(&plan);
        }
        for file in left {
            if self.known.insert(file.clone()) {
                self.note(&file, format!("is left over from `{name}`, which was never published"));
            }
        }
    }

    fn abandoned_claim(&mut self, name: &ReleaseName) -> Option<Claim> {
        let (file, claim) = self.read_claim(name)?;
        if claim.header.number == name.number && claim.header.channel == name.channel {
            return Some(claim);
        }
        self.differs(&file, format!("is not the claim of `{name}`"));
        None
    }

    /// The plan with which a number was claimed that was given up, where it is there.
    fn abandoned_plan(&self, name: &ReleaseName, claim: &Claim) -> Option<Plan> {
        let bytes = store::read(self.reader, &layout::plan(name), DOCUMENT).ok()??;
        let is_claimed = hash::sha256(&bytes) == claim.plan;
        is_claimed.then(|| canonical::from_slice(&bytes).ok()).flatten()
    }

    /// Remembers what may be left of a number that was given up: the inputs of its plan, and blobs of its images, of which
    /// the plan does not know the digests.
    fn expect_left_over(&mut self, plan: &Plan) {
        let inputs = plan.inputs.iter().map(|input| &input.sha256);
        let configuration = plan.configuration.iter().map(|file| &file.sha256);
        self.left_over.inputs.extend(inputs.chain(configuration).copied());
        let mut assets = plan.components.iter().flat_map(|component| &component.assets);
        self.left_over.images |= assets.any(|asset| matches!(asset.content, Content::Image(_)));
    }

    fn check_index_bundle(&mut self, file: &str, trust: &Trust) {
        if self.known.contains(file) {
            return;
        }
        let Some(json) = self.document(file, SMALL) else { return };
        match bundle::verify_signed_digest(&json, trust) {
            Err(error) => self.differs(file, chain(&error)),
            Ok((digest, logged)) => {
                self.logged.push((file.to_owned(), logged));
                let expected = layout::channel_bundle(&digest);
                if file != expected {
                    self.differs(file, format!("signs {digest}, whose bundle is {expected}"));
                }
            }
        }
    }

    /// The CRDs are exactly those that the plans which were checked list among their configuration files.
    fn check_crds(&mut self, plans: &[Plan]) {
        let mut planned: BTreeMap<&str, BTreeSet<Digest>> = BTreeMap::new();
        for file in plans.iter().flat_map(|plan| &plan.configuration) {
            if let Some(name) = file.path.strip_prefix(CRD_SOURCE) {
                planned.entry(name).or_default().insert(file.sha256);
            }
        }
        for (name, digests) in planned {
            let file = layout::crd(name);
            let Some(bytes) = self.document(&file, SMALL) else { continue };
            if !digests.contains(&hash::sha256(&bytes)) {
                self.differs(&file, "is not the configuration file that a plan lists");
            }
        }
        for file in self.listed("crds") {
            if self.known.insert(file.clone()) {
                self.differs(&file, "is no configuration file of a plan");
            }
        }
    }

    /// Refuses every file of the store that nothing signed speaks of, but for what a store in a directory keeps for
    /// itself: an empty file that writers lock, and what they have not finished.
    pub(super) fn check_nothing_else_at_all(&mut self) {
        for file in self.listed("") {
            if self.known.contains(&file) {
                continue;
            }
            if file == layout::WORKSHOP_LOCK {
                self.exact(&file, "", "the empty file that writers lock");
            } else if file == layout::WORKSHOP_TRIAL {
                // A bucket's own, which a copy of it in a folder has, too.
                self.exact(&file, layout::TRIAL_CONTENT, "what a bucket is tried with");
            } else if self.is_left_over(&file) {
                self.note(
                    &file,
                    "is what its name says, and left over from a number that was given up",
                );
            } else if layout::is_unfinished(&file) {
                match self.reader.open(&file) {
                    Ok(Some(_)) => self.note(&file, "is not published: its writer did not finish"),
                    // It did meanwhile.
                    Ok(None) => {}
                    Err(error) => self.unreadable(&file, &error),
                }
            } else {
                self.unspoken(&file);
            }
        }
    }

    /// True for an input or a blob that a number left behind which was given up, and that is what its name says.
    fn is_left_over(&self, file: &str) -> bool {
        let named =
            |folder: &str| file.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
        let input = named(layout::INPUTS).and_then(|hex| Digest::from_hex(hex).ok());
        let blob = named(layout::IMAGES).and_then(|digest| digest.parse::<Digest>().ok());
        let input = input.filter(|digest| self.left_over.inputs.contains(digest));
        let Some(digest) = input.or(blob.filter(|_| self.left_over.images)) else { return false };
        let found = self.reader.open(file).and_then(|read| read.map(hash::sha256_of).transpose());
        found.is_ok_and(|found| found.is_some_and(|(found, _)| found == digest))
    }

    /// Tells of an index that was signed after those which the channels have.
    fn note_newer_index(&mut self) {
        let bundles =
            self.logged.iter().filter(|(file, _)| file.starts_with("releasechannels/bundles/"));
        let newest = bundles.max_by_key(|(_, logged)| logged.index);
        let Some((file, logged)) = newest.filter(|(file, _)| !self.indexes.contains(file)) else {
            return;
        };
        let (file, entry) = (file.clone(), logged.index);
        self.note(
            &file,
            format!(
                "signs an index that no channel has, newer (entry {entry} of the log) than those they have: \
                 a channel was turned back, or a change of it was not finished"
            ),
        );
    }
}
