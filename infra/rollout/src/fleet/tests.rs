use kdistro_border::KeyFile;
use kdistro_formats::Digest;
use proptest::prelude::*;

use super::{forerunners::hear, *};
use crate::policy::{Forerunner, Reports, Wave};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A fleet of one key: reports and keys in a folder that ends with it.
struct Scene {
    folder: tempfile::TempDir,
    key: KeyFile,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["reports", "keys"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let key = KeyFile::generate(&folder.path().join("key")).unwrap();
        Self { folder, key }
    }

    fn know(&self, cluster: &str) {
        let file = self.folder.path().join(format!("keys/{cluster}.pub"));
        fs::write(file, self.key.public_key_pem().unwrap()).unwrap();
    }

    fn put(&self, file: &str, report: &Report) {
        let bytes = report.sign(&self.key).unwrap();
        fs::write(self.folder.path().join("reports").join(file), bytes).unwrap();
    }

    fn gather(&self, seen: &Seen) -> Fleet {
        let keys = keys(&self.folder.path().join("keys")).unwrap();
        gather(&Place::Folder(self.folder.path().join("reports")), &keys, seen).unwrap()
    }
}

fn report(cluster: &str, number: u64) -> Report {
    let release = |number: u8, verdict| Reported {
        release: format!("1-20-{number}").parse().unwrap(),
        digest: Some(Digest::from_bytes([number; 32])),
        verdict,
        since: at(5),
    };
    Report {
        schema: "kdistro.dev/report/v1".to_owned(),
        cluster: cluster.to_owned(),
        number,
        time: at(10),
        releases: vec![release(1, Verdict::Kept), release(2, Verdict::RolledBack)],
    }
}

#[test]
fn a_fleet_is_what_known_keys_signed_and_the_rest_is_said() {
    let scene = Scene::new();
    for name in ["east", "west", "north"] {
        scene.know(name);
    }
    scene.put("east.json", &report("east", 1));
    scene.put("west.json", &report("east", 2));
    scene.put("south.json", &report("south", 1));
    fs::write(scene.folder.path().join("reports/north.json"), "{}").unwrap();
    std::os::unix::fs::symlink("east.json", scene.folder.path().join("reports/link.json")).unwrap();
    let fleet = scene.gather(&Seen::default());
    let [east] = &fleet.clusters[..] else { panic!("{fleet:?}") };
    assert_eq!((east.name.as_str(), east.number, east.reported), ("east", 1, at(10)));
    assert_eq!(east.runs.as_ref().unwrap().release.to_string(), "1-20-1");
    assert_eq!(east.holds[0].verdict, Verdict::RolledBack);
    assert_eq!(fleet.missing, ["north", "west"]);
    let whys: Vec<_> = fleet.ignored.iter().map(|it| (it.file.as_str(), it.why.as_str())).collect();
    for (file, why) in [
        ("link.json", "symbolic link"),
        ("north.json", "not a signed report"),
        ("south.json", "the key of this cluster is not known"),
        ("west.json", "it is a report of another cluster, east"),
    ] {
        assert!(whys.iter().any(|it| it.0 == file && it.1.contains(why)), "{file}: {whys:?}");
    }
    assert_eq!(fleet.outcome(), Outcome::Differs);
}

#[test]
fn an_older_report_in_the_place_of_a_newer_one_does_not_count() {
    let scene = Scene::new();
    scene.know("east");
    scene.put("east.json", &report("east", 7));
    let fleet = scene.gather(&Seen::default());
    let seen = Seen::default().with(&fleet);
    assert_eq!(scene.gather(&seen), fleet, "the same report again counts");
    scene.put("east.json", &report("east", 6));
    let replayed = scene.gather(&seen);
    assert!(replayed.clusters.is_empty());
    assert_eq!(replayed.ignored[0].why, "it is report 6, and report 7 was seen before");
    assert_eq!(seen.clone().with(&replayed), seen, "what was seen is not forgotten");
    let text = serde_json::to_string(&seen).unwrap();
    assert_eq!(serde_json::from_str::<Seen>(&text).unwrap(), seen);
}

/// A wave behind clusters of a scene.
fn behind(scene: &Scene, clusters: &[&str]) -> Wave {
    let path = |name: &str| scene.folder.path().join(name);
    let forerunner = |cluster: &&str| {
        let key = path(&format!("keys/{cluster}.pub"));
        Forerunner { cluster: (*cluster).to_owned(), key }
    };
    let folder = Some(path("reports"));
    let reports = Reports { folder, bucket: None, region: None, endpoint: None, key: None };
    let behind = clusters.iter().map(forerunner).collect();
    Wave { behind, reports: Some(reports), ..Wave::default() }
}

#[test]
fn of_a_place_only_those_are_heard_that_go_before_and_each_reason_is_its_own() {
    let scene = Scene::new();
    for name in ["east", "west", "north"] {
        scene.know(name);
        scene.put(&format!("{name}.json"), &report(name, 1));
    }
    let state = scene.folder.path().join("state");
    let wave = behind(&scene, &["east", "south", "north"]);
    let long = format!("{{\"{}\":1}}", "a\u{301}".repeat(1000));
    fs::write(scene.folder.path().join("reports/north.json"), long).unwrap();
    let fleet = hear(&wave, &state);
    let [east] = &fleet.clusters[..] else { panic!("{fleet:?}") };
    assert_eq!(east.name, "east");
    let whys: Vec<_> = fleet.ignored.iter().map(|it| (it.file.as_str(), it.why.as_str())).collect();
    let [("north.json", north), ("south.json", south)] = whys[..] else { panic!("{whys:?}") };
    assert!(north.starts_with("not a signed report: ") && north.len() <= 300, "{north}");
    assert!(south.starts_with("cannot read ") && south.contains("keys/south.pub"), "{south}");
    let seen = fs::read_to_string(state.join("seen-reports.json")).unwrap();
    assert_eq!(seen, "{\"east\":1}");
    assert_eq!(hear(&Wave::default(), &state), Fleet::default());
}

#[test]
fn who_goes_before_is_not_believed_of_an_older_report_whatever_was_heard_meanwhile() {
    let scene = Scene::new();
    scene.know("east");
    let state = scene.folder.path().join("state");
    let wave = behind(&scene, &["east"]);
    let heard = |number| {
        scene.put("east.json", &report("east", number));
        hear(&wave, &state)
    };
    assert_eq!(heard(7).clusters.len(), 1);
    assert_eq!(heard(6).ignored[0].why, "it is report 6, and report 7 was seen before");
    assert_eq!(heard(7).clusters.len(), 1);
    fs::write(state.join("seen-reports.json"), "nothing").unwrap();
    let fleet = heard(8);
    assert!(fleet.clusters.is_empty());
    assert!(fleet.ignored[0].why.contains("seen-reports.json: "), "{fleet:?}");
}

#[test]
fn who_was_not_heard_of_for_longer_than_asked_is_silent() {
    let scene = Scene::new();
    scene.know("east");
    scene.put("east.json", &report("east", 1));
    let mut fleet = scene.gather(&Seen::default());
    assert_eq!(fleet.outcome(), Outcome::Verified);
    for (now, is_silent) in [(70, false), (71, true)] {
        fleet.mark_silent(Length::from_secs(60), at(now));
        assert_eq!(fleet.clusters[0].silent, is_silent, "{now}");
    }
    assert_eq!(fleet.outcome(), Outcome::Differs);
    let table = page::table(&fleet, at(71));
    assert!(table.contains("east     1-20-1      1970-01-01T00:00:05Z  1 min 1 s ago   silent; holds 1-20-2 since 1970-01-01T00:00:05Z, where it failed\n"), "{table}");
}

#[test]
fn a_report_of_a_time_that_is_still_to_come_is_no_sign_of_life() {
    let scene = Scene::new();
    scene.know("east");
    scene.put("east.json", &Report { time: at(10_000), ..report("east", 1) });
    let mut fleet = scene.gather(&Seen::default());
    for (now, is_silent) in [(10_000, false), (6_400, false), (6_399, true), (10_061, true)] {
        fleet.mark_silent(Length::from_secs(60), at(now));
        assert_eq!(fleet.clusters[0].silent, is_silent, "{now}");
    }
    for text in [page::table(&fleet, at(9_880)), page::page(&fleet, None, at(9_880))] {
        assert!(text.contains("in 2 min") && !text.contains("2 min ago"), "{text}");
    }
}

#[test]
fn a_fleet_of_which_no_key_is_known_is_not_well() {
    let scene = Scene::new();
    let fleet = scene.gather(&Seen::default());
    assert_eq!((&fleet, fleet.outcome()), (&Fleet::default(), Outcome::Unknown));
    scene.know("east");
    assert_eq!(scene.gather(&Seen::default()).outcome(), Outcome::Differs);
}

#[test]
fn a_thousand_clusters_are_read_in_a_moment() {
    let scene = Scene::new();
    for number in 0..1000 {
        let name = format!("cluster-{number:04}");
        scene.know(&name);
        scene.put(&format!("{name}.json"), &report(&name, 1));
    }
    let begin = std::time::Instant::now();
    let fleet = scene.gather(&Seen::default());
    let took = begin.elapsed();
    assert_eq!((fleet.clusters.len(), fleet.outcome()), (1000, Outcome::Verified));
    let written = page::page(&fleet, None, at(20));
    assert!(written.contains("cluster-0999"));
    // The figure is a second of a release build; without optimization, on a busy machine, it may be a few.
    assert!(took.as_secs() < 10, "{took:?}");
}

fn markup(page: &str) -> Vec<&str> {
    page.split('<').skip(1).filter_map(|tag| Some(tag.split_once('>')?.0)).collect()
}

proptest! {
    #[test]
    fn no_name_and_no_reason_ever_becomes_markup(text in "\\PC{0,20}|[<>&\"'a/= \u{0}-\u{20}]{0,30}") {
        let written = |text: &str| {
            let mut cluster = Cluster::of(report(text, 1));
            cluster.fix = Some(Fix::Unknown(text.to_owned()));
            let ignored = vec![Ignored { file: text.to_owned(), why: text.to_owned() }];
            let fleet = Fleet { clusters: vec![cluster], missing: vec![text.to_owned()], ignored };
            page::page(&fleet, Some(text), at(20))
        };
        let (plain, hostile) = (written("X"), written(&text));
        prop_assert_eq!(markup(&plain), markup(&hostile));
    }
}
