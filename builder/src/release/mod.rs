//! The manifest of a release: a pure function of plan, packaged assets, header and public address.

use std::collections::BTreeMap;

use kdistro_formats::{
    Digest, ReleaseName,
    announcement::Severity,
    claim::Header,
    layout,
    plan::{self, Content, Plan},
    release::{
        API_VERSION, AppliedPatch, Asset, AssetArchive, AssetImage, AssetKind, Component, Document,
        Metadata, PlanRef, Release, ReleaseSpec, ReleaseStatus,
    },
    yaml::{self, WriteError},
};
use kdistro_verify::hash::Hashes;

use crate::{config::distribution::Distribution, package::Packaged};

pub mod kubeadm;

/// The name of the SBOM of a whole release.
pub const SBOM: &str = "release.spdx.json";

/// Why there is no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// An asset of the plan was not made.
    #[error("asset `{0}` was not packaged")]
    Missing(String),
    /// The manifest cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Makes the manifest as it is published.
///
/// `documents` are the files of the release as a whole, by name.
pub fn manifest(
    plan: (&Plan, &Digest),
    (packaged, documents): (&Packaged, &BTreeMap<String, Hashes>),
    header: &Header,
    distribution: &Distribution,
) -> Result<String, ReleaseError> {
    let (plan, plan_digest) = plan;
    let url = &distribution.url;
    let name = header.release();
    let mut components = plan
        .components
        .iter()
        .map(|component| self::component(component, packaged, &name, distribution))
        .collect::<Result<Vec<_>, _>>()?;
    components.sort_by(|a, b| a.name.cmp(&b.name));
    let release = Release {
        api_version: API_VERSION.to_owned(),
        kind: "Release".to_owned(),
        metadata: Metadata { creation_timestamp: None, name: name.resource() },
        spec: ReleaseSpec {
            build_repo_commit: header.build_repo_commit.clone(),
            channel: header.channel.clone(),
            number: header.number,
            plan: Some(PlanRef {
                uri: format!("{url}/{}", layout::plan(&name)),
                sha256: *plan_digest,
            }),
            previous: header.previous.clone(),
        },
        status: ReleaseStatus {
            date: Some(header.date.clone()),
            components,
            documents: documents
                .iter()
                .map(|(document, hashes)| Document {
                    name: document.clone(),
                    uri: format!("{url}/{}", layout::document(&name, document)),
                    sha256: hashes.sha256,
                    sha512: hashes.sha512,
                    size: hashes.size,
                })
                .collect(),
        },
    };
    Ok(yaml::to_string(&release)?)
}

fn component(
    planned: &plan::Component,
    packaged: &Packaged,
    name: &ReleaseName,
    distribution: &Distribution,
) -> Result<Component, ReleaseError> {
    let assets = planned.assets.iter().map(|asset| {
        let hashes = packaged.assets.get(&asset.path);
        let hashes = hashes.ok_or_else(|| ReleaseError::Missing(asset.name.clone()))?;
        Ok(self::asset((planned, asset), hashes, name, distribution))
    });
    Ok(Component {
        name: planned.name.clone(),
        git_tag: planned.tag.to_string(),
        git_commit: Some(planned.commit.clone()),
        source_tree: Some(planned.source_tree.clone()),
        patches: planned.patches.clone(),
        toolchain: Some(planned.toolchain.clone()),
        assets: assets.collect::<Result<_, ReleaseError>>()?,
    })
}

fn asset(
    (component, planned): (&plan::Component, &plan::PlannedAsset),
    hashes: &Hashes,
    name: &ReleaseName,
    distribution: &Distribution,
) -> Asset {
    let mut asset = Asset {
        name: planned.name.clone(),
        kind: AssetKind::Archive,
        media_type: Some(planned.media_type),
        description: Some(planned.description.clone()),
        os: planned.os.clone(),
        arch: planned.arch.clone(),
        size: Some(hashes.size),
        archive: None,
        image: None,
    };
    if let Content::Image(image) = &planned.content {
        let tag = layout::image_tag(component.tag.as_str(), name);
        asset.kind = AssetKind::Image;
        asset.image = Some(AssetImage {
            uri: format!("{}/{}:{tag}", distribution.registry, image.repository),
            image_digest: Some(hashes.sha256),
        });
    } else {
        asset.archive = Some(AssetArchive {
            uri: format!("{}/{}", distribution.url, layout::artifact(name, &planned.path)),
            sha256: hashes.sha256,
            sha512: hashes.sha512,
        });
    }
    asset
}

/// Lists the CVEs that a plan's patches fix, sorted.
pub fn fixes(plan: &Plan) -> Vec<String> {
    let mut fixes: Vec<_> = patches(plan).flat_map(|patch| patch.fixes.iter().cloned()).collect();
    fixes.sort();
    fixes.dedup();
    fixes
}

fn patches(plan: &Plan) -> impl Iterator<Item = &AppliedPatch> {
    plan.components.iter().flat_map(|component| &component.patches)
}

/// How urgent a release is for somebody who has none of its patches.
pub fn severity(plan: &Plan) -> Severity {
    if patches(plan).any(|patch| patch.critical) {
        return Severity::Critical;
    }
    if fixes(plan).is_empty() { Severity::Routine } else { Severity::Security }
}
