//! What is linked into the programs of a component, and under which licences.
//!
//! Read out of the programs themselves: Go's linker writes into each which modules it holds. Licences come from where
//! the build had the code from: the source tree, the pinned modules, the toolchain, Debian packages.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use kdistro_assemble::{
    attribution::attribution,
    go_build_info::{self, BuildInfo, Dependency},
    licenses::{
        Library, LicenseFile, Licensed, ModuleId, SourceLicenses, go_license, license,
        module_licenses,
    },
};
use kdistro_formats::{
    Digest, canonical,
    plan::{
        AssemblyRules, Component, Content, EntryContent, InputKind, Licensing, OutputRef, Tree,
        Unlicensed,
    },
};
use kdistro_verify::hash;
use serde::{Deserialize, Serialize};

use super::{
    PackageError, Packager, debian::LinkedPackage, error::Failed, read_kept, said::Said, write_kept,
};

/// What is linked into the programs of one component.
pub(super) struct Linked {
    /// What all of it follows from.
    pub(super) facts: Digest,
    /// Licence texts by the programs that they are for.
    attributions: BTreeMap<Vec<OutputRef>, Digest>,
    /// Read when it is first asked for: nothing of it is needed where everything is kept.
    programs: Mutex<Option<Arc<Programs>>>,
    /// What SBOMs say of them, once somebody asked.
    pub(super) said: Mutex<Option<Arc<Said>>>,
}

/// Every program of a component that somebody asks about.
pub(super) type Programs = BTreeMap<OutputRef, Program>;

/// What is linked into one program.
#[derive(Clone, Debug)]
pub(super) struct Program {
    /// What Go's linker wrote into it; none where Go did not build it.
    pub(super) go: Option<GoProgram>,
    /// Debian packages whose code it holds, with the digest of each `.deb`.
    pub(super) packages: Vec<Arc<LinkedPackage>>,
}

/// A program that Go built.
#[derive(Clone, Debug)]
pub(super) struct GoProgram {
    pub(super) info: BuildInfo,
    /// False where the program names no modules: they are then those whose files it names.
    pub(super) names_modules: bool,
    /// The source itself.
    pub(super) main: Licensed,
    /// Go's standard library.
    pub(super) standard_library: Licensed,
    /// Modules, with the folder of the source that holds each that is no module from elsewhere.
    pub(super) modules: Vec<LinkedModule>,
}

/// A module that is linked.
#[derive(Clone, Debug)]
pub(super) struct LinkedModule {
    pub(super) module: Dependency,
    pub(super) folder: Option<String>,
    /// As the program says it; of a vendored module as the source's `go.sum` does.
    pub(super) sum: Option<String>,
    pub(super) license: Licensed,
}

/// What licence texts and SBOMs follow from, in full.
#[derive(Serialize)]
struct Key<'a> {
    rules: &'a AssemblyRules,
    /// All but its assets: each is known by its own digest.
    component: Component,
    outputs: BTreeMap<String, Digest>,
    /// The names of all Debian packages.
    packages: Vec<&'a str>,
}

/// The kept form of attributions: the texts by position in the sorted list of what is asked for.
#[derive(Deserialize, Serialize)]
struct Kept(Vec<Digest>);

impl Linked {
    /// Returns the licence texts for these programs.
    pub(super) fn attribution(&self, programs: &[OutputRef]) -> Option<Digest> {
        self.attributions.get(programs).copied()
    }

    /// Lists the licence texts that an asset holds.
    pub(super) fn attributions_of(&self, content: &Content) -> Vec<Digest> {
        asked(content).into_iter().filter_map(|programs| self.attribution(programs)).collect()
    }
}

/// Lists for which sets of programs an asset holds licence texts.
fn asked(content: &Content) -> Vec<&Vec<OutputRef>> {
    let entries: Vec<&EntryContent> = match content {
        Content::Archive { entries, .. } => entries.iter().map(|entry| &entry.from).collect(),
        Content::Image(image) => {
            let entries = image.platforms.iter().flat_map(|platform| &platform.entries);
            entries.map(|entry| &entry.from).collect()
        }
        _ => Vec::new(),
    };
    let asked = entries.into_iter().filter_map(|from| match from {
        EntryContent::Attribution { programs } => Some(programs),
        _ => None,
    });
    asked.collect()
}

impl Packager<'_> {
    /// Finds out what is linked into a component's programs, and writes the licence texts that its assets hold.
    pub(super) fn linked(&self, component: &Component) -> Result<Linked, PackageError> {
        let failed = Failed(&component.name);
        let mut outputs = BTreeMap::new();
        for asset in &component.assets {
            outputs.append(&mut self.outputs(&component.name, &asset.content)?);
        }
        let packages = self.plan.inputs.iter().filter(|i| i.kind == InputKind::DebianPackage);
        let key = Key {
            rules: &self.plan.assembly,
            component: Component { assets: Vec::new(), ..component.clone() },
            outputs,
            packages: packages.map(|input| input.origin.as_str()).collect(),
        };
        let facts = canonical::to_vec(&key).map_err(|error| failed.key(error))?;
        let facts = hash::sha256(&facts);
        let wanted: BTreeSet<&Vec<OutputRef>> =
            component.assets.iter().flat_map(|asset| asked(&asset.content)).collect();
        let (mut linked, record) = (
            Linked {
                facts,
                attributions: BTreeMap::new(),
                programs: Mutex::new(None),
                said: Mutex::new(None),
            },
            self.record(&facts),
        );
        let whole = |kept: &Kept| {
            kept.0.len() == wanted.len() && kept.0.iter().all(|digest| self.content.has(digest))
        };
        let texts = if let Some(kept) = read_kept::<Kept>(&record).filter(whole) {
            kept.0
        } else {
            let programs = self.programs(component, &linked)?;
            let mut texts = Vec::new();
            for outputs in &wanted {
                let mut all: Vec<&Licensed> = Vec::new();
                for program in outputs.iter().filter_map(|output| programs.get(output)) {
                    all.extend(program.licenses());
                }
                let text = attribution(&all);
                let digest = self.content.insert_bytes(text.as_bytes());
                texts.push(digest.map_err(|error| failed.content(error))?);
            }
            let kept = Kept(texts);
            write_kept(&record, &kept).map_err(failed.io(record.clone()))?;
            kept.0
        };
        linked.attributions = wanted.into_iter().cloned().zip(texts).collect();
        Ok(linked)
    }

    /// Returns what is linked into every program of a component.
    pub(super) fn programs(
        &self,
        component: &Component,
        linked: &Linked,
    ) -> Result<Arc<Programs>, PackageError> {
        let mut kept = linked.programs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(programs) = kept.as_ref() {
            return Ok(Arc::clone(programs));
        }
        self.reporter.progress(format!("reading the licences of {}", component.name));
        let mut reading = Reading::begin(self, component)?;
        let mut programs = Programs::new();
        for output in component.assets.iter().flat_map(|asset| asset.content.outputs()) {
            if !programs.contains_key(output) {
                programs.insert(output.clone(), reading.program(output)?);
            }
        }
        let programs = Arc::new(programs);
        *kept = Some(Arc::clone(&programs));
        Ok(programs)
    }
}

impl Program {
    /// Lists the licences of everything that is linked.
    pub(super) fn licenses(&self) -> Vec<&Licensed> {
        let go = self.go.iter().flat_map(|go| {
            let modules = go.modules.iter().map(|module| &module.license);
            modules.chain([&go.main, &go.standard_library])
        });
        go.chain(self.packages.iter().map(|package| &package.license)).collect()
    }
}

/// The licence list, read once: it does not change.
pub(super) fn library() -> Result<&'static Library, PackageError> {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    if let Some(library) = LIBRARY.get() {
        return Ok(library);
    }
    let loaded = Library::load()?;
    Ok(LIBRARY.get_or_init(|| loaded))
}

/// Reads the programs of one component.
struct Reading<'a> {
    packager: &'a Packager<'a>,
    component: &'a Component,
    source: SourceLicenses,
    exceptions: &'a [Unlicensed],
    standard_library: Licensed,
    known: BTreeMap<(ModuleId, Option<String>), Licensed>,
}

impl<'a> Reading<'a> {
    fn begin(packager: &'a Packager<'a>, component: &'a Component) -> Result<Self, PackageError> {
        let Licensing { source, toolchain, exceptions, .. } = &component.licensing;
        let failed = Failed(&component.name);
        let content = packager.content;
        let open = |digest: &Digest| {
            content.check(digest)?;
            content.open(digest)
        };
        let licenses =
            |source| PackageError::Licenses { component: component.name.clone(), source };
        let tar = open(source).map_err(|error| failed.content(error))?;
        let tar = io::BufReader::with_capacity(1 << 20, tar);
        let source = SourceLicenses::read(tar).map_err(licenses)?;
        let zip = open(toolchain).map_err(|error| failed.content(error))?;
        let origin = packager.plan.input(toolchain).map(|input| input.origin.as_str());
        let version = origin.and_then(|origin| origin.rsplit_once('@')).map_or("", |(_, v)| v);
        let files = go_license(io::BufReader::new(zip), version).map_err(licenses)?;
        let go = component.toolchain.trim_start_matches("go").to_owned();
        let id = ModuleId { path: "std".to_owned(), version: go };
        let bad = |source| PackageError::License { component: component.name.clone(), source };
        let standard_library = license(library()?, &id, files, &[]).map_err(bad)?;
        Ok(Self {
            packager,
            component,
            source,
            exceptions,
            standard_library,
            known: BTreeMap::new(),
        })
    }

    fn program(&mut self, output: &OutputRef) -> Result<Program, PackageError> {
        let failed = Failed(&output.name);
        let digest = self.packager.output(&output.name, output)?;
        let file = self.packager.content.open(&digest).map_err(|error| failed.content(error))?;
        let info = go_build_info::read(&mut io::BufReader::new(file))
            .map_err(|source| PackageError::BuildInfo { program: output.name.clone(), source })?;
        let step = self.packager.plan.step(&output.step);
        let beside = self.packager.packages_in(step.map(|step| &step.body.root));
        let mut packages = Vec::new();
        for linked in self.component.licensing.packages.iter().filter(|l| l.output == *output) {
            for digest in &linked.packages {
                packages.push(self.packager.package_of(&self.component.name, digest, beside)?);
            }
        }
        let names_modules = info.as_ref().is_some_and(|info| !info.is_silent());
        let info = match info {
            Some(silent) if !names_modules => {
                Some(self.packager.complete(output, silent, &self.source)?)
            }
            told => told,
        };
        let go = info.map(|info| self.go_program(output, info, names_modules)).transpose()?;
        if go.is_none() && packages.is_empty() {
            return Err(PackageError::Unknown { program: output.name.clone() });
        }
        Ok(Program { go, packages })
    }

    fn go_program(
        &mut self,
        output: &OutputRef,
        info: BuildInfo,
        names_modules: bool,
    ) -> Result<GoProgram, PackageError> {
        let step = self.packager.plan.step(&output.step);
        let folder = step.map_or("", |step| step.body.directory.trim_start_matches("/src"));
        let folder = folder.trim_start_matches('/').to_owned();
        let tag = self.component.tag.to_string();
        let path = info.main.as_ref().map_or(&info.package, |main| &main.path).clone();
        let main = ModuleId { path, version: tag.clone() };
        let main = self.licensed(&main, Some(&folder), None)?;
        let mut modules = Vec::new();
        for module in info.linked() {
            let inside = module.folder(&folder);
            let linked = module.linked();
            let id = match &inside {
                Some(_) => ModuleId { path: module.module.path.clone(), version: tag.clone() },
                None => ModuleId { path: linked.path.clone(), version: linked.version.clone() },
            };
            let vendored = Some(module.module.path.as_str());
            let license = self.licensed(&id, inside.as_deref(), vendored)?;
            let known = || self.source.sum(&linked.path, &linked.version).map(str::to_owned);
            let sum = linked.sum.clone().or_else(known);
            modules.push(LinkedModule { module: module.clone(), folder: inside, sum, license });
        }
        let standard_library = self.standard_library.clone();
        Ok(GoProgram { info, names_modules, main, standard_library, modules })
    }

    /// Finds the licence of a module in the source, among the pinned modules or below `vendor`.
    fn licensed(
        &mut self,
        id: &ModuleId,
        folder: Option<&str>,
        vendored: Option<&str>,
    ) -> Result<Licensed, PackageError> {
        let key = (id.clone(), folder.map(str::to_owned));
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let files = match (folder, self.zip_of(id)) {
            (Some(folder), _) => self.source.folder(folder),
            (None, Some(zip)) => self.files_of_zip(&zip, id)?,
            (None, None) => self.source.vendored(vendored.unwrap_or(&id.path)),
        };
        let component = &self.component.name;
        let licensed = license(library()?, id, files, self.exceptions);
        let licensed = licensed
            .map_err(|source| PackageError::License { component: component.clone(), source })?;
        self.known.insert(key, licensed.clone());
        Ok(licensed)
    }

    fn zip_of(&self, id: &ModuleId) -> Option<Digest> {
        let tree = self.component.licensing.modules.as_ref()?;
        let Some(Tree::Modules { modules }) = self.packager.plan.trees.get(tree) else {
            return None;
        };
        let same = |path: &str, version: &str| path == id.path && version == id.version;
        modules.iter().find(|module| same(&module.path, &module.version))?.zip
    }

    fn files_of_zip(&self, zip: &Digest, id: &ModuleId) -> Result<Vec<LicenseFile>, PackageError> {
        let file = self.packager.content.open(zip);
        let file = file.map_err(|error| Failed(&self.component.name).content(error))?;
        module_licenses(io::BufReader::new(file), id).map_err(|source| PackageError::Licenses {
            component: self.component.name.clone(),
            source,
        })
    }
}
