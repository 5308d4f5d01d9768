//! An image of a release in an archive that containerd imports: one platform of it, under the name that it has in a
//! cluster.
//!
//! Source: OCI image-spec 1.1, image-layout.md; containerd, `images/archive/importer.go` (annotation of the name).

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::Path,
};

use kdistro_formats::{
    Digest, layout as names,
    oci::{self, Descriptor, Index, Manifest, layout},
    release::{Asset, AssetKind},
};
use kdistro_verify::{hash, store};

use super::{Bringing, Result, beside, image_name, put, unreadable};
use crate::{DevclusterError, host::ARCHITECTURE};

/// What containerd calls the image.
const NAME: &str = "io.containerd.image.name";

impl Bringing<'_> {
    /// Puts the image that the release calls `<name>-image` into the archive `path`.
    pub(super) fn image(&self, name: &str, path: &Path) -> Result<()> {
        let wanted = format!("{name}-image");
        let mut assets = self.document.status.components.iter().flat_map(|one| &one.assets);
        let is_it = |asset: &&Asset| asset.kind == AssetKind::Image && asset.name == wanted;
        let digest = assets.find(is_it).and_then(|asset| asset.image.as_ref()?.image_digest);
        let digest = digest.ok_or_else(|| self.lacks(&wanted))?;
        let index = Index::from_slice(&self.blob(&digest)?);
        let index = index.map_err(|source| unreadable(&wanted, source))?;
        let is_ours = |one: &&Descriptor| {
            one.platform.as_ref().is_some_and(|platform| {
                platform.os == "linux" && platform.architecture == ARCHITECTURE
            })
        };
        let chosen = index.manifests.iter().find(is_ours).ok_or_else(|| self.lacks(&wanted))?;
        let bytes = self.blob(&chosen.digest)?;
        let manifest =
            Manifest::from_slice(&bytes).map_err(|source| unreadable(&wanted, source))?;
        let file = beside(path)?;
        let mut archive = tar::Builder::new(file);
        let failed = |source| DevclusterError::io("write", path)(source);
        append(&mut archive, layout::MARK, layout::MARK_CONTENT).map_err(failed)?;
        let mut entry = chosen.bare();
        entry.annotations.insert(NAME.to_owned(), image_name(name, &self.release));
        let entries = BTreeMap::from([(self.release.clone(), entry)]);
        let index = layout::write_index(&entries).map_err(|source| unreadable(&wanted, source))?;
        append(&mut archive, layout::INDEX, &index).map_err(failed)?;
        append(&mut archive, &layout::blob(&chosen.digest), &bytes).map_err(failed)?;
        for content in manifest.layers.iter().chain([&manifest.config]) {
            let expected = (&content.digest, content.size);
            let blob = self.copy(&names::image_blob(&content.digest), expected, path)?;
            let mut blob = blob.reopen().map_err(failed)?;
            archive.append_file(layout::blob(&content.digest), &mut blob).map_err(failed)?;
        }
        put(archive.into_inner().map_err(failed)?, path, 0o644)
    }

    /// A small blob, which is what its digest says.
    fn blob(&self, digest: &Digest) -> Result<Vec<u8>> {
        let name = names::image_blob(digest);
        let bytes = store::read(self.reader, &name, oci::LARGEST_DOCUMENT);
        let bytes = bytes.map_err(|source| unreadable(&name, source))?;
        let bytes = bytes.ok_or_else(|| self.lacks(&name))?;
        let found = hash::sha256(&bytes);
        if found == *digest { Ok(bytes) } else { Err(self.differs(&name, &found, digest)) }
    }
}

fn append(archive: &mut tar::Builder<impl Write>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, bytes)
}
