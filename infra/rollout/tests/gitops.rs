//! Releases are written into real git repositories that others push to, too, and read there by kustomize.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "gitops/killed.rs"]
mod killed;
#[path = "gitops/remote.rs"]
mod remote;
#[path = "gitops/store.rs"]
mod store;

use std::{fs, os::unix::fs::symlink, path::Path};

use jiff::Timestamp;
use kdistro_rollout::{
    driver::{Driver, Gitops},
    history::{Event, History, What},
    plan::Step,
    roll::{Outcome, Roller},
};
use kdistro_verify::check::chain;
use serde_json::Value;

use remote::{KUSTOMIZATION, PATH, Remote, command, said};
use store::{proven, target};

const FILE: &str = "kdistro-release/kustomization.yaml";

/// Rolls the second release out over the first; what it came to, and what happened.
fn roll(remote: &Remote, driver: &mut Gitops) -> (Outcome, Vec<Event>) {
    let history = History::open(&remote.folder.path().join("history")).unwrap();
    let (now, mut say) = (|| Timestamp::UNIX_EPOCH, |_: &Event| {});
    let mut roller = Roller { driver, history: &history, now: &now, say: &mut say, checks: None };
    let outcome = roller.roll_out(&target(1), &target(2)).unwrap();
    (outcome, history.events().unwrap())
}

/// Why a release is not written.
fn refused(driver: &mut Gitops, number: u32) -> String {
    chain(&driver.carry_out(Step::Commit, &target(number)).unwrap_err())
}

#[test]
fn a_release_is_committed_once_and_nothing_else_of_the_repository_changes() {
    let remote = Remote::new();
    let log = remote.folder.path().join("asked");
    let asks = format!(
        "echo $KDISTRO_RELEASE $KDISTRO_COMMIT $KDISTRO_MANIFEST_DIGEST >> {}",
        log.display()
    );
    let wait = remote.script(Path::new("wait"), &asks);
    let mut driver = remote.driver(remote.place(&[wait.to_str().unwrap()]));
    let (outcome, events) = roll(&remote, &mut driver);
    assert_eq!(outcome, Outcome::Kept, "{events:#?}");
    driver.carry_out(Step::Commit, &target(2)).unwrap();
    assert_eq!(remote.log(), ["kdistro-release: 1-20-2", "by hand"]);
    assert_eq!(remote.show("kustomization.yaml"), KUSTOMIZATION);
    let changed = remote.git(&["diff", "--name-only", "main~", "main"]);
    assert_eq!(changed, format!("{PATH}/{FILE}\n"));
    let (commit, digest) = (remote.git(&["rev-parse", "main"]), target(2).digest);
    let asked = fs::read_to_string(&log).unwrap();
    assert_eq!(asked, format!("1-20-2 {} {digest}\n", commit.trim_end()));
    let body = remote.git(&["log", "-1", "--format=%an <%ae> %b", "main"]);
    let author = "kdistro-rollout <kdistro-rollout@localhost>";
    assert_eq!(body.trim_end(), format!("{author} Manifest: {digest}"));
    assert!(!remote.folder.path().join("gitops").exists(), "the fetched branch is left");
}

#[test]
fn a_kustomization_may_lie_at_the_top_under_any_of_its_names() {
    let remote = Remote::new();
    let included = "components: [./kdistro-release/]\n";
    fs::write(remote.work().join("Kustomization"), included).unwrap();
    remote.push_all();
    let mut place = remote.place(&["true"]);
    place.path = ".".to_owned();
    remote.driver(place).carry_out(Step::Commit, &target(1)).unwrap();
    let changed = remote.git(&["diff", "--name-only", "main~", "main"]);
    assert_eq!(changed, format!("{FILE}\n"));
}

#[test]
fn kustomize_builds_what_is_written_and_shows_the_digests() {
    let remote = Remote::new();
    let mut place = remote.place(&["true"]);
    for (registry, pulled) in
        [(None, "registry.kdistro.dev"), (Some("mirror.example:5000/k"), "mirror.example:5000/k")]
    {
        place.registry = registry.map(str::to_owned);
        remote.driver(place.clone()).carry_out(Step::Commit, &target(2)).unwrap();
        command("git").args(["pull", "--quiet"]).current_dir(remote.work()).status().unwrap();
        let kustomize =
            kdistro_testbed::go_program("sigs.k8s.io/kustomize/kustomize/v5@v5.8.1").unwrap();
        let mut build = command(kustomize.to_str().unwrap());
        let built = build.arg("build").arg(remote.work().join(PATH)).output().unwrap();
        let built = said(&built, &["kustomize", "build"]);
        let image = format!("{pulled}/kubernetes/kube-proxy@{}", image_digest("kube-proxy-image"));
        assert!(built.contains(&format!("image: {image}\n")), "{image} is not in:\n{built}");
        assert!(built.contains("image: registry.example/other:v1\n"), "{built}");
        for line in [
            "release: 1-20-2",
            "kubernetes: v1.20.2",
            "name: kdistro-release",
            "namespace: kube-system",
        ] {
            assert!(built.contains(&format!("  {line}\n")), "{line} is not in:\n{built}");
        }
        assert!(built.contains(&format!("manifest: {}\n", target(2).digest)), "{built}");
    }
}

/// As the manifest has it, read by nobody's code of ours.
fn image_digest(name: &str) -> String {
    let manifest = serde_json::to_value(proven(2).manifest).unwrap();
    let assets = manifest["status"]["components"].as_array().unwrap().iter();
    let mut assets = assets.flat_map(|one| one["assets"].as_array().unwrap());
    let asset = assets.find(|asset| asset["name"] == name).unwrap();
    asset["image"]["imageDigest"].as_str().map(str::to_owned).unwrap()
}

#[test]
fn a_cluster_that_does_not_follow_goes_back_to_the_release_before() {
    let remote = Remote::new();
    let wait = remote.script(
        Path::new("wait"),
        "echo $KDISTRO_RELEASE does not run; test $KDISTRO_RELEASE = 1-20-1",
    );
    let mut driver = remote.driver(remote.place(&[wait.to_str().unwrap()]));
    let (outcome, events) = roll(&remote, &mut driver);
    let Outcome::RolledBack(why) = outcome else { panic!("{events:#?}") };
    let expected = format!(
        "check: the cluster was not there after 5 seconds: `{}` said last (exit status: 1): 1-20-2 does not run",
        wait.display()
    );
    assert_eq!(why, expected);
    assert_eq!(remote.log(), ["kdistro-release: 1-20-1", "kdistro-release: 1-20-2", "by hand"]);
    assert!(remote.show(FILE).contains("\"release=1-20-1\""));
    let whats: Vec<_> = events.iter().map(|event| event.what).collect();
    assert!(whats.ends_with(&[What::Held, What::RolledBack]), "{whats:?}");
}

#[test]
fn a_command_that_never_answers_is_ended_and_one_that_answers_later_is_asked_again() {
    let remote = Remote::new();
    let mut place = remote.place(&["sleep", "600"]);
    let mut driver = remote.driver(place.clone());
    driver.carry_out(Step::Commit, &target(2)).unwrap();
    let error = chain(&driver.check(&target(2)).unwrap_err());
    assert!(error.ends_with("`sleep 600` said last (no answer): "), "{error}");
    let flag = remote.folder.path().join("asked").display().to_string();
    let wait =
        remote.script(Path::new("wait"), &format!("test -e {flag} || {{ touch {flag}; exit 1; }}"));
    place.wait = vec![wait.display().to_string()];
    remote.driver(place).check(&target(2)).unwrap();
}

#[test]
fn a_push_that_was_overtaken_is_made_anew_and_nobodys_work_is_lost() {
    let remote = Remote::new();
    // While the push is on its way, somebody else's commit arrives: once.
    let other = "if mkdir overtaken 2>/dev/null; then \
                 c=$(git -c user.name=o -c user.email=o@o commit-tree main^{tree} -p main -m overtaken); git update-ref refs/heads/main $c; fi";
    remote.hook(other);
    let mut driver = remote.driver(remote.place(&["true"]));
    driver.carry_out(Step::Commit, &target(2)).unwrap();
    assert_eq!(remote.log(), ["kdistro-release: 1-20-2", "overtaken", "by hand"]);
    driver.check(&target(2)).unwrap();
    // Each time: then it is given up, and what others wrote stands.
    remote.hook(&other.replace("mkdir overtaken", "true"));
    let error = refused(&mut driver, 1);
    assert_eq!(error, "others pushed to `main` each of the 5 times that a commit was made upon it");
    assert_eq!(remote.log().iter().filter(|said| *said == "overtaken").count(), 6);
    assert!(remote.show(FILE).contains("\"release=1-20-2\""));
}

#[test]
fn a_push_that_the_other_side_refuses_is_no_commit_and_says_why() {
    let remote = Remote::new();
    remote.hook("echo only by review >&2; exit 1");
    let error = refused(&mut remote.driver(remote.place(&["true"])), 2);
    assert!(error.starts_with("`git push` failed: "), "{error}");
    assert!(error.contains("only by review"), "{error}");
    assert_eq!(remote.log(), ["by hand"]);
}

#[test]
fn what_somebody_else_wrote_over_the_release_is_noticed() {
    let remote = Remote::new();
    let mut driver = remote.driver(remote.place(&["true"]));
    driver.carry_out(Step::Commit, &target(2)).unwrap();
    command("git").args(["pull", "--quiet"]).current_dir(remote.work()).status().unwrap();
    let text = remote.show(FILE).replace("1-20-2", "1-20-9");
    remote.push(&[(FILE, &text)]);
    let error = chain(&driver.check(&target(2)).unwrap_err());
    let expected = format!(
        "somebody else changed `{PATH}/{FILE}` of the repository since release 1-20-2 was written there"
    );
    assert_eq!(error, expected);
}

#[test]
fn a_repository_that_would_not_use_the_release_is_refused_before_anything_is_written() {
    let remote = Remote::new();
    let refused = |place| chain(&remote.driver(place).steps(&target(1), &target(2)).unwrap_err());
    let place = || remote.place(&["true"]);
    let mut elsewhere = place();
    elsewhere.path = "clusters/prod".to_owned();
    assert!(
        refused(elsewhere)
            .starts_with("`clusters/prod` of the repository has no kustomization.yaml\nhelp:  ")
    );
    let mut branch = place();
    branch.branch = "none".to_owned();
    assert!(refused(branch).starts_with("`git fetch` failed: "));
    let mut none = place();
    none.repository = "/none".to_owned();
    assert!(refused(none).starts_with("`git fetch` failed: "));
    let mut command = place();
    command.repository = format!("ext::touch {}", remote.folder.path().join("ran").display());
    assert!(refused(command).contains("transport 'ext' not allowed"));
    assert!(!remote.folder.path().join("ran").exists());
    for (text, expected) in [
        (
            KUSTOMIZATION.replace("components", "# components"),
            "does not include the release\nhelp:  add `components: [kdistro-release]`",
        ),
        ("components: [a, b".to_owned(), "of the repository: "),
        (format!("#{}", "x".repeat(2 << 20)), "has more than 1048576 bytes"),
    ] {
        remote.push(&[("kustomization.yaml", &text)]);
        let error = refused(place());
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_release_with_an_older_kubernetes_is_not_begun() {
    let (remote, [one, mut two]) = (Remote::new(), [1, 2].map(proven));
    for component in &mut two.manifest.status.components {
        component.git_tag = component.git_tag.replace("v1.20.2", "v1.20.1");
    }
    let releases = [one, two].map(|one| (one.digest, one.manifest));
    let driver = Gitops::new(remote.place(&["true"]), releases, remote.folder.path());
    let error = chain(&driver.steps(&target(1), &target(2)).unwrap_err());
    assert!(error.starts_with("Kubernetes would go back from 1.20.2 to 1.20.1\n"), "{error}");
}

#[test]
fn links_attributes_and_hooks_of_a_repository_lead_nowhere_and_run_nothing() {
    let remote = Remote::new();
    let (work, outside) = (remote.work(), remote.folder.path().join("outside"));
    fs::create_dir(&outside).unwrap();
    // A folder that is a link, for what is written and for the whole kustomization.
    symlink(&outside, work.join(PATH).join("kdistro-release")).unwrap();
    symlink("dev", work.join("clusters/link")).unwrap();
    fs::write(work.join(".gitattributes"), "* text eol=crlf filter=evil\n").unwrap();
    fs::write(work.join(".gitmodules"), "[submodule \"x\"]\n\tpath = x\n\turl = ext::touch%20/x\n")
        .unwrap();
    remote.push_all();
    assert!(
        refused(&mut remote.driver(remote.place(&["true"])), 2)
            .starts_with("`git update-index` failed: ")
    );
    let mut place = remote.place(&["true"]);
    place.path = "clusters/link".to_owned();
    assert!(refused(&mut remote.driver(place), 2).contains("has no kustomization.yaml"));
    fs::remove_file(work.join(PATH).join("kdistro-release")).unwrap();
    fs::rename(work.join(PATH).join("kustomization.yaml"), work.join("k.yaml")).unwrap();
    symlink("../../k.yaml", work.join(PATH).join("kustomization.yaml")).unwrap();
    remote.push_all();
    assert!(
        refused(&mut remote.driver(remote.place(&["true"])), 2)
            .ends_with("kustomization.yaml` of the repository is a symbolic link")
    );
    assert_eq!(remote.log(), ["by hand", "by hand", "by hand"]);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

/// The value of a line of JSON.
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}
