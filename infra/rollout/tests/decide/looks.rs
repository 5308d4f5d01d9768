//! The channel's index: authentic, never older than before, in a log that is neither cut nor forked.

use kdistro_formats::{Digest, channel::Yanked, layout};
use kdistro_rollout::decide::{Publication, Refused, Seen};
use kdistro_verify::{
    check::{Outcome, TrustSource},
    hash,
    log::{LogError, tile_path},
};
use tempfile::TempDir;

use crate::{Watched, channel, content::name, copy, look, look_in, publisher::Publisher, refused};

fn yank(publisher: &mut Publisher, number: u32) {
    publisher.index.status.yanked.push(Yanked { number, reason: "loses keys".to_owned() });
    publisher.write_index();
}

#[test]
fn an_authentic_index_is_read_and_followed() {
    let mut publisher = Publisher::with_releases();
    let first = look(&publisher, None).unwrap();
    assert_eq!(first.index.status.latest_release, 3);
    assert_eq!(first.head.size, publisher.leaf_count());
    let seen = first.seen(None);
    // Nothing new is no problem.
    assert_eq!(look(&publisher, Some(&seen)).unwrap().seen(None), seen);
    yank(&mut publisher, 3);
    let next = look(&publisher, Some(&seen)).unwrap();
    assert_eq!(next.index.status.yanked[0].reason, "loses keys");
    let entry = |seen: &Seen| seen.channels[&channel()].entry;
    assert!(entry(&next.seen(Some(&seen))) > entry(&seen));
    let json = serde_json::to_string(&next.seen(None)).unwrap();
    assert_eq!(serde_json::from_str::<Seen>(&json).unwrap(), next.seen(None));
}

#[test]
fn another_channel_of_the_same_log_is_followed_and_the_first_not_forgotten() {
    let mut publisher = Publisher::with_releases();
    let seen = look(&publisher, None).unwrap().seen(None);
    let mut next = publisher.index.clone();
    let name: kdistro_formats::ChannelName = "1-21".parse().unwrap();
    next.metadata.name = name.to_string();
    next.spec.channel = Some(name.clone());
    next.status.releases.clear();
    next.status.withheld.clear();
    next.status.latest_release = 0;
    std::mem::swap(&mut publisher.index, &mut next);
    publisher.write_index();
    let (reader, source) = (Watched::new(&publisher), publisher.source());
    let asked =
        Publication { reader: &reader, source: &source, environment: "test", channel: &name };
    let seen = asked.look(Some(&seen)).unwrap().seen(Some(&seen));
    assert_eq!(seen.channels.keys().collect::<Vec<_>>(), [&channel(), &name]);
    // Back on the first: it may not take back what it said, whatever was looked at meanwhile.
    publisher.index = next;
    publisher.index.status.withheld.clear();
    publisher.write_index();
    let (error, text) = refused(look(&publisher, Some(&seen)));
    assert!(matches!(error, Refused::TakenBack { .. }), "{text}");
}

#[test]
fn an_index_that_was_rolled_back_is_refused_though_it_is_signed() {
    let mut publisher = Publisher::with_releases();
    let file = layout::channel_index(&channel());
    let before = publisher.read(&file);
    yank(&mut publisher, 3);
    let seen = look(&publisher, None).unwrap().seen(None);
    publisher.write(&file, before);
    // Who never looked cannot know.
    look(&publisher, None).unwrap();
    let (error, text) = refused(look(&publisher, Some(&seen)));
    assert!(matches!(error, Refused::RolledBack { .. }), "{text}");
    assert!(text.contains("`releasechannels/1-20.yaml` was rolled back: it is entry"), "{text}");
    assert_eq!(error.outcome(), Outcome::Differs);
}

#[test]
fn an_index_that_takes_something_back_is_refused_though_it_is_newer() {
    let taken_back = |change: &dyn Fn(&mut Publisher)| {
        let mut publisher = Publisher::with_releases();
        yank(&mut publisher, 3);
        let seen = look(&publisher, None).unwrap().seen(None);
        change(&mut publisher);
        publisher.index.status.supported_until = Some("2027-01-01".to_owned());
        publisher.write_index();
        let (error, text) = refused(look(&publisher, Some(&seen)));
        assert!(matches!(error, Refused::TakenBack { .. }), "{text}");
        text
    };
    let text = taken_back(&|publisher| publisher.index.status.yanked.clear());
    assert!(text.contains("3 was yanked (loses keys), and is not any more"), "{text}");
    let text = taken_back(&|publisher| publisher.index.status.withheld.clear());
    assert!(
        text.contains("2 was withheld (the build host was lost), and is not any more"),
        "{text}"
    );
    let text = taken_back(&|publisher| publisher.index.status.releases.retain(|it| it.number != 1));
    assert!(text.contains("1 was offered, and is not listed any more"), "{text}");
    let text = taken_back(&|publisher| {
        publisher.index.status.releases[0].digest = Digest::from_bytes([1; 32]);
    });
    assert!(text.contains("1 was sha256:") && text.contains("and is another now"), "{text}");
}

#[test]
fn a_log_that_was_cut_is_refused() {
    let mut publisher = Publisher::with_releases();
    let old = TempDir::new().unwrap();
    copy(&publisher.root(), old.path());
    yank(&mut publisher, 3);
    let seen = look(&publisher, None).unwrap().seen(None);
    // A whole store of yesterday, each file of it signed.
    let source = publisher.source();
    look_in(old.path(), &source, None).unwrap();
    let (error, text) = refused(look_in(old.path(), &source, Some(&seen)));
    assert!(matches!(error, Refused::Log { source: LogError::Cut { .. }, .. }), "{text}");
    assert_eq!(error.outcome(), Outcome::Differs);
    // Only the head is of yesterday: then the index itself proves more than it has.
    publisher
        .write(layout::CHECKPOINT, std::fs::read(old.path().join(layout::CHECKPOINT)).unwrap());
    let (error, text) = refused(look(&publisher, None));
    assert!(matches!(error, Refused::Log { by: "the channel's index", .. }), "{text}");
}

#[test]
fn a_log_that_was_forked_is_refused() {
    let mut publisher = Publisher::with_releases();
    let seen = look(&publisher, None).unwrap().seen(None);
    // Another log by the same key: as long as the first, and longer.
    publisher = publisher.fork();
    while publisher.leaf_count() < seen.log_size + 3 {
        let leaf = format!("another leaf {}", publisher.leaf_count());
        publisher.append(leaf.into_bytes());
    }
    publisher.index.status.supported_until = Some("2027-01-01".to_owned());
    publisher.write_index();
    // Who never looked cannot know.
    look(&publisher, None).unwrap();
    let (error, text) = refused(look(&publisher, Some(&seen)));
    assert!(matches!(error, Refused::Log { by: "an earlier look", .. }), "{text}");
    assert!(matches!(error, Refused::Log { source: LogError::Inconsistent { .. }, .. }), "{text}");
}

#[test]
fn a_log_that_was_begun_anew_with_another_key_is_refused() {
    let publisher = Publisher::with_releases();
    let mut seen = look(&publisher, None).unwrap().seen(None);
    seen.log_key = Digest::from_bytes([1; 32]);
    let (error, text) = refused(look(&publisher, Some(&seen)));
    assert!(matches!(error, Refused::OtherLog { .. }), "{text}");
}

#[test]
fn a_key_that_is_not_the_publishers_verifies_nothing() {
    let (publisher, other) = (Publisher::with_releases(), Publisher::new());
    let theirs = TrustSource { key: other.key(), trusted_root: None };
    let (error, text) = refused(look_in(&publisher.root(), &theirs, None));
    assert!(matches!(error, Refused::Forged { .. }), "{text}");
    assert!(text.starts_with("`keys/trusted_root.json` is not what was signed"), "{text}");
    // A root from outside does not make the index theirs.
    let root = Some(publisher.read(layout::TRUSTED_ROOT));
    let theirs = TrustSource { key: other.key(), trusted_root: root };
    let (error, text) = refused(look_in(&publisher.root(), &theirs, None));
    assert!(matches!(error, Refused::Forged { .. }) && text.contains("another key"), "{text}");
    // And the publisher's key with another log's root finds another log.
    let root = Some(other.read(layout::TRUSTED_ROOT));
    let mixed = TrustSource { key: publisher.key(), trusted_root: root };
    refused(look_in(&publisher.root(), &mixed, None));
}

#[test]
fn no_changed_byte_of_what_is_read_is_taken() {
    let publisher = Publisher::with_releases();
    let seen = look(&publisher, None).unwrap().seen(None);
    let index = layout::channel_index(&channel());
    let bundle = layout::channel_bundle(&hash::sha256(&publisher.read(&index)));
    for file in [index.as_str(), &bundle, layout::CHECKPOINT, layout::TRUSTED_ROOT] {
        let right = publisher.read(file);
        for at in (0..right.len()).step_by(13) {
            let mut wrong = right.clone();
            wrong[at] ^= 1;
            publisher.write(file, &wrong);
            let (error, text) = refused(look(&publisher, Some(&seen)));
            assert_eq!(error.outcome(), Outcome::Differs, "{file} at {at}: {text}");
        }
        publisher.write(file, right);
    }
    look(&publisher, Some(&seen)).unwrap();
}

#[test]
fn another_environment_or_channel_is_not_the_one_that_is_followed() {
    let publisher = Publisher::with_releases();
    let reader = Watched::new(&publisher);
    let (source, channel) = (publisher.source(), channel());
    let asked =
        Publication { reader: &reader, source: &source, environment: "aws", channel: &channel };
    let (error, text) = refused(asked.look(None));
    assert_eq!(error.outcome(), Outcome::Differs);
    assert!(
        text.contains(
            "`spec.environment` of `releasechannels/1-20.yaml` is `test`, expected `aws`"
        ),
        "{text}"
    );
    // The index of one channel under the name of another.
    let other = "1-36".parse().unwrap();
    publisher
        .write(&layout::channel_index(&other), publisher.read(&layout::channel_index(&channel)));
    let asked =
        Publication { reader: &reader, source: &source, environment: "test", channel: &other };
    let (_, text) = refused(asked.look(None));
    assert!(text.contains("is `1-20`, expected `1-36`"), "{text}");
}

#[test]
fn a_store_that_is_away_looks_like_no_forgery() {
    let publisher = Publisher::with_releases();
    let seen = look(&publisher, None).unwrap().seen(None);
    let (source, channel) = (publisher.source(), channel());
    let mut reader = Watched::new(&publisher);
    let asked = |reader: &Watched, seen: Option<&Seen>| {
        let asked = Publication { reader, source: &source, environment: "test", channel: &channel };
        refused(asked.look(seen)).0.outcome()
    };
    let index = layout::channel_index(&channel);
    for file in [index.as_str(), layout::CHECKPOINT, layout::TRUSTED_ROOT] {
        reader.broken = Some(file.to_owned());
        assert_eq!(asked(&reader, Some(&seen)), Outcome::Unknown, "{file}");
    }
    reader.broken = None;
    // What is not there was never there, or was taken away.
    publisher.remove(&index);
    assert_eq!(asked(&reader, None), Outcome::Unknown);
    assert_eq!(asked(&reader, Some(&seen)), Outcome::Differs);
    let gone = look_in(&publisher.root().join("none"), &source, Some(&seen));
    assert_eq!(refused(gone).0.outcome(), Outcome::Unknown);
}

#[test]
fn of_a_long_log_little_is_read() {
    let mut publisher = Publisher::with_releases();
    let seen = look(&publisher, None).unwrap().seen(None);
    for leaf in 0..300_u32 {
        publisher.append(format!("leaf {leaf} of some other document").into_bytes());
    }
    publisher.index.status.supported_until = Some("2027-01-01".to_owned());
    publisher.write_index();
    let reader = Watched::new(&publisher);
    let (source, channel) = (publisher.source(), channel());
    let asked =
        Publication { reader: &reader, source: &source, environment: "test", channel: &channel };
    asked.look(Some(&seen)).unwrap();
    let opened = reader.opened.into_inner().unwrap();
    assert!(opened.iter().all(|file| !file.contains("/entries/")), "{opened:?}");
    assert!(opened.contains(&format!("log/{}", tile_path("0", 0, 256))), "{opened:?}");
    assert!(opened.len() < 16, "{opened:?}");
    let manifest = layout::manifest(&name(3));
    assert!(!opened.contains(&manifest), "{opened:?}");
}
