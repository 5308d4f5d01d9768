//! Turns facts into packages and relationships; what several assets share is described once.

use std::collections::{BTreeMap, BTreeSet};

use kdistro_formats::{Digest, time::rfc3339};

use super::{
    Component, ContainedFile, DebianPackage, Facts, GoModule, GoProgram, Kind, License, Patch,
    Program, SpdxError, Stamp,
    conclusion::{conclude, linked_licenses},
    document::{
        Checksum, Creation, Document, ExtractedText, NO_ASSERTION, Package, Reference, Relationship,
    },
    names::{id, purl_deb, purl_generic, purl_golang, purl_source},
};
use crate::licenses::LICENSE_LIST;

/// What is said of a program that does not name its modules.
const UNNAMED: &str = "; it names no modules itself: listed are those whose source files it names, so one without any code in it is not";

/// Everything that is said so far. An identifier is made of all that its package says, so two that are equal
/// describe the same.
#[derive(Default)]
pub(super) struct Description {
    packages: BTreeMap<String, Package>,
    relationships: BTreeSet<Relationship>,
    extracted: BTreeMap<String, ExtractedText>,
    /// Expressions that were found to be written as SPDX does.
    checked: BTreeSet<String>,
}

impl Description {
    /// Describes an asset and everything in it; returns its identifier.
    pub(super) fn asset(&mut self, facts: &Facts) -> Result<String, SpdxError> {
        let component = &facts.component;
        let source = self.source(component)?;
        let sha256 = facts.sha256.hex();
        let id = id("asset", &facts.name, &[&component.name, &facts.name, &component.tag, &sha256]);
        let mut package = Package::new(id.clone(), &facts.name);
        package.version.clone_from(&component.tag);
        package.checksums.push(Checksum { algorithm: "SHA256", value: sha256.clone() });
        if let Some(sha512) = &facts.sha512 {
            package.checksums.push(Checksum { algorithm: "SHA512", value: sha512.to_string() });
        }
        package.purpose = Some(match facts.kind {
            Kind::Program => "APPLICATION",
            Kind::Archive => "ARCHIVE",
            Kind::Source => "SOURCE",
            Kind::Image => "CONTAINER",
            Kind::File => "FILE",
        });
        package.comment = Some(about(facts));
        package.declared = self.license(&facts.name, &component.license)?;
        let purl = match facts.kind {
            Kind::Image => purl_oci(facts),
            _ => purl_generic(&facts.name, &component.tag, &facts.sha256.to_string()),
        };
        let mut licenses = vec![component.license.expression.as_str()];
        for program in &facts.programs {
            let described = self.program(program, component, &source)?;
            self.relate(&id, "CONTAINS", &described, Some(&program.path));
            licenses.extend(linked_licenses(program));
        }
        for debian in &facts.packages {
            let described = self.debian(debian)?;
            self.relate(&id, "CONTAINS", &described, None);
            licenses.push(&debian.license.expression);
        }
        for file in &facts.files {
            let described = self.file(file);
            self.relate(&id, "CONTAINS", &described, Some(&file.path));
        }
        package.concluded = conclude(licenses);
        self.relate(&id, "GENERATED_FROM", &source, None);
        self.packages.insert(id.clone(), package.purl(purl));
        Ok(id)
    }

    /// Describes a release and its assets; returns its identifier.
    pub(super) fn release(&mut self, name: &str, assets: &[Facts]) -> Result<String, SpdxError> {
        let digests: BTreeSet<_> = assets.iter().map(|facts| facts.sha256.hex()).collect();
        let mut unique = vec![name];
        unique.extend(digests.iter().map(String::as_str));
        let id = id("release", name, &unique);
        for facts in assets {
            let asset = self.asset(facts)?;
            self.relate(&id, "CONTAINS", &asset, None);
        }
        let mut package = Package::new(id.clone(), name);
        package.purpose = Some("OTHER");
        self.packages.insert(id.clone(), package);
        Ok(id)
    }

    /// Describes the source that is built, and the patches in it.
    fn source(&mut self, component: &Component) -> Result<String, SpdxError> {
        let Component { name, tag, repository, commit, tree, patches, license, .. } = component;
        let digests: Vec<_> = patches.iter().map(|patch| patch.sha256.hex()).collect();
        let mut unique = vec![name, tag, repository, commit, tree, &license.expression];
        unique.extend(&digests);
        let unique: Vec<_> = unique.into_iter().map(String::as_str).collect();
        let id = id("source", name, &unique);
        if self.packages.contains_key(&id) {
            return Ok(id);
        }
        let mut package = Package::new(id.clone(), name);
        package.version.clone_from(tag);
        package.purpose = Some("SOURCE");
        package.comment =
            Some(format!("commit {commit}; tree with {} patches {tree}", patches.len()));
        if !repository.is_empty() {
            package.location = format!("git+{repository}@{commit}");
        }
        package.declared = self.license(name, license)?;
        package.concluded.clone_from(&package.declared);
        for patch in patches {
            let described = self.patch(patch);
            self.relate(&described, "PATCH_FOR", &id, None);
        }
        self.packages.insert(id.clone(), package.purl(purl_source(name, repository, tag, "")));
        Ok(id)
    }

    fn patch(&mut self, patch: &Patch) -> String {
        let sha256 = patch.sha256.hex();
        let id = id("patch", &patch.name, &[&patch.name, &sha256, &patch.fixes.join(" ")]);
        let mut package = Package::new(id.clone(), &patch.name);
        package.checksums.push(Checksum { algorithm: "SHA256", value: sha256 });
        package.purpose = Some("FILE");
        let fixes: BTreeSet<_> = patch.fixes.iter().collect();
        if !fixes.is_empty() {
            let fixes: Vec<_> = fixes.iter().map(|cve| cve.as_str()).collect();
            package.comment = Some(format!("fixes {}", fixes.join(", ")));
        }
        for cve in fixes {
            package.references.push(Reference {
                comment: None,
                category: "SECURITY",
                locator: format!("https://www.cve.org/CVERecord?id={cve}"),
                kind: "fix",
            });
        }
        self.packages.insert(id.clone(), package);
        id
    }

    fn program(
        &mut self,
        program: &Program,
        component: &Component,
        source: &str,
    ) -> Result<String, SpdxError> {
        let sha256 = program.sha256.hex();
        let name = program.path.rsplit('/').next().unwrap_or_default();
        let id = id("program", name, &[name, &sha256, &program.platform, source]);
        if self.packages.contains_key(&id) {
            return Ok(id);
        }
        let mut package = Package::new(id.clone(), name);
        package.version.clone_from(&component.tag);
        package.checksums.push(Checksum { algorithm: "SHA256", value: sha256 });
        package.purpose = Some("APPLICATION");
        let of_go = program.go.as_ref();
        let package_of_go = of_go.map(|go| {
            let found = if go.names_modules { "" } else { UNNAMED };
            format!("; Go package {} of module {}{found}", go.package, go.main_module)
        });
        package.comment = Some(format!(
            "{}; {} bytes{}",
            program.platform,
            program.size,
            package_of_go.unwrap_or_default()
        ));
        package.declared = self.license(name, &component.license)?;
        let licenses = [component.license.expression.as_str()];
        package.concluded = conclude(licenses.into_iter().chain(linked_licenses(program)));
        if let Some(go) = of_go {
            self.linked_modules(go, component, &id)?;
        }
        for debian in &program.packages {
            let described = self.debian(debian)?;
            self.relate(&id, "STATIC_LINK", &described, None);
        }
        self.relate(&id, "GENERATED_FROM", source, None);
        let purl = purl_generic(name, &component.tag, &program.sha256.to_string());
        self.packages.insert(id.clone(), package.purl(purl));
        Ok(id)
    }

    fn linked_modules(
        &mut self,
        go: &GoProgram,
        component: &Component,
        program: &str,
    ) -> Result<(), SpdxError> {
        let version = component.toolchain.trim_start_matches("go");
        let license = &go.standard_library;
        let standard = id("go", "stdlib", &["stdlib", version, &license.expression]);
        let mut package = Package::new(standard.clone(), "stdlib");
        version.clone_into(&mut package.version);
        package.purpose = Some("LIBRARY");
        package.declared = self.license("stdlib", license)?;
        package.concluded.clone_from(&package.declared);
        self.packages.insert(standard.clone(), package.purl(purl_golang("stdlib", version)));
        self.relate(program, "STATIC_LINK", &standard, None);

        let tool = id("tool", &component.toolchain, &[&component.toolchain]);
        let mut package = Package::new(tool.clone(), "go");
        version.clone_into(&mut package.version);
        package.purpose = Some("APPLICATION");
        let purl = format!("pkg:generic/go@{version}");
        self.packages.insert(tool.clone(), package.purl(purl));
        self.relate(&tool, "BUILD_TOOL_OF", program, None);

        for module in &go.modules {
            let described = self.module(module, component)?;
            self.relate(program, "STATIC_LINK", &described, None);
        }
        Ok(())
    }

    fn module(&mut self, module: &GoModule, component: &Component) -> Result<String, SpdxError> {
        let (named, linked) = (&module.module.module, module.module.linked());
        let sum = module.sum.as_deref().or(linked.sum.as_deref()).unwrap_or_default();
        let folder = module.folder.as_deref();
        let (name, version) = match folder {
            Some(_) => (&named.path, &component.tag),
            None => (&linked.path, &linked.version),
        };
        let place = folder.map(|folder| (folder, component.commit.as_str())).unwrap_or_default();
        let stands_in = named.path != linked.path
            || (named.version != linked.version
                && !["", "(devel)"].contains(&named.version.as_str()));
        let replaced = (stands_in && folder.is_none())
            .then(|| format!("in place of {} {}", named.path, named.version));
        let license = &module.license.expression;
        let unique = [
            name,
            version,
            sum,
            place.0,
            place.1,
            replaced.as_deref().unwrap_or_default(),
            license,
        ];
        let id = id("go", &format!("{name}-{version}"), &unique);
        if self.packages.contains_key(&id) {
            return Ok(id);
        }
        let mut package = Package::new(id.clone(), name);
        package.version.clone_from(version);
        package.purpose = Some("LIBRARY");
        package.declared = self.license(name, &module.license)?;
        package.concluded.clone_from(&package.declared);
        let inside =
            folder.map(|folder| format!("from `{folder}` of {} {}", component.name, component.tag));
        package.comment = inside.or(replaced);
        let purl = match folder {
            Some(folder) => {
                purl_source(&component.name, &component.repository, &component.tag, folder)
            }
            None => purl_golang(name, version),
        };
        package = package.purl(purl);
        if !sum.is_empty() {
            let comment = if module.module.module.sum.is_some() || linked.sum.is_some() {
                "Go's sum of the module: SHA-256 over the list of its files"
            } else {
                "Go's sum of the module, as the source's go.sum says it; the source carries the module"
            };
            package.references.push(Reference {
                comment: Some(comment),
                category: "OTHER",
                locator: sum.to_owned(),
                kind: "go-sum",
            });
        }
        self.packages.insert(id.clone(), package);
        Ok(id)
    }

    fn debian(&mut self, debian: &DebianPackage) -> Result<String, SpdxError> {
        let DebianPackage { name, version, architecture, suite, sha256, license } = debian;
        let digest = sha256.as_ref().map(Digest::hex);
        let unique = [name, version, architecture, suite, &license.expression];
        let mut unique: Vec<_> = unique.into_iter().map(String::as_str).collect();
        unique.extend(digest.as_deref());
        let id = id("deb", &format!("{name}-{architecture}"), &unique);
        if self.packages.contains_key(&id) {
            return Ok(id);
        }
        let mut package = Package::new(id.clone(), name);
        package.version.clone_from(version);
        package.supplier = Some("Organization: Debian");
        package.checksums.extend(digest.map(|value| Checksum { algorithm: "SHA256", value }));
        package.declared = self.license(name, license)?;
        package.concluded.clone_from(&package.declared);
        let purl = purl_deb(name, version, architecture, suite);
        self.packages.insert(id.clone(), package.purl(purl));
        Ok(id)
    }

    fn file(&mut self, file: &ContainedFile) -> String {
        let sha256 = file.sha256.hex();
        let name = file.path.rsplit('/').next().unwrap_or_default();
        let id = id("file", name, &[name, &sha256]);
        let mut package = Package::new(id.clone(), name);
        package.checksums.push(Checksum { algorithm: "SHA256", value: sha256 });
        package.purpose = Some("FILE");
        package.comment = Some(format!("{} bytes", file.size));
        self.packages.insert(id.clone(), package);
        id
    }

    /// Checks a licence and keeps the texts that it refers to; returns the expression.
    fn license(&mut self, name: &str, license: &License) -> Result<String, SpdxError> {
        let expression = &license.expression;
        if expression.is_empty() {
            return Ok(NO_ASSERTION.to_owned());
        }
        for text in &license.extracted {
            self.extracted.entry(text.id.clone()).or_insert_with(|| ExtractedText {
                text: text.text.to_string(),
                id: text.id.clone(),
                name: text.name.clone(),
            });
        }
        if !self.checked.contains(expression) {
            let is_known =
                |word: &str| !word.starts_with("LicenseRef-") || self.extracted.contains_key(word);
            let mut words = expression.split([' ', '(', ')']);
            if spdx::Expression::parse(expression).is_err() || !words.all(is_known) {
                let (name, expression) = (name.to_owned(), expression.clone());
                return Err(SpdxError::License { name, expression });
            }
            self.checked.insert(expression.clone());
        }
        Ok(expression.clone())
    }

    fn relate(&mut self, from: &str, kind: &'static str, to: &str, path: Option<&str>) {
        let comment = path.map(|path| format!("at `{path}`"));
        let (from, to) = (from.to_owned(), to.to_owned());
        self.relationships.insert(Relationship { comment, to, kind, from });
    }

    /// Writes the document that describes `root`.
    pub(super) fn finish(
        mut self,
        name: &str,
        root: &str,
        stamp: &Stamp,
    ) -> Result<Vec<u8>, SpdxError> {
        const DOCUMENT: &str = "SPDXRef-DOCUMENT";
        self.relate(DOCUMENT, "DESCRIBES", root, None);
        let created = rfc3339(stamp.created).ok_or(SpdxError::Time(stamp.created))?;
        let mut creators = vec!["Tool: kdistro".to_owned()];
        if !stamp.organization.is_empty() {
            creators.insert(0, format!("Organization: {}", stamp.organization));
        }
        // The specification wants two numbers.
        let license_list = LICENSE_LIST.split('.').take(2).collect::<Vec<_>>().join(".");
        let mut document = Document {
            id: DOCUMENT,
            creation: Creation { created, creators, license_list },
            data_license: "CC0-1.0",
            namespace: String::new(),
            extracted: self.extracted.into_values().collect(),
            name: name.to_owned(),
            packages: self.packages.into_values().collect(),
            relationships: self.relationships.into_iter().collect(),
            version: "SPDX-2.3",
        };
        let write = |document: &Document| {
            let failed = |source| SpdxError::Write { name: name.to_owned(), source };
            serde_json::to_vec(document).map_err(failed)
        };
        let digest = kdistro_verify::hash::sha256(&write(&document)?).hex();
        let base = stamp.namespace.trim_end_matches('/');
        document.namespace = format!("{base}/{digest}");
        let mut bytes = write(&document)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// Says in words what has no field of its own.
fn about(facts: &Facts) -> String {
    let mut parts = vec![format!("part of {}", facts.component.name)];
    if !facts.platforms.is_empty() {
        parts.push(facts.platforms.join(", "));
    }
    parts.extend(facts.size.map(|size| format!("{size} bytes")));
    parts.join("; ")
}

fn purl_oci(facts: &Facts) -> String {
    let name = facts.name.rsplit('/').next().unwrap_or_default().to_lowercase();
    format!("pkg:oci/{name}@sha256%3A{}", facts.sha256.hex())
}
