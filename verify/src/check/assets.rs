//! The assets: every file that the manifest names, its sidecars, and the sums of its folder.

use std::collections::{BTreeMap, BTreeSet};

use kdistro_formats::{
    layout,
    release::{Asset, AssetArchive},
};

use super::{
    manifest::SignedManifest,
    reading::{Checker, Expected},
};
use crate::store;

/// A file of the release and what the manifest says about it.
struct Listed<'a> {
    file: String,
    size: u64,
    archive: &'a AssetArchive,
}

impl Checker<'_> {
    /// Checks digests and sizes of all assets, their sidecars and the sums of their folders.
    pub(super) fn check_assets(&mut self, signed: &SignedManifest) {
        let mut listed = Vec::new();
        let mut seen = BTreeSet::new();
        for component in &signed.release.status.components {
            for asset in &component.assets {
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
    }

    fn locate_asset<'m>(
        &mut self,
        signed: &SignedManifest,
        path: &str,
        asset: &'m Asset,
    ) -> Option<Listed<'m>> {
        let Some(archive) = &asset.archive else {
            self.check_image(signed, path, asset);
            return None;
        };
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
        Some(Listed { file: layout::artifact(&signed.name, inner), size, archive })
    }

    fn check_image(&mut self, signed: &SignedManifest, path: &str, asset: &Asset) {
        match asset.image.as_ref().and_then(|image| image.image_digest) {
            Some(digest) => {
                self.note(
                    &signed.file,
                    format!("image `{path}` is {digest}: look for it in the registry"),
                );
            }
            None => self.differs(&signed.file, format!("image `{path}` has no digest")),
        }
    }

    fn check_content(&mut self, listed: &[Listed<'_>]) {
        let files: Vec<_> = listed
            .iter()
            .map(|asset| Expected { name: asset.file.clone(), size: asset.size })
            .collect();
        let hashes = self.hash_all(&files);
        for (asset, found) in listed.iter().zip(hashes) {
            let Some(found) = found else { continue };
            let AssetArchive { sha256, sha512, .. } = asset.archive;
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

    fn check_sums(&mut self, listed: &[Listed<'_>]) {
        let mut folders: BTreeMap<&str, BTreeMap<&str, &AssetArchive>> = BTreeMap::new();
        for asset in listed {
            let (folder, name) = asset.file.rsplit_once('/').unwrap_or(("", &asset.file));
            folders.entry(folder).or_default().insert(name, asset.archive);
        }
        for (folder, files) in folders {
            let (mut short, mut long) = (String::new(), String::new());
            for (name, archive) in files {
                let sha256 = format!("{}  {name}\n", archive.sha256.hex());
                let sha512 = format!("{}  {name}\n", archive.sha512);
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
