//! Modules of programs that do not name them: tests that Go before 1.18 built. They are then those below `vendor` whose
//! functions the program holds.

use std::{collections::BTreeSet, io};

use kdistro_assemble::{
    go_build_info::{self, BuildInfo, Module},
    licenses::SourceLicenses,
};
use kdistro_formats::plan::{OutputRef, Step};

use super::{PackageError, Packager, error::Failed};

impl Packager<'_> {
    /// Completes what a program says of how it was built.
    pub(super) fn complete(
        &self,
        output: &OutputRef,
        info: BuildInfo,
        source: &SourceLicenses,
    ) -> Result<BuildInfo, PackageError> {
        let unknown = || PackageError::Silent { program: output.name.clone() };
        let step = self.plan.step(&output.step).ok_or_else(unknown)?;
        let folder = step.body.directory.trim_start_matches("/src").trim_start_matches('/');
        let main = source.module(folder).ok_or_else(unknown)?;
        let folders = self.folders(output)?;
        let dependencies = source.carried(&folders);
        if dependencies.is_empty() {
            return Err(unknown());
        }
        let module = Module { path: main.to_owned(), version: "(devel)".to_owned(), sum: None };
        let package = package(main, step);
        Ok(BuildInfo { package, main: Some(module), dependencies, ..info })
    }

    fn folders(&self, output: &OutputRef) -> Result<BTreeSet<String>, PackageError> {
        let failed = Failed(&output.name);
        let digest = self.output(&output.name, output)?;
        let mut program = self.content.open(&digest).map_err(|error| failed.content(error))?;
        let found = go_build_info::source_folders(&mut program);
        found.map_err(|source: io::Error| failed.io(self.content.path(&digest))(source))
    }
}

/// The path of the package that is tested, with `.test` at its end as newer versions of Go write it.
fn package(main: &str, step: &Step) -> String {
    let folder = step.body.argv.last().map_or("", String::as_str);
    let folder = folder.trim_start_matches('.').trim_matches('/');
    let separator = if folder.is_empty() { "" } else { "/" };
    format!("{main}{separator}{folder}.test")
}
