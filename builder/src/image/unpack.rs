//! Unpacks the layers of an image into a folder, each over those below it.

use std::{fs, io::BufReader, path::Path};

use kdistro_assemble::{Entry, EntryKind, tar::read_tar};

use super::{ImageError, Images, PlainLayer, PlatformImage, failed};
use crate::build::trees::{TreeError, Unpacking};

/// How names begin that take something of a lower layer away.
///
/// Source: OCI image-spec, layer.md, "Whiteouts".
const WHITEOUT: &str = ".wh.";

impl Images<'_> {
    /// Unpacks an image into `folder`, which must be there and empty. `scratch` is a folder for what is in between.
    ///
    /// Everybody can read what is unpacked; owners, times and capabilities are not kept. A whiteout is refused: images
    /// of the distribution take nothing away.
    pub fn unpack(
        &self,
        image: &PlatformImage,
        folder: &Path,
        scratch: &Path,
    ) -> Result<(), ImageError> {
        let mut unpacking = Unpacking::new(folder, |_| None);
        for plain in self.layers(image, scratch) {
            let PlainLayer { layer, tar, .. } = plain?;
            read_tar(BufReader::with_capacity(1 << 20, tar), &mut |entry| {
                if entry.path.file_name().starts_with(WHITEOUT) {
                    let path = folder.join(entry.path.as_str());
                    let source = std::io::Error::other("it takes something of a lower layer away");
                    return Err(TreeError::Io { path, source });
                }
                clear(&mut unpacking, folder, &entry)?;
                unpacking.add(entry)
            })
            .map_err(|source| ImageError::Layer { digest: layer.digest, source })?;
        }
        // A temporary folder is its owner's alone, but steps run under another user.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(folder, mode).map_err(failed(folder))
    }
}

/// Removes the file or link of a lower layer that an entry replaces, and never what lies behind a link.
fn clear<F: Fn(&str) -> Option<bool>>(
    unpacking: &mut Unpacking<'_, F>,
    folder: &Path,
    entry: &Entry<'_>,
) -> Result<(), TreeError> {
    if matches!(entry.kind, EntryKind::Directory { .. }) {
        return Ok(());
    }
    let path = folder.join(entry.path.as_str());
    unpacking.parent(&path)?;
    match fs::symlink_metadata(&path) {
        Ok(found) if !found.is_dir() => {
            fs::remove_file(&path).map_err(|source| TreeError::Io { path, source })
        }
        // A folder stays, and the entry is refused; where nothing is, there is nothing to clear.
        _ => Ok(()),
    }
}
