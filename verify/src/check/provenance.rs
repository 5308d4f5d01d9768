//! The provenance of each component: signed, about exactly its assets, and of the plan that the manifest names.

use std::collections::{BTreeMap, BTreeSet};

use kdistro_formats::{
    layout, oci,
    plan::Plan,
    release::{AssetKind, Component},
    statement::{BUILD_TYPE, PROVENANCE, Provenance, ResourceDescriptor, Statement, Subject},
};

use super::{
    manifest::SignedManifest,
    reading::{Checker, SMALL},
    report::chain,
};
use crate::{bundle, hash, trust::Trust};

impl Checker<'_> {
    /// Checks that every component has its provenance; the plan says which inputs it may speak of.
    pub(super) fn check_provenances(
        &mut self,
        signed: &SignedManifest,
        plan: Option<&Plan>,
        trust: &Trust,
    ) {
        let known = plan.map(|plan| known(signed, plan));
        for component in &signed.release.status.components {
            let file = layout::provenance(&signed.name, &component.name);
            let Some(json) = self.document(&file, SMALL) else { continue };
            if component.assets.iter().any(|asset| asset.kind == AssetKind::Image) {
                self.check_referrer(&hash::sha256(oci::EMPTY_CONTENT));
                self.check_referrer(&hash::sha256(&json));
            }
            match bundle::verify_statement::<Provenance>(&json, trust) {
                Err(error) => self.differs(&file, chain(&error)),
                Ok((statement, logged)) => {
                    self.logged.push((file.clone(), logged));
                    for problem in subjects(component, &statement.subject) {
                        self.differs(&file, problem);
                    }
                    for problem in claims(signed, component, &statement) {
                        self.differs(&file, problem);
                    }
                    if let Some(known) = &known {
                        for problem in dependencies(known, &statement.predicate) {
                            self.differs(&file, problem);
                        }
                    }
                }
            }
        }
    }
}

/// Lists what is wrong with the subjects: they must be exactly the assets, each by name and SHA-256 alone.
fn subjects(component: &Component, subjects: &[Subject]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut named: BTreeMap<&str, &Subject> = BTreeMap::new();
    for subject in subjects {
        if named.insert(&subject.name, subject).is_some() {
            problems.push(format!("speaks of `{}` twice", subject.name));
        }
    }
    for asset in &component.assets {
        let path = format!("{}/{}", component.name, asset.name);
        let expected = asset.digest().map(|digest| Subject::new(&*asset.name, &digest));
        match named.remove(asset.name.as_str()) {
            None => problems.push(format!("does not speak of `{path}`")),
            Some(found) if Some(found) == expected.as_ref() => {}
            Some(_) => problems.push(format!("speaks of `{path}` with another digest")),
        }
    }
    let strange = named.keys().map(|name| format!("speaks of `{name}`, which is no asset of it"));
    problems.extend(strange);
    problems
}

/// Lists what the statement says of the release that the manifest does not.
fn claims(
    signed: &SignedManifest,
    component: &Component,
    statement: &Statement<Provenance>,
) -> Vec<String> {
    let definition = &statement.predicate.build_definition;
    let parameters = &definition.external_parameters;
    let plan = signed.release.spec.plan.as_ref().map(|plan| plan.sha256.to_string());
    let (release, planned) = (signed.name.to_string(), parameters.plan.to_string());
    let fields = [
        ("predicateType", statement.predicate_type.as_str(), PROVENANCE),
        ("buildType", &definition.build_type, BUILD_TYPE),
        ("externalParameters.release", &parameters.release, &release),
        ("externalParameters.component", &parameters.component, &component.name),
        ("externalParameters.plan", &planned, plan.as_deref().unwrap_or("no plan")),
    ];
    let wrong = fields.into_iter().filter(|(_, found, expected)| found != expected);
    wrong
        .map(|(field, found, expected)| format!("`{field}` is `{found}`, expected `{expected}`"))
        .collect()
}

/// The digests of everything that went into a release.
fn known(signed: &SignedManifest, plan: &Plan) -> BTreeSet<String> {
    let inputs = plan.inputs.iter().map(|input| input.sha256);
    let configuration = plan.configuration.iter().map(|file| file.sha256);
    let own = signed.release.spec.plan.as_ref().map(|plan| plan.sha256);
    let mut known: BTreeSet<_> =
        inputs.chain(configuration).chain(own).map(|digest| digest.hex()).collect();
    for component in &plan.components {
        known.insert(component.commit.to_string());
        known.insert(component.source_tree.to_string());
    }
    known
}

/// Lists the dependencies that the plan does not know.
fn dependencies(known: &BTreeSet<String>, provenance: &Provenance) -> Vec<String> {
    let dependencies = &provenance.build_definition.resolved_dependencies;
    let strange = dependencies.iter().filter(|ResourceDescriptor { digest, .. }| {
        digest.is_empty() || digest.values().any(|digest| !known.contains(digest))
    });
    strange
        .map(|dependency| {
            let name = if dependency.name.is_empty() { &dependency.uri } else { &dependency.name };
            format!("depends on `{name}`, which is no input of the plan")
        })
        .collect()
}
