//! Whom credentials are shown to, and whom not: a registry, a token server and strangers that keep what they are sent.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "openssl makes certificates for the test")]

#[path = "contract/recording.rs"]
mod recording;

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicUsize, Ordering},
};

use kdistro_border::{
    Address, Anonymous, Content, Credential, Credentials, CredentialsError, HttpRegistry, Registry,
};
use kdistro_verify::hash::sha256;
use serde_json::json;

use crate::recording::{Answer, Recorder, Request, Tls, answer, whole};

static TLS: LazyLock<Tls> = LazyLock::new(Tls::new);

const USER: &str = "planted-user";
const PASSWORD: &str = "planted-password";
/// `printf 'planted-user:planted-password' | base64`
const BASIC: &str = "cGxhbnRlZC11c2VyOnBsYW50ZWQtcGFzc3dvcmQ=";
const IDENTITY: &str = "planted-identity";
const TOKEN: &str = "planted-token";

/// Gives one credential, and counts how often and for whom it was asked.
struct Given {
    credential: Credential,
    asked: AtomicUsize,
    refused: AtomicUsize,
}

impl Given {
    fn new(credential: Credential) -> Arc<Self> {
        Arc::new(Self { credential, asked: AtomicUsize::new(0), refused: AtomicUsize::new(0) })
    }

    fn password() -> Arc<Self> {
        Self::new(Credential::Basic { user: USER.to_owned(), password: PASSWORD.to_owned() })
    }
}

impl Credentials for Given {
    fn of(&self, host: &str, refused: bool) -> Result<Option<Credential>, CredentialsError> {
        assert!(host.starts_with("localhost:") || host.starts_with("127.0.0.1:"), "{host}");
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.refused.fetch_add(usize::from(refused), Ordering::SeqCst);
        Ok(Some(self.credential.clone()))
    }
}

fn open(url: &str, credentials: Arc<dyn Credentials>) -> HttpRegistry {
    HttpRegistry::open(Address { url, prefix: "", ca: Some(&TLS.ca) }, credentials).unwrap()
}

/// Nothing of what was planted is in a text.
#[track_caller]
fn is_clean(text: &str) {
    for secret in [PASSWORD, BASIC, IDENTITY, TOKEN] {
        assert!(!text.contains(secret), "{secret} is shown: {text}");
    }
}

/// No request to a server carries anything secret.
#[track_caller]
fn knows_nothing(server: &Recorder) {
    is_clean(&format!("{:?}", server.requests()));
}

/// Wants `shown` in every request, and answers a question for tag `v1` then.
fn wanting(challenges: &[&str], shown: &str) -> impl Fn(&Request) -> Answer + use<> {
    let challenges: Vec<String> = challenges.iter().map(|&text| text.to_owned()).collect();
    let shown = shown.to_owned();
    move |request| {
        if request.header("authorization") == Some(&shown) {
            return answer(200).body("{}");
        }
        let refusal = answer(401);
        challenges.iter().fold(refusal, |refusal, text| refusal.with("WWW-Authenticate", text))
    }
}

fn token_answer() -> Answer {
    answer(200).body(json!({"token": TOKEN, "expires_in": 300}).to_string())
}

#[test]
fn a_password_is_shown_when_it_is_asked_for_and_from_then_on() {
    let rule = || wanting(&["Basic realm=\"r\""], &format!("Basic {BASIC}"));
    for server in [Recorder::start_tls(&TLS, rule()), Recorder::start(rule())] {
        let credentials = Given::password();
        let registry = open(&server.url, Arc::clone(&credentials) as Arc<dyn Credentials>);
        for _ in 0..2 {
            assert_eq!(registry.resolve("a", "v1").unwrap(), Some(sha256(b"{}")));
        }
        let shown: Vec<_> =
            server.requests().iter().map(|r| r.header("authorization").is_some()).collect();
        assert_eq!(shown, [false, true, true]);
        assert_eq!(credentials.asked.load(Ordering::SeqCst), 1);
        is_clean(&format!("{registry:?}"));
    }
}

#[test]
fn a_password_goes_to_the_token_server_and_its_token_to_the_registry() {
    let realm = Recorder::start_tls(&TLS, |_| token_answer());
    let challenge = format!("Bearer realm=\"{}/token\",service=\"the registry\"", realm.url);
    let rule = wanting(&[&challenge], &format!("Bearer {TOKEN}"));
    let server = Recorder::start_tls(&TLS, move |request| match request.method.as_str() {
        "POST" if request.header("authorization").is_some() => {
            answer(202).with("Location", "/u?s=1")
        }
        "PUT" => answer(201),
        "HEAD" if request.header("authorization").is_some() => answer(404),
        _ => rule(request),
    });
    let registry = open(&server.url, Given::password());
    for _ in 0..2 {
        assert_eq!(registry.resolve("a/b", "v1").unwrap(), Some(sha256(b"{}")));
    }
    registry.push_blob("a/b", Content::Bytes(b"x")).unwrap();
    registry.resolve("a/b", "v1").unwrap();
    registry.resolve("c", "v1").unwrap();
    let scope = |text: &str| format!("GET /token?service=the%20registry&scope={text}");
    let wanted = [
        scope("repository%3Aa%2Fb%3Apull"),
        scope("repository%3Aa%2Fb%3Apull%2Cpush"),
        scope("repository%3Ac%3Apull"),
    ];
    assert_eq!(realm.lines(), wanted, "one token for each repository and right");
    let basic = format!("Basic {BASIC}");
    assert!(realm.requests().iter().all(|r| r.header("authorization") == Some(&basic)));
    let requests = server.requests();
    assert_eq!(requests.iter().filter(|r| r.header("authorization").is_none()).count(), 1);
    assert!(
        !format!("{requests:?}").contains(PASSWORD) && !format!("{requests:?}").contains(BASIC)
    );
}

#[test]
fn an_identity_token_is_traded_and_never_shown_to_the_registry() {
    let realm =
        Recorder::start_tls(&TLS, |_| answer(200).body(json!({"access_token": TOKEN}).to_string()));
    let challenge = format!("Bearer realm=\"{}/token\",service=s", realm.url);
    let server = Recorder::start_tls(&TLS, wanting(&[&challenge], &format!("Bearer {TOKEN}")));
    let credentials = Given::new(Credential::Token(IDENTITY.to_owned()));
    open(&server.url, Arc::clone(&credentials) as Arc<dyn Credentials>).resolve("a", "v1").unwrap();
    let [traded] = &realm.requests()[..] else { panic!("{:?}", realm.lines()) };
    assert_eq!(traded.line(), "POST /token");
    assert_eq!(
        String::from_utf8_lossy(&traded.body),
        "service=s&scope=repository%3Aa%3Apull&grant_type=refresh_token&client_id=kdistro&refresh_token=planted-identity"
    );
    assert!(!format!("{:?}", server.requests()).contains(IDENTITY));
    let basic = Recorder::start_tls(&TLS, wanting(&["Basic realm=r"], "x"));
    let error = open(&basic.url, credentials).resolve("a", "v1").unwrap_err();
    assert!(whole(&error).contains("there is only an identity token"), "{}", whole(&error));
    knows_nothing(&basic);
}

#[test]
fn nothing_goes_by_plain_http_to_a_realm_that_an_https_registry_names() {
    for credentials in [
        Given::password() as Arc<dyn Credentials>,
        Given::new(Credential::Token(IDENTITY.to_owned())),
        Arc::new(Anonymous),
    ] {
        let realm = Recorder::start(|_| token_answer());
        let challenge = format!("Bearer realm=\"{}/token\",service=s, Basic realm=x", realm.url);
        let server = Recorder::start_tls(&TLS, wanting(&[&challenge], "x"));
        let error = open(&server.url, credentials).resolve("a", "v1").unwrap_err();
        let expected =
            format!("it wants credentials to be shown to `{}/token`; expected https", realm.url);
        assert!(whole(&error).contains(&expected), "{}", whole(&error));
        assert!(realm.requests().is_empty(), "{:?}", realm.lines());
        knows_nothing(&server);
    }
}

#[test]
fn a_registry_without_tls_cannot_send_credentials_off_this_machine() {
    for realm in
        ["https://auth.example/token", "http://auth.example/token", "https://u@localhost/", "x", ""]
    {
        let challenge = format!("Bearer realm=\"{realm}\"");
        let server = Recorder::start(wanting(&[&challenge], "x"));
        let error = open(&server.url, Given::password()).resolve("a", "v1").unwrap_err();
        let expected = format!("it wants credentials to be shown to `{realm}`");
        assert!(whole(&error).contains(&expected), "{}", whole(&error));
        knows_nothing(&server);
    }
    let realm = Recorder::start(|_| token_answer());
    let challenge = format!("Bearer realm=\"{}/token?account=a\"", realm.url);
    let server = Recorder::start(wanting(&[&challenge], &format!("Bearer {TOKEN}")));
    open(&server.url, Given::password()).resolve("a", "v1").unwrap();
    assert_eq!(realm.lines(), ["GET /token?account=a&scope=repository%3Aa%3Apull"]);
}

#[test]
fn credentials_do_not_follow_a_redirect_to_another_host() {
    let content = br#"{"schemaVersion":2}"#;
    let stranger = Recorder::start_tls(&TLS, |_| answer(200).body(&content[..]));
    let to = format!("{}/elsewhere?signature=1", stranger.url);
    let basic = format!("Basic {BASIC}");
    let server = Recorder::start_tls(&TLS, move |request| match request.header("authorization") {
        Some(shown) if shown == basic => answer(307).with("Location", &to),
        _ => answer(401).with("WWW-Authenticate", "Basic realm=r"),
    });
    let registry = open(&server.url, Given::password());
    assert_eq!(registry.read_manifest("a", &sha256(content)).unwrap().unwrap(), content);
    assert_eq!(stranger.lines(), ["GET /elsewhere?signature=1"]);
    knows_nothing(&stranger);
    // Nor to plain http, with or without them.
    let plain = Recorder::start(|_| answer(200).body(&content[..]));
    let to = format!("{}/elsewhere?secret=1", plain.url);
    let server = Recorder::start_tls(&TLS, move |_| answer(307).with("Location", &to));
    let error = open(&server.url, Given::password()).resolve("a", "v1").unwrap_err();
    let expected = format!("leads to `{}/elsewhere`, which is no https address", plain.url);
    assert!(whole(&error).contains(&expected), "{}", whole(&error));
    assert!(plain.requests().is_empty());
}

#[test]
fn credentials_do_not_follow_a_redirect_of_the_token_server() {
    let stranger = Recorder::start_tls(&TLS, |_| token_answer());
    for credentials in [Given::password(), Given::new(Credential::Token(IDENTITY.to_owned()))] {
        let to = format!("{}/token", stranger.url);
        let realm = Recorder::start_tls(&TLS, move |_| answer(308).with("Location", &to));
        let challenge = format!("Bearer realm=\"{}/token\"", realm.url);
        let server = Recorder::start_tls(&TLS, wanting(&[&challenge], "x"));
        let error = open(&server.url, credentials).resolve("a", "v1").unwrap_err();
        assert!(whole(&error).contains("it answered 308"), "{}", whole(&error));
        is_clean(&whole(&error));
    }
    assert!(stranger.requests().is_empty(), "{:?}", stranger.lines());
}

#[test]
fn an_upload_is_never_sent_to_another_host() {
    let stranger = Recorder::start_tls(&TLS, |_| answer(201));
    let to = format!("{}/upload?_state=secret", stranger.url);
    let server = Recorder::start_tls(&TLS, move |request| match request.method.as_str() {
        "POST" => answer(202).with("Location", &to),
        _ => answer(404),
    });
    let error =
        open(&server.url, Given::password()).push_blob("a", Content::Bytes(b"x")).unwrap_err();
    let expected = format!("leads to `{}/upload`, away from itself", stranger.url);
    assert!(whole(&error).contains(&expected), "{}", whole(&error));
    assert!(stranger.requests().is_empty(), "{:?}", stranger.lines());
}

#[test]
fn what_was_refused_is_replaced_once() {
    // A password that never is good enough.
    let server = Recorder::start_tls(&TLS, wanting(&["Basic realm=r"], "x"));
    let credentials = Given::password();
    let registry = open(&server.url, Arc::clone(&credentials) as Arc<dyn Credentials>);
    let error = registry.resolve("a", "v1").unwrap_err();
    assert!(whole(&error).contains("it answered 401"), "{}", whole(&error));
    let counts =
        [&credentials.asked, &credentials.refused].map(|count| count.load(Ordering::SeqCst));
    assert_eq!((counts, server.requests().len()), ([2, 1], 2), "the same is not shown twice");
    // A token server that refuses the password says so.
    let realm = Recorder::start_tls(&TLS, |_| answer(401).body(format!("no {PASSWORD} {BASIC}")));
    let challenge = format!("Bearer realm=\"{}/token\"", realm.url);
    let server = Recorder::start_tls(&TLS, wanting(&[&challenge], "x"));
    let error = open(&server.url, Given::password()).resolve("a", "v1").unwrap_err();
    assert!(whole(&error).contains("it answered 401"), "{}", whole(&error));
    assert!(whole(&error).ends_with("no *** ***"), "{}", whole(&error));
    assert_eq!(realm.requests().len(), 2);
}

#[test]
fn who_is_not_let_in_is_told_by_which_registry_and_what_helps() {
    for status in [401, 403] {
        let wanting = move |_: &Request| answer(status).with("WWW-Authenticate", "Basic realm=r");
        let server = Recorder::start_tls(&TLS, wanting);
        let host = server.url.trim_start_matches("https://");
        let registry = open(&server.url, Given::password());
        let told = |registry: &HttpRegistry| whole(&registry.resolve("a", "v1").unwrap_err());
        let named = told(&registry);
        assert!(named.contains(&format!(" to GET /v2/a/manifests/v1 of {host}")), "{named}");
        // Credentials from elsewhere are not got by docker.
        assert!(!named.contains("help:"), "{named}");
        let helped = told(&registry.with_docker_login());
        assert!(
            helped.contains(&format!("\nhelp:  log in with `docker login {host}`, ")),
            "{helped}"
        );
    }
}

/// Gives another password after the first was refused.
struct Renewed;

impl Credentials for Renewed {
    fn of(&self, _: &str, refused: bool) -> Result<Option<Credential>, CredentialsError> {
        let password = if refused { PASSWORD } else { "expired" };
        Ok(Some(Credential::Basic { user: USER.to_owned(), password: password.to_owned() }))
    }
}

#[test]
fn a_password_that_expired_is_renewed_in_the_middle_of_a_push() {
    let server = Recorder::start_tls(&TLS, |request| {
        if request.header("authorization") != Some(&format!("Basic {BASIC}")) {
            return answer(401).with("WWW-Authenticate", "Basic realm=r");
        }
        match request.method.as_str() {
            "POST" => answer(202).with("Location", "/u"),
            "PUT" => answer(201),
            _ => answer(404),
        }
    });
    open(&server.url, Arc::new(Renewed)).push_blob("a", Content::Bytes(b"x")).unwrap();
    // And one that expires just when the content is sent.
    let puts = AtomicUsize::new(0);
    let server = Recorder::start_tls(&TLS, move |request| match request.method.as_str() {
        "PUT" if puts.fetch_add(1, Ordering::SeqCst) == 0 => answer(401),
        "PUT" => answer(201),
        "POST" => answer(202).with("Location", "/u"),
        _ => answer(404),
    });
    open(&server.url, Arc::new(Renewed)).push_blob("a", Content::Bytes(b"x")).unwrap();
    let puts: Vec<_> = server.requests().into_iter().filter(|r| r.method == "PUT").collect();
    assert_eq!(puts.iter().map(|put| put.body.as_slice()).collect::<Vec<_>>(), [b"x", b"x"]);
}

#[test]
fn a_token_is_used_until_it_expires_or_is_refused() {
    let given = Arc::new(AtomicUsize::new(0));
    for (life, wanted) in [(300, 1), (0, 3)] {
        given.store(0, Ordering::SeqCst);
        let counter = Arc::clone(&given);
        let realm = Recorder::start_tls(&TLS, move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
            answer(200).body(json!({"token": TOKEN, "expires_in": life}).to_string())
        });
        let challenge = format!("Bearer realm=\"{}/token\"", realm.url);
        let server = Recorder::start_tls(&TLS, wanting(&[&challenge], &format!("Bearer {TOKEN}")));
        let registry = open(&server.url, Given::password());
        for _ in 0..3 {
            registry.resolve("a", "v1").unwrap();
        }
        assert_eq!(given.load(Ordering::SeqCst), wanted, "expires in {life} s");
    }
    // The registry takes each token once only.
    let number = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&number);
    let realm = Recorder::start_tls(&TLS, move |_| {
        let number = counter.fetch_add(1, Ordering::SeqCst);
        answer(200).body(json!({"token": format!("{TOKEN}-{number}")}).to_string())
    });
    let challenge = format!("Bearer realm=\"{}/token\"", realm.url);
    let used = AtomicUsize::new(0);
    let server = Recorder::start_tls(&TLS, move |request| {
        let good = format!("Bearer {TOKEN}-{}", used.load(Ordering::SeqCst));
        if request.header("authorization") != Some(&good) {
            return answer(401).with("WWW-Authenticate", &challenge);
        }
        used.fetch_add(1, Ordering::SeqCst);
        answer(200).body("{}")
    });
    let registry = open(&server.url, Given::password());
    for _ in 0..3 {
        registry.resolve("a", "v1").unwrap();
    }
    assert_eq!(number.load(Ordering::SeqCst), 3);
}

#[test]
fn among_several_challenges_one_that_is_known_is_met() {
    for challenges in [
        &["Negotiate", "Basic realm=r"][..],
        &["Negotiate oRMw, Digest realm=\"d\", nonce=\"n\", Basic realm=\"r\", charset=\"UTF-8\""],
    ] {
        let server = Recorder::start_tls(&TLS, wanting(challenges, &format!("Basic {BASIC}")));
        open(&server.url, Given::password()).resolve("a", "v1").unwrap();
    }
    let realm = Recorder::start_tls(&TLS, |_| token_answer());
    let bearer = format!("Bearer realm=\"{}\"", realm.url);
    let server =
        Recorder::start_tls(&TLS, wanting(&["Basic realm=r", &bearer], &format!("Bearer {TOKEN}")));
    open(&server.url, Given::password()).resolve("a", "v1").unwrap();
    assert!(!format!("{:?}", server.requests()).contains(BASIC), "a token was asked for as well");
    for (challenges, expected) in [
        (
            &["Negotiate, Digest realm=d"][..],
            "takes them by `negotiate`, `digest`; expected `basic`",
        ),
        (&[], "takes them by nothing"),
        (&["Basic realm=r", "Basic realm=\"x"], "cannot be read at byte 14: expected the end of"),
    ] {
        let server = Recorder::start_tls(&TLS, wanting(challenges, "x"));
        let error = open(&server.url, Given::password()).resolve("a", "v1").unwrap_err();
        assert!(whole(&error).contains(expected), "{}", whole(&error));
        knows_nothing(&server);
    }
}

#[test]
fn no_error_shows_what_a_registry_repeats() {
    for status in [400, 403, 418] {
        let realm = Recorder::start_tls(&TLS, |_| token_answer());
        let bearer = format!("Bearer realm=\"{}\"", realm.url);
        for challenge in ["Basic realm=r".to_owned(), bearer] {
            let server =
                Recorder::start_tls(&TLS, move |request| match request.header("authorization") {
                    None => answer(401).with("WWW-Authenticate", &challenge),
                    Some(shown) => {
                        answer(status).body(format!("you said {shown}, also {PASSWORD}"))
                    }
                });
            let error = open(&server.url, Given::password()).resolve("a", "v1").unwrap_err();
            let shown = format!("{} {error:?}", whole(&error));
            is_clean(&shown);
            assert!(shown.contains("you said"), "{shown}");
        }
    }
    // What no token server should answer.
    for body in [
        format!("\"{TOKEN}\""),
        format!("{{\"token\": [\"{TOKEN}\"]}}"),
        format!("{{\"token\": \"{TOKEN}\\n\"}}"),
        "{}".to_owned(),
        json!({"token": ""}).to_string(),
    ] {
        let realm = Recorder::start_tls(&TLS, move |_| answer(200).body(body.clone()));
        let bearer = format!("Bearer realm=\"{}\"", realm.url);
        let server = Recorder::start_tls(&TLS, wanting(&[&bearer], "x"));
        let error = open(&server.url, Given::password()).resolve("a", "v1").unwrap_err();
        is_clean(&format!("{} {error:?}", whole(&error)));
    }
}

/// Ways to write a password that readers of a log undo.
fn writings() -> Vec<String> {
    let percent =
        |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<Vec<_>>().concat();
    vec![
        PASSWORD.to_owned(),
        PASSWORD.to_uppercase(),
        BASIC.to_owned(),
        TOKEN.to_owned(),
        percent(PASSWORD),
        // `printf planted-password | base64`, and behind something else
        "cGxhbnRlZC1wYXNzd29yZA==".to_owned(),
        "eHBsYW50ZWQtcGFzc3dvcmQ".to_owned(),
        PASSWORD.replace('-', "\\u002d"),
    ]
}

/// Nothing of what was planted is in a text, in whatever writing.
#[track_caller]
fn is_clean_of(writing: &str, text: &str) {
    is_clean(text);
    let has = text.to_lowercase().contains(&writing.to_lowercase());
    assert!(!has, "{writing} is shown: {text}");
}

#[test]
fn no_error_shows_what_a_registry_puts_where_it_says_something_else() {
    for writing in writings() {
        let realm = Recorder::start_tls(&TLS, |_| token_answer());
        let bearer = format!("Bearer realm=\"{}\"", realm.url);
        for challenge in ["Basic realm=r", &bearer] {
            // Who shows no token has none to hide.
            if writing == TOKEN && challenge != bearer {
                continue;
            }
            let (challenge, said) = (challenge.to_owned(), writing.clone());
            let server = Recorder::start_tls(&TLS, move |request| {
                if request.header("authorization").is_none() {
                    return answer(401).with("WWW-Authenticate", &challenge);
                }
                match (request.method.as_str(), request.path.as_str()) {
                    ("POST", "/v2/away/blobs/uploads/") => {
                        answer(202).with("Location", format!("https://b.example/{said}/"))
                    }
                    ("POST", "/v2/lost/blobs/uploads/") => {
                        answer(202).with("Location", format!("/{said}/"))
                    }
                    ("POST", _) => answer(202).with("Location", "/u"),
                    ("PUT", path) if path.contains(&said) => answer(403).body("no"),
                    ("PUT", _) => answer(201).with("Docker-Content-Digest", &said),
                    ("GET", "/v2/away/manifests/v1") => {
                        answer(307).with("Location", format!("ftp://b.example/{said}"))
                    }
                    ("GET", "/v2/realm/manifests/v1") => answer(401)
                        .with("WWW-Authenticate", format!("Bearer realm=\"ftp://{said}\"")),
                    ("GET", "/v2/schemes/manifests/v1") => {
                        let scheme = said.trim_end_matches('=').replace('\\', "");
                        answer(401).with("WWW-Authenticate", scheme)
                    }
                    ("GET", "/v2/body/manifests/v1") => {
                        answer(403).body(format!("{}{said}", "x".repeat(390)))
                    }
                    ("GET", path) if path.contains("/referrers/") => answer(200)
                        .body("{\"manifests\":[]}")
                        .with("Link", format!("</{said}>; rel=next")),
                    _ => answer(404),
                }
            });
            let registry = open(&server.url, Given::password());
            let upload = |to| registry.push_blob(to, Content::Bytes(b"x")).unwrap_err();
            let read = |of| registry.resolve(of, "v1").unwrap_err();
            for error in [
                upload("away"),
                upload("lost"),
                upload("other"),
                read("away"),
                read("realm"),
                read("schemes"),
                read("body"),
                registry.referrers("a", &sha256(b"x")).unwrap_err(),
            ] {
                is_clean_of(&writing, &format!("{} {error:?}", whole(&error)));
            }
        }
    }
}

#[test]
fn no_part_of_a_long_token_is_shown() {
    let token = TOKEN.repeat(200);
    let given = token.clone();
    let realm =
        Recorder::start_tls(&TLS, move |_| answer(200).body(json!({"token": given}).to_string()));
    let challenge = format!("Bearer realm=\"{}\"", realm.url);
    let server = Recorder::start_tls(&TLS, move |request| match request.header("authorization") {
        None => answer(401).with("WWW-Authenticate", &challenge),
        Some(shown) => answer(403).body(format!("you said {shown}")),
    });
    let error = open(&server.url, Given::password()).resolve("a", "v1").unwrap_err();
    is_clean(&format!("{} {error:?}", whole(&error)));
    assert!(whole(&error).ends_with("you said Bearer ***"), "{}", whole(&error));
}

#[test]
fn no_error_shows_more_of_an_address_than_its_site() {
    for (url, shown) in [
        ("https://planted-user:planted-password@a.example", "`…`"),
        ("ftp://u:planted-password@b@a.example", "`…`"),
        ("planted-password", "`…`"),
        ("https://A.example:443/planted-password", "`https://a.example/…`"),
        ("https://a.example?planted-password", "`https://a.example/…`"),
    ] {
        let error = HttpRegistry::open(Address { url, ..Address::default() }, Arc::new(Anonymous));
        let error = error.unwrap_err();
        is_clean(&format!("{error} {error:?}"));
        let expected = format!("{shown} is not the address of a registry; expected ");
        assert!(error.to_string().starts_with(&expected), "{error}");
    }
}

#[test]
fn only_the_authorities_that_were_given_are_trusted() {
    let server = Recorder::start_tls(&TLS, |_| answer(200).body("{}"));
    let at = |ca| Address { url: &server.url, prefix: "", ca };
    let open = |ca| HttpRegistry::open(at(ca), Arc::new(Anonymous)).unwrap();
    open(Some(&TLS.ca)).resolve("a", "v1").unwrap();
    open(Some(&TLS.ca)).with_public_authorities().unwrap().resolve("a", "v1").unwrap();
    let other = Tls::new();
    for registry in [
        open(None),
        open(Some(&other.ca)),
        open(Some(&other.ca)).with_public_authorities().unwrap(),
    ] {
        let error = whole(&registry.resolve("a", "v1").unwrap_err());
        assert!(error.contains("invalid peer certificate"), "{error}");
    }
    assert_eq!(server.requests().len(), 2);
    let error = HttpRegistry::open(at(Some(b"x")), Arc::new(Anonymous)).unwrap_err();
    assert!(error.to_string().contains("not certificates in PEM"), "{error}");
}
