//! The certificates and kubeconfigs of a cluster: one authority, and everybody's certificate from it.
//!
//! Source: Kubernetes, "PKI certificates and requirements".

use std::{fs, net::IpAddr, os::unix::fs::OpenOptionsExt, path::Path};

use base64::prelude::{BASE64_STANDARD, Engine};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};

use crate::{
    DevclusterError,
    component::{API_PORT, NODE, NODE_ADDRESS, SERVICE_ADDRESS},
};

type Result<T> = std::result::Result<T, DevclusterError>;

/// The authority's certificate, in a cluster's folder.
pub(crate) const AUTHORITY: &str = "pki/ca.crt";

/// Whose requests are which user's: kubeconfig, user, group.
const USERS: [(&str, &str, Option<&str>); 5] = [
    ("admin", "kubernetes-admin", Some("system:masters")),
    ("controller-manager", "system:kube-controller-manager", None),
    ("scheduler", "system:kube-scheduler", None),
    ("kubelet", "system:node:node1", Some("system:nodes")),
    ("kube-proxy", "system:kube-proxy", None),
];

/// The kubeconfig for programs of the machine outside.
pub(crate) const OUTSIDE: &str = "kubeconfig";

/// Makes all of them in a cluster's folder; the machine outside reaches the API server on `port`.
pub(crate) fn make(folder: &Path, port: u16) -> Result<()> {
    let pki = folder.join("pki");
    fs::create_dir_all(&pki).map_err(DevclusterError::io("make", &pki))?;
    let mut params = params("kdistro devcluster", None)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate()?;
    let authority = params.self_signed(&key)?.pem();
    write(&folder.join(AUTHORITY), &authority)?;
    let issuer = Issuer::new(params, key);
    let client = ExtendedKeyUsagePurpose::ClientAuth;
    let server = ExtendedKeyUsagePurpose::ServerAuth;
    for (name, user, group) in USERS {
        let (certificate, key) = certificate(&issuer, (user, group), &[], client.clone())?;
        let inside = format!("https://{NODE_ADDRESS}:{API_PORT}");
        let text = kubeconfig(&inside, user, [&authority, &certificate, &key]);
        write(&folder.join(format!("{name}.conf")), &text)?;
        if name == "admin" {
            let outside = format!("https://127.0.0.1:{port}");
            let text = kubeconfig(&outside, user, [&authority, &certificate, &key]);
            write(&folder.join(OUTSIDE), &text)?;
        }
    }
    let pair = |name: &str, (certificate, key): (String, String)| {
        write(&pki.join(format!("{name}.crt")), &certificate)?;
        write(&pki.join(format!("{name}.key")), &key)
    };
    let services = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"];
    let names = [NODE_ADDRESS, SERVICE_ADDRESS, "127.0.0.1", NODE];
    let names = [&services[..], &["kubernetes.default.svc.cluster.local"], &names].concat();
    let of = |user| (user, None);
    pair("apiserver", certificate(&issuer, of("kube-apiserver"), &names, server.clone())?)?;
    let user = ("kube-apiserver-kubelet-client", Some("system:masters"));
    pair("apiserver-kubelet-client", certificate(&issuer, user, &[], client)?)?;
    for component in ["kubelet", "kube-controller-manager", "kube-scheduler"] {
        let names = [NODE, NODE_ADDRESS, "localhost", "127.0.0.1"];
        pair(component, certificate(&issuer, of(component), &names, server.clone())?)?;
    }
    let accounts = KeyPair::generate()?;
    write(&pki.join("sa.key"), &accounts.serialize_pem())?;
    write(&pki.join("sa.pub"), &accounts.public_key_pem())
}

fn params(name: &str, group: Option<&str>) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new())?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    if let Some(group) = group {
        subject.push(DnType::OrganizationName, group);
    }
    params.distinguished_name = subject;
    Ok(params)
}

/// Makes a certificate with its key, both in PEM.
fn certificate(
    issuer: &Issuer<'_, KeyPair>,
    (user, group): (&str, Option<&str>),
    names: &[&str],
    purpose: ExtendedKeyUsagePurpose,
) -> Result<(String, String)> {
    let mut params = params(user, group)?;
    for name in names {
        let name = match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*name).try_into()?),
        };
        params.subject_alt_names.push(name);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    let key = KeyPair::generate()?;
    Ok((params.signed_by(&key, issuer)?.pem(), key.serialize_pem()))
}

/// JSON is YAML; the certificates stand in it, so that one file is enough.
fn kubeconfig(server: &str, user: &str, pem: [&str; 3]) -> String {
    let [authority, certificate, key] = pem.map(|pem| BASE64_STANDARD.encode(pem));
    serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "devcluster",
            "cluster": {"server": server, "certificate-authority-data": authority},
        }],
        "users": [{
            "name": user,
            "user": {"client-certificate-data": certificate, "client-key-data": key},
        }],
        "contexts": [{"name": "devcluster", "context": {"cluster": "devcluster", "user": user}}],
        "current-context": "devcluster",
    })
    .to_string()
}

/// Writes a file that only its owner reads.
fn write(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    let file = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(DevclusterError::io("write", path))
}
