//! What a store in a bucket says and leaves behind when the network, the service or the settings are bad.

use std::{fs, io, io::Read, thread};

use crate::bed::{BED, hides_secrets, told, unique};
use crate::bucket::{Bucket, settings};
use crate::deaf::Deaf;
use kdistro_aws::{Aws, AwsError, S3Settings, S3Store};
use kdistro_border::{Content, Created, Store, StoreError};
use kdistro_testbed::{Fault, Proxy, Request};
use kdistro_verify::hash::sha256;

/// Content that is sent in parts.
fn large() -> Vec<u8> {
    vec![7; 17 << 20]
}

/// Everything that a store does, once or again.
fn everything(store: &S3Store, folder: &std::path::Path) -> Result<(), StoreError> {
    let (path, content) = (folder.join("content"), vec![1; 400_000]);
    fs::write(&path, &content).unwrap();
    let file = Content::File { path: &path, digest: sha256(&content), size: 400_000 };
    store.create("small", Content::Bytes(b"small"))?;
    store.create("file", file)?;
    store.create("large", Content::Bytes(&large()))?;
    if store.read("log/checkpoint")?.is_none() {
        assert!(store.swap("log/checkpoint", None, b"one")?);
    }
    if store.read("log/checkpoint")?.as_deref() == Some(b"one") {
        assert!(store.swap("log/checkpoint", Some(b"one"), b"two")?);
    }
    assert_eq!(store.list("")?, ["file", "large", "log/checkpoint", "small"]);
    Ok(())
}

/// Checks what must be there when everything was done.
fn complete(store: &S3Store) {
    assert_eq!(store.read("small").unwrap().unwrap(), b"small");
    assert_eq!(store.read("log/checkpoint").unwrap().unwrap(), b"two");
    assert_eq!(store.stat("file").unwrap().unwrap().digest, sha256(&vec![1; 400_000]));
    assert_eq!(store.stat("large").unwrap().unwrap().digest, sha256(&large()));
}

/// Counts the requests of everything where nothing goes wrong.
fn requests() -> u64 {
    let (bucket, folder) = (Bucket::new(BED.servers.aws()), tempfile::tempdir().unwrap());
    let proxy = Proxy::start(bucket.url, |_| Fault::None).unwrap();
    everything(&bucket.store_at(&proxy.url()), folder.path()).unwrap();
    proxy.requests()
}

/// Runs a check for every number of a request, several at a time: most of them wait before they repeat something.
fn in_turn(check: impl Fn(u64) + Sync) {
    let all = requests();
    assert!((15..60).contains(&all), "{all} requests");
    thread::scope(|scope| {
        for remainder in 0..6 {
            let check = &check;
            scope.spawn(move || (1..=all).filter(|n| n % 6 == remainder).for_each(check));
        }
    });
}

fn status(code: u16, error: &str) -> Fault {
    let body = format!("<Error><Code>{error}</Code><Message>Message of {error}</Message></Error>");
    Fault::Status(code, body)
}

#[test]
fn one_fault_at_any_request_is_overcome() {
    in_turn(|number| {
        for kind in 0..3 {
            let bucket = Bucket::new(BED.servers.aws());
            let folder = tempfile::tempdir().unwrap();
            let rule = move |request: &Request| match (request.number == number, kind) {
                (false, _) => Fault::None,
                (true, 0) => status(500, "InternalError"),
                (true, 1) => Fault::Reset,
                (true, _) => Fault::ResetAfter,
            };
            let proxy = Proxy::start(bucket.url, rule).unwrap();
            let done = everything(&bucket.store_at(&proxy.url()), folder.path());
            assert!(done.is_ok(), "fault {kind} at request {number}: {done:?}");
            complete(&bucket.store(""));
            assert_eq!(bucket.uploads(), 0, "fault {kind} at request {number}");
        }
    });
}

#[test]
fn after_a_failure_at_any_request_a_second_run_completes() {
    in_turn(|number| {
        let bucket = Bucket::new(BED.servers.aws());
        let folder = tempfile::tempdir().unwrap();
        let rule = move |request: &Request| {
            let fault = status(403, "ExpiredToken");
            if request.number >= number { fault } else { Fault::None }
        };
        let proxy = Proxy::start(bucket.url, rule).unwrap();
        match everything(&bucket.store_at(&proxy.url()), folder.path()) {
            Ok(()) => {}
            Err(error) => {
                let text = told(&error);
                let expected = format!(
                    "bucket `{}` answers ExpiredToken: Message of ExpiredToken\nhelp:  the credentials have expired: get new ones and run this again",
                    bucket.name
                );
                assert!(text.contains(&expected), "request {number}: {text}");
            }
        }
        everything(&bucket.store(""), folder.path()).unwrap();
        complete(&bucket.store(""));
        let left = bucket.uploads();
        assert_eq!(left, 0, "request {number}");
    });
}

#[test]
fn one_object_that_may_not_be_written_is_named() {
    let bucket = Bucket::new(BED.servers.aws());
    let rule = |request: &Request| {
        if request.path.contains("secret-place") {
            status(403, "AccessDenied")
        } else {
            Fault::None
        }
    };
    let proxy = Proxy::start(bucket.url, rule).unwrap();
    let store = bucket.store_at(&proxy.url());
    assert_eq!(store.create("a", Content::Bytes(b"x")).unwrap(), Created::New);
    let expected = format!(
        "cannot reach `secret-place` in the store: bucket `{}` answers AccessDenied: Message of AccessDenied\n\
         help:  the role may not do this, or the thing belongs to another account: infra/aws lists the permissions that are needed",
        bucket.name
    );
    let large = large();
    for content in [&b"x"[..], &large] {
        let error = store.create("secret-place", Content::Bytes(content)).unwrap_err();
        assert_eq!(told(&error), expected);
    }
    // An answer to HEAD has no body: the reason is asked for.
    assert_eq!(told(&store.stat("secret-place").unwrap_err()), expected);
    assert_eq!(told(&store.read("secret-place").unwrap_err()), expected);
    assert_eq!(store.create("b", Content::Bytes(b"x")).unwrap(), Created::New);
}

#[test]
fn another_region_is_named() {
    let bucket = Bucket::new(BED.servers.aws());
    let redirect = "<Error><Code>PermanentRedirect</Code><Message>Use the endpoint</Message>\
        <Endpoint>releases.s3.eu-west-1.amazonaws.com</Endpoint></Error>";
    let proxy = Proxy::start(bucket.url, move |_| Fault::Status(301, redirect.to_owned())).unwrap();
    let store = bucket.store_at(&proxy.url());
    for error in [
        store.create("x", Content::Bytes(b"x")).unwrap_err(),
        store.read("x").unwrap_err(),
        store.stat("x").unwrap_err(),
        store.list("").unwrap_err(),
    ] {
        let text = told(&error);
        assert!(text.contains("answers PermanentRedirect: Use the endpoint\nhelp:  it is in the region eu-west-1: name that one in the settings"), "{text}");
        assert!(text.contains(&bucket.name), "{text}");
    }
}

#[test]
fn a_clock_that_is_wrong_is_named() {
    let bucket = Bucket::new(BED.servers.aws());
    let proxy = Proxy::start(bucket.url, |_| status(403, "RequestTimeTooSkewed")).unwrap();
    let error = bucket.store_at(&proxy.url()).list("").unwrap_err();
    let text = told(&error);
    assert!(
        text.ends_with("help:  the clock of this machine is wrong: set it and run this again"),
        "{text}"
    );
}

#[test]
fn a_bucket_that_does_not_exist_is_named() {
    let store = S3Store::new(&BED.aws_at(BED.servers.aws()), settings("absent", ""));
    for error in [
        store.create("x", Content::Bytes(b"x")).unwrap_err(),
        store.create("x", Content::Bytes(&large())).unwrap_err(),
        store.read("x").unwrap_err(),
        store.stat("x").unwrap_err(),
        store.list("").unwrap_err(),
        store.swap("log/checkpoint", None, b"x").unwrap_err(),
    ] {
        let text = told(&error);
        assert!(text.contains("bucket `absent` answers NoSuchBucket: "), "{text}");
        assert!(
            text.ends_with("help:  make it first, or correct its name, its region or the account"),
            "{text}"
        );
    }
}

#[test]
fn a_server_that_is_not_there_is_told() {
    let store = S3Store::new(&BED.aws_at("http://127.0.0.1:9"), settings("b", ""));
    let text = told(&store.list("").unwrap_err());
    assert!(text.contains("bucket `b` gives no answer: ") && text.contains("refused"), "{text}");
}

#[test]
fn missing_credentials_are_told() {
    let mut settings_ = BED.settings(BED.servers.aws());
    settings_.credentials = Some(BED.folder.path().join("absent"));
    let store = S3Store::new(&Aws::load(&settings_).unwrap(), settings("b", ""));
    let text = told(&store.list("").unwrap_err());
    assert!(text.contains("\nhelp:  name a profile, set AWS_ACCESS_KEY_ID"), "{text}");
}

#[test]
fn an_own_authority_is_believed_and_no_other() {
    let url = format!("https://{}", BED.servers.registry());
    let mut with_authority = BED.settings(&url);
    with_authority.authority = Some(fs::read(BED.servers.ca()).unwrap());
    let ask = |settings_| {
        let store = S3Store::new(&Aws::load(settings_).unwrap(), settings("b", ""));
        told(&store.list("").unwrap_err())
    };
    // What answers there is no store, but it answers.
    assert!(
        ask(&with_authority).contains("bucket `b` answers status 404"),
        "{}",
        ask(&with_authority)
    );
    let text = ask(&BED.settings(&url));
    assert!(text.contains("gives no answer: ") && text.contains("certificate"), "{text}");
    for junk in ["junk", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        with_authority.authority = Some(junk.into());
        assert!(matches!(Aws::load(&with_authority), Err(AwsError::Authority)), "{junk}");
    }
}

#[test]
fn a_store_that_serves_other_bytes_is_found_out() {
    let bucket = Bucket::new(BED.servers.aws());
    let content = b"some content of a document";
    bucket.store("").create("x", Content::Bytes(content)).unwrap();
    let proxy = Proxy::start(bucket.url, |_| Fault::Flip).unwrap();
    let text = told(&bucket.store_at(&proxy.url()).read("x").unwrap_err());
    let expected = format!("and says that it is {}", sha256(content));
    assert!(text.contains("serves sha256:") && text.ends_with(&expected), "{text}");
}

#[test]
fn an_answer_that_is_cut_is_asked_for_again() {
    let bucket = Bucket::new(BED.servers.aws());
    let content = vec![5; 300_000];
    bucket.store("").create("x", Content::Bytes(&content)).unwrap();
    for (cuts, is_overcome) in [(2, true), (3, false)] {
        let rule = move |request: &Request| {
            if request.number <= cuts { Fault::Cut(100_000) } else { Fault::None }
        };
        let proxy = Proxy::start(bucket.url, rule).unwrap();
        let store = bucket.store_at(&proxy.url());
        match store.read("x") {
            Ok(read) => assert!(is_overcome && read.unwrap() == content),
            Err(error) => {
                let text = told(&error);
                assert!(!is_overcome && text.contains("breaks off its answer: "), "{text}");
            }
        }
    }
    // What is read piece by piece cannot be asked for again: its end is an error, never the end of the content.
    let proxy = Proxy::start(bucket.url, |_| Fault::Cut(100_000)).unwrap();
    let store = bucket.store_at(&proxy.url());
    let mut reader = store.open("x").unwrap().unwrap();
    let error: io::Error = reader.read_to_end(&mut Vec::new()).unwrap_err();
    assert!(told(&error).contains("breaks off its answer"), "{error}");
}

#[test]
fn a_store_that_ignores_conditions_is_refused() {
    let bucket = Bucket::new(BED.servers.aws());
    for header in ["if-none-match", "if-match"] {
        let deaf = Deaf::start(bucket.url, header);
        let store = bucket.store_at(&deaf.url());
        for error in [
            store.create("x", Content::Bytes(b"x")).unwrap_err(),
            store.swap("log/checkpoint", None, b"x").unwrap_err(),
        ] {
            let text = told(&error).to_lowercase();
            let expected = format!(
                "ignores `{header}`: published names could be overwritten\nhelp:  take a store that honours conditional writes, or set `conditionalwrites: false`"
            );
            assert!(text.contains(&expected), "{text}");
        }
        assert_eq!(bucket.store("").list("").unwrap().len(), 0);
    }
}

#[test]
fn a_store_without_conditions_serves_a_single_publisher() {
    let (bucket, folder) = (Bucket::new(BED.servers.aws()), tempfile::tempdir().unwrap());
    let deaf = Deaf::start(bucket.url, "if-");
    let settings = S3Settings { conditional_writes: false, ..settings(&bucket.name, "") };
    let store = S3Store::new(&BED.aws_at(&deaf.url()), settings);
    everything(&store, folder.path()).unwrap();
    complete(&store);
    assert_eq!(store.create("small", Content::Bytes(b"small")).unwrap(), Created::Same);
    for content in [&b"other"[..], &vec![9; 17 << 20]] {
        let error = store.create("small", Content::Bytes(content)).unwrap_err();
        assert!(matches!(error, StoreError::Conflict { .. }), "{error}");
    }
    assert!(!store.swap("log/checkpoint", Some(b"one"), b"three").unwrap());
    complete(&store);
}

#[test]
fn secrets_are_never_shown() {
    let settings_ = BED.settings("http://127.0.0.1:9");
    hides_secrets(&settings_);
    let aws = Aws::load(&settings_).unwrap();
    hides_secrets(&aws);
    // The server says what it was shown.
    let rule = |request: &Request| {
        let shown = request.header("x-amz-security-token").unwrap_or("no token").to_owned();
        assert!(shown.contains(crate::bed::PLANTED), "{shown}");
        let headers = format!("<Token-0>{shown}</Token-0>");
        Fault::Status(
            400,
            format!("<Error><Code>InvalidToken</Code><Message>Bad</Message>{headers}</Error>"),
        )
    };
    let bucket = Bucket::new(BED.servers.aws());
    let proxy = Proxy::start(bucket.url, rule).unwrap();
    let store = bucket.store_at(&proxy.url());
    for error in [store.read("x").unwrap_err(), store.list(&unique("x")).unwrap_err()] {
        let text = told(&error);
        assert!(
            text.contains("answers InvalidToken: Bad\nhelp:  AWS does not know these credentials"),
            "{text}"
        );
    }
}

#[test]
fn a_quoted_request_does_not_show_the_token_of_the_session() {
    let rule = |request: &Request| {
        let token = request.header("x-amz-security-token").unwrap();
        let quoted =
            format!("GET&#10;/&#10;x-amz-date:1&#10;x-amz-security-token:{token}&#10;&#10;host");
        let message = format!("The request was '{quoted}'");
        Fault::Status(
            403,
            format!(
                "<Error><Code>SignatureDoesNotMatch</Code><Message>{message}</Message></Error>"
            ),
        )
    };
    let bucket = Bucket::new(BED.servers.aws());
    let proxy = Proxy::start(bucket.url, rule).unwrap();
    let text = told(&bucket.store_at(&proxy.url()).read("x").unwrap_err());
    assert!(text.contains("The request was 'GET / x-amz-date:1 x-amz-security-token…\n"), "{text}");
}

/// A page of a listing as S3 writes it.
fn page(names: &[&str], more: &str) -> String {
    let contents: Vec<_> = names
        .iter()
        .map(|name| format!("<Contents><Key>{name}</Key><Size>1</Size></Contents>"))
        .collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult><Name>b</Name><KeyCount>{}</KeyCount>{more}{}</ListBucketResult>",
        names.len(),
        contents.concat()
    )
}

fn listed(
    answers: impl Fn(&Request) -> String + Send + Sync + 'static,
) -> (Result<Vec<String>, String>, u64) {
    let rule = move |request: &Request| Fault::Status(200, answers(request));
    let proxy = Proxy::start(BED.servers.aws(), rule).unwrap();
    let store = S3Store::new(&BED.aws_at(&proxy.url()), settings("b", ""));
    (store.list("").map_err(|error| told(&error)), proxy.requests())
}

#[test]
fn a_listing_that_breaks_off_is_not_taken_for_all() {
    let last = "<IsTruncated>false</IsTruncated>";
    let whole = page(&["a/1", "b/2"], last);
    assert_eq!(
        listed({
            let whole = whole.clone();
            move |_| whole.clone()
        })
        .0
        .unwrap(),
        ["a/1", "b/2"]
    );
    for end in 0..whole.len() {
        let part = whole[..end].to_owned();
        let error = listed(move |_| part.clone()).0.unwrap_err();
        let is_named = error.contains("bucket `b` breaks off its list of names");
        assert!(is_named || error.contains("answers status 200"), "cut at {end}: {error}");
    }
    for (answer, expected) in [
        (page(&["a"], ""), "does not say whether its list of names goes on"),
        (
            page(&["a"], "<IsTruncated>true</IsTruncated>"),
            "does not say where its list of names goes on",
        ),
        (whole.replace("<Key>b/2</Key>", ""), "breaks off its list of names"),
        (whole.replace("<KeyCount>2", "<KeyCount>3"), "lists another number of names than it says"),
    ] {
        let error = listed(move |_| answer.clone()).0.unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_listing_without_end_is_refused() {
    let more = |token: &str| {
        format!(
            "<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>"
        )
    };
    let (error, asked) = listed(move |_| page(&["a"], &more("same")));
    let error = error.unwrap_err();
    assert!(error.contains("names one page of its list as the next of itself"), "{error}");
    assert_eq!(asked, 2);
    let (error, asked) = listed(move |request| page(&[], &more(&request.number.to_string())));
    let error = error.unwrap_err();
    assert!(error.contains("lists more than 10000 pages of names"), "{error}");
    assert_eq!(asked, 10_000);
}
