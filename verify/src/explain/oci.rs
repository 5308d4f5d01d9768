//! The first difference of two images, each a layout or an index or manifest with its blobs beside it.
//!
//! Source: OCI image-spec 1.1, image-layout.md.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use kdistro_formats::{
    Digest,
    oci::{Descriptor, Index, LARGEST_DOCUMENT, Manifest, REF_NAME, layout},
};

use super::{DEEPEST, Room, of_bytes, of_files};
use crate::store::read_at_most;

/// The blobs of one side.
struct Blobs {
    folder: PathBuf,
}

/// What stands in an index or manifest, by what it is called in words.
type Parts = Vec<(String, Descriptor)>;

/// Returns the first difference of two images; none when one of the two is none, or where both say the same.
pub(super) fn first_difference(a: &Path, b: &Path) -> io::Result<Option<String>> {
    let (Some((left, a)), Some((right, b))) = (open(a)?, open(b)?) else { return Ok(None) };
    in_documents((&left, &a), (&right, &b), DEEPEST)
}

/// Opens a layout, or a blob that is an index or a manifest.
fn open(path: &Path) -> io::Result<Option<(Blobs, Vec<u8>)>> {
    let (folder, file) = if path.is_dir() {
        if !path.join(layout::MARK).is_file() {
            return Ok(None);
        }
        (path.to_owned(), path.join(layout::INDEX))
    } else {
        (path.parent().unwrap_or(Path::new("")).to_owned(), path.to_owned())
    };
    let bytes = read_at_most(File::open(file)?, LARGEST_DOCUMENT)?;
    let image = bytes.filter(|bytes| parts(bytes).is_some());
    Ok(image.map(|bytes| (Blobs { folder }, bytes)))
}

impl Blobs {
    /// Finds a blob; none where it is not there.
    fn find(&self, digest: &Digest) -> io::Result<Option<PathBuf>> {
        let names = [format!("blobs/sha256/{}", digest.hex()), digest.to_string(), digest.hex()];
        for name in names {
            let path = self.folder.join(name);
            match fs::metadata(&path) {
                Ok(metadata) => return Ok(metadata.is_file().then_some(path)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// What an index or manifest names, in the order in which differences matter.
fn parts(bytes: &[u8]) -> Option<Parts> {
    if let Ok(index) = Index::from_layout(bytes) {
        let named = index.manifests.into_iter().map(|descriptor| (name(&descriptor), descriptor));
        return Some(named.collect());
    }
    let manifest = Manifest::from_slice(bytes).ok()?;
    let layers = manifest.layers.into_iter().enumerate();
    let layers = layers.map(|(number, layer)| (format!("layer {}", number + 1), layer));
    // The configuration differs with every layer, since it lists them.
    Some(layers.chain([("configuration".to_owned(), manifest.config)]).collect())
}

/// What an entry of an index is called: its platform, else its name in the layout.
fn name(descriptor: &Descriptor) -> String {
    match &descriptor.platform {
        Some(platform) => platform.to_string(),
        None => descriptor
            .annotations
            .get(REF_NAME)
            .map_or_else(|| "image".to_owned(), |name| format!("image `{}`", name.escape_debug())),
    }
}

/// The difference of two indexes or manifests; `depth` more may be opened, since nothing says that names are right.
fn in_documents(
    a: (&Blobs, &[u8]),
    b: (&Blobs, &[u8]),
    depth: usize,
) -> io::Result<Option<String>> {
    let ((left, a), (right, b)) = (a, b);
    let (Some(first), Some(second)) = (parts(a), parts(b)) else {
        return Ok(of_bytes(a, b, Room::WHOLE));
    };
    for ((name, one), (other_name, other)) in first.iter().zip(&second) {
        if name != other_name {
            return Ok(Some(format!("{name} stands where the second has {other_name}")));
        }
        if one.digest != other.digest {
            let inside = in_blobs((left, one), (right, other), depth)?;
            return Ok(Some(format!("{name}: {inside}")));
        }
    }
    let (count, other) = (first.len(), second.len());
    if count != other {
        let mut more = first.iter().skip(other).chain(second.iter().skip(count));
        let name = more.next().map_or("", |(name, _)| name);
        let side = if count > other { "first" } else { "second" };
        return Ok(Some(format!("{name} is only in the {side}")));
    }
    // What both name is the same: the rest is annotations and the like.
    Ok(of_bytes(a, b, Room::WHOLE))
}

/// The difference of two blobs with different digests.
fn in_blobs(
    a: (&Blobs, &Descriptor),
    b: (&Blobs, &Descriptor),
    depth: usize,
) -> io::Result<String> {
    let ((left, one), (right, other)) = (a, b);
    let digests = format!("is {} and {}", one.digest, other.digest);
    let (Some(a), Some(b)) = (left.find(&one.digest)?, right.find(&other.digest)?) else {
        return Ok(format!("{digests}; one of the two is not there"));
    };
    let document = |path: &Path| read_at_most(File::open(path)?, LARGEST_DOCUMENT);
    let inside = match (depth.checked_sub(1), document(&a)?, document(&b)?) {
        (Some(depth), Some(one), Some(other)) => {
            in_documents((left, &one), (right, &other), depth)?
        }
        _ => of_files(&a, &b, Room::WHOLE)?,
    };
    // Two names of the same bytes: one of the files is not what its name says.
    Ok(inside.unwrap_or(digests))
}
