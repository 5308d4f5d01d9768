//! What registries, token servers, docker's configuration and credential helpers say: nothing of it leads credentials
//! to somebody else, and nothing secret of it is shown.

use std::{
    collections::BTreeSet,
    fs,
    sync::{Arc, Mutex},
};

use kdistro_border::{
    Credential, Credentials, DockerConfig,
    challenge::{self, Challenge},
    http_registry::answers,
};
use kdistro_formats::oci::{Index, Manifest};
use kdistro_source::credentials;
use serde_json::Value;
use ureq::http::Uri;

use crate::archives::scratch;

/// How a server wants to know who asks: what is read is written with quotes and read again as the same.
pub fn challenge(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match challenge::parse(text) {
        Ok(challenges) => {
            let written: Vec<_> = challenges.iter().map(written).collect();
            let again = challenge::parse(&written.join(", "));
            assert!(again.as_ref() == Ok(&challenges) || text.len() > 4096, "{again:?}");
        }
        Err(error) => assert!(error.position <= text.len(), "{error}"),
    }
}

fn written(challenge: &Challenge) -> String {
    let Challenge { scheme, parameters, token } = challenge;
    assert!(token.is_none() || parameters.is_empty(), "{challenge:?}");
    let name = |name: &str| !name.is_empty() && !name.contains(|c: char| c.is_ascii_uppercase());
    assert!(name(scheme) && parameters.keys().all(|key| name(key)), "{challenge:?}");
    if let Some(token) = token {
        return format!("{scheme} {token}");
    }
    let quoted = |text: &str| text.replace('\\', r"\\").replace('"', r#"\""#);
    let parameters = parameters.iter().map(|(key, value)| format!("{key}=\"{}\"", quoted(value)));
    let parameters: Vec<_> = parameters.collect();
    if parameters.is_empty() {
        scheme.clone()
    } else {
        format!("{scheme} {}", parameters.join(", "))
    }
}

/// Docker's `config.json`: what is given is of the host that was asked for, and helpers are plain words.
pub fn docker_config(data: &[u8]) {
    let folder = scratch();
    let path = folder.path().join("config.json");
    fs::write(&path, data).expect("a file in memory");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let noted = asked.clone();
    let helper = move |program: &str, server: &str| {
        let mut noted = noted.lock().expect("nobody panics with it");
        noted.push((program.to_owned(), server.to_owned()));
        if server.len().is_multiple_of(2) { Err("it failed".into()) } else { Ok(None) }
    };
    let config = DockerConfig::new(path, Arc::new(helper));
    let file: Option<Value> = serde_json::from_slice(data).ok();
    // What is passed over need not be right, so this reader may refuse what the other takes.
    let file = file.map(|file| file.to_string());
    let says = |text: &str| file.as_ref().is_none_or(|file| file.contains(text));
    for (host, key) in [
        ("registry.example:5000", "registry.example:5000"),
        ("registry.example", "registry.example"),
        ("docker.io", "index.docker.io"),
    ] {
        let Ok(Some(found)) = config.of(host, false) else { continue };
        assert!(says(key), "a credential for {host}");
        let shown = format!("{found:?}");
        assert!(["Basic { .. }", "Token(..)"].contains(&shown.as_str()), "{shown}");
        if let Credential::Basic { user, .. } = found {
            assert!(!user.contains(':') || says("username"), "a user with a colon");
        }
    }
    for (program, server) in asked.lock().expect("nobody panics with it").iter() {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        assert!(program.starts_with("docker-credential-"), "{program}");
        assert!(program.chars().all(is_plain), "{program} for {server}");
    }
}

/// What a credential helper prints: it is a credential or nothing, and no error repeats it.
pub fn credential_helper(data: &[u8]) {
    match credentials::read(data) {
        Ok(Some(helped)) => {
            assert!(!helped.username.is_empty() || !helped.secret.is_empty());
            assert_eq!(format!("{helped:?}"), "Helped { .. }");
            let shown = format!("{:?}", Credential::of_helper(helped.username, helped.secret));
            assert!(["Basic { .. }", "Token(..)"].contains(&shown.as_str()), "{shown}");
        }
        Ok(None) => {}
        Err(error) => {
            let said = error.to_string().replace(|c: char| c.is_ascii_digit(), "");
            let expected =
                "its answer is not a JSON object with `Username` and `Secret` (line  column )";
            assert_eq!(said, expected);
        }
    }
}

/// What a registry answers: manifests, lists of referrers, tokens, refusals.
pub fn registry_answer(data: &[u8]) {
    if let Ok(read) = answers::manifest(data) {
        // Our own, stricter readers see the same in it.
        if let Ok(index) = Index::from_slice(data) {
            let named = index.manifests.iter().map(|manifest| manifest.digest);
            assert!(read.is_index && read.parts == named.collect::<BTreeSet<_>>(), "{read:?}");
        }
        if let Ok(manifest) = Manifest::from_slice(data) {
            let named = manifest.layers.iter().chain([&manifest.config]).map(|part| part.digest);
            assert!(!read.is_index && read.parts == named.collect::<BTreeSet<_>>(), "{read:?}");
            assert_eq!(read.subject, manifest.subject.map(|subject| subject.digest));
        }
    }
    if let Some(listed) = answers::referrers(data) {
        let index: Value = serde_json::from_slice(data).expect("it was read");
        assert_eq!(
            index.pointer("/manifests").and_then(Value::as_array).map(Vec::len),
            Some(listed.len())
        );
    }
    if let Err(said) = answers::token(data) {
        assert!(!said.contains("planted"), "{said}");
    }
    let shown = answers::refusal(data);
    assert!(!shown.contains(char::is_control), "{shown:?}");
    assert!(shown.chars().count() < 450, "{shown}");
}

/// Where a registry's answer leads: an address of the same registry for everybody who reads it, or nowhere.
pub fn registry_reference(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Some(next) = answers::next_page(text) {
        assert!(text.contains(&format!("<{next}>")), "{next}");
    }
    for path in ["/", "/v2/a/blobs/uploads/?mount=b"] {
        let Some(address) = answers::resolve("https://registry.example:5000", path, text) else {
            continue;
        };
        // The client's own reader of addresses.
        let Ok(uri) = address.parse::<Uri>() else { continue };
        let host = uri.host().unwrap_or_default().to_ascii_lowercase();
        assert_eq!((host.as_str(), uri.port_u16()), ("registry.example", Some(5000)), "{address}");
        assert!(uri.scheme_str().is_some_and(|scheme| scheme == "https"), "{address}");
        assert!(
            uri.authority().is_some_and(|authority| !authority.as_str().contains('@')),
            "{address}"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds;

    #[test]
    fn what_the_seeds_say_is_accepted() {
        for seed in seeds::of("challenge").unwrap() {
            challenge::parse(str::from_utf8(&seed).unwrap()).unwrap();
        }
        assert!(credentials::read(&seeds::of("credential-helper").unwrap()[0]).unwrap().is_some());
        let answers = seeds::of("registry-answer").unwrap();
        let accepted = answers.iter().filter(|seed| answers::manifest(seed).is_ok()).count();
        assert_eq!(accepted, 2, "an index and a manifest");
        assert!(answers.iter().any(|seed| answers::referrers(seed).is_some()));
        assert!(answers.iter().any(|seed| answers::token(seed).is_ok()));
        let leads = |text: &str| answers::resolve("https://registry.example:5000", "/", text);
        let references = seeds::of("registry-reference").unwrap();
        let references = references.iter().map(|seed| str::from_utf8(seed).unwrap());
        assert_eq!(references.clone().filter_map(answers::next_page).count(), 2);
        assert!(references.clone().any(|text| leads(text).is_some()));
        assert!(references.clone().any(|text| leads(text).is_none()), "one leads away");
        let folder = scratch();
        let path = folder.path().join("config.json");
        let helper = |_: &str, server: &str| Ok(Some(Credential::Token(server.to_owned())));
        for seed in seeds::of("docker-config").unwrap() {
            fs::write(&path, seed).unwrap();
            let config = DockerConfig::new(path.clone(), Arc::new(helper));
            assert!(config.of("registry.example", false).unwrap().is_some());
        }
    }
}
