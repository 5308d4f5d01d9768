//! What every signer promises, kept by a key of KMS, and which keys are refused.

use crate::bed::{BED, Bed, hides_secrets, told, unique};
use crate::contract;
use aws_sdk_kms::{
    Client,
    types::{KeySpec, KeyUsageType},
};
use kdistro_aws::{AwsError, KmsSigner};
use kdistro_border::Signer;
use kdistro_testbed::{Fault, Proxy, Request};

const P256: (KeySpec, KeyUsageType) = (KeySpec::EccNistP256, KeyUsageType::SignVerify);

/// Makes a key; returns its id and its ARN.
fn key(url: &str, (spec, usage): (KeySpec, KeyUsageType)) -> (String, String) {
    let request = client(url).create_key().key_spec(spec).key_usage(usage);
    let made = BED.wait(request.send()).unwrap();
    let made = made.key_metadata().unwrap();
    (made.key_id().to_owned(), made.arn().unwrap().to_owned())
}

fn client(url: &str) -> Client {
    Client::new(&Bed::client(url))
}

fn open(key: &str) -> Result<KmsSigner, AwsError> {
    KmsSigner::open(&BED.aws_at(BED.servers.aws()), key)
}

#[test]
fn a_key_keeps_the_promises_of_a_signer_by_each_of_its_names() {
    let (id, arn) = key(BED.servers.aws(), P256);
    let alias = format!("alias/{}", unique("release"));
    let kms = client(BED.servers.aws());
    BED.wait(kms.create_alias().alias_name(&alias).target_key_id(&id).send()).unwrap();
    let public = open(&id).unwrap().public_key().to_vec();
    for name in [&id, &arn, &alias] {
        let signer = open(name).unwrap();
        contract::signer::check(&signer);
        assert_eq!(signer.public_key(), public);
        hides_secrets(&signer);
    }
    // What the alias names later does not change what was opened.
    let signer = open(&alias).unwrap();
    let (other, _) = key(BED.servers.aws(), P256);
    BED.wait(kms.update_alias().alias_name(&alias).target_key_id(&other).send()).unwrap();
    signer.sign(b"x").unwrap();
    assert_ne!(open(&alias).unwrap().public_key(), public);
}

#[test]
fn a_key_that_cannot_sign_as_it_must_is_refused() {
    for (options, expected) in [
        (
            (KeySpec::Rsa2048, KeyUsageType::SignVerify),
            "is RSA_2048 for SIGN_VERIFY; expected ECC_NIST_P256 for SIGN_VERIFY",
        ),
        (
            (KeySpec::EccNistP384, KeyUsageType::SignVerify),
            "is ECC_NIST_P384 for SIGN_VERIFY; expected ECC_NIST_P256 for SIGN_VERIFY",
        ),
        ((KeySpec::SymmetricDefault, KeyUsageType::EncryptDecrypt), "answers "),
    ] {
        let (id, _) = key(BED.servers.aws(), options);
        let text = told(&open(&id).unwrap_err());
        // Nothing is signed yet: who only looks at the key is not told of signing.
        assert!(text.starts_with(&format!("key `{id}` {expected}")), "{text}");
    }
    let text = told(&open("alias/absent").unwrap_err());
    assert!(text.contains("key `alias/absent` answers NotFoundException: "), "{text}");
    assert!(
        text.ends_with("help:  make it first, or correct its name, its region or the account"),
        "{text}"
    );
}

#[test]
fn a_disabled_key_is_named() {
    let (id, _) = key(BED.servers.aws(), P256);
    let signer = open(&id).unwrap();
    BED.wait(client(BED.servers.aws()).disable_key().key_id(&id).send()).unwrap();
    let text = told(&signer.sign(b"x").unwrap_err());
    let expected = format!("cannot sign with key `{id}`: key `{id}` answers DisabledException: ");
    assert!(text.starts_with(&expected), "{text}");
    assert!(
        text.ends_with("\nhelp:  enable the key, or name another one in the settings"),
        "{text}"
    );
}

#[test]
fn a_signature_that_does_not_verify_is_never_returned() {
    // This double hashes the digest once more before it signs.
    let (id, _) = key(BED.servers.moto(), P256);
    let signer = KmsSigner::open(&BED.aws_at(BED.servers.moto()), id.as_str()).unwrap();
    let expected = format!(
        "cannot sign with key `{id}`: key `{id}` answers with a signature that its own public key does not verify"
    );
    assert_eq!(told(&signer.sign(b"x").unwrap_err()), expected);
}

#[test]
fn faults_are_overcome_or_told() {
    let (id, _) = key(BED.servers.aws(), P256);
    for kind in 0..3 {
        let rule = move |request: &Request| match (request.number % 2, kind) {
            (1, 0) => Fault::Status(500, String::new()),
            (1, 1) => Fault::Reset,
            (1, _) => Fault::ResetAfter,
            _ => Fault::None,
        };
        let proxy = Proxy::start(BED.servers.aws(), rule).unwrap();
        let signer = KmsSigner::open(&BED.aws_at(&proxy.url()), id.as_str()).unwrap();
        signer.sign(b"x").unwrap();
        assert_eq!(proxy.requests(), 4);
    }
    for (code, help) in [
        ("AccessDeniedException", "the role may not do this"),
        ("ExpiredTokenException", "the credentials have expired"),
        ("KMSInvalidStateException", "enable the key"),
    ] {
        let body = format!(r#"{{"__type":"{code}","message":"M"}}"#);
        let rule = move |_: &_| Fault::Status(400, body.clone());
        let proxy = Proxy::start(BED.servers.aws(), rule).unwrap();
        let opened = KmsSigner::open(&BED.aws_at(&proxy.url()), id.as_str());
        let text = told(&opened.unwrap_err());
        assert!(text.contains(&format!("key `{id}` answers {code}: M\nhelp:  {help}")), "{text}");
    }
}
