//! The formats as others write them, and as nobody should.

use kdistro_formats::{
    canonical,
    channel::ReleaseChannel,
    plan::Plan,
    release::{AssetKind, EKS_D_API_VERSION, ManifestError, Release},
    yaml,
};
use proptest::prelude::*;

const RELEASE: &str = include_str!("samples/eks-d-release.yaml");
const CHANNEL: &str = include_str!("samples/eks-d-channel.yaml");

/// EKS Distro's 1-18-4, shortened to two components (public documentation, Apache-2.0).
#[test]
fn a_manifest_of_eks_d_is_read() {
    let release = Release::from_yaml(RELEASE).unwrap();
    assert_eq!(release.api_version, EKS_D_API_VERSION);
    assert_eq!(release.name().to_string(), "1-18-4");
    let etcd = release.status.components.iter().find(|component| component.name == "etcd").unwrap();
    assert_eq!(etcd.git_tag, "v3.4.14");
    let archive = &etcd.assets[0];
    assert_eq!(archive.kind, AssetKind::Archive);
    let digest = archive.archive.as_ref().unwrap().sha256;
    assert_eq!(digest.hex(), "d56e98895916695567cb3da9057b2746406a1ebb04ed7d7dc01feee36c2b61dc");
    assert!(etcd.assets.iter().any(|asset| asset.kind == AssetKind::Image));
}

#[test]
fn a_channel_index_of_eks_d_is_read() {
    let index = ReleaseChannel::from_yaml(CHANNEL).unwrap();
    assert_eq!((index.metadata.name.as_str(), index.status.latest_release), ("1-36", 1));
}

/// What is replaced in the manifest by what, and which kind of error that must be.
const CONTRADICTIONS: &[(&str, &str, &str)] = &[
    ("number: 4", "number: 5", "Name"),
    ("number: 4", "number: 0", "Name"),
    ("channel: 1-18", "channel: 1-19", "Name"),
    ("kind: Release", "kind: Relaese", "Kind"),
    ("amazonaws.com/v1alpha1", "amazonaws.com/v1beta1", "Kind"),
    ("type: Archive", "type: Image", "Shape"),
    ("name: etcd-linux-amd64-v3.4.14.tar.gz", "name: etcd-linux-arm64-v3.4.14.tar.gz", "Twice"),
    ("  number: 4", "  number: 4\n  number: 4", "Yaml"),
    ("  number: 4", "  number: 4\n  extra: 4", "Yaml"),
    ("sha256: d56e", "sha256: D56E", "Yaml"),
];

#[test]
fn a_manifest_that_contradicts_itself_is_refused() {
    for (from, to, kind) in CONTRADICTIONS {
        assert!(RELEASE.contains(from), "{from}");
        let error = Release::from_yaml(&RELEASE.replacen(from, to, 1)).unwrap_err();
        let found = match error {
            ManifestError::Yaml(_) => "Yaml",
            ManifestError::Kind { .. } => "Kind",
            ManifestError::Name { .. } => "Name",
            ManifestError::Twice(_) => "Twice",
            ManifestError::Shape(_) => "Shape",
            ManifestError::Image { .. } => "Image",
            ManifestError::Document(_) => "Document",
            ManifestError::Grammar(_) => "Grammar",
        };
        assert_eq!(found, *kind, "{from:?} -> {to:?}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    let release = Release::from_yaml(RELEASE).unwrap();
    let text = yaml::to_string(&release).unwrap();
    assert_eq!(Release::from_yaml(&text).unwrap(), release);
    assert_eq!(yaml::to_string(&release).unwrap(), text);
}

proptest! {
    #[test]
    fn no_text_makes_a_reader_panic(text in "\\PC*", at in 0usize..4000, cut in 0usize..200) {
        let _ = Release::from_yaml(&text);
        let _ = ReleaseChannel::from_yaml(&text);
        let _ = canonical::from_slice::<Plan>(text.as_bytes());
        let start = at.min(RELEASE.len());
        let end = (start + cut).min(RELEASE.len());
        if RELEASE.is_char_boundary(start) && RELEASE.is_char_boundary(end) {
            let _ = Release::from_yaml(&format!("{}{text}{}", &RELEASE[..start], &RELEASE[end..]));
        }
    }

    #[test]
    fn a_canonical_document_has_one_form(keys in proptest::collection::btree_map("[a-z]{0,6}", -9_007_199_254_740_991i64..=9_007_199_254_740_991, 0..8), space in any::<prop::sample::Index>()) {
        let bytes = canonical::to_vec(&keys).unwrap();
        prop_assert_eq!(&canonical::from_slice::<std::collections::BTreeMap<String, i64>>(&bytes).unwrap(), &keys);
        let at = space.index(bytes.len() + 1);
        // Inside a key a space is another key; everywhere else it is another form.
        let quotes = String::from_utf8_lossy(&bytes[..at]).matches('"').count();
        prop_assume!(quotes.is_multiple_of(2));
        let mut padded = bytes.clone();
        padded.insert(at, b' ');
        let same_meaning = canonical::from_slice::<std::collections::BTreeMap<String, i64>>(&padded);
        prop_assert!(same_meaning.is_err());
    }
}
