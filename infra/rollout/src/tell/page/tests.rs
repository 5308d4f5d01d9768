use kdistro_formats::Digest;
use proptest::prelude::*;

use super::*;
use crate::{
    history::{Alarm, Event, Follows, Looks, Target, What},
    plan::Step,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + second).unwrap()
}

/// A standing in which every text is this one.
fn full(said: &str) -> Standing {
    let target = |number: u8| Target {
        name: format!("1-20-{number}").parse().unwrap(),
        digest: Digest::from_bytes([number; 32]),
    };
    let text = || said.to_owned();
    let event = |what| Event { at: at(1), release: Some(target(2).name), what, text: text() };
    let look = Look { since: at(0), at: at(9), times: 3, succeeded: true, text: text() };
    Standing {
        follows: Some(Follows {
            cluster: text(),
            environment: text(),
            channel: "1-20".parse().unwrap(),
        }),
        running: Some(target(1)),
        running_since: Some(at(0)),
        under_way: Some(UnderWay {
            from: target(1),
            to: target(2),
            steps: vec![Step::Snapshot, Step::Images, Step::Drain],
            done: 1,
            direction: Direction::Back(text()),
        }),
        held: vec![Held { release: target(3).name, since: at(5), why: text(), failed: true }],
        paused: Some(text()),
        decided: Some(Decided {
            what: Intent::Approve,
            release: Some(target(2).name),
            why: text(),
            until: None,
            since: at(0),
        }),
        looks: Looks { succeeded: None, last: vec![look] },
        alarms: [(text(), Alarm { since: at(0), text: text() })].into(),
        counts: [(What::Kept, 1)].into(),
        notices_waiting: 0,
        events: vec![event(What::Began), event(What::Failed), event(What::RolledBack)],
    }
}

/// What a page says besides its texts: its tags and their attributes.
fn markup(page: &str) -> Vec<&str> {
    page.split('<').skip(1).filter_map(|tag| Some(tag.split_once('>')?.0)).collect()
}

#[test]
fn every_part_is_on_the_page() {
    let mut standing = full("X");
    for word in
        ["Somebody has to look", "Under way", "goes back", "1-20-1", "failed here", "took 0 s"]
    {
        assert!(page(&standing, at(60)).contains(word), "{word}");
    }
    standing.under_way = None;
    let shown = page(&standing, at(60));
    for word in ["kdistro-rollout approve 1-20-2", "paused", "3 times in 9 s"] {
        assert!(shown.contains(word), "{word}");
    }
    let nothing = page(&Standing::default(), at(60));
    for word in ["nothing rolled out yet", "No release is held.", "Nothing happened yet."] {
        assert!(nothing.contains(word), "{word}");
    }
}

#[test]
fn the_worst_comes_first() {
    let mut standing = full("X");
    let mut told = vec![mood(&standing).1];
    standing.alarms.clear();
    told.push(mood(&standing).1);
    standing.under_way = None;
    told.push(mood(&standing).1);
    standing.paused = None;
    told.push(mood(&standing).1);
    standing.decided = None;
    told.push(mood(&standing).1);
    let decided = full("X").decided.map(|it| Decided { what: Intent::RollOut, ..it });
    standing.decided = decided;
    told.push(mood(&standing).1);
    standing.looks.last[0].succeeded = false;
    told.push(mood(&standing).1);
    let expected = [
        "needs somebody to look",
        "goes back to 1-20-1",
        "is paused",
        "waits for somebody's approval",
        "all is well",
        "prepares 1-20-2",
        "the last looks failed",
    ];
    assert_eq!(told, expected);
}

proptest! {
    #[test]
    fn no_text_ever_becomes_markup(text in "\\PC{0,20}|[<>&\"'a/= \u{0}-\u{20}\u{202e}]{0,30}") {
        // Only that there is more than a line to read changes the page.
        let is_long = text.split_once('\n').is_some_and(|(_, rest)| !rest.trim().is_empty());
        let plain = if is_long { "X\nX" } else { "X" };
        let (plain, hostile) = (page(&full(plain), at(60)), page(&full(&text), at(60)));
        prop_assert_eq!(markup(&plain), markup(&hostile));
        prop_assert_eq!(hostile.matches('\u{202e}').count(), 0);
    }
}
