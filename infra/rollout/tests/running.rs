//! `kdistro-rollout run` as it goes on: it finds what no message tells, rolls out once what many tell, and nothing that is
//! forged.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

// The publisher of the tests of kdistro-verify, of which this needs a part.
#[path = "../../../verify/tests/store/content.rs"]
mod content;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../../../verify/tests/store/image.rs"]
mod image;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../../../verify/tests/store/publisher.rs"]
mod publisher;

#[path = "follow/announced.rs"]
mod announced;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "follow/program.rs"]
mod program;
#[path = "follow/scene.rs"]
mod scene;
#[path = "running/sns.rs"]
mod sns;

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use kdistro_border::{Announced, Announcer, FileAnnouncer, WebhookAnnouncer};
use kdistro_formats::{layout, release::ReleaseRef};
use serde_json::json;

use announced::{SECRET, announce, announcement};
use content::name;
use program::Running;
use scene::Scene;

/// An address that nobody listens on.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A subscriber who looks once, and then only when a folder has news, with who writes into that.
fn by_folder() -> (Scene, Box<dyn Announcer>) {
    let scene = Scene::new("poll: 1d, folder: announcements");
    let announcer = FileAnnouncer::new(scene.path("announcements"));
    (scene, Box::new(announcer))
}

/// The same by our webhook.
fn by_webhook() -> (Scene, Box<dyn Announcer>) {
    let address = free_address();
    let hear = format!("poll: 1d, webhook: {{listen: \"{address}\", secret: secret}}");
    let scene = Scene::new(&hear);
    fs::write(scene.path("secret"), SECRET).unwrap();
    let address = format!("http://{address}/webhook");
    (scene, Box::new(WebhookAnnouncer::open(&address, SECRET.as_bytes()).unwrap()))
}

fn announce_as(announcer: &dyn Announcer, id: &str, release: &ReleaseRef) -> Announced {
    announce(announcer, id, &announcement("test", release.number, release.digest))
}

/// Waits until it was looked so many times.
fn await_looks(scene: &Scene, running: &Running, count: u64) {
    running.wait(&format!("{count} looks"), || (scene.looks() >= count).then_some(()));
}

#[test]
fn what_no_message_tells_is_found_by_looking() {
    // No way in at all, and one whose messages are withheld.
    for hear in ["poll: 1s", "poll: 1s, folder: announcements"] {
        let mut scene = Scene::new(hear);
        let running = scene.run(&[]);
        running.until("1-20-1 runs");
        scene.release(2);
        scene.publish();
        running.until("1-20-2 runs");
        drop(running);
        assert_eq!(scene.done(), ["1-20-1", "1-20-2"], "{hear}");
    }
}

/// What is announced is right, and what the store holds under its name is not.
fn refuses_what_is_forged((mut scene, announcer): (Scene, Box<dyn Announcer>)) {
    let running = scene.run(&[]);
    running.until("1-20-1 runs");
    let release = scene.release(2);
    let file = layout::manifest(&name(2));
    let right = scene.publisher.read(&file);
    let mut wrong = right.clone();
    wrong[right.len() / 2] ^= 1;
    scene.publisher.write(&file, &wrong);
    scene.publish();
    announce_as(&*announcer, "once", &release);
    running.until("error: release 1-20-2 is not verified: ");
    let status = running.wait("alarm", || {
        let status = scene.status();
        status["alarms"]["channel"].is_object().then_some(status)
    });
    let alarm = status["alarms"]["channel"]["text"].as_str().unwrap();
    assert!(alarm.contains(&file), "{alarm}");
    assert_eq!(status["running"]["name"], "1-20-1");
    assert_eq!(scene.done(), ["1-20-1"]);
    // With the byte put right it is what was announced; a repeat would be no reason to look.
    scene.publisher.write(&file, right);
    scene.publish();
    let mut said = announcement("test", 2, release.digest);
    said["severity"] = json!("security");
    announce(&*announcer, "again", &said);
    running.until("1-20-2 runs");
    running.wait("end of the alarm", || {
        scene.status()["alarms"].as_object().unwrap().is_empty().then_some(())
    });
    assert_eq!(scene.done(), ["1-20-1", "1-20-2"]);
}

#[test]
fn a_forged_manifest_is_refused_though_a_folder_announces_it_rightly() {
    refuses_what_is_forged(by_folder());
}

#[test]
fn a_forged_manifest_is_refused_though_the_webhook_announces_it_rightly() {
    refuses_what_is_forged(by_webhook());
}

#[test]
fn after_a_release_that_failed_the_same_process_rolls_out_the_next_one() {
    let mut scene = Scene::new("poll: 1s");
    scene.spoil(2);
    let mut running = scene.run(&[]);
    running.until("1-20-1 runs");
    scene.release(2);
    scene.publish();
    running.until("1-20-2 failed and is held, the release before runs again: command: ");
    // It looks again and does not try again.
    running.until("1-20-1 runs, and nothing newer can be used; 1-20-2 is held: ");
    scene.release(3);
    scene.publish();
    running.until("1-20-3 runs");
    assert!(running.goes_on(), "{}", running.said());
    assert_eq!(scene.done(), ["1-20-1", "1-20-2", "1-20-1", "1-20-3"]);
    let status = scene.status();
    assert_eq!(status["running"]["name"], "1-20-3", "{status}");
    assert_eq!(status["held"][0]["release"], "1-20-2", "{status}");
}

/// Announces a release five times, and older ones after newer ones; returns what the first announcer was told of repeats.
fn rolls_out_once((mut scene, announcer): (Scene, Box<dyn Announcer>)) -> Vec<Announced> {
    let running = scene.run(&[]);
    running.until("1-20-1 runs");
    let [second, third] = [2, 3].map(|number| scene.release(number));
    scene.publish();
    let five = |name: &str, release: &ReleaseRef| -> Vec<_> {
        (0..5).map(|copy| announce_as(&*announcer, &format!("{name} {copy}"), release)).collect()
    };
    let told = five("third", &third);
    running.until("1-20-3 runs");
    await_looks(&scene, &running, 2);
    // The older one arrives after the newer one.
    five("second", &second);
    await_looks(&scene, &running, 3);
    let fourth = scene.release(4);
    scene.publish();
    five("fourth", &fourth);
    running.until("1-20-4 runs");
    five("third again", &third);
    five("fourth again", &fourth);
    // What came by itself would be looked at by itself.
    thread::sleep(Duration::from_secs(2));
    let first = scene.publisher.index.status.releases[0].clone();
    announce_as(&*announcer, "first", &first);
    await_looks(&scene, &running, 5);
    drop(running);
    assert_eq!(scene.done(), ["1-20-1", "1-20-3", "1-20-4"]);
    assert_eq!(scene.looks(), 5, "a repeat is no reason to look");
    let status = scene.status();
    assert!(status["alarms"].as_object().unwrap().is_empty(), "an older one is no alarm: {status}");
    told
}

#[test]
fn what_a_folder_repeats_or_brings_too_late_is_rolled_out_once_or_not_at_all() {
    rolls_out_once(by_folder());
}

#[test]
fn what_the_webhook_repeats_or_brings_too_late_is_rolled_out_once_or_not_at_all() {
    let told = rolls_out_once(by_webhook());
    let repeated = told.iter().filter(|told| **told == Announced::Repeated).count();
    assert_eq!((told[0], repeated), (Announced::New, 4), "{told:?}");
}
