//! Work trees: what a person commits comes back as the same patch files.

use std::{fs, path::Path};

use kdistro_source::{Mirror, Revision, Series, WorktreeError, check_out, write_back};

use crate::world::{World, chain, git};

const TRAILER: &str = "\n\nUpstream: not submitted, because this is a test\n";

fn prepared() -> (World, Mirror, Revision) {
    let world = World::new();
    world.commit("older", &[("text", "0\n")]);
    world.commit("base", &[("text", "1\n2\n3\n4\n5\n"), ("other", "x\n")]);
    let (mirror, base) = world.release("v1");
    (world, mirror, base)
}

fn commit(world: &World, folder: &Path, subject: &str, name: &str, content: &str) {
    fs::write(folder.join(name), content).unwrap();
    world.git_in(folder, &["add", "--all"]);
    let date = "--date=2025-02-03T04:05:06+0130";
    world.git_in(folder, &["commit", "--quiet", date, "-m", &format!("{subject}{TRAILER}")]);
}

fn contents(folder: &Path) -> Vec<(String, String)> {
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read_to_string(entry.path()).unwrap())
        })
        .collect();
    found.sort();
    found
}

#[test]
fn new_edit_and_refresh_write_canonical_files() {
    let (world, mirror, base) = prepared();
    let (folder, patches) = (world.path("work"), world.path("patches/etcd-io/etcd/v1"));
    let made = check_out(&mirror, &base.commit, &Series::default(), &folder).unwrap();
    assert_eq!((made.applied, made.stopped_at), (0, None));
    assert_eq!(world.git_in(&folder, &["branch", "--show-current"]), "patches");
    commit(&world, &folder, "Fix the first thing", "text", "1\ntwo\n3\n4\n5\n");
    commit(&world, &folder, "Fix ünother: thing", "other", "y\n");
    let write = |folder: &Path| write_back(folder, &base.commit, &patches, &world.environment());
    let series = write(&folder).unwrap();
    assert_eq!(series, Series::read(&patches).unwrap());
    let written = contents(&patches);
    assert_eq!(written[0].0, "0001-Fix-the-first-thing.patch");
    assert!(written[1].1.contains("\nSubject: [PATCH] Fix ünother: thing\n"), "{}", written[1].1);
    // A refresh without a change, from a new work tree, writes the same bytes.
    let again = world.path("again");
    let made = check_out(&mirror, &base.commit, &series, &again).unwrap();
    assert_eq!((made.applied, made.stopped_at), (2, None));
    write(&again).unwrap();
    assert_eq!(contents(&patches), written);
    // The person drops the first patch: the second takes its number, the old file goes.
    world.git_in(&again, &["rebase", "--quiet", "--onto", base.commit.as_str(), "HEAD~1"]);
    assert_eq!(write(&again).unwrap().patches.len(), 1);
    let names: Vec<_> = contents(&patches).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 1);
    assert!(names[0].starts_with("0001-Fix-"), "{names:?}");
}

#[test]
fn nothing_is_written_from_an_unfinished_or_wrong_work_tree() {
    let (world, mirror, base) = prepared();
    let (folder, patches) = (world.path("work"), world.path("patches"));
    check_out(&mirror, &base.commit, &Series::default(), &folder).unwrap();
    commit(&world, &folder, "Good", "text", "1\n");
    let write = || write_back(&folder, &base.commit, &patches, &world.environment());
    write().unwrap();
    let good = contents(&patches);
    fs::write(folder.join("text"), "not committed\n").unwrap();
    let text = chain(&write().unwrap_err());
    assert!(text.contains("not committed: M text"), "{text}");
    world.git_in(&folder, &["commit", "--quiet", "--all", "-m", "No trailers"]);
    let error = write().unwrap_err();
    assert!(matches!(error, WorktreeError::Problems(_)));
    assert!(chain(&error).contains("0002-No-trailers.patch: has no trailer `Upstream"), "{error}");
    world.git_in(&folder, &["checkout", "--quiet", "--orphan", "elsewhere"]);
    world.git_in(&folder, &["commit", "--quiet", "--all", "-m", "Elsewhere"]);
    assert!(matches!(write(), Err(WorktreeError::NotALine { .. })));
    assert_eq!(contents(&patches), good);
    let error = check_out(&mirror, &base.commit, &Series::default(), &folder).unwrap_err();
    assert!(matches!(error, WorktreeError::Exists(_)));
}

#[test]
fn a_conflict_waits_for_a_person() {
    let (world, mirror, base) = prepared();
    let (folder, patches) = (world.path("work"), world.path("patches"));
    check_out(&mirror, &base.commit, &Series::default(), &folder).unwrap();
    commit(&world, &folder, "One", "other", "y\n");
    commit(&world, &folder, "Two", "text", "1\n2\nthree\n4\n5\n");
    commit(&world, &folder, "Three", "new", "n\n");
    let write = |folder: &Path, base: &Revision| {
        write_back(folder, &base.commit, &patches, &world.environment())
    };
    let series = write(&folder, &base).unwrap();
    world.commit("moved on", &[("text", "1\n2\nIII\n4\n5\n")]);
    let (_, next) = world.release("v2");
    let again = world.path("again");
    let made = check_out(&mirror, &next.commit, &series, &again).unwrap();
    assert_eq!(made.applied, 1);
    assert_eq!(made.stopped_at.as_deref(), Some("0002-Two.patch"));
    let error = write(&again, &next).unwrap_err();
    assert!(matches!(error, WorktreeError::UnderWay { operation: "git am", .. }), "{error}");
    fs::write(again.join("text"), "1\n2\nIII and three\n4\n5\n").unwrap();
    world.git_in(&again, &["add", "text"]);
    assert!(git(&again, &["am", "--continue"]).0);
    let series = write(&again, &next).unwrap();
    assert_eq!(series.patches.len(), 3);
    assert!(contents(&patches)[1].1.contains("\n+III and three\n"));
}
