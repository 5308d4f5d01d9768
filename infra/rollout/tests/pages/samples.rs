//! Pages of a cluster and of a fleet as they may be, with texts that would do harm if they were not escaped.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use kdistro_devcluster::ComponentName::{
    Etcd, KubeApiserver, KubeControllerManager, KubeScheduler, Kubelet,
};
use kdistro_formats::Digest;
use kdistro_rollout::{
    fleet::{Cluster, Fleet, Ignored, fixes::Fix},
    history::{
        Alarm, Decided, Direction, Event, Follows, Held, Intent, Look, Looks, Standing, Target,
        UnderWay, What,
    },
    plan::Step,
    report::{Reported, Verdict},
    tell,
};

const HARM: &str = "<script>alert(1)</script> <b>bold</b> <img src=x>";
const WHY: &str = "kube-apiserver: kube-apiserver ended (exit status: 1): listen tcp 127.0.0.1:6443: bind: address already in use";

fn now() -> Timestamp {
    "2026-11-23T02:21:40Z".parse().unwrap()
}

/// So many minutes before now.
fn ago(minutes: i64) -> Timestamp {
    Timestamp::from_second(now().as_second() - 60 * minutes).unwrap()
}

fn target(number: u8) -> Target {
    let name = format!("1-20-{number}").parse().unwrap();
    Target { name, digest: Digest::from_bytes([number.wrapping_mul(37); 32]) }
}

fn event(minutes: i64, number: u8, what: What, text: &str) -> Event {
    Event { at: ago(minutes), release: Some(target(number).name), what, text: text.to_owned() }
}

fn events() -> Vec<Event> {
    let mut events = vec![
        event(4400, 1, What::Decided, "1-20-1 is rolled out: it is the first here"),
        event(4400, 1, What::Began, "6 steps from 1-20-1"),
        event(4399, 1, What::Kept, "the cluster runs it"),
        event(
            1500,
            2,
            What::Decided,
            "1-20-2 waits for the next window, which opens at 2026-11-22T02:00:00Z",
        ),
        event(1461, 2, What::Decided, "1-20-2 is rolled out: it is newer than 1-20-1"),
        event(1461, 2, What::Began, "6 steps from 1-20-1"),
    ];
    let steps = [
        "snapshot of etcd",
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
    ];
    for (number, step) in steps.iter().enumerate() {
        events.push(event(1460, 2, What::Step, &format!("{step} ({} of 6)", number + 1)));
    }
    events.push(event(1459, 2, What::Kept, "the cluster runs it"));
    events.extend([
        event(61, 3, What::Decided, "1-20-3 is rolled out: it is newer than 1-20-2"),
        event(61, 3, What::Began, "6 steps from 1-20-2"),
        event(60, 3, What::Failed, WHY),
        event(60, 3, What::Held, WHY),
        event(59, 3, What::RolledBack, "1-20-2 runs again"),
        event(30, 4, What::Held, HARM),
    ]);
    events
}

/// A cluster where nothing is to be done.
fn calm() -> Standing {
    let look = |minutes, times: i64, text: &str| {
        let (since, at, text) = (ago(minutes + 5 * (times - 1)), ago(minutes), text.to_owned());
        Look { since, at, times: times.unsigned_abs(), succeeded: true, text }
    };
    let mut last = vec![
        look(61, 280, "1-20-2 runs, which is the newest of channel 1-20"),
        look(59, 1, &format!("1-20-3 failed and is held, the release before runs again: {WHY}")),
    ];
    let why = format!("1-20-2 runs, and nothing newer can be used; 1-20-3 is held: {WHY}");
    last.push(look(3, 11, &why));
    let held = |number, minutes, why: &str, failed| Held {
        release: target(number).name,
        since: ago(minutes),
        why: why.to_owned(),
        failed,
    };
    Standing {
        follows: Some(Follows {
            cluster: "dev-berlin-1".to_owned(),
            environment: "production".to_owned(),
            channel: "1-20".parse().unwrap(),
        }),
        running: Some(target(2)),
        running_since: Some(ago(1459)),
        held: vec![held(3, 60, WHY, true), held(4, 30, HARM, false)],
        decided: Some(Decided {
            what: Intent::Nothing,
            release: Some(target(2).name),
            why,
            until: None,
            since: ago(59),
        }),
        looks: Looks { succeeded: Some(ago(3)), last },
        counts: BTreeMap::from([(What::Kept, 2), (What::RolledBack, 1)]),
        events: events(),
        ..Standing::default()
    }
}

fn busy() -> Standing {
    let steps = [Etcd, KubeApiserver, KubeControllerManager, KubeScheduler].map(Step::Replace);
    let steps =
        [&[Step::Snapshot, Step::Images], &steps[..], &[Step::Drain, Step::Replace(Kubelet)]];
    let under_way = UnderWay {
        from: target(2),
        to: target(5),
        steps: steps.concat(),
        done: 3,
        direction: Direction::Forward,
    };
    let mut standing = Standing { under_way: Some(under_way), ..calm() };
    standing.events.push(event(1, 5, What::Began, "8 steps from 1-20-2"));
    standing.events.push(event(0, 5, What::Step, "etcd (3 of 8)"));
    standing
}

/// A cluster that needs somebody.
fn alarmed() -> Standing {
    let text = "1-20-2 runs, but the channel's index does not list it".to_owned();
    let mut standing = busy();
    if let Some(under_way) = &mut standing.under_way {
        under_way.direction = Direction::Back(HARM.to_owned());
    }
    standing.paused = Some("holidays".to_owned());
    standing.alarms = BTreeMap::from([("channel".to_owned(), Alarm { since: ago(9), text })]);
    standing
}

fn waiting() -> Standing {
    let decided = Decided {
        what: Intent::Approve,
        release: Some(target(5).name),
        why: "1-20-5 is verified, and waits for somebody to approve it".to_owned(),
        until: None,
        since: ago(12),
    };
    Standing { decided: Some(decided), held: Vec::new(), ..calm() }
}

fn fleet() -> Fleet {
    let reported = |number: u8, minutes, verdict| {
        let Target { name, digest } = target(number);
        Reported { release: name, digest: Some(digest), verdict, since: ago(minutes) }
    };
    let cluster = |(number, name): (i64, &str)| Cluster {
        name: name.to_owned(),
        number: 40,
        reported: ago(if number == 4 { 14_000 } else { 7 + 31 * number }),
        silent: number == 4,
        runs: Some(reported(
            if number % 3 == 2 { 1 } else { 2 },
            1459 + 90 * number,
            Verdict::Kept,
        )),
        holds: if number == 2 { vec![reported(2, 900, Verdict::RolledBack)] } else { Vec::new() },
        fix: Some(match number {
            2 | 5 => Fix::Lacks,
            3 => Fix::Unknown("it runs another 1-20-2 than the channel has".to_owned()),
            _ => Fix::Has,
        }),
    };
    let names = [
        "ci-east-1",
        "ci-east-2",
        "dev-berlin-1",
        "dev-munich-1",
        "lab-7",
        "staging-1",
        "staging-2",
    ];
    let clusters = (0..).zip(names).map(cluster).collect();
    let why = "it is report 6, and report 7 was seen before".to_owned();
    let ignored = vec![Ignored { file: "dev-hamburg-1.json".to_owned(), why }];
    Fleet { clusters, missing: vec!["lab-8".to_owned()], ignored }
}

/// Writes them all into a folder.
pub(crate) fn write(folder: &Path) -> Vec<PathBuf> {
    let pages =
        [("calm", calm()), ("busy", busy()), ("alarmed", alarmed()), ("waiting", waiting())];
    let pages = pages.map(|(name, standing)| (name, tell::page::page(&standing, now())));
    let fleet = kdistro_rollout::fleet::page::page(&fleet(), Some("CVE-2026-1234"), now());
    let write = |(name, page): (&str, String)| {
        let file = folder.join(format!("{name}.html"));
        fs::write(&file, page).unwrap();
        file
    };
    pages.into_iter().chain([("fleet", fleet)]).map(write).collect()
}
