//! A throw-away authority and the certificate that it gives the servers.

use std::{fs, path::Path};

use crate::{TestbedError, host};

/// The authority's certificate, in a testbed's folder.
pub(crate) const AUTHORITY: &str = "ca.pem";

/// The servers' certificate and its key.
pub(crate) const CERTIFICATE: &str = "server.pem";
pub(crate) const KEY: &str = "server.key";

/// Source: openssl req(1) and `x509v3_config(5)`. The last name is ECR's of account 000000000000.
const SETTINGS: &str = "\
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1, DNS:000000000000.dkr.ecr.us-east-1.amazonaws.com
";

/// Makes both in `folder`.
pub(crate) fn make(folder: &Path) -> Result<(), TestbedError> {
    host::require(&["openssl"])?;
    let (settings, key) = (folder.join("openssl.conf"), folder.join("ca.key"));
    fs::write(&settings, SETTINGS).map_err(TestbedError::io("write", &settings))?;
    let authority = ["-extensions", "authority", "-subj", "/CN=kdistro testbed"];
    let files = ["-keyout", "ca.key", "-out", AUTHORITY];
    openssl(folder, &[authority, files].concat())?;
    let server = ["-extensions", "server", "-subj", "/CN=localhost"];
    let files = ["-CA", AUTHORITY, "-CAkey", "ca.key", "-keyout", KEY, "-out", CERTIFICATE];
    openssl(folder, &[&server[..], &files].concat())?;
    // Nobody shall sign anything else with it.
    fs::remove_file(&key).map_err(TestbedError::io("remove", &key))
}

fn openssl(folder: &Path, arguments: &[&str]) -> Result<(), TestbedError> {
    let mut openssl = host::command("openssl");
    openssl.args(["req", "-x509", "-config", "openssl.conf", "-days", "2", "-nodes"]);
    openssl.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    openssl.args(arguments).current_dir(folder);
    host::prepare(&mut openssl, |said| TestbedError::Preparation {
        action: "make a certificate".to_owned(),
        program: "openssl req".to_owned(),
        said,
    })
}
