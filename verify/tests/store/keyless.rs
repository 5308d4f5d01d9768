//! Signatures of the manifest by a certificate's key: told, never believed, and refused when they are of something else.

use kdistro_formats::layout;
use kdistro_verify::{
    check::{Outcome, Report, Scope},
    hash,
};
use serde_json::{Value, json};
use sigstore_crypto::KeyPair;

use crate::{
    content::name,
    defects::{assert_differs, the_manifest},
    publisher::{Publisher, base64},
};

const ECDSA_WITH_SHA256: &[u8] = b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
const ALTERNATIVE_NAME: &[u8] = b"\x06\x03\x55\x1d\x11";
/// Where Fulcio writes who vouched for the identity. Source: Fulcio, `oid-info.md`, 1.3.6.1.4.1.57264.1.8.
const ISSUER: &[u8] = b"\x06\x0a\x2b\x06\x01\x04\x01\x83\xbf\x30\x01\x08";

/// One value of DER.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let length = match content.len() {
        0..128 => vec![length[1]],
        128..256 => vec![0x81, length[1]],
        _ => vec![0x82, length[0], length[1]],
    };
    [&[tag][..], &length, &content].concat()
}

/// A certificate as Fulcio's are, that nobody signed.
fn certificate(key: &KeyPair, identity: &str) -> Vec<u8> {
    let sequence = |parts: &[&[u8]]| der(0x30, parts);
    let algorithm = sequence(&[ECDSA_WITH_SHA256]);
    let time = der(0x17, &[b"261121100000Z"]);
    let email = sequence(&[&der(0x81, &[identity.as_bytes()])]);
    let issuer = der(0x0c, &[b"https://accounts.example"]);
    let extensions = sequence(&[
        &sequence(&[ALTERNATIVE_NAME, &der(0x04, &[&email])]),
        &sequence(&[ISSUER, &der(0x04, &[&issuer])]),
    ]);
    let key = key.public_key_der().unwrap();
    let signed = sequence(&[
        &der(0xa0, &[b"\x02\x01\x02"]),
        b"\x02\x01\x01",
        &algorithm,
        &sequence(&[]),
        &sequence(&[&time, &time]),
        &sequence(&[]),
        key.as_bytes(),
        &der(0xa3, &[&extensions]),
    ]);
    sequence(&[&signed, &algorithm, b"\x03\x01\x00"])
}

/// What `key` signs, with a certificate that says that it is `identity`'s.
fn bundle(key: &KeyPair, identity: &str, document: &[u8]) -> Value {
    let digest = hash::sha256(document);
    json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {
            "certificate": { "rawBytes": base64(&certificate(key, identity)) },
            "tlogEntries": [],
        },
        "messageSignature": {
            "messageDigest": { "algorithm": "SHA2_256", "digest": base64(digest.as_bytes()) },
            "signature": base64(key.sign(document).unwrap().as_bytes()),
        },
    })
}

/// Puts a bundle beside release 3 and checks all of it.
fn checked(publisher: &Publisher, bundle: &Value) -> (String, Report) {
    let file = format!("{}/keyless-0.sigstore.json", layout::attestations(&name(3)));
    publisher.write(&file, bundle.to_string());
    (file, publisher.check(3, Scope::All))
}

#[test]
fn a_keyless_signature_of_the_manifest_is_told_and_not_judged() {
    let publisher = Publisher::with_releases();
    let key = KeyPair::generate_ecdsa_p256().unwrap();
    let manifest = publisher.read(&the_manifest());
    let (file, report) = checked(&publisher, &bundle(&key, "release@tiny.example", &manifest));
    assert_eq!(report.outcome, Outcome::Verified, "{report}");
    let notes: Vec<_> = report.notes.iter().filter(|note| note.file == file).collect();
    let [note] = notes.as_slice() else { panic!("{report}") };
    assert_eq!(
        note.message,
        "says that release@tiny.example, known to https://accounts.example, signed the manifest: the certificate was not checked"
    );
    // What others write must not reach a terminal as it is.
    let (_, report) = checked(&publisher, &bundle(&key, "a\u{1b}[2Jb", &manifest));
    assert_eq!(report.outcome, Outcome::Verified, "{report}");
    assert!(!report.to_string().contains('\u{1b}'), "{report}");
}

#[test]
fn a_keyless_signature_of_something_else_is_refused() {
    let publisher = Publisher::with_releases();
    let key = KeyPair::generate_ecdsa_p256().unwrap();
    let manifest = publisher.read(&the_manifest());
    let good = bundle(&key, "release@tiny.example", &manifest);
    let is_not = "is no signature of the manifest by the key of its certificate";
    let refused = |changed: &Value, why: &str| {
        let (file, report) = checked(&publisher, changed);
        assert_differs(&report, &file, why);
    };
    // Of another release.
    let other = publisher.read(&layout::manifest(&name(1)));
    let other = bundle(&key, "release@tiny.example", &other);
    refused(&other, is_not);
    // Of another release, and says that it is of this one.
    let mut changed = other;
    changed["messageSignature"]["messageDigest"] =
        good["messageSignature"]["messageDigest"].clone();
    refused(&changed, is_not);
    // Of this release, and says that it is of another, or of none.
    let mut changed = good.clone();
    changed["messageSignature"]["messageDigest"]["digest"] = base64(&[7; 32]).into();
    refused(&changed, is_not);
    changed["messageSignature"].as_object_mut().unwrap().remove("messageDigest");
    refused(&changed, is_not);
    // With the certificate of another key.
    let stranger = KeyPair::generate_ecdsa_p256().unwrap();
    let mut changed = good.clone();
    let certificate = base64(&certificate(&stranger, "release@tiny.example"));
    changed["verificationMaterial"]["certificate"]["rawBytes"] = certificate.into();
    refused(&changed, is_not);
    changed["verificationMaterial"]["certificate"]["rawBytes"] = base64(b"no certificate").into();
    refused(&changed, "has a certificate that cannot be read");
    // A statement.
    let mut changed = good;
    changed.as_object_mut().unwrap().remove("messageSignature");
    changed["dsseEnvelope"] = json!({
        "payload": base64(b"{}"), "payloadType": "application/vnd.in-toto+json",
        "signatures": [{ "sig": base64(&[7; 70]), "keyid": "" }],
    });
    refused(&changed, "is a statement of a certificate's key");
}
