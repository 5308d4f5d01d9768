//! Every path in a store, relative to its root.
//!
//! Source: EKS Distro's CDN, so that scripts carry over; what EKS-D lacks stands in DESIGN's "Layout in the store".

use crate::{ChannelName, Digest, ReleaseName};

/// What the name of a Sigstore bundle ends with.
pub const BUNDLE: &str = ".sigstore.json";
/// What follows the component's name in the name of its provenance.
pub const PROVENANCE: &str = ".provenance.sigstore.json";
/// The head of the log.
pub const CHECKPOINT: &str = "log/checkpoint";
/// The folder of the log.
pub const LOG: &str = "log";
/// The public key of the signer, PEM.
pub const PUBLIC_KEY: &str = "keys/release.pub";
/// The public key of the log, PEM.
pub const LOG_KEY: &str = "keys/log.pub";
/// Both keys in Sigstore's own format.
pub const TRUSTED_ROOT: &str = "keys/trusted_root.json";
/// Folder of all inputs, named by digest.
pub const INPUTS: &str = "inputs/sha256";
/// Folder of the blobs of all images, named by digest; a registry can answer with a redirect to it.
pub const IMAGES: &str = "containers/images";
/// Where a store in a directory keeps what is being written; nothing in it is published.
pub const WORKSHOP: &str = ".kdistro-store";
/// The file in [`WORKSHOP`] that writers lock; it is empty.
pub const WORKSHOP_LOCK: &str = ".kdistro-store/lock";
/// The object by which a store in a bucket was tried before anything was written, and all that it ever holds.
pub const WORKSHOP_TRIAL: &str = ".kdistro-store/conditional-writes";
/// Its content.
pub const TRIAL_CONTENT: &str = "written to try whether this store honours conditions\n";
/// How files begin that are being written: a process id, `-` and a number follow.
pub const UNFINISHED: &str = ".kdistro-new-";
/// The largest document that is read into memory, such as a plan or a manifest, in bytes.
pub const LARGEST_DOCUMENT: u64 = 64 << 20;

/// True for the name of a file that a store in a directory was writing, such as `.kdistro-store/.kdistro-new-1-0`.
pub fn is_unfinished(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let inner = name.strip_prefix(WORKSHOP).and_then(|inner| inner.strip_prefix('/'));
    let numbers = inner.and_then(|inner| inner.strip_prefix(UNFINISHED));
    let numbers = numbers.and_then(|numbers| numbers.split_once('-'));
    numbers.is_some_and(|(process, number)| is_number(process) && is_number(number))
}

/// The manifest of a release.
pub fn manifest(release: &ReleaseName) -> String {
    format!("kubernetes-{}/{}.yaml", release.channel, release.resource())
}

/// The bundle beside a published document.
pub fn bundle(document: &str) -> String {
    format!("{document}{BUNDLE}")
}

/// The folder of one release, without a slash at the end.
pub fn release(release: &ReleaseName) -> String {
    format!("kubernetes-{}/releases/{}", release.channel, release.number)
}

/// The exclusive claim on a release number.
pub fn claim(release: &ReleaseName) -> String {
    format!("{}/claim", self::release(release))
}

/// The record that a claimed number will never be published.
pub fn abandoned(release: &ReleaseName) -> String {
    format!("{}/abandoned", self::release(release))
}

/// The plan of a release.
pub fn plan(release: &ReleaseName) -> String {
    format!("{}/plan.json", self::release(release))
}

/// The folder of attestations of a release.
pub fn attestations(release: &ReleaseName) -> String {
    format!("{}/attestations", self::release(release))
}

/// The provenance of a component, a bundle with a statement about all its assets.
pub fn provenance(release: &ReleaseName, component: &str) -> String {
    format!("{}/{component}{PROVENANCE}", attestations(release))
}

/// What the tests of a release came to before it was offered, a bundle with a statement about its manifest.
pub fn test_result(release: &ReleaseName) -> String {
    bundle(&format!("{}/test-result", attestations(release)))
}

/// A file of the release as a whole, such as `kubeadm.yaml`.
pub fn document(release: &ReleaseName, name: &str) -> String {
    format!("{}/{name}", self::release(release))
}

/// The announcement of a release, once it was made: the record by which no run makes it again.
pub fn announcement(release: &ReleaseName) -> String {
    document(release, "announcement.json")
}

/// The announcement that a release is yanked, once it was made.
pub fn yank_announcement(release: &ReleaseName) -> String {
    document(release, "announcement.yank.json")
}

/// An asset's file; `path` as the plan has it, such as `etcd/v3.4.23/etcd-linux-amd64-v3.4.23.tar.gz`.
pub fn artifact(release: &ReleaseName, path: &str) -> String {
    format!("{}/artifacts/{path}", self::release(release))
}

/// The signed index of a channel: one of the three names that may change.
pub fn channel_index(channel: &ChannelName) -> String {
    format!("releasechannels/{channel}.yaml")
}

/// The bundle of the channel index with this digest.
pub fn channel_bundle(index: &Digest) -> String {
    format!("releasechannels/bundles/sha256-{}{BUNDLE}", index.hex())
}

/// An input by digest.
pub fn input(digest: &Digest) -> String {
    format!("{INPUTS}/{}", digest.hex())
}

/// A blob of an image: index, manifest, configuration or layer.
pub fn image_blob(digest: &Digest) -> String {
    format!("{IMAGES}/{digest}")
}

/// The tag of an image in its own repository, as EKS-D has it: upstream's tag, channel and number.
///
/// No tag has a `+`: kubeadm writes `_` for it too. Source: OCI distribution-spec, "Pulling manifests".
pub fn image_tag(git_tag: &str, release: &ReleaseName) -> String {
    format!("{}-{release}", git_tag.replace('+', "_"))
}

/// A custom resource definition.
pub fn crd(name: &str) -> String {
    format!("crds/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_of_an_image_has_no_plus() {
        let release: ReleaseName = "1-36-7".parse().unwrap();
        assert_eq!(image_tag("v1.36.2", &release), "v1.36.2-1-36-7");
        assert_eq!(image_tag("v1.36.2+meta.1", &release), "v1.36.2_meta.1-1-36-7");
    }

    #[test]
    fn what_is_being_written_has_two_numbers() {
        assert!(is_unfinished(".kdistro-store/.kdistro-new-4711-0"));
        for name in [
            ".kdistro-new-1-0",
            ".kdistro-store/.kdistro-new-1",
            ".kdistro-store/.kdistro-new-1-",
            ".kdistro-store/.kdistro-new-1-0-2",
            ".kdistro-store/.kdistro-new-1-0/a",
            ".kdistro-store/a/.kdistro-new-1-0",
            ".kdistro-storey/.kdistro-new-1-0",
            ".kdistro-store/lock",
        ] {
            assert!(!is_unfinished(name), "{name}");
        }
    }

    #[test]
    fn paths_are_those_of_the_design() {
        let release: ReleaseName = "1-36-7".parse().unwrap();
        assert_eq!(manifest(&release), "kubernetes-1-36/kubernetes-1-36-7.yaml");
        assert_eq!(
            bundle(&manifest(&release)),
            "kubernetes-1-36/kubernetes-1-36-7.yaml.sigstore.json"
        );
        assert_eq!(plan(&release), "kubernetes-1-36/releases/7/plan.json");
        assert_eq!(
            artifact(&release, "etcd/v3.6.12/etcd-linux-amd64-v3.6.12.tar.gz"),
            "kubernetes-1-36/releases/7/artifacts/etcd/v3.6.12/etcd-linux-amd64-v3.6.12.tar.gz"
        );
        assert_eq!(
            provenance(&release, "etcd"),
            "kubernetes-1-36/releases/7/attestations/etcd.provenance.sigstore.json"
        );
        assert_eq!(document(&release, "kubeadm.yaml"), "kubernetes-1-36/releases/7/kubeadm.yaml");
        let blob = image_blob(&Digest::from_bytes([0xab; 32]));
        assert_eq!(blob, format!("containers/images/sha256:{}", "ab".repeat(32)));
        assert_eq!(channel_index(&release.channel), "releasechannels/1-36.yaml");
    }
}
