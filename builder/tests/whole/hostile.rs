//! Steps that try what they may not, and steps that want more than they may: refused or ended by the container, and
//! named with the reason.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::{
    crash::{forget, no_step_runs_on},
    tiny::{MANIFEST, Tiny},
};

/// A step that passes a limit must be told of before its author loses patience.
const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn a_step_that_misbehaves_is_named_with_its_reason_and_nothing_is_published() {
    let tiny = Tiny::unbuilt();
    for (mode, reasons) in [
        ("network", &["exited with code 7", "refused: "][..]),
        ("source", &["exited with code 7", "refused: open /src/main.go: read-only file system"]),
        ("link", &["/out", "made"]),
        ("extra", &["left `extra`, which is not one of its outputs"]),
        ("nothing", &["did not leave `made`"]),
    ] {
        tiny.generate_by(mode);
        let ran = tiny.cut().expect(2);
        ran.says(&["step `tiny/hello attempt`"]).says(reasons);
        nothing_is_published(&tiny, mode);
    }
}

#[test]
fn a_step_that_passes_a_limit_is_ended_soon_and_the_mended_recipe_completes() {
    let tiny = Tiny::unbuilt();
    // Compiled once, so that only the attempts are timed.
    tiny.generate_by("nothing");
    tiny.cut().expect(2);
    for (mode, limits, reasons) in [
        ("sleep", "{seconds: 3}", ["longer than its time limit (3 s)", "raise `seconds`"]),
        ("fork", "{processes: 48}", ["processes and threads than", "raise `processes`"]),
        ("fill", "{diskBytes: 33554432}", ["more disk in /out and /tmp", "raise `diskBytes`"]),
        ("grow", "{diskBytes: 33554432}", ["more disk in /out and /tmp", "raise `diskBytes`"]),
        ("talk", "{logBytes: 1048576}", ["more to its log than allowed", "raise `logBytes`"]),
    ] {
        tiny.generate_within(mode, limits);
        let begun = Instant::now();
        let ran = tiny.cut().expect(2).says(&["step `tiny/hello attempt`"]).says(&reasons);
        assert!(begun.elapsed() < PATIENCE, "{mode}: {:?}", begun.elapsed());
        assert_eq!(ran.err.matches("help:  ").count(), 1, "{mode}: {}", ran.err);
        no_step_runs_on(&tiny);
        nothing_is_published(&tiny, mode);
        nothing_is_left(&tiny, mode);
        tiny.mend();
        tiny.cut().expect(0).prints(&["released 9-1-1"]);
        tiny.verify(MANIFEST).expect(0);
        forget(&tiny);
    }
}

/// Neither a file of the release nor a claim on its number.
fn nothing_is_published(tiny: &Tiny, mode: &str) {
    assert!(!tiny.store().join("kubernetes-9-1").exists(), "{mode}");
}

/// What the step wrote is gone.
fn nothing_is_left(tiny: &Tiny, mode: &str) {
    let left = fs::read_dir(tiny.path("home/scratch")).unwrap().count();
    assert_eq!(left, 0, "{mode}");
}
