//! `kdistro-rollout once` remembers between its looks what it saw: a store that shows less than before, or another log, is
//! refused, and whoever has the store cannot have a release rolled out that was taken back.

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

#[expect(dead_code, reason = "other tests use the rest")]
#[path = "follow/program.rs"]
mod program;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "follow/scene.rs"]
mod scene;

use std::{
    fs,
    path::{Path, PathBuf},
};

use kdistro_formats::{channel::Yanked, layout};

use scene::Scene;

/// A subscriber who saw that the second release was yanked, and so runs the first one.
struct Told {
    scene: Scene,
    /// The store from before that was said.
    before: PathBuf,
    /// And from after it.
    after: PathBuf,
    /// Another longer log by the same keys, in which it never was.
    forked: PathBuf,
}

impl Told {
    fn new() -> Self {
        let mut scene = Scene::new("poll: 1d");
        scene.release(2);
        while scene.publisher.leaf_count() < 40 {
            scene.publisher.append(b"another leaf".to_vec());
        }
        scene.publisher.write_index();
        let forked = scene.keep();
        fs::remove_dir_all(scene.publisher.root().join(layout::LOG)).unwrap();
        scene.publisher = scene.publisher.fork();
        let root = scene.publisher.read(layout::TRUSTED_ROOT);
        scene.publisher.write_signed(layout::TRUSTED_ROOT, root);
        scene.publisher.index.status.releases.clear();
        scene.release(1);
        scene.release(2);
        let before = scene.keep();
        let yanked = Yanked { number: 2, reason: "loses keys".to_owned() };
        scene.publisher.index.status.yanked.push(yanked);
        scene.publisher.write_index();
        let after = scene.keep();
        scene.show(&after);
        let (code, said) = scene.ended(&["once"]);
        assert_eq!(code, 0, "{said}");
        assert!(said.starts_with("1-20-1 runs\n"), "{said}");
        assert_eq!(scene.done(), ["1-20-1"]);
        Self { scene, before, after, forked }
    }

    /// The store that is shown is refused with these words, at each look.
    fn refuses(&self, store: &Path, words: &str) {
        let scene = &self.scene;
        scene.show(store);
        for _ in 0..2 {
            let (code, said) = scene.ended(&["once"]);
            assert_eq!(code, 1, "{said}");
            assert!(said.contains(words), "{said}");
            let (_, status) = scene.ended(&["status"]);
            assert!(status.starts_with("runs       1-20-1\n"), "{status}");
            let alarm = status.lines().find(|line| line.starts_with("alarm      channel since "));
            assert!(alarm.is_some_and(|alarm| alarm.contains(words)), "{status}");
            assert_eq!(scene.done(), ["1-20-1"], "the command ran");
        }
    }

    /// Who never looked cannot know, and takes the release from it: that is what the attack is for.
    fn is_taken_by_others(&self) {
        let scene = &self.scene;
        fs::rename(scene.path("state"), scene.path("remembered")).unwrap();
        let (code, said) = scene.ended(&["once"]);
        assert_eq!(code, 0, "{said}");
        assert_eq!(scene.done(), ["1-20-1", "1-20-2"], "{said}");
        fs::remove_dir_all(scene.path("state")).unwrap();
        fs::rename(scene.path("remembered"), scene.path("state")).unwrap();
    }

    /// With the right store again the alarm ends, and the next release is rolled out.
    fn goes_on(mut self) {
        self.scene.show(&self.after);
        assert_eq!(self.scene.ended(&["once"]).0, 0);
        let status = self.scene.status();
        assert!(status["alarms"].as_object().unwrap().is_empty(), "{status}");
        self.scene.release(3);
        self.scene.publish();
        let (code, said) = self.scene.ended(&["once"]);
        assert!(code == 0 && said.starts_with("1-20-3 runs\n"), "{said}");
    }
}

fn index() -> String {
    layout::channel_index(&"1-20".parse().unwrap())
}

#[test]
fn an_index_of_yesterday_is_refused() {
    let told = Told::new();
    let rolled_back = told.scene.keep();
    fs::copy(told.before.join(index()), rolled_back.join(index())).unwrap();
    told.refuses(&rolled_back, "`releasechannels/1-20.yaml` was rolled back: it is entry ");
    told.is_taken_by_others();
    told.goes_on();
}

#[test]
fn a_whole_store_of_yesterday_is_refused() {
    let told = Told::new();
    told.refuses(&told.before, "proves: the log was cut: 12 leaves are proven, 11 are there");
    told.is_taken_by_others();
    told.goes_on();
}

#[test]
fn another_log_by_the_same_keys_is_refused() {
    let told = Told::new();
    told.refuses(&told.forked, " does not contain the tree of 12 leaves: root hash mismatch: ");
    told.is_taken_by_others();
    told.goes_on();
}

#[test]
fn an_index_that_is_gone_is_refused() {
    let told = Told::new();
    let emptied = told.scene.keep();
    fs::remove_file(emptied.join(index())).unwrap();
    told.refuses(&emptied, "`releasechannels/1-20.yaml` is missing in ");
    told.goes_on();
}
