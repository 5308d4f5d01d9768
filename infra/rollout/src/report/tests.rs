use std::os::unix::fs::PermissionsExt;

use proptest::prelude::*;

use super::*;
use crate::history::{Alarm, CHANNEL, Change, Event, Follows, Held, Target, What};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn subscriber(folder: &std::path::Path, more: &str) -> Subscriber {
    let text = format!(
        "cluster: dev\nstore: store\nkey: release.pub\nenvironment: local\nchannel: \"1-20\"\n\
         driver: {{exec: {{command: [\"true\"]}}}}\nstate: state\n{more}\n"
    );
    Subscriber::read(&folder.join("rollout.yaml"), text.as_bytes()).unwrap()
}

fn event(second: i64, what: What) -> Event {
    Event {
        at: at(second),
        release: Some("1-20-2".parse().unwrap()),
        what,
        text: "a text".to_owned(),
    }
}

fn read(folder: &std::path::Path, key: &PublicKey) -> Report {
    Report::open(&std::fs::read(folder.join("reports/dev.json")).unwrap(), key).unwrap()
}

#[test]
fn a_report_says_what_runs_and_what_is_held_and_is_written_when_that_changes_or_is_old() {
    let folder = tempfile::tempdir().unwrap();
    let subscriber = subscriber(folder.path(), "report: {folder: reports}");
    let history = History::open(&folder.path().join("history")).unwrap();
    let number = |second| report(&history, &subscriber, at(second)).unwrap().map(|it| it.number);
    assert_eq!(number(1), Some(1));
    let key = key(&subscriber).unwrap();
    let key = PublicKey::from_spki_der(key.public_key()).unwrap();
    assert_eq!(read(folder.path(), &key).releases, []);
    let mode = folder.path().join("state/report.key").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "the key is its owner's");
    assert_eq!(number(2), None, "nothing is new");
    let target = Target { name: "1-20-2".parse().unwrap(), digest: sha256(b"two") };
    history.write(&event(3, What::Kept), &Change::Runs(&target)).unwrap();
    let release = "1-20-3".parse().unwrap();
    let held = Held { release, since: at(4), why: "a secret".to_owned(), failed: true };
    history.write(&event(4, What::Held), &Change::Hold(&held)).unwrap();
    assert_eq!(number(5), Some(2));
    let report = read(folder.path(), &key);
    let told: Vec<_> =
        report.releases.iter().map(|it| (it.release.number, it.verdict, it.since)).collect();
    assert_eq!(told, [(2, Verdict::Kept, at(3)), (3, Verdict::RolledBack, at(4))]);
    assert_eq!((report.cluster.as_str(), report.time), ("dev", at(5)));
    assert!(!serde_json::to_string(&report).unwrap().contains("secret"), "no reason is reported");
    assert_eq!(number(86_400), None);
    assert_eq!(number(86_406), Some(3), "a day later it is written again");
    assert_eq!(number(1), Some(4), "and where the clock went back");
    std::fs::remove_file(folder.path().join("reports/dev.json")).unwrap();
    assert_eq!(number(2), Some(5), "and where it is gone");
}

#[test]
fn nothing_is_reported_where_the_subscriber_does_not_agree() {
    let folder = tempfile::tempdir().unwrap();
    let history = History::open(&folder.path().join("history")).unwrap();
    let subscriber = subscriber(folder.path(), "");
    assert_eq!(report(&history, &subscriber, at(1)).unwrap(), None);
    assert!(!folder.path().join("state").exists(), "no key is made");
}

fn sample() -> Report {
    let releases = vec![Reported {
        release: "1-20-2".parse().unwrap(),
        digest: Some(sha256(b"two")),
        verdict: Verdict::Kept,
        since: at(1),
    }];
    let (schema, cluster) = (SCHEMA.to_owned(), "dev".to_owned());
    Report { schema, cluster, number: 7, time: at(2), releases }
}

/// What was seen of a channel that offers the third release.
fn seen() -> Seen {
    let index = json!({
        "apiVersion": "distro.kdistro.dev/v1alpha1", "kind": "ReleaseChannel",
        "metadata": {"name": "1-20"}, "spec": {"channel": "1-20", "environment": "local"},
        "status": {"active": true, "latestRelease": 3, "releases": [{"number": 3, "digest": sha256(b"three")}]},
    });
    let seen = json!({
        "logKey": sha256(b"key"), "logSize": 7, "logRoot": sha256(b"root"),
        "channels": {"1-20": {"entry": 6, "index": index}},
    });
    serde_json::from_value(seen).unwrap()
}

/// A history with something of everything, in words that are nobody else's business.
fn told_much(history: &History, subscriber: &Subscriber) {
    let text = || "a planted secret".to_owned();
    history.follow(&Follows::from(subscriber)).unwrap();
    history.see("local", &seen()).unwrap();
    let two = Target { name: "1-20-2".parse().unwrap(), digest: sha256(b"two") };
    history.write(&event(1, What::Kept), &Change::Runs(&two)).unwrap();
    for (number, failed) in [(3, true), (4, false)] {
        let release = format!("1-20-{number}").parse().unwrap();
        let held = Held { release, since: at(number), why: text(), failed };
        history.write(&event(number, What::Held), &Change::Hold(&held)).unwrap();
    }
    history.write(&event(5, What::Paused), &Change::Pause(&text())).unwrap();
    history.alarm(CHANNEL, Some(&Alarm { since: at(6), text: text() })).unwrap();
    history.looked(at(7), false, &text()).unwrap();
}

#[test]
fn what_is_signed_is_the_cluster_its_releases_their_verdicts_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let more = "report: {folder: reports}\npolicy: {windows: [\"weekdays 02:00 to 05:00\"]}\nwave: {after: 2d}";
    let subscriber = subscriber(folder.path(), more);
    let history = History::open(&folder.path().join("history")).unwrap();
    told_much(&history, &subscriber);
    report(&history, &subscriber, at(8)).unwrap().unwrap();
    let file = std::fs::read(folder.path().join("reports/dev.json")).unwrap();
    let file: Value = serde_json::from_slice(&file).unwrap();
    assert_eq!(file.as_object().unwrap().keys().collect::<Vec<_>>(), ["bundle", "report"]);
    let signed: Value = serde_json::from_str(file["report"].as_str().unwrap()).unwrap();
    // All of it: whoever adds a field tells more of a cluster than its subscriber agreed to.
    let [one, three, four, eight] = [1, 3, 4, 8].map(at);
    let expected = json!({
        "schema": "kdistro.dev/report/v1", "cluster": "dev", "number": 1, "time": eight,
        "releases": [
            {"release": "1-20-2", "digest": sha256(b"two"), "verdict": "kept", "since": one},
            {"release": "1-20-3", "digest": sha256(b"three"), "verdict": "rolled-back", "since": three},
            {"release": "1-20-4", "verdict": "held", "since": four},
        ],
    });
    assert_eq!(signed, expected);
    let bundle = &file["bundle"];
    assert_eq!(
        bundle.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["mediaType", "messageSignature", "verificationMaterial"]
    );
    // Nor does a field hide that is left out while it is empty.
    let Report { schema: _, cluster: _, number: _, time: _, releases } = sample();
    let [Reported { release: _, digest: _, verdict: _, since: _ }] = &*releases else { panic!() };
}

fn keys() -> (KeyFile, PublicKey) {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyFile::generate(&folder.path().join("key")).unwrap();
    let public = PublicKey::from_spki_der(key.public_key()).unwrap();
    (key, public)
}

#[test]
fn only_the_clusters_own_key_is_believed_and_only_this_form() {
    let ((key, public), (_, other)) = (keys(), keys());
    let signed = sample().sign(&key).unwrap();
    assert_eq!(Report::open(&signed, &public).unwrap(), sample());
    assert!(matches!(Report::open(&signed, &other), Err(ReportError::Forged(_))));
    let newer = Report { schema: "kdistro.dev/report/v2".to_owned(), ..sample() };
    let error = Report::open(&newer.sign(&key).unwrap(), &public).unwrap_err();
    assert!(matches!(error, ReportError::Schema { .. }), "{error}");
    let mut spaced = signed.clone();
    spaced.push(b' ');
    assert!(matches!(Report::open(&spaced, &public), Err(ReportError::Form(_))));
}

proptest! {
    #[test]
    fn no_changed_byte_is_believed(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let (key, public) = keys();
        let mut signed = sample().sign(&key).unwrap();
        let place = place.index(signed.len());
        prop_assume!(signed[place] != byte);
        signed[place] = byte;
        // What may change is what nobody signs, and says nothing: the fingerprint, the media type.
        prop_assert!(Report::open(&signed, &public).map_or(true, |report| report == sample()));
    }
}
