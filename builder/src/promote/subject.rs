//! What there is to be promoted, read out of a store in which it was verified.

use std::{
    collections::BTreeMap,
    io::{self, Read},
    sync::Arc,
};

use kdistro_formats::{
    Digest, ReleaseName, canonical,
    channel::ReleaseChannel,
    claim::Claim,
    layout,
    plan::{Content, Plan},
    release::{Asset, Release, ReleaseRef},
    statement::{Provenance, Statement, TestResult, TestVerdict},
};
use kdistro_verify::{
    bundle,
    check::Report,
    hash::{self, Hashes},
    trust::Trust,
};

use super::{Origin, PromoteError, copying::Copying};
use crate::{
    config::environment::{Environment as Target, OnlyForDevelopment},
    content::ContentStore,
    publish::{
        ImageParts, Ready,
        files::{self, Upload},
        tested,
    },
};

/// A verified release.
pub(super) struct Subject {
    pub(super) name: ReleaseName,
    pub(super) digest: Digest,
    pub(super) index: ReleaseChannel,
    pub(super) provenances: BTreeMap<String, Statement<Provenance>>,
    /// What its tests came to, where that was written down.
    pub(super) tests: Option<TestResult>,
    release: Release,
    manifest: String,
    plan: Plan,
    plan_bytes: Vec<u8>,
    claim: Claim,
    assets: BTreeMap<String, Hashes>,
    images: BTreeMap<String, ImageParts>,
    documents: BTreeMap<String, Hashes>,
}

impl Subject {
    /// Reads the release that `report` found verified, and refuses one that its own channel does not offer.
    pub(super) fn read(
        (origin, verified): (&Origin, &Copying<'_>),
        name: &ReleaseName,
        report: &Report,
    ) -> Result<Self, PromoteError> {
        let manifest = read(verified, &layout::manifest(name))?;
        let digest = hash::sha256(&manifest);
        if report.manifest_digest != Some(digest) {
            let expected = report.manifest_digest.unwrap_or(digest);
            let release = name.clone();
            return Err(PromoteError::Changed { release, found: digest, expected });
        }
        let manifest = String::from_utf8_lossy(&manifest).into_owned();
        let release = Release::from_yaml(&manifest)?;
        let index = read(verified, &layout::channel_index(&name.channel))?;
        let index = ReleaseChannel::from_yaml(&String::from_utf8_lossy(&index))?;
        refuse_settled(&index, name)?;
        let plan_bytes = read(verified, &layout::plan(name))?.to_vec();
        let plan: Plan = canonical::from_slice(&plan_bytes)?;
        let hashes = |document: &kdistro_formats::release::Document| Hashes {
            sha256: document.sha256,
            sha512: document.sha512,
            size: document.size,
        };
        let root = read(verified, layout::TRUSTED_ROOT)?;
        let trust = Trust::from_trusted_root(&root, &origin.key)?;
        let documents = release.status.documents.iter();
        let (assets, images) = assets(verified, &release, &plan)?;
        Ok(Self {
            name: name.clone(),
            digest,
            provenances: provenances((verified, &trust), name, &plan)?,
            tests: tests((origin, &trust), name, &digest)?,
            claim: canonical::from_slice(&read(verified, &layout::claim(name))?)?,
            documents: documents.map(|one| (one.name.clone(), hashes(one))).collect(),
            index,
            release,
            manifest,
            plan,
            plan_bytes,
            assets,
            images,
        })
    }

    /// Refuses a part of a channel, and what was cut from an uncommitted tree, but in development environments.
    pub(super) fn refuse_in(&self, target: &Target) -> Result<(), PromoteError> {
        let (part, dirty) = (!self.plan.whole, self.release.spec.build_repo_commit.is_none());
        let found =
            [(part, "is a part of its channel"), (dirty, "was cut from an uncommitted tree")];
        match found.into_iter().find(|(found, _)| *found && !target.development) {
            Some((_, what)) => {
                let what = format!("release {} {what}", self.name);
                Err(OnlyForDevelopment { what, environment: target.name.clone() }.into())
            }
            None => Ok(()),
        }
    }

    /// Refuses what failed its tests, and what did not pass them where that is demanded.
    pub(super) fn refuse_untested(&self, from: &str, target: &Target) -> Result<(), PromoteError> {
        let result = self.tests.as_ref().map(|tests| tests.result);
        let is_enough = match result {
            Some(TestVerdict::Passed) => true,
            Some(TestVerdict::Failed) => false,
            Some(TestVerdict::Warned) | None => target.gate.is_none(),
        };
        if is_enough {
            return Ok(());
        }
        let found = match result {
            None => "were not run".to_owned(),
            Some(result) => format!("came to {result}"),
        };
        let (release, from, to) = (self.name.clone(), from.to_owned(), target.name.clone());
        Err(PromoteError::Untested { release, from, to, found })
    }

    /// The release cut before it.
    pub(super) fn previous(&self) -> Option<&ReleaseRef> {
        self.release.spec.previous.as_ref()
    }

    /// What is to be published, as of a cut.
    pub(super) fn ready(&self) -> Ready<'_> {
        Ready {
            plan: &self.plan,
            plan_bytes: &self.plan_bytes,
            manifest: &self.manifest,
            claim: &self.claim,
            assets: &self.assets,
            images: &self.images,
            documents: &self.documents,
            provenances: &self.provenances,
        }
    }

    pub(super) fn uploads(&self) -> Vec<Upload> {
        files::uploads(&self.ready(), &self.name)
    }

    /// True for the file of an SBOM, which is put beside an image.
    pub(super) fn is_sbom(&self, name: &str) -> bool {
        let assets = self.plan.components.iter().flat_map(|component| &component.assets);
        let mut sboms = assets.filter(|asset| matches!(asset.content, Content::Sbom { .. }));
        sboms.any(|asset| layout::artifact(&self.name, &asset.path) == name)
    }
}

/// Refuses a release that should not be used.
fn refuse_settled(index: &ReleaseChannel, name: &ReleaseName) -> Result<(), PromoteError> {
    let status = &index.status;
    let withheld = status.withheld.iter().map(|one| (one.number, &one.reason));
    let yanked = status.yanked.iter().map(|one| (one.number, &one.reason));
    match withheld.chain(yanked).find(|(number, _)| *number == name.number) {
        Some((_, reason)) => {
            Err(PromoteError::Settled { release: name.clone(), reason: reason.clone() })
        }
        None => Ok(()),
    }
}

type Assets = (BTreeMap<String, Hashes>, BTreeMap<String, ImageParts>);

/// Digests and sizes of all assets by their path in the plan, and what images consist of.
fn assets(verified: &Copying<'_>, release: &Release, plan: &Plan) -> Result<Assets, PromoteError> {
    let (mut assets, mut images) = Assets::default();
    for component in &plan.components {
        let shipped = release.status.components.iter().find(|other| other.name == component.name);
        for planned in &component.assets {
            let asset = shipped
                .and_then(|shipped| shipped.assets.iter().find(|asset| asset.name == planned.name));
            let missing = || PromoteError::Missing(planned.name.clone());
            let asset = asset.ok_or_else(missing)?;
            let hashes = if matches!(planned.content, Content::Image(_)) {
                let (hashes, parts) = image(verified, asset).transpose().ok_or_else(missing)??;
                images.insert(planned.path.clone(), parts);
                hashes
            } else {
                file(asset).ok_or_else(missing)?
            };
            assets.insert(planned.path.clone(), hashes);
        }
    }
    Ok((assets, images))
}

fn file(asset: &Asset) -> Option<Hashes> {
    let archive = asset.archive.as_ref()?;
    Some(Hashes { sha256: archive.sha256, sha512: archive.sha512, size: asset.size? })
}

fn image(
    verified: &Copying<'_>,
    asset: &Asset,
) -> Result<Option<(Hashes, ImageParts)>, PromoteError> {
    let (Some(digest), Some(size)) = (asset.digest(), asset.size) else { return Ok(None) };
    let read = |digest: &Digest| -> Result<_, PromoteError> {
        Ok(read(verified, &layout::image_blob(digest))?.to_vec())
    };
    let index = read(&digest)?;
    let hashes = hash::hashes_of(index.as_slice())
        .map_err(|source| PromoteError::Read { name: layout::image_blob(&digest), source })?;
    Ok(Some((Hashes { size, ..hashes }, ImageParts::read(&index, read)?)))
}

/// What was said of how each component was built.
fn provenances(
    (verified, trust): (&Copying<'_>, &Trust),
    name: &ReleaseName,
    plan: &Plan,
) -> Result<BTreeMap<String, Statement<Provenance>>, PromoteError> {
    let mut provenances = BTreeMap::new();
    for component in &plan.components {
        let document = layout::provenance(name, &component.name);
        let signed = bundle::verify_statement(&read(verified, &document)?, trust);
        let (statement, _) =
            signed.map_err(|source| PromoteError::Attestation { document, source })?;
        provenances.insert(component.name.clone(), statement);
    }
    Ok(provenances)
}

/// What was said of its tests.
fn tests(
    (origin, trust): (&Origin, &Trust),
    name: &ReleaseName,
    manifest: &Digest,
) -> Result<Option<TestResult>, PromoteError> {
    let document = layout::test_result(name);
    let Some(bundle) = origin.store.read(&document)? else { return Ok(None) };
    let tests = tested::read(&bundle, manifest, trust);
    tests.map(Some).map_err(|source| PromoteError::Attestation { document, source })
}

/// A document that was verified: the very bytes, for the store may give others now.
fn read(verified: &Copying<'_>, name: &str) -> Result<Arc<[u8]>, PromoteError> {
    verified.document(name).ok_or_else(|| PromoteError::Missing(name.to_owned()))
}

/// Brings a file into the content store; any other content than the one that was verified is refused.
pub(super) fn fetch(
    origin: &Origin,
    content: &ContentStore,
    (name, digest, size): (&str, &Digest, u64),
) -> Result<(), PromoteError> {
    let failed = |source| PromoteError::Read { name: name.to_owned(), source };
    let file = origin.store.open(name)?.ok_or_else(|| PromoteError::Missing(name.to_owned()))?;
    let mut new = content.create()?;
    // One byte more than was verified is enough to see that it is another file.
    io::copy(&mut file.take(size + 1), &mut new).map_err(failed)?;
    let (found, _) = new.keep()?;
    if found == *digest {
        return Ok(());
    }
    let what = format!("it is {found}, and was {digest} when it was verified");
    Err(failed(io::Error::new(io::ErrorKind::InvalidData, what)))
}
