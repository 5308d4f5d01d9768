//! What is written into the repository: a kustomize component, one file that nobody else writes. Pure.
//!
//! Source: kustomize, `Component` v1alpha1; fields `images` and `configMapGenerator`.

use std::{collections::BTreeMap, fmt::Write as _};

use kdistro_formats::{
    Digest,
    release::{AssetKind, Release},
};

use super::GitopsError;

/// The folder of the component, beside the kustomization that includes it; the `ConfigMap` that it makes is named so too.
pub const COMPONENT: &str = "kdistro-release";
/// The one file in it.
pub(super) const FILE: &str = "kustomization.yaml";

/// Writes the component of a release. `registry` is where its images are pulled from, if not where the manifest says.
pub(super) fn component(
    release: &Release,
    digest: &Digest,
    registry: Option<&str>,
) -> Result<String, GitopsError> {
    let mut text = "# Written by kdistro-rollout, which writes all of it anew for each release.\n\
         apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nimages:\n"
        .to_owned();
    for (name, digest) in images(release)? {
        let new = registry.map_or_else(|| name.to_owned(), |registry| elsewhere(name, registry));
        let _ = write!(
            text,
            "- name: {}\n  newName: {}\n  digest: {digest}\n",
            quoted(name),
            quoted(&new)
        );
    }
    let _ = write!(
        text,
        "configMapGenerator:\n- name: {COMPONENT}\n  options:\n    disableNameSuffixHash: true\n  literals:\n"
    );
    let (name, digest) = (release.name().to_string(), digest.to_string());
    let versions = release.status.components.iter().map(|one| (&*one.name, &*one.git_tag));
    for (key, value) in [("release", &*name), ("manifest", &*digest)].into_iter().chain(versions) {
        let _ = writeln!(text, "  - {}", quoted(&format!("{key}={value}")));
    }
    Ok(text)
}

/// The images of a release: registry and repository as the manifest says, and the digest.
fn images(release: &Release) -> Result<BTreeMap<&str, Digest>, GitopsError> {
    let mut images = BTreeMap::new();
    let assets = release.status.components.iter().flat_map(|one| &one.assets);
    for asset in assets.filter(|asset| asset.kind == AssetKind::Image) {
        let image = asset.image.as_ref();
        let named = image.and_then(|image| Some((without_tag(&image.uri), image.image_digest?)));
        let (name, digest) = named.ok_or_else(|| GitopsError::NoDigest(asset.name.clone()))?;
        images.insert(name, digest);
    }
    Ok(images)
}

/// A colon after the last slash begins the tag; one before it, a registry's port.
fn without_tag(uri: &str) -> &str {
    let name = uri.rfind('/').map_or(0, |slash| slash + 1);
    let tag = uri.get(name..).and_then(|last| last.find(':'));
    tag.and_then(|colon| uri.get(..name + colon)).unwrap_or(uri)
}

/// The same repository in another registry, or below a folder of one.
fn elsewhere(name: &str, registry: &str) -> String {
    let repository = name.split_once('/').map_or(name, |(_, repository)| repository);
    format!("{}/{repository}", registry.trim_end_matches('/'))
}

/// A text that is nothing but this text: JSON's strings are YAML's too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "apiVersion: distro.kdistro.dev/v1alpha1
kind: Release
metadata: {name: kubernetes-1-36-7}
spec: {channel: 1-36, number: 7}
status:
  components:
  - name: etcd
    gitTag: v3.6.12
    assets:
    - name: etcd-image
      type: Image
      mediaType: application/vnd.oci.image.index.v1+json
      os: linux
      arch: [amd64]
      size: 1
      image:
        uri: registry.example:5000/etcd-io/etcd:v3.6.12-1-36-7
        imageDigest: sha256:0000000000000000000000000000000000000000000000000000000000000001
";

    fn written(registry: Option<&str>) -> String {
        let release = Release::from_yaml(MANIFEST).unwrap();
        component(&release, &Digest::from_bytes([2; 32]), registry).unwrap()
    }

    #[test]
    fn a_release_is_written_with_its_digests_and_versions() {
        let manifest = "02".repeat(32);
        let expected = format!(
            "# Written by kdistro-rollout, which writes all of it anew for each release.
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
images:
- name: \"registry.example:5000/etcd-io/etcd\"
  newName: \"registry.example:5000/etcd-io/etcd\"
  digest: sha256:0000000000000000000000000000000000000000000000000000000000000001
configMapGenerator:
- name: kdistro-release
  options:
    disableNameSuffixHash: true
  literals:
  - \"release=1-36-7\"
  - \"manifest=sha256:{manifest}\"
  - \"etcd=v3.6.12\"
"
        );
        assert_eq!(written(None), expected);
    }

    #[test]
    fn images_may_come_from_another_registry() {
        let text = written(Some("mirror.example/kdistro/"));
        assert!(text.contains("newName: \"mirror.example/kdistro/etcd-io/etcd\"\n"), "{text}");
        assert!(text.contains("name: \"registry.example:5000/etcd-io/etcd\"\n"), "{text}");
    }

    #[test]
    fn an_image_without_a_digest_is_refused() {
        let eks = MANIFEST.replace("kdistro.dev", "eks.amazonaws.com");
        let eks = eks.replace("kubernetes-1-36-7", "kubernetes-1-36-eks-7");
        let lines = eks.lines().filter(|line| !line.contains("imageDigest"));
        let release = Release::from_yaml(&lines.collect::<Vec<_>>().join("\n")).unwrap();
        let refused = component(&release, &Digest::from_bytes([2; 32]), None);
        assert!(matches!(refused, Err(GitopsError::NoDigest(name)) if name == "etcd-image"));
    }
}
