//! The manifest of a release: a pure function of plan, packaged assets, header and public address.

use kdistro_formats::{
    Digest, ReleaseName,
    announcement::Severity,
    claim::Header,
    layout,
    plan::{self, Plan},
    release::{
        API_VERSION, Asset, AssetArchive, AssetKind, Component, Metadata, PlanRef, Release,
        ReleaseSpec, ReleaseStatus,
    },
    yaml::{self, WriteError},
};
use kdistro_verify::hash::Hashes;

use crate::package::Packaged;

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
/// `url` is the public address of the store, without a slash at the end.
pub fn manifest(
    plan: &Plan,
    plan_digest: &Digest,
    packaged: &Packaged,
    header: &Header,
    url: &str,
) -> Result<String, ReleaseError> {
    let name = ReleaseName { channel: header.channel.clone(), number: header.number };
    let mut components = plan
        .components
        .iter()
        .map(|component| self::component(component, packaged, &name, url))
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
        status: ReleaseStatus { date: Some(header.date.clone()), components },
    };
    Ok(yaml::to_string(&release)?)
}

fn component(
    planned: &plan::Component,
    packaged: &Packaged,
    name: &ReleaseName,
    url: &str,
) -> Result<Component, ReleaseError> {
    let assets = planned.assets.iter().map(|asset| {
        let hashes = packaged.get(&asset.path);
        let hashes = hashes.ok_or_else(|| ReleaseError::Missing(asset.name.clone()))?;
        Ok(self::asset(asset, hashes, name, url))
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

fn asset(planned: &plan::PlannedAsset, hashes: &Hashes, name: &ReleaseName, url: &str) -> Asset {
    Asset {
        name: planned.name.clone(),
        kind: AssetKind::Archive,
        media_type: Some(planned.media_type),
        description: Some(planned.description.clone()),
        os: planned.os.clone(),
        arch: planned.arch.clone(),
        size: Some(hashes.size),
        archive: Some(AssetArchive {
            uri: format!("{url}/{}", layout::artifact(name, &planned.path)),
            sha256: hashes.sha256,
            sha512: hashes.sha512,
        }),
        image: None,
    }
}

/// Lists the CVEs that a plan's patches fix, sorted.
pub fn fixes(plan: &Plan) -> Vec<String> {
    let patches = plan.components.iter().flat_map(|component| &component.patches);
    let mut fixes: Vec<_> = patches.flat_map(|patch| patch.fixes.iter().cloned()).collect();
    fixes.sort();
    fixes.dedup();
    fixes
}

/// How urgent a release is, as far as its patches tell.
pub fn severity(plan: &Plan) -> Severity {
    if fixes(plan).is_empty() { Severity::Routine } else { Severity::Security }
}
