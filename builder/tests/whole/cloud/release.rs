//! A release goes through a cloud: cut into S3, a registry, SNS and KMS, announced, received from a queue, verified with
//! the public key alone, promoted to a second environment, and pulled from there by skopeo.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kdistro_formats::release::Release;
use kdistro_verify::hash::sha256;

use super::Cloud;
use crate::{
    run::{KDISTRO, Ran, must, path, run, verifier, with},
    shared::{DATE, MANIFEST, PART, commit_all, copy_repository, scratch, shared},
    tools,
};

/// A machine that publishes to two environments in one cloud.
struct Machine(Cloud);

impl Machine {
    fn start() -> Self {
        let machine = Self(Cloud::start(scratch("cloud")));
        copy_repository(&machine.path("repository"));
        for name in ["dev", "production"] {
            let environment = machine.0.environment(name);
            let file = format!("repository/infra/environments/{name}.yaml");
            let text = machine.0.file(&environment, "", machine.0.bed.aws());
            fs::write(machine.path(&file), text).unwrap();
        }
        commit_all(&machine.path("repository"), "two environments in a cloud");
        // What was built is not built again: large, and never written in place, so it is linked.
        fs::create_dir_all(machine.path("home")).unwrap();
        for name in ["content", "steps", "assemblies"] {
            let from = shared().home.join(name);
            must(with("cp", ["-al"]).arg(from).arg(machine.path("home")));
        }
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.folder().join(name)
    }

    fn kdistro(&self, arguments: &[&str]) -> Ran {
        let mut kdistro = with(KDISTRO, arguments);
        kdistro.env_clear().env("PATH", path()).env("HOME", self.0.folder());
        self.0.enter(&mut kdistro).current_dir(self.path("repository"));
        run(kdistro.arg("--home").arg(self.path("home")))
    }

    /// Verifies a release at its public address, as a stranger with a key.
    fn verify(&self, environment: &str, key: &Path) -> Ran {
        let manifest = format!("{}/{MANIFEST}", self.0.address(environment, ""));
        run(with(verifier(), ["--key"]).arg(key).arg(manifest))
    }

    fn key(&self, environment: &str) -> PathBuf {
        let key = self.path(&format!("{environment}.pub"));
        let shown = self.kdistro(&["key", "show", "--environment", environment]).expect(0);
        fs::write(&key, shown.out).unwrap();
        key
    }
}

#[test]
fn a_release_goes_through_a_cloud() {
    let machine = Machine::start();
    let cloud = &machine.0;
    let cut = ["cut", "1-20", "--date", DATE, "--environment", "dev"];
    let ran = machine.kdistro(&[&cut[..], &PART].concat()).expect(0);
    // Where it can be read, which is not where it was written to.
    let address =
        fs::read_to_string(machine.path("repository/release-manifests/distribution.yaml")).unwrap();
    let address = address.lines().find_map(|line| line.strip_prefix("url: ")).unwrap();
    ran.prints(&["released 1-20-1", &format!("manifest {address}/{MANIFEST}\n")]);
    // Received, and verified with nothing but the public key.
    let heard = cloud.receive("dev").remove(0);
    assert_eq!((heard.environment.as_str(), heard.number), ("dev", 1));
    let manifest = cloud.object("dev", MANIFEST);
    assert_eq!(heard.manifest.sha256, sha256(&manifest));
    assert_eq!(heard.manifest.content.unwrap().as_bytes(), manifest);
    let (dev, production) = (machine.key("dev"), machine.key("production"));
    machine.verify("dev", &dev).expect(0).prints(&["verified"]);
    machine.verify("dev", &production).expect(1);
    cosign_verifies(&machine, &dev, 0);
    cosign_verifies(&machine, &production, 1);
    // Nothing changed: nothing is published or announced again.
    machine.kdistro(&[&cut[..], &PART].concat()).expect(0).prints(&["nothing changed"]);
    assert!(cloud.receive("dev").is_empty());

    let promote = ["promote", "1-20-1", "--from", "dev", "--to", "production"];
    machine.kdistro(&[&promote[..], &["--dry-run"]].concat()).expect(0).prints(&["would copy"]);
    machine.kdistro(&promote).expect(0).prints(&["release 1-20-1 is promoted to production"]);
    assert_eq!(cloud.object("production", MANIFEST), manifest);
    let heard = cloud.receive("production").remove(0);
    assert_eq!(heard.environment, "production");
    assert_eq!(heard.manifest.sha256, sha256(&manifest));
    machine.verify("production", &production).expect(0).prints(&["verified"]);
    machine.verify("production", &dev).expect(1);
    pull(&machine, &manifest);

    let yank = ["yank", "1-20-1", "--reason", "a trial", "--environment", "production"];
    machine.kdistro(&yank).expect(0);
    assert_eq!(cloud.receive("production").remove(0).yanked.as_deref(), Some("a trial"));
    machine.verify("production", &production).expect(0).prints(&["was yanked: a trial"]);
}

/// Cosign verifies the manifest of `dev`, whose keys are in KMS, with a public key.
fn cosign_verifies(machine: &Machine, key: &Path, code: i32) {
    let fetch = |name: &str| {
        let path = machine.path(name.rsplit('/').next().unwrap());
        fs::write(&path, machine.0.object("dev", name)).unwrap();
        path
    };
    let (bundle, root) = (format!("{MANIFEST}.sigstore.json"), "keys/trusted_root.json");
    let mut cosign = tools::debian("cosign");
    cosign.env("HOME", machine.0.folder()).args(["verify-blob", "--key"]).arg(key);
    cosign.arg("--bundle").arg(fetch(&bundle)).arg("--trusted-root").arg(fetch(root));
    run(cosign.arg(fetch(MANIFEST))).expect(code);
}

/// Skopeo pulls the image of etcd from the second environment, by tag and by the digest that the manifest says.
fn pull(machine: &Machine, manifest: &[u8]) {
    let release = Release::from_yaml(&String::from_utf8_lossy(manifest)).unwrap();
    let mut assets = release.status.components.iter().flat_map(|component| &component.assets);
    let image = assets.find_map(|asset| asset.image.as_ref()).unwrap();
    let digest = image.image_digest.unwrap();
    let (_, name) = image.uri.split_once('/').unwrap();
    let (repository, _) = name.rsplit_once(':').unwrap();
    let certificates = machine.path("certificates");
    fs::create_dir(&certificates).unwrap();
    fs::copy(machine.0.bed.ca(), certificates.join("ca.crt")).unwrap();
    let registry = format!("docker://{}/production", machine.0.bed.registry());
    let images = [format!("{registry}/{name}"), format!("{registry}/{repository}@{digest}")];
    for (number, image) in images.into_iter().enumerate() {
        let folder = machine.path(&format!("pulled-{number}"));
        let mut skopeo = tools::judge("skopeo");
        let authority = machine.path("docker/config.json");
        skopeo.args(["copy", "--all", "--quiet", "--insecure-policy", "--authfile"]).arg(authority);
        skopeo.arg("--src-cert-dir").arg(&certificates);
        must(skopeo.arg(image).arg(format!("dir:{}", folder.display())));
        assert_eq!(sha256(&fs::read(folder.join("manifest.json")).unwrap()), digest);
    }
}
