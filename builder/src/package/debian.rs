//! Debian packages that are linked or contained: what they are called, and under which licences they are.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use kdistro_assemble::{
    deb,
    licenses::{DebianCopyright, Licensed, debian_copyright, debian_license},
};
use kdistro_formats::{Digest, plan::Tree};

use super::{PackageError, Packager, error::Failed, linked::library};

/// A Debian package that is linked or contained.
#[derive(Clone, Debug)]
pub(super) struct LinkedPackage {
    pub(super) control: deb::Control,
    pub(super) sha256: Digest,
    pub(super) license: Licensed,
}

/// Debian packages that were read, each once.
#[derive(Debug, Default)]
pub struct KnownPackages(Mutex<BTreeMap<Digest, Arc<LinkedPackage>>>);

impl Packager<'_> {
    /// Lists the packages of a root or base.
    pub(super) fn packages_in(&self, tree: Option<&Digest>) -> &[Digest] {
        match tree.and_then(|tree| self.plan.trees.get(tree)) {
            Some(Tree::Root { packages, .. }) => packages,
            _ => &[],
        }
    }

    /// Returns name, version and licence of a Debian package, one of those `beside` each other in a root.
    pub(super) fn package_of(
        &self,
        component: &str,
        digest: &Digest,
        beside: &[Digest],
    ) -> Result<Arc<LinkedPackage>, PackageError> {
        let known = || self.packages.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(package) = known().get(digest) {
            return Ok(Arc::clone(package));
        }
        let bad = |source| PackageError::Package { package: *digest, source };
        let bytes = self.deb(component, digest)?;
        let control = deb::control(&bytes).map_err(bad)?;
        let name = &control.package;
        let text = match debian_copyright(&bytes, name).map_err(bad)? {
            DebianCopyright::Text(text) => text,
            DebianCopyright::In(other) => self.copyright_in(component, name, &other, beside)?,
            DebianCopyright::Missing => {
                return Err(PackageError::Copyright { package: name.clone(), other: None });
            }
        };
        let license = debian_license(library()?, name, &control.version, &text);
        let package = Arc::new(LinkedPackage { control, sha256: *digest, license });
        known().insert(*digest, Arc::clone(&package));
        Ok(package)
    }

    /// Returns the copyright file of a package that keeps it in another one.
    fn copyright_in(
        &self,
        component: &str,
        name: &str,
        other: &str,
        beside: &[Digest],
    ) -> Result<String, PackageError> {
        let origin = format!("pkg:deb/debian/{other}@");
        let is_other = |digest: &&Digest| {
            self.plan.input(digest).is_some_and(|input| input.origin.starts_with(&origin))
        };
        let missing =
            || PackageError::Copyright { package: name.to_owned(), other: Some(other.to_owned()) };
        let digest = beside.iter().find(is_other).ok_or_else(missing)?;
        let found = debian_copyright(&self.deb(component, digest)?, other);
        match found.map_err(|source| PackageError::Package { package: *digest, source })? {
            DebianCopyright::Text(text) => Ok(text),
            DebianCopyright::In(_) | DebianCopyright::Missing => Err(missing()),
        }
    }

    fn deb(&self, component: &str, digest: &Digest) -> Result<Vec<u8>, PackageError> {
        self.content.read(digest).map_err(|error| Failed(component).content(error))
    }
}
