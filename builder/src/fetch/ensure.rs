//! Brings what a lock pins into the content store: each input exactly as it is pinned.

use std::collections::BTreeSet;

use kdistro_formats::{CommitId, Digest, ProjectName};
use kdistro_source::{ModulePin, PackagePin};

use super::{ARCHITECTURE, FetchError, Fetcher};
use crate::config::lock::{self, Lock};

impl Fetcher<'_> {
    /// Brings every one of these inputs into the content store, as the lock pins it.
    pub fn ensure(&self, channel: &Lock, wanted: &BTreeSet<Digest>) -> Result<(), FetchError> {
        let missing: BTreeSet<Digest> =
            wanted.iter().filter(|digest| !self.content.has(digest)).copied().collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.ensure_sources(channel, &missing)?;
        for toolchain in channel.toolchains.iter().filter(|t| missing.contains(&t.zip.sha256)) {
            self.toolchain(&toolchain.version, Some(&toolchain.zip))?;
        }
        self.ensure_modules(channel, &missing)?;
        self.ensure_packages(channel, &missing)
    }

    fn ensure_sources(&self, channel: &Lock, missing: &BTreeSet<Digest>) -> Result<(), FetchError> {
        let configured = self.workspace.channels.get(&channel.channel);
        let components = configured.iter().flat_map(|channel| &channel.components);
        for component in components {
            let source = channel.source(&component.project);
            let Some((source, content)) = source.and_then(|s| Some((s, s.content.as_ref()?)))
            else {
                continue;
            };
            // Two projects may share one source.
            if !missing.contains(&content.archive) || self.content.has(&content.archive) {
                continue;
            }
            let mirrored = self.mirror(component, Some(source), false)?;
            differs(&component.project, "commit", &mirrored.revision.commit, &source.commit)?;
            let patched = self.patch(component, &mirrored)?;
            differs(
                &component.project,
                "patched commit",
                &patched.commit,
                &content.patched_commit,
            )?;
            let (archive, _) = self.archive(&mirrored, &patched)?;
            if archive != content.archive {
                return Err(FetchError::Differs {
                    what: format!("the patched source of `{}`", component.project),
                    found: archive.to_string(),
                    expected: content.archive.to_string(),
                });
            }
        }
        Ok(())
    }

    fn ensure_modules(&self, channel: &Lock, missing: &BTreeSet<Digest>) -> Result<(), FetchError> {
        let modules = channel.sources.iter().filter_map(|source| source.content.as_ref());
        let wanted: Vec<_> = modules
            .flat_map(|content| &content.modules)
            .filter(|module| {
                let zip = module.zip.as_ref().is_some_and(|zip| missing.contains(&zip.sha256));
                zip || missing.contains(&module.go_mod)
            })
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let pin = |module: &&lock::Module| ModulePin {
            path: module.path.clone(),
            version: module.version.clone(),
            mod_file: module.go_mod,
            zip: module.zip.as_ref().map(|zip| zip.sha256),
        };
        let pins: Vec<_> = wanted.iter().map(pin).collect();
        let scratch = self.home.scratch("modules")?;
        let progress = |message: &str| self.progress(message);
        let fetched = self.go().fetch_pinned(&pins, scratch.path(), &progress)?;
        for (module, fetched) in wanted.into_iter().zip(&fetched) {
            self.content.take_expected(&fetched.mod_file.file, &module.go_mod)?;
            if let Some(zip) = &module.zip {
                self.keep_zip(fetched, Some(zip))?;
            }
        }
        Ok(())
    }

    /// Reads the packages of a locked root or base again; each must still be what was pinned.
    pub fn locked_packages(
        &self,
        packages: &[lock::Package],
        architecture: &str,
    ) -> Result<Vec<lock::Package>, FetchError> {
        self.progress("checking packages");
        let missing = |package: &&lock::Package| !self.content.has(&package.sha256);
        let missing: BTreeSet<_> = packages.iter().filter(missing).map(|p| p.sha256).collect();
        self.fetch_packages(packages, architecture, &missing)?;
        let mut seen = packages.to_vec();
        for package in &mut seen {
            self.content.check(&package.sha256)?;
            let path = self.content.path(&package.sha256);
            let size = path.metadata().map(|found| found.len());
            package.size = size.map_err(|source| FetchError::Io { path, source })?;
        }
        Ok(seen)
    }

    fn ensure_packages(
        &self,
        channel: &Lock,
        missing: &BTreeSet<Digest>,
    ) -> Result<(), FetchError> {
        for root in &channel.roots {
            self.fetch_packages(&root.packages, ARCHITECTURE, missing)?;
        }
        for base in &channel.bases {
            self.fetch_packages(&base.packages, &base.architecture, missing)?;
        }
        Ok(())
    }

    fn fetch_packages(
        &self,
        packages: &[lock::Package],
        architecture: &str,
        missing: &BTreeSet<Digest>,
    ) -> Result<(), FetchError> {
        // Two roots may share a package.
        let is_wanted = |digest: &Digest| missing.contains(digest) && !self.content.has(digest);
        let wanted = packages.iter().filter(|package| is_wanted(&package.sha256));
        let pins: Vec<_> = wanted
            .map(|package| PackagePin {
                name: package.name.clone(),
                version: package.version.clone(),
                architecture: package.architecture.clone(),
                digest: package.sha256,
            })
            .collect();
        if pins.is_empty() {
            return Ok(());
        }
        let scratch = self.home.scratch("packages")?;
        let progress = |message: &str| self.progress(message);
        let fetched = self.apt()?.fetch_packages(architecture, &pins, scratch.path(), &progress);
        let fetched = fetched.map_err(|source| {
            let names = pins.iter().map(|pin| format!("`{}`", pin.name));
            let packages = names.collect::<Vec<_>>().join(", ");
            FetchError::Packages { packages, source }
        })?;
        for package in fetched {
            self.content.take_expected(&package.file, &package.digest)?;
        }
        Ok(())
    }
}

fn differs(
    project: &ProjectName,
    what: &str,
    found: &CommitId,
    expected: &CommitId,
) -> Result<(), FetchError> {
    if found == expected {
        return Ok(());
    }
    Err(FetchError::Differs {
        what: format!("the {what} of `{project}`"),
        found: found.to_string(),
        expected: expected.to_string(),
    })
}
