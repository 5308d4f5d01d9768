//! Which variables carry versions: those that upstream's own scripts set, else those that are called like one.

use std::collections::BTreeMap;

use super::{
    Build, Files,
    go_mod::Module,
    linker::{Flag, Scripts, template},
    programs::{Packages, module_of},
    text_of,
};

/// Names of variables that carry versions, in packages that are called after them.
const NAMES: [&str; 16] = [
    "builddate",
    "buildtime",
    "buildversion",
    "commit",
    "commitid",
    "date",
    "gitcommit",
    "gitmajor",
    "gitminor",
    "gitrevision",
    "gitsha",
    "gittreestate",
    "gitversion",
    "revision",
    "sha",
    "version",
];

/// Sets variables and build tags of every build.
pub(super) fn set(
    builds: &mut [Build],
    files: &Files,
    modules: &[Module],
    packages: &Packages,
    remarks: &mut Vec<String>,
) {
    let scripts = scripts(files);
    let root = modules.first().map(|module| module.path.as_str()).unwrap_or_default();
    let scripts = Scripts::new(scripts.into_iter(), root);
    let tags = scripts.tags();
    let mut found = BTreeMap::new();
    for flag in scripts.flags() {
        if let Some(template) = judge(&flag, modules, packages, remarks) {
            found.entry(flag.symbol).or_insert(template);
        }
    }
    if found.is_empty() {
        found = declared(builds, modules, packages);
        remarks.push(match found.len() {
            0 => {
                "nothing was found that carries the version: see what the programs print".to_owned()
            }
            _ => "no build script sets variables: these are called as if they carry versions"
                .to_owned(),
        });
    }
    for build in builds {
        build.tags.clone_from(&tags);
        for (symbol, template) in &found {
            if reaches(build, symbol, packages) {
                build.variables.insert(symbol.clone(), (*template).to_owned());
            }
        }
    }
}

/// The template for what a script sets; a symbol that the source does not have is left out, and said so.
fn judge(
    flag: &Flag,
    modules: &[Module],
    packages: &Packages,
    remarks: &mut Vec<String>,
) -> Option<&'static str> {
    let Flag { symbol, value, file } = flag;
    let (package, variable) = symbol.rsplit_once('.')?;
    if symbol.contains(['$', '{', '(', ':']) {
        remarks.push(format!("{file} sets `{symbol}`, which could not be made out"));
        return None;
    }
    if !declares(package, variable, modules, packages) {
        remarks.push(format!("{file} sets `{symbol}`, which the source does not have"));
        return None;
    }
    let template = template(variable, value);
    if template.is_none() {
        remarks.push(format!("{file} sets `{symbol}` to `{value}`: left out"));
    }
    template
}

/// True where the source has the variable, or the package is somebody else's.
fn declares(package: &str, variable: &str, modules: &[Module], packages: &Packages) -> bool {
    let has = |folder: &str| packages.get(folder).is_some_and(|p| p.strings.contains(variable));
    if package == "main" {
        return packages.values().any(|p| p.package == "main" && p.strings.contains(variable));
    }
    let of = |module: &Module| Some((module.path.len(), module.folder_of(package)?));
    // Where one module's path lies in another's, the longer one has the package.
    let folder = modules.iter().filter_map(of).max();
    let elsewhere = package.split('/').next().is_some_and(|host| host.contains('.'));
    folder.map_or(elsewhere, |(_, folder)| has(&folder))
}

/// A variable of `main` is set in builds only of which a program has it.
fn reaches(build: &Build, symbol: &str, packages: &Packages) -> bool {
    let Some(variable) = symbol.strip_prefix("main.") else { return true };
    let folders = build.programs.iter().map(|(_, package)| {
        let package = package.trim_start_matches('.').trim_start_matches('/');
        let parts = [build.module.trim_start_matches('.'), package];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
    });
    let mut packages = folders.filter_map(|folder| packages.get(&folder));
    packages.any(|package| package.strings.contains(variable))
}

/// Variables in main packages and in packages called after versions.
fn declared(
    builds: &[Build],
    modules: &[Module],
    packages: &Packages,
) -> BTreeMap<String, &'static str> {
    let mut found = BTreeMap::new();
    for (folder, package) in packages {
        let about = package.package.to_lowercase();
        let about = about.contains("version") || about.contains("buildinfo");
        let Some(module) = module_of(modules, folder).filter(|_| about || package.starts) else {
            continue;
        };
        let path =
            if package.package == "main" { "main".to_owned() } else { module.package(folder) };
        for name in &package.strings {
            let symbol = format!("{path}.{name}");
            let reached = builds.iter().any(|build| reaches(build, &symbol, packages));
            let known = NAMES.contains(&name.to_lowercase().as_str());
            if let Some(template) = template(name, "").filter(|_| known && reached) {
                found.insert(symbol, template);
            }
        }
    }
    found
}

/// Build scripts: first what builds on a developer's machine, last what builds on a server.
fn scripts(files: &Files) -> Vec<(&str, &str)> {
    let mut found: Vec<_> = files
        .keys()
        .filter_map(|path| Some((rank(path)?, path.as_str(), text_of(files, path)?)))
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, path, text)| (path, text)).collect()
}

/// How telling a script is; none for what is no build script.
pub(super) fn rank(path: &str) -> Option<usize> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let depth = path.matches('/').count();
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    let kind = if name.starts_with("Makefile") || name == "GNUmakefile" || ends(&[".mk"]) {
        0
    } else if ends(&[".sh"]) || name == "build" || path.starts_with("hack/make-rules/") {
        10
    } else if name.starts_with("Dockerfile") || ends(&[".Dockerfile"]) {
        20
    } else if name.contains("goreleaser") && ends(&[".yml", ".yaml"]) {
        30
    } else if path.starts_with(".github/workflows/") && ends(&[".yml", ".yaml"]) {
        40
    } else {
        return None;
    };
    Some(kind + depth.min(9))
}
