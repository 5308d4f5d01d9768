//! A store with one image for two platforms, made by hand, and the program under test.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use kdistro_assemble::{
    Entry, EntryPath,
    image::{self, Blob, Layer, LayerWriter},
};
use kdistro_formats::{Digest, Platform, layout::image_blob, plan::ImageConfig};

use crate::{
    elf::{self, Then},
    ran::{Ran, run},
};

/// The time of everything in the image, seconds since 1970.
const CREATED: u64 = 1_610_544_489;

const STATUS: &str =
    "Package: tzdata\nStatus: install ok installed\nArchitecture: all\nVersion: 2024a-0+deb12u1\n";

/// A store and a home.
pub(crate) struct World {
    folder: tempfile::TempDir,
    /// The digest of the image's index.
    pub(crate) index: Digest,
    /// The layers of the image for amd64: the base's and ours.
    pub(crate) layers: [Layer; 2],
}

impl World {
    /// Makes a store whose image has these files in our layer, besides its program; they come after `usr/local/bin`.
    pub(crate) fn with(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        fs::create_dir_all(store.join("containers/images")).unwrap();
        fs::create_dir_all(store.join("kubernetes-1-36")).unwrap();
        let [amd64, arm64] = ["amd64", "arm64"].map(|arch| platform(&store, arch, more));
        let manifests = [amd64.0, arm64.0].map(|(platform, blob)| (platform, blob.descriptor));
        let annotations = BTreeMap::from([("org.example.source".to_owned(), "here".to_owned())]);
        let index = keep(&store, image::index(&manifests, &annotations).unwrap());
        let index = index.descriptor.digest;
        fs::write(store.join("kubernetes-1-36/kubernetes-1-36-1.yaml"), manifest(&index)).unwrap();
        Self { folder, index, layers: amd64.1 }
    }

    /// A path in the folder of this test.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A blob of the store.
    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.path("store").join(image_blob(digest))
    }

    /// Runs `kdistro image <command> <manifest> <arguments>`.
    pub(crate) fn image(&self, command: &str, arguments: &[&str]) -> Ran {
        self.image_with(command, arguments, &[])
    }

    /// The same, with other environment variables.
    pub(crate) fn image_with(
        &self,
        command: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Ran {
        let manifest = self.path("store/kubernetes-1-36/kubernetes-1-36-1.yaml");
        let mut program = Command::new(env!("CARGO_BIN_EXE_kdistro"));
        program.arg("--quiet").arg("--home").arg(self.path("home")).current_dir(self.folder.path());
        program.args(["image", command]).arg(manifest).args(arguments);
        run(program.envs(variables.iter().copied()))
    }
}

fn keep(store: &Path, blob: Blob) -> Blob {
    fs::write(store.join(image_blob(&blob.descriptor.digest)), &blob.bytes).unwrap();
    blob
}

fn layer(store: &Path, files: &[(&str, &[u8])]) -> Layer {
    let mut writer = LayerWriter::new(Vec::new(), CREATED);
    for (path, content) in files {
        let (path, mut bytes) = (EntryPath::new(*path).unwrap(), *content);
        let size = bytes.len() as u64;
        writer.append(Entry::file(path, true, size, &mut bytes)).unwrap();
    }
    let (bytes, layer) = writer.finish().unwrap();
    fs::write(store.join(image_blob(&layer.digest)), bytes).unwrap();
    layer
}

/// Makes the image for one platform; returns its manifest and layers.
fn platform(store: &Path, arch: &str, more: &[&str]) -> ((Platform, Blob), [Layer; 2]) {
    let platform: Platform = format!("linux/{arch}").parse().unwrap();
    let hello = elf::program(arch, &format!("hello from {arch}\n"));
    let other = elf::program(arch, "another program\n");
    let crash = elf::program_and(arch, "crashes\n", Then::Crash);
    let stay = elf::program_and(arch, "stays\n", Then::Stay);
    let base: [(&str, &[u8]); 5] = [
        ("etc/os-release", b"of the base"),
        ("usr/bin/crash", &crash),
        ("usr/bin/other", &other),
        ("usr/bin/stay", &stay),
        ("var/lib/dpkg/status", STATUS.as_bytes()),
    ];
    let mut ours: Vec<(&str, &[u8])> =
        vec![("etc/os-release", b"ours"), ("usr/local/bin/hello", &hello)];
    ours.extend(more.iter().map(|path| (*path, &b""[..])));
    let layers = [layer(store, &base), layer(store, &ours)];
    let started = ImageConfig {
        entrypoint: vec!["/usr/local/bin/hello".to_owned()],
        user: "65535".to_owned(),
        labels: BTreeMap::from([("licenses".to_owned(), "MIT".to_owned())]),
        ..ImageConfig::default()
    };
    let made = layers.map(|layer| (layer.diff_id, "a test"));
    let config = keep(store, image::config(&platform, &started, &made, CREATED).unwrap());
    let manifest = image::manifest(&config.descriptor, &layers, &BTreeMap::new()).unwrap();
    ((platform, keep(store, manifest)), layers)
}

fn manifest(index: &Digest) -> String {
    format!(
        "apiVersion: distro.kdistro.dev/v1alpha1
kind: Release
metadata:
  name: kubernetes-1-36-1
spec:
  channel: 1-36
  number: 1
status:
  components:
    - name: hello
      gitTag: v1.0.0
      assets:
        - name: hello-image
          type: Image
          os: linux
          arch: [amd64, arm64]
          image:
            uri: registry.example.org/hello/hello:v1.0.0-1-36-1
            imageDigest: {index}
"
    )
}
