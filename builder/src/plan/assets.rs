//! The assets of one component: loose programs and archives.

use std::collections::BTreeMap;

use kdistro_formats::{
    Platform,
    plan::{ArchiveEntry, Component, Content, EntryContent, PlannedAsset},
    release::MediaType,
};

use super::{
    PlanError,
    steps::{Outputs, Recipes},
};
use crate::config::project::Archive;

/// Lists what is shipped, sorted by name.
pub(super) fn assets(
    recipes: &Recipes<'_>,
    outputs: &Outputs,
) -> Result<Vec<PlannedAsset>, PlanError> {
    let mut assets = Vec::new();
    let mut platforms: Vec<&Platform> = outputs.keys().map(|(platform, _)| platform).collect();
    platforms.dedup();
    for platform in platforms {
        for archive in &recipes.recipe.archives {
            assets.extend(packed(recipes, outputs, archive, platform)?);
        }
    }
    if let Some(folder) = &recipes.recipe.loose {
        for ((platform, program), output) in outputs {
            let name = format!("{}/{}", recipes.fill(folder, platform)?, output.name);
            assets.push(PlannedAsset {
                path: path(recipes, &name),
                name,
                description: format!("{program} binary for {platform}"),
                media_type: MediaType::Program,
                os: platform.os().to_owned(),
                arch: vec![platform.arch().to_owned()],
                content: Content::File { output: output.clone() },
            });
        }
    }
    assets.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(assets)
}

/// One archive for one platform; none where the platform has not all of its programs.
fn packed(
    recipes: &Recipes<'_>,
    outputs: &Outputs,
    archive: &Archive,
    platform: &Platform,
) -> Result<Option<PlannedAsset>, PlanError> {
    let folder = recipes.fill(&archive.folder, platform)?;
    let mut entries = Vec::new();
    for program in &archive.programs {
        let Some(output) = outputs.get(&(platform.clone(), program.clone())) else {
            return Ok(None);
        };
        let from = EntryContent::Output(output.clone());
        entries.push(ArchiveEntry { path: join(&folder, &output.name), executable: true, from });
    }
    let licenses = match &archive.license_folder {
        Some(folder) => recipes.fill(folder, platform)?,
        None => folder,
    };
    for license in &recipes.recipe.licenses {
        let from = EntryContent::Source { archive: recipes.content.archive, path: license.clone() };
        entries.push(ArchiveEntry { path: join(&licenses, license), executable: false, from });
    }
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    let name = recipes.fill(&archive.name, platform)?;
    Ok(Some(PlannedAsset {
        path: path(recipes, &name),
        name,
        description: format!("{} for {platform}", archive.description),
        media_type: MediaType::Gzip,
        os: platform.os().to_owned(),
        arch: vec![platform.arch().to_owned()],
        content: Content::Archive { mtime: recipes.content.commit_time, entries },
    }))
}

/// Where an asset lies below `artifacts/`, as EKS-D has it.
fn path(recipes: &Recipes<'_>, name: &str) -> String {
    let component = recipes.component;
    format!("{}/{}/{name}", component.project.repository(), component.tag)
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// Two components must not publish under one name.
pub(super) fn refuse_collisions(components: &[Component]) -> Result<(), PlanError> {
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for component in components {
        for asset in &component.assets {
            if let Some(first) = owners.insert(&asset.path, &component.name) {
                return Err(PlanError::Collision {
                    path: asset.path.clone(),
                    first: first.to_owned(),
                    second: component.name.clone(),
                });
            }
        }
    }
    Ok(())
}
