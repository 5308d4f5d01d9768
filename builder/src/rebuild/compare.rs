//! Compares what was rebuilt with what was published, asset by asset.

use std::io::{self, Read};

use kdistro_formats::{
    Digest, layout,
    release::{Asset, AssetKind, Document},
    statement::{RebuildVerdict, RebuiltAsset},
};
use kdistro_verify::{
    compare::{self, Verdict},
    explain, hash,
};

use super::{RebuildError, Rebuilt, Subjected};
use crate::{
    content::ContentStore,
    home::Home,
    package::Packaged,
    release::{self, kubeadm},
};

/// What is compared, and where.
pub(super) struct Comparison<'a> {
    pub(super) subject: &'a Subjected,
    pub(super) home: &'a Home,
    pub(super) content: &'a ContentStore,
}

impl Comparison<'_> {
    pub(super) fn asset(
        &self,
        (component, asset): (&str, &Asset),
        packaged: &Packaged,
        rebuilt: &mut Rebuilt,
    ) -> Result<(), RebuildError> {
        let name = format!("{component}/{}", asset.name);
        let planned = self.subject.plan.components.iter().find(|c| c.name == component);
        let planned = planned.and_then(|c| c.assets.iter().find(|a| a.name == asset.name));
        let hashes = planned.and_then(|planned| packaged.assets.get(&planned.path));
        let published = asset.digest();
        let (Some(planned), Some(hashes), Some(published)) = (planned, hashes, published) else {
            let what = "published, but the plan does not make it";
            rebuilt.differences.insert(name.clone(), what.to_owned());
            let digest = published.unwrap_or(Digest::from_bytes([0; 32]));
            let verdict = RebuildVerdict::Different;
            rebuilt.assets.push(RebuiltAsset {
                name,
                published: digest,
                rebuilt: Digest::from_bytes([0; 32]),
                verdict,
            });
            return Ok(());
        };
        let ours = hashes.sha256;
        let verdict = if published == ours {
            RebuildVerdict::Same
        } else {
            let path = match asset.kind {
                AssetKind::Image => layout::image_blob(&published),
                AssetKind::Archive => layout::artifact(&self.subject.name, &planned.path),
            };
            let size = asset.size.unwrap_or(0);
            let (verdict, difference) = self.look_closer((&path, size), &ours)?;
            rebuilt.differences.insert(name.clone(), difference);
            verdict
        };
        rebuilt.assets.push(RebuiltAsset { name, published, rebuilt: ours, verdict });
        Ok(())
    }

    /// Compares the files of the release as a whole: they need all of it.
    pub(super) fn documents(
        &self,
        (packaged, registry): (&Packaged, &str),
        rebuilt: &mut Rebuilt,
    ) -> Result<(), RebuildError> {
        let Subjected { plan, name, release, .. } = self.subject;
        let kubeadm = kubeadm::configuration(plan, name, registry);
        let kubeadm = kubeadm.map_err(RebuildError::Document)?;
        let kubeadm = kubeadm.map(|text| hash::sha256(text.as_bytes()));
        for Document { name, sha256, .. } in &release.status.documents {
            let ours = match name.as_str() {
                release::SBOM => packaged.sbom.as_ref().map(|sbom| sbom.sha256),
                kubeadm::NAME => kubeadm,
                _ => None,
            };
            let ours = ours.unwrap_or(Digest::from_bytes([0; 32]));
            let same = ours == *sha256;
            if !same {
                let what = format!("is {sha256}, and what was rebuilt gives {ours}");
                rebuilt.differences.insert(name.clone(), what);
            }
            let verdict = if same { RebuildVerdict::Same } else { RebuildVerdict::Different };
            let (name, published) = (name.clone(), *sha256);
            rebuilt.assets.push(RebuiltAsset { name, published, rebuilt: ours, verdict });
        }
        Ok(())
    }

    /// Fetches the published file and says where it differs first.
    fn look_closer(
        &self,
        (name, size): (&str, u64),
        ours: &Digest,
    ) -> Result<(RebuildVerdict, String), RebuildError> {
        let failed = |source| RebuildError::Store { name: name.to_owned(), source };
        let file = self.subject.reader.open(name).map_err(failed)?;
        let file = file.ok_or_else(|| RebuildError::Missing(name.to_owned()))?;
        let io = |source| RebuildError::Io { path: self.home.path().to_owned(), source };
        let mut published = tempfile::NamedTempFile::new_in(self.home.path()).map_err(io)?;
        io::copy(&mut file.take(size + 1), &mut published).map_err(failed)?;
        let ours = self.content.path(ours);
        let verdict = compare::compare_files(published.path(), &ours).map_err(io)?;
        let verdict = match verdict {
            Verdict::Same | Verdict::SameContentOtherCompression => {
                RebuildVerdict::SameContentOtherCompression
            }
            Verdict::Different => RebuildVerdict::Different,
        };
        let difference = explain::first_difference(published.path(), &ours).map_err(io)?;
        Ok((verdict, difference.unwrap_or_default()))
    }
}
