//! What is about an image: the registry's own list, or a tag that stands for it.

use kdistro_formats::Digest;
use serde_json::{Value, json};
use ureq::{
    Body,
    http::{HeaderName, Response, StatusCode, header},
};

use super::{
    HttpRegistry,
    connection::{document, text, whole},
    damaged,
    error::HttpError,
    scope::Scope,
};
use crate::{
    manifest::INDEXES,
    registry::{LARGEST_MANIFEST, Referrer, RegistryError},
};

/// The header by which a registry says that it keeps referrers itself.
///
/// Source: OCI distribution-spec 1.1, "Pushing Manifests with Subject".
const KEEPS_REFERRERS: HeaderName = HeaderName::from_static("oci-subject");
/// How often a list is written that somebody else writes at the same time.
const ATTEMPTS: usize = 20;
/// The most pages of a list that are read.
const PAGES: usize = 1000;
/// The most bytes of a list that are read, and of all referrers in it.
pub(super) const LARGEST_LIST: u64 = 4 * LARGEST_MANIFEST;

/// A part of a list, and where the next one is.
type Page = (Vec<u8>, Option<String>);

impl HttpRegistry {
    /// Sees to it that a manifest which was put is listed as a referrer of its subject.
    pub(super) fn list_referrer(
        &self,
        repository: &str,
        subject: &Digest,
        referrer: &Referrer,
        put: &Response<Body>,
    ) -> Result<(), RegistryError> {
        if put.headers().contains_key(KEEPS_REFERRERS) {
            return Ok(());
        }
        if self.takes_fallback_tags {
            return self.write_fallback(repository, subject, referrer);
        }
        // A registry that keeps them and does not say so.
        let own = self.own_referrers(repository, subject)?.unwrap_or_default();
        if own.contains(&Some(referrer.digest)) {
            return Ok(());
        }
        let repository = repository.to_owned();
        Err(RegistryError::Referrers { repository, subject: *subject })
    }

    /// Adds a referrer to the tag that stands for the referrers of its subject.
    ///
    /// Source: OCI distribution-spec 1.1, "Referrers Tag Schema": the one tag whose content changes. Whoever writes it
    /// reads it again. Even so an entry can be lost when another machine writes at the same moment, as the
    /// specification itself says; pushing the referrer again brings it back.
    fn write_fallback(
        &self,
        repository: &str,
        subject: &Digest,
        referrer: &Referrer,
    ) -> Result<(), RegistryError> {
        let held = self.held(repository);
        let _held = super::locked(&held);
        let failed = self.service(repository, "list a referrer in");
        let tag = fallback_tag(subject);
        let [media_type, _] = INDEXES;
        for _ in 0..ATTEMPTS {
            let mut listed = self.fallback(repository, subject)?.unwrap_or_default();
            if listed.iter().any(|entry| digest(entry) == Some(referrer.digest)) {
                return Ok(());
            }
            listed.push(entry(referrer));
            let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": listed});
            let put = self.put(repository, &tag, (index.to_string().as_bytes(), media_type));
            put.map_err(&failed)?;
        }
        Err(damaged(
            repository,
            format!("`{tag}` was written and does not list {}", referrer.digest),
        ))
    }

    /// Lists the digests of the referrers of a manifest, as the registry or its tag says.
    pub(super) fn referrer_digests(
        &self,
        repository: &str,
        subject: &Digest,
    ) -> Result<Vec<Digest>, RegistryError> {
        let digests = match self.own_referrers(repository, subject)? {
            Some(digests) => digests,
            None => digests(&self.fallback(repository, subject)?.unwrap_or_default()),
        };
        let digests = digests.into_iter().collect::<Option<Vec<_>>>();
        digests.ok_or_else(|| damaged(repository, format!("a referrer of {subject} has no digest")))
    }

    /// Reads the registry's own list, all pages of it; `None` when it keeps none. Of an entry only its digest counts.
    fn own_referrers(
        &self,
        repository: &str,
        subject: &Digest,
    ) -> Result<Option<Vec<Option<Digest>>>, RegistryError> {
        let failed = self.service(repository, "list referrers in");
        let mut path = format!("/v2/{}/referrers/{subject}", self.full(repository));
        let damaged =
            |what| damaged(repository, format!("the list of the referrers of {subject} {what}"));
        let (mut found, mut read) = (Vec::new(), 0);
        for page in 0..PAGES {
            match whole(|| self.page(repository, &path)).map_err(&failed)? {
                None if page == 0 => return Ok(None),
                None => return Err(damaged("lacks a page that it names".to_owned())),
                Some((bytes, next)) => {
                    read += bytes.len() as u64;
                    if read > LARGEST_LIST {
                        return Err(damaged(format!("has more than {LARGEST_LIST} bytes")));
                    }
                    found.extend(digests(&entries(repository, &bytes)?));
                    match next {
                        Some(next) if next == path => {
                            return Err(damaged("names one page as the next of itself".to_owned()));
                        }
                        Some(next) => path = next,
                        None => return Ok(Some(found)),
                    }
                }
            }
        }
        Err(damaged(format!("has more than {PAGES} pages")))
    }

    /// Reads one page of the registry's own list, and where the next one is.
    fn page(&self, repository: &str, path: &str) -> Result<Option<Page>, HttpError> {
        let what = format!("GET {}", path.split('?').next().unwrap_or_default());
        let answer = self.connection.get(path, &Scope::pull(&self.full(repository)))?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => return Ok(None),
            _ => return Err(self.connection.refused(what, answer)),
        }
        let next = text(&answer, header::LINK).and_then(next_page);
        let next = next.map(|next| self.connection.own(&what, path, &next)).transpose()?;
        Ok(Some((document(&what, answer)?, next)))
    }

    /// Reads the list behind the tag.
    fn fallback(
        &self,
        repository: &str,
        subject: &Digest,
    ) -> Result<Option<Vec<Value>>, RegistryError> {
        let bytes = self.fetch(repository, &fallback_tag(subject));
        let bytes = bytes.map_err(self.service(repository, "list referrers in"))?;
        bytes.map(|bytes| entries(repository, &bytes)).transpose()
    }
}

/// Source: OCI distribution-spec 1.1, "Referrers Tag Schema".
fn fallback_tag(subject: &Digest) -> String {
    subject.to_string().replace(':', "-")
}

/// Writes an entry of a list of referrers.
fn entry(referrer: &Referrer) -> Value {
    let mut entry = json!({
        "mediaType": referrer.media_type, "digest": referrer.digest, "size": referrer.size,
        "artifactType": referrer.artifact_type,
    });
    if !referrer.annotations.is_empty()
        && let Some(entry) = entry.as_object_mut()
    {
        entry.insert("annotations".to_owned(), json!(referrer.annotations));
    }
    entry
}

/// Reads the entries of an index.
pub(super) fn entries(repository: &str, bytes: &[u8]) -> Result<Vec<Value>, RegistryError> {
    let index: Option<Value> = serde_json::from_slice(bytes).ok();
    let entries = index.as_ref().and_then(|index| index.get("manifests")?.as_array());
    let no_index = || damaged(repository, "its list of referrers is no index".to_owned());
    entries.cloned().ok_or_else(no_index)
}

fn digests(entries: &[Value]) -> Vec<Option<Digest>> {
    entries.iter().map(digest).collect()
}

pub(super) fn digest(entry: &Value) -> Option<Digest> {
    entry.get("digest")?.as_str()?.parse().ok()
}

/// Reads where the next page is.
///
/// Source: OCI distribution-spec 1.1, "Listing Referrers"; RFC 8288.
pub(super) fn next_page(link: &str) -> Option<String> {
    link.split(',').find_map(|link| {
        let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = |parameter: &str| {
            let parameter = parameter.trim().to_ascii_lowercase();
            parameter == "rel=next" || parameter == "rel=\"next\""
        };
        parameters.split(';').any(is_next).then(|| target.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found() {
        for (link, wanted) in [
            (r#"</v2/a/referrers/x?n=2>; rel="next""#, Some("/v2/a/referrers/x?n=2")),
            ("<x>;rel=next", Some("x")),
            (r#"<x>; rel="prev", <y>; title="t"; Rel="next""#, Some("y")),
            (r#"<x>; rel="prev""#, None),
            ("x; rel=next", None),
            ("", None),
        ] {
            assert_eq!(next_page(link).as_deref(), wanted, "{link}");
        }
    }
}
