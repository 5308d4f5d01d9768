//! Whom a registry knows us as: credentials for a host, asked for when they are needed and never shown.

use std::{error::Error, fmt, io};

/// What a registry, or the token server that it names, is shown.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user and a password, for `Basic` and for token servers.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// An identity token, traded for access tokens.
    Token(String),
}

impl Credential {
    /// Makes a credential of what a credential helper answers: the user `<token>` means that the secret is an identity token.
    ///
    /// Source: docker/cli, `cli/config/credentials/native_store.go`, `getCredentialsFromStore`.
    pub fn of_helper(user: String, secret: String) -> Self {
        if user == "<token>" {
            return Self::Token(secret);
        }
        Self::Basic { user, password: secret }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic { .. }",
            Self::Token(_) => "Token(..)",
        })
    }
}

/// Where credentials come from.
pub trait Credentials: Send + Sync {
    /// Returns the credential for a host such as `registry.example.org:5000`, or `None` where there is none.
    ///
    /// `refused`: what was given last was refused, so one that was kept is not good enough.
    fn of(&self, host: &str, refused: bool) -> Result<Option<Credential>, CredentialsError>;
}

/// No credentials: a registry that anybody may use, or read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anonymous;

impl Credentials for Anonymous {
    fn of(&self, _: &str, _: bool) -> Result<Option<Credential>, CredentialsError> {
        Ok(None)
    }
}

/// Credentials that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what it should be. What it holds is not shown.
    #[error("{path} is not a configuration of docker: {what}")]
    File {
        /// The file.
        path: String,
        /// What is wrong, and where.
        what: String,
    },
    /// A credential helper gave none.
    #[error("the credential helper `{program}` gave no credential for {host}")]
    Helper {
        /// The program.
        program: String,
        /// The host.
        host: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A service that hands out credentials refused or did not answer.
    #[error("cannot get credentials for {host}")]
    Service {
        /// The host.
        host: String,
        /// What the service said.
        source: Box<dyn Error + Send + Sync>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_credential_is_shown() {
        let shown = format!(
            "{:?} {:?}",
            Credential::of_helper("planted-user".to_owned(), "planted-password".to_owned()),
            Credential::of_helper("<token>".to_owned(), "planted-token".to_owned()),
        );
        assert_eq!(shown, "Basic { .. } Token(..)");
    }
}
