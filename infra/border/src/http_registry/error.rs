//! What can go wrong between a registry and us; nothing of it shows a secret.

use std::io;

use ureq::http::StatusCode;

use crate::{challenge::ChallengeError, credentials::CredentialsError, http};

/// A request that did not come to what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    /// The registry answered something else.
    #[error("it answered {status} to {what}{}{}{}", of(.registry.as_ref()), colon(.said), login(.registry.as_ref()))]
    Status { what: String, status: StatusCode, said: String, registry: Option<Barred> },
    /// The registry sends us to somewhere else.
    #[error("its answer to {what} leads to `{}`, {expected}", place.escape_debug())]
    Away { what: String, place: String, expected: &'static str },
    /// The answer does not hold what it must.
    #[error("its answer to {what} is not what the specification asks for: expected {expected}")]
    Answer { what: String, expected: &'static str },
    /// The registry was asked for something that it keeps under another digest.
    #[error("its answer to {what} speaks of `{}`", found.escape_debug())]
    Other { what: String, found: String },
    /// No answer came.
    #[error("no answer to {what}")]
    Transport { what: String, source: ureq::Error },
    /// An answer broke off.
    #[error("the answer to {what} broke off")]
    Read { what: String, source: io::Error },
    /// How the registry wants to know who asks cannot be read.
    #[error("it refused {what} without credentials and does not say clearly how to show them")]
    Challenge { what: String, source: ChallengeError },
    /// The registry wants to know who asks in a way that is not known here.
    #[error(
        "it refused {what} without credentials and takes them by {offered}; expected `basic` or `bearer`"
    )]
    Schemes { what: String, offered: String },
    /// The registry wants credentials to be shown where they must not go.
    #[error("it wants credentials to be shown to `{}`; expected {expected}", realm.escape_debug())]
    Realm { realm: String, expected: &'static str },
    /// A credential of the wrong kind.
    #[error("it asks for a user and a password, and for {host} there is only an identity token")]
    IdentityToken { host: String },
    /// A user or a token that no header can carry.
    #[error("{0} has characters that no header can carry")]
    Unprintable(&'static str),
    /// There are no credentials to be had.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

impl HttpError {
    /// Takes out of all its texts what `hide` takes out.
    pub(super) fn without(mut self, hide: impl Fn(&str) -> String) -> Self {
        let texts = match &mut self {
            Self::Status { what, said: text, .. }
            | Self::Away { what, place: text, .. }
            | Self::Other { what, found: text }
            | Self::Schemes { what, offered: text } => vec![what, text],
            Self::Answer { what: text, .. }
            | Self::Transport { what: text, .. }
            | Self::Read { what: text, .. }
            | Self::Challenge { what: text, .. }
            | Self::Realm { realm: text, .. } => vec![text],
            Self::IdentityToken { .. } | Self::Unprintable(_) | Self::Credentials(_) => vec![],
        };
        for text in texts {
            *text = hide(text);
        }
        // What a server sent may be in what the reader of HTTP says of it.
        let is_told = |said: String| hide(&said) != said;
        match &mut self {
            Self::Transport { source, .. } if is_told(source.to_string()) => {
                *source = ureq::Error::ConnectionFailed;
            }
            Self::Read { source, .. } if is_told(source.to_string()) => {
                *source = source.kind().into();
            }
            _ => {}
        }
        self
    }

    /// Names the registry, and the way in, where credentials are missing or not enough.
    pub(super) fn of_registry(mut self, host: &str, has_login: bool) -> Self {
        if let Self::Status { status, registry, .. } = &mut self
            && matches!(*status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        {
            *registry = Some(Barred { host: host.to_owned(), has_login });
        }
        self
    }

    /// Tells whether the same request may succeed later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Transport { source, .. } => http::is_passing(source),
            Self::Read { .. } => true,
            Self::Status { status, .. } => http::is_busy(*status),
            _ => false,
        }
    }

    /// Tells whether the registry does not find what a manifest names.
    ///
    /// Source: OCI distribution-spec, "Error Codes", code-1 and code-7.
    pub(super) fn is_of_missing_parts(&self) -> bool {
        let codes = ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"];
        match self {
            Self::Status { status, said, .. } => {
                status.is_client_error() && codes.iter().any(|code| said.contains(code))
            }
            _ => false,
        }
    }
}

/// The registry that wants other credentials, or says that they are not enough.
#[derive(Debug)]
pub(super) struct Barred {
    /// Its host.
    pub(super) host: String,
    /// True where `docker login` gets other ones.
    pub(super) has_login: bool,
}

fn of(registry: Option<&Barred>) -> String {
    registry.map_or_else(String::new, |Barred { host, .. }| format!(" of {host}"))
}

fn login(registry: Option<&Barred>) -> String {
    match registry {
        Some(Barred { host, has_login: true }) => {
            format!("\nhelp:  log in with `docker login {host}`, as somebody who may do this")
        }
        _ => String::new(),
    }
}

fn colon(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}
