//! What SBOMs say of programs and Debian packages, kept between runs: to find it out, sources, modules and packages are
//! unpacked and the licences in them compared with the list, and the next release says most of it again.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
};

use kdistro_assemble::spdx::{DebianPackage, GoModule, GoProgram, License};
use kdistro_formats::{
    Digest, canonical,
    plan::{AssemblyRules, Component, OutputRef},
};
use kdistro_verify::hash;
use serde::{Deserialize, Serialize};

use super::{
    PackageError, Packager,
    debian::LinkedPackage,
    error::Failed,
    linked::{Linked, LinkedModule, Program},
    read_kept, write_kept,
};

/// What SBOMs say of the programs of one component.
#[derive(Deserialize, Serialize)]
pub(super) struct Said {
    /// The licence of the component itself.
    pub(super) license: License,
    programs: Vec<(OutputRef, SaidProgram)>,
}

/// What they say of one program.
#[derive(Deserialize, Serialize)]
pub(super) struct SaidProgram {
    /// What Go linked into it, where Go built it.
    pub(super) go: Option<GoProgram>,
    /// Debian packages whose code is linked into it.
    pub(super) packages: Vec<DebianPackage>,
}

/// Under which key it is kept.
#[derive(Serialize)]
enum Key<'a> {
    Programs { facts: &'a Digest },
    Packages { rules: &'a AssemblyRules, packages: BTreeMap<&'a Digest, &'a str> },
}

impl Said {
    /// Returns what is said of a program.
    pub(super) fn program(&self, output: &OutputRef) -> Option<&SaidProgram> {
        self.programs.iter().find(|(said, _)| said == output).map(|(_, program)| program)
    }
}

impl Packager<'_> {
    /// Returns what SBOMs say of the programs of a component.
    pub(super) fn said(
        &self,
        component: &Component,
        linked: &Linked,
    ) -> Result<Arc<Said>, PackageError> {
        let mut known = linked.said.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(said) = known.as_ref() {
            return Ok(Arc::clone(said));
        }
        let said = self.kept(&component.name, &Key::Programs { facts: &linked.facts }, || {
            let programs = self.programs(component, linked)?;
            let main = programs.values().find_map(|program| program.go.as_ref()).map(|go| &go.main);
            let said =
                |(output, program): (&OutputRef, &Program)| (output.clone(), self.said_of(program));
            let license = main.map(License::from).unwrap_or_default();
            Ok(Said { license, programs: programs.iter().map(said).collect() })
        })?;
        let said = Arc::new(said);
        *known = Some(Arc::clone(&said));
        Ok(said)
    }

    fn said_of(&self, program: &Program) -> SaidProgram {
        let go = program.go.as_ref().map(|go| GoProgram {
            package: go.info.package.clone(),
            main_module: go.main.name.clone(),
            names_modules: go.names_modules,
            modules: go.modules.iter().map(go_module).collect(),
            standard_library: License::from(&go.standard_library),
        });
        let packages = program.packages.iter().map(|package| self.debian_package(package));
        SaidProgram { go, packages: packages.collect() }
    }

    /// Returns what SBOMs say of the packages of an image's base.
    pub(super) fn said_packages(
        &self,
        component: &str,
        base: Option<&Digest>,
    ) -> Result<Vec<DebianPackage>, PackageError> {
        let packages = self.packages_in(base);
        if packages.is_empty() {
            return Ok(Vec::new());
        }
        let origin = |digest| self.plan.input(digest).map_or("", |input| input.origin.as_str());
        let origins = packages.iter().map(|digest| (digest, origin(digest))).collect();
        let key = Key::Packages { rules: &self.plan.assembly, packages: origins };
        self.kept(component, &key, || {
            let one =
                |digest| Ok(self.debian_package(&*self.package_of(component, digest, packages)?));
            packages.iter().map(one).collect()
        })
    }

    /// Returns what is kept under a key, or finds it out and keeps it.
    fn kept<T: Serialize + for<'de> Deserialize<'de>>(
        &self,
        component: &str,
        key: &Key<'_>,
        find_out: impl FnOnce() -> Result<T, PackageError>,
    ) -> Result<T, PackageError> {
        let failed = Failed(component);
        let key = canonical::to_vec(key).map_err(|error| failed.key(error))?;
        let record = self.record(&hash::sha256(&key));
        if let Some(kept) = read_kept::<T>(&record) {
            return Ok(kept);
        }
        let found = find_out()?;
        write_kept(&record, &found).map_err(failed.io(record.clone()))?;
        Ok(found)
    }

    fn debian_package(&self, package: &LinkedPackage) -> DebianPackage {
        let origin = self.plan.input(&package.sha256).map(|input| input.origin.as_str());
        let suite =
            origin.and_then(|origin| origin.rsplit_once("&distro=")).map(|(_, suite)| suite);
        DebianPackage {
            name: package.control.package.clone(),
            version: package.control.version.clone(),
            architecture: package.control.architecture.clone(),
            suite: suite.unwrap_or_default().to_owned(),
            sha256: Some(package.sha256),
            license: License::from(&package.license),
        }
    }
}

fn go_module(module: &LinkedModule) -> GoModule {
    GoModule {
        module: module.module.clone(),
        folder: module.folder.clone(),
        sum: module.sum.clone(),
        license: License::from(&module.license),
    }
}
