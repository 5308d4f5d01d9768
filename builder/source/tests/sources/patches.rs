//! Patches: the commit that `git am` would make, and what is said about those that do not fit.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use kdistro_source::{Mirror, PatchState, Revision, Series, apply, status};

use crate::world::{World, chain};

const TRAILER: &str = "\n\nLonger text.\n\nUpstream: not submitted, because this is a test\n";

fn lines(range: std::ops::RangeInclusive<u32>) -> String {
    let lines: Vec<_> = range.map(|number| format!("line {number}\n")).collect();
    lines.concat()
}

/// A world whose upstream has a base tag, and then one commit a kind of change.
fn prepared() -> (World, Mirror, Revision) {
    let world = World::new();
    let upstream = world.path("upstream");
    fs::write(upstream.join("image"), [0, 159, 146, 150].repeat(99)).unwrap();
    world.commit(
        "base",
        &[
            ("text", &lines(1..=60)),
            ("windows", "a\r\nb\r\nc\r\n"),
            ("moved", &lines(100..=150)),
            ("gone", "gone\n"),
            ("latin", "na\u{ef}ve\n"),
        ],
    );
    let (mirror, base) = world.release("v1");
    let text = lines(1..=60).replace("line 10\n", "line ten \n").replace("line 50\n", "");
    world.commit(&format!("Änder two hunks{TRAILER}"), &[("text", &text)]);
    world.commit(&format!("Keep carriage returns{TRAILER}"), &[("windows", "a\r\nB\r\nc\r\n")]);
    world.commit(&format!("Add a file{TRAILER}"), &[("new/file", "new\n"), ("empty", "")]);
    world.git(&["rm", "--quiet", "gone"]);
    world.commit(&format!("[subsystem] Delete a file{TRAILER}"), &[]);
    world.git(&["mv", "moved", "renamed"]);
    let content = lines(100..=150).replace("line 120\n", "line 12O\n");
    world.commit(&format!("Rename a file{TRAILER}"), &[("renamed", &content)]);
    fs::set_permissions(upstream.join("latin"), fs::Permissions::from_mode(0o755)).unwrap();
    world.commit(&format!("Change a mode{TRAILER}"), &[]);
    fs::write(upstream.join("image"), [7, 0, 146, 150].repeat(99)).unwrap();
    world.commit(&format!("A subject that is so long that the mail folds it, with ümläuts and all, twice over and more{TRAILER}"), &[]);
    (world, mirror, base)
}

fn format_patches(world: &World, base: &str, options: &[&str]) -> PathBuf {
    let folder = world.path("patches");
    let _ = fs::remove_dir_all(&folder);
    let output = folder.display().to_string();
    let range = format!("{base}..HEAD");
    let arguments = ["format-patch", "--quiet", "--binary", "-N", "-o", &output];
    world.git(&[&arguments[..], options, &[&range]].concat());
    folder
}

/// Applies patches with the real `git am` in a clone.
fn git_am(world: &World, base: &str, folder: &PathBuf) -> String {
    let clone = world.path("clone");
    let _ = fs::remove_dir_all(&clone);
    let upstream = world.path("upstream").display().to_string();
    world.git(&["clone", "--quiet", &upstream, &clone.display().to_string()]);
    world.git_in(&clone, &["checkout", "--quiet", base]);
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let files: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    let files: Vec<_> = files.iter().map(String::as_str).collect();
    let am = ["am", "--quiet", "--keep-cr", "--committer-date-is-author-date"];
    world.git_in(&clone, &[&am[..], &files].concat());
    world.git_in(&clone, &["rev-parse", "HEAD"])
}

#[test]
fn the_commit_is_that_of_git_am() {
    let (world, mirror, base) = prepared();
    for options in [&[][..], &["--no-encode-email-headers", "--zero-commit", "--full-index"]] {
        let folder = format_patches(&world, base.commit.as_str(), options);
        // A message as a person edits it, with spaces and lines that git strips.
        let file = folder.join("0003-Add-a-file.patch");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("Longer text.", "Longer text. \t\n\n\n  More.")).unwrap();
        let series = Series::read(&folder).unwrap();
        assert_eq!(series.patches.len(), 7);
        assert_eq!(series.patches[0].subject, "Änder two hunks");
        let patched = apply(&mirror, &base.commit, &series).unwrap();
        assert_eq!(patched.commit.as_str(), git_am(&world, base.commit.as_str(), &folder));
        assert_eq!(patched.tree.as_str(), world.git(&["rev-parse", "HEAD^{tree}"]));
        assert_eq!(
            mirror.read_file(&patched.tree, "windows").unwrap().unwrap(),
            b"a\r\nB\r\nc\r\n"
        );
    }
    let nothing = apply(&mirror, &base.commit, &Series::default()).unwrap();
    assert_eq!(nothing, base);
}

#[test]
fn a_changed_patch_changes_digest_and_commit() {
    let (world, mirror, base) = prepared();
    let folder = format_patches(&world, base.commit.as_str(), &["--no-encode-email-headers"]);
    let before = Series::read(&folder).unwrap();
    let file = folder.join(&before.patches[0].name);
    let text = fs::read_to_string(&file).unwrap().replace("+line ten \n", "+line t3n \n");
    fs::write(&file, text).unwrap();
    let after = Series::read(&folder).unwrap();
    assert_ne!(before.patches[0].digest, after.patches[0].digest);
    assert_eq!(before.patches[1], after.patches[1]);
    let commit = |series| apply(&mirror, &base.commit, series).unwrap().commit;
    assert_ne!(commit(&before), commit(&after));
}

#[test]
fn a_patch_that_does_not_apply_names_file_and_hunk() {
    let (world, mirror, base) = prepared();
    let folder = format_patches(&world, base.commit.as_str(), &[]);
    let series = Series::read(&folder).unwrap();
    world.git(&["checkout", "--quiet", "v1"]);
    world.commit("diverged", &[("text", &lines(1..=60).replace("line 49\n", "line 4q\n"))]);
    let (_, other) = world.release("v2");
    let text = chain(&apply(&mirror, &other.commit, &series).unwrap_err());
    let expected = format!("{} does not apply to text, hunk 2: ", series.patches[0].name);
    assert!(text.starts_with(&expected), "{text}");
}

#[test]
fn status_tells_drift_conflict_and_what_is_upstream() {
    let (world, mirror, base) = prepared();
    let folder = format_patches(&world, base.commit.as_str(), &[]);
    let series = Series::read(&folder).unwrap();
    let state = |base| {
        let found = status(&mirror, base, &series).unwrap();
        assert!(found.iter().zip(&series.patches).all(|(found, patch)| found.patch == patch.name));
        found.into_iter().map(|found| found.state).collect::<Vec<_>>()
    };
    assert_eq!(state(&base.commit), vec![PatchState::Applies; 7]);
    world.git(&["checkout", "--quiet", "v1"]);
    world.commit(
        "moved on",
        &[
            ("text", &format!("zero\nzero\nzero\n{}", lines(1..=60))),
            ("windows", "a\r\nB\r\nc\r\n"),
            ("new/file", "another\n"),
        ],
    );
    let (_, next) = world.release("v2");
    let found = state(&next.commit);
    assert_eq!(found[0], PatchState::Drifted { lines: 3 });
    assert_eq!(found[1], PatchState::AlreadyUpstream);
    assert_eq!(found[2], PatchState::Conflicts { file: "new/file".to_owned(), hunk: None });
    assert_eq!(found[3..], vec![PatchState::Applies; 4]);
    world.git(&["checkout", "--quiet", "v1"]);
    world.commit("diverged", &[("text", &lines(1..=60).replace("line 49\n", "line 4q\n"))]);
    let (_, other) = world.release("v3");
    let conflict = PatchState::Conflicts { file: "text".to_owned(), hunk: Some(2) };
    assert_eq!(state(&other.commit)[0], conflict);
}
