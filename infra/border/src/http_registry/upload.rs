//! Sends blobs: mounted from another repository where one has it, else read once and hashed on the way.

mod checked;

use std::{io::Read, thread, time::Duration};

use kdistro_formats::Digest;
use ureq::{
    Body,
    http::{HeaderName, Method, Response, StatusCode},
};

use self::checked::Checked;
use super::{
    HttpRegistry,
    connection::{Call, text},
    error::HttpError,
    scope::Scope,
    seen::Kind,
};
use crate::{
    http::{PAUSES, is_busy, pause},
    registry::RegistryError,
    store::{Content, Stored},
};

/// How a registry says what it stored.
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// Why a blob is not there yet.
enum Failure {
    /// The registry refused it.
    Answer(String, Response<Body>),
    /// The registry could not be asked.
    Http(HttpError),
    /// What was to be sent cannot be.
    Content(RegistryError),
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        Self::Http(error)
    }
}

impl HttpRegistry {
    /// Sends a blob that is not there: once more from the start where that fails, and later where the registry is busy.
    pub(super) fn upload(
        &self,
        repository: &str,
        wanted: Stored,
        content: Content<'_>,
    ) -> Result<(), RegistryError> {
        let failed = |failure: Failure| match failure {
            Failure::Answer(what, answer) => {
                self.service(repository, "push to")(self.connection.refused(what, answer))
            }
            Failure::Http(error) => self.service(repository, "push to")(error),
            Failure::Content(error) => error,
        };
        let mut failures = 0;
        for planned in PAUSES {
            let Err(failure) = self.attempt(repository, wanted, content) else { return Ok(()) };
            failures += usize::from(!failure.is_wait());
            if failures > 1 || !failure.may_pass() {
                return Err(failed(failure));
            }
            thread::sleep(failure.pause(planned));
            // Its answer may be all that was lost, or somebody else sent the same.
            let found = self.size(repository, Kind::Blob, &wanted.digest).map_err(Failure::Http);
            if found.map_err(failed)?.is_some() {
                return Ok(());
            }
        }
        self.attempt(repository, wanted, content).map_err(failed)
    }

    fn attempt(
        &self,
        repository: &str,
        wanted: Stored,
        content: Content<'_>,
    ) -> Result<(), Failure> {
        match content {
            Content::Bytes(mut bytes) => self.send_blob(repository, wanted, &mut bytes),
            Content::File { path, .. } => {
                let opened = Checked::open(repository, path, wanted);
                let mut file = opened.map_err(Failure::Content)?;
                let sent = self.send_blob(repository, wanted, &mut file);
                // Then it is the reason of whatever else went wrong.
                file.failure().map_or(sent, |error| Err(Failure::Content(error)))
            }
        }
    }

    fn send_blob(
        &self,
        repository: &str,
        wanted: Stored,
        content: &mut dyn Read,
    ) -> Result<(), Failure> {
        let Some(location) = self.begin(repository, &wanted.digest)? else { return Ok(()) };
        let joint = if location.contains('?') { '&' } else { '?' };
        let address = format!("{location}{joint}digest={}", wanted.digest);
        let scope = Scope::push(&self.full(repository));
        let answer = self.connection.stream(&address, &scope, (content, wanted.size))?;
        let what = format!("the upload of {}", wanted.digest);
        if !answer.status().is_success() {
            return Err(Failure::Answer(what, answer));
        }
        check_digest(&what, &answer, &wanted.digest)?;
        // Anything but `201 Created` does not say that it is there.
        let is_there = answer.status() == StatusCode::CREATED
            || self.size(repository, Kind::Blob, &wanted.digest)?.is_some();
        if is_there {
            return Ok(());
        }
        Err(HttpError::Answer { what, expected: "`201 Created`" }.into())
    }

    /// Begins an upload, or mounts the blob from another repository: then there is nothing left to send.
    fn begin(&self, repository: &str, digest: &Digest) -> Result<Option<String>, HttpError> {
        let full = self.full(repository);
        let path = format!("/v2/{full}/blobs/uploads/");
        if let Some(from) = self.seen.elsewhere(digest, repository).map(|from| self.full(&from)) {
            let path = format!("{path}?mount={digest}&from={from}");
            let scope = Scope::mount(&full, &from);
            let call = Call { method: Method::POST, path: &path, scope, content: None };
            match self.connection.send(&call) {
                Ok(answer) if answer.status() == StatusCode::CREATED => {
                    return check_digest("a mount", &answer, digest).map(|()| None);
                }
                Ok(answer) if answer.status() == StatusCode::ACCEPTED => {
                    return self.connection.location("a mount", &path, &answer).map(Some);
                }
                // Who may not mount may still send.
                _ => {}
            }
        }
        let scope = Scope::push(&full);
        let call = Call { method: Method::POST, path: &path, scope, content: None };
        let answer = self.connection.send(&call)?;
        if answer.status().is_success() {
            return self.connection.location(&format!("POST {path}"), &path, &answer).map(Some);
        }
        Err(self.connection.refused(format!("POST {path}"), answer))
    }
}

impl Failure {
    /// True when the registry only asked to wait.
    fn is_wait(&self) -> bool {
        matches!(self, Self::Answer(_, answer) if answer.status() == StatusCode::TOO_MANY_REQUESTS)
    }

    /// Tells whether beginning anew may help.
    fn may_pass(&self) -> bool {
        match self {
            // The token may have expired, the upload may have been forgotten.
            Self::Answer(_, answer) => {
                is_busy(answer.status()) || matches!(answer.status().as_u16(), 401 | 404 | 416)
            }
            Self::Http(error) => error.is_passing(),
            Self::Content(_) => false,
        }
    }

    fn pause(&self, planned: Duration) -> Duration {
        match self {
            Self::Answer(_, answer) => pause(planned, Some(answer)),
            Self::Http(_) | Self::Content(_) => pause(planned, None),
        }
    }
}

/// Refuses an answer that speaks of other content.
pub(super) fn check_digest(
    what: &str,
    answer: &Response<Body>,
    digest: &Digest,
) -> Result<(), HttpError> {
    match text(answer, CONTENT_DIGEST) {
        Some(found) if found != digest.to_string() => {
            Err(HttpError::Other { what: what.to_owned(), found: found.to_owned() })
        }
        _ => Ok(()),
    }
}
