//! Tags: set once, looked up before and after, and never moved.

use std::thread;

use kdistro_formats::Digest;
use kdistro_verify::hash::sha256;

use super::{HttpRegistry, connection::Connection, damaged, locked};
use crate::{
    http::{PAUSES, pause},
    manifest::Manifest,
    registry::{Registry, RegistryError, check_tag},
    store::Created,
};

impl HttpRegistry {
    /// Returns what a tag names.
    pub(super) fn tagged(
        &self,
        repository: &str,
        tag: &str,
    ) -> Result<Option<Digest>, RegistryError> {
        self.check(repository)?;
        check_tag(tag)?;
        let read = self.fetch(repository, tag).map_err(self.service(repository, "read"))?;
        Ok(read.map(|bytes| sha256(&bytes)))
    }

    /// Tells whether a tag names this already; naming something else is an error.
    fn names(&self, repository: &str, tag: &str, digest: &Digest) -> Result<bool, RegistryError> {
        match self.tagged(repository, tag)? {
            Some(tagged) if tagged != *digest => Err(RegistryError::Moved {
                repository: repository.to_owned(),
                tag: tag.to_owned(),
                tagged,
                digest: *digest,
            }),
            other => Ok(other.is_some()),
        }
    }

    /// Gives a manifest a tag.
    pub(super) fn set_tag(
        &self,
        repository: &str,
        tag: &str,
        digest: &Digest,
    ) -> Result<Created, RegistryError> {
        check_tag(tag)?;
        let Some(bytes) = self.read_manifest(repository, digest)? else {
            let (repository, by) = (repository.to_owned(), format!("`{tag}`"));
            return Err(RegistryError::Missing { repository, missing: *digest, by });
        };
        let manifest = Manifest::parse(repository, digest, &bytes)?;
        let held = self.held(repository);
        let _held = locked(&held);
        if self.names(repository, tag, digest)? {
            return Ok(Created::Same);
        }
        let mut last = None;
        for planned in PAUSES {
            // Never put again without looking first: that would move a tag which somebody else set meanwhile.
            let content = (bytes.as_slice(), manifest.media_type.as_str());
            let put = self.put_with(repository, tag, content, Connection::send_once);
            if self.names(repository, tag, digest)? {
                return Ok(Created::New);
            }
            match put {
                Err(error) if !error.is_passing() => {
                    return Err(self.service(repository, "tag in")(error));
                }
                other => last = other.err(),
            }
            thread::sleep(pause(planned, None));
        }
        let lost = || damaged(repository, format!("the tag `{tag}` was set and is not there"));
        Err(last.map_or_else(lost, self.service(repository, "tag in")))
    }
}
