//! From Debian's sources to a verified, rebuilt release of etcd and the CNI plugins.

use std::{fs, path::Path, process::Command};

use crate::{
    run::{self, KDISTRO, is_root, not_judged, verifier},
    shared::{DATE, MANIFEST, PART, as_stranger, scratch, shared},
};

#[test]
fn a_stranger_with_the_public_key_alone_verifies_the_release() {
    let shared = shared();
    let home = scratch("stranger");
    let verify = |arguments: &[&str]| {
        let mut command = as_stranger(verifier(), home.path());
        run::run(command.arg("--key").arg(&shared.key).args(arguments).arg(shared.manifest()))
    };
    verify(&[]).expect(0).prints(&["1-20-1", "verified\n"]);
    verify(&["--inputs"]).expect(0);
    let all: serde_json::Value =
        serde_json::from_str(&verify(&["--all", "--json"]).expect(0).out).unwrap();
    assert_eq!(all["outcome"], "verified");
    assert_eq!(all["problems"], serde_json::json!([]));
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "the verifier writes nothing");
}

#[test]
fn another_key_verifies_nothing() {
    let shared = shared();
    let home = scratch("other-key");
    let other = home.path().join("other.pub");
    let elsewhere = home.path().join("home");
    let mut show = run::with(KDISTRO, ["key", "new", "--home"]);
    run::must(show.arg(&elsewhere).current_dir(&shared.repository));
    let mut show = run::with(KDISTRO, ["key", "show", "--home"]);
    fs::write(&other, run::must(show.arg(&elsewhere).current_dir(&shared.repository))).unwrap();
    let mut verify = as_stranger(verifier(), home.path());
    run::run(verify.arg("--key").arg(&other).arg(shared.manifest())).expect(1);
    // Nor does anything of it start or get exported.
    let export = |key: &Path| {
        let mut export = as_stranger(KDISTRO, home.path());
        export.arg("--home").arg(home.path().join("stranger")).args(["image", "export"]);
        let to = home.path().join("exported");
        (
            run::run(
                export
                    .arg(shared.manifest())
                    .arg("etcd")
                    .arg("--key")
                    .arg(key)
                    .arg("--to")
                    .arg(&to),
            ),
            to,
        )
    };
    let (refused, exported) = export(&other);
    refused.expect(1).prints(&["differs or forged"]);
    assert!(!exported.exists());
    let (done, exported) = export(&shared.key);
    done.expect(0).prints(&["verified: "]);
    assert!(exported.join("oci-layout").is_file());
}

/// The program in a network namespace without any interface, where the tests may make one.
fn without_network(home: &Path) -> Command {
    if is_root() {
        let mut command = as_stranger("unshare", home);
        command.args(["--net", "--", KDISTRO]);
        return command;
    }
    not_judged("a rebuild without a network", "only root makes an empty network namespace here");
    as_stranger(KDISTRO, home)
}

#[test]
fn etcd_is_rebuilt_from_the_published_plan_and_inputs_without_a_network() {
    let shared = shared();
    let home = scratch("rebuild");
    let statement = home.path().join("statement.json");
    let mut command = without_network(home.path());
    command.args(["rebuild", "--component", "etcd", "--home"]).arg(home.path().join("home"));
    command.arg("--key").arg(&shared.key).arg("--statement").arg(&statement);
    let ran = run::run(command.arg(shared.manifest())).expect(0);
    assert!(ran.out.contains("same") && !ran.out.contains("different"), "{}", ran.out);
    let statement: serde_json::Value =
        serde_json::from_slice(&fs::read(statement).unwrap()).unwrap();
    let predicate = &statement["predicate"];
    assert_eq!(predicate["planReproduced"], true);
    let assets = predicate["assets"].as_array().unwrap();
    assert!(!assets.is_empty());
    assert!(assets.iter().all(|asset| asset["verdict"] == "same"), "{assets:#?}");
    assert_eq!(statement["subject"][0]["name"], MANIFEST);
}

#[test]
fn the_published_configuration_gives_the_published_plan() {
    let shared = shared();
    let home = scratch("plan");
    let mut command = as_stranger(KDISTRO, home.path());
    command.args(["plan", "--home"]).arg(home.path().join("home"));
    let plan = shared.store().join("kubernetes-1-20/releases/1/plan.json");
    let digest = run::must(run::program("sha256sum").arg(plan));
    let digest = digest.split_whitespace().next().unwrap();
    let from = run::run(command.arg("--from").arg(shared.manifest())).expect(0);
    assert!(from.out.contains(digest), "{digest} is not in:\n{}", from.out);
}

#[test]
fn a_second_cut_changes_nothing_and_says_so() {
    let shared = shared();
    let before = listing(&shared.store());
    let ran = run::run(shared.kdistro(&["cut", "1-20", "--date", DATE]).args(PART)).expect(0);
    ran.prints(&["nothing changed: release 1-20-1 has this plan already"]);
    assert_eq!(listing(&shared.store()), before);
}

fn listing(folder: &Path) -> String {
    run::must(run::program("find").arg(folder).args(["-type", "f", "-printf", "%p %s %T@\\n"]))
}
