//! Identifiers in documents, and package URLs.
//!
//! Source: SPDX 2.3, clause 7.2; the package URL specification, and its types `golang`, `deb`, `github`, `generic`.

use std::fmt::Write as _;

use kdistro_verify::hash::sha256;

/// Makes an identifier of a kind, a text for people and everything that makes it unique.
pub(super) fn id(kind: &str, text: &str, unique: &[&str]) -> String {
    let word = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let readable: String = text.chars().map(word).collect();
    let digest = sha256(unique.join("\0").as_bytes()).hex();
    format!("SPDXRef-{kind}-{readable}-{}", digest.get(..12).unwrap_or_default())
}

/// Returns the package URL of a Go module, such as `pkg:golang/golang.org/x/text@v0.3.8`.
pub fn purl_golang(path: &str, version: &str) -> String {
    format!("pkg:golang/{}@{}", path_of(path), encoded(version))
}

pub(super) fn purl_deb(name: &str, version: &str, architecture: &str, suite: &str) -> String {
    let (name, version) = (encoded(name), encoded(version));
    let distribution =
        if suite.is_empty() { String::new() } else { format!("&distro={}", encoded(suite)) };
    format!("pkg:deb/debian/{name}@{version}?arch={}{distribution}", encoded(architecture))
}

/// Returns the package URL of upstream's source: of GitHub where it is kept there.
pub(super) fn purl_source(name: &str, repository: &str, tag: &str, folder: &str) -> String {
    let subpath = if folder.is_empty() { String::new() } else { format!("#{}", path_of(folder)) };
    let hub = repository.strip_prefix("https://github.com/");
    match hub.map(|path| path.trim_end_matches('/').trim_end_matches(".git")) {
        // The type's rules: owner and name in lower case.
        Some(path) => {
            format!("pkg:github/{}@{}{subpath}", path_of(&path.to_lowercase()), encoded(tag))
        }
        None => format!("pkg:generic/{}@{}{subpath}", encoded(name), encoded(tag)),
    }
}

pub(super) fn purl_generic(name: &str, version: &str, checksum: &str) -> String {
    let (name, version) = (encoded(name), encoded(version));
    format!("pkg:generic/{name}@{version}?checksum={}", encoded(checksum))
}

/// Percent-encodes the parts of a path, the slashes between them left.
fn path_of(path: &str) -> String {
    path.split('/').filter(|part| !part.is_empty()).map(encoded).collect::<Vec<_>>().join("/")
}

/// Percent-encodes what is not a letter, a digit or one of `.-_~:`.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b".-_~:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_urls_are_those_of_the_specification() {
        assert_eq!(
            purl_golang("golang.org/x/text", "v0.3.8"),
            "pkg:golang/golang.org/x/text@v0.3.8"
        );
        assert_eq!(
            purl_golang("github.com/Azure/go", "v1.0.0+incompatible"),
            "pkg:golang/github.com/Azure/go@v1.0.0%2Bincompatible"
        );
        assert_eq!(
            purl_deb("libc6-dev", "2.36-9+deb12u10", "amd64", "bookworm"),
            "pkg:deb/debian/libc6-dev@2.36-9%2Bdeb12u10?arch=amd64&distro=bookworm"
        );
        assert_eq!(
            purl_source(
                "kubernetes",
                "https://github.com/kubernetes/kubernetes",
                "v1.20.2",
                "staging/src/k8s.io/api"
            ),
            "pkg:github/kubernetes/kubernetes@v1.20.2#staging/src/k8s.io/api"
        );
        assert_eq!(purl_source("etcd", "", "v3.4.23", ""), "pkg:generic/etcd@v3.4.23");
    }

    #[test]
    fn identifiers_hold_letters_digits_dots_and_dashes_only() {
        let id = id("go", "golang.org/x/t_\u{151}+1", &["a", "b"]);
        assert!(id.starts_with("SPDXRef-go-golang.org-x-t---1-"), "{id}");
    }
}
