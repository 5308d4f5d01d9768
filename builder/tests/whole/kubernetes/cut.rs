//! A release in the home folder that it was cut in, and the programs and images that it consists of.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use kdistro_formats::{
    Digest, layout,
    release::{Asset, Component, Release},
};

use crate::{
    run::{KDISTRO, Ran, must, run, with},
    shared::{newest_release, scratch, shared},
};

/// Names the home folder in which a channel with Kubernetes in it was cut.
const GIVEN: &str = "KDISTRO_TEST_RELEASE";

/// A release in its home folder.
pub(super) struct Cut {
    home: PathBuf,
    /// What the manifest says.
    pub(super) release: Release,
}

impl Cut {
    /// The release of etcd and the CNI plugins that all tests share.
    pub(super) fn shared() -> Self {
        Self::newest(&shared().home)
    }

    /// The release that whoever runs the tests has cut; without it the test fails.
    #[track_caller]
    pub(super) fn given() -> Self {
        #[expect(clippy::disallowed_methods, reason = "a cut is given to the tests that need one")]
        let home = std::env::var_os(GIVEN);
        let home = home.unwrap_or_else(|| {
            panic!("{GIVEN} must name a home folder with a cut of Kubernetes: kdistro cut 1-20 --home DIR")
        });
        let cut = Self::newest(Path::new(&home));
        let has = cut.release.status.components.iter().any(|found| found.name == "kubernetes");
        assert!(has, "{} has no Kubernetes", cut.release.metadata.name);
        cut
    }

    fn newest(home: &Path) -> Self {
        Self { home: home.to_owned(), release: newest_release(home) }
    }

    pub(super) fn store(&self) -> PathBuf {
        self.home.join("store")
    }

    pub(super) fn manifest(&self) -> PathBuf {
        self.store().join(layout::manifest(&self.release.name()))
    }

    /// A document of the release, such as `kubeadm.yaml`.
    pub(super) fn document(&self, name: &str) -> PathBuf {
        self.store().join(layout::document(&self.release.name(), name))
    }

    /// Where the local registry has an image, for skopeo: the name that is public, less the registry's.
    pub(super) fn in_local_registry(&self, image: &str) -> String {
        let (_, path) = image.split_once('/').unwrap();
        format!("oci:{}/{path}", self.home.join("registry").display())
    }

    fn assets(&self) -> impl Iterator<Item = (&Component, &Asset)> {
        let components = self.release.status.components.iter();
        components
            .flat_map(|component| component.assets.iter().map(move |asset| (component, asset)))
    }

    /// Every image: component, name as `kdistro image` takes it, digest of its index, platforms.
    pub(super) fn images(&self) -> Vec<Image<'_>> {
        let images = self.assets().filter_map(|(component, asset)| {
            let name = asset.name.strip_suffix("-image")?;
            let digest = asset.image.as_ref()?.image_digest.unwrap();
            let platforms = asset.arch.iter().map(|arch| format!("{}/{arch}", asset.os)).collect();
            Some(Image { component, name, digest, platforms })
        });
        images.collect()
    }

    /// A program of Kubernetes for this machine, made executable in a folder.
    pub(super) fn program(&self, name: &str, folder: &Path) -> PathBuf {
        let from = self.place(&format!("bin/linux/{}/{name}", arch()));
        let to = folder.join(name);
        fs::copy(from, &to).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).unwrap();
        to
    }

    /// A program of etcd for this machine, unpacked into a folder.
    pub(super) fn etcd(&self, folder: &Path) -> PathBuf {
        let is_it = |name: &str| {
            name.starts_with(&format!("etcd-linux-{}-", arch())) && name.ends_with(".tar.gz")
        };
        let (_, asset) = self.assets().find(|(_, asset)| is_it(&asset.name)).unwrap();
        let mut unpack = with("tar", ["-x", "--strip-components=1", "-f"]);
        must(unpack.arg(self.place(&asset.name)).arg("-C").arg(folder));
        folder.join("etcd")
    }

    /// Where an asset lies in the store.
    fn place(&self, name: &str) -> PathBuf {
        let found = self.assets().find(|(_, asset)| asset.name == name);
        let (_, asset) = found.unwrap_or_else(|| panic!("the release has no `{name}`"));
        let (uri, folder) =
            (&asset.archive.as_ref().unwrap().uri, layout::release(&self.release.name()));
        self.store().join(&uri[uri.find(&folder).unwrap()..])
    }

    /// `kdistro image <command> <manifest> <image> <arguments>` in a home folder of its own.
    pub(super) fn image(&self, command: &str, image: &str, arguments: &[&str]) -> Ran {
        let home = scratch("image");
        let mut program = with(KDISTRO, ["--quiet", "--home"]);
        program.arg(home.path()).args(["image", command]).arg(self.manifest());
        run(program.arg(image).args(arguments).current_dir(home.path()))
    }
}

/// An image of a release.
pub(super) struct Image<'a> {
    pub(super) component: &'a Component,
    /// Such as `kube-apiserver`.
    pub(super) name: &'a str,
    /// The digest of its index.
    pub(super) digest: Digest,
    /// Such as `linux/arm64`.
    pub(super) platforms: Vec<String>,
}

impl Image<'_> {
    /// The arguments by which the image's program says what it is, and what it must say then.
    pub(super) fn says(&self) -> (&'static str, String) {
        let Component { git_tag: tag, source_tree, .. } = self.component;
        let tree = source_tree.as_ref().unwrap().to_string();
        let version = format!("{tag}+kd.t{}", &tree[..12]);
        match self.name {
            "agnhost" => ("--help", "Available Commands:".to_owned()),
            "etcd" => ("--version", format!("etcd Version: {}\n", tag.trim_start_matches('v'))),
            "pause" => ("-v", format!("pause.c {version}\n")),
            kube if kube.starts_with("kube-") => ("--version", format!("Kubernetes {version}\n")),
            other => panic!("how does `{other}` say its version?"),
        }
    }
}

/// This machine's architecture in Go's words.
pub(super) fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
