//! The rest of a store: every other release, every older index's bundle, and the CRDs.

use std::collections::{BTreeMap, BTreeSet};

use kdistro_formats::{
    ChannelName, Digest, ReleaseName, canonical, claim::Claim, layout, plan::Plan,
};

use super::{
    reading::{Checker, SMALL},
    report::chain,
};
use crate::{bundle, hash, trust::Trust};

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
        let offered =
            index.status.releases.iter().map(|release| (release.number, Some(release.digest)));
        let withheld =
            index.status.withheld.iter().map(|withheld| (withheld.number, withheld.digest));
        for (number, digest) in offered.chain(withheld) {
            let name = ReleaseName { channel: channel.clone(), number };
            let Some(digest) = digest else {
                self.check_abandoned(&name);
                continue;
            };
            if Some(&name) != done {
                plans.extend(self.check_other_release(&name, &digest, trust));
            }
        }
    }

    fn check_other_release(
        &mut self,
        name: &ReleaseName,
        digest: &Digest,
        trust: &Trust,
    ) -> Option<Plan> {
        let file = layout::manifest(name);
        let bytes = self.document(&file, SMALL.max(super::reading::DOCUMENT))?;
        let found = hash::sha256(&bytes);
        if found != *digest {
            self.differs(&file, format!("is {found}, but the index lists {digest}"));
            return None;
        }
        self.check_release(&file, trust, false)?.1
    }

    /// A number that was claimed and never published: its claim must still be one; nothing else there is signed.
    fn check_abandoned(&mut self, name: &ReleaseName) {
        let (claim, abandoned) = (layout::claim(name), layout::abandoned(name));
        if let Some(bytes) = self.document(&claim, SMALL) {
            match canonical::from_slice::<Claim>(&bytes) {
                Err(error) => self.differs(&claim, chain(&error)),
                Ok(claimed)
                    if claimed.header.number != name.number
                        || claimed.header.channel != name.channel =>
                {
                    self.differs(&claim, format!("is not the claim of `{name}`"));
                }
                Ok(_) => {}
            }
        }
        self.known.insert(abandoned);
        for file in self.listed(&layout::release(name)) {
            if self.known.insert(file.clone()) {
                self.note(&file, format!("is left over from `{name}`, which was never published"));
            }
        }
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
