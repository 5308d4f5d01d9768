//! What is known about one release: what its manifest says, or its plan before there is a manifest.

use std::collections::{BTreeMap, BTreeSet};

use kdistro_formats::{
    plan::{InputKind, Plan},
    release::{self, AppliedPatch, Release},
};

use super::{Partial, purl};
use crate::build;

/// What is known about one release.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The release, such as `1-36-2`.
    pub release: String,
    /// What it holds, where that is not the whole of its channel, or not known to be.
    pub partial: Option<Partial>,
    /// Its components by name.
    pub components: BTreeMap<String, ComponentFacts>,
}

/// What is known about one component.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComponentFacts {
    /// Upstream's tag.
    pub tag: String,
    /// Upstream's commit.
    pub commit: Option<String>,
    /// The tree with the patches.
    pub source_tree: Option<String>,
    /// The toolchain.
    pub toolchain: Option<String>,
    /// Patches by file name.
    pub patches: BTreeMap<String, PatchFacts>,
    /// Assets by name.
    pub assets: BTreeMap<String, AssetFacts>,
    /// What its assets consist of, as its SBOMs say.
    pub shipped: Option<Parts>,
    /// What its steps and images see, as the plan says.
    pub seen: Option<Parts>,
}

/// What is known about a patch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchFacts {
    /// Its content.
    pub digest: String,
    /// The CVEs it fixes.
    pub fixes: Vec<String>,
}

/// What is known about an asset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AssetFacts {
    /// Its content; none before it is made.
    pub digest: Option<String>,
    /// Its length in bytes.
    pub size: Option<u64>,
}

/// Other people's work in a component: versions by name, since one thing may be there in several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Go modules by path.
    pub modules: BTreeMap<String, BTreeSet<String>>,
    /// Debian packages by name.
    pub packages: BTreeMap<String, BTreeSet<String>>,
}

impl Parts {
    /// Adds one part by its package URL; kinds that are neither a module nor a package are left out.
    pub fn add(&mut self, origin: &str) {
        let Some(part) = purl::parse(origin) else { return };
        let into = match part.kind {
            "golang" => &mut self.modules,
            "deb" => &mut self.packages,
            _ => return,
        };
        into.entry(part.name).or_default().insert(part.version);
    }

    /// Adds everything that another list has.
    pub fn extend(&mut self, other: Self) {
        let pairs = [(&mut self.modules, other.modules), (&mut self.packages, other.packages)];
        for (into, from) in pairs {
            for (name, versions) in from {
                into.entry(name).or_default().extend(versions);
            }
        }
    }
}

impl Facts {
    /// Reads a manifest.
    pub fn of_manifest(release: &Release) -> Self {
        let components = release.status.components.iter().map(|component| {
            let assets = component.assets.iter().map(|a| (a.name.clone(), asset(a)));
            let facts = ComponentFacts {
                tag: component.git_tag.clone(),
                commit: component.git_commit.as_ref().map(ToString::to_string),
                source_tree: component.source_tree.as_ref().map(ToString::to_string),
                toolchain: component.toolchain.clone(),
                patches: patches(&component.patches),
                assets: assets.collect(),
                shipped: None,
                seen: None,
            };
            (component.name.clone(), facts)
        });
        Self {
            release: release.name().to_string(),
            partial: None,
            components: components.collect(),
        }
    }

    /// Reads a plan that was not carried out yet: nothing is known about the bytes of its assets.
    pub fn of_plan(name: &str, plan: &Plan) -> Self {
        let components = plan.components.iter().map(|component| {
            let assets = component.assets.iter().map(|a| (a.name.clone(), AssetFacts::default()));
            let facts = ComponentFacts {
                tag: component.tag.to_string(),
                commit: Some(component.commit.to_string()),
                source_tree: Some(component.source_tree.to_string()),
                toolchain: Some(component.toolchain.clone()),
                patches: patches(&component.patches),
                assets: assets.collect(),
                shipped: None,
                seen: None,
            };
            (component.name.clone(), facts)
        });
        let components = components.collect();
        let mut facts = Self { release: name.to_owned(), partial: None, components };
        facts.add_plan(plan);
        facts
    }

    /// Adds what the plan's steps and images see.
    pub fn add_plan(&mut self, plan: &Plan) {
        for (name, facts) in &mut self.components {
            let wanted = BTreeSet::from([name.clone()]);
            let steps = build::needed(plan, Some(&wanted));
            let mut seen = Parts::default();
            for digest in build::inputs_of(plan, &steps, Some(&wanted)) {
                match plan.input(&digest) {
                    Some(input) if is_part(input.kind) => seen.add(&input.origin),
                    _ => {}
                }
            }
            facts.seen = Some(seen);
        }
    }

    /// The CVEs that patches fix, with the components.
    pub(super) fn fixes(&self) -> BTreeMap<String, Vec<String>> {
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (name, component) in &self.components {
            for cve in component.patches.values().flat_map(|patch| &patch.fixes) {
                found.entry(cve.clone()).or_default().insert(name.clone());
            }
        }
        found.into_iter().map(|(cve, names)| (cve, names.into_iter().collect())).collect()
    }

    /// Bytes of all files together; images have no size in a manifest. None before any is made.
    pub(super) fn size(&self) -> Option<u64> {
        let assets = self.components.values().flat_map(|component| component.assets.values());
        let sizes: Vec<u64> = assets.filter_map(|asset| asset.size).collect();
        (!sizes.is_empty()).then(|| sizes.iter().sum())
    }
}

/// A module's go.mod alone is no part: nothing of it ends up anywhere.
fn is_part(kind: InputKind) -> bool {
    matches!(kind, InputKind::GoModule | InputKind::DebianPackage)
}

fn asset(asset: &release::Asset) -> AssetFacts {
    AssetFacts { digest: asset.digest().map(|digest| digest.to_string()), size: asset.size }
}

fn patches(patches: &[AppliedPatch]) -> BTreeMap<String, PatchFacts> {
    let facts = patches.iter().map(|patch| {
        let facts = PatchFacts { digest: patch.digest.to_string(), fixes: patch.fixes.clone() };
        (patch.name.clone(), facts)
    });
    facts.collect()
}
