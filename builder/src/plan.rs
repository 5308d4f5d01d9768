//! Makes the plan of a channel. Pure: configuration and lock in, one canonical document out.

use std::collections::{BTreeMap, BTreeSet};

use kdistro_formats::{
    ChannelName, Digest, Platform, ProjectName,
    canonical::{self, CanonicalError},
    plan::{AssemblyRules, ConfigurationFile, Input, InputKind, Plan, SCHEMA, Tree},
};
use kdistro_verify::hash;

use crate::config::{
    CRDS, DISTRIBUTION, INPUTS, Workspace, channel::Channel, channel_file, inputs::Root, lock,
    lock_file, project::LIMITS, project_file, template::TemplateError,
};

mod assets;
mod commands;
mod compile;
mod images;
mod stale;
mod steps;

pub use stale::{packages_differ, stale};

/// The platform that programs are compiled on.
pub const BUILD_PLATFORM: &str = "linux/amd64";

/// The version of the rules by which archives are made.
const ASSEMBLY_RULES: &str = "kdistro-assemble/1";

/// Which part of a channel is wanted. Empty lists mean everything.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Components by project.
    pub projects: Vec<ProjectName>,
    /// Platforms.
    pub platforms: Vec<Platform>,
}

/// Why no plan can be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// No such channel.
    #[error("unknown channel `{0}`, expected one of {1}")]
    Channel(ChannelName, String),
    /// The selection names something the channel does not have.
    #[error("channel `{channel}` has no {what} `{name}`, expected one of {known}")]
    Selection {
        /// The channel.
        channel: ChannelName,
        /// Component or platform.
        what: &'static str,
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The lock lacks something, or is older than the configuration.
    #[error("{file}: {what}\nhelp:  run `kdistro lock {channel}`")]
    Lock {
        /// The lock file.
        file: String,
        /// The channel.
        channel: ChannelName,
        /// What is missing or different.
        what: String,
    },
    /// A name in a recipe that nobody defined.
    #[error("{file}")]
    Template {
        /// The project file.
        file: String,
        /// What is wrong.
        source: TemplateError,
    },
    /// The recipe asks for something that does not exist.
    #[error("{file}: {what}")]
    Recipe {
        /// The project file.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// Two assets would be published under one name.
    #[error(
        "`{path}` would be published twice, by `{first}` and by `{second}`\nhelp:  give it another name in one of the two files projects/{first}/project.yaml and projects/{second}/project.yaml"
    )]
    Collision {
        /// Path below `artifacts/`, repository of an image, or name and tag that kubeadm asks for.
        path: String,
        /// The project that came first.
        first: ProjectName,
        /// The other.
        second: ProjectName,
    },
    /// The document cannot be written.
    #[error("cannot write the plan")]
    Write(#[from] CanonicalError),
}

/// Makes the plan of `selection` of a channel.
pub fn plan(
    workspace: &Workspace,
    channel: &ChannelName,
    selection: &Selection,
) -> Result<Plan, PlanError> {
    let known = || list(workspace.channels.keys());
    let configured = workspace
        .channels
        .get(channel)
        .ok_or_else(|| PlanError::Channel(channel.clone(), known()))?;
    let all = platforms(workspace, configured);
    let platforms = choose(channel, "platform", &all, &selection.platforms)?;
    let projects: Vec<_> = configured.components.iter().map(|c| c.project.clone()).collect();
    let projects = choose(channel, "component", &projects, &selection.projects)?;
    let lock = workspace.locks.get(channel).ok_or_else(|| PlanError::Lock {
        file: lock_file(channel),
        channel: channel.clone(),
        what: "does not exist".to_owned(),
    })?;
    let mut making = Making {
        workspace,
        lock,
        platforms: platforms.clone(),
        usual: &configured.platforms,
        inputs: BTreeMap::new(),
        trees: BTreeMap::new(),
        steps: Vec::new(),
    };
    let mut components = Vec::new();
    for component in configured.components.iter().filter(|c| projects.contains(&c.project)) {
        components.push(making.component(component)?);
    }
    assets::refuse_collisions(&components)?;
    let whole = platforms.len() == all.len() && components.len() == configured.components.len();
    let configuration = configuration(workspace, channel, &projects);
    Ok(Plan {
        schema: SCHEMA.to_owned(),
        channel: channel.clone(),
        platforms: platforms.into_iter().collect(),
        whole,
        configuration,
        inputs: making.inputs.into_values().collect(),
        trees: making.trees,
        steps: making.steps,
        components,
        assembly: AssemblyRules {
            rules: ASSEMBLY_RULES.to_owned(),
            gzip: kdistro_assemble::gzip::ENCODER.to_owned(),
            licenses: kdistro_assemble::licenses::LICENSE_LIST.to_owned(),
        },
    })
}

/// Lists every platform that a channel is built for: its own, and those that single programs are built for too.
pub fn platforms(workspace: &Workspace, channel: &Channel) -> Vec<Platform> {
    let recipes = channel.components.iter().filter_map(|component| workspace.recipe(component));
    let programs = recipes.flat_map(|recipe| &recipe.builds).flat_map(|build| &build.programs);
    let also = programs.flat_map(|program| program.also.iter().cloned());
    let all: BTreeSet<_> = channel.platforms.iter().cloned().chain(also).collect();
    all.into_iter().collect()
}

/// Lists what a plan that somebody else made calls by a wrong name; empty means every key is the digest of what it names.
pub fn misnamed(plan: &Plan) -> Result<Vec<String>, CanonicalError> {
    let mut found = Vec::new();
    if plan.schema != SCHEMA {
        found.push(format!("schema `{}`, expected `{SCHEMA}`", plan.schema));
    }
    for (digest, tree) in &plan.trees {
        let right = hash::sha256(&canonical::to_vec(tree)?);
        if right != *digest {
            found.push(format!("tree {digest}, which is {right}"));
        }
    }
    for step in &plan.steps {
        let right = hash::sha256(&canonical::to_vec(&step.body)?);
        let (asked, most) = (&step.body.limits, &LIMITS);
        let above = asked.seconds > most.seconds
            || asked.memory_bytes > most.memory_bytes
            || asked.processes > most.processes
            || asked.disk_bytes > most.disk_bytes
            || asked.log_bytes > most.log_bytes;
        if above {
            found.push(format!("step `{}` with limits above {most:?}", step.name));
        }
        if right != step.key {
            found.push(format!("step `{}` {}, which is {right}", step.name, step.key));
        }
    }
    if !plan.inputs.is_sorted_by_key(|input| input.sha256) {
        found.push("inputs that are not sorted".to_owned());
    }
    Ok(found)
}

/// A plan without anything in it, for laying out trees before there is a lock.
pub fn empty(channel: &ChannelName) -> Plan {
    Plan {
        schema: SCHEMA.to_owned(),
        channel: channel.clone(),
        platforms: Vec::new(),
        whole: false,
        configuration: Vec::new(),
        inputs: Vec::new(),
        trees: BTreeMap::new(),
        steps: Vec::new(),
        components: Vec::new(),
        assembly: AssemblyRules {
            rules: String::new(),
            gzip: String::new(),
            licenses: String::new(),
        },
    }
}

/// Defines a tree in a plan and returns the digest of its definition.
pub fn define(plan: &mut Plan, tree: Tree) -> Result<Digest, CanonicalError> {
    let digest = hash::sha256(&canonical::to_vec(&tree)?);
    plan.trees.insert(digest, tree);
    Ok(digest)
}

/// The input that a Go toolchain is.
pub fn toolchain_input(version: &str, zip: &lock::Zip) -> Input {
    let module = format!("v0.0.1-go{version}.{}", BUILD_PLATFORM.replace('/', "-"));
    let origin = format!("pkg:golang/golang.org/toolchain@{module}");
    Input { sha256: zip.sha256, size: zip.size, kind: InputKind::GoToolchain, origin }
}

/// What is being collected while the plan is made.
struct Making<'a> {
    workspace: &'a Workspace,
    lock: &'a lock::Lock,
    platforms: BTreeSet<Platform>,
    /// The channel's own platforms.
    usual: &'a [Platform],
    inputs: BTreeMap<Digest, Input>,
    trees: BTreeMap<Digest, Tree>,
    steps: Vec<kdistro_formats::plan::Step>,
}

impl Making<'_> {
    fn lock_error(&self, what: String) -> PlanError {
        let channel = self.lock.channel.clone();
        PlanError::Lock { file: lock_file(&channel), channel, what }
    }

    fn input(&mut self, sha256: Digest, size: u64, kind: InputKind, origin: String) {
        self.inputs.entry(sha256).or_insert(Input { sha256, size, kind, origin });
    }

    /// Records a tree and returns the digest of its definition.
    fn tree(&mut self, tree: Tree) -> Result<Digest, PlanError> {
        let digest = hash::sha256(&canonical::to_vec(&tree)?);
        self.trees.insert(digest, tree);
        Ok(digest)
    }

    fn toolchain_zip(&self, version: &str) -> Result<Digest, PlanError> {
        let missing = || self.lock_error(format!("has no Go {version} for {BUILD_PLATFORM}"));
        Ok(self.lock.toolchain(version).ok_or_else(missing)?.zip.sha256)
    }

    fn toolchain(&mut self, version: &str) -> Result<Digest, PlanError> {
        let missing = || self.lock_error(format!("has no Go {version} for {BUILD_PLATFORM}"));
        let locked = self.lock.toolchain(version).ok_or_else(missing)?;
        let input = toolchain_input(version, &locked.zip);
        let zip = input.sha256;
        self.inputs.insert(zip, input);
        self.tree(Tree::Toolchain { zip })
    }

    fn root(&mut self, root: &Root) -> Result<Digest, PlanError> {
        let mut locked: &[lock::Package] = &[];
        if !root.packages.is_empty() {
            let missing =
                || self.lock_error(format!("has no packages for build root `{}`", root.name));
            locked = &self.lock.root(&root.name).ok_or_else(missing)?.packages;
        }
        let mount_points = ["dev", "etc", "go", "modules", "out", "proc", "src", "tmp", "tools"];
        self.root_tree(root, locked, &mount_points)
    }

    /// The base of images for one platform.
    fn base(&mut self, base: &Root, platform: &Platform) -> Result<Digest, PlanError> {
        let (name, architecture) = (&base.name, platform.arch());
        let missing =
            || self.lock_error(format!("has no packages for image base `{name}` on {platform}"));
        let locked = self.lock.base(name, architecture).ok_or_else(missing)?;
        self.root_tree(base, &locked.packages, &[])
    }

    fn root_tree(
        &mut self,
        root: &Root,
        locked: &[lock::Package],
        mount_points: &[&str],
    ) -> Result<Digest, PlanError> {
        let mut packages = Vec::new();
        for package in locked {
            let lock::Package { name, version, architecture, sha256, size } = package;
            let suite = &self.workspace.inputs.debian.suite;
            let origin =
                format!("pkg:deb/debian/{name}@{version}?arch={architecture}&distro={suite}");
            self.input(*sha256, *size, InputKind::DebianPackage, origin);
            packages.push(*sha256);
        }
        let mut directories = root.directories.clone();
        directories.extend(mount_points.iter().map(|path| (*path).to_owned()));
        directories.sort();
        let (mut links, mut files) = (root.links.clone(), root.files.clone());
        links.sort();
        files.sort();
        let mut concatenations = root.concatenations.clone();
        concatenations.sort();
        self.tree(Tree::Root { packages, links, directories, files, concatenations })
    }
}

/// The configuration files that matter for these projects of a channel, by digest.
fn configuration(
    workspace: &Workspace,
    channel: &ChannelName,
    projects: &BTreeSet<ProjectName>,
) -> Vec<ConfigurationFile> {
    let mut wanted = BTreeSet::from([
        DISTRIBUTION.to_owned(),
        INPUTS.to_owned(),
        channel_file(channel),
        lock_file(channel),
    ]);
    let crds = workspace.files.keys().filter(|path| path.starts_with(CRDS));
    wanted.extend(crds.cloned());
    // All projects of the channel: the rules between files want every one that it names.
    if let Some(configured) = workspace.channels.get(channel) {
        wanted.extend(configured.components.iter().map(|c| project_file(&c.project)));
        for component in configured.components.iter().filter(|c| projects.contains(&c.project)) {
            let source = workspace.source_of(&component.project);
            wanted.insert(project_file(source));
            let prefix = format!("patches/{source}/{}/", component.tag);
            let patches = workspace.files.keys().filter(|path| path.starts_with(&prefix));
            wanted.extend(patches.cloned());
        }
    }
    let files = wanted.into_iter().filter_map(|path| {
        let bytes = workspace.files.get(&path)?;
        Some(ConfigurationFile { sha256: hash::sha256(bytes), size: bytes.len() as u64, path })
    });
    files.collect()
}

fn choose<T: Ord + Clone + std::fmt::Display>(
    channel: &ChannelName,
    what: &'static str,
    all: &[T],
    wanted: &[T],
) -> Result<BTreeSet<T>, PlanError> {
    if wanted.is_empty() {
        return Ok(all.iter().cloned().collect());
    }
    for name in wanted {
        if !all.contains(name) {
            let (channel, known) = (channel.clone(), list(all.iter()));
            return Err(PlanError::Selection { channel, what, name: name.to_string(), known });
        }
    }
    Ok(wanted.iter().cloned().collect())
}

fn list<T: std::fmt::Display>(names: impl Iterator<Item = T>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
