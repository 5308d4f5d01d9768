//! The manifest: signed, logged, read strictly, and of the release that its name says.

use kdistro_formats::{
    Digest, ReleaseName, layout,
    release::{API_VERSION, EKS_D_API_VERSION, Release},
};

use super::{
    reading::{Checker, DOCUMENT},
    report::chain,
};
use crate::{bundle::Logged, hash, store, trust::Trust};

/// A manifest that is authentic.
pub(super) struct SignedManifest {
    pub(super) file: String,
    pub(super) name: ReleaseName,
    pub(super) digest: Digest,
    pub(super) release: Release,
    pub(super) logged: Logged,
}

impl Checker<'_> {
    /// True, with the reason recorded, for a manifest that its maker signs nowhere, and for one that is not there.
    pub(super) fn is_unsigned_kind(&mut self, file: &str) -> bool {
        let read = store::read(self.reader, file, DOCUMENT);
        let bytes = match read {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                self.unknown(file, "there is no such manifest in this store");
                return true;
            }
            Err(error) => {
                self.unreadable(file, &error);
                return true;
            }
        };
        let text = String::from_utf8_lossy(&bytes);
        // Under a name of ours it is a forgery, whatever it says of itself.
        let theirs = file.contains("-eks-")
            && Release::from_yaml(&text)
                .is_ok_and(|release| release.api_version == EKS_D_API_VERSION);
        if theirs {
            self.unknown(file, "is a manifest of EKS-D, which signs nothing");
        }
        theirs
    }

    /// Checks signature, log proof, form and names of a manifest.
    pub(super) fn check_manifest(&mut self, file: &str, trust: &Trust) -> Option<SignedManifest> {
        let (bytes, logged) = self.signed_document(file, trust)?;
        let Ok(text) = std::str::from_utf8(&bytes) else {
            self.differs(file, "is not UTF-8");
            return None;
        };
        let release = match Release::from_yaml(text) {
            Ok(release) => release,
            Err(error) => {
                self.differs(file, chain(&error));
                return None;
            }
        };
        let name = release.name();
        if release.api_version != API_VERSION {
            let found = &release.api_version;
            self.differs(file, format!("has apiVersion `{found}`, expected `{API_VERSION}`"));
            return None;
        }
        if release.spec.build_repo_commit.is_none() {
            self.note(file, "names no buildRepoCommit: it was cut from an uncommitted tree");
        }
        let expected = layout::manifest(&name);
        if file != expected {
            self.differs(file, format!("is the manifest of `{name}`, whose name is {expected}"));
            return None;
        }
        Some(SignedManifest {
            file: file.to_owned(),
            name,
            digest: hash::sha256(&bytes),
            release,
            logged,
        })
    }
}
