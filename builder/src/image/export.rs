//! Writes an image of a store in the forms that other programs take: an OCI image layout, or the tar of `docker save`.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufReader, BufWriter, Read},
    path::Path,
};

use kdistro_assemble::image::{DockerLayer, docker_archive};
use kdistro_formats::{
    Digest,
    oci::{Descriptor, layout},
};

use super::{Image, ImageError, Images, PlainLayer, PlatformImage, failed};

/// Writes an OCI image layout into `folder`, which must not be there yet.
///
/// With `only`, the layout holds the manifest for that platform under the tag; otherwise the whole index.
pub fn oci_layout(
    images: &Images<'_>,
    (image, only): (&Image, Option<&PlatformImage>),
    tag: &str,
    folder: &Path,
) -> Result<(), ImageError> {
    if folder.symlink_metadata().is_ok() {
        return Err(ImageError::Exists(folder.to_owned()));
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let made = tempfile::Builder::new().prefix(".kdistro-image-").tempdir_in(parent);
    let made = made.map_err(failed(parent))?;
    let blobs = made.path().join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(failed(&blobs))?;
    let write = |digest: &Digest, bytes: &[u8]| {
        let path = made.path().join(layout::blob(digest));
        fs::write(&path, bytes).map_err(failed(&path))
    };
    let platforms: Vec<_> = only.map_or_else(|| image.platforms.iter().collect(), |one| vec![one]);
    for platform in platforms {
        write(&platform.manifest.digest, &platform.manifest_bytes)?;
        write(&platform.config_blob.digest, &platform.config_bytes)?;
        for (layer, _) in &platform.layers {
            let path = made.path().join(layout::blob(&layer.digest));
            // A base that two platforms share is one blob.
            if !path.exists() {
                let mut file = File::create_new(&path).map_err(failed(&path))?;
                images.copy(layer, &mut file, &path)?;
            }
        }
    }
    let top: Descriptor = if let Some(platform) = only {
        platform.manifest.clone()
    } else {
        write(&image.index.digest, &image.bytes)?;
        image.index.clone()
    };
    let index = layout::write_index(&BTreeMap::from([(tag.to_owned(), top)]))
        .map_err(|source| ImageError::Document { digest: image.index.digest, source })?;
    for (name, bytes) in [(layout::MARK, layout::MARK_CONTENT), (layout::INDEX, &index)] {
        let path = made.path().join(name);
        fs::write(&path, bytes).map_err(failed(&path))?;
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(made.path(), mode).map_err(failed(folder))?;
    fs::rename(made.path(), folder).map_err(failed(folder))?;
    // It has its new name; there is nothing left to remove.
    let _ = made.keep();
    Ok(())
}

/// Writes what `docker save` would, named `name` such as `registry.k8s.io/etcd:v1`, into a file that is not there yet.
///
/// `mtime` is the time of its entries, seconds since 1970. `scratch` is a folder for what is in between.
pub fn docker_tar(
    images: &Images<'_>,
    image: &PlatformImage,
    (name, mtime): (&str, u64),
    (file, scratch): (&Path, &Path),
) -> Result<(), ImageError> {
    if file.symlink_metadata().is_ok() {
        return Err(ImageError::Exists(file.to_owned()));
    }
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let mut tars = Vec::new();
    for layer in images.layers(image, scratch) {
        let PlainLayer { diff_id, tar, size, .. } = layer?;
        tars.push((*diff_id, size, BufReader::with_capacity(1 << 20, tar)));
    }
    let mut layers: Vec<DockerLayer<'_>> = tars
        .iter_mut()
        .map(|(diff_id, size, tar)| DockerLayer {
            diff_id: *diff_id,
            size: *size,
            content: tar as &mut dyn Read,
        })
        .collect();
    let made = tempfile::Builder::new().prefix(".kdistro-image-").tempfile_in(parent);
    let made = made.map_err(failed(parent))?;
    let out = BufWriter::with_capacity(1 << 20, made.as_file());
    let out = docker_archive(out, name, &image.config_bytes, &mut layers, mtime)?;
    out.into_inner().map_err(|error| failed(file)(error.into_error()))?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    made.as_file().set_permissions(mode).map_err(failed(file))?;
    made.persist_noclobber(file).map_err(|error| failed(file)(error.error))?;
    Ok(())
}
