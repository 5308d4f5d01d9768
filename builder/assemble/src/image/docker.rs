//! One image as one tar, in the form that `docker save` writes and kops, containerd and skopeo load.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
};

use kdistro_formats::{Digest, canonical, oci::Config};
use kdistro_verify::hash::{Hasher, sha256};
use serde_json::json;

use super::ImageError;
use crate::{
    entry::{Entry, EntryPath},
    tar::TarWriter,
};

/// A layer as a plain tar.
pub struct DockerLayer<'a> {
    /// Its digest, which is checked while it is read.
    pub diff_id: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// The plain tar.
    pub content: &'a mut dyn Read,
}

/// Writes an image for one platform as `docker save` does: its configuration, its layers as plain tars, and
/// `manifest.json`, which gives it the name `tag`, such as `registry.k8s.io/kube-apiserver-amd64:v1.20.2`.
///
/// `config` is the configuration's bytes, `layers` are its layers from the lowest on, and `mtime` is the time of every
/// entry in seconds since 1970. The entries are `<digest of config>.json`, `<diff id>.tar` and `manifest.json`, in
/// bytewise order; `repositories`, which only Docker before 1.10 read, is not there.
///
/// Source: Docker Image Specification v1.2, "Combined Image JSON + Filesystem Changeset Format".
pub fn docker_archive<W: Write>(
    out: W,
    tag: &str,
    config: &[u8],
    layers: &mut [DockerLayer<'_>],
    mtime: u64,
) -> Result<W, ImageError> {
    if !is_name(tag) {
        return Err(ImageError::Name(tag.to_owned()));
    }
    let expected = Config::from_slice(config)?.rootfs.diff_ids;
    let found: Vec<Digest> = layers.iter().map(|layer| layer.diff_id).collect();
    if found != expected {
        return Err(ImageError::Layers { found, expected });
    }
    let config_name = format!("{}.json", sha256(config).hex());
    let names = found.iter().map(layer_name).collect::<Vec<_>>();
    let manifest = json!([{ "Config": config_name, "Layers": names, "RepoTags": [tag] }]);
    let manifest = canonical::to_vec(&manifest)
        .map_err(|source| ImageError::Canonical { what: "manifest.json", source })?;

    let mut parts: BTreeMap<String, Part<'_, '_>> =
        BTreeMap::from([(config_name, Part::Bytes(config))]);
    for layer in layers {
        // A layer that stands in the image twice is one file.
        parts.entry(layer_name(&layer.diff_id)).or_insert(Part::Layer(layer));
    }
    parts.insert("manifest.json".to_owned(), Part::Bytes(&manifest));
    let mut tar = TarWriter::new(out, mtime);
    for (name, part) in parts {
        part.append(&mut tar, EntryPath::new(name)?)?;
    }
    Ok(tar.finish()?)
}

/// A file of the archive.
enum Part<'a, 'b> {
    Bytes(&'a [u8]),
    Layer(&'a mut DockerLayer<'b>),
}

impl Part<'_, '_> {
    fn append<W: Write>(self, tar: &mut TarWriter<W>, path: EntryPath) -> Result<(), ImageError> {
        match self {
            Self::Bytes(mut bytes) => {
                let size = bytes.len() as u64;
                Ok(tar.append(Entry::file(path, false, size, &mut bytes))?)
            }
            Self::Layer(layer) => {
                let mut reader =
                    Hashed { inner: layer.content, hasher: Hasher::new(std::io::sink()) };
                tar.append(Entry::file(path, false, layer.size, &mut reader))?;
                let (_, found, _) = reader.hasher.finish();
                if found == layer.diff_id {
                    return Ok(());
                }
                Err(ImageError::Content { found, expected: layer.diff_id })
            }
        }
    }
}

/// A reader that hashes what passes through it.
struct Hashed<'a> {
    inner: &'a mut dyn Read,
    hasher: Hasher<std::io::Sink>,
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.write_all(buffer.get(..count).unwrap_or_default())?;
        Ok(count)
    }
}

fn layer_name(diff_id: &Digest) -> String {
    format!("{}.tar", diff_id.hex())
}

/// Tells whether a text is `<repository>:<tag>`.
///
/// Source: `github.com/distribution/reference`, the grammar in `reference.go`: a `+` is in no tag.
fn is_name(text: &str) -> bool {
    let Some((repository, tag)) = text.rsplit_once(':') else { return false };
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let first = tag.bytes().next().is_some_and(is_word);
    let tag_holds = first
        && tag.len() <= 128
        && tag.bytes().all(|byte| is_word(byte) || byte == b'.' || byte == b'-');
    let part_holds = |part: &str| {
        part.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
            && part.bytes().all(|byte| is_word(byte) || b".-:".contains(&byte))
    };
    let (host, path) = repository.split_once('/').unwrap_or(("host", repository));
    tag_holds
        && part_holds(host)
        && path.split('/').all(part_holds)
        && !path.bytes().any(|byte| byte.is_ascii_uppercase() || byte == b':')
}
