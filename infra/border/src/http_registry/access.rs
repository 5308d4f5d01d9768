//! Shows a registry who asks, in the way it wants, and nobody else.
//!
//! Credentials go to the registry's own site, or to the token server that it names: by https when the registry itself is
//! reached so, and never off this machine when it is not. Access tokens are kept until they expire or are refused.

use std::{
    collections::BTreeMap,
    io::Read,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use ureq::{
    Body,
    http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header},
};

use super::{
    connection::refused,
    error::HttpError,
    scope::{Scope, encode},
    secrets::Secrets,
};
use crate::{
    challenge::{self, Challenge},
    credentials::{Credential, Credentials},
    http::{Client, Outgoing, PATIENCE, Site, patiently},
};

/// How long a token is good for when its server does not say.
///
/// Source: distribution, "Token Authentication Specification", `expires_in`.
const USUAL_LIFE: u64 = 60;
/// The longest answer of a token server.
const LONGEST_ANSWER: u64 = 1 << 20;

/// The schemes that are not known here.
///
/// Source: IANA, "HTTP Authentication Schemes"; NTLM, which is not listed there.
const SCHEMES: [&str; 13] = [
    "concealed",
    "digest",
    "dpop",
    "gnap",
    "hoba",
    "mutual",
    "negotiate",
    "ntlm",
    "oauth",
    "privatetoken",
    "scram-sha-1",
    "scram-sha-256",
    "vapid",
];

/// Who asks, at one registry.
pub(super) struct Access {
    site: Site,
    client: Client,
    credentials: Arc<dyn Credentials>,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    scheme: Option<Scheme>,
    basic: Option<HeaderValue>,
    tokens: BTreeMap<Scope, Token>,
    secrets: Secrets,
}

#[derive(Clone)]
enum Scheme {
    Basic,
    Bearer(Realm),
}

/// A token server.
#[derive(Clone)]
struct Realm {
    address: String,
    service: Option<String>,
}

pub(super) struct Token {
    shown: HeaderValue,
    until: Instant,
}

/// What a token server answers.
///
/// Source: distribution, "Token Authentication Specification" and "`OAuth2` Token Authentication".
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Access {
    pub(super) fn new(site: Site, client: Client, credentials: Arc<dyn Credentials>) -> Self {
        Self { site, client, credentials, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns what to show for a request, or `None` as long as nobody asked.
    pub(super) fn shown(&self, scope: &Scope) -> Result<Option<HeaderValue>, HttpError> {
        let mut state = self.state();
        match state.scheme.clone() {
            None => Ok(None),
            Some(Scheme::Basic) => Ok(state.basic.clone()),
            Some(Scheme::Bearer(realm)) => match state.kept(scope) {
                Some(shown) => Ok(Some(shown)),
                None => self.fetch(&mut state, &realm, scope, false),
            },
        }
    }

    /// Returns what to show after a refusal of what was shown, or `None` when there is nothing else.
    ///
    /// `again`: this request was refused before.
    pub(super) fn after_refusal(
        &self,
        (what, answer): (&str, &Response<Body>),
        scope: &Scope,
        shown: Option<&HeaderValue>,
        again: bool,
    ) -> Result<Option<HeaderValue>, HttpError> {
        let scheme = self.choose(what, &challenges(what, answer)?)?;
        let mut state = self.state();
        let before = state.scheme.replace(scheme.clone());
        match scheme {
            Scheme::Basic => {
                // Somebody else may have got a new one meanwhile.
                let kept = state.basic.clone().filter(|kept| Some(kept) != shown);
                if kept.is_some() && matches!(before, Some(Scheme::Basic)) {
                    return Ok(kept);
                }
                self.password(&mut state, shown)
            }
            Scheme::Bearer(realm) => {
                let kept = state.kept(scope).filter(|kept| Some(kept) != shown);
                if kept.is_some() {
                    return Ok(kept);
                }
                state.tokens.retain(|_, token| Some(&token.shown) != shown);
                self.fetch(&mut state, &realm, scope, again && shown.is_some())
            }
        }
    }

    /// Takes everything secret out of a text that somebody else wrote.
    pub(super) fn hide(&self, text: &str) -> String {
        self.state().secrets.hide(text)
    }

    /// Chooses among the ways that a registry offers.
    fn choose(&self, what: &str, challenges: &[Challenge]) -> Result<Scheme, HttpError> {
        let find = |scheme: &str| challenges.iter().find(|challenge| challenge.scheme == scheme);
        if let Some(bearer) = find("bearer") {
            let parameter = |name| bearer.parameters.get(name).cloned();
            let address = parameter("realm").unwrap_or_default();
            self.check_realm(&address)?;
            return Ok(Scheme::Bearer(Realm { address, service: parameter("service") }));
        }
        if find("basic").is_some() {
            return Ok(Scheme::Basic);
        }
        let offered: Vec<_> = challenges.iter().map(|challenge| named(&challenge.scheme)).collect();
        let offered = if offered.is_empty() { "nothing".to_owned() } else { offered.join(", ") };
        Err(HttpError::Schemes { what: what.to_owned(), offered })
    }

    /// Refuses a token server to which nothing may be shown.
    fn check_realm(&self, address: &str) -> Result<(), HttpError> {
        let refuse = |expected| HttpError::Realm { realm: address.to_owned(), expected };
        let (site, _) = Site::split(address).map_err(refuse)?;
        if self.site.is_secure() && !site.is_secure() {
            return Err(refuse("https, as that is how the registry itself is reached"));
        }
        if !self.site.is_secure() && !site.is_local() {
            return Err(refuse(
                "this machine, where the registry is that is reached by plain http",
            ));
        }
        Ok(())
    }

    /// Gets the password, a new one when one was refused.
    fn password(
        &self,
        state: &mut State,
        shown: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, HttpError> {
        let host = self.site.authority();
        let credential = self.credentials.of(host, shown.is_some())?;
        state.basic = match &credential {
            None => None,
            Some(Credential::Basic { user, password }) => Some(state.basic(user, password)?),
            Some(Credential::Token(_)) => {
                return Err(HttpError::IdentityToken { host: host.to_owned() });
            }
        };
        // The same once more would lock an account sooner than open it.
        Ok(state.basic.clone().filter(|basic| Some(basic) != shown))
    }

    /// Gets an access token from the token server, and keeps it.
    fn fetch(
        &self,
        state: &mut State,
        realm: &Realm,
        scope: &Scope,
        renew: bool,
    ) -> Result<Option<HeaderValue>, HttpError> {
        let mut renew = renew;
        loop {
            let credential = self.credentials.of(self.site.authority(), renew)?;
            let (what, answer) = self.ask(state, realm, scope, credential.as_ref())?;
            let status = answer.status();
            if status == StatusCode::OK {
                let token = state.token(&what, answer)?;
                let shown = token.shown.clone();
                state.tokens.insert(scope.clone(), token);
                return Ok(Some(shown));
            }
            let is_refusal = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
            if renew || credential.is_none() || !is_refusal {
                return Err(refused(what, answer, |text| state.secrets.hide(text)));
            }
            renew = true;
        }
    }

    /// Asks the token server.
    fn ask(
        &self,
        state: &mut State,
        realm: &Realm,
        scope: &Scope,
        credential: Option<&Credential>,
    ) -> Result<(String, Response<Body>), HttpError> {
        let scopes = scope.texts().map(|text| ("scope", text));
        let service = realm.service.iter().map(|service| ("service", service.clone()));
        let mut fields: Vec<_> = service.chain(scopes).collect();
        let mut headers = HeaderMap::new();
        let mut address = realm.address.clone();
        let (method, content) = if let Some(Credential::Token(token)) = credential {
            state.secrets.insert(token);
            let own = [("grant_type", "refresh_token"), ("client_id", "kdistro")];
            fields.extend(own.map(|(name, value)| (name, value.to_owned())));
            fields.push(("refresh_token", token.clone()));
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.insert(header::CONTENT_TYPE, form);
            (Method::POST, Some(encode(&fields)))
        } else {
            address.push(if address.contains('?') { '&' } else { '?' });
            address.push_str(&encode(&fields));
            (Method::GET, None)
        };
        if let Some(Credential::Basic { user, password }) = credential {
            headers.insert(header::AUTHORIZATION, state.basic(user, password)?);
        }
        let what = format!("{method} {}", realm.address.split('?').next().unwrap_or_default());
        let send = || {
            let mut bytes = content.as_deref().unwrap_or_default().as_bytes();
            let length = bytes.len() as u64;
            let content = content.is_some().then_some((&mut bytes as &mut dyn Read, length));
            self.client.run(&mut Outgoing {
                method: method.clone(),
                address: address.clone(),
                headers: headers.clone(),
                content,
                patience: PATIENCE,
            })
        };
        match patiently(send, crate::http::is_passing) {
            Ok(answer) => Ok((what, answer)),
            Err(source) => Err(HttpError::Transport { what, source }),
        }
    }
}

impl State {
    /// Returns a token that still is good for a while; one that may write may read.
    fn kept(&self, scope: &Scope) -> Option<HeaderValue> {
        let now = Instant::now();
        let good = |scope| self.tokens.get(scope).filter(|token| token.until > now);
        let kept = scope.wider().as_ref().and_then(good).or_else(|| good(scope));
        kept.map(|token| token.shown.clone())
    }

    /// Makes the header of a user and a password.
    fn basic(&mut self, user: &str, password: &str) -> Result<HeaderValue, HttpError> {
        let encoded = BASE64_STANDARD.encode(format!("{user}:{password}"));
        let shown = secret(&format!("Basic {encoded}"), "a user or password")?;
        self.secrets.insert(&encoded);
        self.secrets.insert(password);
        Ok(shown)
    }

    /// Reads the answer of a token server.
    pub(super) fn token(&mut self, what: &str, answer: Response<Body>) -> Result<Token, HttpError> {
        let received = Instant::now();
        let mut bytes = Vec::new();
        let read = answer.into_body().into_reader().take(LONGEST_ANSWER).read_to_end(&mut bytes);
        read.map_err(|source| HttpError::Read { what: what.to_owned(), source })?;
        let wrong = |expected| HttpError::Answer { what: what.to_owned(), expected };
        // The reader's own words may quote the token.
        let answer: TokenAnswer =
            serde_json::from_slice(&bytes).map_err(|_| wrong("a JSON object with a token"))?;
        let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| wrong("a JSON object with a token"))?;
        let shown = secret(&format!("Bearer {token}"), "an access token")?;
        self.secrets.insert(&token);
        let life = answer.expires_in.unwrap_or(USUAL_LIFE).min(24 * 3600);
        // Renewed a little early: it must still be good when it arrives.
        let until = received + Duration::from_secs(life) * 9 / 10;
        Ok(Token { shown, until })
    }
}

/// Names a scheme, unless nobody knows it: then it is whatever the server wrote there.
fn named(scheme: &str) -> String {
    if SCHEMES.contains(&scheme) { format!("`{scheme}`") } else { "one of its own".to_owned() }
}

/// Makes a header that is not shown when it is printed.
fn secret(text: &str, what: &'static str) -> Result<HeaderValue, HttpError> {
    let is_printable = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    let value = HeaderValue::from_str(text).ok().filter(|_| is_printable);
    let mut value = value.ok_or(HttpError::Unprintable(what))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads all challenges of an answer.
fn challenges(what: &str, answer: &Response<Body>) -> Result<Vec<Challenge>, HttpError> {
    let mut challenges = Vec::new();
    for value in answer.headers().get_all(header::WWW_AUTHENTICATE) {
        // What is not text is not ASCII either, and refused with the rest.
        let text = value.to_str().unwrap_or("\u{fffd}");
        let read = challenge::parse(text);
        let wrong = |source| HttpError::Challenge { what: what.to_owned(), source };
        challenges.extend(read.map_err(wrong)?);
    }
    Ok(challenges)
}
