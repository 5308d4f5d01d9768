//! The custom resource definitions hold every field that is written, and require none that may be absent.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use kdistro_formats::{
    Digest, Sha512,
    channel::{ChannelSpec, ChannelStatus, ReleaseChannel, Withheld, Yanked},
    release::{
        AppliedPatch, Asset, AssetArchive, AssetImage, AssetKind, Component, Document, MediaType,
        Metadata, PlanRef, Release, ReleaseRef, ReleaseSpec, ReleaseStatus,
    },
    yaml,
};
use serde_json::{Value, json};

const RELEASES: &str =
    include_str!("../../../release-manifests/crds/distro.kdistro.dev_releases.v1alpha1_2.yaml");
const CHANNELS: &str = include_str!(
    "../../../release-manifests/crds/distro.kdistro.dev_releasechannels.v1alpha1.yaml"
);

fn schema(text: &str) -> Value {
    let definition: Value = serde_saphyr::from_str(text).unwrap();
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// Lists what `value` has that `schema` does not allow: unknown and missing fields, other types, other words.
fn violations(path: &str, schema: &Value, value: &Value) -> Vec<String> {
    let kind = match value {
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Number(_) => "integer",
        Value::Bool(_) => "boolean",
        Value::Null => "null",
    };
    if schema["type"] != kind {
        return vec![format!("{path} is {kind}, expected {}", schema["type"])];
    }
    let mut found = Vec::new();
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        found.push(format!("{path} is {value}, expected one of {words:?}"));
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        found.extend(violations(&format!("{path}[{index}]"), &schema["items"], item));
    }
    if let Some(fields) = value.as_object() {
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let missing = required.iter().filter_map(Value::as_str);
        let missing = missing.filter(|field| !fields.contains_key(*field));
        found.extend(missing.map(|field| format!("{path}.{field} is missing")));
        for (name, field) in fields {
            match schema["properties"].get(name) {
                Some(schema) => found.extend(violations(&format!("{path}.{name}"), schema, field)),
                None => found.push(format!("{path}.{name} is unknown")),
            }
        }
    }
    found
}

fn asset(media_type: MediaType) -> Asset {
    let is_image = media_type == MediaType::Index;
    let uri = "https://releases.example/x".to_owned();
    let archive = AssetArchive {
        uri: uri.clone(),
        sha256: Digest::from_bytes([1; 32]),
        sha512: Sha512::from_bytes([1; 64]),
    };
    let image = AssetImage { uri, image_digest: Some(Digest::from_bytes([1; 32])) };
    Asset {
        name: format!("{media_type:?}"),
        kind: if is_image { AssetKind::Image } else { AssetKind::Archive },
        media_type: Some(media_type),
        description: Some("a sentence".to_owned()),
        os: "linux".to_owned(),
        arch: vec!["amd64".to_owned(), "arm64".to_owned()],
        size: Some(1),
        archive: (!is_image).then_some(archive),
        image: is_image.then_some(image),
    }
}

/// A release in which every field is set.
fn release() -> Release {
    let digest = Digest::from_bytes([1; 32]);
    let uri = "https://releases.example/x".to_owned();
    let media_types = [
        MediaType::Gzip,
        MediaType::Program,
        MediaType::Tar,
        MediaType::Text,
        MediaType::Spdx,
        MediaType::Index,
    ];
    let fixes = vec!["CVE-2026-0001".to_owned()];
    let component = Component {
        name: "etcd".to_owned(),
        git_tag: "v1".to_owned(),
        git_commit: Some("1".repeat(40).parse().unwrap()),
        source_tree: Some("2".repeat(40).parse().unwrap()),
        patches: vec![AppliedPatch {
            name: "0001.patch".to_owned(),
            digest,
            fixes,
            critical: true,
        }],
        toolchain: Some("go1.26.3".to_owned()),
        assets: media_types.map(asset).to_vec(),
    };
    let document = Document {
        name: "kubeadm.yaml".to_owned(),
        uri: uri.clone(),
        sha256: digest,
        sha512: Sha512::from_bytes([1; 64]),
        size: 1,
    };
    Release {
        api_version: "distro.kdistro.dev/v1alpha1".to_owned(),
        kind: "Release".to_owned(),
        metadata: Metadata { creation_timestamp: None, name: "kubernetes-1-36-2".to_owned() },
        spec: ReleaseSpec {
            build_repo_commit: Some("3".repeat(40).parse().unwrap()),
            channel: "1-36".parse().unwrap(),
            number: 2,
            plan: Some(PlanRef { uri, sha256: digest }),
            previous: Some(ReleaseRef { number: 1, digest }),
        },
        status: ReleaseStatus {
            date: Some("2026-08-01T00:00:00Z".to_owned()),
            components: vec![component],
            documents: vec![document],
        },
    }
}

#[test]
fn a_release_with_every_field_is_allowed() {
    let release = release();
    let text = yaml::to_string(&release).unwrap();
    assert_eq!(Release::from_yaml(&text).unwrap(), release);
    let value = serde_json::to_value(&release).unwrap();
    assert_eq!(violations("", &schema(RELEASES), &value), Vec::<String>::new());
}

#[test]
fn a_release_without_what_may_be_absent_is_allowed() {
    let mut release = release();
    release.spec.build_repo_commit = None;
    release.spec.previous = None;
    release.status.documents.clear();
    release.status.components[0].patches[0].fixes.clear();
    release.status.components[0].patches[0].critical = false;
    let asset = &mut release.status.components[0].assets[0];
    asset.arch.clear();
    asset.os.clear();
    let value = serde_json::to_value(&release).unwrap();
    assert_eq!(violations("", &schema(RELEASES), &value), Vec::<String>::new());
}

#[test]
fn what_the_schema_lists_is_written() {
    let value = serde_json::to_value(release()).unwrap();
    let schema = schema(RELEASES);
    let at = |pointer: &str| value.pointer(pointer).unwrap().as_object().unwrap();
    let assets = "/properties/status/properties/components/items/properties/assets/items";
    for (in_schema, in_value) in [
        ("/properties/spec", "/spec"),
        ("/properties/status", "/status"),
        ("/properties/status/properties/documents/items", "/status/documents/0"),
        ("/properties/status/properties/components/items", "/status/components/0"),
    ] {
        let listed = schema.pointer(in_schema).unwrap()["properties"].as_object().unwrap();
        assert!(listed.keys().eq(at(in_value).keys()), "{in_schema}");
    }
    let listed = schema.pointer(assets).unwrap()["properties"].as_object().unwrap();
    let mut written: BTreeSet<_> = at("/status/components/0/assets/0").keys().collect();
    written.extend(at("/status/components/0/assets/5").keys());
    assert!(listed.keys().eq(written));
}

#[test]
fn a_channel_index_with_every_field_is_allowed() {
    let digest = Digest::from_bytes([1; 32]);
    let reason = "a sentence".to_owned();
    let index = ReleaseChannel {
        api_version: "distro.kdistro.dev/v1alpha1".to_owned(),
        kind: "ReleaseChannel".to_owned(),
        metadata: Metadata { creation_timestamp: None, name: "1-36".to_owned() },
        spec: ChannelSpec {
            channel: Some("1-36".parse().unwrap()),
            environment: Some("test".to_owned()),
            sns_topic_arn: Some("arn:aws:sns:eu-central-1:000000000000:releases".to_owned()),
        },
        status: ChannelStatus {
            active: true,
            latest_release: 3,
            releases: vec![ReleaseRef { number: 3, digest }],
            supported_until: Some("2027-08-01".to_owned()),
            withheld: vec![Withheld { number: 1, digest: Some(digest), reason: reason.clone() }],
            yanked: vec![Yanked { number: 3, reason }],
        },
    };
    let value = serde_json::to_value(&index).unwrap();
    assert_eq!(violations("", &schema(CHANNELS), &value), Vec::<String>::new());
}

#[test]
fn what_is_not_allowed_is_found() {
    let base = serde_json::to_value(release()).unwrap();
    for (pointer, value, expected) in [
        ("/status/documents/0/size", json!("1"), ".size is string"),
        ("/status/components/0/assets/0/mediaType", json!("x"), ".mediaType is \"x\""),
        ("/status/components/0/assets/5/image", json!({ "uri": "x" }), "imageDigest is missing"),
        ("/spec/previous", json!({ "number": 1, "digest": "x", "y": 1 }), "previous.y is unknown"),
    ] {
        let mut changed = base.clone();
        *changed.pointer_mut(pointer).unwrap() = value;
        let found = violations("", &schema(RELEASES), &changed);
        assert!(found.iter().any(|problem| problem.contains(expected)), "{found:?}");
    }
}
