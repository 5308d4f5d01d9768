//! The plan and the claim: the plan that the manifest names, and that both say the same about every component.

use std::collections::BTreeMap;

use kdistro_formats::{
    ReleaseName, canonical,
    claim::{Claim, Header},
    layout,
    plan::{self, Content, Plan, PlannedAsset},
    release::{Asset, AssetKind, Component},
};

use super::{
    manifest::SignedManifest,
    reading::{Checker, DOCUMENT, SMALL},
    report::chain,
};
use crate::hash;

impl Checker<'_> {
    /// Checks plan and claim against the manifest; returns the plan when it is the one that was signed.
    pub(super) fn check_plan(&mut self, signed: &SignedManifest) -> Option<Plan> {
        self.check_claim(signed);
        let file = layout::plan(&signed.name);
        let Some(reference) = &signed.release.spec.plan else {
            self.differs(&signed.file, "names no plan");
            return None;
        };
        if !reference.uri.ends_with(&format!("/{file}")) {
            self.differs(&signed.file, format!("`spec.plan.uri` does not end with /{file}"));
        }
        let bytes = self.document(&file, DOCUMENT)?;
        let found = hash::sha256(&bytes);
        if found != reference.sha256 {
            self.differs(&file, format!("is {found}, but the manifest names {}", reference.sha256));
            return None;
        }
        let plan: Plan = match canonical::from_slice(&bytes) {
            Ok(plan) => plan,
            Err(error) => {
                self.differs(&file, chain(&error));
                return None;
            }
        };
        self.compare_with_plan(signed, &plan, &file);
        Some(plan)
    }

    fn compare_with_plan(&mut self, signed: &SignedManifest, plan: &Plan, file: &str) {
        if plan.schema != plan::SCHEMA {
            self.differs(
                file,
                format!("has schema `{}`, expected `{}`", plan.schema, plan::SCHEMA),
            );
        }
        if plan.channel != signed.name.channel {
            let (found, expected) = (&plan.channel, &signed.name.channel);
            self.differs(
                file,
                format!("is of channel `{found}`, but the manifest of `{expected}`"),
            );
        }
        if !plan.whole {
            self.note(file, "holds a part of the channel only");
        }
        let mut planned: BTreeMap<_, _> = BTreeMap::new();
        for component in &plan.components {
            if planned.insert(component.name.as_str(), component).is_some() {
                self.differs(file, format!("lists `{}` twice", component.name));
            }
        }
        for component in &signed.release.status.components {
            if let Some(planned) = planned.remove(component.name.as_str()) {
                self.compare_component(signed, component, planned);
            } else {
                let name = &component.name;
                self.differs(&signed.file, format!("lists `{name}`, which the plan does not"));
            }
        }
        for name in planned.keys() {
            self.differs(&signed.file, format!("does not list `{name}`, which the plan does"));
        }
    }

    fn compare_component(
        &mut self,
        signed: &SignedManifest,
        component: &Component,
        planned: &plan::Component,
    ) {
        let same = [
            ("gitTag", component.git_tag == planned.tag.as_str()),
            ("gitCommit", component.git_commit.as_ref() == Some(&planned.commit)),
            ("sourceTree", component.source_tree.as_ref() == Some(&planned.source_tree)),
            ("patches", component.patches == planned.patches),
            ("toolchain", component.toolchain.as_ref() == Some(&planned.toolchain)),
        ];
        for (field, _) in same.iter().filter(|(_, same)| !same) {
            let name = &component.name;
            self.differs(&signed.file, format!("`{field}` of `{name}` is not what the plan says"));
        }
        let mut assets: BTreeMap<_, _> =
            planned.assets.iter().map(|asset| (asset.name.as_str(), asset)).collect();
        if assets.len() != planned.assets.len() {
            let file = layout::plan(&signed.name);
            self.differs(&file, format!("lists an asset of `{}` twice", component.name));
        }
        for asset in &component.assets {
            let path = format!("{}/{}", component.name, asset.name);
            match assets.remove(asset.name.as_str()) {
                Some(planned) => self.compare_asset(signed, (&path, component), asset, planned),
                None => {
                    self.differs(&signed.file, format!("lists `{path}`, which the plan does not"));
                }
            }
        }
        for name in assets.keys() {
            let path = format!("{}/{name}", component.name);
            self.differs(&signed.file, format!("does not list `{path}`, which the plan does"));
        }
    }

    fn compare_asset(
        &mut self,
        signed: &SignedManifest,
        (path, component): (&str, &Component),
        asset: &Asset,
        planned: &PlannedAsset,
    ) {
        let is_image = matches!(planned.content, Content::Image(_));
        let place = if is_image {
            format!("/{}:{}", planned.path, layout::image_tag(&component.git_tag, &signed.name))
        } else {
            format!("/{}", layout::artifact(&signed.name, &planned.path))
        };
        let archive = asset.archive.as_ref().map(|archive| &archive.uri);
        let uri = archive.or(asset.image.as_ref().map(|image| &image.uri));
        let same = [
            ("type", is_image == (asset.kind == AssetKind::Image)),
            ("description", asset.description.as_ref() == Some(&planned.description)),
            ("mediaType", asset.media_type == Some(planned.media_type)),
            ("os", asset.os == planned.os),
            ("arch", asset.arch == planned.arch),
            ("uri", uri.is_some_and(|uri| uri.ends_with(&place))),
        ];
        for (field, _) in same.iter().filter(|(_, same)| !same) {
            self.differs(&signed.file, format!("`{field}` of `{path}` is not what the plan says"));
        }
    }

    /// Reads the claim of a number, which must be there; returns its name, too.
    pub(super) fn read_claim(&mut self, name: &ReleaseName) -> Option<(String, Claim)> {
        let file = layout::claim(name);
        let bytes = self.document(&file, SMALL)?;
        match canonical::from_slice(&bytes) {
            Ok(claim) => Some((file, claim)),
            Err(error) => {
                self.differs(&file, chain(&error));
                None
            }
        }
    }

    fn check_claim(&mut self, signed: &SignedManifest) {
        let Some((file, claim)) = self.read_claim(&signed.name) else { return };
        let spec = &signed.release.spec;
        if spec.plan.as_ref().is_none_or(|plan| plan.sha256 != claim.plan) {
            self.differs(&file, format!("names plan {}, but the manifest another", claim.plan));
        }
        let expected = Header {
            channel: spec.channel.clone(),
            number: spec.number,
            previous: spec.previous.clone(),
            build_repo_commit: spec.build_repo_commit.clone(),
            date: signed.release.status.date.clone().unwrap_or_default(),
        };
        if claim.header != expected {
            self.differs(&file, "its header is not what the manifest says");
        }
    }
}
