//! The files: every asset that is one with its sidecars and the sums of its folder, and the documents of the release.

use std::collections::{BTreeMap, BTreeSet};

use kdistro_formats::{
    Digest, Sha512, layout,
    release::{Asset, AssetKind, Document},
};

use super::{
    manifest::SignedManifest,
    reading::{Checker, Expected},
};
use crate::{hash, store};

/// A file of the release and what the manifest says about it.
struct Listed {
    file: String,
    size: u64,
    sha256: Digest,
    sha512: Sha512,
}

impl Checker<'_> {
    /// Checks digests and sizes of all files, and the sidecars of assets and the sums of their folders.
    pub(super) fn check_assets(&mut self, signed: &SignedManifest) {
        let mut listed = Vec::new();
        let mut seen = BTreeSet::new();
        for component in &signed.release.status.components {
            for asset in component.assets.iter().filter(|asset| asset.kind == AssetKind::Archive) {
                let path = format!("{}/{}", component.name, asset.name);
                let Some(found) = self.locate_asset(signed, &path, asset) else { continue };
                if seen.insert(found.file.clone()) {
                    listed.push(found);
                } else {
                    self.differs(&signed.file, format!("lists the file of `{path}` twice"));
                }
            }
        }
        self.check_content(&listed);
        self.check_sums(&listed);
        let documents = &signed.release.status.documents;
        let documents: Vec<_> =
            documents.iter().map(|document| self.locate_document(signed, document)).collect();
        self.check_content(&documents);
    }

    fn locate_document(&mut self, signed: &SignedManifest, document: &Document) -> Listed {
        let Document { name, uri, sha256, sha512, size } = document;
        let file = layout::document(&signed.name, name);
        if !uri.ends_with(&format!("/{file}")) {
            self.differs(
                &signed.file,
                format!("the address of document `{name}` does not end with /{file}"),
            );
        }
        Listed { file, size: *size, sha256: *sha256, sha512: *sha512 }
    }

    fn locate_asset(
        &mut self,
        signed: &SignedManifest,
        path: &str,
        asset: &Asset,
    ) -> Option<Listed> {
        let archive = asset.archive.as_ref()?;
        let folder = layout::artifact(&signed.name, "");
        let inner = archive.uri.rsplit_once(&format!("/{folder}")).map(|(_, inner)| inner);
        let Some(inner) = inner.filter(|inner| store::is_plain(inner)) else {
            self.differs(&signed.file, format!("the address of `{path}` is not below /{folder}"));
            return None;
        };
        let Some(size) = asset.size else {
            self.differs(&signed.file, format!("`{path}` has no size"));
            return None;
        };
        let file = layout::artifact(&signed.name, inner);
        Some(Listed { file, size, sha256: archive.sha256, sha512: archive.sha512 })
    }

    fn check_content(&mut self, listed: &[Listed]) {
        let files: Vec<_> = listed
            .iter()
            .map(|asset| Expected { name: asset.file.clone(), size: asset.size })
            .collect();
        let hashes = self.hash_all(&files, |content| {
            hash::hashes_of(content).map(|hashes| (hashes, hashes.size))
        });
        for (asset, found) in listed.iter().zip(hashes) {
            let Some((found, _)) = found else { continue };
            let Listed { sha256, sha512, .. } = asset;
            if found.size > asset.size {
                self.differs(
                    &asset.file,
                    format!("has more than the {} bytes that were signed", asset.size),
                );
            } else if found.size < asset.size {
                let (has, signed) = (found.size, asset.size);
                self.differs(&asset.file, format!("has {has} bytes, signed were {signed}"));
            } else if found.sha256 != *sha256 {
                self.differs(&asset.file, format!("is {}, signed was {sha256}", found.sha256));
            } else if found.sha512 != *sha512 {
                self.differs(&asset.file, "its SHA-512 is not the one that was signed");
            }
        }
    }

    fn check_sums(&mut self, listed: &[Listed]) {
        let mut folders: BTreeMap<&str, BTreeMap<&str, &Listed>> = BTreeMap::new();
        for asset in listed {
            let (folder, name) = asset.file.rsplit_once('/').unwrap_or(("", &asset.file));
            folders.entry(folder).or_default().insert(name, asset);
        }
        for (folder, files) in folders {
            let (mut short, mut long) = (String::new(), String::new());
            for (name, asset) in files {
                let sha256 = format!("{}  {name}\n", asset.sha256.hex());
                let sha512 = format!("{}  {name}\n", asset.sha512);
                self.exact(
                    &format!("{folder}/{name}.sha256"),
                    &sha256,
                    "the digest that was signed",
                );
                self.exact(
                    &format!("{folder}/{name}.sha512"),
                    &sha512,
                    "the digest that was signed",
                );
                short.push_str(&sha256);
                long.push_str(&sha512);
            }
            self.exact(&format!("{folder}/SHA256SUM"), &short, "the list of what was signed");
            self.exact(&format!("{folder}/SHA512SUM"), &long, "the list of what was signed");
        }
    }
}
