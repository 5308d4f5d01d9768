//! What every registry promises, kept by ECR, and what belongs to ECR alone: repositories and tokens.

use std::{
    collections::BTreeSet,
    fs,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::bed::{BED, hides_secrets, told, unique};
use crate::contract;
use kdistro_aws::{Ecr, EcrSettings};
use kdistro_border::{Content, Created, Registry, RegistryError};
use kdistro_testbed::{Fault, Proxy, Request};
use serde_json::Value;

/// Repositories that the promises use.
const REPOSITORIES: [&str; 8] = ["a", "a/b", "b", "contested", "one", "one/a", "shared", "two"];

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The registry that asks for a password; the token comes from `url`.
fn with_password(url: &str, prefix: &str) -> Result<Ecr, RegistryError> {
    let settings = EcrSettings {
        prefix: prefix.to_owned(),
        address: Some(format!("https://{}", BED.servers.registry())),
        authority: Some(fs::read(BED.servers.ca()).unwrap()),
        ..EcrSettings::default()
    };
    Ecr::open(&BED.aws_at(url), settings)
}

/// The registry that knows no repository but those that were made.
fn strict(prefix: &str) -> Ecr {
    let address = Some(BED.servers.aws().to_owned());
    let settings = EcrSettings { prefix: prefix.to_owned(), address, ..EcrSettings::default() };
    Ecr::open(&BED.aws_at(BED.servers.aws()), settings).unwrap()
}

fn promises_are_kept(registry: impl Fn(&str) -> Ecr) {
    for (promise, check) in contract::registry::PROMISES {
        if promise == "referrers are found by their subject" {
            // Neither double keeps them, and a tag that could never be updated is no place for a list: tested below.
            continue;
        }
        println!("{promise}");
        let folder = tempfile::tempdir().unwrap();
        let registry = registry(&unique("team/promise"));
        registry.prepare(&names(&REPOSITORIES)).unwrap();
        check(&registry, folder.path());
    }
}

#[test]
fn ecr_keeps_the_promises_of_a_registry_with_its_token() {
    promises_are_kept(|prefix| with_password(BED.servers.aws(), prefix).unwrap());
}

#[test]
fn ecr_keeps_the_promises_of_a_registry_in_repositories_that_it_made() {
    promises_are_kept(strict);
}

#[test]
fn referrers_need_a_registry_that_keeps_them() {
    let registry = with_password(BED.servers.aws(), &unique("team")).unwrap();
    let (_, check) = contract::registry::PROMISES
        .into_iter()
        .find(|(promise, _)| *promise == "referrers are found by their subject")
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        check(&registry, folder.path());
    }));
    let refused = checked.unwrap_err();
    let text = refused.downcast_ref::<String>().unwrap();
    assert!(text.contains("Referrers {"), "{text}");
}

#[test]
fn missing_repositories_are_made_as_they_must_be() {
    let prefix = unique("team");
    let registry = strict(&prefix);
    assert!(registry.name().ends_with(&format!("/{prefix}")), "{}", registry.name());
    hides_secrets(&registry);
    let error = registry.push_blob("a", Content::Bytes(b"x")).unwrap_err();
    told(&error);
    registry.prepare(&names(&["a", "x/y"])).unwrap();
    registry.prepare(&names(&["a", "b", "x/y"])).unwrap();
    registry.prepare(&BTreeSet::new()).unwrap();
    assert_eq!(registry.push_blob("a", Content::Bytes(b"x")).unwrap(), Created::New);
    let found = BED.cli(&["ecr", "describe-repositories"]);
    let made: Vec<&Value> = found["repositories"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["repositoryName"].as_str().unwrap().starts_with(&format!("{prefix}/")))
        .collect();
    let mut made_names: Vec<_> =
        made.iter().map(|it| it["repositoryName"].as_str().unwrap()).collect();
    made_names.sort_unstable();
    assert_eq!(made_names, [format!("{prefix}/a"), format!("{prefix}/b"), format!("{prefix}/x/y")]);
    for repository in made {
        assert_eq!(repository["imageTagMutability"], "IMMUTABLE");
        assert_eq!(repository["imageScanningConfiguration"]["scanOnPush"], true);
    }
}

/// Answers requests for one action in another way.
fn instead(action: &'static str, status: u16, body: &str) -> Proxy {
    let body = body.to_owned();
    let rule = move |request: &Request| {
        let target = request.header("x-amz-target").unwrap_or_default();
        if target.ends_with(action) { Fault::Status(status, body.clone()) } else { Fault::None }
    };
    Proxy::start(BED.servers.aws(), rule).unwrap()
}

#[test]
fn all_missing_repositories_are_named_when_none_may_be_made() {
    let prefix = unique("team");
    with_password(BED.servers.aws(), &prefix).unwrap().prepare(&names(&["there"])).unwrap();
    let denied = r#"{"__type":"AccessDeniedException","message":"not authorized"}"#;
    let proxy = instead("CreateRepository", 400, denied);
    let registry = with_password(&proxy.url(), &prefix).unwrap();
    registry.prepare(&names(&["there"])).unwrap();
    let error = registry.prepare(&names(&["b", "a/x", "there", "c"])).unwrap_err();
    let expected = format!(
        "cannot create `{prefix}/a/x`, `{prefix}/b`, `{prefix}/c` in the registry: ECR for `{prefix}/a/x` answers \
         AccessDeniedException: not authorized\nhelp:  the role may not do this"
    );
    assert!(told(&error).starts_with(&expected), "{}", told(&error));
    let exists = r#"{"__type":"RepositoryAlreadyExistsException","message":"exists"}"#;
    let proxy = instead("CreateRepository", 400, exists);
    with_password(&proxy.url(), &prefix).unwrap().prepare(&names(&["raced"])).unwrap();
}

/// What ECR answers to `GetAuthorizationToken`.
fn token(text: &str, expires: u64) -> String {
    format!(
        r#"{{"authorizationData":[{{"authorizationToken":"{text}","expiresAt":{expires},"proxyEndpoint":"https://x"}}]}}"#
    )
}

/// `AWS:ministack-auth-token` and `AWS:planted-wrong-password` in base64.
const RIGHT: &str = "QVdTOm1pbmlzdGFjay1hdXRoLXRva2Vu";
const WRONG: &str = "QVdTOnBsYW50ZWQtd3JvbmctcGFzc3dvcmQ=";
const LATER: u64 = 4_000_000_000;

/// Counts how often a token is asked for; `answer` says what is handed out at each time.
fn tokens(answer: impl Fn(u32) -> String + Send + Sync + 'static) -> (Proxy, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    let rule = move |request: &Request| {
        let target = request.header("x-amz-target").unwrap_or_default();
        if target.ends_with("GetAuthorizationToken") {
            Fault::Status(200, answer(counted.fetch_add(1, Ordering::SeqCst) + 1))
        } else {
            Fault::None
        }
    };
    (Proxy::start(BED.servers.aws(), rule).unwrap(), asked)
}

fn push(registry: &Ecr, text: &str) -> Result<Created, RegistryError> {
    registry.push_blob("a", Content::Bytes(text.as_bytes()))
}

#[test]
fn a_token_is_kept_until_it_is_refused_or_ends() {
    let (proxy, asked) = tokens(|_| token(RIGHT, LATER));
    let registry = with_password(&proxy.url(), &unique("team")).unwrap();
    for text in ["1", "2", "3"] {
        push(&registry, text).unwrap();
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let (proxy, asked) = tokens(|time| token(if time == 1 { WRONG } else { RIGHT }, LATER));
    let registry = with_password(&proxy.url(), &unique("team")).unwrap();
    for text in ["1", "2", "3"] {
        push(&registry, text).unwrap();
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    let (proxy, asked) = tokens(|_| token(WRONG, LATER));
    let registry = with_password(&proxy.url(), &unique("team")).unwrap();
    hides_secrets(&registry);
    let error = push(&registry, "1").unwrap_err();
    told(&error);
    assert!((1..4).contains(&asked.load(Ordering::SeqCst)));
}

#[test]
fn what_goes_wrong_with_a_token_is_told() {
    for (status, body, expected) in [
        (
            400,
            r#"{"__type":"ExpiredTokenException","message":"M"}"#,
            "ExpiredTokenException: M\nhelp:  the credentials have expired",
        ),
        (
            400,
            r#"{"__type":"AccessDeniedException","message":"M"}"#,
            "AccessDeniedException: M\nhelp:  the role may not do this",
        ),
        (200, r#"{"authorizationData":[]}"#, "ECR for `this account` answers without a token"),
        (200, &token("cGxhbnRlZA==", LATER), "ECR for `this account` answers without a token"),
    ] {
        let proxy = instead("GetAuthorizationToken", status, body);
        let registry = with_password(&proxy.url(), &unique("team"));
        let error = registry.and_then(|registry| push(&registry, "1")).unwrap_err();
        assert!(told(&error).contains(expected), "{}", told(&error));
    }
}
