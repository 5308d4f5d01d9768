use std::{fs, os::unix::fs::PermissionsExt};

use super::*;
use crate::plan::Step;
use kdistro_formats::Digest;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn event(what: What) -> Event {
    let release = Some("1-20-2".parse().unwrap());
    Event { at: at(0), release, what, text: "x".to_owned() }
}

fn target(number: u8) -> Target {
    let name = format!("1-20-{number}").parse().unwrap();
    Target { name, digest: Digest::from_bytes([number; 32]) }
}

fn under_way() -> UnderWay {
    let steps = vec![Step::Snapshot];
    UnderWay { from: target(1), to: target(2), steps, done: 0, direction: Direction::Forward }
}

fn held(why: &str) -> Held {
    let release = "1-20-2".parse().unwrap();
    Held { release, since: at(0), why: why.to_owned(), failed: false }
}

fn open(folder: &tempfile::TempDir) -> History {
    History::open(&folder.path().join("history")).unwrap()
}

#[test]
fn what_was_written_is_there_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(&folder);
    assert_eq!((history.events().unwrap(), history.running().unwrap()), (vec![], None));
    assert_eq!(history.standing(9).unwrap(), Standing::default());
    history.write(&event(What::Began), &Change::UnderWay(&under_way())).unwrap();
    drop(history);
    let history = open(&folder);
    assert_eq!(history.under_way().unwrap(), Some(under_way()));
    history.write(&event(What::Kept), &Change::Runs(&target(2))).unwrap();
    assert_eq!(history.under_way().unwrap(), None);
    assert_eq!(history.running().unwrap(), Some(target(2)));
    assert_eq!(history.events().unwrap(), [event(What::Began), event(What::Kept)]);
    assert_eq!(history.standing(1).unwrap().events, [event(What::Kept)]);
}

#[test]
fn others_read_and_write_meanwhile_but_one_has_the_turn() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (open(&folder), open(&folder));
    let turn = one.turn().unwrap();
    assert!(matches!(other.turn(), Err(HistoryError::InUse(_))));
    one.write(&event(What::Began), &Change::UnderWay(&under_way())).unwrap();
    assert_eq!(other.under_way().unwrap(), Some(under_way()));
    other.write(&event(What::Held), &Change::Hold(&held("a"))).unwrap();
    assert_eq!(one.held().unwrap(), [held("a")]);
    drop(turn);
    other.turn().unwrap();
}

#[test]
fn writers_at_once_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let history = open(&folder);
                for _ in 0..10 {
                    history.write(&event(What::Step), &Change::Nothing).unwrap();
                }
            });
        }
    });
    let standing = open(&folder).standing(99).unwrap();
    assert_eq!((standing.events.len(), standing.counts[&What::Step]), (40, 40));
}

#[test]
fn a_release_is_held_once_until_it_is_released() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(&folder);
    for why in ["a", "b"] {
        history.write(&event(What::Held), &Change::Hold(&held(why))).unwrap();
    }
    assert_eq!(history.held().unwrap(), [held("b")]);
    history.write(&event(What::Released), &Change::Release(&held("b").release)).unwrap();
    assert_eq!(history.held().unwrap(), []);
}

#[test]
fn what_runs_has_done_so_since_it_was_rolled_out_and_not_since_another_failed() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(&folder);
    let keep = |second, what, number| {
        let event = Event { at: at(second), ..event(what) };
        history.write(&event, &Change::Runs(&target(number))).unwrap();
        history.standing(0).unwrap().running_since
    };
    assert_eq!(keep(1, What::Kept, 1), Some(at(1)));
    assert_eq!(keep(2, What::RolledBack, 1), Some(at(1)));
    assert_eq!(keep(3, What::Kept, 2), Some(at(3)));
}

#[test]
fn looks_that_come_to_the_same_are_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(&folder);
    for (second, succeeded, text) in [(1, true, "a"), (2, true, "a"), (3, false, "b")] {
        history.looked(at(second), succeeded, text).unwrap();
    }
    let looks = history.standing(0).unwrap().looks;
    assert_eq!(looks.succeeded, Some(at(2)));
    let seen: Vec<_> = looks.last.iter().map(|it| (it.times, it.at, it.text.as_str())).collect();
    assert_eq!(seen, [(2, at(2), "a"), (1, at(3), "b")]);
    for second in 0..99 {
        history.looked(at(second), true, &second.to_string()).unwrap();
    }
    assert_eq!(history.standing(0).unwrap().looks.last.len(), 10);
}

#[test]
fn an_alarm_is_told_once_and_ends() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(&folder);
    let alarm = |second, text: &str| Alarm { since: at(second), text: text.to_owned() };
    for (second, text) in [(1, "a"), (2, "a"), (3, "b")] {
        history.alarm("channel", Some(&alarm(second, text))).unwrap();
    }
    let alarms = history.standing(0).unwrap().alarms;
    assert_eq!(alarms.into_iter().collect::<Vec<_>>(), [("channel".to_owned(), alarm(3, "b"))]);
    let notices = history.notices().unwrap().waiting;
    assert_eq!(notices.iter().map(|it| it.text.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    history.alarm("channel", None).unwrap();
    assert!(history.standing(0).unwrap().alarms.is_empty());
    // Each try to go back says something else.
    let waiting = || history.notices().unwrap().waiting.len();
    let before = waiting();
    for (second, text) in [(4, "c"), (5, "d")] {
        history.alarm(ROLL_OUT, Some(&alarm(second, text))).unwrap();
    }
    assert_eq!(waiting(), before + 1);
    assert_eq!(history.standing(0).unwrap().alarms[ROLL_OUT], alarm(4, "d"));
}

#[test]
fn what_others_want_to_know_waits_for_them_and_no_more_than_that() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(&folder);
    for what in [What::Began, What::Step, What::Failed, What::Held, What::RolledBack] {
        history.write(&event(what), &Change::Nothing).unwrap();
    }
    let told = |notices: Notices| notices.waiting.into_iter().map(|it| (it.number, it.what));
    let found: Vec<_> = told(history.notices().unwrap()).collect();
    assert_eq!(found, [(1, "held".to_owned()), (2, "rolled-back".to_owned())]);
    for _ in 0..99 {
        history.write(&event(What::Kept), &Change::Nothing).unwrap();
    }
    let numbers: Vec<_> = told(history.notices().unwrap()).map(|(number, _)| number).collect();
    assert_eq!(numbers, (38..=101).collect::<Vec<_>>());
}

/// The mode of a file.
fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn nobody_else_may_open_what_it_consists_of() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("a/state");
    let open = || History::open(&state.join("history")).unwrap();
    drop(open().turn().unwrap());
    let files = [state.join("history"), state.join("history.lock")];
    assert_eq!((mode(&state), files.each_ref().map(|it| mode(it))), (0o700, [0o600; 2]));
    assert_eq!(fs::read_dir(&state).unwrap().count(), 2);
    for file in [&state, &files[0], &files[1]] {
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    drop(open().turn().unwrap());
    assert_eq!((mode(&state), files.each_ref().map(|it| mode(it))), (0o755, [0o600; 2]));
}

#[test]
fn an_empty_file_is_no_new_history() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history");
    fs::write(&path, b"").unwrap();
    let error = History::open(&path).map(drop).unwrap_err();
    assert!(error.to_string().starts_with(&format!("{} is empty", path.display())), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"");
}

#[test]
fn a_damaged_history_is_an_error_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(&folder);
    for _ in 0..30 {
        history.write(&event(What::Kept), &Change::Runs(&target(2))).unwrap();
    }
    drop(history);
    let path = folder.path().join("history");
    let whole = fs::read(&path).unwrap();
    let used: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    let mut errors = 0;
    for at in used.iter().step_by(used.len() / 150) {
        let mut bytes = whole.clone();
        bytes[*at..].iter_mut().take(8).for_each(|byte| *byte ^= 0x55);
        fs::write(&path, bytes).unwrap();
        // Whatever is said of it, no more than that.
        let used = History::open(&path).and_then(|history| {
            history.events()?;
            history.standing(9)?;
            history.write(&event(What::Kept), &Change::Nothing)
        });
        errors += usize::from(used.is_err());
    }
    assert!(errors > 5, "only {errors} were noticed");
}
