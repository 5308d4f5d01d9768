//! One test a defect: the verdict, the exit code, and which file is named.

use kdistro_formats::{
    Digest, canonical,
    channel::{Withheld, Yanked},
    layout,
    release::Release,
    statement::{STATEMENT, Statement, Subject, TEST_RESULT},
    yaml,
};
use kdistro_verify::{
    check::{Outcome, Report, Scope, TrustSource, check},
    hash,
    log::{Checkpoint, TILE_WIDTH},
    store::{Directory, Reader},
};
use serde_json::{Value, json};
use sigstore_crypto::KeyPair;

use crate::{
    content::{claim, manifest, name},
    image::Blobs,
    publisher::{Publisher, base64, public, trusted_root},
};

/// Requires that the check of release 3 names `file` as wrong, for a reason that contains `why`.
pub(crate) fn assert_differs(report: &Report, file: &str, why: &str) {
    let named = report.problems.iter().any(|problem| {
        problem.file == file && problem.outcome == Outcome::Differs && problem.message.contains(why)
    });
    assert!(named, "expected {file}: …{why}…\n{report}");
    assert_eq!(report.outcome, Outcome::Differs);
    assert_eq!(report.outcome.exit_code(), 1);
    assert!(report.to_string().lines().last().unwrap().starts_with("differs or forged: "));
}

fn assert_unknown(report: &Report, file: &str, why: &str) {
    let named = report.problems.iter().any(|problem| {
        problem.file == file && problem.outcome == Outcome::Unknown && problem.message.contains(why)
    });
    assert!(named, "expected {file}: …{why}…\n{report}");
    assert_eq!((report.outcome, report.outcome.exit_code()), (Outcome::Unknown, 2));
    assert!(report.to_string().lines().last().unwrap().starts_with("could not tell: "));
}

pub(crate) fn the_manifest() -> String {
    layout::manifest(&name(3))
}

fn etcd() -> String {
    layout::artifact(&name(3), "etcd/v3.4.23/bin/linux/amd64/etcd")
}

/// Changes the manifest of release 3 and publishes it anew, signed, logged and listed.
pub(crate) fn republish(publisher: &mut Publisher, change: impl Fn(&mut Release)) {
    let text = String::from_utf8(publisher.read(&the_manifest())).unwrap();
    let mut release = Release::from_yaml(&text).unwrap();
    change(&mut release);
    republish_text(publisher, &yaml::to_string(&release).unwrap());
}

fn republish_text(publisher: &mut Publisher, text: &str) {
    publisher.write_signed(&the_manifest(), text);
    publisher.index.status.releases.last_mut().unwrap().digest = hash::sha256(text.as_bytes());
    publisher.write_index();
    let attestation = format!("{}/rebuild.sigstore.json", layout::attestations(&name(3)));
    let subject = Subject::new("1-20-3", &hash::sha256(text.as_bytes()));
    let bundle = publisher.attest(subject);
    publisher.write(&attestation, canonical::to_vec(&bundle).unwrap());
}

/// Changes the bundle of the manifest of release 3.
fn change_bundle(publisher: &Publisher, change: impl Fn(&mut Value)) -> String {
    let file = layout::bundle(&the_manifest());
    let mut bundle: Value = serde_json::from_slice(&publisher.read(&file)).unwrap();
    change(&mut bundle);
    publisher.write(&file, canonical::to_vec(&bundle).unwrap());
    file
}

#[test]
fn nothing_is_wrong_with_what_was_published() {
    let publisher = Publisher::with_releases();
    for scope in [Scope::Documents, Scope::Release, Scope::Inputs, Scope::All] {
        for number in [1, 3] {
            let report = publisher.check(number, scope);
            assert_eq!(report.outcome, Outcome::Verified, "{report}");
            assert_eq!((report.components, report.assets), (2, 4));
            assert_eq!(report.outcome.exit_code(), 0);
            assert!(report.to_string().ends_with("\nverified\n"), "{report}");
        }
    }
}

#[test]
fn asset_digest_changed() {
    let mut publisher = Publisher::with_releases();
    republish(&mut publisher, |release| {
        let asset = &mut release.status.components[1].assets[0];
        asset.archive.as_mut().unwrap().sha256 = Digest::from_bytes([9; 32]);
    });
    assert_differs(&publisher.check(3, Scope::Release), &etcd(), "signed was sha256:0909");
}

#[test]
fn asset_longer_or_shorter() {
    let publisher = Publisher::with_releases();
    let content = publisher.read(&etcd());
    publisher.write(&etcd(), [&content[..], b"more"].concat());
    assert_differs(&publisher.check(3, Scope::Release), &etcd(), "more than the 36 bytes");
    publisher.write(&etcd(), &content[..35]);
    assert_differs(&publisher.check(3, Scope::Release), &etcd(), "has 35 bytes, signed were 36");
}

#[test]
fn documents_are_judged_without_their_assets() {
    let publisher = Publisher::with_releases();
    let whole = publisher.check(3, Scope::Release);
    publisher.remove(&etcd());
    let report = publisher.check(3, Scope::Documents);
    assert_eq!(report.outcome, Outcome::Verified, "{report}");
    assert!(report.bytes < whole.bytes, "{} of {} bytes", report.bytes, whole.bytes);
    let changed = [publisher.read(&the_manifest()), b"# more\n".to_vec()].concat();
    publisher.write(&the_manifest(), changed);
    assert_differs(&publisher.check(3, Scope::Documents), &the_manifest(), "");
    publisher.remove(layout::CHECKPOINT);
    assert_ne!(publisher.check(1, Scope::Documents).outcome, Outcome::Verified);
}

#[test]
fn asset_missing() {
    let publisher = Publisher::with_releases();
    publisher.remove(&etcd());
    assert_differs(&publisher.check(3, Scope::Release), &etcd(), "is missing");
}

#[test]
fn asset_listed_twice() {
    let mut publisher = Publisher::with_releases();
    republish(&mut publisher, |release| {
        let assets = &mut release.status.components[1].assets;
        assets.push(assets[0].clone());
    });
    assert_differs(&publisher.check(3, Scope::Release), &the_manifest(), "is listed twice");
}

#[test]
fn asset_left_out_or_added() {
    let mut publisher = Publisher::with_releases();
    republish(&mut publisher, |release| {
        release.status.components[1].assets.remove(0);
    });
    let report = publisher.check(3, Scope::Release);
    assert_differs(
        &report,
        &the_manifest(),
        "does not list `etcd/bin/linux/amd64/etcd`, which the plan does",
    );
    assert_differs(&report, &etcd(), "nothing that is signed speaks of it");
    republish(&mut publisher, |release| {
        release.status.components[1].assets[0].name = "other".to_owned();
    });
    let report = publisher.check(3, Scope::Release);
    assert_differs(&report, &the_manifest(), "lists `etcd/other`, which the plan does not");
}

#[test]
fn asset_outside_its_release() {
    let mut publisher = Publisher::with_releases();
    for path in ["../../1/claim", "/etc/passwd", "a/./b", ""] {
        republish(&mut publisher, |release| {
            let archive = release.status.components[1].assets[0].archive.as_mut().unwrap();
            archive.uri = format!("https://releases.example/{}", layout::artifact(&name(3), path));
        });
        assert_differs(&publisher.check(3, Scope::Release), &the_manifest(), "is not below /");
    }
}

#[test]
fn asset_without_size() {
    let mut publisher = Publisher::with_releases();
    republish(&mut publisher, |release| {
        release.status.components[1].assets[0].size = None;
    });
    let report = publisher.check(3, Scope::Release);
    assert_differs(&report, &the_manifest(), "`etcd/bin/linux/amd64/etcd` has no size");
}

#[test]
fn component_other_than_planned() {
    let mut publisher = Publisher::with_releases();
    republish(&mut publisher, |release| {
        let etcd = &mut release.status.components[1];
        etcd.git_tag = "v9".to_owned();
        etcd.git_commit = None;
        etcd.toolchain = Some("go1".to_owned());
        etcd.assets[0].os = "windows".to_owned();
        release.status.components[0].name = "other".to_owned();
    });
    let report = publisher.check(3, Scope::Release);
    for why in [
        "`gitTag` of `etcd`",
        "`gitCommit` of `etcd`",
        "`toolchain` of `etcd`",
        "`os` of `etcd/bin/linux/amd64/etcd`",
        "lists `other`, which the plan does not",
        "does not list `cni-plugins`",
    ] {
        assert_differs(&report, &the_manifest(), why);
    }
}

#[test]
fn duplicate_yaml_key() {
    let mut publisher = Publisher::with_releases();
    let text = String::from_utf8(publisher.read(&the_manifest())).unwrap();
    let text = text.replacen("kind: Release\n", "kind: Release\nkind: Release\n", 1);
    republish_text(&mut publisher, &text);
    assert_differs(&publisher.check(3, Scope::Release), &the_manifest(), "duplicate");
}

#[test]
fn manifest_not_signed() {
    let publisher = Publisher::with_releases();
    let bundle = layout::bundle(&the_manifest());
    publisher.remove(&bundle);
    assert_differs(&publisher.check(3, Scope::Release), &bundle, "nothing signs");
}

#[test]
fn manifest_changed() {
    let publisher = Publisher::with_releases();
    let text = String::from_utf8(publisher.read(&the_manifest())).unwrap();
    publisher.write(&the_manifest(), text.replace("v1.0.0", "v1.0.1"));
    assert_differs(&publisher.check(3, Scope::Release), &the_manifest(), "but the document is");
}

#[test]
fn manifest_of_another_release() {
    let mut publisher = Publisher::with_releases();
    let bytes = publisher.read(&layout::manifest(&name(1)));
    publisher.write_signed(&the_manifest(), bytes);
    let report = publisher.check(3, Scope::Release);
    assert_differs(&report, &the_manifest(), "is the manifest of `1-20-1`");
}

#[test]
fn manifest_bundle_of_another_document() {
    let publisher = Publisher::with_releases();
    let other = publisher.read(&layout::bundle(&layout::manifest(&name(1))));
    publisher.write(&layout::bundle(&the_manifest()), other);
    assert_differs(&publisher.check(3, Scope::Release), &the_manifest(), "but the document is");
}

#[test]
fn manifest_that_is_not_there() {
    let publisher = Publisher::with_releases();
    assert_unknown(
        &publisher.check(7, Scope::Release),
        &layout::manifest(&name(7)),
        "no such manifest",
    );
    let store = Directory::new(publisher.root().join("nowhere"));
    let report = check(&store, &the_manifest(), &publisher.source(), Scope::Release);
    assert_unknown(&report, &the_manifest(), "cannot be read");
}

#[test]
fn manifest_of_eks_d() {
    let publisher = Publisher::new();
    let mut release = manifest(&name(3), Digest::from_bytes([0; 32]), None);
    // As the source archive in EKS-D's own manifests.
    let source = &mut release.status.components[1].assets[0];
    source.os.clear();
    source.arch.clear();
    let text = yaml::to_string(&release).unwrap();
    let text = text
        .replace("distro.kdistro.dev", "distro.eks.amazonaws.com")
        .replace("name: kubernetes-1-20-3", "name: kubernetes-1-20-eks-3");
    publisher.write("kubernetes-1-20/kubernetes-1-20-eks-3.yaml", text);
    let file = "kubernetes-1-20/kubernetes-1-20-eks-3.yaml";
    let store = Directory::new(publisher.root());
    let report = check(&store, file, &publisher.source(), Scope::Release);
    assert_unknown(&report, file, "signs nothing");
    // Under a name of ours it is something that the release key did not sign.
    let publisher = Publisher::with_releases();
    let text = yaml::to_string(&release).unwrap();
    let text = text.replace("distro.kdistro.dev", "distro.eks.amazonaws.com");
    publisher.write(&the_manifest(), text);
    assert_eq!(publisher.check(3, Scope::Release).outcome, Outcome::Differs);
}

#[test]
fn signed_by_other_key() {
    let publisher = Publisher::with_releases();
    let key = public(&KeyPair::generate_ecdsa_p256().unwrap());
    let store = Directory::new(publisher.root());
    let root = publisher.read(layout::TRUSTED_ROOT);
    // With the store's own root, that root is the first thing the key did not sign; with one from outside, all is.
    let source = TrustSource { key: key.clone(), trusted_root: None };
    let report = check(&store, &the_manifest(), &source, Scope::Release);
    assert_differs(&report, &layout::bundle(layout::TRUSTED_ROOT), "not by the release key");
    let source = TrustSource { key, trusted_root: Some(root) };
    let report = check(&store, &the_manifest(), &source, Scope::Release);
    assert_differs(&report, &layout::bundle(&the_manifest()), "signed by another key");
    assert_differs(&report, layout::PUBLIC_KEY, "is not the key that was given");
}

#[test]
fn signature_of_other_key_under_our_name() {
    let publisher = Publisher::with_releases();
    let other = KeyPair::generate_ecdsa_p256().unwrap();
    let signature = base64(other.sign(&publisher.read(&the_manifest())).unwrap().as_bytes());
    let file = change_bundle(&publisher, |bundle| {
        bundle["messageSignature"]["signature"] = json!(signature);
    });
    assert_differs(&publisher.check(3, Scope::Release), &file, "not proven");
}

#[test]
fn log_proof_missing() {
    let publisher = Publisher::with_releases();
    let file = change_bundle(&publisher, |bundle| {
        bundle["verificationMaterial"]["tlogEntries"] = json!([]);
    });
    assert_differs(&publisher.check(3, Scope::Release), &file, "proof is missing");
}

#[test]
fn log_proof_of_other_leaf() {
    let publisher = Publisher::with_releases();
    let other = publisher.read(&layout::bundle(&layout::manifest(&name(1))));
    let other: Value = serde_json::from_slice(&other).unwrap();
    let file = change_bundle(&publisher, |bundle| {
        bundle["verificationMaterial"]["tlogEntries"] =
            other["verificationMaterial"]["tlogEntries"].clone();
    });
    assert_differs(&publisher.check(3, Scope::Release), &file, "not proven");
}

#[test]
fn log_proof_at_other_index() {
    let publisher = Publisher::with_releases();
    let file = change_bundle(&publisher, |bundle| {
        let entry = &mut bundle["verificationMaterial"]["tlogEntries"][0];
        entry["logIndex"] = json!("1");
        entry["inclusionProof"]["logIndex"] = json!("1");
    });
    assert_differs(&publisher.check(3, Scope::Release), &file, "not proven");
}

#[test]
fn unsigned_fields_of_a_proof_changed() {
    for (path, value) in [
        ("/verificationMaterial/tlogEntries/0/inclusionProof/logIndex", "1"),
        ("/verificationMaterial/tlogEntries/0/inclusionProof/treeSize", "1"),
        ("/verificationMaterial/tlogEntries/0/inclusionProof/rootHash", "AAAA"),
        ("/verificationMaterial/tlogEntries/0/logId/keyId", "AAAA"),
        ("/verificationMaterial/tlogEntries/0/kindVersion/version", "0.0.1"),
        ("/verificationMaterial/publicKey/hint", "AAAA"),
        ("/mediaType", "application/vnd.dev.sigstore.bundle+json;version=0.2"),
        ("/messageSignature/messageDigest/algorithm", "SHA2_512"),
    ] {
        let publisher = Publisher::with_releases();
        let file = change_bundle(&publisher, |bundle| {
            *bundle.pointer_mut(path).unwrap() = json!(value);
        });
        assert_differs(&publisher.check(3, Scope::Release), &file, "");
    }
}

#[test]
fn bundle_with_a_field_nobody_signed() {
    let publisher = Publisher::with_releases();
    let file = change_bundle(&publisher, |bundle| bundle["note"] = json!("trust me"));
    assert_differs(&publisher.check(3, Scope::Release), &file, "unknown field `note`");
    let bundle: Value =
        serde_json::from_slice(&publisher.read(&layout::bundle(&layout::manifest(&name(1)))))
            .unwrap();
    publisher.write(&file, serde_json::to_string_pretty(&bundle).unwrap());
    assert_differs(&publisher.check(3, Scope::Release), &file, "not in canonical form");
}

#[test]
fn checkpoint_of_other_log() {
    let publisher = Publisher::with_releases();
    let other = Publisher::with_releases();
    publisher.write(layout::CHECKPOINT, other.read(layout::CHECKPOINT));
    let report = publisher.check(3, Scope::Release);
    assert_differs(&report, layout::CHECKPOINT, "signature is not by the log key");
}

#[test]
fn log_cut_below_what_was_proven() {
    let mut publisher = Publisher::with_releases();
    let before = publisher.read(layout::CHECKPOINT);
    publisher.write_signed("kubernetes-1-20/kubernetes-1-20-4.yaml", "more");
    let newer = publisher.read("kubernetes-1-20/kubernetes-1-20-4.yaml.sigstore.json");
    assert!(!newer.is_empty());
    republish(&mut publisher, |release| {
        release.status.date = Some("2026-08-01T00:00:00Z".to_owned());
    });
    publisher.write(layout::CHECKPOINT, before);
    assert_differs(&publisher.check(3, Scope::Release), layout::CHECKPOINT, "the log was cut");
}

#[test]
fn log_rewritten_with_the_logs_own_key() {
    let publisher = Publisher::with_releases();
    let leaf_tile = Directory::new(publisher.root());
    let files = Reader::list(&leaf_tile, "log").unwrap().unwrap();
    // Another tree under the same key: all leaves but the first.
    let size = publisher.leaf_count() - 1;
    for file in files {
        publisher.remove(&file);
    }
    let mut fork = publisher.fork();
    for index in 0..=size {
        fork.append(format!("leaf {index}").into_bytes());
    }
    let report = fork.check(3, Scope::Release);
    assert_differs(&report, layout::CHECKPOINT, "does not contain the tree of");
}

#[test]
fn checkpoint_signed_for_other_tiles() {
    let publisher = Publisher::with_releases();
    let size = publisher.leaf_count();
    let root = Digest::from_bytes([3; 32]);
    let origin = crate::publisher::ORIGIN.to_owned();
    publisher.write(layout::CHECKPOINT, publisher.checkpoint(&Checkpoint { origin, size, root }));
    let report = publisher.check(3, Scope::Release);
    assert_differs(&report, layout::CHECKPOINT, "another tree than the tiles hold");
}

#[test]
fn tile_missing_or_stray() {
    let publisher = Publisher::with_releases();
    let size = publisher.leaf_count();
    let tile = format!("log/{}", kdistro_verify::log::tile_path("0", 0, size));
    publisher.remove(&tile);
    assert_differs(&publisher.check(3, Scope::Release), &tile, "is missing");
    for stray in [
        "log/tile/0/1",
        "log/tile/0/000.p/0",
        "log/tile/0/000.p/01",
        "log/note",
        "log/tile/9/000",
        "log/tile/entries/004",
    ] {
        let publisher = Publisher::with_releases();
        publisher.write(stray, "x");
        assert_differs(&publisher.check(3, Scope::Release), stray, "");
    }
}

#[test]
fn an_append_that_was_not_finished_is_no_forgery() {
    let publisher = Publisher::with_releases();
    let size = publisher.leaf_count();
    let last = format!("log/{}", kdistro_verify::log::tile_path("entries", 0, size));
    let next = format!("log/{}", kdistro_verify::log::tile_path("entries", 0, size + 1));
    publisher.write(&next, [&publisher.read(&last)[..], &[0, 1, b'x']].concat());
    let report = publisher.check(3, Scope::Release);
    assert_eq!(report.outcome, Outcome::Verified, "{report}");
    assert!(
        report.notes.iter().any(|note| note.file == next && note.message.contains("not finished"))
    );
    publisher.write(&next, [0, 1, b'x'].repeat(usize::try_from(size).unwrap() + 1));
    assert_differs(&publisher.check(3, Scope::Release), &next, "something else");
}

#[test]
fn plan_swapped() {
    let publisher = Publisher::with_releases();
    let file = layout::plan(&name(3));
    let text = String::from_utf8(publisher.read(&file)).unwrap();
    publisher.write(&file, text.replace("go1.26.3", "go1.26.4"));
    assert_differs(&publisher.check(3, Scope::Release), &file, "but the manifest names");
}

#[test]
fn plan_in_other_form_though_signed() {
    let mut publisher = Publisher::with_releases();
    let file = layout::plan(&name(3));
    let plan: Value = serde_json::from_slice(&publisher.read(&file)).unwrap();
    let text = serde_json::to_vec_pretty(&plan).unwrap();
    publisher.write(&file, &text);
    republish(&mut publisher, |release| {
        release.spec.plan.as_mut().unwrap().sha256 = hash::sha256(&text);
    });
    assert_differs(&publisher.check(3, Scope::Release), &file, "not in canonical form");
}

#[test]
fn plan_not_named_or_elsewhere() {
    let mut publisher = Publisher::with_releases();
    republish(&mut publisher, |release| release.spec.plan = None);
    assert_differs(&publisher.check(3, Scope::Release), &the_manifest(), "names no plan");
    let mut publisher = Publisher::with_releases();
    republish(&mut publisher, |release| {
        release.spec.plan.as_mut().unwrap().uri = "https://releases.example/plan".to_owned();
    });
    assert_differs(&publisher.check(3, Scope::Release), &the_manifest(), "`spec.plan.uri`");
}

#[test]
fn claim_of_another_cut() {
    let publisher = Publisher::with_releases();
    let file = layout::claim(&name(3));
    publisher.write(&file, claim(3, Digest::from_bytes([5; 32]), None));
    let report = publisher.check(3, Scope::Release);
    assert_differs(&report, &file, "but the manifest another");
    assert_differs(&report, &file, "header is not what the manifest says");
}

#[test]
fn extra_file() {
    let publisher = Publisher::with_releases();
    for file in [
        format!("{}/extra", layout::release(&name(3))),
        layout::abandoned(&name(3)),
        format!("{}.sha1", etcd()),
        "keys/other.pub".to_owned(),
    ] {
        publisher.write(&file, "x");
        let report = publisher.check(3, Scope::Release);
        assert_differs(&report, &file, "nothing that is signed speaks of it");
        publisher.remove(&file);
    }
    for file in
        ["inputs/sha256/00", "stray", "kubernetes-1-21/kubernetes-1-21-1.yaml", "releasechannels/x"]
    {
        publisher.write(file, "x");
        assert_eq!(publisher.check(3, Scope::Inputs).outcome, Outcome::Verified);
        assert_differs(
            &publisher.check(3, Scope::All),
            file,
            "nothing that is signed speaks of it",
        );
        publisher.remove(file);
    }
    // Another signed document is no CRD, however well it is signed.
    let manifest = layout::manifest(&name(3));
    for (from, to) in [
        (manifest.clone(), "crds/stray.yaml".to_owned()),
        (layout::bundle(&manifest), layout::bundle("crds/stray.yaml")),
    ] {
        publisher.write(&to, publisher.read(&from));
    }
    assert_differs(&publisher.check(3, Scope::All), "crds/stray.yaml", "is no configuration");
    publisher.remove(&layout::bundle("crds/stray.yaml"));
    publisher.write("crds/stray.yaml", "x");
    assert_differs(&publisher.check(3, Scope::All), "crds/stray.yaml", "is no configuration");
}

#[test]
fn only_its_own_lies_where_a_store_works() {
    let publisher = Publisher::with_releases();
    publisher.write(layout::WORKSHOP_TRIAL, layout::TRIAL_CONTENT);
    publisher.write(".kdistro-store/lock", "");
    // What a writer that was killed leaves.
    let unfinished = ".kdistro-store/.kdistro-new-4711-0";
    let report = publisher.check(3, Scope::All);
    assert_eq!(report.outcome, Outcome::Verified, "{report}");
    assert!(report.notes.iter().all(|note| !note.file.starts_with('.')), "{report}");
    publisher.write(unfinished, "half");
    let report = publisher.check(3, Scope::All);
    assert_eq!(report.outcome, Outcome::Verified, "{report}");
    assert!(report.notes.iter().any(|note| note.file == unfinished), "{report}");
    for stray in [
        ".kdistro-store/evil",
        ".kdistro-store/lock.sh",
        ".kdistro-store/.kdistro-new-1",
        ".kdistro-store/.kdistro-new-1-0/etcd",
        ".kdistro-store/a/lock",
        ".kdistro-storey",
        "kubernetes-1-20/.kdistro-store/lock",
    ] {
        publisher.write(stray, "x");
        let report = publisher.check(3, Scope::All);
        assert_differs(&report, stray, "nothing that is signed speaks of it");
        publisher.remove(stray);
    }
    publisher.write(".kdistro-store/lock", "hidden");
    assert_differs(&publisher.check(3, Scope::All), ".kdistro-store/lock", "is not the empty file");
    publisher.write(".kdistro-store/lock", "");
    publisher.remove(unfinished);
    std::os::unix::fs::symlink("/etc/passwd", publisher.root().join(unfinished)).unwrap();
    assert_differs(&publisher.check(3, Scope::All), unfinished, "is a symbolic link");
    std::fs::remove_dir_all(publisher.root().join(".kdistro-store")).unwrap();
    publisher.write(".kdistro-store", "a file");
    assert_differs(&publisher.check(3, Scope::All), ".kdistro-store", "nothing that is signed");
}

#[test]
fn missing_sidecar() {
    let publisher = Publisher::with_releases();
    let folder = etcd().rsplit_once('/').unwrap().0.to_owned();
    let sidecars = [format!("{}.sha256", etcd()), format!("{}.sha512", etcd())];
    for file in
        sidecars.into_iter().chain([format!("{folder}/SHA256SUM"), format!("{folder}/SHA512SUM")])
    {
        let content = publisher.read(&file);
        publisher.remove(&file);
        assert_differs(&publisher.check(3, Scope::Release), &file, "is missing");
        publisher.write(&file, [&content[..], b"\n"].concat());
        assert_differs(&publisher.check(3, Scope::Release), &file, "differs at byte");
        publisher.write(&file, content);
    }
}

#[test]
fn index_older() {
    let publisher = Publisher::with_releases();
    let current = publisher.read("releasechannels/1-20.yaml");
    let mut older = Publisher::with_releases();
    older.write("releasechannels/1-20.yaml", &current);
    // The first index of the same store listed release 1 only.
    let first = older.index.status.releases[0].clone();
    older.index.status.releases = vec![first];
    older.index.status.latest_release = 1;
    older.index.status.withheld.clear();
    older.write_index();
    assert_differs(&older.check(3, Scope::Release), "releasechannels/1-20.yaml", "does not list 3");
    assert_eq!(older.check(1, Scope::Release).outcome, Outcome::Verified);
}

#[test]
fn index_lists_another_manifest() {
    let mut publisher = Publisher::with_releases();
    publisher.index.status.releases.last_mut().unwrap().digest = Digest::from_bytes([8; 32]);
    publisher.write_index();
    assert_differs(
        &publisher.check(3, Scope::Release),
        "releasechannels/1-20.yaml",
        "lists 3 as sha256:0808",
    );
}

#[test]
fn index_without_the_release_before() {
    let mut publisher = Publisher::with_releases();
    publisher.index.status.releases.remove(0);
    publisher.write_index();
    assert_differs(
        &publisher.check(3, Scope::Release),
        "releasechannels/1-20.yaml",
        "does not list 1 as",
    );
}

#[test]
fn index_of_another_channel() {
    let mut publisher = Publisher::with_releases();
    publisher.index.spec.channel = None;
    publisher.write_index();
    let report = publisher.check(3, Scope::Release);
    assert_differs(&report, "releasechannels/1-20.yaml", "not the index of channel `1-20`");
}

#[test]
fn yanked_and_withheld_are_said_and_verified() {
    let mut publisher = Publisher::with_releases();
    publisher.index.status.yanked.push(Yanked { number: 3, reason: "loses keys".to_owned() });
    publisher.write_index();
    let report = publisher.check(3, Scope::All);
    assert_eq!(report.outcome, Outcome::Verified, "{report}");
    assert!(report.notes.iter().any(|note| note.message.contains("yanked: loses keys")));
    let release = publisher.index.status.releases.pop().unwrap();
    let reason = "not promoted".to_owned();
    publisher.index.status.withheld.push(Withheld {
        number: 3,
        digest: Some(release.digest),
        reason,
    });
    publisher.index.status.latest_release = 1;
    publisher.index.status.yanked.clear();
    publisher.write_index();
    let report = publisher.check(3, Scope::All);
    assert_eq!(report.outcome, Outcome::Verified, "{report}");
    assert!(report.notes.iter().any(|note| note.message.contains("withheld: not promoted")));
}

#[test]
fn trusted_root_swapped() {
    let publisher = Publisher::with_releases();
    let other = Publisher::with_releases();
    let bundle = layout::bundle(layout::TRUSTED_ROOT);
    publisher.write(layout::TRUSTED_ROOT, trusted_root(&other.log_key()));
    assert_differs(
        &publisher.check(3, Scope::Release),
        layout::TRUSTED_ROOT,
        "but the document is",
    );
    publisher.write(layout::TRUSTED_ROOT, other.read(layout::TRUSTED_ROOT));
    publisher.write(&bundle, other.read(&bundle));
    assert_differs(&publisher.check(3, Scope::Release), &bundle, "not by the release key");
}

#[test]
fn trusted_root_other_than_the_one_given() {
    let publisher = Publisher::with_releases();
    let other = Publisher::new();
    let store = Directory::new(publisher.root());
    let own = Some(publisher.read(layout::TRUSTED_ROOT));
    let source = TrustSource { trusted_root: own, ..publisher.source() };
    let report = check(&store, &the_manifest(), &source, Scope::All);
    assert_eq!(report.outcome, Outcome::Verified, "{report}");
    let theirs = Some(other.read(layout::TRUSTED_ROOT));
    let source = TrustSource { trusted_root: theirs, ..publisher.source() };
    let report = check(&store, &the_manifest(), &source, Scope::Release);
    assert_differs(&report, layout::TRUSTED_ROOT, "is not the trusted root that was given");
    assert_differs(&report, &layout::bundle(&the_manifest()), "stapled checkpoint");
}

#[test]
fn attestation_of_another_signer_is_said_and_not_judged() {
    let mut publisher = Publisher::with_releases();
    let mut other = Publisher::new();
    let file = format!("{}/theirs.sigstore.json", layout::attestations(&name(3)));
    let digest = hash::sha256(&publisher.read(&the_manifest()));
    let mut bundle = other.attest(Subject::new("1-20-3", &digest));
    publisher.write(&file, canonical::to_vec(&bundle).unwrap());
    let report = publisher.check(3, Scope::Release);
    assert_eq!(report.outcome, Outcome::Verified, "{report}");
    let note = report.notes.iter().find(|note| note.file == file).unwrap();
    assert!(note.message.contains("another key"), "{report}");
    assert!(note.message.ends_with("its signature was not checked"), "{report}");
    // Without a log entry too: others do not write our log.
    bundle["verificationMaterial"]["tlogEntries"] = json!([]);
    publisher.write(&file, canonical::to_vec(&bundle).unwrap());
    assert_eq!(publisher.check(3, Scope::Release).outcome, Outcome::Verified);
    // Nor bundles: a bare envelope is what a rebuilder writes. Under our own key it lacks the log's proof.
    publisher.write(&file, canonical::to_vec(&bundle["dsseEnvelope"]).unwrap());
    assert_eq!(publisher.check(3, Scope::Release).outcome, Outcome::Verified);
    let ours = publisher.attest(Subject::new("1-20-3", &digest));
    publisher.write(&file, canonical::to_vec(&ours["dsseEnvelope"]).unwrap());
    assert_differs(&publisher.check(3, Scope::Release), &file, "");
    publisher.write(&file, "{}");
    assert_differs(&publisher.check(3, Scope::Release), &file, "");
}

#[test]
fn what_no_index_offers_yet_is_verified_only_for_who_tries_it_first() {
    let publisher = Publisher::with_releases();
    let index = layout::channel_index(&name(3).channel);
    std::fs::remove_file(publisher.root().join(&index)).unwrap();
    assert_eq!(publisher.check(3, Scope::Unoffered).outcome, Outcome::Verified);
    assert_differs(&publisher.check(3, Scope::Documents), &index, "is missing");
    // Nothing else is believed for that.
    publisher.write(&the_manifest(), "kind: Release");
    assert_eq!(publisher.check(3, Scope::Unoffered).outcome, Outcome::Differs);
}

#[test]
fn what_tests_came_to_is_said_and_must_be_of_the_right_form() {
    let mut publisher = Publisher::with_releases();
    let file = layout::test_result(&name(3));
    let digest = hash::sha256(&publisher.read(&the_manifest()));
    let mut tested = |predicate: Value| {
        let bundle = publisher.attest_statement(&Statement {
            kind: STATEMENT.to_owned(),
            subject: vec![Subject::new("1-20-3", &digest)],
            predicate_type: TEST_RESULT.to_owned(),
            predicate,
        });
        publisher.write(&file, canonical::to_vec(&bundle).unwrap());
        publisher.check(3, Scope::Release)
    };
    let report = tested(json!({"result": "FAILED", "configuration": [], "failedTests": ["a"]}));
    assert_eq!(report.outcome, Outcome::Verified, "{report}");
    let note = report.notes.iter().find(|note| note.file == file).unwrap();
    assert_eq!(note.message, "says that its tests came to FAILED");
    let report = tested(json!({"result": "FINE", "configuration": []}));
    assert_differs(&report, &file, "not the expected in-toto statement");
}

#[test]
fn attestation_about_something_else() {
    let mut publisher = Publisher::with_releases();
    let file = format!("{}/odd.sigstore.json", layout::attestations(&name(3)));
    let bundle = publisher.attest(Subject::new("odd", &Digest::from_bytes([4; 32])));
    publisher.write(&file, canonical::to_vec(&bundle).unwrap());
    assert_differs(&publisher.check(3, Scope::Release), &file, "is not about this release alone");
    // Nor may it speak of something else beside.
    let mut bundle =
        publisher.attest(Subject::new("1-20-3", &hash::sha256(&publisher.read(&the_manifest()))));
    publisher.write(&file, canonical::to_vec(&bundle).unwrap());
    assert_eq!(publisher.check(3, Scope::Release).outcome, Outcome::Verified);
    // More signatures than anybody tries, of nobody.
    let many = vec![json!({"sig": "AAAA"}); 17];
    bundle["dsseEnvelope"]["signatures"] = json!(many);
    publisher.write(&file, canonical::to_vec(&bundle["dsseEnvelope"]).unwrap());
    assert_differs(&publisher.check(3, Scope::Release), &file, "");
}

#[test]
fn input_changed_or_missing() {
    let publisher = Publisher::with_releases();
    let file = layout::input(&hash::sha256(b"the source of etcd"));
    publisher.write(&file, "the source of etce");
    assert_eq!(publisher.check(3, Scope::Release).outcome, Outcome::Verified);
    assert_differs(&publisher.check(3, Scope::Inputs), &file, "is sha256:");
    publisher.write(&file, "the source");
    assert_differs(&publisher.check(3, Scope::Inputs), &file, "has 10 bytes");
    publisher.remove(&file);
    assert_differs(&publisher.check(3, Scope::Inputs), &file, "is missing");
}

#[test]
fn what_is_wrong_wins_over_what_cannot_be_read() {
    let publisher = Publisher::with_releases();
    let folder = publisher.root().join(etcd());
    std::fs::remove_file(&folder).unwrap();
    std::fs::create_dir(&folder).unwrap();
    assert_differs(&publisher.check(3, Scope::Release), &etcd(), "is not a regular file");
}

#[test]
fn links_out_of_the_store_are_not_followed() {
    let size = Publisher::with_releases().leaf_count();
    for (link, named) in [
        ("kubernetes-1-20", the_manifest()),
        ("kubernetes-1-20/releases", layout::claim(&name(3))),
        ("keys", layout::TRUSTED_ROOT.to_owned()),
        ("containers", layout::image_blob(&Blobs::new().index)),
        ("log/tile", format!("{}/tile/entries/000.p/{size}", layout::LOG)),
    ] {
        let publisher = Publisher::with_releases();
        let elsewhere = tempfile::tempdir().unwrap();
        let (path, there) = (publisher.root().join(link), elsewhere.path().join("there"));
        std::fs::rename(&path, &there).unwrap();
        std::os::unix::fs::symlink(&there, &path).unwrap();
        let report = publisher.check(3, Scope::Release);
        assert_eq!(report.outcome, Outcome::Differs, "{report}");
        assert_differs(&report, &named, "");
        assert!(report.to_string().contains(&format!("`{link}` is a symbolic link")), "{report}");
        // Listing must not look behind a link either.
        let store = Directory::new(publisher.root());
        assert!(store.list(link).is_err() && store.list(&format!("{link}/more")).is_err());
    }
}

#[test]
fn tiles_are_not_read_beyond_what_a_tile_can_hold() {
    for (tile, limit) in
        [("entries", TILE_WIDTH * 65_537), ("0", TILE_WIDTH * 32), ("1", TILE_WIDTH * 32)]
    {
        let publisher = Publisher::with_releases();
        let file = format!("log/tile/{tile}/000.p/5");
        publisher.write(&file, "");
        let opened = std::fs::File::options().write(true).open(publisher.root().join(&file));
        opened.unwrap().set_len(limit + 1).unwrap();
        let report = publisher.check(3, Scope::Release);
        assert_differs(&report, &file, &format!("is larger than the {limit} bytes"));
    }
}

#[test]
fn all_problems_are_listed() {
    let publisher = Publisher::with_releases();
    let files =
        [etcd(), layout::claim(&name(3)), layout::plan(&name(3)), layout::PUBLIC_KEY.to_owned()];
    for file in &files {
        publisher.write(file, "changed");
    }
    let report = publisher.check(3, Scope::Release);
    for file in &files {
        assert_differs(&report, file, "");
    }
}
