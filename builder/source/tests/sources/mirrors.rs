//! Mirrors: tags never move, nothing half-fetched counts, two runs do not disturb each other.

use std::{
    cell::RefCell,
    fs,
    io::Read,
    net::TcpListener,
    path::PathBuf,
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use kdistro_source::{Environment, Mirror, MirrorError, TagSource, clean_commit, reaches};

use crate::world::{URL, World, chain, commit_id, silent, source, tag};

/// Tells a second process of this test program which home to use; see `a_killed_fetch_costs_only_its_tag`.
const CHILD_HOME: &str = "KDISTRO_TEST_CHILD_HOME";

/// A pack that a killed git was writing.
const HALF_PACK: &str = "objects/pack/tmp_pack_x";

#[test]
fn fetches_one_tag_without_history_and_then_needs_no_network() {
    let world = World::new();
    world.commit("first", &[("a", "1")]);
    let second = world.commit("second", &[("a", "2")]);
    world.git(&["tag", "-a", "-m", "annotated", "v1.0.0"]);
    world.commit("third", &[("a", "3")]);
    let (mirror, name) = (world.mirror(), tag("v1.0.0"));
    let found = mirror.fetch_tag(&source(&name), &silent).unwrap();
    assert_eq!(found.commit.as_str(), second);
    assert_eq!(found.tree.as_str(), world.git(&["rev-parse", "v1.0.0^{tree}"]));
    let time = world.git(&["log", "-1", "--format=%ct", &second]);
    assert_eq!(found.commit_time.to_string(), time);
    let commits = world.git_in(mirror.directory(), &["rev-list", "--all"]);
    assert_eq!(commits, second, "only one commit may be fetched");
    assert_eq!(world.git_in(mirror.directory(), &["config", "gc.auto"]), "0");
    fs::remove_dir_all(world.path("upstream")).unwrap();
    assert_eq!(mirror.fetch_tag(&source(&name), &silent).unwrap(), found);
    assert_eq!(mirror.tag(&name).unwrap(), Some(found));
    assert_eq!(mirror.tag(&tag("v2")).unwrap(), None);
}

#[test]
fn a_moved_tag_is_refused_with_both_commits_and_the_old_one_is_kept() {
    let world = World::new();
    let old = world.commit("first", &[("a", "1")]);
    let (mirror, kept) = world.release("v1.0.0");
    let new = world.commit("second", &[("a", "2")]);
    world.git(&["tag", "--force", "v1.0.0"]);
    let name = tag("v1.0.0");
    assert_eq!(mirror.fetch_tag(&source(&name), &silent).unwrap(), kept);
    let again = TagSource { refresh: true, ..source(&name) };
    let error = mirror.fetch_tag(&again, &silent).unwrap_err();
    assert!(matches!(error, MirrorError::Moved { .. }));
    let text = chain(&error);
    assert!(text.contains(&old) && text.contains(&new) && text.contains(URL), "{text}");
    assert_eq!(mirror.tag(&name).unwrap(), Some(kept));
    let names = world.git_in(mirror.directory(), &["for-each-ref", "--format=%(refname)"]);
    assert_eq!(names, "refs/kdistro/tags/v1.0.0");
}

#[test]
fn another_commit_than_expected_is_refused_and_not_kept() {
    let world = World::new();
    let found = world.commit("first", &[("a", "1")]);
    world.git(&["tag", "v1.0.0"]);
    let (mirror, name, expected) = (world.mirror(), tag("v1.0.0"), commit_id(&"1".repeat(40)));
    let wanted = TagSource { expected: Some(&expected), ..source(&name) };
    let text = chain(&mirror.fetch_tag(&wanted, &silent).unwrap_err());
    assert!(text.contains(&found) && text.contains(expected.as_str()), "{text}");
    assert_eq!(mirror.tag(&name).unwrap(), None);
    mirror.fetch_tag(&source(&name), &silent).unwrap();
    let text = chain(&mirror.fetch_tag(&wanted, &silent).unwrap_err());
    assert!(text.contains("the mirror") && text.contains(expected.as_str()), "{text}");
    let missing = tag("v9");
    let text = chain(&mirror.fetch_tag(&source(&missing), &silent).unwrap_err());
    assert!(text.contains("refs/tags/v9"), "{text}");
}

#[test]
fn addresses_that_run_commands_are_refused() {
    let world = World::new();
    let name = tag("v1");
    for url in ["ext::sh -c true", "--upload-pack=true", "file:///tmp/x", "https://a b", "/tmp/x"] {
        let error = world.mirror().fetch_tag(&TagSource { url, ..source(&name) }, &silent);
        assert!(matches!(error, Err(MirrorError::Address(_))), "accepted {url}");
    }
    world.lead_to("ext::sh -c touch% /tmp/never");
    let text = chain(&world.mirror().fetch_tag(&source(&name), &silent).unwrap_err());
    assert!(text.contains("'ext' not allowed"), "{text}");
}

#[test]
fn a_checkout_is_clean_or_not_and_an_upstream_there_or_not() {
    let world = World::new();
    let first = world.commit("first", &[("a", "1")]);
    world.git(&["tag", "v1"]);
    let (environment, upstream) = (world.environment(), world.path("upstream"));
    let clean = |folder| clean_commit(folder, &environment).unwrap();
    assert_eq!(clean(&upstream), Some(commit_id(&first)));
    fs::write(upstream.join("new"), "").unwrap();
    assert_eq!(clean(&upstream), None);
    assert_eq!(clean(&world.path("home")), None);
    assert!(reaches(URL, &tag("v1"), &environment));
    assert!(!reaches(URL, &tag("v2"), &environment));
    world.lead_to("file:///nowhere");
    assert!(!reaches(URL, &tag("v1"), &environment));
}

#[test]
fn two_runs_at_once_both_succeed() {
    let world = World::new();
    let tags: Vec<_> = (0..6).map(|number| tag(&format!("v1.{number}"))).collect();
    for tag in &tags {
        world.commit("next", &[("a", tag.as_str())]);
        world.git(&["tag", tag.as_str()]);
    }
    thread::scope(|scope| {
        for tag in &tags {
            let world = &world;
            scope.spawn(move || world.mirror().fetch_tag(&source(tag), &silent).unwrap());
        }
    });
    for tag in &tags {
        let found = world.mirror().tag(tag).unwrap().unwrap();
        assert_eq!(found.commit.as_str(), world.git(&["rev-parse", tag.as_str()]));
    }
    world.git_in(world.mirror().directory(), &["fsck", "--strict"]);
}

#[test]
fn whoever_waits_says_so() {
    let world = World::new();
    world.commit("first", &[("a", "1")]);
    world.git(&["tag", "v1"]);
    let mirror = world.mirror();
    let lock = fs::File::create(mirror.directory().join("kdistro.lock")).unwrap();
    lock.lock().unwrap();
    let (send, receive) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            let tell = RefCell::new(Some(send));
            let progress = |line: &str| {
                if let Some(send) = tell.take() {
                    send.send(line.to_owned()).unwrap();
                }
            };
            mirror.fetch_tag(&source(&tag("v1")), &progress).unwrap();
        });
        let line = receive.recv_timeout(Duration::from_secs(30)).unwrap();
        assert!(line.starts_with("waiting for another run to release"), "{line}");
        drop(lock);
    });
}

/// Runs only inside a process that the next test starts; alone it has nothing to do.
#[test]
fn child_that_fetches() {
    let Some((_, home)) = std::env::vars_os().find(|(name, _)| name == CHILD_HOME) else { return };
    let folder = PathBuf::from(&home).parent().unwrap().join("mirrors/etcd.git");
    let environment = Environment::of_host(std::env::vars_os()).with("HOME", home);
    let mirror = Mirror::open(&folder, &environment).unwrap();
    mirror.fetch_tag(&source(&tag("v1")), &silent).unwrap();
}

#[test]
#[expect(clippy::disallowed_methods, reason = "starts a second process of this program to kill it")]
fn a_killed_fetch_costs_only_its_tag() {
    let world = World::new();
    world.commit("first", &[("a", "1")]);
    let (mirror, kept) = world.release("v0");
    world.git(&["tag", "v1"]);
    // A server that accepts and says nothing.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    world.lead_to(&format!("git://{}/etcd", server.local_addr().unwrap()));
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "mirrors::child_that_fetches"])
        .env(CHILD_HOME, world.path("home"))
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let (mut connection, _) = server.accept().unwrap();
    connection.read_exact(&mut [0; 4]).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    // git outlives its parent and still holds the lock: nobody may clean up behind its back.
    let lock = fs::File::open(mirror.directory().join("kdistro.lock")).unwrap();
    assert!(lock.try_lock().is_err(), "the lock was lost with the parent");
    drop(connection);
    drop(server);
    let started = Instant::now();
    while lock.try_lock().is_err() {
        assert!(started.elapsed() < Duration::from_secs(30), "git did not end");
        thread::sleep(Duration::from_millis(20));
    }
    lock.unlock().unwrap();
    // What a git that was itself killed leaves.
    for name in ["shallow.lock", "packed-refs.lock", "refs/kdistro/tags/v1.lock", HALF_PACK] {
        fs::write(mirror.directory().join(name), "").unwrap();
    }
    world.lead_to(&format!("file://{}", world.path("upstream").display()));
    let found = mirror.fetch_tag(&source(&tag("v1")), &silent).unwrap();
    assert_eq!(found.commit, kept.commit);
    assert_eq!(mirror.tag(&tag("v0")).unwrap(), Some(kept));
    assert!(!mirror.directory().join(HALF_PACK).exists());
}
