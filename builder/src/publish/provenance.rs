//! The provenance of each component: how its assets were built, signed and logged like the manifest.

use std::collections::{BTreeMap, BTreeSet};

use kdistro_formats::{
    Digest, ReleaseName,
    claim::Header,
    layout,
    plan::{Component, InputKind, Plan},
    statement::{
        self, BUILD_TYPE, BuildDefinition, BuildMetadata, Builder, ExternalParameters,
        InternalParameters, Isolation, LOCAL_BUILDER, Provenance, ResourceDescriptor, RunDetails,
        STATEMENT, Statement, Subject,
    },
};
use kdistro_verify::{
    bundle::{self, BundleError},
    hash::{self, Hashes},
    trust::Trust,
};

use super::{PublishError, Publisher, Ready, images};
use crate::{
    build::{self, Records},
    journal::Journal,
};

impl Publisher<'_> {
    /// Signs and publishes a provenance for each component, also among the blobs of images where it refers to one;
    /// returns the bundles by component.
    pub(super) fn attest(
        &self,
        ready: &Ready<'_>,
        name: &ReleaseName,
        journal: &mut Journal,
    ) -> Result<BTreeMap<String, Vec<u8>>, PublishError> {
        let with_images: BTreeSet<_> =
            images::planned(ready).map(|(component, ..)| component.name.as_str()).collect();
        let trust = self.signing.trust()?;
        let mut bundles = BTreeMap::new();
        for (component, statement) in ready.provenances {
            let document = layout::provenance(name, component);
            let is_good = |bundle: &[u8]| is_of((bundle, &trust), statement);
            let sign = |journal: &mut Journal| self.signing.statement(statement, journal);
            let bundle = self.keep_signed((&document, &document), journal, (is_good, sign))?;
            if with_images.contains(component.as_str()) {
                self.create(&layout::image_blob(&hash::sha256(&bundle)), &bundle, journal)?;
            }
            bundles.insert(component.clone(), bundle);
        }
        Ok(bundles)
    }
}

/// Checks that a bundle is a signed provenance of the same assets, from the same plan, as a statement.
fn is_of(
    (bundle, trust): (&[u8], &Trust),
    statement: &Statement<Provenance>,
) -> Result<(), BundleError> {
    let (said, _) = bundle::verify_statement::<Provenance>(bundle, trust)?;
    let about = |statement: &Statement<Provenance>| {
        let parameters = &statement.predicate.build_definition.external_parameters;
        hash::sha256(format!("{:?} {parameters:?}", statement.subject).as_bytes())
    };
    let (signed, found) = (about(&said), about(statement));
    if signed == found { Ok(()) } else { Err(BundleError::Document { signed, found }) }
}

/// What is said of how a release was built.
pub struct Built<'a> {
    /// The plan and its digest.
    pub plan: (&'a Plan, &'a Digest),
    /// Digests and size of each asset.
    pub assets: &'a BTreeMap<String, Hashes>,
    /// What the steps gave, and what isolated them.
    pub records: &'a Records,
    /// The header of the release.
    pub header: &'a Header,
}

/// Says how the assets of each component were built.
pub fn statements(built: &Built<'_>) -> BTreeMap<String, Statement<Provenance>> {
    let name = built.header.release();
    let components = built.plan.0.components.iter();
    components
        .map(|component| (component.name.clone(), statement(built, &name, component)))
        .collect()
}

/// Says how the assets of a component were built.
fn statement(
    built: &Built<'_>,
    name: &ReleaseName,
    component: &Component,
) -> Statement<Provenance> {
    let (plan, plan_digest) = built.plan;
    let subjects = component.assets.iter().filter_map(|asset| {
        let hashes = built.assets.get(&asset.path)?;
        Some(Subject::new(asset.name.clone(), &hashes.sha256))
    });
    let wanted = BTreeSet::from([component.name.clone()]);
    let steps = build::needed(plan, Some(&wanted));
    let records = steps.iter().filter_map(|step| built.records.record(&step.key));
    let isolation: BTreeSet<Isolation> = records
        .flat_map(|record| &record.isolation.facts)
        .map(|fact| Isolation {
            name: fact.name.clone(),
            enforced: fact.enforced,
            how: fact.how.clone(),
        })
        .collect();
    let inputs = build::inputs_of(plan, &steps, Some(&wanted));
    let mut resolved: Vec<_> =
        inputs.iter().filter_map(|digest| dependency(plan, component, digest)).collect();
    resolved.sort();
    Statement {
        kind: STATEMENT.to_owned(),
        subject: subjects.collect(),
        predicate_type: statement::PROVENANCE.to_owned(),
        predicate: Provenance {
            build_definition: BuildDefinition {
                build_type: BUILD_TYPE.to_owned(),
                external_parameters: ExternalParameters {
                    release: name.to_string(),
                    component: component.name.clone(),
                    plan: *plan_digest,
                },
                internal_parameters: InternalParameters {
                    isolation: isolation.into_iter().collect(),
                },
                resolved_dependencies: resolved,
            },
            run_details: RunDetails {
                builder: Builder {
                    id: LOCAL_BUILDER.to_owned(),
                    version: BTreeMap::from([(
                        "kdistro".to_owned(),
                        env!("CARGO_PKG_VERSION").to_owned(),
                    )]),
                },
                metadata: BuildMetadata {
                    invocation_id: Some(name.to_string()),
                    started_on: Some(built.header.date.clone()),
                    finished_on: None,
                },
                byproducts: Vec::new(),
            },
        },
    }
}

/// An input as in-toto describes it.
fn dependency(plan: &Plan, component: &Component, digest: &Digest) -> Option<ResourceDescriptor> {
    let input = plan.input(digest)?;
    let mut digests = BTreeMap::from([("sha256".to_owned(), digest.hex())]);
    if input.kind == InputKind::Source {
        digests.insert("gitCommit".to_owned(), component.commit.to_string());
        digests.insert("gitTree".to_owned(), component.source_tree.to_string());
    }
    Some(ResourceDescriptor {
        name: layout::input(digest),
        uri: input.origin.clone(),
        digest: digests,
        annotations: BTreeMap::new(),
    })
}
