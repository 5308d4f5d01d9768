use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::plan::ImageConfig;

const HEX: &str = "5b0bcabd1ed22e9fb1310cf6c2dec7cdef19f0ad69efa1f392e94a4333501270";

fn descriptor(media_type: &str) -> Value {
    json!({ "mediaType": media_type, "digest": format!("sha256:{HEX}"), "size": 7143 })
}

fn image_manifest() -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG),
        "layers": [descriptor(LAYER_GZIP), descriptor(LAYER_TAR), descriptor(LAYER_ZSTD)],
    })
}

fn image_index() -> Value {
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(MANIFEST)] })
}

fn with(mut document: Value, pointer: &str, value: Value) -> Vec<u8> {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    document.pointer_mut(parent).unwrap()[key] = value;
    document.to_string().into_bytes()
}

fn read_manifest(document: &[u8]) -> Result<Manifest, String> {
    Manifest::from_slice(document).map_err(|error| error.to_string())
}

fn read_index(document: &[u8]) -> Result<Index, String> {
    Index::from_slice(document).map_err(|error| error.to_string())
}

#[test]
fn reads_the_samples_of_the_specification() {
    // image-index.md, "Example Image Index": "with annotations".
    let index = Index::from_slice(
        br#"{
          "schemaVersion": 2,
          "mediaType": "application/vnd.oci.image.index.v1+json",
          "manifests": [
            {
              "mediaType": "application/vnd.oci.image.manifest.v1+json",
              "size": 7143,
              "digest": "sha256:e692418e4cbaf90ca69d05a66403747baa33ee08806650b51fab815ad7fc331f",
              "platform": { "architecture": "ppc64le", "os": "linux" }
            },
            {
              "mediaType": "application/vnd.oci.image.manifest.v1+json",
              "size": 7682,
              "digest": "sha256:5b0bcabd1ed22e9fb1310cf6c2dec7cdef19f0ad69efa1f392e94a4333501270",
              "platform": { "architecture": "amd64", "os": "linux" }
            }
          ],
          "annotations": { "com.example.key1": "value1", "com.example.key2": "value2" }
        }"#,
    )
    .unwrap();
    assert_eq!(index.manifests[1].platform.as_ref().unwrap().architecture, "amd64");
    assert_eq!(index.manifests[1].size, 7682);
    assert_eq!(index.annotations["com.example.key2"], "value2");

    // config.md, "Example", shortened.
    let config = Config::from_slice(
        br#"{
          "created": "2015-10-31T22:22:56.015925234Z",
          "author": "Alyssa P. Hacker <alyspdev@example.com>",
          "architecture": "amd64",
          "os": "linux",
          "config": {
            "User": "alice",
            "ExposedPorts": { "8080/tcp": {} },
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin", "FOO=oci_is_a"],
            "Entrypoint": ["/bin/my-app-binary"],
            "Cmd": ["--foreground", "--config", "/etc/my-app.d/default.cfg"],
            "Volumes": { "/var/job-result-data": {} },
            "WorkingDir": "/home/alice",
            "Labels": { "com.example.project.git.commit": "45a939b2999782a3f005621a8d0f29aa387e1d6b" }
          },
          "rootfs": {
            "diff_ids": [
              "sha256:c6f988f4874bb0add23a778f753c65efe992244e148a1d2ec2a8b664fb66bbd1",
              "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
            ],
            "type": "layers"
          },
          "history": [
            { "created": "2015-10-31T22:22:54.690851953Z", "created_by": "/bin/sh -c #(nop) ADD file" },
            { "created": "2015-10-31T22:22:55.613815829Z", "created_by": "/bin/sh", "empty_layer": true },
            { "created": "2015-10-31T22:22:56.329850019Z", "created_by": "/bin/sh -c apk add curl" }
          ]
        }"#,
    )
    .unwrap();
    assert_eq!(config.config.exposed_ports, ["8080/tcp"]);
    assert_eq!(config.config.command.len(), 3);
    assert_eq!(config.rootfs.diff_ids.len(), 2);
    assert!(config.history[1].empty_layer);
}

#[test]
fn what_is_empty_may_be_null_or_absent() {
    let rootfs = json!({ "type": "layers", "diff_ids": [] });
    let empty = json!({ "architecture": "amd64", "os": "linux", "rootfs": rootfs });
    let bare = Config::from_slice(&serde_json::to_vec(&empty).unwrap()).unwrap();
    let mut nulls = empty;
    nulls["history"] = Value::Null;
    nulls["config"] = json!({ "User": null, "ExposedPorts": null, "Env": null, "Entrypoint": null,
        "Cmd": null, "WorkingDir": null, "Labels": null });
    assert_eq!(Config::from_slice(&serde_json::to_vec(&nulls).unwrap()).unwrap(), bare);
    nulls["config"] = Value::Null;
    assert_eq!(Config::from_slice(&serde_json::to_vec(&nulls).unwrap()).unwrap(), bare);
    let manifest = with(image_manifest(), "/annotations", Value::Null);
    assert!(Manifest::from_slice(&manifest).unwrap().annotations.is_empty());
}

#[test]
fn an_unknown_field_is_skipped_and_an_unknown_type_is_not() {
    let extended = with(image_manifest(), "/config/urls", json!(["https://example.org"]));
    let manifest = read_manifest(&extended).unwrap();
    assert!(manifest.is_image());
    for (document, what) in [
        (
            with(image_manifest(), "/mediaType", json!(INDEX)),
            "the media type of the image manifest",
        ),
        (with(image_manifest(), "/schemaVersion", json!(1)), "schemaVersion is 1; expected 2"),
        (with(image_manifest(), "/layers/1/mediaType", json!("text/plain")), "layers[1]"),
        (with(image_manifest(), "/layers/0/mediaType", json!("tar")), "layers[0].mediaType"),
        (with(image_manifest(), "/artifactType", json!("a b/c")), "artifactType"),
        (with(image_manifest(), "/config/mediaType", json!(EMPTY)), "artifactType is absent"),
    ] {
        let error = read_manifest(&document).unwrap_err();
        assert!(error.contains(what), "{error}");
    }
    for (document, what) in [
        (with(image_index(), "/mediaType", json!(MANIFEST)), "the media type of the image index"),
        (with(image_index(), "/manifests/0/mediaType", json!(CONFIG)), "manifests[0]"),
        (with(image_index(), "/manifests/0/mediaType", json!(INDEX)), "manifests[0]"),
        (with(image_index(), "/manifests/0/artifactType", json!("")), "manifests[0].artifactType"),
    ] {
        let error = read_index(&document).unwrap_err();
        assert!(error.contains(what), "{error}");
    }
    let nested = with(image_index(), "/manifests/0/mediaType", json!(INDEX));
    assert_eq!(Index::from_layout(&nested).unwrap().manifests[0].media_type, INDEX);
}

#[test]
fn a_document_of_two_kinds_is_of_none() {
    let mut both = image_manifest();
    both["manifests"] = image_index()["manifests"].clone();
    both.as_object_mut().unwrap().remove("mediaType");
    let both = serde_json::to_vec(&both).unwrap();
    assert!(read_manifest(&both).unwrap_err().contains("`manifests`"));
    assert!(read_index(&both).unwrap_err().contains("`config`"));
    for (field, value) in [("layers", json!([])), ("fsLayers", json!([])), ("config", json!({}))] {
        let error = read_index(&with(image_index(), &format!("/{field}"), value));
        assert!(error.is_err(), "accepted {field}");
    }
    // A layout's index often lacks the type; it is none the worse while the fields are only an index's.
    let mut untyped = image_index();
    untyped.as_object_mut().unwrap().remove("mediaType");
    assert!(Index::from_layout(&serde_json::to_vec(&untyped).unwrap()).is_ok());
}

#[test]
fn sizes_and_digests_are_checked() {
    for (size, holds) in [
        (json!(0), true),
        (json!(9_007_199_254_740_991_u64), true),
        (json!(-1), false),
        (json!(9_007_199_254_740_992_u64), false),
        (json!(1.5), false),
        (json!("7"), false),
    ] {
        for pointer in ["/config/size", "/layers/2/size"] {
            let read = Manifest::from_slice(&with(image_manifest(), pointer, size.clone()));
            assert_eq!(read.is_ok(), holds, "{pointer}: {size}");
        }
        let read = Index::from_slice(&with(image_index(), "/manifests/0/size", size.clone()));
        assert_eq!(read.is_ok(), holds, "{size}");
    }
    for digest in ["sha512:00", "sha256:", HEX] {
        let document = with(image_manifest(), "/layers/0/digest", json!(digest));
        assert!(Manifest::from_slice(&document).is_err(), "accepted {digest}");
    }
    let subject = json!({ "mediaType": "x", "digest": format!("sha256:{HEX}"), "size": 1 });
    assert!(Manifest::from_slice(&with(image_manifest(), "/subject", subject)).is_err());
}

#[test]
fn a_key_that_stands_twice_is_refused() {
    let manifest = image_manifest().to_string();
    for (once, twice) in [
        ("\"schemaVersion\":2", "\"schemaVersion\":2,\"schemaVersion\":2".to_owned()),
        (
            "\"schemaVersion\":2",
            "\"schemaVersion\":2,\"annotations\":{\"a\":\"1\",\"a\":\"2\"}".to_owned(),
        ),
        ("\"size\":7143", "\"size\":7143,\"size\":7143".to_owned()),
    ] {
        let document = manifest.replacen(once, &twice, 1);
        assert_ne!(document, manifest);
        let error = Manifest::from_slice(document.as_bytes()).unwrap_err();
        assert!(matches!(error, OciError::Json { .. }), "{error}");
    }
}

#[test]
fn a_configuration_says_layers_and_one_history_a_layer() {
    let rootfs = json!({ "type": "layers", "diff_ids": [format!("sha256:{HEX}")] });
    let config = json!({ "architecture": "arm64", "os": "linux", "rootfs": rootfs,
        "history": [{ "created_by": "x" }, { "empty_layer": true }] });
    assert!(Config::from_slice(config.to_string().as_bytes()).is_ok());
    for (pointer, value) in [
        ("/rootfs/type", json!("tar")),
        ("/history/1/empty_layer", json!(false)),
        ("/history/0/empty_layer", json!(true)),
        ("/architecture", json!("")),
        ("/os", Value::Null),
    ] {
        let read = Config::from_slice(&with(config.clone(), pointer, value.clone()));
        assert!(read.is_err(), "accepted {value} at {pointer}");
    }
}

#[test]
fn platforms_are_written_in_the_words_of_oci() {
    let of = |text: &str| Platform::from(&text.parse::<crate::Platform>().unwrap());
    let arm = of("linux/arm64");
    assert_eq!(
        (arm.architecture.as_str(), arm.os.as_str(), arm.variant.as_deref()),
        ("arm64", "linux", Some("v8"))
    );
    assert_eq!(of("windows/amd64").variant, None);
}

#[test]
fn the_empty_descriptor_is_that_of_the_specification() {
    // manifest.md, "Guidance for an Empty Descriptor".
    let empty = serde_json::to_value(Descriptor::empty()).unwrap();
    assert_eq!(
        empty,
        json!({
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
            "size": 2,
        })
    );
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::char::range(' ', '\u{24f}'), 0..12)
        .prop_map(|characters| characters.into_iter().collect())
}

fn words() -> impl Strategy<Value = BTreeMap<String, String>> {
    prop::collection::btree_map("[a-z.]{1,12}", text(), 0..4)
}

fn any_descriptor(media_type: &'static str) -> impl Strategy<Value = Descriptor> {
    (any::<[u8; 32]>(), 0..LARGEST, words(), any::<bool>()).prop_map(
        move |(digest, size, annotations, is_for_arm)| Descriptor {
            platform: is_for_arm.then(|| Platform::from(&"linux/arm64".parse().unwrap())),
            annotations,
            ..Descriptor::new(media_type, Digest::from_bytes(digest), size)
        },
    )
}

proptest! {
    #[test]
    fn an_index_is_read_as_it_was_written(
        manifests in prop::collection::vec(any_descriptor(MANIFEST), 0..4),
        annotations in words(),
    ) {
        let index = Index { manifests, annotations, ..Index::default() };
        let bytes = index.to_vec().unwrap();
        prop_assert_eq!(&Index::from_slice(&bytes).unwrap(), &index);
        prop_assert_eq!(Index::from_slice(&bytes).unwrap().to_vec().unwrap(), bytes);
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written(
        config in any_descriptor(CONFIG),
        layers in prop::collection::vec(any_descriptor(LAYER_GZIP), 0..4),
        subject in prop::option::of(any_descriptor(INDEX)),
        annotations in words(),
    ) {
        let manifest = Manifest { config, layers, subject, artifact_type: None, annotations };
        let bytes = manifest.to_vec().unwrap();
        prop_assert_eq!(Manifest::from_slice(&bytes).unwrap(), manifest);
        prop_assert!(Index::from_slice(&bytes).is_err());
    }

    #[test]
    fn a_configuration_is_read_as_it_was_written(
        diff_ids in prop::collection::vec(any::<[u8; 32]>(), 0..3),
        entrypoint in prop::collection::vec(text(), 0..3),
        (env, labels) in (words(), words()),
        ports in prop::collection::vec("[1-9][0-9]{0,3}/(tcp|udp)", 0..3),
    ) {
        let start = ImageConfig { entrypoint, env, ports, labels, ..ImageConfig::default() };
        let config = Config {
            created: None,
            architecture: "amd64".to_owned(),
            os: "linux".to_owned(),
            variant: None,
            config: Execution::from(&start),
            rootfs: RootFs::of(diff_ids.into_iter().map(Digest::from_bytes).collect()),
            history: Vec::new(),
        };
        let bytes = config.to_vec().unwrap();
        prop_assert_eq!(Config::from_slice(&bytes).unwrap(), config);
    }

    #[test]
    fn no_changed_document_makes_the_readers_panic(
        at in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        for document in [image_manifest(), image_index()] {
            let mut document = document.to_string().into_bytes();
            let at = at.index(document.len());
            document.splice(at..document.len().min(at + 1), bytes.iter().copied());
            let _ = Index::from_layout(&document);
            let _ = Manifest::from_slice(&document);
            let _ = Config::from_slice(&document);
        }
    }
}

#[test]
fn what_we_publish_has_one_form() {
    type Read = fn(&[u8]) -> Option<OciError>;
    let image = Manifest::from_slice(image_manifest().to_string().as_bytes()).unwrap();
    let written = image.to_vec().unwrap();
    assert_eq!(Manifest::from_canonical(&written).unwrap(), image);
    let index = Index::from_slice(image_index().to_string().as_bytes()).unwrap().to_vec().unwrap();
    Index::from_canonical(&index).unwrap();
    let config = sample_config().to_vec().unwrap();
    Config::from_canonical(&config).unwrap();
    let reads: [(Read, &[u8]); 3] = [
        (|bytes| Manifest::from_canonical(bytes).err(), &written),
        (|bytes| Index::from_canonical(bytes).err(), &index),
        (|bytes| Config::from_canonical(bytes).err(), &config),
    ];
    for (read, bytes) in reads {
        let text = std::str::from_utf8(bytes).unwrap();
        let open = text.strip_suffix("}").unwrap();
        for other in [
            format!("{text}\n"),
            text.replacen(':', ": ", 1),
            format!("{open},\"urls\":[\"https://elsewhere.example\"]}}"),
        ] {
            let error = read(other.as_bytes()).unwrap();
            assert!(matches!(error, OciError::Form(CanonicalError::Form(_))), "{other}: {error:?}");
        }
    }
}

fn sample_config() -> Config {
    Config {
        created: None,
        architecture: "amd64".to_owned(),
        os: "linux".to_owned(),
        variant: None,
        config: Execution::default(),
        rootfs: RootFs::of(Vec::new()),
        history: Vec::new(),
    }
}

#[test]
fn a_platform_is_shown_without_obeying_it() {
    let platform = Platform {
        os: "\x1b[2J\nlinux".to_owned(),
        architecture: "arm\u{202e}64".to_owned(),
        variant: Some("v\u{200b}8".to_owned()),
    };
    assert_eq!(platform.to_string(), "\\u{1b}[2J\\nlinux/arm\\u{202e}64/v\\u{200b}8");
}
