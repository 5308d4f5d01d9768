//! Several channels in one run and at once: what they share is made once, and one that fails does not stop the others.

use std::{fs, process::Stdio};

use serde_json::Value;

use crate::{
    run::Ran,
    shared::DATE,
    tiny::{CHANNEL, MANIFEST, Tiny},
};

/// The channel that ships the same project.
const OTHER: &str = "9-2";
/// Its file in the build repository.
const OTHER_FILE: &str = "release-manifests/9-2/channel.yaml";
/// Its manifest in the store.
const OTHER_MANIFEST: &str = "kubernetes-9-2/kubernetes-9-2-1.yaml";

/// A world in which two channels ship the same project at the same tag; the second one is not locked.
fn two_channels(tiny: Tiny) -> Tiny {
    let first = tiny.read("release-manifests/9-1/channel.yaml");
    tiny.write(OTHER_FILE, &first.replace("9-1", OTHER));
    tiny.commit();
    tiny
}

fn events(ran: &Ran, kind: &str) -> usize {
    let events = ran.err.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events.filter(|event| event["event"] == kind).count()
}

#[test]
fn what_two_channels_share_is_built_once() {
    let tiny = two_channels(Tiny::unbuilt());
    tiny.run(&["lock", CHANNEL, OTHER])
        .expect(0)
        .prints(&["channel.lock.yaml is current", "wrote release-manifests/9-2/channel.lock.yaml"]);
    tiny.commit();
    let ran = tiny.run(&["cut", CHANNEL, OTHER, "--date", DATE, "--json"]).expect(0);
    assert_eq!(events(&ran, "step-finished"), 1, "{}", ran.err);
    let answer: Value = serde_json::from_str(&ran.out).unwrap();
    for (index, release) in ["9-1-1", "9-2-1"].iter().enumerate() {
        assert_eq!(answer[index]["answer"], "yes");
        assert_eq!(answer[index]["result"]["release"], *release);
    }
    tiny.verify(MANIFEST).expect(0);
    tiny.verify(OTHER_MANIFEST).expect(0);
    tiny.run(&["plan", CHANNEL, OTHER]).expect(0).prints(&["== all channels", "0 to build"]);
    // Named twice is meant once.
    let again = tiny.run(&["cut", OTHER, CHANNEL, OTHER]).expect(0);
    assert_eq!(again.out.matches("== channel 9-2").count(), 1, "{}", again.out);
    again.prints(&["9-2    nothing changed", "9-1    nothing changed"]);
}

#[test]
fn a_channel_that_fails_does_not_stop_the_others_and_the_worst_answer_counts() {
    let tiny = two_channels(Tiny::ready());
    let ran = tiny.run(&["cut", OTHER, CHANNEL, "--date", DATE]).expect(2);
    let ran = ran.says(&["help:  run `kdistro lock 9-2`"]);
    ran.prints(&["9-2    failed: ", "9-1    released 9-1-1"]);
    tiny.verify(MANIFEST).expect(0);
    assert!(!tiny.store().join("kubernetes-9-2").exists());
    // A lock that is not current is a no, and a channel that nobody knows could not be told.
    tiny.run(&["lock", "--check", CHANNEL, OTHER]).expect(1);
    tiny.run(&["lock", "--check", CHANNEL, "9-3", OTHER])
        .expect(2)
        .says(&["unknown channel `9-3`"]);
    assert!(!tiny.path("repository/release-manifests/9-2/channel.lock.yaml").exists());
}

#[test]
fn two_channels_that_are_cut_at_once_in_one_home_both_complete() {
    let tiny = two_channels(Tiny::unbuilt());
    tiny.run(&["lock", OTHER]).expect(0);
    tiny.commit();
    let start = |channel: &str| {
        let mut cut = tiny.kdistro(&["cut", channel, "--date", DATE]);
        cut.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let running = [start(CHANNEL), start(OTHER)];
    for child in running {
        Ran::of(&child.wait_with_output().unwrap()).expect(0);
    }
    tiny.verify(MANIFEST).expect(0);
    tiny.verify(OTHER_MANIFEST).expect(0);
    assert_eq!(fs::read_dir(tiny.path("home/announcements")).unwrap().count(), 2);
}
