use std::error::Error;

use proptest::prelude::*;

use super::*;

const WHOLE: &str = r#"cluster: dev-1
store: https://releases.example/kdistro
key: keys/release.pub
trustedRoot: /etc/kdistro/trusted_root.json
revokedFrom: 1234
environment: aws
channel: 1-36
hear:
  poll: 10m
  folder: announcements
  webhook: {listen: "127.0.0.1:8443", secret: secret}
  sns: {listen: "[::]:8444", topics: ["arn:aws:sns:us-east-1:123456789012:releases"]}
  sqs: {queue: releases, region: us-east-1, endpoint: "http://127.0.0.1:9324"}
policy:
  severity: security
  maximumAge: 30d
  requiredAttestations: ["https://slsa.dev/provenance/v1", rebuild, gate.sigstore.json]
  windows: ["weekdays 02:00 to 05:00", "sat,sun 00:00 to 06:00"]
  timeZone: Europe/Berlin
  emergency: critical
  approval: manual
wave: {after: 24h, behind: [{cluster: first, key: keys/first.pub}, {cluster: second, key: /keys/second.pub}], reports: {folder: others}}
driver: {devcluster: {name: one, home: clusters}}
lease: {kubeconfig: admin.conf}
checks: [{builtin: true}, {command: [./mine, --fast]}, {job: job.yaml}, {conformance: {e2eTest: tests/e2e.test}}]
report: {folder: reports, key: report.key}
tell: {listen: "127.0.0.1:9464"}
notify: {webhook: {address: "https://hooks.example.org/a", secret: notify.secret}}
state: state
"#;
const SMALL: &str = "cluster: dev\nstore: store\nkey: release.pub\nenvironment: local\nchannel: 1-20\ndriver: {exec: {command: [deploy]}}\nstate: state\n";

fn read(text: &str) -> Result<Subscriber, String> {
    Subscriber::read(Path::new("/etc/kdistro/rollout.yaml"), text.as_bytes()).map_err(|error| {
        let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        format!("{error}{source}")
    })
}

#[test]
fn everything_that_can_be_said_is_read() {
    let file = read(WHOLE).unwrap();
    assert_eq!(file.store, "https://releases.example/kdistro");
    assert_eq!(file.key, Path::new("/etc/kdistro/keys/release.pub"));
    assert_eq!(file.trusted_root.as_deref(), Some(Path::new("/etc/kdistro/trusted_root.json")));
    assert_eq!(file.revoked_from, Some(1234));
    assert_eq!(file.hear.poll, Length::from_secs(600));
    assert_eq!(file.hear.webhook.unwrap().secret, Path::new("/etc/kdistro/secret"));
    let attestations = [
        Attestation::Predicate("https://slsa.dev/provenance/v1".to_owned()),
        Attestation::File("rebuild.sigstore.json".to_owned()),
        Attestation::File("gate.sigstore.json".to_owned()),
    ];
    assert_eq!(file.policy.required_attestations, attestations);
    assert_eq!(file.policy.windows.len(), 2);
    assert_eq!(file.policy.approval, Approval::Manual);
    assert!(file.policy.is_emergency(Severity::Critical));
    assert!(!file.policy.is_emergency(Severity::Security));
    assert_eq!(file.checks[2], Check::Job("/etc/kdistro/job.yaml".into()));
    let specs = Specs { e2e_test: Some("/etc/kdistro/tests/e2e.test".into()), registry: None };
    assert_eq!(file.checks[3], Check::Conformance(specs));
    let RollOutBy::Devcluster(driver) = file.driver else { panic!("another driver") };
    assert_eq!(driver.home, Path::new("/etc/kdistro/clusters"));
}

#[test]
fn who_goes_before_is_read() {
    let wave = read(WHOLE).unwrap().wave;
    assert_eq!(wave.after, Length::from_secs(86_400));
    let behind: Vec<_> =
        wave.behind.iter().map(|it| (it.cluster.as_str(), it.key.to_str().unwrap())).collect();
    let expected = [("first", "/etc/kdistro/keys/first.pub"), ("second", "/keys/second.pub")];
    assert_eq!(behind, expected);
    let folder = wave.reports.unwrap().folder;
    assert_eq!(folder.as_deref(), Some(Path::new("/etc/kdistro/others")));
    assert!(read(SMALL).unwrap().wave.behind.is_empty());
}

#[test]
fn who_is_told_is_read() {
    let file = read(WHOLE).unwrap();
    assert_eq!(file.report.unwrap().key.as_deref(), Some(Path::new("/etc/kdistro/report.key")));
    assert_eq!(file.notify.webhook.unwrap().secret, Path::new("/etc/kdistro/notify.secret"));
    assert_eq!(file.tell.unwrap().listen.port(), 9464);
}

#[test]
fn a_lease_and_a_repository_begin_where_the_file_lies_too() {
    let lease = read(WHOLE).unwrap().lease.unwrap();
    assert_eq!(lease.kubeconfig.as_deref(), Some(Path::new("/etc/kdistro/admin.conf")));
    assert_eq!(lease.namespace, "kube-system");
    for (repository, expected) in [
        ("clusters.git", "/etc/kdistro/clusters.git"),
        ("/srv/clusters.git", "/srv/clusters.git"),
        ("git@git.example:clusters.git", "git@git.example:clusters.git"),
        ("ssh://git.example/clusters.git", "ssh://git.example/clusters.git"),
    ] {
        let gitops = format!(
            "{{gitops: {{repository: \"{repository}\", path: ., branch: a/b, wait: [a]}}}}"
        );
        let RollOutBy::Gitops(place) =
            read(&SMALL.replace("{exec: {command: [deploy]}}", &gitops)).unwrap().driver
        else {
            panic!("another driver")
        };
        assert_eq!(place.repository, expected);
        assert_eq!(place.timeout, Length::from_secs(1800));
    }
}

#[test]
fn little_must_be_said() {
    let file = read(SMALL).unwrap();
    assert_eq!(file.store, "/etc/kdistro/store");
    assert_eq!(file.hear.poll, Length::from_secs(300));
    assert!(!file.policy.is_emergency(Severity::Critical));
    let now = "2026-11-22T12:00:00Z".parse().unwrap();
    assert_eq!(file.policy.opens(now), Some(now));
}

/// What is put in place of what, and what is said of that.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("cluster: dev-1", "cluster: ../dev", "`cluster` is not a name; expected at most 63"),
    ("cluster: dev-1", "clutser: dev-1", "unknown field `clutser`, expected one of cluster"),
    (
        "https://releases",
        "http://releases",
        "`store` is not an address that can be used; expected an https",
    ),
    (
        "https://releases",
        "https://me:secret@releases",
        "`store` is not an address that can be used",
    ),
    ("key: keys/release.pub", "key: ''", "`key` is no path; expected a path"),
    ("revokedFrom: 1234", "revokedFrom: sha256:1234", "at `revokedFrom`: "),
    (
        "trustedRoot: /etc/kdistro/trusted_root.json\n",
        "",
        "`revokedFrom` has no log that it counts; expected `trustedRoot` beside it",
    ),
    ("environment: aws\n", "", "missing field `environment`"),
    ("environment: aws", "environment: a/b", "`environment` is not a name"),
    ("channel: 1-36", "channel: 1-36-7", "at `channel`: `1-36-7`"),
    ("poll: 10m", "poll: 10", "at `hear.poll`: "),
    ("poll: 10m", "poll: 0s", "`hear.poll` is 0s; expected 1 second to 1 day"),
    ("poll: 10m", "poll: 2d", "expected 1 second to 1 day"),
    (
        "127.0.0.1:8443",
        "localhost",
        "at `hear.webhook.listen`: `localhost` is nothing to listen on; expected an IP",
    ),
    (
        "arn:aws:sns:us-east-1",
        "arn:aws:sqs:us-east-1",
        "`hear.sns.topics` names another thing than topics",
    ),
    ("arn:aws:sns:us-east-1", "arn:aws:sns:evil.example/", "`hear.sns.topics` names another"),
    (
        "driver: {devcluster: {name: one, home: clusters}}",
        "driver: {exec: {command: [deploy]}}",
        "`checks` has no cluster; expected `kubeconfig` beside it",
    ),
    ("queue: releases", "queue: releases, topics: [releases]", "`hear.sqs.topics` names another"),
    (
        "https://hooks.example.org/a",
        "https://me:secret@hooks.example.org/a",
        "`notify.webhook.address` is not an address that can be used",
    ),
    (
        "notify: {",
        "notify: {sns: {topic: releases}, ",
        "`notify.sns.topic` is no topic; expected an ARN such as",
    ),
    (
        "cluster: dev-1",
        "resource: {}\ncluster: Dev_1",
        "`cluster` cannot be the name of a `Rollout`; expected",
    ),
    (
        "cluster: dev-1",
        "resource: {}\ncluster: dev-",
        "`cluster` cannot be the name of a `Rollout`",
    ),
    ("{folder: reports,", "{", "`report` names no place; expected one of `folder` and `bucket`"),
    ("{folder: reports,", "{folder: a, bucket: \"s3://reports\",", "`report` names two places"),
    ("{folder: reports,", "{folder: a, region: us-east-1,", "`report` has a region or an endpoint"),
    (
        "{folder: reports,",
        "{bucket: reports,",
        "`report.bucket` is no bucket; expected one such as",
    ),
    (
        "{folder: reports,",
        "{bucket: \"s3://reports\", endpoint: \"http://s3.example\",",
        "`report.endpoint` is not an address",
    ),
    ("127.0.0.1:9464", "9464", "at `tell.listen`: `9464` is nothing to listen on"),
    ("queue: releases", "queue: a/b", "`hear.sqs.queue` is no queue; expected the address"),
    ("http://127.0.0.1:9324", "http://sqs.example", "`hear.sqs.endpoint` is not an address"),
    ("region: us-east-1", "region: evil.example/#", "`hear.sqs.region` is not a region"),
    ("severity: security", "severity: high", "at `policy.severity`: unknown variant"),
    ("maximumAge: 30d", "maximumAge: 1 month", "at `policy.maximumAge`: `1 month` is not one that"),
    (
        ", rebuild,",
        ", a/b,",
        "at `policy.requiredAttestations[1]`: `a/b` is no attestation; expected",
    ),
    ("weekdays 02:00", "weekdays 2:00", "at `policy.windows[0]`: `2:00` is no time; expected days"),
    (
        "Europe/Berlin",
        "Europe/Atlantis",
        "at `policy.timeZone`: `Europe/Atlantis` is no time zone; expected",
    ),
    (
        "emergency: critical",
        "emergency: routine",
        "`policy.emergency` is `routine`; expected security",
    ),
    (
        "approval: manual",
        "approval: never",
        "at `policy.approval`: unknown variant `never`, expected",
    ),
    ("after: 24h", "after: -24h", "at `wave.after`: `-24h` is not one"),
    ("cluster: first", "cluster: ../first", "`wave.behind[0].cluster` is not a name"),
    ("cluster: first", "cluster: dev-1", "`wave.behind[0].cluster` is this cluster; expected one"),
    ("cluster: second", "cluster: first", "`wave.behind[1].cluster` is named twice; expected each"),
    ("key: keys/first.pub", "key: ''", "`wave.behind[0].key` is no path"),
    ("{cluster: first, key: keys/first.pub}", "first", "at `wave.behind[0]`: "),
    (", reports: {folder: others}", "", "`wave.behind` has no reports; expected `reports` beside"),
    (
        "24h, behind",
        "24h, reports: {folder: a}} #",
        "`wave.reports` are of nobody; expected `behind`",
    ),
    ("{folder: others}", "{}", "`wave.reports` names no place; expected one of `folder` and"),
    ("{folder: others}", "{folder: ''}", "`wave.reports.folder` is no path"),
    ("{folder: others}", "{bucket: others}", "`wave.reports.bucket` is no bucket; expected one"),
    ("{folder: others}", "{folder: a, key: b}", "`wave.reports.key` signs nothing; expected no"),
    ("{devcluster: {name: one, home: clusters}}", "{kops: {}}", "unknown variant `kops`, expected"),
    (
        "{devcluster: {name: one, home: clusters}}",
        "{exec: {command: []}}",
        "`driver.exec.command` is no command; expected a program",
    ),
    (
        "{devcluster: {name: one, home: clusters}}",
        "{exec: {command: [a]}, devcluster: {name: a, home: b}}",
        "driver",
    ),
    (
        "{devcluster: {name: one, home: clusters}}",
        "{gitops: {repository: r, path: a/../../b, branch: main, wait: [a]}}",
        "`driver.gitops.path` leads elsewhere",
    ),
    (
        "{devcluster: {name: one, home: clusters}}",
        "{gitops: {repository: r, path: a, branch: --force, wait: [a]}}",
        "`driver.gitops.branch` is no branch",
    ),
    (
        "{devcluster: {name: one, home: clusters}}",
        "{gitops: {repository: --upload-pack=x, path: a, branch: b, wait: [a]}}",
        "`driver.gitops.repository` is none",
    ),
    (
        "{devcluster: {name: one, home: clusters}}",
        "{gitops: {repository: \"ext::sh -c x\", path: a, branch: b, wait: [a]}}",
        "`driver.gitops.repository` is none",
    ),
    (
        "{devcluster: {name: one, home: clusters}}",
        "{gitops: {repository: \"https://me:secret@host/r\", path: a, branch: b, wait: [a]}}",
        "`driver.gitops.repository` is none",
    ),
    (
        "{devcluster: {name: one, home: clusters}}",
        "{gitops: {repository: r, path: a, branch: \"b:refs/heads/c\", wait: [a]}}",
        "`driver.gitops.branch` is no branch",
    ),
    (
        "{devcluster: {name: one, home: clusters}}",
        "{gitops: {repository: r, path: a, branch: b}}",
        "missing field `wait`",
    ),
    (
        "{devcluster: {name: one, home: clusters}}",
        "{gitops: {repository: r, path: a, branch: b, wait: [a], timeout: 2d}}",
        "`driver.gitops.timeout` is 48h; expected 1 second to 1 day",
    ),
    (
        "{devcluster: {name: one, home: clusters}}",
        "{gitops: {repository: r, path: a, branch: b, wait: [a], author: {name: \"a<b\", email: c}}}",
        "`driver.gitops.author` names nobody",
    ),
    (
        "{devcluster: {name: one, home: clusters}}",
        "{gitops: {repository: r, path: a, branch: b, wait: [a], registry: \"https://r\"}}",
        "`driver.gitops.registry` is no registry",
    ),
    ("kubeconfig: admin.conf", "namespace: --all", "`lease.namespace` is not a name"),
    ("{builtin: true}", "{builtin: false}", "`checks[0].builtin` is false; expected true"),
    ("[./mine, --fast]", "['']", "`checks[1].command` is no command"),
    (
        "e2eTest: tests/e2e.test",
        "registry: \"https://a.example\"",
        "`checks[3].conformance.registry` is no registry",
    ),
    ("state: state", "state: state\nstate: other", "duplicate"),
];

#[test]
fn every_mistake_is_told_with_file_field_and_what_is_expected() {
    for (from, to, expected) in MISTAKES {
        assert!(WHOLE.contains(from), "{from}");
        let error = read(&WHOLE.replacen(from, to, 1)).unwrap_err();
        assert!(error.starts_with("/etc/kdistro/rollout.yaml: "), "{error}");
        assert!(error.contains(expected), "{error}\nexpected: {expected}");
        assert!(!error.contains("secret@"), "a password is shown: {error}");
    }
    let error = read(&SMALL.replace("local", "[https://me:secret@host]")).unwrap_err();
    assert!(!error.contains("secret"), "{error}");
    let error = Subscriber::read(Path::new("r.yaml"), b"\xff").unwrap_err();
    assert_eq!(error.to_string(), "r.yaml: is not UTF-8");
}

proptest! {
    #[test]
    fn no_bytes_panic(at in 0..WHOLE.len(), bytes in proptest::collection::vec(any::<u8>(), 0..8), cut in any::<bool>()) {
        let mut text = WHOLE.as_bytes().to_vec();
        let end = if cut { text.len() } else { at };
        text.splice(at..end, bytes);
        let _ = Subscriber::read(Path::new("rollout.yaml"), &text);
    }
}
