//! Looks at an upstream's source and writes a first project file: what is built, from which modules, with which
//! version variables and licences. Pure but for [`look`].

mod constraint;
mod go_file;
mod go_mod;
mod linker;
mod look;
mod near;
mod programs;

/// True for a file of Go that is no test.
fn is_code(path: &str) -> bool {
    path.strip_suffix(".go").is_some_and(|stem| !stem.ends_with("_test"))
}

#[cfg(test)]
mod tests;
mod variables;
mod write;

use std::collections::{BTreeMap, BTreeSet};

use kdistro_assemble::licenses::{FileKind, kind_of};
use kdistro_formats::{ParseNameError, ProjectName, Tag};

use self::{go_file::GoFile, go_mod::Module, programs::Packages};
pub use self::{
    look::{LookError, look},
    write::text,
};
use crate::config::project;

/// The files of a source that say how it is built, by path.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What is known before the source is looked at.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The public address.
    pub url: String,
    /// Owner and repository.
    pub project: ProjectName,
    /// The tag that was looked at.
    pub tag: Tag,
    /// The component's name.
    pub name: String,
}

/// How a source looks like it is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sketch {
    /// The minor version of Go, such as `1.26`.
    pub go: Option<String>,
    /// The licence as an SPDX expression, where the text is a known one.
    pub license: Option<String>,
    /// Licence files at the top.
    pub licenses: Vec<String>,
    /// What is compiled.
    pub builds: Vec<Build>,
    /// What a person has to look at.
    pub remarks: Vec<String>,
}

/// The programs of one module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// The module's folder, `.` for the top.
    pub module: String,
    /// True where the source has its own `vendor` folder.
    pub vendored: bool,
    /// True where that folder is of a go.work.
    pub workspace: bool,
    /// Build tags.
    pub tags: Vec<String>,
    /// Templates by symbol.
    pub variables: BTreeMap<String, String>,
    /// Names and packages.
    pub programs: Vec<(String, String)>,
}

/// Why there is no sketch.
#[derive(Debug, thiserror::Error)]
pub enum NewProjectError {
    /// The address names no project.
    #[error("`{0}` is not an upstream's address; expected `https://<host>/<owner>/<repository>`")]
    Address(String),
    /// The address names something that is no project's name.
    #[error("cannot name a project after `{url}`")]
    Project {
        /// The address.
        url: String,
        /// Why.
        source: ParseNameError,
    },
    /// The component's name is none.
    #[error("`{0}` is not a component's name; expected lowercase letters, digits, `-` and `.`")]
    Name(String),
    /// Recipes are for ranges of semantic versions.
    #[error("tag `{0}` is not a semantic version such as `v1.2.3`, which recipes are chosen by")]
    Tag(Tag),
    /// Upstream has no such tag.
    #[error("{url} has no tag `{tag}`; {}", listed(.near))]
    NoTag {
        /// The address.
        url: String,
        /// The tag.
        tag: Tag,
        /// Tags that may be meant.
        near: Vec<Tag>,
    },
    /// No go.mod.
    #[error("the source has no go.mod: write its project file by hand")]
    NoModule,
    /// No main package.
    #[error("the source has no package that makes a program for linux/amd64")]
    NoProgram,
}

fn listed(tags: &[Tag]) -> String {
    let tags: Vec<_> = tags.iter().map(|tag| format!("`{tag}`")).collect();
    if tags.is_empty() { "it has none".to_owned() } else { format!("near it: {}", tags.join(", ")) }
}

/// Says that an upstream with these tags has not the one that is wanted, if so.
pub fn no_tag(url: &str, tag: &Tag, tags: &[Tag]) -> Option<NewProjectError> {
    if tags.contains(tag) {
        return None;
    }
    let near = near::near(tag, tags);
    Some(NewProjectError::NoTag { url: url.to_owned(), tag: tag.clone(), near })
}

impl Subject {
    /// Reads owner and repository out of an address; the component is named after the repository unless `name` is given.
    pub fn new(url: &str, tag: &Tag, name: Option<&str>) -> Result<Self, NewProjectError> {
        let url = url.trim_end_matches('/').trim_end_matches(".git").to_owned();
        let wrong = || NewProjectError::Address(url.clone());
        let path = url.strip_prefix("https://").ok_or_else(wrong)?;
        let mut words = path.rsplit('/');
        let (repository, owner) = words.next().zip(words.next()).ok_or_else(wrong)?;
        words.next().ok_or_else(wrong)?;
        let project = format!("{owner}/{repository}").parse();
        let project =
            project.map_err(|source| NewProjectError::Project { url: url.clone(), source })?;
        let name = name.map_or_else(|| repository.to_lowercase(), str::to_owned);
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !begins || !name.chars().all(letter) || name.contains("..") {
            return Err(NewProjectError::Name(name));
        }
        if project::version(tag).is_none() {
            return Err(NewProjectError::Tag(tag.clone()));
        }
        Ok(Self { url, project, tag: tag.clone(), name })
    }
}

/// Sketches how a source is built; `identify` names the licences in a text.
pub fn sketch(
    subject: &Subject,
    files: &Files,
    identify: &dyn Fn(&str) -> Vec<String>,
) -> Result<Sketch, NewProjectError> {
    let mut remarks = Vec::new();
    let modules = modules(files);
    if modules.is_empty() {
        return Err(NewProjectError::NoModule);
    }
    let packages = packages(files);
    let mut builds = programs::builds(subject, files, &modules, &packages, &mut remarks);
    if builds.is_empty() {
        return Err(NewProjectError::NoProgram);
    }
    variables::set(&mut builds, files, &modules, &packages, &mut remarks);
    let licenses = licenses(files);
    let license = license(files, &licenses, identify);
    if license.is_none() {
        remarks.push("the licence is none that is known: write its SPDX expression".to_owned());
    }
    let built = modules.iter().find(|module| builds.iter().any(|b| is_of(b, module)));
    let pinned = text_of(files, ".go-version").and_then(go_mod::minor);
    let go = pinned.or_else(|| go_mod::minor(built?.go.as_deref()?));
    if go.is_none() {
        remarks.push("the source does not say which Go it wants".to_owned());
    }
    remarks.sort();
    remarks.dedup();
    Ok(Sketch { go, license, licenses, builds, remarks })
}

fn is_of(build: &Build, module: &Module) -> bool {
    build.module == if module.folder.is_empty() { "." } else { &module.folder }
}

fn text_of<'a>(files: &'a Files, path: &str) -> Option<&'a str> {
    files.get(path).and_then(|bytes| str::from_utf8(bytes).ok())
}

/// The folder of a path, empty for the top.
fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Every Go module, sorted by folder.
fn modules(files: &Files) -> Vec<Module> {
    let found = files.keys().filter(|path| *path == "go.mod" || path.ends_with("/go.mod"));
    let read = |path: &String| Module::read(folder(path), text_of(files, path)?);
    let mut modules: Vec<_> = found.filter_map(read).collect();
    modules.sort_by(|a, b| a.folder.cmp(&b.folder));
    modules
}

/// Every package by folder: the files that count, as one.
fn packages(files: &Files) -> Packages {
    let mut packages: BTreeMap<String, GoFile> = BTreeMap::new();
    for path in files.keys().filter(|path| is_code(path)) {
        let Some(file) = text_of(files, path).and_then(|text| go_file::read(path, text)) else {
            continue;
        };
        let package = packages.entry(folder(path).to_owned()).or_default();
        if package.package.is_empty() {
            package.package = file.package;
        }
        package.starts |= file.starts;
        package.strings.extend(file.strings);
    }
    packages
}

/// Licence files at the top but those of third parties, which the tool collects itself.
fn licenses(files: &Files) -> Vec<String> {
    let top = files.keys().filter(|path| !path.contains('/') && kind_of(path).is_some());
    let own = top.filter(|path| !path.to_lowercase().contains("third"));
    own.cloned().collect()
}

fn license(
    files: &Files,
    licenses: &[String],
    identify: &dyn Fn(&str) -> Vec<String>,
) -> Option<String> {
    let texts = licenses.iter().filter(|path| kind_of(path) == Some(FileKind::License));
    let found: BTreeSet<String> =
        texts.filter_map(|path| text_of(files, path)).flat_map(identify).collect();
    let names: Vec<_> = found.into_iter().collect();
    (!names.is_empty()).then(|| names.join(" AND "))
}
