//! Credentials as docker, podman, skopeo and crane keep them: a `config.json`, and helper programs that it names.

use std::{collections::BTreeMap, error::Error, fmt, fs, io, path::PathBuf, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;

use crate::credentials::{Credential, Credentials, CredentialsError};

/// Under which key Docker Hub's credentials are kept, and the hosts that it has.
///
/// Source: docker/cli, `cli/config/credentials`; docker/docker, `registry/config.go`, `IndexServer`.
const HUB: &str = "https://index.docker.io/v1/";
const HUB_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// How every credential helper's name begins.
const HELPER: &str = "docker-credential-";

/// Why a helper gave no credential; nothing of what it printed on its standard output.
pub type HelperFailure = Box<dyn Error + Send + Sync>;

/// What runs a credential helper.
///
/// Gets the program's name and the server to ask for, and answers the credential, or `None` when the helper has none.
pub type Helper = dyn Fn(&str, &str) -> Result<Option<Credential>, HelperFailure> + Send + Sync;

/// The credentials in docker's `config.json`. The file is read again each time, so that `docker login` takes effect.
#[derive(Clone)]
pub struct DockerConfig {
    path: PathBuf,
    helper: Arc<Helper>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
}

impl DockerConfig {
    /// Takes the file, which need not exist, and what runs the helpers that it names.
    pub fn new(path: impl Into<PathBuf>, helper: Arc<Helper>) -> Self {
        Self { path: path.into(), helper }
    }

    fn wrong(&self, what: impl Into<String>) -> CredentialsError {
        CredentialsError::File { path: self.path.display().to_string(), what: what.into() }
    }

    fn read(&self) -> Result<Option<File>, CredentialsError> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                let path = self.path.display().to_string();
                return Err(CredentialsError::Read { path, source });
            }
        };
        // The reader's own words may quote what it read.
        let wrong = |error: serde_json::Error| {
            self.wrong(format!("line {} column {}", error.line(), error.column()))
        };
        serde_json::from_slice(&bytes).map(Some).map_err(wrong)
    }

    fn ask(&self, name: &str, key: &str) -> Result<Option<Credential>, CredentialsError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if !name.chars().all(is_plain) {
            return Err(self.wrong("the name of a credential helper is not a plain word"));
        }
        let program = format!("{HELPER}{name}");
        (self.helper)(&program, key).map_err(|source| CredentialsError::Helper {
            program,
            host: key.to_owned(),
            source,
        })
    }

    /// Reads one entry of `auths`.
    fn entry(&self, key: &str, entry: &Entry) -> Result<Option<Credential>, CredentialsError> {
        if !entry.identitytoken.is_empty() {
            return Ok(Some(Credential::Token(entry.identitytoken.clone())));
        }
        if entry.auth.is_empty() {
            let (user, password) = (entry.username.clone(), entry.password.clone());
            let is_there = !user.is_empty() && !password.is_empty();
            return Ok(is_there.then_some(Credential::Basic { user, password }));
        }
        let wrong = || self.wrong(format!("`auth` of {key} is not `user:password` in base64"));
        let decoded = BASE64_STANDARD.decode(&entry.auth).map_err(|_| wrong())?;
        let decoded = String::from_utf8(decoded).map_err(|_| wrong())?;
        let (user, password) = decoded.split_once(':').ok_or_else(wrong)?;
        // Docker itself pads with these.
        let password = password.trim_end_matches('\0').to_owned();
        Ok(Some(Credential::Basic { user: user.to_owned(), password }))
    }
}

impl fmt::Debug for DockerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerConfig").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Credentials for DockerConfig {
    fn of(&self, host: &str, _: bool) -> Result<Option<Credential>, CredentialsError> {
        let Some(file) = self.read()? else { return Ok(None) };
        let key = if HUB_HOSTS.contains(&host) { HUB } else { host };
        let helper = file.cred_helpers.get(key).or_else(|| file.cred_helpers.get(host));
        let helper = helper.or(file.creds_store.as_ref()).filter(|name| !name.is_empty());
        if let Some(name) = helper
            && let Some(credential) = self.ask(name, key)?
        {
            return Ok(Some(credential));
        }
        let other = || file.auths.iter().find(|(other, _)| host_of(other) == host_of(key));
        let found = file.auths.get_key_value(key).or_else(other);
        found.map_or(Ok(None), |(key, entry)| self.entry(key, entry))
    }
}

/// The host that a key of `auths` means: with or without scheme and path.
///
/// Source: docker/cli, `cli/config/credentials/file_store.go`, `ConvertToHostname`.
fn host_of(key: &str) -> &str {
    let stripped = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let host = stripped.unwrap_or(key);
    host.split('/').next().unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Answers for `registry.example` only, and fails for `broken.example`.
    fn helper(program: &str, server: &str) -> Result<Option<Credential>, HelperFailure> {
        match server {
            "registry.example" | HUB => {
                Ok(Some(Credential::of_helper(program.to_owned(), server.to_owned())))
            }
            "broken.example" => Err("it ended with exit code 1".into()),
            _ => Ok(None),
        }
    }

    fn of(document: &Value, host: &str) -> Result<Option<Credential>, CredentialsError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, document.to_string()).unwrap();
        DockerConfig::new(path, Arc::new(helper)).of(host, false)
    }

    fn basic(user: &str, password: &str) -> Credential {
        Credential::Basic { user: user.to_owned(), password: password.to_owned() }
    }

    #[test]
    fn entries_are_found_by_host_as_docker_finds_them() {
        // printf 'me:a:b' | base64
        let entry = json!({"auth": "bWU6YTpi"});
        for key in ["a.example:5000", "https://a.example:5000", "http://a.example:5000/v1/"] {
            let file = json!({"auths": {key: entry}, "HttpHeaders": {}});
            assert_eq!(of(&file, "a.example:5000").unwrap(), Some(basic("me", "a:b")), "{key}");
            for host in ["a.example", "b.a.example:5000", "a.example:50001", "docker.io"] {
                assert_eq!(of(&file, host).unwrap(), None, "{key} was taken for {host}");
            }
        }
        let file =
            json!({"auths": {HUB: entry, "x": {"auth": "", "username": "u", "password": "p"}}});
        for host in HUB_HOSTS {
            assert_eq!(of(&file, host).unwrap(), Some(basic("me", "a:b")));
        }
        assert_eq!(of(&file, "x").unwrap(), Some(basic("u", "p")));
        let both = json!({"auths": {"https://x": {"auth": "YTph"}, "x": entry, "y": {}}});
        assert_eq!(of(&both, "x").unwrap(), Some(basic("me", "a:b")), "the exact key comes first");
        assert_eq!(of(&both, "y").unwrap(), None);
        let token = json!({"auths": {"x": {"auth": "bWU6YTpi", "identitytoken": "t"}}});
        assert_eq!(of(&token, "x").unwrap(), Some(Credential::Token("t".to_owned())));
        let missing = DockerConfig::new("/nonexistent/config.json", Arc::new(helper));
        assert_eq!(missing.of("x", false).unwrap(), None);
    }

    #[test]
    fn helpers_are_asked_first_and_the_own_of_a_host_before_the_store() {
        let file = json!({
            "credHelpers": {"registry.example": "own"}, "credsStore": "store",
            "auths": {"registry.example": {"auth": "bWU6YTpi"}, "z": {"auth": "bWU6YTpi"}},
        });
        let asked = of(&file, "registry.example").unwrap();
        assert_eq!(asked, Some(basic("docker-credential-own", "registry.example")));
        assert_eq!(of(&file, "docker.io").unwrap(), Some(basic("docker-credential-store", HUB)));
        assert_eq!(of(&file, "z").unwrap(), Some(basic("me", "a:b")), "what no helper knows");
        let error = of(&file, "broken.example").unwrap_err().to_string();
        assert!(error.contains("`docker-credential-store` gave no credential for broken.example"));
    }

    #[test]
    fn what_is_wrong_is_said_without_what_it_holds() {
        for file in [
            json!({"auths": {"x": "planted-secret"}}),
            json!({"auths": {"x": {"auth": 7, "password": "planted-secret"}}}),
            json!({"auths": {"x": {"auth": "planted-secret"}}}),
            json!({"auths": {"x": {"auth": BASE64_STANDARD.encode("planted-secret")}}}),
            json!({"credHelpers": {"x": "../planted-secret"}}),
            json!("planted-secret"),
        ] {
            let error = of(&file, "x").unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("planted-secret"), "{shown}");
            assert!(shown.contains("config.json"), "{shown}");
        }
    }
}
