//! Rules for images, for programs that Go does not build, and for platforms beside the channel's.

use std::collections::{BTreeMap, BTreeSet};

use kdistro_assemble::entry::EntryPath;
use kdistro_formats::Platform;

use super::{Reporter, Workspace, check_template, list};
use crate::config::{
    INPUTS,
    channel::{Channel, Component},
    inputs::Go,
    project::{Image, Recipe},
};

/// The first minor version of Go 1 that compiles for each platform that we know.
///
/// Source: `go tool dist list` and Go's release notes (1.16: darwin/arm64, 1.17: windows/arm64).
const GO_PLATFORMS: &[(&str, u32)] = &[
    ("darwin/amd64", 0),
    ("darwin/arm64", 16),
    ("linux/amd64", 0),
    ("linux/arm64", 5),
    ("windows/amd64", 0),
    ("windows/arm64", 17),
];

/// Checks what a recipe says of images and commands.
pub(super) fn check(recipe: &Recipe, report: &mut Reporter<'_>) {
    let programs: BTreeSet<_> = recipe.programs().collect();
    let mut names = BTreeSet::new();
    for image in &recipe.images {
        if !names.insert(&image.name) {
            report.at(&image.name, format!("image `{}` is listed twice", image.name));
        }
        for program in image.files.values().filter(|program| !programs.contains(program.as_str())) {
            let (name, known) = (&image.name, list(programs.iter()));
            report.at(program, format!("image `{name}` holds program `{program}`, which nothing makes; expected one of {known}"));
        }
        for path in image.capabilities.keys().filter(|path| !image.files.contains_key(*path)) {
            let (name, known) = (&image.name, list(image.files.keys()));
            report.at(path, format!("image `{name}` gives capabilities to `{path}`, which it does not hold; expected one of {known}"));
        }
        check_image(image, report);
    }
    for command in &recipe.commands {
        command.argv.iter().chain(&command.links).for_each(|text| check_template(text, report));
        for output in command.outputs.iter().filter(|output| output.contains('/')) {
            report.at(output, format!("`{output}` is a path, expected a file name"));
        }
    }
}

fn check_image(image: &Image, report: &mut Reporter<'_>) {
    for path in image.files.keys().chain(image.sources.keys()) {
        if let Err(error) = EntryPath::new(path.clone()) {
            report.at(path, error.to_string());
        }
    }
    let starts = image.entrypoint.first();
    if !starts.is_some_and(|path| image.files.contains_key(path.trim_start_matches('/'))) {
        let name = &image.name;
        report.at(name, format!("image `{name}` starts none of its files: `entrypoint` must begin with the path of one"));
    }
    if !image.user.is_empty() && image.user.split(':').any(|part| part.parse::<u32>().is_err()) {
        let (name, user) = (&image.name, &image.user);
        report.at(user, format!("image `{name}` runs as `{user}`, expected a number such as `65535` or `65535:65535`"));
    }
    for port in &image.ports {
        let right = port.split_once('/').is_some_and(|(number, protocol)| {
            number.parse::<u16>().is_ok() && ["tcp", "udp"].contains(&protocol)
        });
        if !right {
            report.at(port, format!("port `{port}` is not such as `2379/tcp`"));
        }
    }
    let flat = image.flat.iter().flat_map(|flat| [&flat.name, &flat.tag]);
    flat.chain(&image.archive).for_each(|text| check_template(text, report));
}

/// Checks that the roots and bases of a component exist.
pub(super) fn check_inputs(
    workspace: &Workspace,
    component: &Component,
    report: &mut Reporter<'_>,
) {
    let Some(project) = workspace.projects.get(&component.project) else { return };
    if let Some(source) =
        project.source.as_ref().filter(|source| !workspace.projects.contains_key(*source))
    {
        report.at(
            source,
            format!(
                "`{}` is built from the source of `{source}`, which is no project",
                component.project
            ),
        );
    }
    let Some(recipe) = project.recipe(&component.tag) else { return };
    let inputs = &workspace.inputs;
    for base in recipe.images.iter().filter_map(|image| image.base.as_ref()) {
        if inputs.base(base).is_none() {
            let (name, known) = (&component.project, list(inputs.bases.iter().map(|b| &b.name)));
            report.at(name, format!("`{name}` needs image base `{base}`, which {INPUTS} does not list; it lists {known}"));
        }
    }
    for root in recipe.commands.iter().map(|command| &command.root) {
        if inputs.root(root).is_none() {
            let (name, known) = (&component.project, list(inputs.roots.iter().map(|r| &r.name)));
            report.at(name, format!("`{name}` needs build root `{root}`, which {INPUTS} does not list; it lists {known}"));
        }
    }
}

/// Checks that the Go of a component can compile for every platform that one of its programs is built for.
pub(super) fn check_platforms(
    workspace: &Workspace,
    channel: &Channel,
    component: &Component,
    report: &mut Reporter<'_>,
) {
    let project = workspace.projects.get(&component.project);
    let recipe = project.and_then(|project| project.recipe(&component.tag));
    let (Some(recipe), Some(go)) = (recipe, workspace.inputs.go(&component.go)) else { return };
    let mut asked: BTreeMap<&Platform, Vec<&String>> = BTreeMap::new();
    for build in &recipe.builds {
        let usual = if build.platforms.is_empty() { &channel.platforms } else { &build.platforms };
        for program in &build.programs {
            let platforms: BTreeSet<_> = usual.iter().chain(&program.also).collect();
            for platform in platforms {
                asked.entry(platform).or_default().push(&program.name);
            }
        }
    }
    for (platform, programs) in asked {
        let Some(what) = cannot_build(go, platform) else { continue };
        let (name, programs) = (&component.project, list(programs.into_iter()));
        report.at(name, format!("`{name}` is to build {programs} for {platform}, {what}"));
    }
}

/// Says why a toolchain cannot compile for a platform; none when it can.
pub(super) fn cannot_build(go: &Go, platform: &Platform) -> Option<String> {
    let Some((_, since)) = GO_PLATFORMS.iter().find(|(name, _)| *name == platform.as_str()) else {
        let known = list(GO_PLATFORMS.iter().map(|(name, _)| name));
        return Some(format!("which is not supported; expected one of {known}"));
    };
    let minor = go.minor.split_once('.').and_then(|(_, minor)| minor.parse::<u32>().ok());
    let can = minor.is_some_and(|minor| minor >= *since);
    let advice = "take a newer `go` for it, or leave the platform out";
    (!can).then(|| format!("which Go {} cannot; Go can from 1.{since} on: {advice}", go.minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_that_a_toolchain_cannot_compile_for_is_named_with_the_first_that_can() {
        let go = |minor: &str| Go {
            minor: minor.to_owned(),
            version: format!("{minor}.1"),
            root: "static".to_owned(),
        };
        let apple: Platform = "darwin/arm64".parse().unwrap();
        let found = cannot_build(&go("1.15"), &apple).unwrap();
        assert!(found.starts_with("which Go 1.15 cannot; Go can from 1.16 on: "), "{found}");
        assert_eq!(cannot_build(&go("1.16"), &apple), None);
        assert_eq!(cannot_build(&go("1.15"), &"linux/arm64".parse().unwrap()), None);
    }
}
