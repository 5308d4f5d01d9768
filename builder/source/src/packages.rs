//! Fetches Debian packages for build roots and images: a closure once, the pinned ones ever after.

use std::path::{Path, PathBuf};

use kdistro_formats::Digest;

use crate::{
    apt::{Apt, AptError, Kind, check_word},
    apt_answer::parse_uris,
    command::Progress,
    stored::{Destination, StoredError, present},
};

/// A binary package on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its name, such as `libc6`.
    pub name: String,
    /// Its version, such as `2.36-9+deb12u14`.
    pub version: String,
    /// Its architecture: that of the machine, or `all`.
    pub architecture: String,
    /// The digest of the `.deb`.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Where it stands.
    pub file: PathBuf,
}

/// A binary package that the lock names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackagePin {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture: that of the machine, or `all`.
    pub architecture: String,
    /// The digest it must have.
    pub digest: Digest,
}

/// How far package names reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// To all that the packages depend on.
    Closure,
    /// To the named packages alone.
    Named,
}

impl PackagePin {
    /// Returns the file's name as apt writes it, with the colon of an epoch escaped.
    pub fn file_name(&self) -> String {
        let version = self.version.replace(':', "%3a");
        format!("{}_{version}_{}.deb", self.name, self.architecture)
    }
}

impl Apt {
    /// Resolves packages and fetches them into a folder: exactly these, or with all they depend on (nothing
    /// recommended), for a machine that has nothing yet. `architecture` is Debian's word, such as `arm64`. Sorted by name.
    pub fn resolve(
        &self,
        architecture: &str,
        (names, reach): (&[String], Reach),
        into: &Path,
        progress: Progress<'_>,
    ) -> Result<Vec<Package>, AptError> {
        names.iter().try_for_each(|name| check_word("package", name, "+-."))?;
        let session = self.session(Kind::Packages { architecture }, progress)?;
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let all = names.join(", ");
        let what = format!("cannot resolve {all} for {architecture}");
        let verb = match reach {
            Reach::Closure => "install",
            Reach::Named => "download",
        };
        let printed = session.run(&what, None, &[&[verb, "--print-uris"], &names[..]].concat())?;
        let mut pins = Vec::new();
        for listed in parse_uris(&all, &printed.text())? {
            let pin = parse_file_name(&listed.name, listed.digest);
            let answer = listed.name;
            pins.push(pin.ok_or(AptError::Answer { what: all.clone(), answer })?);
        }
        drop(session);
        pins.sort_by(|a, b| a.name.cmp(&b.name));
        self.fetch_packages(architecture, &pins, into, progress)
    }

    /// Fetches exactly the pinned packages, in their order. Those that are there need no network.
    pub fn fetch_packages(
        &self,
        architecture: &str,
        pins: &[PackagePin],
        into: &Path,
        progress: Progress<'_>,
    ) -> Result<Vec<Package>, AptError> {
        for pin in pins {
            check_word("package", &pin.name, "+-.")?;
            check_word("version", &pin.version, "+-.:~")?;
            check_word("architecture", &pin.architecture, "")?;
        }
        let destination = Destination::open(into, progress)?;
        let is_missing =
            |pin: &&PackagePin| present(&into.join(pin.file_name()), pin.digest).is_none();
        let missing: Vec<_> = pins.iter().filter(is_missing).collect();
        if !missing.is_empty() {
            let session = self.session(Kind::Packages { architecture }, progress)?;
            progress(&format!("fetching {} packages for {architecture}", missing.len()));
            let wanted: Vec<_> =
                missing.iter().map(|p| format!("{}={}", p.name, p.version)).collect();
            let what = format!("cannot fetch {} for {architecture}", wanted.join(", "));
            let wanted: Vec<_> = wanted.iter().map(String::as_str).collect();
            let arguments = [&["download"], &wanted[..]].concat();
            session.run(&what, Some(destination.work()), &arguments)?;
            for pin in missing {
                let name = pin.file_name();
                destination.keep(&destination.work().join(&name), &name, Some(pin.digest))?;
            }
        }
        let packages = pins.iter().map(|pin| {
            let file = into.join(pin.file_name());
            let size = file.metadata().map_err(crate::stored::file_error(&file))?.len();
            Ok(Package {
                name: pin.name.clone(),
                version: pin.version.clone(),
                architecture: pin.architecture.clone(),
                digest: pin.digest,
                size,
                file,
            })
        });
        Ok(packages.collect::<Result<_, StoredError>>()?)
    }
}

/// Reads `<name>_<version>_<architecture>.deb`.
fn parse_file_name(file: &str, digest: Digest) -> Option<PackagePin> {
    let mut parts = file.strip_suffix(".deb")?.split('_');
    let (name, version, architecture) = (parts.next()?, parts.next()?, parts.next()?);
    let pin = PackagePin {
        name: name.to_owned(),
        version: version.replace("%3a", ":"),
        architecture: architecture.to_owned(),
        digest,
    };
    (parts.next().is_none() && pin.file_name() == file).then_some(pin)
}

#[cfg(test)]
mod tests {
    use kdistro_verify::hash::sha256;

    use super::*;

    #[test]
    fn an_epoch_is_escaped_in_the_file_name() {
        let pin = parse_file_name("kmod_1%3a30+2-1_arm64.deb", sha256(b"")).unwrap();
        assert_eq!((pin.name.as_str(), pin.version.as_str()), ("kmod", "1:30+2-1"));
        assert_eq!(pin.file_name(), "kmod_1%3a30+2-1_arm64.deb");
        for file in ["kmod_1.deb", "kmod_1_arm64", "a_b_c_d.deb", "kmod_1:30_arm64.deb"] {
            assert!(parse_file_name(file, sha256(b"")).is_none(), "accepted {file}");
        }
    }
}
