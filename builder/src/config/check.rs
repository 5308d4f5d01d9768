//! Rules that hold between files. Pure: takes a workspace, gives its problems.

mod images;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

use kdistro_assemble::entry::EntryPath;

use super::{
    INPUTS, Problem, Workspace,
    channel::{Channel, Component},
    channel_file, inputs, lock_file,
    project::{self, Project, Recipe, StepLimits},
    project_file,
    template::NAMES,
};

/// Lists every problem; empty means the files agree.
pub fn check(workspace: &Workspace) -> Vec<Problem> {
    let mut problems = Vec::new();
    check_inputs(workspace, &mut problems);
    for (name, project) in &workspace.projects {
        let mut report = Reporter::new(workspace, project_file(name), &mut problems);
        check_project(project, &mut report);
    }
    for (name, channel) in &workspace.channels {
        let mut report = Reporter::new(workspace, channel_file(name), &mut problems);
        if channel.channel != *name {
            let found = &channel.channel;
            report.at(found, format!("channel `{found}` stands in the folder of `{name}`"));
        }
        check_channel(workspace, channel, &mut report);
    }
    for (name, lock) in &workspace.locks {
        let mut report = Reporter::new(workspace, lock_file(name), &mut problems);
        if lock.channel != *name {
            let found = &lock.channel;
            report.at(
                found,
                format!("locks channel `{found}`, but stands in the folder of `{name}`"),
            );
        }
        if !workspace.channels.contains_key(name) {
            report.whole(format!("locks a channel without {}", channel_file(name)));
        }
    }
    check_patches(workspace, &mut problems);
    problems
}

/// Collects the problems of one file and finds the line of what is meant.
struct Reporter<'a> {
    text: String,
    file: String,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Reporter<'a> {
    fn new(workspace: &Workspace, file: String, problems: &'a mut Vec<Problem>) -> Self {
        let bytes = workspace.files.get(&file).map(Vec::as_slice).unwrap_or_default();
        Self { text: String::from_utf8_lossy(bytes).into_owned(), file, problems }
    }

    /// Reports a problem with the first line that holds `value` as a whole word.
    fn at(&mut self, value: impl Display, message: String) {
        let value = value.to_string();
        let boundary = |c: char| !c.is_alphanumeric() && !"-_./".contains(c);
        let holds = |line: &str| {
            line.match_indices(&value).any(|(start, _)| {
                let before = line.get(..start).and_then(|text| text.chars().next_back());
                let after = line.get(start + value.len()..).and_then(|text| text.chars().next());
                before.is_none_or(boundary) && after.is_none_or(boundary)
            })
        };
        let code = |line: &str| !line.trim_start().starts_with('#');
        let line = self.text.lines().position(|line| code(line) && holds(line));
        let line = line.map_or(0, |index| index as u64 + 1);
        self.problems.push(Problem { file: self.file.clone(), line, message });
    }

    fn whole(&mut self, message: String) {
        self.problems.push(Problem::new(self.file.clone(), message));
    }
}

fn check_inputs(workspace: &Workspace, problems: &mut Vec<Problem>) {
    let mut report = Reporter::new(workspace, INPUTS.to_owned(), problems);
    let inputs = &workspace.inputs;
    let mut minors = BTreeSet::new();
    for go in &inputs.go {
        if !minors.insert(&go.minor) {
            report.at(&go.minor, format!("Go {} is listed twice", go.minor));
        }
        if !go.version.starts_with(&format!("{}.", go.minor)) {
            let inputs::Go { minor, version, .. } = go;
            report.at(
                version,
                format!("Go {minor} is to be {version}; expected a patch version of {minor}"),
            );
        }
        if inputs.root(&go.root).is_none() {
            let roots = list(inputs.roots.iter().map(|root| &root.name));
            report
                .at(&go.root, format!("unknown build root `{}`, expected one of {roots}", go.root));
        }
    }
    if inputs.debian.keys.is_empty() {
        report.at("debian", "lists no key that may sign the suite".to_owned());
    }
    for (what, roots) in [("build root", &inputs.roots), ("image base", &inputs.bases)] {
        let mut names = BTreeSet::new();
        for root in roots {
            if !names.insert(&root.name) {
                report.at(&root.name, format!("{what} `{}` is listed twice", root.name));
            }
            check_root(root, &mut report);
        }
    }
}

/// Whatever becomes a path in a root must stay in it.
fn check_root(root: &inputs::Root, report: &mut Reporter<'_>) {
    let links = root.links.iter().map(|link| &link.path);
    let files = root.files.iter().map(|file| &file.path);
    let joined = root.concatenations.iter().flat_map(|made| [&made.path, &made.folder]);
    for path in links.chain(files).chain(joined).chain(&root.directories) {
        if let Err(error) = EntryPath::new(path.clone()) {
            report.at(path, error.to_string());
        }
    }
}

fn check_project(project: &Project, report: &mut Reporter<'_>) {
    if !project.repository.starts_with("https://") {
        let found = &project.repository;
        report.at(found, format!("`{found}` is not a public https address"));
    }
    if project.recipes.is_empty() {
        report.whole("has no recipe".to_owned());
    }
    for recipe in &project.recipes {
        check_recipe(recipe, report);
        images::check(recipe, report);
    }
}

fn check_recipe(recipe: &Recipe, report: &mut Reporter<'_>) {
    let mut programs = BTreeSet::new();
    for program in recipe.programs() {
        if !programs.insert(program) {
            report.at(
                program,
                format!("program `{program}` is built twice by the recipe for `{}`", recipe.tags),
            );
        }
    }
    for build in &recipe.builds {
        for program in &build.programs {
            // `go build` names its outputs after the package, unless there is only one.
            let named =
                program.package.rsplit('/').next() == Some(&program.name) || program.package == ".";
            if !named && !program.test && build.programs.len() > 1 {
                let (name, package) = (&program.name, &program.package);
                report.at(package, format!("program `{name}` is built from `{package}` with others: the names must agree"));
            }
        }
        for template in build.variables.values() {
            check_template(template, report);
        }
    }
    let archives = recipe.archives.iter().map(|archive| (&archive.name, &archive.programs));
    let checks = recipe.checks.iter().map(|check| (&recipe.tags, &check.programs));
    let checks = checks.map(|(tags, programs)| (format!("the checks for `{tags}`"), programs));
    for (owner, used) in archives.map(|(name, used)| (format!("`{name}`"), used)).chain(checks) {
        for program in used.iter().filter(|program| !programs.contains(program.as_str())) {
            let known = list(programs.iter());
            report.at(program, format!("{owner} uses program `{program}`, which no build makes; expected one of {known}"));
        }
    }
    for template in recipe.archives.iter().flat_map(|a| [&a.name, &a.folder]).chain(&recipe.loose) {
        check_template(template, report);
    }
    check_paths(recipe, report);
    check_generate(recipe, report);
    let limits = recipe.builds.iter().map(|build| &build.limits);
    let limits = limits.chain(recipe.generate.iter().map(|step| &step.limits));
    for limits in limits.chain(recipe.commands.iter().map(|command| &command.limits)) {
        check_limits(limits, report);
    }
}

fn check_limits(limits: &StepLimits, report: &mut Reporter<'_>) {
    let most = &project::LIMITS;
    for (name, asked, most) in [
        ("seconds", limits.seconds, most.seconds),
        ("memoryBytes", limits.memory_bytes, most.memory_bytes),
        ("processes", limits.processes, most.processes),
        ("diskBytes", limits.disk_bytes, most.disk_bytes),
        ("logBytes", limits.log_bytes, most.log_bytes),
    ] {
        if let Some(asked) = asked.filter(|asked| *asked == 0 || *asked > most) {
            report.at(asked, format!("`{name}` is {asked}, expected 1 to {most}"));
        }
    }
}

/// Whatever becomes a path must stay where it belongs.
fn check_paths(recipe: &Recipe, report: &mut Reporter<'_>) {
    let archives = recipe.archives.iter().flat_map(|archive| {
        let folders = [Some(&archive.folder), archive.license_folder.as_ref()];
        folders.into_iter().flatten().filter(|folder| !folder.is_empty()).chain([&archive.name])
    });
    let steps = recipe.generate.iter().flat_map(|step| step.outputs.iter().chain(step.adds.keys()));
    let programs =
        recipe.builds.iter().flat_map(|build| &build.programs).map(|program| &program.name);
    let paths = archives.chain(steps).chain(programs).chain(&recipe.licenses).chain(&recipe.loose);
    for path in paths {
        if let Err(error) = EntryPath::new(path.clone()) {
            report.at(path, error.to_string());
        }
    }
    let names = recipe.archives.iter().map(|archive| &archive.name);
    for name in names.chain(recipe.builds.iter().flat_map(|b| &b.programs).map(|p| &p.name)) {
        if name.contains('/') {
            report.at(name, format!("`{name}` is a path, expected a file name"));
        }
    }
}

fn check_generate(recipe: &Recipe, report: &mut Reporter<'_>) {
    let mut earlier = BTreeSet::new();
    for step in &recipe.generate {
        for used in step.uses.iter().filter(|used| !earlier.contains(used.as_str())) {
            report.at(
                used,
                format!("step `{}` uses `{used}`, which is no step before it", step.name),
            );
        }
        for output in step.adds.values().filter(|output| !step.outputs.contains(output)) {
            report.at(
                output,
                format!("step `{}` adds `{output}`, which is none of its outputs", step.name),
            );
        }
        if !earlier.insert(step.name.as_str()) {
            report.at(&step.name, format!("step `{}` is listed twice", step.name));
        }
    }
}

fn check_template(text: &str, report: &mut Reporter<'_>) {
    let values = NAMES.iter().map(|name| (*name, String::new())).collect();
    if let Err(error) = super::template::fill(text, &values) {
        report.at(text, error.to_string());
    }
}

fn check_channel(workspace: &Workspace, channel: &Channel, report: &mut Reporter<'_>) {
    let (mut projects, mut names) = (BTreeSet::new(), BTreeMap::new());
    for component in &channel.components {
        let project = &component.project;
        if !projects.insert(project) {
            report.at(project, format!("ships `{project}` twice"));
        } else if let Some(found) = workspace.projects.get(project)
            && let Some(first) = names.insert(&found.name, project)
        {
            let name = &found.name;
            report.at(project, format!("`{project}` and `{first}` are both called `{name}`, which is what a release lists components by; expected another `name` in {}", project_file(project)));
        }
        check_component(workspace, component, report);
        images::check_platforms(workspace, channel, component, report);
    }
    if channel.platforms.is_empty() {
        report.whole("lists no platform".to_owned());
    }
}

fn check_component(workspace: &Workspace, component: &Component, report: &mut Reporter<'_>) {
    images::check_inputs(workspace, component, report);
    let (name, tag) = (&component.project, &component.tag);
    match workspace.projects.get(name) {
        None => {
            let known = list(workspace.projects.keys());
            report.at(name, format!("ships `{name}`, but projects/{name}/project.yaml does not exist; there are {known}"));
        }
        Some(_) if project::version(tag).is_none() => {
            report.at(
                tag,
                format!("tag `{tag}` of `{name}` is not a semantic version such as `v1.2.3`"),
            );
        }
        Some(project) if project.recipe(tag).is_none() => {
            let ranges = list(project.recipes.iter().map(|recipe| &recipe.tags));
            report.at(
                tag,
                format!("no recipe of `{name}` is for tag `{tag}`; there are recipes for {ranges}"),
            );
        }
        Some(_) => {}
    }
    if let Some(debian) = &component.debian
        && !debian.version.contains(tag.as_str().trim_start_matches('v'))
    {
        let version = &debian.version;
        report.at(version, format!("Debian version `{version}` of `{name}` is not of tag `{tag}`"));
    }
    if workspace.inputs.go(&component.go).is_none() {
        let (go, known) = (&component.go, list(workspace.inputs.go.iter().map(|go| &go.minor)));
        report.at(
            go,
            format!("`{name}` needs Go {go}, which {INPUTS} does not list; it lists {known}"),
        );
    }
}

fn check_patches(workspace: &Workspace, problems: &mut Vec<Problem>) {
    for folder in &workspace.patches {
        let used = |channel: &Channel| {
            let same = |c: &Component| {
                *workspace.source_of(&c.project) == folder.project && c.tag == folder.tag
            };
            channel.components.iter().any(same)
        };
        if !workspace.channels.values().any(used) {
            let message = "no channel ships this tag; remove the folder, or move its patches to the tag that is shipped";
            problems.push(Problem::new(folder.path(), message));
        }
    }
}

fn list<T: Display>(names: impl Iterator<Item = T>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
