//! The assets of one component: images, archives, loose programs, the source, and an SBOM for each.

use std::collections::{BTreeMap, BTreeSet};

use kdistro_formats::{
    Platform, ProjectName,
    plan::{ArchiveEntry, Component, Content, EntryContent, PlannedAsset},
    release::MediaType,
};

use super::{
    Making, PlanError,
    steps::{Outputs, Recipes},
};
use crate::config::project::Archive;

impl Making<'_> {
    /// Lists what is shipped, sorted by name.
    pub(super) fn assets(
        &mut self,
        recipes: &Recipes<'_>,
        outputs: &Outputs,
    ) -> Result<Vec<PlannedAsset>, PlanError> {
        let mut assets = self.images(recipes, outputs)?;
        let platforms: BTreeSet<&Platform> = outputs.keys().map(|(platform, _)| platform).collect();
        for platform in platforms {
            for archive in &recipes.recipe.archives {
                assets.extend(packed(recipes, outputs, archive, platform)?);
            }
        }
        if let Some(folder) = &recipes.recipe.loose {
            assets.extend(loose(recipes, outputs, folder)?);
        }
        if let Some(name) = &recipes.recipe.source {
            assets.push(PlannedAsset {
                path: path(recipes, name),
                name: name.clone(),
                description: format!("{} source tarball", recipes.project.name),
                media_type: MediaType::Gzip,
                os: String::new(),
                arch: Vec::new(),
                content: Content::Source { archive: recipes.content.archive },
            });
        }
        let sboms: Vec<_> = assets.iter().filter_map(|asset| sbom(recipes, asset)).collect();
        assets.extend(sboms);
        assets.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(assets)
    }
}

fn loose(
    recipes: &Recipes<'_>,
    outputs: &Outputs,
    folder: &str,
) -> Result<Vec<PlannedAsset>, PlanError> {
    let mut assets = Vec::new();
    // What is only part of an image, such as its entry point, is no program to download.
    let inner: BTreeSet<_> = recipes.recipe.inner_programs().collect();
    for ((platform, program), output) in outputs {
        if inner.contains(program.as_str()) {
            continue;
        }
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
    Ok(assets)
}

/// The document that says what an asset consists of; none for what only repeats another.
fn sbom(recipes: &Recipes<'_>, asset: &PlannedAsset) -> Option<PlannedAsset> {
    let repeats = matches!(asset.content, Content::DockerArchive(_) | Content::Text { .. });
    let name = format!("{}.spdx.json", asset.name);
    (!repeats).then(|| PlannedAsset {
        path: path(recipes, &name),
        name,
        description: format!("SBOM of {}", asset.name),
        media_type: MediaType::Spdx,
        os: asset.os.clone(),
        arch: asset.arch.clone(),
        content: Content::Sbom { asset: asset.name.clone() },
    })
}

/// One archive for one platform; none where the platform has not all of its programs.
fn packed(
    recipes: &Recipes<'_>,
    outputs: &Outputs,
    archive: &Archive,
    platform: &Platform,
) -> Result<Option<PlannedAsset>, PlanError> {
    let folder = recipes.fill(&archive.folder, platform)?;
    let (mut entries, mut programs) = (Vec::new(), Vec::new());
    for program in &archive.programs {
        let Some(output) = outputs.get(&(platform.clone(), program.clone())) else {
            return Ok(None);
        };
        programs.push(output.clone());
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
    programs.sort();
    let from = EntryContent::Attribution { programs };
    entries.push(ArchiveEntry {
        path: join(&licenses, "ATTRIBUTION.txt"),
        executable: false,
        from,
    });
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
pub(super) fn path(recipes: &Recipes<'_>, name: &str) -> String {
    format!("{}/{}/{name}", recipes.source.repository(), recipes.component.tag)
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// Two projects must not publish under one name: neither a file, nor an image, nor what kubeadm asks for.
pub(super) fn refuse_collisions(components: &[Component]) -> Result<(), PlanError> {
    let mut owners: BTreeMap<String, &ProjectName> = BTreeMap::new();
    for component in components {
        for asset in &component.assets {
            let flat = match &asset.content {
                Content::Image(image) => image.flat.as_ref(),
                _ => None,
            };
            let flat = flat.map(|flat| format!("{}:{}", flat.name, flat.tag));
            for path in [asset.path.clone()].into_iter().chain(flat) {
                if let Some(first) = owners.insert(path.clone(), &component.project) {
                    let (first, second) = (first.clone(), component.project.clone());
                    return Err(PlanError::Collision { path, first, second });
                }
            }
        }
    }
    Ok(())
}
