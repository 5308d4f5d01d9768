//! Asks a component how it is.

use std::{
    fs, io,
    net::{Ipv4Addr, UdpSocket},
    path::Path,
    sync::Arc,
    time::Duration,
};

use ureq::{
    Agent,
    tls::{PemItem, RootCerts, TlsConfig, parse_pem},
};

use crate::component::{RESOLVER, SERVICE_ADDRESS, SERVICE_NAME};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How much of an answer is read.
const LENGTH: u64 = 2048;

/// Asks an address, by https with the authority of a file only; returns the code and the beginning of the text.
pub(crate) fn ask(address: &str, authority: &Path) -> Result<(u16, String), String> {
    let agent = if address.starts_with("https:") {
        let pem = fs::read(authority).map_err(|error| error.to_string())?;
        let certificates = parse_pem(&pem).filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        });
        agent(certificates.collect::<Vec<_>>().into())
    } else {
        agent(RootCerts::WebPki)
    };
    let mut answer = agent.get(address).call().map_err(|error| error.to_string())?;
    let text = answer.body_mut().with_config().limit(LENGTH).lossy_utf8(true).read_to_string();
    Ok((answer.status().as_u16(), text.unwrap_or_default()))
}

/// Asks the cluster's resolver for the address of the API server's Service.
pub(crate) fn resolve() -> Result<(), String> {
    let exchange = || -> io::Result<Vec<u8>> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect((RESOLVER, 53))?;
        socket.send(&question(SERVICE_NAME))?;
        let mut answer = vec![0; 512];
        let length = socket.recv(&mut answer)?;
        answer.truncate(length);
        Ok(answer)
    };
    let answer = exchange().map_err(|error| format!("the resolver says nothing: {error}"))?;
    let address: Ipv4Addr = SERVICE_ADDRESS.parse().map_err(|_| "no address".to_owned())?;
    if names(&answer, address) {
        return Ok(());
    }
    Err(format!("the resolver does not know {SERVICE_NAME}"))
}

/// Its first two bytes come back in the answer.
const ID: [u8; 2] = *b"kd";

/// A question for the IPv4 address of a name.
///
/// Source: RFC 1035, sections 4.1.1, 4.1.2 and 3.1.
fn question(name: &str) -> Vec<u8> {
    // One question, recursion desired; then the name's labels, the type A, the class IN.
    let mut bytes = [&ID[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.split('.') {
        bytes.extend(u8::try_from(label.len()));
        bytes.extend(label.bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

/// Whether an answer to our question has this address as its last record.
///
/// Source: RFC 1035, sections 4.1.1 and 4.1.3: the code of success is 0, and an address is 4 bytes long.
fn names(answer: &[u8], address: Ipv4Addr) -> bool {
    let is_success =
        |flags: &[u8]| matches!(flags, [first, second] if first & 0x80 != 0 && second % 16 == 0);
    answer.starts_with(&ID)
        && answer.get(2..4).is_some_and(is_success)
        && answer.get(6..8).is_some_and(|count| count != [0, 0])
        && answer.ends_with(&[&[0, 4], &address.octets()[..]].concat())
}

fn agent(roots: RootCerts) -> Agent {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = TlsConfig::builder().root_certs(roots).unversioned_rustls_crypto_provider(provider);
    let agent = Agent::config_builder()
        .tls_config(tls.build())
        .proxy(None)
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false);
    agent.build().new_agent()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_address_of_a_successful_answer_counts() {
        let address = Ipv4Addr::new(10, 96, 0, 1);
        let mut right = question("a.bc");
        assert_eq!(&right[12..], b"\x01a\x02bc\0\0\x01\0\x01");
        right[2] = 0x85;
        right[7] = 1;
        right.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\x05\0\x04\x0a\x60\0\x01");
        assert!(names(&right, address));
        assert!(!names(&right, Ipv4Addr::new(10, 96, 0, 2)));
        assert!(!names(&question("a.bc"), address), "a question");
        // Another's, none, an error, no records, cut short.
        for (index, byte) in [(0, 0), (2, 0), (3, 3), (7, 0)] {
            let mut wrong = right.clone();
            wrong[index] = byte;
            assert!(!names(&wrong, address), "{index}");
        }
        for length in 0..right.len() {
            assert!(!names(&right[..length], address), "{length}");
        }
    }
}
