//! Judges that nobody here wrote.

use std::{collections::BTreeMap, fs, path::Path};

use kdistro_formats::{canonical, plan::Plan};

use crate::{
    run::{must, not_judged, program, run, with},
    shared::{MANIFEST, copy, files, scratch, shared},
    tools,
};

const ARTIFACTS: &str = "kubernetes-1-20/releases/1/artifacts";

#[test]
fn sha256sum_and_sha512sum_accept_every_sum_and_sidecar() {
    let artifacts = shared().store().join(ARTIFACTS);
    let mut checked = 0;
    for name in files(&artifacts) {
        let path = artifacts.join(&name);
        let sums = match path.file_name().unwrap().to_str().unwrap() {
            "SHA256SUM" => "sha256sum",
            "SHA512SUM" => "sha512sum",
            name if name.ends_with(".sha256") => "sha256sum",
            name if name.ends_with(".sha512") => "sha512sum",
            _ => continue,
        };
        let mut check = with(sums, ["--check", "--strict"]);
        must(check.arg(&path).current_dir(path.parent().unwrap()));
        checked += 1;
    }
    assert_eq!(checked, 8, "two archives with two sidecars and two lists each");
}

/// The programs of an archive, unpacked by the host's tar.
fn unpack(archive: &str, into: &Path) -> Vec<String> {
    let path = shared().store().join(ARTIFACTS).join(archive);
    let listed = must(with("tar", ["-tzf"]).arg(&path));
    must(with("tar", ["-xzf"]).arg(&path).arg("-C").arg(into));
    let found = files(into);
    let listed = listed.lines().map(|name| name.trim_start_matches("./"));
    let mut listed: Vec<_> = listed.filter(|name| !name.ends_with('/')).collect();
    listed.sort_unstable();
    assert_eq!(listed, found);
    found
}

#[test]
fn tar_lists_the_archives_as_eks_d_has_them_and_go_reads_the_programs() {
    let folder = scratch("archives");
    let (etcd, plugins) = (folder.path().join("etcd"), folder.path().join("plugins"));
    for folder in [&etcd, &plugins] {
        fs::create_dir(folder).unwrap();
    }
    let top = "etcd-v3.4.23-linux-amd64";
    let found = unpack("etcd/v3.4.23/etcd-linux-amd64-v3.4.23.tar.gz", &etcd);
    let expected = ["LICENSE", "NOTICE", "etcd", "etcdctl"].map(|name| format!("{top}/{name}"));
    assert_eq!(found, expected);
    let found = unpack("plugins/v1.1.1/cni-plugins-linux-amd64-v1.1.1.tar.gz", &plugins);
    assert_eq!(found.len(), 17, "sixteen plugins and a licence: {found:?}");
    let go = shared().toolchain().join("bin/go");
    let version = fs::read_to_string(shared().toolchain().join("VERSION")).unwrap();
    let version = version.lines().next().unwrap();
    let programs = ["etcd", "etcdctl"].map(|name| etcd.join(top).join(name));
    let plugins = found.iter().filter(|name| *name != "LICENSE").map(|name| plugins.join(name));
    for path in programs.into_iter().chain(plugins) {
        let facts = must(with(&go, ["version", "-m"]).arg(&path));
        for fact in [version, "-trimpath=true", "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64"] {
            assert!(facts.contains(fact), "{}: {facts}", path.display());
        }
        assert!(!facts.contains("vcs."), "{facts}");
    }
}

#[test]
fn pyyaml_and_yq_read_the_same_values_in_the_documents() {
    for name in [MANIFEST, "releasechannels/1-20.yaml"] {
        let document = shared().store().join(name);
        let python = run(program("python3").arg(tools::judges().join("values.py")).arg(&document));
        if python.code != 0 {
            assert!(python.err.contains("No module named"), "{}", python.err);
            not_judged("YAML by PyYAML", &python.err);
            return;
        }
        let pyyaml: serde_json::Value = serde_json::from_str(&python.out).unwrap();
        if name == MANIFEST {
            let release = kdistro_formats::release::Release::from_yaml(
                &fs::read_to_string(&document).unwrap(),
            );
            assert_eq!(serde_json::to_value(release.unwrap()).unwrap(), pyyaml);
        }
        if !tools::is_installed("yq") {
            not_judged("YAML by yq", "yq is not installed");
            continue;
        }
        // Debian's yq wraps jq and prints JSON; the one written in Go has to be asked for it.
        let mut answer = run(with("yq", ["."]).arg(&document));
        if serde_json::from_str::<serde_json::Value>(&answer.out).is_err() {
            answer = run(with("yq", ["-o=json", "."]).arg(&document));
        }
        let yq: serde_json::Value = serde_json::from_str(&answer.out)
            .unwrap_or_else(|error| panic!("{error}: {} {}", answer.out, answer.err));
        assert_eq!(yq, pyyaml);
    }
}

/// Every signed document with its bundle.
fn signed() -> Vec<(String, String)> {
    let store = shared().store();
    let index = must(program("sha256sum").arg(store.join("releasechannels/1-20.yaml")));
    let index = index.split_whitespace().next().unwrap();
    let bundle = |name: &str| (name.to_owned(), format!("{name}.sigstore.json"));
    let found = vec![
        bundle(MANIFEST),
        bundle("keys/trusted_root.json"),
        (
            "releasechannels/1-20.yaml".to_owned(),
            format!("releasechannels/bundles/sha256-{index}.sigstore.json"),
        ),
    ];
    let bundles = files(&store).into_iter().filter(|name| name.ends_with(".sigstore.json"));
    assert_eq!(bundles.count(), found.len(), "a bundle without a document here");
    found
}

#[test]
fn openssl_verifies_the_signature_of_every_bundle() {
    let folder = scratch("openssl");
    let signature = folder.path().join("signature");
    for (document, bundle) in signed() {
        let store = shared().store();
        let bundle: serde_json::Value =
            serde_json::from_slice(&fs::read(store.join(bundle)).unwrap()).unwrap();
        let encoded = bundle["messageSignature"]["signature"].as_str().unwrap();
        let mut decode = with("openssl", ["base64", "-d", "-A", "-out"]);
        let text = folder.path().join("text");
        fs::write(&text, encoded).unwrap();
        must(decode.arg(&signature).arg("-in").arg(text));
        let verify = |document: &Path| {
            let mut verify = with("openssl", ["dgst", "-sha256", "-verify"]);
            run(verify.arg(&shared().key).arg("-signature").arg(&signature).arg(document)).code
        };
        assert_eq!(verify(&store.join(document)), 0);
        assert_ne!(verify(&shared().key), 0, "the signature of another document");
    }
}

/// Runs a judge on every signed document, and on one with a bundle of another.
fn judge(judge: impl Fn(&Path, &Path) -> i32) {
    let (store, signed) = (shared().store(), signed());
    for (document, bundle) in &signed {
        assert_eq!(judge(&store.join(document), &store.join(bundle)), 0, "{document}");
    }
    let (document, (_, bundle)) = (&signed[0].0, &signed[1]);
    assert_ne!(judge(&store.join(document), &store.join(bundle)), 0, "the bundle of another");
}

#[test]
fn cosign_verifies_every_bundle_with_the_published_key_and_trusted_root() {
    let folder = scratch("cosign");
    let cosign = match tools::cosign(folder.path()) {
        Ok(cosign) => cosign,
        Err(why) => return not_judged("bundles by cosign", &why),
    };
    let root = shared().store().join("keys/trusted_root.json");
    judge(|document, bundle| {
        let mut verify = with(&cosign, ["verify-blob", "--key"]);
        verify.env("HOME", folder.path()).arg(&shared().key);
        verify.arg("--bundle").arg(bundle).arg("--trusted-root").arg(&root);
        run(verify.arg(document)).code
    });
}

#[test]
fn sigstore_js_verifies_every_bundle() {
    let folder = scratch("sigstore-js");
    let script = match tools::sigstore_js(folder.path()) {
        Ok(script) => script,
        Err(why) => return not_judged("bundles by sigstore-js", &why),
    };
    let root = shared().store().join("keys/trusted_root.json");
    judge(|document, bundle| {
        let mut verify = with("node", [&script, &root, &shared().key]);
        run(verify.arg(bundle).arg(document).current_dir(folder.path())).code
    });
}

#[test]
fn tesseras_fsck_accepts_the_log_and_refuses_a_changed_one() {
    let folder = scratch("tessera");
    let fsck = match tools::tessera_fsck(folder.path(), &shared().toolchain()) {
        Ok(fsck) => fsck,
        Err(why) => return not_judged("the log by Tessera's fsck", &why),
    };
    let key = shared().store().join("keys/log.pub");
    let check = |log: &Path| run(program(&fsck).arg(log).arg(&key).arg("log.local.kdistro.dev"));
    let accepted = check(&shared().store().join("log")).expect(0);
    assert!(accepted.out.contains("accepted"));
    copy(&shared().store().join("log"), folder.path());
    let log = folder.path().join("log");
    let entries = files(&log).into_iter().filter(|name| name.starts_with("tile/entries"));
    let newest = log.join(entries.max().unwrap());
    let mut bytes = fs::read(&newest).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(newest, bytes).unwrap();
    check(&log).expect(1);
}

/// Where the trees of a step's mounts lie in the shared home.
fn outside(
    plan: &Plan,
    project: &str,
) -> (BTreeMap<String, String>, Vec<String>, BTreeMap<String, String>) {
    let step = plan.steps.iter().find(|step| step.project.to_string() == project).unwrap();
    let place = |digest: &kdistro_formats::Digest| {
        shared().home.join("trees").join(digest.hex()).display().to_string()
    };
    let mounts = step.body.mounts.iter().map(|(path, digest)| (path.clone(), place(digest)));
    (mounts.collect(), step.body.argv.clone(), step.body.env.clone())
}

#[test]
fn a_bare_go_build_outside_the_container_gives_the_same_plugins() {
    let folder = scratch("bare");
    let (published, built) = (folder.path().join("published"), folder.path().join("built"));
    for folder in [&published, &built] {
        fs::create_dir(folder).unwrap();
    }
    let plan = fs::read(shared().store().join("kubernetes-1-20/releases/1/plan.json")).unwrap();
    let plan: Plan = canonical::from_slice(&plan).unwrap();
    let (mounts, argv, mut env) = outside(&plan, "containernetworking/plugins");
    // The same settings, with the folders where they lie out here.
    env.insert("GOROOT".to_owned(), mounts["/go"].clone());
    env.insert("GOMODCACHE".to_owned(), mounts["/modules"].clone());
    env.insert("PATH".to_owned(), format!("{}/bin", mounts["/go"]));
    for (name, place) in
        [("HOME", "home"), ("TMPDIR", "tmp"), ("GOCACHE", "cache"), ("GOPATH", "path")]
    {
        let place = folder.path().join(place);
        fs::create_dir(&place).unwrap();
        env.insert(name.to_owned(), place.display().to_string());
    }
    let arguments = argv[1..].iter().map(|argument| match argument.as_str() {
        "/out/" => format!("{}/", built.display()),
        other => other.to_owned(),
    });
    let mut build = with(format!("{}/bin/go", mounts["/go"]), arguments);
    must(build.env_clear().envs(env).current_dir(&mounts["/src"]));
    let found = unpack("plugins/v1.1.1/cni-plugins-linux-amd64-v1.1.1.tar.gz", &published);
    let programs: Vec<_> = found.into_iter().filter(|name| name != "LICENSE").collect();
    assert_eq!(programs, files(&built));
    for name in programs {
        assert!(
            fs::read(published.join(&name)).unwrap() == fs::read(built.join(&name)).unwrap(),
            "{name}"
        );
    }
}
