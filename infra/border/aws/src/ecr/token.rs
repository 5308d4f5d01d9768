//! The password of ECR: handed out for twelve hours, and asked for anew before it expires or when it is refused.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_ecr::Client;
use aws_smithy_types::{DateTime, base64};
use kdistro_border::credentials::{Credential, Credentials, CredentialsError};

use super::target;
use crate::{account::Aws, error::AwsError};

/// How long before its end a token is replaced: an upload that began with it must come to its end.
const SPARE: Duration = Duration::from_mins(15);

/// Hands out the token of a registry to its own host.
#[derive(Clone)]
pub(super) struct Token {
    aws: Aws,
    client: Client,
    registry_id: Option<String>,
    host: String,
    last: Arc<Mutex<Option<Given>>>,
}

/// What ECR handed out.
#[derive(Clone)]
struct Given {
    credential: Credential,
    address: String,
    expires: Option<DateTime>,
}

impl Token {
    pub(super) fn new(aws: &Aws, client: &Client, registry_id: Option<String>) -> Self {
        let (aws, client, last) = (aws.clone(), client.clone(), Arc::default());
        Self { aws, client, registry_id, host: String::new(), last }
    }

    /// Hands it out to the host of this URL and to no other.
    pub(super) fn of_host(self, url: &str) -> Self {
        let host = url.split_once("://").map_or(url, |(_, rest)| rest);
        let host = host.split('/').next().unwrap_or_default().to_owned();
        Self { host, ..self }
    }

    /// Returns the address of the registry.
    pub(super) fn address(&self) -> Result<String, AwsError> {
        self.given(false).map(|given| given.address)
    }

    fn given(&self, refused: bool) -> Result<Given, AwsError> {
        // Held while it is asked for: of many threads one asks.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = last.as_ref().filter(|given| !refused && !self.expires(given));
        if let Some(given) = kept {
            return Ok(given.clone());
        }
        let given = self.aws.wait(self.ask())?;
        *last = Some(given.clone());
        Ok(given)
    }

    /// Tells whether a token ends soon, by the clock that requests are signed with.
    fn expires(&self, given: &Given) -> bool {
        let now = self.aws.config().time_source().map(|source| source.now());
        let soon = now.map(|now| DateTime::from(now + SPARE));
        given.expires.zip(soon).is_none_or(|(expires, soon)| expires <= soon)
    }

    async fn ask(&self) -> Result<Given, AwsError> {
        let request = self.client.get_authorization_token();
        #[expect(deprecated, reason = "the only way to name the registry of another account")]
        let request = request.set_registry_ids(self.registry_id.clone().map(|id| vec![id]));
        let target = || target(self.registry_id.as_deref().unwrap_or("this account"));
        let answer = request.send().await.map_err(|error| AwsError::of(target(), &error))?;
        let data = answer.authorization_data().first();
        let given = data.and_then(|data| {
            let text = base64::decode(data.authorization_token()?).ok()?;
            let text = String::from_utf8(text).ok()?;
            let (user, password) = text.split_once(':')?;
            let (user, password) = (user.to_owned(), password.to_owned());
            Some(Given {
                credential: Credential::Basic { user, password },
                address: data.proxy_endpoint()?.to_owned(),
                expires: data.expires_at().copied(),
            })
        });
        given.ok_or_else(|| AwsError::unfit(target(), "answers without a token"))
    }
}

impl Credentials for Token {
    fn of(&self, host: &str, refused: bool) -> Result<Option<Credential>, CredentialsError> {
        if host != self.host {
            return Ok(None);
        }
        let failed =
            |error| CredentialsError::Service { host: host.to_owned(), source: Box::new(error) };
        self.given(refused).map(|given| Some(given.credential)).map_err(failed)
    }
}
