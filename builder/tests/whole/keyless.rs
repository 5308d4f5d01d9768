//! Keyless signatures that cosign made are brought in: checked, published beside the release, and told by the verifier.

mod sigstore;

use std::{
    fs,
    path::{Path, PathBuf},
};

use kdistro::sign::keyless::{Identity, KeylessError, Root};
use kdistro_formats::terminal::printable;
use serde_json::{Value, json};
use tempfile::TempDir;

use self::sigstore::{PERSON, Sigstore, WORKFLOW};
use crate::{
    run::{Ran, must, run, with},
    shared::{files, scratch},
    tiny::{MANIFEST, Tiny},
};

/// Where a release keeps what is said about it.
const ATTESTATIONS: &str = "kubernetes-9-1/releases/1/attestations";

/// A release, and those who can sign it.
struct World {
    tiny: Tiny,
    sigstore: Sigstore,
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        let tiny = Tiny::ready();
        tiny.cut().expect(0);
        Self { tiny, sigstore: Sigstore::start(), folder: scratch("keyless") }
    }

    fn manifest(&self) -> PathBuf {
        self.tiny.store().join(MANIFEST)
    }

    /// Has cosign sign the manifest.
    #[track_caller]
    fn sign(&self, token: &str, way: &str) -> Value {
        self.sigstore.sign(&self.manifest(), token, way)
    }

    /// Brings in a bundle, which must be of an identity that an issuer knows, by a trusted root or the public one.
    fn bring(
        &self,
        bundle: impl AsRef<[u8]>,
        (identity, issuer): (&str, &str),
        root: Option<&Path>,
    ) -> Ran {
        let file = self.folder.path().join("brought.sigstore.json");
        fs::write(&file, bundle).unwrap();
        let mut attest = self.tiny.kdistro(&["attest", "9-1-1"]);
        attest.arg("--bundle").arg(file).args(["--identity", identity, "--issuer", issuer]);
        if let Some(root) = root {
            attest.arg("--trusted-root").arg(root);
        }
        run(&mut attest)
    }

    /// Brings in a bundle of an identity that the local services know.
    fn attest(&self, bundle: &Value, identity: &str) -> Ran {
        let (issuer, root) = (self.sigstore.issuer(), self.sigstore.trusted_root());
        self.bring(bundle.to_string(), (identity, &issuer), Some(&root))
    }

    /// Fails the test unless a bundle is refused for a reason that has these words.
    #[track_caller]
    fn refuses(&self, bundle: &Value, why: &str) {
        let ran = self.attest(bundle, PERSON).expect(1);
        ran.prints(&["is no keyless signature of release 9-1-1: ", why]);
    }

    fn attestations(&self) -> Vec<String> {
        files(&self.tiny.store().join(ATTESTATIONS))
    }
}

/// A bundle with one value of another.
fn with_value(bundle: &Value, at: &str, value: Value) -> Value {
    let mut changed = bundle.clone();
    *changed.pointer_mut(at).unwrap_or_else(|| panic!("{at} is not in {bundle:#}")) = value;
    changed
}

/// A bundle with a part of another.
fn with_part_of(bundle: &Value, at: &str, other: &Value) -> Value {
    let part = other.pointer(at).unwrap_or_else(|| panic!("{at} is not in {other:#}"));
    with_value(bundle, at, part.clone())
}

/// A bundle without one value.
fn without(bundle: &Value, at: &str) -> Value {
    let (parent, key) = at.rsplit_once('/').unwrap();
    let mut changed = bundle.clone();
    let parent = changed.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    assert!(parent.remove(key).is_some(), "{at} is not in {bundle:#}");
    changed
}

const ENTRIES: &str = "/verificationMaterial/tlogEntries";
const ENTRY: &str = "/verificationMaterial/tlogEntries/0";
const TIMESTAMPS: &str = "/verificationMaterial/timestampVerificationData";
const SIGNED: &str = "/messageSignature/messageDigest/digest";

#[test]
fn what_cosign_signed_keyless_is_published_beside_the_release_and_told() {
    let world = World::new();
    let World { tiny, sigstore, .. } = &world;
    let before = world.attestations();
    // By Rekor's time, by that of a timestamp authority, and long ago, with a certificate that has expired since.
    let ways = [
        ("person", PERSON, "today"),
        ("workflow", WORKFLOW, "timestamped"),
        ("person", PERSON, "past"),
    ];
    let (issuer, root) = (sigstore.issuer(), sigstore.trusted_root());
    for (count, (token, identity, way)) in (1..).zip(ways) {
        world.sign(token, way);
        let bundle = sigstore.made();
        let attest = || world.bring(&bundle, (identity, &issuer), Some(&root)).expect(0);
        let ran = attest();
        let said = format!("release 9-1-1 was signed by {identity}, of {issuer}, at 2");
        ran.prints(&[&said, &format!("published {ATTESTATIONS}/keyless-")]);
        let now = world.attestations();
        assert_eq!(now.len(), before.len() + count);
        // Again it changes nothing.
        attest().prints(&["was published before: "]);
        assert_eq!(world.attestations(), now);
        // What is published is what cosign made, and cosign still verifies it.
        let folder = tiny.store().join(ATTESTATIONS);
        let name = now.iter().find(|name| fs::read(folder.join(name)).unwrap() == bundle);
        let published = folder.join(name.unwrap());
        let sum = must(&mut with("sha256sum", [&published]));
        assert_eq!(*name.unwrap(), format!("keyless-{}.sigstore.json", &sum[..16]));
        sigstore.verify(&published, &world.manifest(), identity).expect(0);
    }
    for identity in [PERSON, WORKFLOW] {
        let told = format!("says that {identity}, known to {issuer}, signed the manifest: ");
        tiny.verify(MANIFEST).expect(0).prints(&[&told, "the certificate was not checked"]);
    }
    // A signature of one release is none of another.
    let mut attest = tiny.kdistro(&["attest", "9-1-7", "--bundle", "none", "--identity", PERSON]);
    let ran = run(attest.args(["--issuer", &issuer])).expect(2);
    ran.says(&["error: there is no release 9-1-7 in ", "help:  it has 9-1-1"]);
    let other = tiny.store().join(ATTESTATIONS).join("keyless-0.sigstore.json");
    let bundle = sigstore.sign(&tiny.store().join("keys/release.pub"), "person", "today");
    fs::write(other, bundle.to_string()).unwrap();
    tiny.verify(MANIFEST).expect(1).prints(&["is no signature of the manifest by the key of"]);
}

#[test]
fn what_is_answered_as_json_says_who_signed_and_why_not() {
    let world = World::new();
    let bundle = world.sign("person", "today").to_string();
    let file = world.folder.path().join("brought.sigstore.json");
    fs::write(&file, bundle).unwrap();
    let answer = |identity: &str, code| {
        let mut attest = world.tiny.kdistro(&["attest", "9-1-1", "--json", "--identity", identity]);
        attest.arg("--bundle").arg(&file).args(["--issuer", &world.sigstore.issuer()]);
        attest.arg("--trusted-root").arg(world.sigstore.trusted_root());
        let ran = run(&mut attest).expect(code);
        serde_json::from_str::<Value>(&ran.out).unwrap()
    };
    let refused = answer(WORKFLOW, 1);
    assert_eq!(refused["outcome"], "refused");
    assert!(refused["problem"].as_str().unwrap().contains("identity mismatch"), "{refused:#}");
    for outcome in ["attested", "unchanged"] {
        let answer = answer(PERSON, 0);
        assert_eq!((&answer["outcome"], &answer["identity"]), (&json!(outcome), &json!(PERSON)));
        let published = world.tiny.store().join(answer["published"].as_str().unwrap());
        assert_eq!(fs::read(published).unwrap(), fs::read(&file).unwrap());
    }
    fs::write(&file, "{}").unwrap();
    let answer = answer(PERSON, 2);
    assert_eq!(answer["exit"], 2);
    assert_eq!(answer["causes"][0], "not a Sigstore bundle");
}

#[test]
fn what_does_not_prove_that_the_identity_signed_the_release_is_refused() {
    let world = World::new();
    let World { tiny, sigstore, .. } = &world;
    let before = world.attestations();
    let good = world.sign("person", "today");
    let (issuer, root) = (sigstore.issuer(), sigstore.trusted_root());
    // Of other bytes; and when it says that it is of these.
    let other = sigstore.sign(&tiny.store().join("keys/release.pub"), "person", "today");
    world.refuses(&other, "signed was sha256:");
    world.refuses(&with_part_of(&other, SIGNED, &good), "not proven: ");
    world.refuses(
        &without(&good, "/messageSignature/messageDigest"),
        "does not say what was signed",
    );
    // Of somebody else, or known to somebody else, or certified by somebody else.
    world.attest(&good, WORKFLOW).expect(1).prints(&["identity mismatch", WORKFLOW, PERSON]);
    let text = good.to_string();
    let elsewhere = "https://accounts.example.com";
    world.bring(&text, (PERSON, elsewhere), Some(&root)).expect(1).prints(&[
        "issuer mismatch",
        elsewhere,
        &issuer,
    ]);
    world.bring(&text, (PERSON, &issuer), None).expect(1).prints(&["not proven: "]);
    // Logged when the certificate had expired.
    let late = sigstore.log_late(&world.sign("person", "past"));
    world.refuses(&late, "not proven: certificate");
    // With a certificate that no log counted.
    world.refuses(&world.sign("person", "uncounted"), "signed certificate timestamp");
    // By a plain key, as the environment signs.
    let own: Value = serde_json::from_slice(
        &fs::read(format!("{}.sigstore.json", world.manifest().display())).unwrap(),
    )
    .unwrap();
    world.refuses(&own, "it was signed with a plain key, which no identity stands behind");
    world.refuses(&own, "help:  the key of an environment signs when it publishes");
    // A statement, and a signature that has one beside it.
    let statement = sigstore.attest(&world.manifest());
    world.refuses(&statement, "it is a statement");
    let mut both = good.clone();
    both["dsseEnvelope"] = statement["dsseEnvelope"].clone();
    world.refuses(&both, "it is a statement");
    for other in ["application/vnd.dev.sigstore.bundle+json;version=0.2", "a\u{1b}[2Jb"] {
        let changed = with_value(&good, "/mediaType", json!(other));
        world.refuses(&changed, &format!("its media type is `{}`", printable(other)));
    }
    assert_eq!(world.attestations(), before);
    tiny.verify(MANIFEST).expect(0);
    world.attest(&good, PERSON).expect(0);
}

#[test]
fn a_log_entry_or_time_that_does_not_fit_is_refused() {
    let world = World::new();
    let before = world.attestations();
    let (good, another) = (world.sign("person", "today"), world.sign("person", "today"));
    let at = |field: &str| format!("{ENTRY}/{field}");
    world.refuses(&with_value(&good, ENTRIES, json!([])), "it has no proof that a log holds");
    world.refuses(&without(&good, ENTRIES), "it has no proof that a log holds");
    world.refuses(&without(&good, &at("inclusionProof")), "it has no proof that a log holds");
    let mut more = good.clone();
    let unproven = without(&another, &at("inclusionProof"));
    more["verificationMaterial"]["tlogEntries"]
        .as_array_mut()
        .unwrap()
        .push(unproven.pointer(ENTRY).unwrap().clone());
    world.refuses(&more, "it has no proof that a log holds");
    // Of another signature of the same manifest by the same person: each part alone, and all.
    world.refuses(&with_part_of(&good, ENTRY, &another), "not proven: ");
    for part in ["canonicalizedBody", "inclusionProof", "inclusionPromise"] {
        world.refuses(&with_part_of(&good, &at(part), &another), "not proven: ");
    }
    // Without the log's word for the time, or with another time than it gave its word for.
    world.refuses(&without(&good, &at("inclusionPromise")), "no verified timestamp");
    world.refuses(&with_value(&good, &at("integratedTime"), json!("1700000000")), "not proven: ");
    let timestamped = world.sign("person", "timestamped");
    world.refuses(&without(&timestamped, TIMESTAMPS), "no verified timestamp");
    let other = world.sign("person", "timestamped");
    world.refuses(&with_part_of(&timestamped, TIMESTAMPS, &other), "timestamp");
    assert_eq!(world.attestations(), before);
    world.attest(&timestamped, PERSON).expect(0);
}

#[test]
fn what_is_no_bundle_or_trusted_root_is_an_error() {
    let world = World::new();
    let (issuer, root) = (world.sigstore.issuer(), world.sigstore.trusted_root());
    let whom = (PERSON, issuer.as_str());
    let manifest = fs::read(world.manifest()).unwrap();
    for garbage in [&b""[..], b"{}", b"[]", b"null", b"\xff\xfe", &manifest] {
        let ran = world.bring(garbage, whom, Some(&root)).expect(2);
        ran.says(&["brought.sigstore.json: not a Sigstore bundle: "]);
    }
    let huge = vec![b' '; (1 << 20) + 1];
    world.bring(&huge, whom, Some(&root)).expect(2).says(&["it has more than 1048576 bytes"]);
    let good = world.sign("person", "today").to_string();
    let mut twice = good.clone();
    twice.insert_str(1, "\"mediaType\":\"application/vnd.dev.sigstore.bundle.v0.3+json\",");
    world.bring(&twice, whom, Some(&root)).expect(2).says(&["duplicate field `mediaType`"]);
    let folder = world.folder.path();
    world.bring(&good, whom, Some(folder)).expect(2).says(&["cannot read "]);
    world.bring(&good, whom, Some(&folder.join("none"))).expect(2).says(&["cannot read "]);
    let bad = folder.join("root.json");
    fs::write(&bad, "{}").unwrap();
    world
        .bring(&good, whom, Some(&bad))
        .expect(2)
        .says(&["root.json: not a Sigstore trusted root"]);
    world.bring(&good, ("", &issuer), Some(&root)).expect(2).says(&["--identity"]);
}

/// A bundle that cosign made with Sigstore's public services comes with the library that verifies it here.
#[test]
fn what_cosign_signed_with_the_public_services_is_verified_by_the_root_that_is_built_in() {
    let host = must(&mut with(env!("CARGO"), ["--version", "--verbose"]));
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let mut metadata = with(env!("CARGO"), ["metadata", "--format-version=1", "--locked"]);
    let metadata =
        must(metadata.args(["--filter-platform", host]).current_dir(env!("CARGO_MANIFEST_DIR")));
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let mut packages = metadata["packages"].as_array().unwrap().iter();
    let library = packages.find(|package| package["name"] == "sigstore-verify").unwrap();
    let library = Path::new(library["manifest_path"].as_str().unwrap()).parent().unwrap();
    let read = |name: &str| fs::read(library.join("test_data/bundles").join(name)).unwrap();
    let (bundle, document) = (read("cosign-v3-blob.sigstore.json"), read("cosign-v3-blob.txt"));
    let root = Root::of_sigstore().unwrap();
    let issuer = "https://github.com/login/oauth";
    let verify =
        |name: &str, document: &[u8]| root.verify(&bundle, document, &Identity { name, issuer });
    // Whoever it was: the certificate says so.
    let Err(KeylessError::Refused(error)) = verify("nobody", &document) else {
        panic!("nobody signed")
    };
    let sigstore_verify::Error::IdentityMismatch { actual: Some(signer), .. } = *error else {
        panic!("{error}")
    };
    let time = verify(signer.as_str(), &document).unwrap();
    assert_eq!(time.to_string(), "2025-12-03T18:36:42Z");
    assert!(matches!(verify(signer.as_str(), b"other"), Err(KeylessError::Document { .. })));
}
