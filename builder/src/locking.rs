//! Makes the lock of a channel: mirrors, patches, and pins the content of every input.

use std::{collections::BTreeSet, fs, io, path::PathBuf};

use kdistro_assemble::deb::{self, DebError};
use kdistro_formats::{
    ChannelName, CommitId, Platform,
    canonical::CanonicalError,
    plan::{Plan, Tree},
    yaml,
};
use kdistro_verify::check::chain;

use crate::{
    build::{
        Records,
        trees::{TreeError, Trees},
    },
    config::{
        channel::{Channel, Component},
        inputs::{self, Go},
        lock::{self, Content, Lock, Patch, Source},
        project::{Dependencies, Recipe},
    },
    fetch::{ARCHITECTURE, FetchError, Fetcher, Mirrored},
    plan,
};

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// No such channel.
    #[error("unknown channel `{0}`")]
    Channel(ChannelName),
    /// An input cannot be had.
    #[error("cannot lock `{component}`")]
    Fetch {
        /// The component.
        component: String,
        /// Why.
        source: FetchError,
    },
    /// A source cannot be laid out to look for its modules.
    #[error("cannot lay out the source of `{component}`")]
    Tree {
        /// The component.
        component: String,
        /// Why.
        source: TreeError,
    },
    /// A package of an image base cannot be read.
    #[error("cannot read package `{package}` of image base `{base}`")]
    Package {
        /// The package.
        package: String,
        /// The base.
        base: String,
        /// What is wrong.
        source: DebError,
    },
    /// A package has scripts that nobody read.
    #[error(
        "package `{package}` of image base `{base}` has maintainer scripts ({scripts}), which are not run\nhelp:  read them, declare what matters in projects/inputs.yaml (files, links, concatenations), then list the package under `scripts` of the base"
    )]
    Scripts {
        /// Name and version.
        package: String,
        /// The base.
        base: String,
        /// The scripts.
        scripts: String,
    },
    /// The configuration lacks something.
    #[error("{0}")]
    Configuration(String),
    /// The lock cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A tree cannot be named.
    #[error(transparent)]
    Canonical(#[from] CanonicalError),
    /// The lock cannot be written.
    #[error(transparent)]
    Yaml(#[from] yaml::WriteError),
}

/// Makes the lock of a channel. What the old one pins about an unchanged tag must still hold.
///
/// A component that cannot be reached keeps its commit alone where `partial` allows it.
pub fn lock(
    fetcher: &Fetcher<'_>,
    channel: &ChannelName,
    refresh: bool,
    partial: bool,
) -> Result<Lock, LockError> {
    let workspace = fetcher.workspace;
    let configured = workspace.channels.get(channel);
    let configured = configured.ok_or_else(|| LockError::Channel(channel.clone()))?;
    let old = workspace.locks.get(channel);
    let mut lock = Lock {
        channel: channel.clone(),
        sources: Vec::new(),
        toolchains: Vec::new(),
        roots: Vec::new(),
        bases: Vec::new(),
    };
    let mut versions = BTreeSet::new();
    for component in &configured.components {
        let go = workspace.inputs.go(&component.go);
        let go = go.ok_or_else(|| {
            LockError::Configuration(format!("Go {} is not listed", component.go))
        })?;
        versions.insert(go.version.clone());
    }
    for version in versions {
        let pinned = old.and_then(|old| old.toolchain(&version)).map(|toolchain| &toolchain.zip);
        let toolchain =
            fetcher.toolchain(&version, pinned).map_err(failed(&format!("Go {version}")))?;
        lock.toolchains.push(toolchain);
    }
    for name in workspace.roots_of(configured) {
        let root = workspace.inputs.root(name);
        let root =
            root.ok_or_else(|| LockError::Configuration(format!("unknown build root `{name}`")))?;
        if root.packages.is_empty() {
            continue;
        }
        let pinned = old.and_then(|old| old.root(name)).map(|root| root.packages.as_slice());
        let what = format!("build root {name}");
        let packages = packages(fetcher, (root, &what), ARCHITECTURE, (pinned, refresh))?;
        lock.roots.push(lock::Root { name: name.to_owned(), packages });
    }
    lock.bases = bases(fetcher, configured, (old, refresh))?;
    for component in &configured.components {
        let pinned = old.and_then(|old| old.source(&component.project));
        let found = source(fetcher, configured, component, (pinned, refresh), &lock);
        let source = match (found, component.commit.as_ref().filter(|_| partial)) {
            (Err(LockError::Fetch { source, .. }), Some(commit)) => {
                fetcher.reporter.note(format!(
                    "{}: only its commit is locked: {}",
                    component.project,
                    chain(&source).replace('\n', " ")
                ));
                only_commit(component, commit)
            }
            (other, _) => other?,
        };
        lock.sources.push(source);
    }
    Ok(lock)
}

/// The packages of a root or base. They move within a suite: old pins stay until somebody asks for new ones.
fn packages(
    fetcher: &Fetcher<'_>,
    (root, what): (&inputs::Root, &str),
    architecture: &str,
    (pinned, refresh): (Option<&[lock::Package]>, bool),
) -> Result<Vec<lock::Package>, LockError> {
    // Other names in the configuration ask for other packages.
    let is_current = |pinned: &&[lock::Package]| plan::packages_differ(root, pinned).is_none();
    let found = match pinned.filter(|_| !refresh).filter(is_current) {
        Some(pinned) => fetcher.locked_packages(pinned, architecture),
        None => fetcher.packages(root, architecture),
    };
    found.map_err(failed(what))
}

/// The bases of all images of a channel, for every Linux platform.
fn bases(
    fetcher: &Fetcher<'_>,
    channel: &Channel,
    (old, refresh): (Option<&Lock>, bool),
) -> Result<Vec<lock::Base>, LockError> {
    let mut bases = Vec::new();
    for name in fetcher.workspace.bases_of(channel) {
        let base = fetcher.workspace.inputs.base(name);
        let base =
            base.ok_or_else(|| LockError::Configuration(format!("unknown image base `{name}`")))?;
        for platform in channel.platforms.iter().filter(|platform| platform.os() == "linux") {
            let architecture = platform.arch();
            let pinned = old.and_then(|old| old.base(name, architecture));
            let pinned = pinned.map(|base| base.packages.as_slice());
            let what = format!("image base {name}");
            let packages = packages(fetcher, (base, &what), architecture, (pinned, refresh))?;
            refuse_scripts(fetcher, base, &packages)?;
            let (name, architecture) = (name.to_owned(), architecture.to_owned());
            bases.push(lock::Base { name, architecture, packages });
        }
    }
    bases.sort_by(|a, b| (&a.name, &a.architecture).cmp(&(&b.name, &b.architecture)));
    Ok(bases)
}

/// What a maintainer script would have done is missing in an image, unless somebody read it and declared what matters.
fn refuse_scripts(
    fetcher: &Fetcher<'_>,
    base: &inputs::Root,
    packages: &[lock::Package],
) -> Result<(), LockError> {
    for package in packages.iter().filter(|package| !base.scripts.contains(&package.name)) {
        let deb = fetcher.content.read(&package.sha256);
        let deb = deb.map_err(|source| failed(&package.name)(source.into()))?;
        let scripts = deb::maintainer_scripts(&deb).map_err(|source| LockError::Package {
            package: package.name.clone(),
            base: base.name.clone(),
            source,
        })?;
        if !scripts.is_empty() {
            return Err(LockError::Scripts {
                package: format!("{} {}", package.name, package.version),
                base: base.name.clone(),
                scripts: scripts.join(", "),
            });
        }
    }
    Ok(())
}

fn only_commit(component: &Component, commit: &CommitId) -> Source {
    Source {
        project: component.project.clone(),
        tag: component.tag.clone(),
        commit: commit.clone(),
        debian: None,
        content: None,
    }
}

fn failed(component: &str) -> impl Fn(FetchError) -> LockError {
    let component = component.to_owned();
    move |source| LockError::Fetch { component: component.clone(), source }
}

fn source(
    fetcher: &Fetcher<'_>,
    channel: &Channel,
    component: &Component,
    (pinned, refresh): (Option<&Source>, bool),
    lock: &Lock,
) -> Result<Source, LockError> {
    let name = component.project.to_string();
    fetcher.reporter.progress(format!("locking {name} {}", component.tag));
    let mirrored = fetcher.mirror(component, pinned, refresh).map_err(failed(&name))?;
    let patched = fetcher.patch(component, &mirrored).map_err(failed(&name))?;
    let (archive, archive_size) = fetcher.archive(&mirrored, &patched).map_err(failed(&name))?;
    let recipe = fetcher.workspace.recipe(component);
    let recipe = recipe.ok_or_else(|| {
        LockError::Configuration(format!("`{name}` has no recipe for {}", component.tag))
    })?;
    let modules = if recipe.builds.iter().any(|build| build.dependencies == Dependencies::Modules) {
        let go = fetcher.workspace.inputs.go(&component.go);
        let go = go.ok_or_else(|| {
            LockError::Configuration(format!("Go {} is not listed", component.go))
        })?;
        modules(fetcher, (channel, component), recipe, (archive, go), lock)?
    } else {
        Vec::new()
    };
    let project = fetcher.workspace.source_of(&component.project);
    let folder = fetcher.workspace.patch_folder(project, component.tag.as_str());
    let patches = folder.iter().flat_map(|folder| folder.digests());
    let patches = patches.map(|(name, sha256)| Patch { name: name.to_owned(), sha256 }).collect();
    let Mirrored { revision, debian, .. } = mirrored;
    Ok(Source {
        project: component.project.clone(),
        tag: component.tag.clone(),
        commit: revision.commit,
        debian,
        content: Some(Content {
            commit_time: u64::try_from(revision.commit_time).unwrap_or(0),
            patches,
            patched_commit: patched.commit,
            patched_tree: patched.tree,
            archive,
            archive_size,
            modules,
        }),
    })
}

/// Finds the modules of a source with the very toolchain that will build it.
fn modules(
    fetcher: &Fetcher<'_>,
    (channel, component): (&Channel, &Component),
    recipe: &Recipe,
    (archive, go): (kdistro_formats::Digest, &Go),
    lock: &Lock,
) -> Result<Vec<lock::Module>, LockError> {
    let name = component.project.to_string();
    let toolchain = lock.toolchain(&go.version);
    let toolchain = toolchain
        .ok_or_else(|| LockError::Configuration(format!("Go {} is not locked", go.version)))?;
    let mut plan = plan::empty(&channel.channel);
    plan.inputs.push(plan::toolchain_input(&go.version, &toolchain.zip));
    let zip = toolchain.zip.sha256;
    let source = plan::define(&mut plan, Tree::Source { archive, additions: Vec::new() })?;
    let toolchain = plan::define(&mut plan, Tree::Toolchain { zip })?;
    let lay_out = |plan: &Plan, digest| {
        let records = Records::default();
        let trees = Trees { plan, home: fetcher.home, content: fetcher.content, records: &records };
        trees.lay_out(digest).map_err(|source| LockError::Tree { component: name.clone(), source })
    };
    let (source, toolchain) = (lay_out(&plan, &source)?, lay_out(&plan, &toolchain)?);
    let platforms: Vec<Platform> = plan::platforms(fetcher.workspace, channel);
    fetcher.modules(recipe, (&source, &toolchain.join("bin/go")), &platforms).map_err(failed(&name))
}

/// The lock as text, with a line that says who writes it.
pub fn text(lock: &Lock) -> Result<String, LockError> {
    let body = yaml::to_string(lock)?;
    Ok(format!("# Written by `kdistro lock {}`: do not edit.\n{body}", lock.channel))
}

/// Writes the lock file, whole or not at all.
pub fn write(path: &std::path::Path, lock: &Lock) -> Result<(), LockError> {
    let failed = |source| LockError::Write { path: path.to_owned(), source };
    let temporary = path.with_extension("new");
    fs::write(&temporary, text(lock)?).map_err(failed)?;
    fs::rename(&temporary, path).map_err(failed)
}
