//! To whom something is sent.

use std::net::{IpAddr, Ipv6Addr};

/// Scheme, host and port: to whom something is sent. Always https, or http on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    scheme: &'static str,
    authority: String,
}

impl Site {
    /// Splits an address into its site and the rest, which begins with `/` or `?` or is empty. Says what is expected.
    pub(crate) fn split(address: &str) -> Result<(Self, &str), &'static str> {
        let (scheme, rest) = address.split_once("://").ok_or("`https://<host>`")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let authority = authority.to_ascii_lowercase();
        let host = host(&authority).ok_or("a host, with a port where it has one")?;
        if path.contains('#') || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a path of printable ASCII without `#`");
        }
        let (scheme, port) = match scheme.to_ascii_lowercase().as_str() {
            "https" => ("https", ":443"),
            "http" if is_loopback(host) => ("http", ":80"),
            _ => return Err("https, or http on this machine"),
        };
        let authority = authority.strip_suffix(port).unwrap_or(&authority).to_owned();
        Ok((Self { scheme, authority }, path))
    }

    /// Host and port, the port only where it is not that of the scheme.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// True for https.
    pub(crate) fn is_secure(&self) -> bool {
        self.scheme == "https"
    }

    /// True when it is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        host(&self.authority).is_some_and(is_loopback)
    }

    /// Returns the address of a path on this site.
    pub(crate) fn address(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.authority)
    }
}

/// True for an address that something may be sent to: https, or http on this machine.
pub fn is_address(address: &str) -> bool {
    Site::split(address).is_ok()
}

/// The host of `host[:port]`; `None` for anything that another reader could take for another host.
fn host(authority: &str) -> Option<&str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, port)
        }
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|number| port == number.to_string());
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
    let is_fine = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    (!host.is_empty() && host.chars().all(is_plain) && is_fine).then_some(host)
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for (address, authority, rest) in [
            ("https://a.example", "a.example", ""),
            ("HTTPS://A.Example:443/x?y", "a.example", "/x?y"),
            ("https://a.example:5000/", "a.example:5000", "/"),
            ("http://127.0.0.1:5000", "127.0.0.1:5000", ""),
            ("http://[::1]:80?x", "[::1]", "?x"),
            ("http://localhost", "localhost", ""),
        ] {
            let (site, left) = Site::split(address).unwrap();
            assert_eq!((site.authority(), left), (authority, rest));
            assert_eq!(site.is_secure(), address.to_lowercase().starts_with("https"));
            assert_eq!(site.is_local(), address.starts_with("http:"));
        }
    }

    #[test]
    fn what_could_be_taken_for_another_host_is_refused() {
        for address in [
            "a.example",
            "http://a.example",
            "http://127.0.0.1.a.example",
            "http://localhost.a.example",
            "http://0.0.0.0",
            "ftp://127.0.0.1",
            "https://",
            "https://:5000",
            "https://user@a.example",
            "https://user:password@a.example",
            "https://a.example:",
            "https://a.example:0x1",
            "https://a.example:+1",
            "https://a.example:65536",
            "https://a.example\\@b.example",
            "https://a.example%2f",
            "https://a b.example",
            "https://\u{e9}.example",
            "https://[::1",
            "https://[::1]x",
            "https://a.example/x y",
            "https://a.example/x\r\ny",
            "https://a.example/#x",
        ] {
            assert!(Site::split(address).is_err(), "accepted {address}");
        }
    }
}
