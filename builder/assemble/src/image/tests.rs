use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
};

use kdistro_formats::{
    Platform,
    oci::{self, Config, Descriptor, Index, Manifest, OciError},
    plan::ImageConfig,
};
use kdistro_verify::hash::sha256;
use proptest::prelude::*;

use super::*;
use crate::{
    entry::{Entry, EntryKind},
    gzip::gunzip,
    tar::read_tar,
};

/// Debian's kubernetes 1.20.2, as its import is dated.
const CREATED: u64 = 1_610_544_489;

fn path(text: &str) -> EntryPath {
    EntryPath::new(text).unwrap()
}

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

fn text(blob: &Blob) -> &str {
    std::str::from_utf8(&blob.bytes).unwrap()
}

fn start() -> ImageConfig {
    let map = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    ImageConfig {
        entrypoint: vec!["/go-runner".to_owned()],
        command: vec!["/usr/local/bin/etcd".to_owned()],
        user: "10000".to_owned(),
        env: map(&[("SSL_CERT_FILE", "/etc/ssl/cert.pem"), ("PATH", "/usr/local/bin:/usr/bin")]),
        working_directory: "/data".to_owned(),
        ports: vec!["2380/tcp".to_owned(), "2379/tcp".to_owned()],
        labels: map(&[("org.opencontainers.image.version", "v3.4.23")]),
    }
}

fn annotations() -> BTreeMap<String, String> {
    BTreeMap::from([("org.opencontainers.image.licenses".to_owned(), "Apache-2.0".to_owned())])
}

/// The files of a layer by path, and the layer.
fn layer_of(files: &[(&str, &str)]) -> Result<(Vec<u8>, Layer), ImageError> {
    let mut writer = LayerWriter::new(Vec::new(), CREATED);
    for (name, content) in files {
        let size = content.len() as u64;
        writer.append(Entry::file(path(name), true, size, &mut content.as_bytes()))?;
    }
    writer.finish()
}

fn plain(blob: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    gunzip(blob).read_to_end(&mut tar).unwrap();
    tar
}

/// Every entry of a tar: path, and content or `/` of a directory.
fn entries(tar: &[u8]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    read_tar::<TarError>(tar, &mut |entry| {
        let content = match entry.kind {
            EntryKind::Directory { mode } => {
                assert_eq!(mode, 0o755);
                "/".to_owned()
            }
            EntryKind::File { content, .. } => {
                let mut text = String::new();
                content.read_to_string(&mut text).unwrap();
                text
            }
            _ => panic!("a link at {}", entry.path),
        };
        found.push((entry.path.to_string(), content));
        Ok(())
    })
    .unwrap();
    found
}

#[test]
fn a_layer_is_a_gzipped_tar_under_both_digests() {
    let (blob, layer) = layer_of(&[("bin/a", "x"), ("bin/b", "y")]).unwrap();
    let tar = plain(&blob);
    assert_eq!((layer.digest, layer.size), (sha256(&blob), blob.len() as u64));
    assert_eq!((layer.diff_id, layer.uncompressed_size), (sha256(&tar), tar.len() as u64));
    let named = layer.descriptor();
    assert_eq!((named.digest, named.size), (layer.digest, layer.size));
    assert_eq!(named.media_type, "application/vnd.oci.image.layer.v1.tar+gzip");
    assert_eq!(
        layer.digest.to_string(),
        "sha256:751c4795c2b628fbeaf1ee3963bd20d9b4c01b288d9e35457c54538e3b71309a",
        "the bytes of layers changed: every published image would"
    );
}

#[test]
fn a_missing_parent_is_written_even_after_its_place() {
    let (blob, _) = layer_of(&[("a-b", "1"), ("a/b/c", "2"), ("a/b/d", "3"), ("e", "4")]).unwrap();
    let found = entries(&plain(&blob));
    let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a-b", "a", "a/b", "a/b/c", "a/b/d", "e"]);
}

#[test]
fn a_directory_that_was_appended_keeps_its_mode() {
    let mut writer = LayerWriter::new(Vec::new(), CREATED);
    writer.append(Entry::of(path("tmp"), EntryKind::Directory { mode: 0o1777 })).unwrap();
    writer.append(Entry::file(path("tmp/x"), false, 0, &mut &b""[..])).unwrap();
    let (blob, _) = writer.finish().unwrap();
    let mut modes = Vec::new();
    read_tar::<TarError>(&plain(&blob)[..], &mut |entry| {
        if let EntryKind::Directory { mode } = entry.kind {
            modes.push(mode);
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(modes, [0o1777]);
}

#[test]
fn nothing_lies_below_what_is_no_directory() {
    let error = layer_of(&[("a", "1"), ("a-b", "2"), ("a/b/c", "3")]).unwrap_err().to_string();
    assert_eq!(error, "`a/b/c` of the layer lies below `a`, which is no directory there");
    let mut writer = LayerWriter::new(Vec::new(), CREATED);
    writer.append(Entry::symlink(path("bin"), "usr/bin")).unwrap();
    let below = writer.append(Entry::file(path("bin/sh"), true, 0, &mut &b""[..]));
    assert!(matches!(below, Err(ImageError::Below { .. })));
}

#[test]
fn entries_out_of_order_and_twice_are_refused() {
    for files in [&[("b", ""), ("a", "")][..], &[("a", ""), ("a", "")]] {
        assert!(matches!(layer_of(files), Err(ImageError::Tar(_))), "accepted {files:?}");
    }
    let mut writer = LayerWriter::new(Vec::new(), CREATED);
    writer.append(Entry::file(path("a/b"), true, 0, &mut &b""[..])).unwrap();
    assert!(writer.append(Entry::directory(path("a"))).is_err(), "the parent stands there twice");
}

#[test]
fn the_bytes_of_the_documents_never_change() {
    let (_, layer) = layer_of(&[("etcd", "x")]).unwrap();
    let base = sha256(b"base");
    let arm = platform("linux/arm64");
    let config = config(&arm, &start(), &[(base, "base"), (layer.diff_id, "programs")], CREATED);
    let config = config.unwrap();
    assert_eq!(
        text(&config),
        format!(
            concat!(
                r#"{{"architecture":"arm64","config":{{"Cmd":["/usr/local/bin/etcd"],"#,
                r#""Entrypoint":["/go-runner"],"#,
                r#""Env":["PATH=/usr/local/bin:/usr/bin","SSL_CERT_FILE=/etc/ssl/cert.pem"],"#,
                r#""ExposedPorts":{{"2379/tcp":{{}},"2380/tcp":{{}}}},"#,
                r#""Labels":{{"org.opencontainers.image.version":"v3.4.23"}},"#,
                r#""User":"10000","WorkingDir":"/data"}},"created":"2021-01-13T13:28:09Z","#,
                r#""history":[{{"created":"2021-01-13T13:28:09Z","created_by":"base"}},"#,
                r#"{{"created":"2021-01-13T13:28:09Z","created_by":"programs"}}],"os":"linux","#,
                r#""rootfs":{{"diff_ids":["{}","{}"],"type":"layers"}},"variant":"v8"}}"#
            ),
            base, layer.diff_id
        )
    );
    assert_eq!(config.descriptor.digest, sha256(&config.bytes));

    let manifest = manifest(&config.descriptor, &[layer], &annotations()).unwrap();
    assert_eq!(
        text(&manifest),
        format!(
            concat!(
                r#"{{"annotations":{{"org.opencontainers.image.licenses":"Apache-2.0"}},"#,
                r#""config":{{"digest":"{}","mediaType":"application/vnd.oci.image.config.v1+json","#,
                r#""size":{}}},"layers":[{{"digest":"{}","#,
                r#""mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","size":{}}}],"#,
                r#""mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}}"#
            ),
            config.descriptor.digest,
            config.bytes.len(),
            layer.digest,
            layer.size
        )
    );

    let index = index(&[(arm, manifest.descriptor.clone())], &annotations()).unwrap();
    assert_eq!(
        text(&index),
        format!(
            concat!(
                r#"{{"annotations":{{"org.opencontainers.image.licenses":"Apache-2.0"}},"#,
                r#""manifests":[{{"digest":"{}","#,
                r#""mediaType":"application/vnd.oci.image.manifest.v1+json","#,
                r#""platform":{{"architecture":"arm64","os":"linux","variant":"v8"}},"size":{}}}],"#,
                r#""mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}}"#
            ),
            manifest.descriptor.digest,
            manifest.bytes.len()
        )
    );
    assert_eq!(Manifest::from_slice(&manifest.bytes).unwrap().layers.len(), 1);
}

#[test]
fn what_is_empty_is_not_written() {
    let config = config(&platform("linux/amd64"), &ImageConfig::default(), &[], 0).unwrap();
    assert_eq!(
        text(&config),
        concat!(
            r#"{"architecture":"amd64","config":{},"created":"1970-01-01T00:00:00Z","os":"linux","#,
            r#""rootfs":{"diff_ids":[],"type":"layers"}}"#
        )
    );
}

#[test]
fn a_time_beyond_the_calendar_is_refused() {
    for created in [u64::MAX, 1 << 62, 400_000_000_000] {
        let made = config(&platform("linux/amd64"), &ImageConfig::default(), &[], created);
        assert!(matches!(made, Err(ImageError::Oci(OciError::Value { .. }))), "accepted {created}");
    }
}

#[test]
fn an_index_is_sorted_and_has_each_platform_once() {
    let manifest = |content: &[u8]| Blob::of(oci::MANIFEST, content.to_vec()).descriptor;
    let (arm, intel) = (platform("linux/arm64"), platform("linux/amd64"));
    let both = [(arm.clone(), manifest(b"1")), (intel.clone(), manifest(b"2"))];
    let written = index(&both, &BTreeMap::new()).unwrap();
    let read = Index::from_slice(&written.bytes).unwrap();
    let found: Vec<_> = read
        .manifests
        .iter()
        .map(|one| one.platform.as_ref().unwrap().architecture.as_str())
        .collect();
    assert_eq!(found, ["amd64", "arm64"]);
    let [first, second] = both;
    assert_eq!(index(&[second, first], &BTreeMap::new()).unwrap(), written);
    let twice = [(arm.clone(), manifest(b"1")), (arm, manifest(b"2"))];
    assert!(matches!(index(&twice, &BTreeMap::new()), Err(ImageError::Platform(_))));
    let config = Blob::of(oci::CONFIG, Vec::new()).descriptor;
    assert!(index(&[(intel, config)], &BTreeMap::new()).is_err(), "took a configuration");
}

#[test]
fn a_referrer_names_its_subject_and_has_the_empty_configuration() {
    const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
    let mut subject = Blob::of(oci::INDEX, b"index".to_vec()).descriptor;
    let bare = subject.clone();
    subject.annotations = annotations();
    let bundle = Blob::of(BUNDLE, b"bundle".to_vec()).descriptor;
    let referrer = referrer(&subject, BUNDLE, &bundle, &annotations()).unwrap();
    let read = Manifest::from_slice(&referrer.bytes).unwrap();
    assert_eq!(read.subject, Some(bare));
    assert_eq!(read.config, Descriptor::empty());
    assert_eq!(read.layers, [bundle]);
    assert!(!read.is_image());
    assert_eq!(read.artifact_type.as_deref(), Some(BUNDLE));
    assert_eq!(referrer.descriptor.artifact_type.as_deref(), Some(BUNDLE));
    assert_eq!(referrer.descriptor.annotations, annotations());
    assert_eq!(referrer.descriptor.digest, sha256(&referrer.bytes));
}

/// A configuration of one layer, and that layer's plain tar.
fn small() -> (Blob, Vec<u8>, Layer) {
    let (blob, layer) = layer_of(&[("pause", "x")]).unwrap();
    let made = [(layer.diff_id, "programs")];
    let config = config(&platform("linux/amd64"), &start(), &made, CREATED).unwrap();
    (config, plain(&blob), layer)
}

fn archive(tag: &str, config: &[u8], layers: &[(Digest, &[u8])]) -> Result<Vec<u8>, ImageError> {
    let mut readers: Vec<&[u8]> = layers.iter().map(|(_, tar)| *tar).collect();
    let mut layers: Vec<_> = layers
        .iter()
        .zip(&mut readers)
        .map(|((diff_id, tar), content)| DockerLayer {
            diff_id: *diff_id,
            size: tar.len() as u64,
            content,
        })
        .collect();
    docker_archive(Vec::new(), tag, config, &mut layers, CREATED)
}

const NAME: &str = "registry.k8s.io/pause-amd64:v1.20.2_kd.t0123456789ab";

#[test]
fn an_archive_for_docker_has_configuration_layers_and_manifest() {
    let (config, tar, layer) = small();
    let written = archive(NAME, &config.bytes, &[(layer.diff_id, &tar)]).unwrap();
    let found: BTreeMap<String, String> = entries(&written).into_iter().collect();
    let (config_name, layer_name) = (
        format!("{}.json", config.descriptor.digest.hex()),
        format!("{}.tar", layer.diff_id.hex()),
    );
    assert_eq!(
        found["manifest.json"],
        format!(
            r#"[{{"Config":"{config_name}","Layers":["{layer_name}"],"RepoTags":["{NAME}"]}}]"#
        )
    );
    assert_eq!(found[&config_name].as_bytes(), config.bytes);
    assert_eq!(found[&layer_name].as_bytes(), tar);
    assert_eq!(found.len(), 3);
}

#[test]
fn a_layer_that_stands_there_twice_is_one_file() {
    let (_, tar, layer) = small();
    let made = [(layer.diff_id, "once"), (layer.diff_id, "again")];
    let config = config(&platform("linux/amd64"), &start(), &made, CREATED).unwrap();
    let layers = [(layer.diff_id, &tar[..]), (layer.diff_id, &tar[..])];
    let written = archive(NAME, &config.bytes, &layers).unwrap();
    assert_eq!(entries(&written).len(), 3);
}

#[test]
fn an_archive_of_other_layers_is_refused() {
    let (config, tar, layer) = small();
    let other = archive(NAME, &config.bytes, &[(sha256(b"other"), &tar)]);
    assert!(matches!(other, Err(ImageError::Layers { .. })));
    let none = archive(NAME, &config.bytes, &[]);
    assert!(matches!(none, Err(ImageError::Layers { .. })));
    let mut changed = tar.clone();
    changed[0] ^= 1;
    let changed = archive(NAME, &config.bytes, &[(layer.diff_id, &changed)]);
    assert!(matches!(changed, Err(ImageError::Content { .. })));
    assert!(matches!(archive(NAME, b"{}", &[]), Err(ImageError::Oci(_))));
}

#[test]
fn names_are_those_that_docker_loads() {
    let (config, tar, layer) = small();
    let try_name = |name: &str| archive(name, &config.bytes, &[(layer.diff_id, &tar)]);
    for name in [NAME, "pause:3.2", "localhost:5000/a/b_c/d-e:X", "a:_"] {
        assert!(try_name(name).is_ok(), "refused {name}");
    }
    let long = format!("a:{}", "x".repeat(129));
    for name in [
        "",
        "pause",
        "pause:",
        ":3.2",
        "a/b",
        "host:5000/a",
        "a:v1+kd",
        "A:1",
        "h/A:1",
        "a//b:1",
        "/a:1",
        "a/:1",
        "a:-1",
        "a:.1",
        "a b:1",
        "a:b:c",
        &long,
    ] {
        assert!(matches!(try_name(name), Err(ImageError::Name(_))), "accepted {name:?}");
    }
}

#[test]
fn a_layout_names_several_images() {
    let image = |content: &[u8]| Blob::of(oci::INDEX, content.to_vec()).descriptor;
    let images = BTreeMap::from([
        ("v1.20.2-1-20-1".to_owned(), image(b"1")),
        ("registry.example.org/a:latest".to_owned(), image(b"2")),
    ]);
    let written = oci::layout::write_index(&images).unwrap();
    let mut read = BTreeMap::new();
    for mut image in Index::from_layout(&written).unwrap().manifests {
        read.insert(image.annotations.remove(oci::REF_NAME).unwrap(), image);
    }
    assert_eq!(read, images);
    let shown = String::from_utf8(written).unwrap();
    let (first, second) = (shown.find("a:latest").unwrap(), shown.find("v1.20.2").unwrap());
    assert!(first < second, "not sorted: {shown}");
    assert_eq!(
        oci::layout::blob(&sha256(b"{}")),
        "blobs/sha256/44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_parent_of_every_entry_is_there_once_and_before_it(
        names in prop::collection::btree_set("[a.-]{1,2}x(/[a.-]{1,2}x){0,3}", 1..12),
    ) {
        // What is both a file and above another file is left out.
        let is_above = |name: &String| names.iter().any(|other| path(other).is_below(&path(name)));
        let files: Vec<_> =
            names.iter().filter(|name| !is_above(name)).map(|name| (name.as_str(), "x")).collect();
        let (blob, layer) = layer_of(&files).unwrap();
        let mut seen = BTreeSet::new();
        for (name, content) in entries(&plain(&blob)) {
            let at = path(&name);
            prop_assert!(at.parent().is_none_or(|parent| seen.contains(&parent)), "{name}");
            prop_assert_eq!(content == "x", files.contains(&(name.as_str(), "x")));
            prop_assert!(seen.insert(at), "{} twice", name);
        }
        prop_assert!(files.iter().all(|(name, _)| seen.contains(&path(name))));
        prop_assert_eq!(layer_of(&files).unwrap().1, layer);
    }

    #[test]
    fn a_configuration_holds_what_the_plan_says(
        diff_ids in prop::collection::vec(any::<[u8; 32]>(), 0..3),
        created in 0..4_102_444_800_u64,
    ) {
        let layers: Vec<_> =
            diff_ids.into_iter().map(|bytes| (Digest::from_bytes(bytes), "made by")).collect();
        let blob = config(&platform("linux/amd64"), &start(), &layers, created).unwrap();
        let read = Config::from_slice(&blob.bytes).unwrap();
        prop_assert_eq!(read.rootfs.diff_ids, layers.iter().map(|(id, _)| *id).collect::<Vec<_>>());
        prop_assert_eq!(read.history.len(), layers.len());
        prop_assert!(read.history.iter().all(|history| history.created == read.created));
        prop_assert_eq!(read.config.exposed_ports, ["2379/tcp", "2380/tcp"]);
    }
}
