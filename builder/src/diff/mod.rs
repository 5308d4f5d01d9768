//! Compares two releases by facts: what was shipped, from what, with which patches and parts. Pure but for [`read`].

mod facts;
mod partial;
mod purl;
mod read;
mod render;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use self::{
    facts::{AssetFacts, ComponentFacts, Facts, Parts, PatchFacts},
    partial::Partial,
    purl::{SbomError, parts_of_sbom},
    read::{ReadError, partial, read},
    render::{Style, render},
};

/// Everything in which two releases differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// The older release.
    pub from: String,
    /// The newer one.
    pub to: String,
    /// Which of them hold only a part of their channel.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub partial: Vec<Partial>,
    /// Components that only the newer one has, sorted by name.
    pub added: Vec<Brief>,
    /// Components that only the older one has, sorted by name.
    pub removed: Vec<Brief>,
    /// Components that both have and that differ, sorted by name.
    pub changed: Vec<ComponentChange>,
    /// Components in which nothing differs, sorted by name.
    pub unchanged: Vec<String>,
    /// CVEs that only the newer one's patches fix, with the components.
    pub fixes_gained: BTreeMap<String, Vec<String>>,
    /// CVEs that only the older one's patches fix, with the components.
    pub fixes_lost: BTreeMap<String, Vec<String>>,
    /// Bytes of all assets together, where both are known.
    pub size: Option<Change<u64>>,
}

/// A component by name and tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Brief {
    /// Its name.
    pub name: String,
    /// Upstream's tag.
    pub tag: String,
}

/// A value before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Change<T> {
    /// In the older release.
    pub from: T,
    /// In the newer one.
    pub to: T,
}

/// What changed in one component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentChange {
    /// Its name.
    pub name: String,
    /// Upstream's tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<Change<String>>,
    /// Upstream's commit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<Change<String>>,
    /// The tree with the patches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_tree: Option<Change<String>>,
    /// The toolchain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub toolchain: Option<Change<String>>,
    /// Patches, by file name.
    pub patches: Names,
    /// Go modules: linked ones where both releases have SBOMs, else those that the steps see.
    pub modules: Vec<PartChange>,
    /// Debian packages: shipped ones where both releases have SBOMs, else those of bases and build roots.
    pub packages: Vec<PartChange>,
    /// Assets, by name.
    pub assets: Names,
    /// Assets that both have, with other bytes.
    pub sizes: Vec<SizeChange>,
}

/// Names that came, went, or stand for something else now; each sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Names {
    /// Only in the newer release.
    pub added: Vec<String>,
    /// Only in the older one.
    pub removed: Vec<String>,
    /// In both, with other content.
    pub changed: Vec<String>,
}

/// A module or package: no version on one side means that it came or went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartChange {
    /// Its name.
    pub name: String,
    /// Versions in the older release.
    pub from: Vec<String>,
    /// Versions in the newer one.
    pub to: Vec<String>,
}

/// Bytes of an asset that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SizeChange {
    /// The asset.
    pub name: String,
    /// Its length in bytes before, where it is known.
    pub from: Option<u64>,
    /// Its length in bytes now, where it is known.
    pub to: Option<u64>,
}

impl Difference {
    /// True when the two releases consist of the same.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// Compares two releases.
pub fn diff(from: &Facts, to: &Facts) -> Difference {
    let brief = |only: &Facts, other: &Facts| -> Vec<Brief> {
        let only = only.components.iter().filter(|(name, _)| !other.components.contains_key(*name));
        only.map(|(name, facts)| Brief { name: name.clone(), tag: facts.tag.clone() }).collect()
    };
    let (mut changed, mut unchanged) = (Vec::new(), Vec::new());
    for (name, new) in &to.components {
        let Some(old) = from.components.get(name) else { continue };
        match compare(name, old, new) {
            Some(change) => changed.push(change),
            None => unchanged.push(name.clone()),
        }
    }
    let (before, after) = (from.fixes(), to.fixes());
    let only = |these: &BTreeMap<String, Vec<String>>, others: &BTreeMap<String, Vec<String>>| {
        let only = these.iter().filter(|(cve, _)| !others.contains_key(*cve));
        only.map(|(cve, components)| (cve.clone(), components.clone())).collect()
    };
    let mut partial: Vec<_> = [from, to].iter().filter_map(|facts| facts.partial.clone()).collect();
    partial.dedup();
    Difference {
        from: from.release.clone(),
        to: to.release.clone(),
        partial,
        added: brief(to, from),
        removed: brief(from, to),
        changed,
        unchanged,
        fixes_gained: only(&after, &before),
        fixes_lost: only(&before, &after),
        size: from.size().zip(to.size()).map(|(from, to)| Change { from, to }),
    }
}

fn compare(name: &str, old: &ComponentFacts, new: &ComponentFacts) -> Option<ComponentChange> {
    // What one release does not say is no difference.
    let optional =
        |old: &Option<String>, new: &Option<String>| changed(old.as_ref()?, new.as_ref()?);
    let nothing = Parts::default();
    let (before, after) = comparable(old, new).unwrap_or((&nothing, &nothing));
    let digests = |facts: &ComponentFacts| -> BTreeMap<String, Option<String>> {
        facts.assets.iter().map(|(name, asset)| (name.clone(), asset.digest.clone())).collect()
    };
    let assets = names(&digests(old), &digests(new), |old, new| match (old, new) {
        (Some(old), Some(new)) => old != new,
        _ => false,
    });
    let size = |facts: &ComponentFacts, name: &str| facts.assets.get(name)?.size;
    let sizes = assets.changed.iter().map(|name| SizeChange {
        name: name.clone(),
        from: size(old, name),
        to: size(new, name),
    });
    let change = ComponentChange {
        name: name.to_owned(),
        tag: changed(&old.tag, &new.tag),
        commit: optional(&old.commit, &new.commit),
        source_tree: optional(&old.source_tree, &new.source_tree),
        toolchain: optional(&old.toolchain, &new.toolchain),
        patches: names(&old.patches, &new.patches, |old, new| old.digest != new.digest),
        modules: parts(&before.modules, &after.modules),
        packages: parts(&before.packages, &after.packages),
        sizes: sizes.collect(),
        assets,
    };
    let none = ComponentChange { name: name.to_owned(), ..ComponentChange::default() };
    (change != none).then_some(change)
}

/// The parts of both releases from the same kind of document: an SBOM says less than what a step could see.
fn comparable<'a>(
    old: &'a ComponentFacts,
    new: &'a ComponentFacts,
) -> Option<(&'a Parts, &'a Parts)> {
    let shipped = old.shipped.as_ref().zip(new.shipped.as_ref());
    shipped.or_else(|| old.seen.as_ref().zip(new.seen.as_ref()))
}

fn changed(old: &String, new: &String) -> Option<Change<String>> {
    (old != new).then(|| Change { from: old.clone(), to: new.clone() })
}

fn names<T>(
    old: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
    differ: impl Fn(&T, &T) -> bool,
) -> Names {
    let only = |these: &BTreeMap<String, T>, others: &BTreeMap<String, T>| {
        these.keys().filter(|name| !others.contains_key(*name)).cloned().collect()
    };
    let both = new.iter().filter(|(name, new)| old.get(*name).is_some_and(|old| differ(old, new)));
    Names {
        added: only(new, old),
        removed: only(old, new),
        changed: both.map(|(name, _)| name.clone()).collect(),
    }
}

fn parts(
    old: &BTreeMap<String, BTreeSet<String>>,
    new: &BTreeMap<String, BTreeSet<String>>,
) -> Vec<PartChange> {
    let all: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let versions = |of: &BTreeMap<String, BTreeSet<String>>, name: &String| -> Vec<String> {
        of.get(name).into_iter().flatten().cloned().collect()
    };
    let changes = all.into_iter().map(|name| PartChange {
        name: name.clone(),
        from: versions(old, name),
        to: versions(new, name),
    });
    changes.filter(|change| change.from != change.to).collect()
}
