//! The images of one component, for every Linux platform that has all of their programs.

use std::collections::{BTreeMap, BTreeSet};

use kdistro_formats::{
    Platform,
    plan::{
        Content, DockerArchive, EntryContent, FlatName, Image, ImageConfig, ImageEntry,
        PlannedAsset, PlatformImage,
    },
    release::MediaType,
};

use super::{
    Making, PlanError,
    assets::path,
    steps::{Outputs, Recipes},
};
use crate::config::{project, project_file};

/// Where everything lies that an image of ours can start.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The registry that tools expect in the names of images in files.
///
/// Source: kops, which looks for `registry.k8s.io/<name>-<arch>:<.docker_tag>`.
const DOCKER_REGISTRY: &str = "registry.k8s.io";

impl Making<'_> {
    /// Lists images, and the files that hold them for tools without a registry.
    pub(super) fn images(
        &mut self,
        recipes: &Recipes<'_>,
        outputs: &Outputs,
    ) -> Result<Vec<PlannedAsset>, PlanError> {
        let mut assets = Vec::new();
        for image in &recipes.recipe.images {
            let mut platforms = Vec::new();
            for platform in
                self.platforms.clone().iter().filter(|platform| platform.os() == "linux")
            {
                platforms.extend(self.platform_image(recipes, outputs, image, platform)?);
            }
            let Some(first) = platforms.first().map(|first| first.platform.clone()) else {
                continue;
            };
            let name = format!("{}-image", image.name);
            for PlatformImage { platform, .. } in &platforms {
                if let Some(file) = &image.archive {
                    assets.extend(files(recipes, (&name, image), file, platform)?);
                }
            }
            let owner = recipes.source.owner();
            let repository = image.repository.clone();
            let repository = repository.unwrap_or_else(|| format!("{owner}/{}", image.name));
            let flat = image.flat.as_ref().map(|flat| {
                let tag = image_tag(&recipes.fill(&flat.tag, &first)?);
                Ok::<_, PlanError>(FlatName { name: flat.name.clone(), tag })
            });
            assets.push(PlannedAsset {
                path: repository.clone(),
                name,
                description: format!("{} container image", image.name),
                media_type: MediaType::Index,
                os: "linux".to_owned(),
                arch: platforms.iter().map(|image| image.platform.arch().to_owned()).collect(),
                content: Content::Image(Image {
                    repository,
                    created: recipes.content.commit_time,
                    flat: flat.transpose()?,
                    annotations: annotations(recipes, image),
                    platforms,
                }),
            });
        }
        Ok(assets)
    }

    /// One platform of an image; none where it has not all of its programs.
    fn platform_image(
        &mut self,
        recipes: &Recipes<'_>,
        outputs: &Outputs,
        image: &project::Image,
        platform: &Platform,
    ) -> Result<Option<PlatformImage>, PlanError> {
        let (mut entries, mut programs) = (Vec::new(), BTreeSet::new());
        for (path, program) in &image.files {
            let Some(output) = outputs.get(&(platform.clone(), program.clone())) else {
                return Ok(None);
            };
            programs.insert(output.clone());
            entries.push(ImageEntry {
                path: path.clone(),
                executable: true,
                capabilities: image.capabilities.get(path).cloned().unwrap_or_default(),
                from: EntryContent::Output(output.clone()),
            });
        }
        let text = |path: String, from| ImageEntry {
            path,
            executable: false,
            capabilities: Vec::new(),
            from,
        };
        for license in &recipes.recipe.licenses {
            let (archive, path) = (recipes.content.archive, license.clone());
            let from = EntryContent::Source { archive, path };
            entries.push(text(format!("LICENSES/{license}"), from));
        }
        let programs = programs.into_iter().collect();
        for (path, source) in &image.sources {
            let (archive, source) = (recipes.content.archive, source.clone());
            let from = EntryContent::Source { archive, path: source };
            entries.push(text(path.clone(), from));
        }
        entries.push(text("ATTRIBUTION.txt".to_owned(), EntryContent::Attribution { programs }));
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        let base = match &image.base {
            None => None,
            Some(name) => {
                let missing = || PlanError::Recipe {
                    file: project_file(&recipes.component.project),
                    what: format!("needs image base `{name}`, which is not listed"),
                };
                let base = self.workspace.inputs.base(name).ok_or_else(missing)?;
                Some(self.base(base, platform)?)
            }
        };
        let mut env = image.env.clone();
        env.entry("PATH".to_owned()).or_insert_with(|| SEARCH_PATH.to_owned());
        let config = ImageConfig {
            entrypoint: image.entrypoint.clone(),
            command: image.command.clone(),
            user: image.user.clone(),
            env,
            working_directory: String::new(),
            ports: image.ports.clone(),
            labels: annotations(recipes, image),
        };
        Ok(Some(PlatformImage { platform: platform.clone(), base, entries, config }))
    }
}

/// One platform of an image as files: what `docker load` reads, and the tag in it.
fn files(
    recipes: &Recipes<'_>,
    (asset, image): (&str, &project::Image),
    file: &str,
    platform: &Platform,
) -> Result<[PlannedAsset; 2], PlanError> {
    let file = recipes.fill(file, platform)?;
    let tag = image_tag(&recipes.fill("$(gitVersion)", platform)?);
    let full = format!("{DOCKER_REGISTRY}/{}-{}:{tag}", image.name, platform.arch());
    let archive = DockerArchive { image: asset.to_owned(), platform: platform.clone(), tag: full };
    let make = |suffix: &str, media_type, what: &str, content| {
        let name = format!("{file}.{suffix}");
        PlannedAsset {
            path: path(recipes, &name),
            name,
            description: format!("{} {what} for {platform}", image.name),
            media_type,
            os: platform.os().to_owned(),
            arch: vec![platform.arch().to_owned()],
            content,
        }
    };
    Ok([
        make("tar", MediaType::Tar, "container image tar", Content::DockerArchive(archive)),
        make("docker_tag", MediaType::Text, "container image tag", Content::Text { text: tag }),
    ])
}

/// A version as the tag of an image: `+` is not allowed there.
///
/// Source: OCI distribution-spec, "Pulling manifests"; kubeadm's `KubernetesVersionToImageTag`.
fn image_tag(version: &str) -> String {
    version.replace('+', "_")
}

/// What scanners and people read about an image.
///
/// Source: OCI image-spec, annotations.md, "Pre-Defined Annotation Keys".
fn annotations(recipes: &Recipes<'_>, image: &project::Image) -> BTreeMap<String, String> {
    let content = recipes.content;
    let mut annotations = BTreeMap::from([
        ("created", crate::time::rfc3339(content.commit_time)),
        ("licenses", recipes.project.license.clone()),
        ("revision", content.patched_commit.as_str().to_owned()),
        ("source", recipes.project.repository.clone()),
        ("title", image.name.clone()),
        ("version", recipes.component.tag.to_string()),
    ]);
    if let Some(base) = &image.base {
        annotations.insert("base.name", base.clone());
    }
    let full = |(key, value): (&str, String)| (format!("org.opencontainers.image.{key}"), value);
    annotations.into_iter().map(full).collect()
}
