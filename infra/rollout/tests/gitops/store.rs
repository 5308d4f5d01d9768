//! The two real releases that are written into repositories.

use std::{fs, path::PathBuf};

use kdistro_rollout::{
    decide::{Proven, prove},
    history::Target,
};
use kdistro_verify::{check::TrustSource, store::Directory, trust::PublicKey};

/// The folder that has them.
pub(crate) fn folder() -> PathBuf {
    kdistro_testbed::releases().unwrap().join("store")
}

/// A release, verified by its documents.
pub(crate) fn proven(number: u32) -> Proven {
    let store = folder();
    let key = fs::read_to_string(store.join("keys/release.pub")).unwrap();
    let trust = TrustSource { key: PublicKey::from_pem(&key).unwrap(), trusted_root: None };
    let file = format!("kubernetes-1-20/kubernetes-1-20-{number}.yaml");
    prove(&Directory::new(store), &trust, (&file, None)).unwrap()
}

pub(crate) fn target(number: u32) -> Target {
    let Proven { name, digest, .. } = proven(number);
    Target { name, digest }
}
