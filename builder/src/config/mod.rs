//! The declarative files as types. Pure: file contents in, a [`Workspace`] or the list of problems out.
//!
//! What is built and how stands in `projects/`, which versions in `release-manifests/`, what is changed in
//! `patches/`; where bytes go today in `infra/environments/` and never here.

pub mod channel;
pub mod check;
pub mod distribution;
pub mod environment;
pub mod inputs;
pub mod lock;
pub mod patches;
pub mod project;
pub mod template;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use kdistro_formats::{
    ChannelName, ProjectName,
    yaml::{self, YamlError},
};
use serde::de::DeserializeOwned;

use self::{
    channel::{Channel, Component},
    distribution::Distribution,
    inputs::Inputs,
    lock::Lock,
    patches::PatchFolder,
    project::{Project, Recipe},
};

/// Path of the inputs file.
pub const INPUTS: &str = "projects/inputs.yaml";
/// Path of the distribution file.
pub const DISTRIBUTION: &str = "release-manifests/distribution.yaml";

/// Folder of the custom resource definitions. Published names never change content: a changed definition gets a new file name.
pub const CRDS: &str = "release-manifests/crds/";

/// Contents of configuration files by path from the top of the build repository.
pub type Files = BTreeMap<String, Vec<u8>>;

/// All declarative files of the build repository.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// Public names and addresses.
    pub distribution: Distribution,
    /// Toolchains and build roots.
    pub inputs: Inputs,
    /// Projects by name.
    pub projects: BTreeMap<ProjectName, Project>,
    /// Channels by name.
    pub channels: BTreeMap<ChannelName, Channel>,
    /// Locks by channel; a channel that was never locked has none.
    pub locks: BTreeMap<ChannelName, Lock>,
    /// Patch folders by project and tag.
    pub patches: Vec<PatchFolder>,
    /// The files as they were read.
    pub files: Files,
}

/// Something wrong in the declarative files, with the file to fix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// File, relative to the top of the build repository.
    pub file: String,
    /// Line from 1, or 0 when the file as a whole is meant.
    pub line: u64,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl Problem {
    /// A problem of a file as a whole.
    pub fn new(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self { file: file.into(), line: 0, message: message.into() }
    }

    /// What the reader of YAML found; the line stands beside the file, and is not said twice.
    pub fn of_yaml(file: impl Into<String>, error: &YamlError) -> Self {
        let YamlError { path, message, line, column } = error;
        let place = if path == "." { String::new() } else { format!("at `{path}`: ") };
        let column = if *line == 0 { String::new() } else { format!(" (column {column})") };
        let message = format!("{place}{}{column}", in_plain_words(message));
        Self { file: file.into(), line: *line, message }
    }
}

/// Says without words of Rust what the reader of YAML has in them.
fn in_plain_words(message: &str) -> &str {
    // Of serde-saphyr, whose `Option<String>` is nothing that whoever writes YAML can use.
    if message.starts_with("cannot deserialize null into string") {
        return "found nothing, expected a text";
    }
    message
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.message),
            line => write!(f, "{}:{line}: {}", self.file, self.message),
        }
    }
}

/// Path of a project's file.
pub fn project_file(project: &ProjectName) -> String {
    format!("projects/{project}/project.yaml")
}

/// Path of a channel's file.
pub fn channel_file(channel: &ChannelName) -> String {
    format!("release-manifests/{channel}/channel.yaml")
}

/// Path of a channel's lock.
pub fn lock_file(channel: &ChannelName) -> String {
    format!("release-manifests/{channel}/channel.lock.yaml")
}

impl Workspace {
    /// Reads all files and checks the rules that hold between them. Lists every problem, sorted.
    pub fn read(files: Files) -> Result<Self, Vec<Problem>> {
        let mut reading = Reading { files: &files, problems: Vec::new() };
        let distribution = reading.required(DISTRIBUTION);
        let inputs = reading.required(INPUTS);
        let (mut projects, mut channels, mut locks) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for path in files.keys() {
            let parts: Vec<_> = path.split('/').collect();
            match parts.as_slice() {
                ["projects", owner, name, "project.yaml"] => {
                    reading.insert(path, &format!("{owner}/{name}"), &mut projects);
                }
                ["release-manifests", channel, "channel.yaml"] => {
                    reading.insert(path, channel, &mut channels);
                }
                ["release-manifests", channel, "channel.lock.yaml"] => {
                    reading.insert(path, channel, &mut locks);
                }
                ["projects", "inputs.yaml"]
                | ["release-manifests", "distribution.yaml"]
                | ["patches", ..]
                | ["release-manifests", "crds", _] => {}
                _ => reading.problems.push(Problem::new(path, "is not a file that kdistro reads")),
            }
        }
        let patches = patches::read(&files, &mut reading.problems);
        let mut problems = reading.problems;
        let (Some(distribution), Some(inputs)) = (distribution, inputs) else {
            problems.sort();
            return Err(problems);
        };
        let whole = problems.is_empty();
        let workspace = Self { distribution, inputs, projects, channels, locks, patches, files };
        // A file that could not be read makes the rules between files report nonsense.
        if whole {
            problems = check::check(&workspace);
        }
        problems.sort();
        if problems.is_empty() { Ok(workspace) } else { Err(problems) }
    }

    /// Returns the project whose source, patches and mirror a project uses: its own, unless it says otherwise.
    pub fn source_of<'a>(&'a self, project: &'a ProjectName) -> &'a ProjectName {
        self.projects.get(project).and_then(|project| project.source.as_ref()).unwrap_or(project)
    }

    /// Returns the recipe by which a component is built.
    pub fn recipe(&self, component: &Component) -> Option<&Recipe> {
        self.projects.get(&component.project)?.recipe(&component.tag)
    }

    /// Lists the build roots that the components of a channel are built in: their Go's, and those of single commands.
    pub fn roots_of(&self, channel: &Channel) -> BTreeSet<&str> {
        let go = channel.components.iter().filter_map(|component| self.inputs.go(&component.go));
        let recipes = channel.components.iter().filter_map(|component| self.recipe(component));
        let commands = recipes.flat_map(|recipe| &recipe.commands);
        go.map(|go| go.root.as_str()).chain(commands.map(|command| command.root.as_str())).collect()
    }

    /// Lists the bases of all images of a channel.
    pub fn bases_of(&self, channel: &Channel) -> BTreeSet<&str> {
        let recipes = channel.components.iter().filter_map(|component| self.recipe(component));
        recipes
            .flat_map(|recipe| &recipe.images)
            .filter_map(|image| image.base.as_deref())
            .collect()
    }

    /// Returns the patch folder of a project and tag.
    pub fn patch_folder(&self, project: &ProjectName, tag: &str) -> Option<&PatchFolder> {
        let same = |folder: &&PatchFolder| folder.project == *project && folder.tag.as_str() == tag;
        self.patches.iter().find(same)
    }
}

struct Reading<'a> {
    files: &'a Files,
    problems: Vec<Problem>,
}

impl Reading<'_> {
    fn required<T: DeserializeOwned>(&mut self, path: &str) -> Option<T> {
        if !self.files.contains_key(path) {
            self.problems.push(Problem::new(path, "does not exist"));
            return None;
        }
        self.read(path)
    }

    fn read<T: DeserializeOwned>(&mut self, path: &str) -> Option<T> {
        let bytes = self.files.get(path).map(Vec::as_slice).unwrap_or_default();
        let Ok(text) = str::from_utf8(bytes) else {
            self.problems.push(Problem::new(path, "is not UTF-8"));
            return None;
        };
        match yaml::from_str(text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.problems.push(Problem::of_yaml(path, &error));
                None
            }
        }
    }

    /// Reads a file whose folder is named after what it describes.
    fn insert<K, T>(&mut self, path: &str, name: &str, into: &mut BTreeMap<K, T>)
    where
        K: std::str::FromStr<Err: fmt::Display> + Ord,
        T: DeserializeOwned,
    {
        match name.parse() {
            Ok(key) => _ = self.read(path).map(|value| into.insert(key, value)),
            Err(error) => self.problems.push(Problem::new(path, format!("folder name: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests;
