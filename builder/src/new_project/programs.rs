//! Which packages make programs, and in which modules they lie.

use std::collections::{BTreeMap, BTreeSet};

use super::{Build, Files, Subject, go_file::GoFile, go_mod::Module, text_of};

/// Packages by folder.
pub(super) type Packages = BTreeMap<String, GoFile>;

/// Folders of what is not shipped: for tests, for whoever works on the source, for show.
const ASIDE: [&str; 26] = [
    "benchmark",
    "benchmarks",
    "build",
    "ci",
    "contrib",
    "doc",
    "docs",
    "e2e",
    "example",
    "examples",
    "functional",
    "hack",
    "integration",
    "internal",
    "sample",
    "samples",
    "script",
    "scripts",
    "staging",
    "test",
    "testing",
    "tests",
    "testutils",
    "third_party",
    "tool",
    "tools",
];

/// Names of folders that say nothing of the program in them.
const GENERAL: [&str; 5] = ["app", "cmd", "daemon", "main", "server"];

/// Lists what is compiled: one build for each module with programs.
pub(super) fn builds(
    subject: &Subject,
    files: &Files,
    modules: &[Module],
    packages: &Packages,
    remarks: &mut Vec<String>,
) -> Vec<Build> {
    let starts = |package: &&GoFile| package.package == "main" && package.starts;
    let all: Vec<&String> =
        packages.iter().filter(|(_, p)| starts(p)).map(|(folder, _)| folder).collect();
    let is_aside = |folder: &str| folder.split('/').any(|word| ASIDE.contains(&word));
    let (aside, shipped): (Vec<&String>, Vec<&String>) =
        all.into_iter().partition(|folder| is_aside(folder));
    let chosen = if shipped.is_empty() { aside.clone() } else { shipped };
    if !aside.is_empty() && chosen != aside {
        let names: Vec<_> = aside.iter().map(|folder| format!("./{folder}")).collect();
        remarks.push(format!("left out as not shipped: {}", names.join(", ")));
    }
    let mut by_module: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    for folder in chosen {
        if let Some(module) = module_of(modules, folder) {
            by_module.entry(&module.folder).or_default().push(folder);
        }
    }
    let mut names = BTreeSet::new();
    let mut builds = Vec::new();
    for module in modules {
        let Some(folders) = by_module.get(module.folder.as_str()) else { continue };
        let mut build = empty(files, module);
        for folder in folders {
            let (name, package) = program(subject, module, folder, folders.len() == 1);
            if names.insert(name.clone()) {
                build.programs.push((name, package));
            } else {
                remarks.push(format!("./{folder} is left out: another program is `{name}`, too"));
            }
        }
        if !build.programs.is_empty() {
            builds.push(build);
        }
    }
    builds
}

/// The module that a folder belongs to: the nearest above it.
pub(super) fn module_of<'a>(modules: &'a [Module], folder: &str) -> Option<&'a Module> {
    let above = |module: &&Module| {
        let rest = folder.strip_prefix(&module.folder);
        module.folder.is_empty() || rest.is_some_and(|r| r.is_empty() || r.starts_with('/'))
    };
    modules.iter().filter(above).max_by_key(|module| module.folder.len())
}

fn program(subject: &Subject, module: &Module, folder: &str, alone: bool) -> (String, String) {
    let inner = folder.strip_prefix(&module.folder).unwrap_or(folder).trim_start_matches('/');
    let (name, package) = match inner.rsplit('/').next() {
        None | Some("") => (module.program(), ".".to_owned()),
        Some(last) => (last, format!("./{inner}")),
    };
    // Only a program that is built alone may have another name than its folder.
    let name = if alone && GENERAL.contains(&name) {
        subject.project.as_str().rsplit('/').next().unwrap_or(name)
    } else {
        name
    };
    (name.to_owned(), package)
}

fn empty(files: &Files, module: &Module) -> Build {
    let below = |name: &str| match module.folder.as_str() {
        "" => name.to_owned(),
        folder => format!("{folder}/{name}"),
    };
    let listed = |path: &str| text_of(files, path);
    // `go work vendor` says so in the first line, and there is one such folder for all modules.
    let shared = listed("vendor/modules.txt")
        .and_then(|text| text.lines().next())
        .is_some_and(|line| line.starts_with("## workspace"));
    let workspace = shared && files.contains_key("go.work");
    let own = files.contains_key(&below("vendor/modules.txt"));
    Build {
        module: if module.folder.is_empty() { ".".to_owned() } else { module.folder.clone() },
        vendored: workspace || own,
        workspace,
        tags: Vec::new(),
        variables: BTreeMap::new(),
        programs: Vec::new(),
    }
}
