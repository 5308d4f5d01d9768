//! Builds a published release again from its plan and inputs, in an empty cache, and compares the bytes.

mod compare;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::PathBuf,
};

use kdistro_formats::{
    Digest, ReleaseName,
    canonical::{self, CanonicalError},
    layout,
    plan::{ConfigurationFile, Plan},
    release::{ManifestError, Release},
    statement::{REBUILD, Rebuild, RebuildVerdict, RebuiltAsset, STATEMENT, Statement, Subject},
    yaml::WriteError,
};
use kdistro_verify::{
    hash,
    store::{self, Reader},
};

use crate::{
    build::{self, BuildError},
    config::{Files, Problem, Workspace},
    content::{ContentError, ContentStore},
    context::Context,
    cut,
    fetch::{FetchError, Fetcher},
    home::Home,
    package::{KnownPackages, PackageError, Packager},
    plan::{self, PlanError, Selection},
};

/// Why a rebuild could not be made; that something differs is no error but a [`Rebuilt`].
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// A document of the release cannot be made again.
    #[error("cannot make a document of the release again")]
    Document(#[source] WriteError),
    /// The store does not answer.
    #[error("cannot read `{name}` in the store")]
    Store {
        /// Which file.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// The store lacks something.
    #[error("`{0}` is missing in the store")]
    Missing(String),
    /// The manifest is not one.
    #[error("the manifest")]
    Manifest(#[from] ManifestError),
    /// The manifest names no plan.
    #[error("the manifest names no plan: it cannot be rebuilt")]
    NoPlan,
    /// Something has not the digest that names it.
    #[error("`{name}` has digest {found}, expected {expected}")]
    Digest {
        /// Which file.
        name: String,
        /// What was found.
        found: Digest,
        /// What the manifest or plan says.
        expected: Digest,
    },
    /// The plan is not one.
    #[error("the plan")]
    Plan(#[from] CanonicalError),
    /// The plan calls something by a digest that it has not.
    #[error("the plan has {0}")]
    Misnamed(String),
    /// The published configuration is not one.
    #[error("the published configuration:\n{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Configuration(Vec<Problem>),
    /// The published configuration gives no plan.
    #[error("the published configuration gives no plan")]
    Replan(#[source] PlanError),
    /// The release has no such component.
    #[error("the release has no component `{0}`, expected one of {1}")]
    Component(String, String),
    /// An input cannot be had.
    #[error("cannot fetch the inputs")]
    Fetch(#[from] FetchError),
    /// Content cannot be kept.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// A step failed.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// An asset cannot be made.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// The file system refused.
    #[error("cannot use {}", path.display())]
    Io {
        /// Which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The input is in neither store nor lock.
    #[error("input {0} ({1}) is neither in the publisher's store nor in the published lock")]
    NoOrigin(Digest, String),
}

/// A published release, read as far as a rebuild needs it.
pub struct Subjected {
    /// The store.
    pub reader: Box<dyn Reader>,
    /// The release.
    pub name: ReleaseName,
    /// The manifest's digest.
    pub digest: Digest,
    /// The manifest.
    pub release: Release,
    /// The plan.
    pub plan: Plan,
    /// The plan's digest.
    pub plan_digest: Digest,
}

/// What a rebuild found.
#[derive(Clone, Debug)]
pub struct Rebuilt {
    /// True when the published configuration gives the published plan.
    pub plan_reproduced: bool,
    /// Every asset that was built, sorted by name.
    pub assets: Vec<RebuiltAsset>,
    /// The first difference of each asset that is not the same, by name.
    pub differences: BTreeMap<String, String>,
    /// Assets that were not asked for.
    pub left_out: Vec<String>,
}

impl Rebuilt {
    /// True when everything that was built has the published content, and the plan is what the configuration gives.
    pub fn is_same(&self) -> bool {
        let same = |asset: &RebuiltAsset| asset.verdict != RebuildVerdict::Different;
        self.plan_reproduced && !self.assets.is_empty() && self.assets.iter().all(same)
    }
}

impl Subjected {
    /// Reads manifest and plan of a release; the plan must be the one that the manifest names.
    ///
    /// `verified` is the digest of the manifest that was verified before: a store may answer otherwise the second time.
    pub fn read(
        reader: Box<dyn Reader>,
        manifest: &str,
        verified: Option<&Digest>,
    ) -> Result<Self, RebuildError> {
        let bytes = read(reader.as_ref(), manifest)?;
        if let Some(verified) = verified {
            check(manifest, &bytes, verified)?;
        }
        let release = Release::from_yaml(&String::from_utf8_lossy(&bytes))?;
        let name = release.name();
        let expected = release.spec.plan.as_ref().ok_or(RebuildError::NoPlan)?.sha256;
        let document = layout::plan(&name);
        let plan_bytes = read(reader.as_ref(), &document)?;
        check(&document, &plan_bytes, &expected)?;
        let plan: Plan = canonical::from_slice(&plan_bytes)?;
        let misnamed = plan::misnamed(&plan)?;
        if !misnamed.is_empty() {
            return Err(RebuildError::Misnamed(misnamed.join("; ")));
        }
        let digest = hash::sha256(&bytes);
        Ok(Self { reader, name, digest, release, plan, plan_digest: expected })
    }

    /// Reads the published configuration.
    pub fn workspace(&self) -> Result<Workspace, RebuildError> {
        let mut files = Files::new();
        for ConfigurationFile { path, sha256, .. } in &self.plan.configuration {
            let name = layout::input(sha256);
            let bytes = read(self.reader.as_ref(), &name)?;
            check(&name, &bytes, sha256)?;
            files.insert(path.clone(), bytes);
        }
        Workspace::read(files).map_err(RebuildError::Configuration)
    }

    /// Makes the plan again from the published configuration; returns its digest.
    pub fn replan(&self, workspace: &Workspace) -> Result<Digest, RebuildError> {
        let projects = self.plan.components.iter().map(|component| component.project.clone());
        let selection =
            Selection { projects: projects.collect(), platforms: self.plan.platforms.clone() };
        let plan =
            plan::plan(workspace, &self.plan.channel, &selection).map_err(RebuildError::Replan)?;
        Ok(hash::sha256(&canonical::to_vec(&plan)?))
    }

    fn wanted(&self, components: &[String]) -> Result<BTreeSet<String>, RebuildError> {
        let all = &self.plan.components;
        if components.is_empty() {
            return Ok(all.iter().map(|component| component.name.clone()).collect());
        }
        let find = |wanted: &String| {
            let named = all.iter().find(|c| c.name == *wanted || c.project.as_str() == wanted);
            let known =
                || all.iter().map(|c| format!("`{}`", c.name)).collect::<Vec<_>>().join(", ");
            let unknown = || RebuildError::Component(wanted.clone(), known());
            named.map(|component| component.name.clone()).ok_or_else(unknown)
        };
        components.iter().map(find).collect()
    }
}

/// Rebuilds the wanted components of a release in a home of its own, and compares every asset.
pub fn rebuild(
    context: &Context,
    subject: &Subjected,
    (components, from_publisher): (&[String], bool),
    home: &Home,
) -> Result<Rebuilt, RebuildError> {
    let workspace = subject.workspace()?;
    let plan_reproduced = subject.replan(&workspace)? == subject.plan_digest;
    let wanted = subject.wanted(components)?;
    let steps = build::needed(&subject.plan, Some(&wanted));
    let inputs = build::inputs_of(&subject.plan, &steps, Some(&wanted));
    let content = ContentStore::new(home.content());
    context.reporter.stage("fetch");
    let fetcher = Fetcher { home, content: &content, ..cut::fetcher(context, &workspace) };
    if from_publisher {
        fetcher.take_published(subject.reader.as_ref(), &subject.plan, &inputs)?;
    }
    if let Some(lock) = workspace.locks.get(&subject.plan.channel) {
        fetcher.ensure(lock, &inputs)?;
    }
    if let Some(missing) = inputs.iter().find(|digest| !content.has(digest)) {
        let origin = subject.plan.input(missing).map(|input| input.origin.clone());
        return Err(RebuildError::NoOrigin(*missing, origin.unwrap_or_default()));
    }
    context.reporter.stage("build");
    let records = cut::run_steps(context, home, &content, &subject.plan, &steps)?;
    context.reporter.stage("package");
    let packager = Packager {
        plan: &subject.plan,
        records: &records,
        home,
        content: &content,
        reporter: &context.reporter,
        jobs: context.surroundings.host.cores,
        packages: KnownPackages::default(),
    };
    let packaged = packager.package(Some(&wanted))?;
    context.reporter.stage("compare");
    let mut rebuilt = Rebuilt {
        plan_reproduced,
        assets: Vec::new(),
        differences: BTreeMap::new(),
        left_out: Vec::new(),
    };
    let comparison = compare::Comparison { subject, home, content: &content };
    for component in &subject.release.status.components {
        for asset in &component.assets {
            let name = format!("{}/{}", component.name, asset.name);
            if wanted.contains(&component.name) {
                comparison.asset((&component.name, asset), &packaged, &mut rebuilt)?;
            } else {
                rebuilt.left_out.push(name);
            }
        }
    }
    if wanted.len() == subject.plan.components.len() {
        let registry = &workspace.distribution.registry;
        comparison.documents((&packaged, registry), &mut rebuilt)?;
    }
    Ok(rebuilt)
}

/// Writes down what a rebuild found.
pub fn statement(subject: &Subjected, rebuilt: &Rebuilt, inputs_from: &str) -> Statement<Rebuild> {
    Statement {
        kind: STATEMENT.to_owned(),
        subject: vec![Subject::new(layout::manifest(&subject.name), &subject.digest)],
        predicate_type: REBUILD.to_owned(),
        predicate: Rebuild {
            release: subject.name.to_string(),
            plan: subject.plan_digest,
            plan_reproduced: rebuilt.plan_reproduced,
            inputs_from: inputs_from.to_owned(),
            assets: rebuilt.assets.clone(),
            left_out: rebuilt.left_out.clone(),
        },
    }
}

fn read(reader: &dyn Reader, name: &str) -> Result<Vec<u8>, RebuildError> {
    let failed = |source| RebuildError::Store { name: name.to_owned(), source };
    let bytes = store::read(reader, name, layout::LARGEST_DOCUMENT).map_err(failed)?;
    bytes.ok_or_else(|| RebuildError::Missing(name.to_owned()))
}

fn check(name: &str, bytes: &[u8], expected: &Digest) -> Result<(), RebuildError> {
    let found = hash::sha256(bytes);
    if found == *expected {
        return Ok(());
    }
    Err(RebuildError::Digest { name: name.to_owned(), found, expected: *expected })
}

/// Opens the home of a rebuild.
pub fn home(folder: &std::path::Path) -> Result<Home, RebuildError> {
    fs::create_dir_all(folder)
        .map_err(|source| RebuildError::Io { path: folder.to_owned(), source })?;
    Home::open(folder).map_err(|error| RebuildError::Io {
        path: folder.to_owned(),
        source: io::Error::other(error),
    })
}
