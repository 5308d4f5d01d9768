//! Judges of bundles and of the log: openssl, cosign, sigstore-js, Tessera's fsck.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use kdistro_formats::layout;
use serde_json::Value;

use super::released::Released;
use crate::{
    run::{must, program, run, with},
    shared::{MANIFEST, copy, files, scratch, shared},
    tools,
};

/// A bundle, and what it is about.
struct Signed {
    bundle: PathBuf,
    /// The signed document; for an attestation, an asset that it names.
    about: PathBuf,
    is_attestation: bool,
}

/// Everything that is signed: documents, and the provenance of each component.
fn signed() -> Vec<Signed> {
    let (store, released) = (shared().store(), Released::shared());
    let index = must(program("sha256sum").arg(store.join("releasechannels/1-20.yaml")));
    let index = index.split_whitespace().next().unwrap();
    let document = |name: &str, bundle: String| Signed {
        bundle: store.join(bundle),
        about: store.join(name),
        is_attestation: false,
    };
    let documents = [MANIFEST, "keys/trusted_root.json"]
        .map(|name| document(name, format!("{name}.sigstore.json")));
    let index = format!("releasechannels/bundles/sha256-{index}.sigstore.json");
    let mut found: Vec<_> = documents.into_iter().collect();
    found.push(document("releasechannels/1-20.yaml", index));
    for component in &released.manifest.status.components {
        let bundle = layout::provenance(&released.manifest.name(), &component.name);
        let file = component.assets.iter().find_map(|asset| asset.archive.as_ref()).unwrap();
        let about = released.place(&file.uri);
        found.push(Signed { bundle: store.join(bundle), about, is_attestation: true });
    }
    let bundles = files(&store).into_iter().filter(|name| name.ends_with(".sigstore.json"));
    assert_eq!(bundles.count(), found.len(), "a bundle of which this test knows nothing");
    found
}

/// What a text in base64 stands for.
fn decoded(text: &Value, folder: &Path) -> Vec<u8> {
    let (coded, plain) = (folder.join("coded"), folder.join("plain"));
    fs::write(&coded, text.as_str().unwrap()).unwrap();
    let mut decode = with("openssl", ["base64", "-d", "-A", "-in"]);
    must(decode.arg(coded).arg("-out").arg(&plain));
    fs::read(plain).unwrap()
}

/// The bytes that the bundle's signature is for, and the signature.
fn signature(signed: &Signed, folder: &Path) -> (Vec<u8>, Vec<u8>) {
    let bundle: Value = serde_json::from_slice(&fs::read(&signed.bundle).unwrap()).unwrap();
    let decode = |value: &Value| decoded(value, folder);
    if !signed.is_attestation {
        let signature = decode(&bundle["messageSignature"]["signature"]);
        return (fs::read(&signed.about).unwrap(), signature);
    }
    // DSSE signs type and payload, each with its length before it.
    let envelope = &bundle["dsseEnvelope"];
    let (kind, payload) = (envelope["payloadType"].as_str().unwrap(), decode(&envelope["payload"]));
    let mut bytes = format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).into_bytes();
    bytes.extend(payload);
    (bytes, decode(&envelope["signatures"][0]["sig"]))
}

#[test]
fn openssl_verifies_the_signature_of_every_bundle() {
    let folder = scratch("openssl");
    let (message, signature_file) =
        (folder.path().join("message"), folder.path().join("signature"));
    for signed in signed() {
        let (mut bytes, signature) = signature(&signed, folder.path());
        fs::write(&signature_file, signature).unwrap();
        let verify = |bytes: &[u8]| {
            fs::write(&message, bytes).unwrap();
            let mut verify = with("openssl", ["dgst", "-sha256", "-verify"]);
            verify.arg(&shared().key).arg("-signature").arg(&signature_file).arg(&message);
            run(&mut verify).code
        };
        assert_eq!(verify(&bytes), 0, "{}", signed.bundle.display());
        bytes[0] ^= 1;
        assert_ne!(verify(&bytes), 0, "one bit of what was signed is another");
    }
}

/// Has every bundle judged, and some that are about something else.
fn judge(judge: impl Fn(&Signed) -> Command) {
    let mut signed = signed();
    for one in &signed {
        let ran = run(&mut judge(one));
        assert_eq!(ran.code, 0, "{}: {}{}", one.bundle.display(), ran.out, ran.err);
    }
    signed[0].bundle = signed[1].bundle.clone();
    assert_ne!(run(&mut judge(&signed[0])).code, 0, "the bundle of another document");
}

#[test]
fn cosign_verifies_every_bundle_with_the_published_key_and_trusted_root() {
    let folder = scratch("cosign");
    let root = shared().store().join("keys/trusted_root.json");
    let verify = |signed: &Signed| {
        let mut verify = tools::debian("cosign");
        if signed.is_attestation {
            verify.args(["verify-blob-attestation", "--type", "slsaprovenance1"]);
        } else {
            verify.arg("verify-blob");
        }
        verify.env("HOME", folder.path()).arg("--key").arg(&shared().key);
        verify.arg("--bundle").arg(&signed.bundle).arg("--trusted-root").arg(&root);
        verify.arg(&signed.about);
        verify
    };
    judge(verify);
    let mut attestations = signed().into_iter().filter(|signed| signed.is_attestation);
    let other = Signed { about: shared().key.clone(), ..attestations.next().unwrap() };
    let refused = run(&mut verify(&other));
    assert_ne!(refused.code, 0);
    refused.says(&["do not match digests in statement"]);
}

#[test]
fn sigstore_js_verifies_every_bundle() {
    let folder = scratch("sigstore-js");
    let script = tools::sigstore_js(folder.path());
    let root = shared().store().join("keys/trusted_root.json");
    let verify = |signed: &Signed| {
        let mut verify = tools::judge("node");
        verify.args([&script, &root, &shared().key, &signed.bundle]).current_dir(folder.path());
        // An attestation carries what it signs.
        verify.args(Some(&signed.about).filter(|_| !signed.is_attestation));
        verify
    };
    judge(verify);
    let mut attestations = signed().into_iter().filter(|signed| signed.is_attestation);
    let mut changed = attestations.next().unwrap();
    let mut bundle: Value = serde_json::from_slice(&fs::read(&changed.bundle).unwrap()).unwrap();
    bundle["dsseEnvelope"]["payloadType"] = "application/vnd.in-toto+yaml".into();
    changed.bundle = folder.path().join("changed.json");
    fs::write(&changed.bundle, bundle.to_string()).unwrap();
    run(&mut verify(&changed)).expect(1).prints(&["refused"]);
}

#[test]
fn tesseras_fsck_accepts_the_log_and_refuses_a_changed_one() {
    let folder = scratch("tessera");
    let fsck = tools::tessera_fsck(folder.path(), &shared().toolchain());
    let key = shared().store().join("keys/log.pub");
    let check = |log: &Path| run(program(&fsck).arg(log).arg(&key).arg("log.local.kdistro.dev"));
    let accepted = check(&shared().store().join("log")).expect(0);
    assert!(accepted.out.contains("accepted"));
    copy(&shared().store().join("log"), folder.path());
    let log = folder.path().join("log");
    let entries = files(&log).into_iter().filter(|name| name.starts_with("tile/entries"));
    let newest = log.join(entries.max().unwrap());
    let mut bytes = fs::read(&newest).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(newest, bytes).unwrap();
    check(&log).expect(1);
}
