//! Judges of images: skopeo, a real registry, umoci, dpkg-query, getcap.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use kdistro_formats::{Digest, layout};
use kdistro_testbed::{Server, Testbed};
use kdistro_verify::hash::sha256;
use serde_json::Value;

use super::released::{Layout, Released, Sbom};
use crate::{
    run::{is_root, must, run, with},
    shared::{copy, files, scratch},
    tools,
};

/// One platform of an image.
pub(super) struct One {
    /// The asset's name.
    pub(super) name: String,
    pub(super) platform: String,
    /// An OCI layout with this platform's image alone, under the tag `one`.
    pub(super) layout: PathBuf,
    pub(super) sbom: Sbom,
    layers: Vec<PathBuf>,
}

/// Copies between two places, checking every digest on the way.
fn skopeo_copy(options: &[&str], from: &str, to: &str) -> crate::run::Ran {
    let mut skopeo = tools::judge("skopeo");
    skopeo.args(["--insecure-policy", "copy", "--quiet"]).args(options).args([from, to]);
    run(&mut skopeo)
}

/// The digest of the bytes that skopeo sees under a name.
fn skopeo_sees(options: &[&str], name: &str) -> Digest {
    let mut skopeo = tools::judge("skopeo");
    sha256(must(skopeo.args(["inspect", "--raw"]).args(options).arg(name)).as_bytes())
}

/// Has every tag of the local registry inspected, and copied to a folder, to a real registry and back, all
/// platforms: digests must stay those of the manifest.
pub(super) fn skopeo_copies(released: &Released) {
    let folder = scratch("skopeo");
    let bed = Testbed::start(&[Server::PlainRegistry]).unwrap();
    let promised: BTreeSet<_> =
        released.images().into_iter().filter_map(|(_, asset)| asset.digest()).collect();
    let mut seen = BTreeSet::new();
    for layout in released.layouts() {
        assert!(!layout.tags.is_empty(), "{} has no tag", layout.repository);
        for (tag, digest) in &layout.tags {
            assert_eq!(skopeo_sees(&[], &layout.reference(tag)), *digest, "{}", layout.repository);
            assert!(
                promised.contains(digest),
                "{} {tag} is not in the manifest",
                layout.repository
            );
            seen.insert(*digest);
            copied(&layout, tag, &folder.path().join("dir"));
            pushed(&layout, tag, bed.plain_registry(), &folder.path().join("back"));
        }
    }
    assert_eq!(seen, promised, "images that are not in the registry");
}

/// Everything that a registry may send its clients to the store for is there: all but what it gives itself, the
/// manifests of what refers to an image.
pub(super) fn blobs_are_in_the_store(released: &Released) {
    for layout in released.layouts() {
        let mut referrers = 0;
        for hex in files(&layout.folder.join("blobs/sha256")) {
            let digest: Digest = format!("sha256:{hex}").parse().unwrap();
            if released.store().join(layout::image_blob(&digest)).exists() {
                continue;
            }
            let bytes = fs::read(layout.blob(&digest)).unwrap();
            let manifest: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            assert!(manifest["subject"].is_object(), "{digest} is missing in the store");
            referrers += 1;
        }
        assert!(referrers > 0, "nothing refers to {}", layout.repository);
    }
}

/// Copies a tag into a plain folder.
fn copied(layout: &Layout, tag: &str, folder: &Path) {
    let to = format!("dir:{}", folder.display());
    skopeo_copy(&["--all"], &layout.reference(tag), &to).expect(0);
    let index = fs::read(folder.join("manifest.json")).unwrap();
    assert_eq!(sha256(&index), layout.tags[tag]);
    for (platform, manifest) in layout.platforms(&layout.tags[tag]) {
        for blob in blobs(&manifest) {
            assert_eq!(sha256(&fs::read(folder.join(blob.hex())).unwrap()), blob, "{platform}");
        }
    }
    fs::remove_dir_all(folder).unwrap();
}

/// Copies a tag to a registry, and from there into another layout.
fn pushed(layout: &Layout, tag: &str, host: &str, folder: &Path) {
    let remote = format!("docker://{host}/{}:{tag}", layout.repository);
    let push = ["--all", "--dest-tls-verify=false"];
    skopeo_copy(&push, &layout.reference(tag), &remote).expect(0);
    let index = &layout.tags[tag];
    assert_eq!(skopeo_sees(&["--tls-verify=false"], &remote), *index);
    let back = format!("oci:{}:{tag}", folder.display());
    skopeo_copy(&["--all", "--src-tls-verify=false"], &remote, &back).expect(0);
    assert_eq!(skopeo_sees(&[], &back), *index);
    for name in files(&folder.join("blobs/sha256")) {
        let bytes = fs::read(folder.join("blobs/sha256").join(&name)).unwrap();
        let digest: Digest = format!("sha256:{name}").parse().unwrap();
        assert!(bytes == fs::read(layout.blob(&digest)).unwrap(), "{digest}");
    }
    fs::remove_dir_all(folder).unwrap();
}

/// The digests of an image's configuration and layers.
fn blobs(manifest: &Value) -> Vec<Digest> {
    let layers = manifest["layers"].as_array().unwrap();
    let all = layers.iter().chain([&manifest["config"]]);
    all.map(|one| one["digest"].as_str().unwrap().parse().unwrap()).collect()
}

/// Each image of a release for each of its platforms, copied by skopeo into a layout of its own.
pub(super) fn platforms(released: &Released, folder: &Path) -> Vec<One> {
    let (layouts, mut found) = (released.layouts(), Vec::new());
    for (component, asset) in released.images() {
        let (_, name) = asset.image.as_ref().unwrap().uri.split_once('/').unwrap();
        let (repository, tag) = name.rsplit_once(':').unwrap();
        let layout = layouts.iter().find(|layout| layout.repository == repository).unwrap();
        assert_eq!(layout.tags.get(tag).copied(), asset.digest(), "{name}");
        let manifests = layout.platforms(&layout.tags[tag]);
        let architectures = manifests.keys().map(|platform| platform.split_once('/').unwrap().1);
        assert!(architectures.eq(asset.arch.iter().map(String::as_str)), "{}", asset.name);
        for (platform, manifest) in manifests {
            let (os, architecture) = platform.split_once('/').unwrap();
            let place = folder.join(format!("{}-{architecture}", asset.name));
            let mut skopeo = tools::judge("skopeo");
            skopeo.args([
                "--insecure-policy",
                "--override-os",
                os,
                "--override-arch",
                architecture,
            ]);
            skopeo.args(["copy", "--quiet", &layout.reference(tag)]);
            must(skopeo.arg(format!("oci:{}:one", place.display())));
            let layers = manifest["layers"]
                .as_array()
                .unwrap()
                .iter()
                .map(|layer| layout.blob(&layer["digest"].as_str().unwrap().parse().unwrap()));
            let layers = layers.collect();
            let (name, sbom) = (asset.name.clone(), released.sbom(component, asset));
            found.push(One { name, platform, layout: place, sbom, layers });
        }
    }
    assert!(!found.is_empty(), "a release without images");
    found
}

/// Has umoci unpack an image; returns the root.
pub(super) fn unpack(one: &One, bundle: &Path) -> PathBuf {
    let mut umoci = tools::judge("umoci");
    umoci.arg("unpack").args(if is_root() { &[][..] } else { &["--rootless"] });
    must(umoci.arg("--image").arg(format!("{}:one", one.layout.display())).arg(bundle));
    bundle.join("rootfs")
}

/// Has every image unpacked: the files are those of its layers, its programs those of the release, its packages
/// those of its SBOM.
pub(super) fn umoci_unpacks(released: &Released) {
    let folder = scratch("umoci");
    let elsewhere = programs_of_files(released);
    for one in platforms(released, folder.path()) {
        let bundle = folder.path().join("bundle");
        let root = unpack(&one, &bundle);
        same_as_layers(&one, &root, &folder.path().join("layers"));
        let programs = one.sbom.programs().into_iter();
        let programs: Vec<_> =
            programs.filter(|program| program.platform == one.platform).collect();
        assert!(!programs.is_empty(), "{} has no program for {}", one.name, one.platform);
        for program in programs {
            let sum = sha256(&fs::read(root.join(&program.path)).unwrap()).hex();
            assert_eq!(sum, program.sha256, "{}: {}", one.name, program.path);
            let named = elsewhere.iter().filter(|(name, platform, _)| {
                (name, platform) == (&program.name, &program.platform)
            });
            for (_, _, other) in named {
                assert_eq!(sum, *other, "{} has another {}", one.name, program.name);
            }
        }
        let architecture = one.platform.split_once('/').unwrap().1;
        assert_eq!(installed(&root), one.sbom.debian(architecture), "{}", one.name);
        if is_root() {
            let capabilities = must(tools::judge("getcap").arg("-r").arg(&root));
            let expected = one.name == "kube-apiserver-image";
            assert_eq!(capabilities.lines().count(), usize::from(expected), "{capabilities}");
            assert_eq!(capabilities.contains("kube-apiserver cap_net_bind_service=ep"), expected);
        }
        fs::remove_dir_all(&bundle).unwrap();
    }
}

/// Name, platform and SHA-256 of the programs that the release has outside images too.
fn programs_of_files(released: &Released) -> BTreeSet<(String, String, String)> {
    let files = released.files().into_iter().filter(|(component, asset, _)| {
        let sbom = format!("{}.spdx.json", asset.name);
        component.assets.iter().any(|other| other.name == sbom)
    });
    let programs =
        files.flat_map(|(component, asset, _)| released.sbom(component, asset).programs());
    programs.map(|program| (program.name, program.platform, program.sha256)).collect()
}

/// Compares a tree with what GNU tar makes of the layers.
fn same_as_layers(one: &One, root: &Path, layers: &Path) {
    fs::create_dir(layers).unwrap();
    for layer in &one.layers {
        let mut extract = with("tar", ["-xz", "--no-same-owner", "--keep-directory-symlink"]);
        must(extract.arg("-f").arg(layer).arg("-C").arg(layers));
    }
    let mut compare = with("diff", ["--recursive", "--no-dereference", "--brief"]);
    must(compare.arg(layers).arg(root));
    fs::remove_dir_all(layers).unwrap();
}

/// The packages of an unpacked image, as dpkg lists them; none where there is no list.
fn installed(root: &Path) -> BTreeSet<String> {
    let database = root.join("var/lib/dpkg");
    if !database.exists() {
        return BTreeSet::new();
    }
    let mut list = tools::judge("dpkg-query");
    list.arg("--admindir").arg(database);
    let listed =
        must(list.args(["--show", "--showformat=${Package} ${Version} ${Architecture}\\n"]));
    listed.lines().map(str::to_owned).collect()
}

#[test]
fn skopeo_copies_every_image_to_a_registry_and_back_with_its_digests() {
    skopeo_copies(&Released::shared());
}

#[test]
fn the_store_has_every_blob_for_which_registries_send_their_clients_to_it() {
    blobs_are_in_the_store(&Released::shared());
}

#[test]
fn umoci_unpacks_every_image_into_the_files_of_the_release() {
    umoci_unpacks(&Released::shared());
}

#[test]
fn skopeo_and_umoci_refuse_a_changed_layer() {
    let (folder, released) = (scratch("changed"), Released::shared());
    let mut one = platforms(&released, folder.path()).remove(0);
    let copied = folder.path().join("copied");
    fs::create_dir(&copied).unwrap();
    copy(&one.layout, &copied);
    one.layout = copied.join(one.layout.file_name().unwrap());
    let layer = one.layers.last().unwrap().file_name().unwrap();
    let layer = one.layout.join("blobs/sha256").join(layer);
    let mut bytes = fs::read(&layer).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&layer, bytes).unwrap();
    let from = format!("oci:{}:one", one.layout.display());
    let to = format!("dir:{}", folder.path().join("dir").display());
    let refused = skopeo_copy(&[], &from, &to);
    assert_ne!(refused.code, 0);
    refused.says(&["Digest did not match"]);
    let mut umoci = tools::judge("umoci");
    umoci.args(["unpack", "--rootless", "--image", &from["oci:".len()..]]);
    assert_ne!(run(umoci.arg(folder.path().join("bundle"))).code, 0);
}
