//! Puts manifests, whose parts come first.

use std::thread;

use kdistro_formats::Digest;
use kdistro_verify::hash::sha256;
use ureq::{
    Body,
    http::{Method, Response},
};

use super::{
    HttpRegistry,
    connection::{Call, Connection},
    error::HttpError,
    scope::Scope,
    seen::Kind,
    upload::check_digest,
};
use crate::{
    http::{PAUSES, pause},
    manifest::{Manifest, Part},
    registry::RegistryError,
};

impl HttpRegistry {
    /// Puts a manifest under its digest or a tag whose content may change.
    pub(super) fn put(
        &self,
        repository: &str,
        which: &str,
        content: (&[u8], &str),
    ) -> Result<Response<Body>, HttpError> {
        self.put_with(repository, which, content, Connection::send)
    }

    /// Puts a manifest under its digest, again where the registry does not find parts that are there.
    ///
    /// One that keeps its links in files cannot read them while another client's push writes them.
    pub(super) fn put_whole(
        &self,
        repository: &str,
        digest: &Digest,
        (bytes, manifest): (&[u8], &Manifest),
    ) -> Result<Response<Body>, RegistryError> {
        let which = digest.to_string();
        let put = || self.put(repository, &which, (bytes, &manifest.media_type));
        for planned in PAUSES {
            match put() {
                Err(error) if error.is_of_missing_parts() => thread::sleep(pause(planned, None)),
                other => return other.map_err(self.service(repository, "push to")),
            }
            for part in &manifest.parts {
                self.seen.forget(kind_of_parts(manifest), &part.digest, repository);
            }
            self.check_parts(repository, digest, manifest)?;
        }
        put().map_err(self.service(repository, "push to"))
    }

    pub(super) fn put_with(
        &self,
        repository: &str,
        which: &str,
        content: (&[u8], &str),
        send: fn(&Connection, &Call<'_>) -> Result<Response<Body>, HttpError>,
    ) -> Result<Response<Body>, HttpError> {
        let full = self.full(repository);
        let path = format!("/v2/{full}/manifests/{which}");
        let scope = Scope::push(&full);
        let call = Call { method: Method::PUT, path: &path, scope, content: Some(content) };
        let answer = send(&self.connection, &call)?;
        let what = format!("PUT {path}");
        if !answer.status().is_success() {
            return Err(self.connection.refused(what, answer));
        }
        check_digest(&what, &answer, &sha256(content.0))?;
        Ok(answer)
    }

    /// Refuses a manifest of which a part is not there, or has another size: not every registry does.
    pub(super) fn check_parts(
        &self,
        repository: &str,
        digest: &Digest,
        manifest: &Manifest,
    ) -> Result<(), RegistryError> {
        let kind = kind_of_parts(manifest);
        for Part { digest: part, size } in &manifest.parts {
            let found = match self.seen.size(kind, part, repository) {
                Some(found) => Some(found),
                None => self
                    .size(repository, kind, part)
                    .map_err(self.service(repository, "look into"))?,
            };
            let Some(found) = found else {
                let (repository, by) = (repository.to_owned(), digest.to_string());
                return Err(RegistryError::Missing { repository, missing: *part, by });
            };
            if let Some(found) = found.filter(|found| found != size) {
                let what = format!("{part} has {found} bytes, but it says {size}");
                let repository = repository.to_owned();
                return Err(RegistryError::Manifest { repository, digest: *digest, what });
            }
        }
        Ok(())
    }
}

fn kind_of_parts(manifest: &Manifest) -> Kind {
    if manifest.is_index { Kind::Manifest } else { Kind::Blob }
}
