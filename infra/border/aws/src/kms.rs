//! Signs with a key of AWS KMS, which never leaves it.

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use aws_sdk_kms::{
    Client,
    operation::get_public_key::GetPublicKeyOutput,
    primitives::Blob,
    types::{KeySpec, KeyUsageType, MessageType, SigningAlgorithmSpec},
};
use kdistro_border::{SignError, Signer};
use kdistro_verify::hash::sha256;

use crate::{account::Aws, error::AwsError};

/// How the DER of every public key for P-256 begins; an uncompressed point of 65 bytes follows.
///
/// Source: RFC 5480, 2.
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const POINT: usize = 65;

/// A key of KMS for ECDSA over P-256.
#[derive(Clone)]
pub struct KmsSigner {
    aws: Aws,
    client: Client,
    /// What the settings call the key.
    name: String,
    /// The key itself: an alias can be pointed at another key meanwhile.
    key: String,
    public_key: Vec<u8>,
}

impl KmsSigner {
    /// Takes the id, ARN or alias of a key and asks KMS for its public key; one of another type is refused.
    pub fn open(aws: &Aws, key: impl Into<String>) -> Result<Self, AwsError> {
        let name = key.into();
        let client = Client::new(&aws.config_for(&name));
        let answer = aws.wait(client.get_public_key().key_id(&name).send());
        let answer = answer.map_err(|error| AwsError::of(target(&name), &error))?;
        let key = answer.key_id().unwrap_or(&name).to_owned();
        let public_key = public_key(&name, &answer)?;
        Ok(Self { aws: aws.clone(), client, name, key, public_key })
    }

    async fn ask(&self, message: &[u8]) -> Result<Vec<u8>, AwsError> {
        let request = self
            .client
            .sign()
            .key_id(&self.key)
            .message(Blob::new(sha256(message).as_bytes()))
            .message_type(MessageType::Digest)
            .signing_algorithm(SigningAlgorithmSpec::EcdsaSha256);
        let answer = request.send().await.map_err(|e| AwsError::of(target(&self.name), &e))?;
        let signature = answer.signature().map(Blob::as_ref).unwrap_or_default();
        let point = self.public_key.get(P256.len()..).unwrap_or_default();
        match UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(message, signature) {
            Ok(()) => Ok(signature.to_vec()),
            Err(_) => Err(AwsError::unfit(
                target(&self.name),
                "answers with a signature that its own public key does not verify",
            )),
        }
    }
}

fn target(key: &str) -> String {
    format!("key `{key}`")
}

fn failed(key: &str, error: AwsError) -> SignError {
    SignError::Service { key: target(key), source: Box::new(error) }
}

/// Returns the public key of one that can sign as it must.
fn public_key(name: &str, answer: &GetPublicKeyOutput) -> Result<Vec<u8>, AwsError> {
    let usage = answer.key_usage().map_or("no use", KeyUsageType::as_str);
    // Where it is not said the key itself tells its type, below.
    let spec = answer.key_spec().unwrap_or(&KeySpec::EccNistP256);
    if usage != KeyUsageType::SignVerify.as_str() || *spec != KeySpec::EccNistP256 {
        let spec = spec.as_str();
        let what = format!("is {spec} for {usage}; expected ECC_NIST_P256 for SIGN_VERIFY");
        return Err(AwsError::unfit(target(name), what));
    }
    let der = answer.public_key().map(Blob::as_ref).unwrap_or_default();
    if !der.starts_with(&P256) || der.len() != P256.len() + POINT {
        let what = "answers with a public key that is not one of P-256";
        return Err(AwsError::unfit(target(name), what));
    }
    Ok(der.to_vec())
}

impl Signer for KmsSigner {
    fn public_key(&self) -> &[u8] {
        &self.public_key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.aws.wait(self.ask(message)).map_err(|error| failed(&self.name, error))
    }
}

/// Shows the public key only.
impl fmt::Debug for KmsSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KmsSigner")
            .field("key", &self.key)
            .field("public_key", &self.public_key)
            .finish_non_exhaustive()
    }
}
