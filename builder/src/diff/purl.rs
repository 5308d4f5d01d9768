//! Package URLs, and the SPDX documents that list them.
//!
//! Source: purl-spec, "Package URL specification"; SPDX 2.3, clause 7.21 "External reference field".

use serde::Deserialize;

use super::Parts;

/// What a package URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) kind: &'a str,
    pub(super) name: String,
    pub(super) version: String,
}

/// Reads a package URL with a version; the name of a Debian package goes without `debian/`.
pub(super) fn parse(text: &str) -> Option<Part<'_>> {
    let rest = text.strip_prefix("pkg:")?;
    let rest = rest.split(['?', '#']).next()?;
    let (kind, rest) = rest.trim_start_matches('/').split_once('/')?;
    let (name, version) = rest.rsplit_once('@')?;
    let name = decode(name);
    let name = match kind {
        "deb" => name.rsplit('/').next()?.to_owned(),
        _ => name,
    };
    Some(Part { kind, name, version: decode(version) })
}

/// Undoes percent-encoding; what is not well encoded stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|hex| u8::from_str_radix(str::from_utf8(hex).ok()?, 16).ok());
        rest = if code.is_some() { after.get(2..).unwrap_or_default() } else { after };
        bytes.push(code.unwrap_or(*first));
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// A document that is no SBOM.
#[derive(Debug, thiserror::Error)]
#[error("not an SPDX document")]
pub struct SbomError(#[from] serde_json::Error);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Package {
    #[serde(default)]
    external_refs: Vec<Reference>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    reference_type: String,
    reference_locator: String,
}

/// Lists the modules and packages of an SPDX document.
pub fn parts_of_sbom(bytes: &[u8]) -> Result<Parts, SbomError> {
    let document: Document = serde_json::from_slice(bytes)?;
    let mut parts = Parts::default();
    let references = document.packages.iter().flat_map(|package| &package.external_refs);
    for reference in references.filter(|reference| reference.reference_type == "purl") {
        parts.add(&reference.reference_locator);
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn package_urls_are_read_as_others_write_them() {
        let part = |text| parse(text).map(|p| (p.kind.to_owned(), p.name, p.version)).unwrap();
        let is = |kind: &str, name: &str, version: &str| {
            (kind.to_owned(), name.to_owned(), version.to_owned())
        };
        assert_eq!(
            part("pkg:golang/google.golang.org/grpc@v1.2.3#internal"),
            is("golang", "google.golang.org/grpc", "v1.2.3")
        );
        assert_eq!(
            part("pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1?arch=amd64"),
            is("deb", "libstdc++6", "12.2.0-14+deb12u1")
        );
        assert_eq!(part("pkg:golang/a/b@v1.0.0%zz").2, "v1.0.0%zz");
        for text in ["", "golang/a@v1", "pkg:golang", "pkg:golang/a"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_sbom_gives_its_parts_and_nothing_else() {
        let document = br#"{"spdxVersion": "SPDX-2.3", "packages": [
            {"name": "etcd"},
            {"name": "a", "externalRefs": [
                {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": "pkg:golang/a/b@v1.0.0"},
                {"referenceCategory": "SECURITY", "referenceType": "cpe23Type", "referenceLocator": "cpe:2.3:a:x"}]},
            {"name": "c", "externalRefs": [
                {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": "pkg:deb/debian/libc6@2.36?arch=arm64"}]}]}"#;
        let parts = parts_of_sbom(document).unwrap();
        assert_eq!(parts.modules["a/b"], ["v1.0.0".to_owned()].into());
        assert_eq!(parts.packages["libc6"], ["2.36".to_owned()].into());
        assert_eq!((parts.modules.len(), parts.packages.len()), (1, 1));
        assert!(parts_of_sbom(b"{}").is_err());
    }
}
