//! The files that are uploaded: assets that nothing compresses, each with two sums, and two sums a folder, as publishing
//! makes them.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    process::Command,
};

use kdistro_verify::hash;

use crate::{
    error::{BenchError, at, doing},
    peer,
    roles::{self, Asset, Upload},
};

/// How many assets there are, in how many folders, and so how many files.
pub(super) const ASSETS: usize = 98;
pub(super) const FOLDERS: usize = 3;
pub(super) const COUNT: usize = 3 * ASSETS + 2 * FOLDERS;

/// How large assets are in relation to each other: of 1 GB from 2 to 27 MB, as archives of programs are.
const WEIGHTS: [u64; 7] = [1, 2, 3, 4, 5, 10, 15];

/// Assets with their digests.
pub(super) struct Files {
    folder: PathBuf,
    assets: Vec<Asset>,
}

impl Files {
    /// Makes them in a folder, of so many bytes in all.
    pub(super) fn make(folder: &Path, bytes: u64) -> Result<Self, BenchError> {
        let weights = || (0..ASSETS).zip(WEIGHTS.iter().cycle());
        let all: u64 = weights().map(|(_, weight)| weight).sum();
        let asset = |(number, weight): (usize, &u64)| {
            let path = format!("folder-{}/v1.0.0/asset-{number:02}.tar.gz", number % FOLDERS);
            asset(folder, path, bytes * weight / all)
        };
        let assets = weights().map(asset).collect::<Result<_, _>>()?;
        Ok(Self { folder: folder.to_owned(), assets })
    }

    /// This program in the role that uploads them.
    pub(super) fn upload(&self, bucket: Option<&str>, kept: &Path) -> Result<Command, BenchError> {
        fs::create_dir_all(kept).map_err(at(kept))?;
        let order = Upload {
            bucket: bucket.map(str::to_owned),
            kept: kept.to_owned(),
            folder: self.folder.clone(),
            assets: self.assets.clone(),
        };
        let path = kept.join("order.json");
        let bytes = serde_json::to_vec(&order).map_err(doing("write an order"))?;
        fs::write(&path, bytes).map_err(at(&path))?;
        let mut upload = peer::again(roles::UPLOAD);
        upload.arg(path);
        Ok(upload)
    }
}

fn asset(folder: &Path, path: String, size: u64) -> Result<Asset, BenchError> {
    let place = folder.join(&path);
    random(&place, size)?;
    let hashes = File::open(&place).and_then(hash::hashes_of).map_err(at(&place))?;
    Ok(Asset { path, sha256: hashes.sha256, sha512: hashes.sha512, size: hashes.size })
}

/// Writes a file that nothing compresses.
fn random(path: &Path, size: u64) -> Result<(), BenchError> {
    let write = || {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        let mut source = File::open("/dev/urandom")?.take(size);
        io::copy(&mut source, &mut File::create(path)?)
    };
    write().map(drop).map_err(at(path))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn there_are_as_many_files_as_the_figure_says_and_no_two_are_alike() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::make(folder.path(), 560_000).unwrap();
        let digests: BTreeSet<_> = files.assets.iter().map(|asset| asset.sha256).collect();
        let folders: BTreeSet<_> =
            files.assets.iter().map(|asset| asset.path.rsplit_once('/').unwrap().0).collect();
        assert_eq!((digests.len(), folders.len(), COUNT), (98, 3, 300));
        assert_eq!(files.assets.iter().map(|asset| asset.size).sum::<u64>(), 560_000);
        assert_eq!(files.assets.iter().map(|asset| asset.size).max(), Some(15_000));
    }
}
