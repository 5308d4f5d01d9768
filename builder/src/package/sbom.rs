//! SBOMs: what an asset or a whole release consists of, told from what was built and not from what a scanner guesses.

use std::collections::BTreeMap;

use kdistro_assemble::spdx::{self, ContainedFile, Facts, Kind, License, Stamp};
use kdistro_formats::{
    Digest, canonical,
    plan::{AssemblyRules, Component, Content, EntryContent, OutputRef, PlannedAsset},
};
use kdistro_verify::hash::{self, Hashes};
use serde::Serialize;

use super::{
    Making, PackageError, Packaged, Packager, error::Failed, linked::Linked, read_kept, said::Said,
    write_kept,
};

/// Under which address the namespaces of SBOMs lie. Nothing needs to be there.
const NAMESPACE: &str = "https://distro.kdistro.dev/spdx";

/// Who makes the SBOMs.
const ORGANIZATION: &str = "kdistro";

/// What the SBOM of a release is made of, in full: the key under which it is kept.
#[derive(Serialize)]
struct ReleaseKey<'a> {
    rules: &'a AssemblyRules,
    channel: &'a str,
    facts: Vec<Digest>,
    assets: BTreeMap<&'a String, Digest>,
}

impl Packager<'_> {
    /// Writes the SBOM of one asset.
    pub(super) fn sbom(
        &self,
        making: &Making<'_>,
        of: &str,
        done: &Packaged,
    ) -> Result<Digest, PackageError> {
        let failed = Failed(&making.asset.name);
        let subject = making.component.assets.iter().find(|asset| asset.name == of);
        let subject = subject.ok_or_else(|| failed.plan(format!("asset `{of}`")))?;
        let facts = self.facts(making.component, making.linked, subject, done)?;
        let bytes = spdx::asset(&facts, &stamp(making.component.commit_time));
        let bytes = bytes.map_err(|source| PackageError::Sbom { asset: of.to_owned(), source })?;
        self.content.insert_bytes(&bytes).map_err(|error| failed.content(error))
    }

    /// Writes the SBOM of everything that was made, and returns its digests.
    pub(super) fn release_sbom(
        &self,
        components: &[&Component],
        linked: &[Linked],
        done: &Packaged,
    ) -> Result<Hashes, PackageError> {
        let name = format!("kubernetes-{}", self.plan.channel);
        let failed = Failed(&name);
        let key = canonical::to_vec(&ReleaseKey {
            rules: &self.plan.assembly,
            channel: name.as_str(),
            facts: linked.iter().map(|linked| linked.facts).collect(),
            assets: done.assets.iter().map(|(path, hashes)| (path, hashes.sha256)).collect(),
        });
        let record = self.record(&hash::sha256(&key.map_err(|error| failed.key(error))?));
        if let Some(kept) = read_kept::<Digest>(&record).filter(|kept| self.content.has(kept)) {
            return self.hashes(&name, &kept);
        }
        let mut all = Vec::new();
        for (component, linked) in components.iter().zip(linked) {
            let assets = component.assets.iter();
            for asset in assets.filter(|asset| !matches!(asset.content, Content::Sbom { .. })) {
                all.push(self.facts(component, linked, asset, done)?);
            }
        }
        let newest = components.iter().map(|component| component.commit_time).max();
        let bytes = spdx::release(&name, &all, &stamp(newest.unwrap_or(0)));
        let bytes = bytes.map_err(|source| PackageError::Sbom { asset: name.clone(), source })?;
        let digest = self.content.insert_bytes(&bytes).map_err(|error| failed.content(error))?;
        write_kept(&record, &digest).map_err(failed.io(record.clone()))?;
        self.hashes(&name, &digest)
    }

    fn facts(
        &self,
        component: &Component,
        linked: &Linked,
        asset: &PlannedAsset,
        done: &Packaged,
    ) -> Result<Facts, PackageError> {
        let failed = Failed(&asset.name);
        let hashes = done.assets.get(&asset.path);
        let hashes =
            hashes.ok_or_else(|| failed.plan(format!("`{}` before its SBOM", asset.name)))?;
        let said = self.said(component, linked)?;
        let is_image = matches!(asset.content, Content::Image(_));
        let mut facts = Facts {
            name: asset.name.clone(),
            kind: kind(&asset.content),
            platforms: asset.arch.iter().map(|arch| format!("{}/{arch}", asset.os)).collect(),
            sha256: hashes.sha256,
            sha512: (!is_image).then_some(hashes.sha512),
            size: (!is_image).then_some(hashes.size),
            component: built_from(component, &said.license),
            programs: Vec::new(),
            packages: Vec::new(),
            files: Vec::new(),
        };
        let mut holder =
            Holder { packager: self, component, linked, said: &said, facts: &mut facts };
        holder.add(asset)?;
        Ok(facts)
    }

    fn size_of(&self, failed: &Failed<'_>, digest: &Digest) -> Result<u64, PackageError> {
        let path = self.content.path(digest);
        Ok(path.metadata().map_err(failed.io(path.clone()))?.len())
    }
}

/// What an asset is built from.
fn built_from(component: &Component, license: &License) -> spdx::Component {
    let patches = component.patches.iter().map(|patch| spdx::Patch {
        name: patch.name.clone(),
        sha256: patch.digest,
        fixes: patch.fixes.clone(),
    });
    spdx::Component {
        name: component.name.clone(),
        tag: component.tag.to_string(),
        repository: component.repository.clone(),
        commit: component.commit.to_string(),
        tree: component.source_tree.to_string(),
        patches: patches.collect(),
        toolchain: component.toolchain.clone(),
        license: license.clone(),
    }
}

fn stamp(created: u64) -> Stamp {
    let (namespace, organization) = (NAMESPACE.to_owned(), ORGANIZATION.to_owned());
    Stamp { namespace, created, organization }
}

fn kind(content: &Content) -> Kind {
    match content {
        Content::File { .. } => Kind::Program,
        Content::Archive { .. } => Kind::Archive,
        Content::Source { .. } => Kind::Source,
        Content::Image(_) | Content::DockerArchive(_) => Kind::Image,
        Content::Text { .. } | Content::Sbom { .. } => Kind::File,
    }
}

/// Fills in what an asset holds.
struct Holder<'a> {
    packager: &'a Packager<'a>,
    component: &'a Component,
    linked: &'a Linked,
    said: &'a Said,
    facts: &'a mut Facts,
}

impl Holder<'_> {
    fn add(&mut self, asset: &PlannedAsset) -> Result<(), PackageError> {
        match &asset.content {
            Content::File { output } => {
                let name = output.name.clone();
                self.program(name, output, &format!("{}/{}", asset.os, asset.arch.join(",")))
            }
            Content::Archive { entries, .. } => {
                let platform = format!("{}/{}", asset.os, asset.arch.join(","));
                entries.iter().try_for_each(|entry| self.entry(&entry.path, &entry.from, &platform))
            }
            Content::Image(image) => {
                for platform in &image.platforms {
                    let name = platform.platform.as_str();
                    for entry in &platform.entries {
                        self.entry(&entry.path, &entry.from, name)?;
                    }
                    self.base(platform.base.as_ref())?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn entry(
        &mut self,
        path: &str,
        from: &EntryContent,
        platform: &str,
    ) -> Result<(), PackageError> {
        let digest = match from {
            EntryContent::Output(output) => {
                return self.program(path.to_owned(), output, platform);
            }
            EntryContent::Attribution { programs } => self.linked.attribution(programs),
            // Licence files of the source: the source is named with its digest already.
            EntryContent::Source { .. } => None,
        };
        let Some(sha256) = digest else { return Ok(()) };
        let size = self.packager.size_of(&Failed(path), &sha256)?;
        let file = ContainedFile { path: path.to_owned(), sha256, size };
        if !self.facts.files.contains(&file) {
            self.facts.files.push(file);
        }
        Ok(())
    }

    fn program(
        &mut self,
        path: String,
        output: &OutputRef,
        platform: &str,
    ) -> Result<(), PackageError> {
        let failed = Failed(&path);
        let sha256 = self.packager.output(&path, output)?;
        let size = self.packager.size_of(&failed, &sha256)?;
        let said = self.said.program(output);
        let said = said.ok_or_else(|| failed.plan(format!("program `{}`", output.name)))?;
        self.facts.programs.push(spdx::Program {
            platform: platform.to_owned(),
            sha256,
            size,
            go: said.go.clone(),
            packages: said.packages.clone(),
            path,
        });
        Ok(())
    }

    fn base(&mut self, base: Option<&Digest>) -> Result<(), PackageError> {
        for package in self.packager.said_packages(&self.component.name, base)? {
            // Packages for all architectures are in each of them.
            if !self.facts.packages.contains(&package) {
                self.facts.packages.push(package);
            }
        }
        Ok(())
    }
}
