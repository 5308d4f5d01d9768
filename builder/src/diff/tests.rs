//! Two releases that differ in everything, held against files that change only on request
//! (`KDISTRO_UPDATE_GOLDEN=1`).

use std::{fs, path::Path};

use kdistro_formats::{layout, release::Release};
use kdistro_verify::{hash, store::Directory};

use super::*;

fn etcd(tag: &str) -> ComponentFacts {
    let patch = |digest: &str, fixes: &[&str]| PatchFacts {
        digest: digest.to_owned(),
        fixes: fixes.iter().map(ToString::to_string).collect(),
    };
    let old = tag == "v3.6.11";
    let mut shipped = Parts::default();
    for origin in if old {
        [
            "pkg:golang/golang.org/x/net@v0.38.0",
            "pkg:golang/a.example/gone@v1.0.0",
            "pkg:deb/debian/libc6@2.36-9",
        ]
    } else {
        [
            "pkg:golang/golang.org/x/net@v0.39.0",
            "pkg:golang/a.example/new@v1.0.0",
            "pkg:deb/debian/libc6@2.36-10",
        ]
    } {
        shipped.add(origin);
    }
    shipped.add("pkg:golang/a.example/same@v1.0.0");
    let asset =
        |digest: &str, size| AssetFacts { digest: Some(digest.to_owned()), size: Some(size) };
    let mut assets = BTreeMap::from([("same".to_owned(), asset("sha256:01", 5))]);
    let mut patches = BTreeMap::from([("0001-kept.patch".to_owned(), patch("a", &["CVE-2026-1"]))]);
    if old {
        assets.insert("etcd.tar.gz".to_owned(), asset("sha256:02", 100));
        assets.insert("gone".to_owned(), asset("sha256:03", 1));
        patches.insert("0002-dropped.patch".to_owned(), patch("b", &["CVE-2026-2"]));
        patches.insert("0003-changed.patch".to_owned(), patch("c", &[]));
    } else {
        assets.insert("etcd.tar.gz".to_owned(), asset("sha256:12", 90));
        assets.insert("new".to_owned(), asset("sha256:13", 30));
        patches.insert("0002-added.patch".to_owned(), patch("d", &["CVE-2026-3"]));
        patches.insert("0003-changed.patch".to_owned(), patch("e", &[]));
    }
    ComponentFacts {
        tag: tag.to_owned(),
        commit: Some(if old { "1".repeat(40) } else { "2".repeat(40) }),
        source_tree: Some(if old { "3".repeat(40) } else { "4".repeat(40) }),
        toolchain: Some(if old { "go1.25.13" } else { "go1.25.14" }.to_owned()),
        patches,
        assets,
        shipped: Some(shipped),
        seen: None,
    }
}

fn release(number: u32) -> Facts {
    let named = |tag: &str| ComponentFacts { tag: tag.to_owned(), ..ComponentFacts::default() };
    let (etcd, other) = match number {
        1 => (etcd("v3.6.11"), ("aws-iam-authenticator", "v0.7.17")),
        _ => (etcd("v3.6.12"), ("coredns", "v1.14.3")),
    };
    let components = BTreeMap::from([
        ("etcd".to_owned(), etcd),
        (other.0.to_owned(), named(other.1)),
        ("cni-plugins".to_owned(), named("v1.9.1")),
    ]);
    Facts { release: format!("1-36-{number}"), partial: None, components }
}

#[test]
fn every_difference_is_written_as_it_was() {
    let difference = diff(&release(1), &release(2));
    let json = serde_json::to_string_pretty(&difference).unwrap();
    let mut wrong = Vec::new();
    for (name, text) in [
        ("difference.txt", render(&difference, Style::Plain)),
        ("difference.md", render(&difference, Style::Markdown)),
        ("difference.json", json),
    ] {
        wrong.extend(differs(name, &format!("{text}\n")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[expect(clippy::disallowed_methods, reason = "golden files are rewritten only on request")]
fn differs(name: &str, found: &str) -> Option<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("KDISTRO_UPDATE_GOLDEN").is_some() {
        fs::write(&path, found).unwrap();
        return None;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    (expected != found).then(|| format!("-- {name} is now:\n{found}"))
}

#[test]
fn a_release_does_not_differ_from_itself() {
    let difference = diff(&release(1), &release(1));
    assert!(difference.is_empty());
    assert_eq!(difference.unchanged.len(), 3);
    assert!(render(&difference, Style::Plain).ends_with("nothing differs"));
}

#[test]
fn an_sbom_is_not_compared_with_a_plan() {
    let (old, mut new) = (etcd("v3.6.11"), etcd("v3.6.11"));
    new.seen = new.shipped.take();
    let facts = |etcd| Facts {
        release: "1-36-1".to_owned(),
        partial: None,
        components: BTreeMap::from([("etcd".to_owned(), etcd)]),
    };
    assert!(diff(&facts(old), &facts(new)).is_empty());
}

const MANIFEST: &str = "apiVersion: distro.kdistro.dev/v1alpha1
kind: Release
metadata: {name: kubernetes-1-36-1}
spec: {channel: 1-36, number: 1}
status:
  components:
    - name: etcd
      gitTag: v3.6.12
      assets:
        - name: etcd.spdx.json
          type: Archive
          os: linux
          arch: [amd64]
          size: 1
          archive:
            uri: https://x.example/kubernetes-1-36/releases/1/artifacts/etcd/v3.6.12/etcd.spdx.json
            sha256: SHA256
            sha512: SHA512
";

#[test]
fn facts_are_read_from_a_store_and_a_changed_sbom_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let sbom = r#"{"packages": [{"externalRefs": [{"referenceType": "purl", "referenceLocator": "pkg:golang/a@v1"}]}]}"#;
    let text = MANIFEST
        .replace("SHA256", &hash::sha256(sbom.as_bytes()).hex())
        .replace("SHA512", &"0".repeat(128));
    let name = Release::from_yaml(&text).unwrap().name();
    write(&layout::manifest(&name), &text);
    let reader = Directory::new(folder.path());
    let facts = read(&reader, &layout::manifest(&name)).unwrap();
    assert_eq!(facts.components["etcd"].shipped, None, "an SBOM that is not there");
    let path = layout::artifact(&name, "etcd/v3.6.12/etcd.spdx.json");
    write(&path, sbom);
    let facts = read(&reader, &layout::manifest(&name)).unwrap();
    assert!(facts.components["etcd"].shipped.as_ref().unwrap().modules.contains_key("a"));
    write(&path, &sbom.replace("@v1", "@v2"));
    let error = read(&reader, &layout::manifest(&name)).unwrap_err();
    assert!(matches!(error, ReadError::Digest { .. }), "{error}");
}
