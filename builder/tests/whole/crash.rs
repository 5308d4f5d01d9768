//! Killed at every step and at many moments between, a cut is finished by the next run: the same number, the same
//! claim, everything verified. Two at once do not disturb each other.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::tiny::{CHANNEL, MANIFEST, Tiny};

/// Starts a cut that tells each event on a line of standard error.
pub(crate) fn start(tiny: &Tiny) -> Child {
    let mut cut = tiny.kdistro(&["cut", CHANNEL, "--json"]);
    cut.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Kills a cut at its event number `at`; returns that event, or nothing where the cut had ended before.
fn killed_at_event(tiny: &Tiny, at: usize) -> Option<String> {
    let mut child = start(tiny);
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let event = lines.map_while(Result::ok).filter(|line| line.starts_with('{')).nth(at);
    child.kill().unwrap();
    child.wait().unwrap();
    event
}

/// Kills a cut after a time; returns false where it had ended before.
fn killed_after(tiny: &Tiny, time: Duration) -> bool {
    let mut child = start(tiny);
    thread::sleep(time);
    let running = child.try_wait().unwrap().is_none();
    child.kill().unwrap();
    child.wait().unwrap();
    running
}

fn claim(tiny: &Tiny) -> Option<Vec<u8>> {
    fs::read(tiny.store().join("kubernetes-9-1/releases/1/claim")).ok()
}

/// Runs the cut again and checks that it went on where the killed one stopped.
#[track_caller]
fn is_finished_by_the_next_run(tiny: &Tiny, after: &str) {
    let before = (claim(tiny), fs::read(tiny.store().join(MANIFEST)).ok());
    let ran = tiny.run(&["cut", CHANNEL]);
    assert_eq!(ran.code, 0, "after {after}: {}", ran.err);
    let (claimed, manifest) = before;
    if claimed.is_some() {
        assert_eq!(claim(tiny), claimed, "after {after}");
    }
    let finished = fs::read(tiny.store().join(MANIFEST)).unwrap();
    assert!(manifest.is_none_or(|manifest| manifest == finished), "after {after}");
    let numbers = fs::read_dir(tiny.store().join("kubernetes-9-1/releases")).unwrap().count();
    assert_eq!(numbers, 1, "after {after}");
    assert_eq!(fs::read_dir(tiny.path("home/announcements")).unwrap().count(), 1, "after {after}");
    let verified = tiny.verify(MANIFEST);
    assert_eq!(verified.code, 0, "after {after}: {}{}", verified.out, verified.err);
    assert_eq!(scratch_left(tiny), 0, "after {after}");
}

fn scratch_left(tiny: &Tiny) -> usize {
    fs::read_dir(tiny.path("home/content/new")).map_or(0, Iterator::count)
}

/// Forgets everything that was published.
pub(crate) fn forget(tiny: &Tiny) {
    for name in ["store", "announcements", "keys", "journals", "log-heads"] {
        let _ = fs::remove_dir_all(tiny.path("home").join(name));
    }
}

#[test]
fn a_cut_that_is_killed_at_any_event_of_publishing_is_finished_by_the_next_run() {
    let tiny = Tiny::ready();
    let mut events = Vec::new();
    while let Some(event) = killed_at_event(&tiny, events.len()) {
        is_finished_by_the_next_run(&tiny, &event);
        forget(&tiny);
        events.push(event);
    }
    for stage in ["fetch", "build", "package", "publish"] {
        assert!(events.iter().any(|event| event.contains(stage)), "{stage} is not in {events:#?}");
    }
}

#[test]
fn a_cut_that_is_killed_at_any_moment_is_finished_by_the_next_run() {
    let tiny = Tiny::ready();
    let begun = Instant::now();
    tiny.run(&["cut", CHANNEL]).expect(0);
    let whole = begun.elapsed();
    let moments = 24;
    let mut killed = 0;
    for moment in 1..moments {
        forget(&tiny);
        let time = whole * moment / moments;
        killed += usize::from(killed_after(&tiny, time));
        is_finished_by_the_next_run(&tiny, &format!("{time:?} of {whole:?}"));
    }
    assert!(killed > 5, "only {killed} were killed while they ran");
}

#[test]
fn a_cut_that_is_killed_while_it_fetches_or_builds_is_finished_by_the_next_run() {
    let fresh = || {
        let tiny = Tiny::unbuilt();
        let archive = tiny.locked("project: tiny/hello", "archive: ");
        fs::remove_file(tiny.content(&archive)).unwrap();
        fs::remove_dir_all(tiny.path("home/mirrors")).unwrap();
        tiny
    };
    // Mirroring, the step's start, and moments while it compiles.
    for at in 0..5 {
        let tiny = fresh();
        let event = killed_at_event(&tiny, at).unwrap();
        no_step_runs_on(&tiny);
        is_finished_by_the_next_run(&tiny, &event);
    }
    for seconds in [1, 3] {
        let tiny = fresh();
        killed_after(&tiny, Duration::from_secs(seconds));
        no_step_runs_on(&tiny);
        is_finished_by_the_next_run(&tiny, &format!("{seconds} s"));
    }
}

/// What the killed program started ends with it.
pub(crate) fn no_step_runs_on(tiny: &Tiny) {
    let home = tiny.path("home").display().to_string();
    for _ in 0..50 {
        if !runs(Path::new("/proc"), &home) {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("a program that was started for {home} still runs");
}

/// True when a process has this folder among its mounts or in its arguments.
fn runs(processes: &Path, home: &str) -> bool {
    let holds = |path: &Path, name: &str| {
        fs::read(path.join(name)).is_ok_and(|text| String::from_utf8_lossy(&text).contains(home))
    };
    let entries = fs::read_dir(processes).unwrap().map(|entry| entry.unwrap().path());
    let mut numbered = entries.filter(|path| path.join("mountinfo").exists());
    numbered.any(|path| holds(&path, "cmdline") || holds(&path, "mountinfo"))
}

#[test]
fn of_two_cuts_at_once_one_is_told_so_and_the_other_completes() {
    let tiny = Tiny::unbuilt();
    let mut first = start(&tiny);
    // Its first event comes when it holds the lock.
    let mut lines = BufReader::new(first.stderr.take().unwrap()).lines();
    lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("\"stage\"")));
    let second = tiny.run(&["cut", CHANNEL]).expect(2);
    second.says(&["another run works on a cut of channel 9-1", "help:  wait until it ends"]);
    for line in lines {
        line.unwrap();
    }
    assert!(first.wait().unwrap().success());
    tiny.run(&["cut", CHANNEL]).expect(0).prints(&["nothing changed"]);
    tiny.verify(MANIFEST).expect(0);
}
