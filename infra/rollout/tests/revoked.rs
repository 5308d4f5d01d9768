//! A stolen release key: from the entry of the log on that `revokedFrom` names nothing is rolled out, and what runs goes on.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

// The publisher of the tests of kdistro-verify, of which this needs a part.
#[path = "../../../verify/tests/store/content.rs"]
mod content;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../../../verify/tests/store/image.rs"]
mod image;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../../../verify/tests/store/publisher.rs"]
mod publisher;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use content::name;
use kdistro_formats::{layout, release::ReleaseRef};
use kdistro_rollout::{
    history::{CHANNEL, History},
    policy::Subscriber,
};
use publisher::Publisher;

const REVOKED: &str = "the key is revoked from log index ";

/// A subscriber that runs release 1, and the publisher of it.
struct Scene {
    publisher: Publisher,
    first: ReleaseRef,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let mut publisher = Publisher::new();
        let first = publisher.release(1, None);
        publisher.write_index();
        let scene = Self { publisher, first, folder: tempfile::tempdir().unwrap() };
        // Outside of the store, where no thief of a key of releases comes.
        fs::write(scene.path("root.json"), scene.publisher.read(layout::TRUSTED_ROOT)).unwrap();
        let said = scene.once(0, None);
        assert!(said.contains("1-20-1"), "{said}");
        assert_eq!(scene.ran(), ["1-20-1"]);
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Publishes release 2; returns where in the log it begins.
    fn second(&mut self) -> u64 {
        let from = self.publisher.leaf_count();
        self.publisher.release(2, Some(self.first.clone()));
        self.publisher.write_index();
        from
    }

    /// Looks once; returns what was said.
    #[expect(clippy::disallowed_methods, reason = "the program is tested")]
    fn once(&self, code: impl Into<Option<i32>>, revoked_from: Option<u64>) -> String {
        let (folder, store) = (self.folder.path().display(), self.publisher.root());
        let revoked = revoked_from.map(|index| format!("revokedFrom: {index}\n"));
        let text = format!(
            "cluster: dev\nstore: {}\nkey: {}\ntrustedRoot: root.json\n{}environment: test\nchannel: \"1-20\"\n\
             driver: {{exec: {{command: [sh, -c, \"echo $KDISTRO_RELEASE >> {folder}/ran; if [ -e {folder}/die ]; then kill -9 $PPID; fi\"]}}}}\nstate: state\n",
            store.display(),
            store.join(layout::PUBLIC_KEY).display(),
            revoked.unwrap_or_default(),
        );
        fs::write(self.path("rollout.yaml"), text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kdistro-rollout"));
        command.args(["once", "--config"]).arg(self.path("rollout.yaml")).stdin(Stdio::null());
        let output = command.env_remove("KDISTRO_ROLLOUT_STATE").output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), code.into(), "{said}");
        said
    }

    /// The releases that the command was run for.
    fn ran(&self) -> Vec<String> {
        let ran = fs::read_to_string(self.path("ran")).unwrap_or_default();
        ran.lines().map(str::to_owned).collect()
    }

    /// Requires that release 1 still runs, and returns the alarm about the channel.
    fn unchanged(&self) -> Option<String> {
        assert_eq!(self.ran(), ["1-20-1"]);
        let history = History::open(&self.path("state/history")).unwrap();
        let standing = history.standing(0).unwrap();
        let running = standing.running.unwrap();
        assert_eq!((running.name, running.digest), (name(1), self.first.digest));
        assert!(standing.under_way.is_none());
        standing.alarms.get(CHANNEL).map(|alarm| alarm.text.clone())
    }
}

#[test]
fn an_index_that_was_signed_after_the_revocation_is_refused_and_what_runs_goes_on() {
    let mut scene = Scene::new();
    let index = layout::channel_index(&name(1).channel);
    let before = scene.publisher.read(&index);
    let from = scene.second();
    let said = scene.once(1, Some(from));
    assert!(said.contains(&format!("{REVOKED}{from} on")) && said.contains(&index), "{said}");
    assert!(scene.unchanged().unwrap().contains(REVOKED));
    // The owner puts the index of before back: it is believed, and the alarm is over.
    let after = scene.publisher.read(&index);
    scene.publisher.write(&index, before);
    scene.once(0, Some(from));
    assert_eq!(scene.unchanged(), None);
    // Without the revocation the thief has the cluster.
    scene.publisher.write(&index, after);
    scene.once(0, None);
    assert_eq!(scene.ran(), ["1-20-1", "1-20-2"]);
}

#[test]
fn a_release_that_was_signed_after_the_revocation_is_refused_below_an_index_of_before() {
    let mut scene = Scene::new();
    scene.second();
    let from = scene.publisher.leaf_count();
    let manifest = layout::manifest(&name(2));
    let text = scene.publisher.read(&manifest);
    let bundle = scene.publisher.read(&layout::bundle(&manifest));
    scene.publisher.write_signed(&manifest, text);
    let said = scene.once(1, Some(from));
    let expected = format!("{}: {REVOKED}{from} on", layout::bundle(&manifest));
    assert!(said.contains(&expected), "{said}");
    assert!(scene.unchanged().unwrap().contains(REVOKED));
    // As its owner signed it, it is good.
    scene.publisher.write(&layout::bundle(&manifest), bundle);
    scene.once(0, Some(from));
    assert_eq!(scene.ran(), ["1-20-1", "1-20-2"]);
}

#[test]
fn a_roll_out_that_was_half_done_when_the_key_was_revoked_goes_back() {
    let mut scene = Scene::new();
    let from = scene.second();
    fs::write(scene.path("die"), "").unwrap();
    scene.once(None, None);
    fs::remove_file(scene.path("die")).unwrap();
    let said = scene.once(1, Some(from));
    assert!(said.contains("1-20-2 failed and is held, the release before runs again"), "{said}");
    assert!(said.contains("not to be believed any more"), "{said}");
    assert_eq!(scene.ran(), ["1-20-1", "1-20-2", "1-20-1"]);
    let standing = History::open(&scene.path("state/history")).unwrap().standing(0).unwrap();
    assert_eq!(standing.running.unwrap().name, name(1));
}

#[test]
fn a_revocation_without_a_trusted_root_is_told_before_anything_is_read() {
    let text = "cluster: dev\nstore: store\nkey: release.pub\nrevokedFrom: 7\nenvironment: test\nchannel: \"1-20\"\n\
                driver: {exec: {command: [\"true\"]}}\nstate: state\n";
    let error = Subscriber::read(Path::new("rollout.yaml"), text.as_bytes()).unwrap_err();
    let expected = "rollout.yaml: `revokedFrom` has no log that it counts; expected `trustedRoot`";
    assert!(error.to_string().starts_with(expected), "{error}");
}
