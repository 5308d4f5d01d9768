//! Brings inputs into the content store: sources, patches applied, toolchains, modules, packages.
//!
//! With a lock, anything else than what it pins is refused; without, what is found is what a new lock will pin.

mod ensure;
mod published;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use kdistro_formats::{Digest, Platform, ProjectName, Tag};
use kdistro_source::{
    Apt, AptError, AptSettings, Environment, FilePin, Go, GoError, Mirror, MirrorError, Module,
    ModuleRequest, PatchError, Reach, Revision, Series, SourceRequest, TagSource,
    import::ImportError, series, tree::TreeError,
};

use crate::{
    config::{
        Workspace,
        channel::{Component, Debian},
        inputs, lock,
        project::{Dependencies, Recipe},
    },
    content::{ContentError, ContentStore},
    home::{Home, HomeError, Origin},
    plan::BUILD_PLATFORM,
    report::Reporter,
};

/// Debian's word for the architecture that programs are compiled on.
pub const ARCHITECTURE: &str = "amd64";

/// Why an input cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The mirror refused.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// The Debian source could not be imported.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// A patch does not apply.
    #[error(
        "patches/{project}/{tag}/{source}\nhelp:  rebase it with `kdistro patch edit {project} {tag}`"
    )]
    Patch {
        /// The project.
        project: ProjectName,
        /// The tag.
        tag: Tag,
        /// Why.
        source: PatchError,
    },
    /// The tree cannot be archived.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The Debian archive refused.
    #[error(transparent)]
    Apt(#[from] AptError),
    /// The Debian archive has other packages than the lock, or none.
    #[error(
        "cannot have {packages} as locked\nhelp:  where the archive has other ones by now, `kdistro lock --refresh` takes those"
    )]
    Packages {
        /// The packages that were missing.
        packages: String,
        /// Why.
        source: AptError,
    },
    /// A store that publishes inputs does not answer.
    #[error("cannot read `{name}` in the store")]
    Store {
        /// Which file.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// Go refused.
    #[error(transparent)]
    Go(#[from] GoError),
    /// Content cannot be kept.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The home folder cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// What was fetched is not what was locked.
    #[error("{what} is {found}, but {expected} was locked")]
    Differs {
        /// What.
        what: String,
        /// What was found.
        found: String,
        /// What the lock says.
        expected: String,
    },
    /// The file system refused.
    #[error("cannot use {}", path.display())]
    Io {
        /// Which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The configuration lacks something.
    #[error("{0}")]
    Configuration(String),
}

/// A mirrored source.
#[derive(Clone, Debug)]
pub struct Mirrored {
    /// The mirror.
    pub mirror: Mirror,
    /// The upstream commit.
    pub revision: Revision,
    /// The Debian source package, where the source comes from one.
    pub debian: Option<lock::DebianSource>,
}

/// Fetches inputs.
pub struct Fetcher<'a> {
    /// The home folder.
    pub home: &'a Home,
    /// Where inputs go.
    pub content: &'a ContentStore,
    /// The configuration.
    pub workspace: &'a Workspace,
    /// The environment of git, apt and go.
    pub environment: &'a Environment,
    /// Another list of Debian archives than the host's.
    pub apt_sources: Option<&'a Path>,
    /// Who is told.
    pub reporter: &'a Reporter,
    /// The archives of Debian, once they were asked: their lists are read once a run.
    pub(crate) apt: OnceLock<Apt>,
}

impl Fetcher<'_> {
    fn progress(&self, message: &str) {
        self.reporter.progress(message);
    }

    /// Mirrors the source of a component; a tag that moved, or other files than locked, are refused.
    pub fn mirror(
        &self,
        component: &Component,
        locked: Option<&lock::Source>,
        refresh: bool,
    ) -> Result<Mirrored, FetchError> {
        let name = self.workspace.source_of(&component.project);
        let locked = locked.filter(|source| source.tag == component.tag);
        let expected = component.commit.as_ref().or(locked.map(|source| &source.commit));
        let progress = |message: &str| self.progress(message);
        let Some(debian) = &component.debian else {
            let project = self.workspace.projects.get(name);
            let project = project.ok_or_else(|| {
                FetchError::Configuration(format!("projects/{name}/project.yaml does not exist"))
            })?;
            let mirror = Mirror::open(&self.home.mirror(Origin::Git, name), self.environment)?;
            let source =
                TagSource { url: &project.repository, tag: &component.tag, expected, refresh };
            let revision = mirror.fetch_tag(&source, &progress)?;
            return Ok(Mirrored { mirror, revision, debian: None });
        };
        let mirror = Mirror::open(&self.home.mirror(Origin::Debian, name), self.environment)?;
        let same = |pinned: &&lock::DebianSource| {
            pinned.package == debian.package && pinned.version == debian.version
        };
        let pinned = locked.and_then(|source| source.debian.as_ref()).filter(same);
        let folder = self.home.folder("debian-sources")?.join(&debian.package);
        let pins = pinned.iter().flat_map(|source| &source.files);
        let pins: Vec<_> =
            pins.map(|file| FilePin { name: file.name.clone(), digest: file.sha256 }).collect();
        let Debian { package, version } = debian;
        let request = SourceRequest { package, version, expected: &pins };
        let package = self.apt()?.fetch_source(&request, &folder, &progress)?;
        let revision = mirror.import_debian(&component.tag, &package, expected, &progress)?;
        let files = package.files.iter().map(|file| lock::DebianFile {
            name: file.name.clone(),
            sha256: file.digest,
            size: file.size,
        });
        let debian = lock::DebianSource {
            package: debian.package.clone(),
            version: debian.version.clone(),
            files: files.collect(),
        };
        Ok(Mirrored { mirror, revision, debian: Some(debian) })
    }

    /// Applies the patches of a component on its mirrored source.
    pub fn patch(
        &self,
        component: &Component,
        mirrored: &Mirrored,
    ) -> Result<Revision, FetchError> {
        self.progress(&format!("patching {} {}", component.project, component.tag));
        let none = Series { patches: Vec::new() };
        let project = self.workspace.source_of(&component.project);
        let folder = self.workspace.patch_folder(project, component.tag.as_str());
        let series = folder.map_or(&none, |folder| &folder.series);
        let applied = series::apply(&mirrored.mirror, &mirrored.revision.commit, series);
        applied.map_err(|source| FetchError::Patch {
            project: project.clone(),
            tag: component.tag.clone(),
            source,
        })
    }

    /// Writes the canonical tar of a patched tree into the content store.
    pub fn archive(
        &self,
        mirrored: &Mirrored,
        revision: &Revision,
    ) -> Result<(Digest, u64), FetchError> {
        self.progress(&format!("archiving tree {}", revision.tree));
        let mut new = self.content.create()?;
        {
            let mut writer = io::BufWriter::with_capacity(1 << 20, &mut new);
            mirrored.mirror.tree_archive(&revision.tree, &mut writer)?;
            let path = self.home.content();
            io::Write::flush(&mut writer).map_err(|source| FetchError::Io { path, source })?;
        }
        Ok(new.keep()?)
    }

    /// Fetches a Go toolchain; `pinned` refuses any other.
    pub fn toolchain(
        &self,
        version: &str,
        pinned: Option<&lock::Zip>,
    ) -> Result<lock::Toolchain, FetchError> {
        let platform: Platform =
            BUILD_PLATFORM.parse().map_err(|error: kdistro_formats::ParseNameError| {
                FetchError::Configuration(error.to_string())
            })?;
        if let Some(zip) = pinned.filter(|zip| self.content.has(&zip.sha256)) {
            self.progress(&format!("checking Go {version}"));
            let zip = self.measure_zip(&zip.sha256)?;
            return Ok(lock::Toolchain { version: version.to_owned(), platform, zip });
        }
        self.progress(&format!("fetching Go {version}"));
        let scratch = self.home.scratch("toolchain")?;
        let progress = |message: &str| self.progress(message);
        let module = self.go().fetch_toolchain(version, &platform, scratch.path(), &progress)?;
        let zip = self.keep_zip(&module, pinned)?;
        Ok(lock::Toolchain { version: version.to_owned(), platform, zip })
    }

    /// Hashes a zip of the content store anew, so that a lock says only what was seen.
    fn measure_zip(&self, sha256: &Digest) -> Result<lock::Zip, FetchError> {
        self.content.check(sha256)?;
        let path = self.content.path(sha256);
        let failed = |source| FetchError::Io { path: path.clone(), source };
        let file = self.content.open(sha256)?;
        let size = file.metadata().map_err(failed)?.len();
        let sum = kdistro_source::module_hash(io::BufReader::new(file));
        let sum = sum.map_err(|error| failed(io::Error::other(error)))?;
        Ok(lock::Zip { sha256: *sha256, size, sum })
    }

    fn keep_zip(
        &self,
        module: &Module,
        pinned: Option<&lock::Zip>,
    ) -> Result<lock::Zip, FetchError> {
        let what = format!("{}@{}", module.path, module.version);
        let file = module.zip.as_ref();
        let file = file.ok_or_else(|| FetchError::Configuration(format!("{what} has no zip")))?;
        let zip = lock::Zip { sha256: file.digest, size: file.size, sum: file.sum.clone() };
        if let Some(pinned) = pinned.filter(|pinned| **pinned != zip) {
            let (found, expected) = (zip.sha256.to_string(), pinned.sha256.to_string());
            return Err(FetchError::Differs { what, found, expected });
        }
        self.content.take_expected(&file.file, &zip.sha256)?;
        Ok(zip)
    }

    /// Finds and fetches the modules that a recipe's builds need, out of a patched source.
    pub fn modules(
        &self,
        recipe: &Recipe,
        (source, toolchain): (&Path, &Path),
        platforms: &[Platform],
    ) -> Result<Vec<lock::Module>, FetchError> {
        let mut found = BTreeMap::new();
        let go = Go { program: toolchain, environment: self.environment };
        for build in recipe.builds.iter().filter(|b| b.dependencies == Dependencies::Modules) {
            self.progress(&format!("looking for the modules of `{}`", build.module));
            let scratch = self.home.scratch("modules")?;
            let packages: Vec<_> = build.programs.iter().map(|p| p.package.clone()).collect();
            let platforms = if build.platforms.is_empty() { platforms } else { &build.platforms };
            let request = ModuleRequest {
                source,
                module: &build.module,
                packages: &packages,
                platforms,
                tags: &build.tags,
                workspace_off: !build.workspace,
            };
            let progress = |message: &str| self.progress(message);
            for module in go.fetch_modules(&request, scratch.path(), &progress)? {
                let kept = self.keep_module(&module)?;
                // One module may need only the go.mod where another needs the content.
                let slot =
                    found.entry((kept.path.clone(), kept.version.clone())).or_insert(kept.clone());
                if slot.zip.is_none() {
                    *slot = kept;
                }
            }
        }
        Ok(found.into_values().collect())
    }

    fn keep_module(&self, module: &Module) -> Result<lock::Module, FetchError> {
        self.content.take_expected(&module.mod_file.file, &module.mod_file.digest)?;
        let zip = match &module.zip {
            Some(_) => Some(self.keep_zip(module, None)?),
            None => None,
        };
        Ok(lock::Module {
            path: module.path.clone(),
            version: module.version.clone(),
            go_mod: module.mod_file.digest,
            go_mod_size: module.mod_file.size,
            zip,
        })
    }

    /// Resolves and fetches the packages of a build root or an image base.
    pub fn packages(
        &self,
        root: &inputs::Root,
        architecture: &str,
    ) -> Result<Vec<lock::Package>, FetchError> {
        let scratch = self.home.scratch("packages")?;
        let progress = |message: &str| self.progress(message);
        let reach = if root.closure { Reach::Closure } else { Reach::Named };
        let names = (root.packages.as_slice(), reach);
        let apt = self.apt()?;
        if apt.accepts_expired() {
            self.reporter.note(
                "this host's apt accepts package indexes that have expired (Acquire::Check-Valid-Until): what gets locked may be old",
            );
        }
        let found = apt.resolve(architecture, names, scratch.path(), &progress)?;
        let mut packages = Vec::new();
        for package in found {
            self.content.take_expected(&package.file, &package.digest)?;
            packages.push(lock::Package {
                name: package.name,
                version: package.version,
                architecture: package.architecture,
                sha256: package.digest,
                size: package.size,
            });
        }
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(packages)
    }

    fn apt(&self) -> Result<&Apt, FetchError> {
        if let Some(apt) = self.apt.get() {
            return Ok(apt);
        }
        let debian = &self.workspace.inputs.debian;
        let apt = Apt::open(AptSettings {
            environment: self.environment.clone(),
            suite: debian.suite.clone(),
            keys: debian.keys.clone(),
            sources: self.apt_sources.map(Path::to_owned),
            state: self.home.folder("apt")?,
        })?;
        Ok(self.apt.get_or_init(|| apt))
    }

    /// The host's `go`, used only to download.
    fn go(&self) -> Go<'_> {
        Go { program: Path::new("go"), environment: self.environment }
    }
}
