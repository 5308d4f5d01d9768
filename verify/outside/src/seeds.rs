//! What the targets start from: inputs that are right, so that chance need not find them.

mod made;

use kdistro_assemble::gzip::gzip;
use kdistro_formats::{
    Digest,
    announcement::{self, Announcement, Document, Envelope, Severity},
    canonical,
    release::ReleaseRef,
    statement::{self, Rebuild, RebuildVerdict, RebuiltAsset, Statement, Subject},
};

use self::made::{deb, go_program, module_zip, pair, tar};
use crate::signatures::key;

/// A document that the key signed.
pub(crate) const DOCUMENT: &[u8] = include_bytes!("../seeds/document");
/// The bundle of [`DOCUMENT`].
pub(crate) const BUNDLE: &[u8] = include_bytes!("../seeds/bundle.json");
/// A signed statement about it.
pub(crate) const STATEMENT: &[u8] = include_bytes!("../seeds/statement.sigstore.json");
/// The public key.
pub(crate) const KEY: &str = include_str!("../seeds/key.pub");
/// The trusted root that names the log.
pub(crate) const TRUSTED_ROOT: &[u8] = include_bytes!("../seeds/trusted_root.json");
/// The head of the log with one leaf.
pub(crate) const CHECKPOINT: &str = include_str!("../seeds/checkpoint");
/// The module that seeds of zip files are of.
pub(crate) const MODULE: &str = "example.org/seed@v1.0.0/";
/// Bundles of [`DOCUMENT`] that cosign made without a key, by services as those of the tests of keyless signatures.
pub(crate) const KEYLESS: [&[u8]; 2] = [
    include_bytes!("../seeds/keyless.sigstore.json"),
    include_bytes!("../seeds/keyless-timestamped.sigstore.json"),
];
/// The trusted root that names those services.
pub(crate) const KEYLESS_ROOT: &[u8] = include_bytes!("../seeds/keyless_trusted_root.json");

/// What one target starts from.
pub type Seeds = Vec<Vec<u8>>;
/// Why a seed could not be made.
pub type Failure = Box<dyn std::error::Error>;

macro_rules! golden {
    ($($name:literal),+) => { [$(include_bytes!(concat!("../../../builder/tests/golden/", $name)).to_vec()),+] };
}

macro_rules! sample {
    ($name:literal) => {
        include_bytes!(concat!("../../formats/tests/samples/", $name)).to_vec()
    };
}

/// Every target with its seeds, sorted by name.
pub fn all() -> Result<Vec<(&'static str, Seeds)>, Failure> {
    let tar = tar(&[("a", b"text"), ("b/c", b"#!/bin/sh\n")])?;
    Ok(vec![
        ("announcement", announcements()?),
        ("bundle", vec![BUNDLE.to_vec(), STATEMENT.to_vec()]),
        ("canonical", texts(&["{\"a\":[1,-2,true,null,\"\\u000f\u{20ac}\"],\"b\":{}}"])),
        (
            "channel-index",
            [golden!("index.yaml").to_vec(), vec![sample!("eks-d-channel.yaml")]].concat(),
        ),
        ("challenge", texts(&CHALLENGES)),
        ("checkpoint", texts(&[CHECKPOINT])),
        ("claim", canonical(&golden!("claim.json"))?),
        ("configuration", configuration()),
        ("credential-helper", texts(&[r#"{"ServerURL":"a","Username":"b","Secret":"planted"}"#])),
        ("deb", vec![deb(&tar)?]),
        ("docker-config", texts(&DOCKER_CONFIGS)),
        ("environment", texts(&ENVIRONMENTS)),
        ("explain", vec![pair(&tar, &gzip(&tar[..], Vec::new())?), pair(b"a\nb\n", b"a\nc\n")]),
        ("go-build-info", vec![go_program()]),
        ("keyless", KEYLESS.iter().chain([&KEYLESS_ROOT]).map(|seed| seed.to_vec()).collect()),
        ("log", log()),
        (
            "manifest",
            [golden!("manifest.yaml").to_vec(), vec![sample!("eks-d-release.yaml")]].concat(),
        ),
        ("module-zip", vec![module_zip()?]),
        ("names", names()),
        ("oci", oci()),
        ("patch", texts(&[PATCH])),
        ("plan", canonical(&golden!("plan.json"))?),
        ("registry-answer", [oci(), texts(&REGISTRY_ANSWERS)].concat()),
        ("registry-reference", texts(&REGISTRY_REFERENCES)),
        ("statement", vec![statement()?, texts(&[TESTS]).concat()]),
        ("tar", vec![tar]),
        ("trust", vec![TRUSTED_ROOT.to_vec(), KEY.as_bytes().to_vec(), der()]),
        (
            "yaml",
            texts(&[
                "text: '1.30'\nnumber: 7\nflag: true\nmaybe: null\ntexts: [yes, 012]\nmap: {a: b}\ninner:\n  - text: |\n      x\n",
            ]),
        ),
    ])
}

/// The seeds of one target.
pub fn of(name: &str) -> Result<Seeds, Failure> {
    let found = all()?.into_iter().find(|(target, _)| *target == name);
    Ok(found.ok_or_else(|| format!("there is no target {name}"))?.1)
}

const PATCH: &str = "From 0000000000000000000000000000000000000000 Mon Sep 17 00:00:00 2001\nFrom: A <a@example.org>\nDate: Tue, 14 Nov 2023 22:13:20 +0000\nSubject: [PATCH] Say it\n otherwise\n\nA text.\n\nFixes: CVE-2026-1234\nUpstream: not submitted, because it is a seed\nDrop-when: v2.0.0\n---\n a | 2 +-\n 1 file changed, 1 insertion(+), 1 deletion(-)\n\ndiff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-b\n+c\n-- \n2.39.5\n\n";

/// Source: RFC 9110, section 11.6.1; distribution, "Token Authentication Specification".
const CHALLENGES: [&str; 3] = [
    "Bearer realm=\"https://auth.example/token\",service=\"registry.example\",scope=\"repository:a/b:pull,push\"",
    "Basic realm=\"simple\", Newauth realm=\"apps\", type=1, title=\"Login to \\\"apps\\\"\"",
    "Negotiate YII+/==, , BASIC Realm = x",
];

const DOCKER_CONFIGS: [&str; 2] = [
    r#"{"auths":{"https://registry.example:5000/v1/":{"auth":"bWU6YTpi"},"https://index.docker.io/v1/":{"identitytoken":"t"},"registry.example":{"auth":"","username":"u","password":"p"}},"HttpHeaders":{}}"#,
    r#"{"credsStore":"store","credHelpers":{"registry.example":"own"},"auths":{"registry.example":{"auth":"bWU6YTpi"}}}"#,
];

const ENVIRONMENTS: [&str; 3] = [
    "name: seed\nstore: {directory: store}\nregistry: {directory: r}\nannouncements: {directory: a}\nkeys: {directory: k}\nlogOrigin: log.example.org\n",
    "name: seed\ndevelopment: true\nstore: {s3: {bucket: bucket, prefix: p, region: eu-west-1, pathStyle: true, conditionalWrites: false}}\nregistry: {ecr: {prefix: kdistro, account: '123456789012'}}\nannouncements: {sns: {topic: 'arn:aws:sns:eu-west-1:123456789012:t.fifo'}}\nkeys: {kms: {release: alias/r, log: alias/l}}\nlogOrigin: log.example.org\n",
    "name: seed\nstore: {s3: {bucket: bucket, endpoint: 'http://127.0.0.1:9000'}}\nregistry: {oci: {address: 'https://registry.example.org', immutable: true, ca: ca.pem}}\nannouncements: {webhook: {address: 'https://hook.example.org/x', secret: s}}\nkeys: {directory: k}\nlogOrigin: log.example.org\n",
];

/// Source: distribution, "Token Authentication Specification"; OCI distribution-spec 1.1, "Error Codes".
const REGISTRY_ANSWERS: [&str; 2] = [
    r#"{"token":"planted","expires_in":300}"#,
    r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"a","detail":"\u0007"}]}"#,
];

/// Links to a next page and locations.
const REGISTRY_REFERENCES: [&str; 5] = [
    r#"<https://registry.example:5000/v2/a/referrers/x?n=2>; rel="next""#,
    r#"<x>; rel="prev", <y>; title="t"; Rel="next""#,
    "https://registry.example:5000/v2/a/blobs/uploads/7?_state=b",
    "//registry.example:5000@other.example/v2/",
    "?mount=sha256:7",
];

fn texts(texts: &[&str]) -> Seeds {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Golden files are laid out for people.
fn canonical(documents: &[Vec<u8>]) -> Result<Seeds, Failure> {
    let documents = documents.iter().map(|document| {
        let value: serde_json::Value = serde_json::from_slice(document)?;
        Ok(canonical::to_vec(&value)?)
    });
    documents.collect()
}

/// An announcement as it is recorded, and in the envelope of SNS.
fn announcements() -> Result<Seeds, Failure> {
    let digest = Digest::from_bytes([7; 32]);
    let document = |content: Option<&str>| Document {
        uri: "https://tiny.example/kubernetes-9-1/kubernetes-9-1-200.yaml".to_owned(),
        sha256: digest,
        content: content.map(str::to_owned),
    };
    let announcement = Announcement {
        schema: announcement::SCHEMA.to_owned(),
        environment: "local".to_owned(),
        channel: "9-1".parse()?,
        number: 200,
        manifest: document(Some("apiVersion: distro.kdistro.dev/v1alpha1\n")),
        bundle: document(None),
        previous: Some(ReleaseRef { number: 199, digest }),
        severity: Severity::Security,
        fixes: vec!["CVE-2026-1234".to_owned()],
        yanked: Some("it does not start".to_owned()),
    };
    let record = canonical::to_vec(&announcement)?;
    let default = String::from_utf8(record.clone())?;
    let envelope = Envelope { default, email: "kdistro 9-1-200 is released".to_owned() };
    Ok(vec![record, serde_json::to_vec(&envelope)?])
}

/// Tests of which one failed.
const TESTS: &str = r#"{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"1-20-1","digest":{"sha256":"07"}}],"predicateType":"https://in-toto.io/attestation/test-result/v0.1","predicate":{"result":"FAILED","configuration":[{"name":"devcluster","annotations":{"node":"yes"}}],"passedTests":["pod runs"],"failedTests":["service answers"]}}"#;

/// A rebuild that came out the same.
fn statement() -> Result<Vec<u8>, Failure> {
    let digest = Digest::from_bytes([7; 32]);
    let asset = RebuiltAsset {
        name: "etcd/etcd.tar.gz".to_owned(),
        published: digest,
        rebuilt: digest,
        verdict: RebuildVerdict::Same,
    };
    let predicate = Rebuild {
        release: "1-20-1".to_owned(),
        plan: digest,
        plan_reproduced: true,
        inputs_from: "publisher".to_owned(),
        assets: vec![asset],
        left_out: Vec::new(),
    };
    let statement = Statement {
        kind: statement::STATEMENT.to_owned(),
        subject: vec![Subject::new("1-20-1", &digest)],
        predicate_type: statement::REBUILD.to_owned(),
        predicate,
    };
    Ok(serde_json::to_vec(&statement)?)
}

/// An index, a manifest and a configuration.
fn oci() -> Seeds {
    let digest = format!("sha256:{}", "7".repeat(64));
    let index = format!(
        r#"{{"manifests":[{{"annotations":{{"a":"b"}},"digest":"{digest}","mediaType":"application/vnd.oci.image.manifest.v1+json","platform":{{"architecture":"arm64","os":"linux","variant":"v8"}},"size":7}}],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}}"#
    );
    let manifest = format!(
        r#"{{"config":{{"digest":"{digest}","mediaType":"application/vnd.oci.image.config.v1+json","size":7}},"layers":[{{"digest":"{digest}","mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","size":7}}],"mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}}"#
    );
    let config = format!(
        r#"{{"architecture":"amd64","config":{{"Entrypoint":["/a"],"Env":["A=b"],"ExposedPorts":{{"53/udp":{{}}}},"Labels":{{"a":"b"}},"User":"1"}},"created":"2026-11-21T10:00:00Z","history":[{{"created":"2026-11-21T10:00:00Z","created_by":"a"}}],"os":"linux","rootfs":{{"diff_ids":["{digest}"],"type":"layers"}}}}"#
    );
    texts(&[&index, &manifest, &config])
}

/// The files that the target lists, each behind its number.
fn configuration() -> Seeds {
    const FILES: [&str; 4] = [
        include_str!("../seeds/inputs.yaml"),
        include_str!("../seeds/project.yaml"),
        include_str!("../seeds/channel.yaml"),
        include_str!("../../../builder/tests/golden/channel.lock.yaml"),
    ];
    (0..).zip(FILES).map(|(number, text)| [&[number], text.as_bytes()].concat()).collect()
}

fn names() -> Seeds {
    let digest = "0".repeat(64);
    let digest = format!("sha256:{digest}");
    let commit = "0123456789".repeat(4);
    let names = [
        "1-36",
        "1-36-7",
        "v1.36.2+kd.t0",
        "linux/arm64",
        "etcd-io/etcd",
        "golang.org/x/Sync",
        "/store/kubernetes-1-20/kubernetes-1-20-1.yaml",
        &digest,
        &commit,
    ];
    texts(&names)
}

/// Sizes of trees and a tile, an entries tile, and names.
fn log() -> Seeds {
    let tile = [&[0; 7][..], &[3], &[0; 7], &[5], &[9; 5 * 32]].concat();
    let mut seeds = texts(&["checkpoint", "tile/0/x001/x234/067", "tile/entries/000.p/5"]);
    seeds.extend([tile, vec![0, 2, b'a', b'b', 0, 1, b'c']]);
    seeds
}

/// The key as DER.
fn der() -> Vec<u8> {
    key().as_der().to_vec()
}
