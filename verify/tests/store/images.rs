//! Images: what is wrong with an index, a manifest, a configuration or a layer, and which blob is named.

use kdistro_formats::{
    canonical, layout,
    oci::{CONFIG, Config, INDEX, Index, LAYER_TAR, LAYER_ZSTD, MANIFEST, Manifest},
    plan::{Content, Image, Plan},
    release::{AssetKind, MediaType},
};
use kdistro_verify::{
    check::{Outcome, Report, Scope},
    hash,
};

use crate::{
    content::name,
    defects::{assert_differs, republish, the_manifest},
    image::Blobs,
    publisher::Publisher,
};

/// Checks release 3 with this image in the place of its own.
fn check(image: &Blobs, scope: Scope) -> Report {
    let mut publisher = Publisher::with_releases();
    image.write(&publisher);
    republish(&mut publisher, |release| {
        let asset = &mut release.status.components[1].assets[2];
        asset.image.as_mut().unwrap().image_digest = Some(image.index);
        asset.size = None;
    });
    publisher.check(3, scope)
}

fn index_file(image: &Blobs) -> String {
    layout::image_blob(&image.index)
}

fn with_config(change: impl Fn(&mut Config)) -> Blobs {
    Blobs::with(&change, &|_| {}, &|_| {})
}

fn with_manifest(change: impl Fn(&mut Manifest)) -> Blobs {
    Blobs::with(&|_| {}, &change, &|_| {})
}

fn with_index(change: impl Fn(&mut Index)) -> Blobs {
    Blobs::with(&|_| {}, &|_| {}, &change)
}

#[test]
fn a_missing_blob_is_named() {
    let publisher = Publisher::with_releases();
    let image = Blobs::new();
    assert_eq!(image.blobs.len(), 8);
    for (digest, bytes) in &image.blobs {
        let file = layout::image_blob(digest);
        publisher.remove(&file);
        for scope in [Scope::Release, Scope::All] {
            assert_differs(&publisher.check(3, scope), &file, "is missing");
        }
        publisher.write(&file, bytes);
    }
    assert_eq!(publisher.check(3, Scope::All).outcome, Outcome::Verified);
}

#[test]
fn a_changed_blob_is_named() {
    let publisher = Publisher::with_releases();
    let image = Blobs::new();
    for (digest, bytes) in &image.blobs {
        let file = layout::image_blob(digest);
        let mut changed = bytes.clone();
        changed[bytes.len() / 2] ^= 1;
        for changed in [&changed[..], &bytes[1..], &[bytes, &b" "[..]].concat()] {
            publisher.write(&file, changed);
            assert_differs(&publisher.check(3, Scope::Release), &file, "");
        }
        publisher.write(&file, bytes);
    }
}

#[test]
fn an_extra_blob_is_found_when_all_is_checked() {
    let publisher = Publisher::with_releases();
    let file = layout::image_blob(&hash::sha256(b"left over"));
    publisher.write(&file, "left over");
    assert_eq!(publisher.check(3, Scope::Inputs).outcome, Outcome::Verified);
    assert_differs(&publisher.check(3, Scope::All), &file, "nothing that is signed speaks of it");
}

#[test]
fn blobs_of_what_refers_to_an_image_are_what_their_names_say() {
    let publisher = Publisher::with_releases();
    let provenance = publisher.read(&layout::provenance(&name(3), "etcd"));
    for content in [&provenance[..], b"{}"] {
        let file = layout::image_blob(&hash::sha256(content));
        for scope in [Scope::Release, Scope::All] {
            publisher.write(&file, [content, b" "].concat());
            assert_differs(&publisher.check(3, scope), &file, "which is not its name");
            publisher.remove(&file);
            assert_differs(&publisher.check(3, scope), &file, "is missing");
        }
        publisher.write(&file, content);
        assert_eq!(publisher.check(3, Scope::All).outcome, Outcome::Verified, "{file}");
    }
    // What refers to no image has no business there.
    let provenance = publisher.read(&layout::provenance(&name(3), "cni-plugins"));
    let file = layout::image_blob(&hash::sha256(&provenance));
    publisher.write(&file, &provenance);
    assert_differs(&publisher.check(3, Scope::All), &file, "nothing that is signed speaks of it");
}

#[test]
fn index_for_other_platforms() {
    let image = with_index(|index| {
        index.manifests[1].platform.as_mut().unwrap().architecture = "riscv64".to_owned();
    });
    let report = check(&image, Scope::Release);
    let file = index_file(&image);
    assert_differs(&report, &file, "is for linux/riscv64/v8, which `etcd/etcd-image`");
    assert_differs(&report, &file, "is not for linux/arm64/v8, which `etcd/etcd-image` lists");
    assert_differs(&report, &layout::image_blob(&image.config("riscv64").digest), "is for linux/");
    let image = with_index(|index| drop(index.manifests.pop()));
    assert_differs(&check(&image, Scope::Release), &index_file(&image), "is not for linux/arm64");
    let image = with_index(|index| index.manifests.push(index.manifests[0].clone()));
    assert_differs(&check(&image, Scope::Release), &index_file(&image), "or lists it twice");
    let image = with_index(|index| index.manifests[0].platform = None);
    assert_differs(&check(&image, Scope::Release), &index_file(&image), "says not what");
    let image = with_index(|index| {
        index.manifests[1].platform.as_mut().unwrap().variant = Some("v7".to_owned());
    });
    assert_differs(&check(&image, Scope::Release), &index_file(&image), "is for linux/arm64/v7");
}

#[test]
fn asset_for_other_platforms_than_its_index() {
    let mut publisher = Publisher::with_releases();
    republish(&mut publisher, |release| {
        release.status.components[1].assets[2].arch.pop();
    });
    let report = publisher.check(3, Scope::Release);
    assert_differs(&report, &index_file(&Blobs::new()), "is for linux/arm64/v8");
    assert_differs(&report, &the_manifest(), "`arch` of `etcd/etcd-image`");
}

#[test]
fn index_or_manifest_of_something_else() {
    let image = with_index(|index| index.subject = Some(index.manifests[0].bare()));
    assert_differs(&check(&image, Scope::Release), &index_file(&image), "is about something else");
    let image = with_manifest(|manifest| {
        manifest.artifact_type = Some("application/x-sbom".to_owned());
    });
    let file = layout::image_blob(&image.manifest("amd64").digest);
    assert_differs(&check(&image, Scope::Release), &file, "is no manifest of an image");
    let mut image = Blobs::new();
    let text = b"{\"schemaVersion\":2,\"manifests\":[],\"layers\":[]}".to_vec();
    image.index = hash::sha256(&text);
    image.blobs.insert(image.index, text);
    assert_differs(&check(&image, Scope::Release), &index_file(&image), "another kind of document");
}

#[test]
fn size_of_a_blob_or_of_the_image_is_another() {
    let image = with_index(|index| index.manifests[0].size += 1);
    assert_differs(&check(&image, Scope::Release), &index_file(&image), "bytes, it has");
    let image = with_manifest(|manifest| manifest.config.size += 1);
    let file = layout::image_blob(&image.manifest("arm64").digest);
    assert_differs(&check(&image, Scope::Release), &file, "bytes, it has");
    let image = with_manifest(|manifest| manifest.layers[0].size += 1);
    let file = layout::image_blob(&image.manifest("arm64").digest);
    assert_differs(&check(&image, Scope::Release), &file, "bytes, it has");
    let image = with_manifest(|manifest| manifest.layers[1].size -= 1);
    let file = layout::image_blob(&image.layer("arm64", 1).digest);
    assert_differs(&check(&image, Scope::Release), &file, "has more than");
    let mut publisher = Publisher::with_releases();
    republish(&mut publisher, |release| {
        *release.status.components[1].assets[2].size.as_mut().unwrap() += 1;
    });
    let index = index_file(&Blobs::new());
    assert_differs(&publisher.check(3, Scope::Release), &index, "signed were");
}

#[test]
fn layers_that_are_not_what_the_configuration_says() {
    let image = with_config(|config| config.rootfs.diff_ids[1] = hash::sha256(b"other"));
    let file = layout::image_blob(&image.config("arm64").digest);
    // Unpacking takes time, and the layers themselves are pinned by the manifest.
    assert_eq!(check(&image, Scope::Inputs).problems.len(), 1);
    assert_differs(&check(&image, Scope::All), &file, "but it does to");
    let image = with_config(|config| {
        config.rootfs.diff_ids.truncate(1);
        config.history.truncate(1);
    });
    let file = layout::image_blob(&image.config("amd64").digest);
    assert_differs(&check(&image, Scope::Release), &file, "has 1 layers, but its manifest 2");
    let image = with_config(|config| config.os = "windows".to_owned());
    let file = layout::image_blob(&image.config("amd64").digest);
    assert_differs(&check(&image, Scope::Release), &file, "is for windows/amd64, but the index");
}

#[test]
fn layers_that_cannot_be_unpacked() {
    let mut image = Blobs::new();
    let digest = image.layer("amd64", 1).digest;
    let cut = image.blobs[&digest][..40].to_vec();
    let file = layout::image_blob(&hash::sha256(&cut));
    let broken = with_manifest(|manifest| {
        manifest.layers[1].digest = hash::sha256(&cut);
        manifest.layers[1].size = 40;
    });
    image.index = broken.index;
    image.blobs.extend(broken.blobs);
    image.blobs.insert(hash::sha256(&cut), cut);
    assert_eq!(check(&image, Scope::Release).problems.len(), 1);
    assert_differs(&check(&image, Scope::All), &file, "cannot be unpacked");
}

#[test]
fn media_types_of_layers() {
    let image = with_manifest(|manifest| LAYER_ZSTD.clone_into(&mut manifest.layers[0].media_type));
    let file = layout::image_blob(&image.manifest("amd64").digest);
    assert_differs(&check(&image, Scope::Release), &file, "expected a tar");
    let image = with_manifest(|manifest| LAYER_TAR.clone_into(&mut manifest.layers[0].media_type));
    let file = layout::image_blob(&image.config("amd64").digest);
    assert_differs(&check(&image, Scope::All), &file, "but it does to");
}

#[test]
fn image_without_digest_or_platforms() {
    type Change = fn(&mut kdistro_formats::release::Asset);
    let changes: [(Change, &str); 3] = [
        (|asset| asset.image.as_mut().unwrap().image_digest = None, "has no imageDigest"),
        (|asset| asset.arch.clear(), "has no arch"),
        (|asset| asset.os.clear(), "has no os"),
    ];
    for (change, why) in changes {
        let mut publisher = Publisher::with_releases();
        republish(&mut publisher, |release| {
            let image = release.status.components[1].assets.iter_mut();
            change(image.into_iter().find(|asset| asset.kind == AssetKind::Image).unwrap());
        });
        assert_differs(&publisher.check(3, Scope::Release), &the_manifest(), why);
    }
}

#[test]
fn image_other_than_planned() {
    for uri in [
        "registry.example/owner/etcd:v1.0.0-1-20-1".to_owned(),
        "registry.example/other/etcd:v1.0.0-1-20-3".to_owned(),
        "registry.example/notowner/etcd:v1.0.0-1-20-3".to_owned(),
    ] {
        let mut publisher = Publisher::with_releases();
        republish(&mut publisher, |release| {
            let asset = &mut release.status.components[1].assets[2];
            asset.image.as_mut().unwrap().uri.clone_from(&uri);
            asset.media_type = Some(MediaType::Text);
        });
        let report = publisher.check(3, Scope::Release);
        assert_differs(&report, &the_manifest(), "`uri` of `etcd/etcd-image`");
        assert_differs(&report, &the_manifest(), "`mediaType` of `etcd/etcd-image`");
    }
}

#[test]
fn document_changed_missing_or_elsewhere() {
    let publisher = Publisher::with_releases();
    let file = layout::document(&name(3), "kubeadm.yaml");
    let original = publisher.read(&file);
    for (content, why) in
        [(&b"kind: ClusterConfiguratioN\n"[..], "signed was"), (b"", "has 0 bytes, signed were 27")]
    {
        publisher.write(&file, content);
        assert_differs(&publisher.check(3, Scope::Release), &file, why);
    }
    publisher.remove(&file);
    assert_differs(&publisher.check(3, Scope::Release), &file, "is missing");
    publisher.write(&file, original);
    let extra = layout::document(&name(3), "release.spdx.json");
    publisher.write(&extra, "{}");
    assert_differs(&publisher.check(3, Scope::Release), &extra, "nothing that is signed speaks");
}

#[test]
fn document_under_another_name_or_twice() {
    for (name, why) in [
        ("../3/kubeadm.yaml", "is not the name of a document"),
        ("", "is not the name of a document"),
        ("other.yaml", "does not end with /kubernetes-1-20/releases/3/other.yaml"),
    ] {
        let mut publisher = Publisher::with_releases();
        republish(&mut publisher, |release| {
            name.clone_into(&mut release.status.documents[0].name);
        });
        assert_differs(&publisher.check(3, Scope::Release), &the_manifest(), why);
    }
    let mut publisher = Publisher::with_releases();
    republish(&mut publisher, |release| {
        release.status.documents.push(release.status.documents[0].clone());
    });
    assert_differs(&publisher.check(3, Scope::Release), &the_manifest(), "is listed twice");
}

#[test]
fn configuration_other_than_planned() {
    type Change = fn(&mut Config);
    let cases: [(Change, &str); 13] = [
        (|c| c.config.user.clear(), "lacks `config.User`, which the plan says is \"65535:65535\""),
        (
            |c| "0".clone_into(&mut c.config.user),
            "`config.User` is \"0\", but the plan says \"65535:65535\"",
        ),
        (
            |c| "/bin/sh".clone_into(&mut c.config.entrypoint[0]),
            "`config.Entrypoint[0]` is \"/bin/sh\", but the plan says \"/usr/local/bin/etcd\"",
        ),
        (
            |c| c.config.command.push("--evil".to_owned()),
            "`config.Cmd[1]` is \"--evil\", of which the plan says nothing",
        ),
        (
            |c| c.config.env.insert(1, "LD_PRELOAD=/tmp/x".to_owned()),
            "`config.Env[1]` is \"LD_PRELOAD=/tmp/x\", but the plan says \"PATH=/usr/local/bin\"",
        ),
        (|c| "/".clone_into(&mut c.config.working_directory), "`config.WorkingDir` is \"/\""),
        (
            |c| drop(c.config.exposed_ports.remove(0)),
            "lacks `config.ExposedPorts.2379/tcp`, which the plan says is {}",
        ),
        (
            |c| drop(c.config.labels.insert("more".to_owned(), "x".to_owned())),
            "`config.Labels.more` is \"x\", of which the plan says nothing",
        ),
        (
            |c| c.created = Some("1970-01-01T00:00:02Z".to_owned()),
            "`created` is \"1970-01-01T00:00:02Z\", but the plan says \"1970-01-01T00:00:01Z\"",
        ),
        (|c| c.created = None, "lacks `created`"),
        (
            |c| c.history[1].created_by = Some("somebody".to_owned()),
            "`history[1].created_by` is \"somebody\", but the plan says \"programs\"",
        ),
        (|c| c.history.clear(), "lacks `history`"),
        (
            |c| c.history[0].comment = Some("\u{202e}\x1b[2J".to_owned()),
            "`history[0].comment` is \"\\u{202e}\\u001b[2J\", of which the plan says nothing",
        ),
    ];
    for (change, why) in cases {
        let image = with_config(change);
        for arch in ["amd64", "arm64"] {
            let file = layout::image_blob(&image.config(arch).digest);
            assert_differs(&check(&image, Scope::Release), &file, why);
        }
    }
}

#[test]
fn every_field_of_a_configuration_that_differs_is_named() {
    let image = with_config(|config| {
        config.config.user.clear();
        config.config.working_directory.clear();
        config.config.env.clear();
    });
    let report = check(&image, Scope::Release);
    let lacks = report.problems.iter().filter(|problem| problem.message.starts_with("lacks `"));
    assert_eq!(lacks.count(), 6, "{report}");
}

#[test]
fn annotations_other_than_planned() {
    let image = with_manifest(|manifest| manifest.annotations.clear());
    let file = layout::image_blob(&image.manifest("arm64").digest);
    let report = check(&image, Scope::Release);
    assert_differs(&report, &file, "lacks `annotations`, which the plan says is {\"org.");
    let title = "org.opencontainers.image.title";
    let image = with_index(|index| {
        index.annotations.insert(title.to_owned(), "ctde".to_owned());
    });
    let why = format!("`annotations.{title}` is \"ctde\", but the plan says \"etcd\"");
    assert_differs(&check(&image, Scope::Release), &index_file(&image), &why);
    let image = with_index(|index| {
        index.manifests[0].annotations.insert("a".to_owned(), "b".to_owned());
    });
    let why = "`manifests[0].annotations` is {\"a\":\"b\"}, of which the plan says nothing";
    assert_differs(&check(&image, Scope::Release), &index_file(&image), why);
    let image = with_index(|index| index.manifests.reverse());
    let report = check(&image, Scope::Release);
    assert_differs(&report, &index_file(&image), "`manifests[0].platform.architecture` is");
}

/// Publishes release 3 with another plan of its image, and says what the plan's file is.
fn replan(change: impl Fn(&mut Image)) -> Publisher {
    let mut publisher = Publisher::with_releases();
    let file = layout::plan(&name(3));
    let mut plan: Plan = canonical::from_slice(&publisher.read(&file)).unwrap();
    let assets = plan.components.iter_mut().flat_map(|component| &mut component.assets);
    for asset in assets {
        if let Content::Image(image) = &mut asset.content {
            change(image);
        }
    }
    let bytes = canonical::to_vec(&plan).unwrap();
    publisher.write(&file, &bytes);
    republish(&mut publisher, |release| {
        release.spec.plan.as_mut().unwrap().sha256 = hash::sha256(&bytes);
    });
    publisher
}

#[test]
fn layers_and_platforms_other_than_planned() {
    let image = Blobs::new();
    let config = layout::image_blob(&image.config("arm64").digest);
    let publisher = replan(|image| image.platforms[1].base = None);
    let report = publisher.check(3, Scope::Release);
    assert_differs(&report, &config, "has 2 layers, but the plan says 1");
    let other = layout::image_blob(&image.config("amd64").digest);
    assert!(report.problems.iter().all(|problem| problem.file != other), "{report}");
    let publisher = replan(|image| drop(image.platforms.pop()));
    let report = publisher.check(3, Scope::Release);
    assert_differs(&report, &index_file(&image), "`manifests[1]` is {");
    let publisher = replan(|image| image.platforms[0].platform = "darwin/amd64".parse().unwrap());
    let report = publisher.check(3, Scope::Release);
    assert_differs(&report, &index_file(&image), "is not for darwin/amd64, which the plan lists");
    let publisher = replan(|image| image.created = 400_000_000_000);
    let report = publisher.check(3, Scope::Release);
    assert_differs(&report, &config, "cannot be what the plan says: created is 400000000000");
}

#[test]
fn documents_of_an_image_in_another_form() {
    type Form = fn(Vec<u8>) -> Vec<u8>;
    let forms: [Form; 3] = [
        |bytes| [&bytes[..], b"\n"].concat(),
        |bytes| {
            let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            serde_json::to_vec_pretty(&value).unwrap()
        },
        // What readers of images skip: nobody would see it.
        |bytes| [&bytes[..bytes.len() - 1], b",\"author\":\"somebody\"}"].concat(),
    ];
    for form in forms {
        for kind in [INDEX, MANIFEST, CONFIG] {
            let image = Blobs::written(&|of, bytes| if of == kind { form(bytes) } else { bytes });
            let digest = match kind {
                INDEX => image.index,
                MANIFEST => image.manifest("amd64").digest,
                _ => image.config("amd64").digest,
            };
            let report = check(&image, Scope::Release);
            assert_differs(&report, &layout::image_blob(&digest), "not in canonical form");
        }
    }
}

#[test]
fn documents_larger_than_registries_take() {
    let image = Blobs::written(&|of, bytes| {
        if of == CONFIG { [bytes, vec![b' '; 4 << 20]].concat() } else { bytes }
    });
    let file = layout::image_blob(&image.config("amd64").digest);
    assert_differs(&check(&image, Scope::Release), &file, "is larger than the 4194304 bytes");
}
