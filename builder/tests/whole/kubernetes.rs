//! Kubernetes as it is cut, judged by itself: its kubeadm, kube-apiserver and kubectl, and the programs of its images.
//!
//! What etcd alone can show is shown on the release that all tests share. The rest needs a cut of Kubernetes, which
//! takes a quarter of an hour on two cores, and fails without one. From the top of the repository:
//! ```text
//! cargo run -p kdistro -- cut 1-20 --home DIR && KDISTRO_TEST_RELEASE=DIR cargo test -p kdistro --test whole kubernetes -- --ignored
//! ```

mod cut;
mod servers;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use kdistro_formats::channel::ReleaseChannel;
use kdistro_testbed::{Server, Testbed};
use kdistro_verify::hash::sha256;

use self::{
    cut::{Cut, Image, arch},
    servers::Api,
};
use crate::{
    run::{Ran, is_root, must, not_judged, run, with},
    shared::scratch,
    tools,
};

/// True when images for a platform can start here, by themselves or by an emulator; says so when not.
fn can_start(platform: &str) -> bool {
    let emulator = match platform.strip_prefix("linux/") {
        Some(own) if own == arch() => return true,
        Some("arm64") => "qemu-aarch64-static",
        Some("amd64") => "qemu-x86_64-static",
        other => panic!("images for {other:?}"),
    };
    let found = tools::is_installed(emulator);
    if !found {
        not_judged(&format!("images for {platform}"), &format!("{emulator} is not installed"));
    }
    found
}

/// Starts the entry point of every image for every platform; it must say the version that it was built as.
fn every_image_starts(cut: &Cut) {
    for image in cut.images() {
        let (argument, expected) = image.says();
        for platform in image.platforms.iter().filter(|platform| can_start(platform)) {
            let ran =
                cut.image("run", image.name, &["--platform", platform, "--", argument]).expect(0);
            ran.prints(&[&expected]);
        }
    }
}

#[test]
fn every_image_of_the_shared_release_starts_and_says_its_version() {
    every_image_starts(&Cut::shared());
}

#[test]
#[ignore = "needs a cut of Kubernetes: KDISTRO_TEST_RELEASE=DIR"]
fn every_image_of_kubernetes_starts_and_says_its_version() {
    let cut = Cut::given();
    let names: BTreeSet<_> = cut.images().iter().map(|image| image.name).collect();
    for name in [
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-proxy",
        "kube-scheduler",
        "pause",
    ] {
        assert!(names.contains(name), "{name} is not in {names:?}");
    }
    every_image_starts(&cut);
    // What pause is for, it does: it stays.
    cut.image("run", "pause", &["--seconds", "2"]).expect(2).says(&["still at work after 2 s"]);
}

/// The configuration of a release for kubeadm, and kubeadm itself.
struct Kubeadm {
    program: PathBuf,
    /// The folder that kubeadm takes for the root of a node.
    root: PathBuf,
}

impl Kubeadm {
    fn of(cut: &Cut, folder: &Path) -> Self {
        let root = folder.join("node");
        fs::create_dir(&root).unwrap();
        let published = fs::read_to_string(cut.document("kubeadm.yaml")).unwrap();
        // As on a node, which adds its own address; here it has none.
        let (version, _) = published.split_once('\n').unwrap();
        let node = format!(
            "---\n{version}\nkind: InitConfiguration\nlocalAPIEndpoint:\n  advertiseAddress: 192.0.2.1\n"
        );
        fs::write(root.join("kubeadm.yaml"), published + &node).unwrap();
        Self { program: cut.program("kubeadm", folder), root }
    }

    /// Asks for the images that the published configuration makes kubeadm take.
    fn images(&self, cut: &Cut) -> Vec<String> {
        let mut list = with(&self.program, ["config", "images", "list", "--config"]);
        let listed = must(list.arg(cut.document("kubeadm.yaml")));
        listed.lines().map(str::to_owned).collect()
    }

    /// Runs a phase of `kubeadm init` as root of the node.
    fn phase(&self, phase: &[&str]) -> Ran {
        let mut command = in_namespaces(&["--net"]);
        command.arg(&self.program).arg("--rootfs").arg(&self.root).args(["init", "phase"]);
        run(command.args(phase).args(["--config", "/kubeadm.yaml"]))
    }
}

/// `unshare` with these namespaces, in which this user is root.
fn in_namespaces(which: &[&str]) -> Command {
    let mut command = with("unshare", which);
    if !is_root() {
        command.arg("--map-root-user");
    }
    command.arg("--");
    command
}

/// The image that a name such as `registry.example.org/1-20-1/etcd:v3` means, if the release has it.
fn named<'a>(images: &'a [Image<'a>], reference: &str) -> Option<&'a Image<'a>> {
    let (path, _) = reference.rsplit_once(':').unwrap();
    let (_, name) = path.rsplit_once('/').unwrap();
    images.iter().find(|image| image.name == name)
}

/// Asks skopeo for an image's manifest as it is, with these settings of registries.
fn raw(reference: &str, settings: &Path) -> Ran {
    let mut inspect = tools::judge("skopeo");
    inspect.arg("--registries-conf").arg(settings);
    run(inspect.args(["inspect", "--raw", reference]))
}

#[test]
#[ignore = "needs a cut of Kubernetes: KDISTRO_TEST_RELEASE=DIR"]
fn kubeadm_names_images_that_skopeo_finds_under_the_manifests_digests() {
    let (cut, folder) = (Cut::given(), scratch("kubeadm"));
    let (images, kubeadm) = (cut.images(), Kubeadm::of(&cut, folder.path()));
    let names = kubeadm.images(&cut);
    let release = format!("/{}/", cut.release.name());
    let (ours, others): (Vec<_>, Vec<_>) = names.iter().partition(|name| name.contains(&release));
    // All that make a control plane, and nothing from elsewhere that the channel has.
    let of_kubeadm = |image: &&Image<'_>| {
        ["kubernetes", "etcd", "coredns"].contains(&image.component.name.as_str())
    };
    let wanted: BTreeSet<_> = images.iter().filter(of_kubeadm).map(|image| image.name).collect();
    let found: Vec<_> = ours.iter().map(|name| named(&images, name).unwrap().name).collect();
    assert_eq!((found.len(), found.into_iter().collect()), (wanted.len(), wanted), "{names:?}");
    assert!(others.iter().all(|name| named(&images, name).is_none()), "{others:?}");
    // Anybody's own registry, under the public name: as a node with a mirror for it would ask.
    let bed = Testbed::start(&[Server::PlainRegistry]).unwrap();
    let settings = folder.path().join("registries.conf");
    let (public, _) = ours[0].split_once('/').unwrap();
    let text = format!(
        "[[registry]]\nprefix = \"{public}\"\nlocation = \"{}\"\ninsecure = true\n",
        bed.plain_registry()
    );
    fs::write(&settings, text).unwrap();
    for name in ours {
        let (_, path) = name.split_once('/').unwrap();
        let (local, digest) = (cut.in_local_registry(name), named(&images, name).unwrap().digest);
        assert_eq!(sha256(raw(&local, &settings).expect(0).out.as_bytes()), digest, "{local}");
        let mut copy = tools::judge("skopeo");
        copy.args([
            "copy",
            "--quiet",
            "--all",
            "--insecure-policy",
            "--dest-tls-verify=false",
            &local,
        ]);
        must(copy.arg(format!("docker://{}/{path}", bed.plain_registry())));
        let pulled = raw(&format!("docker://{name}"), &settings).expect(0).out;
        assert_eq!(sha256(pulled.as_bytes()), digest, "{name}");
        for wrong in [format!("{local}x"), format!("docker://{name}x")] {
            assert_ne!(raw(&wrong, &settings).code, 0, "{wrong}");
        }
    }
}

/// Image and program of a static pod.
fn container(pod: &str) -> (&str, &str) {
    let mut lines = pod.lines().map(str::trim);
    let program = lines.by_ref().skip_while(|line| *line != "- command:").nth(1).unwrap();
    let image = lines.find_map(|line| line.strip_prefix("image: ")).unwrap();
    assert_eq!(pod.matches("image: ").count(), 1, "{pod}");
    (image, program.trim_start_matches("- "))
}

#[test]
#[ignore = "needs a cut of Kubernetes: KDISTRO_TEST_RELEASE=DIR"]
fn kubeadm_writes_static_pods_with_just_these_images_and_their_programs_start() {
    let (cut, folder) = (Cut::given(), scratch("kubeadm"));
    let (images, kubeadm) = (cut.images(), Kubeadm::of(&cut, folder.path()));
    kubeadm.phase(&["control-plane", "all"]).expect(0);
    kubeadm.phase(&["etcd", "local"]).expect(0);
    let named_before = kubeadm.images(&cut);
    let mut found = BTreeSet::new();
    for pod in fs::read_dir(kubeadm.root.join("etc/kubernetes/manifests")).unwrap() {
        let pod = fs::read_to_string(pod.unwrap().path()).unwrap();
        let (name, program) = container(&pod);
        assert!(
            named_before.iter().any(|before| before == name),
            "{name} is not in {named_before:?}"
        );
        let image = named(&images, name).unwrap();
        // The pod names the program and leaves the entry point of the image aside.
        let (argument, expected) = image.says();
        let started = cut.image("run", image.name, &["--entrypoint", program, "--", argument]);
        started.expect(0).prints(&[&expected]);
        found.insert(image.name);
    }
    let expected = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];
    assert_eq!(found, expected.into());
}

/// What an API server must refuse of a document: what is replaced by what, and what it says.
type Broken<'a> = &'a [(&'a str, &'a str, &'a str)];

const BROKEN_RELEASE: Broken<'_> = &[
    ("\n  number: ", "\n  number: -", "spec.number"),
    ("\n  channel: ", "\n  channel: v", "spec.channel"),
    ("          type: Image\n", "          type: Imag\n", "status.components.assets.type"),
    ("imageDigest: sha256:", "imageDigest: sha512:", "status.components.assets.image.imageDigest"),
    ("          size: ", "          size: -", "status.components.assets.size"),
    ("      gitTag: ", "      gitTga: ", "status.components.gitTag"),
    ("\n  components:", "\n  parts:", "status.components"),
    ("\nstatus:", "\nstate:", "status"),
    ("name: kubernetes-", "name: k8s-", "metadata.name"),
];

const BROKEN_CHANNEL: Broken<'_> = &[
    ("digest: sha256:", "digest: sha512:", "status.releases.digest"),
    ("latestRelease: ", "latestRelease: -", "status.latestRelease"),
    ("active: true", "active: 1", "status.active"),
];

/// The server itself is asked: kubectl's own look at the fields is turned off.
fn refuses(api: &Api, document: &Path, broken: Broken<'_>) {
    let text = fs::read_to_string(document).unwrap();
    let changed = document.file_name().unwrap().to_str().unwrap();
    let folder = scratch("broken");
    let path = folder.path().join(changed);
    let apply =
        ["apply", "--validate=false", "--dry-run=server", "--filename", path.to_str().unwrap()];
    fs::write(&path, &text).unwrap();
    api.kubectl(&apply).expect(0);
    for (good, bad, field) in broken {
        assert!(text.contains(good), "`{good}` is not in {changed}");
        fs::write(&path, text.replace(good, bad)).unwrap();
        api.kubectl(&apply).expect(1).says(&[field]);
    }
    // And kubectl refuses what nobody knows, which a server drops.
    fs::write(&path, text.replacen("\nspec:\n", "\nspec:\n  colour: red\n", 1)).unwrap();
    api.kubectl(&["apply", "--dry-run=server", "--filename", path.to_str().unwrap()])
        .expect(1)
        .says(&["unknown field \"colour\""]);
}

#[test]
#[ignore = "needs a cut of Kubernetes: KDISTRO_TEST_RELEASE=DIR"]
fn kube_apiserver_takes_the_definitions_and_every_manifest_and_refuses_broken_fields() {
    let (cut, folder) = (Cut::given(), scratch("api"));
    let api = Api::start(&cut, folder.path());
    let store = cut.store();
    let crds = store.join("crds").display().to_string();
    api.kubectl(&["apply", "--filename", &crds]).expect(0);
    api.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "--filename", &crds])
        .expect(0);
    let index = store.join(format!("releasechannels/{}.yaml", cut.release.spec.channel));
    let channel = ReleaseChannel::from_yaml(&fs::read_to_string(&index).unwrap()).unwrap();
    for (kind, given, document) in [
        ("release", serde_json::to_value(&cut.release).unwrap(), cut.manifest()),
        ("releasechannel", serde_json::to_value(channel).unwrap(), index),
    ] {
        let path = document.display().to_string();
        api.kubectl(&["apply", "--filename", &path]).expect(0).prints(&["created"]);
        api.kubectl(&["apply", "--server-side", "--filename", &path])
            .expect(0)
            .prints(&["serverside-applied"]);
        // Nothing was dropped or changed on the way.
        let name = given["metadata"]["name"].as_str().unwrap();
        let kept = api.kubectl(&["get", kind, name, "--output=json"]).expect(0).out;
        let kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
        assert_eq!((&kept["spec"], &kept["status"]), (&given["spec"], &given["status"]));
        let broken = if kind == "release" { BROKEN_RELEASE } else { BROKEN_CHANNEL };
        refuses(&api, &document, broken);
    }
    let columns = api.kubectl(&["get", "release,releasechannel"]).expect(0).out;
    assert!(columns.contains("RELEASE DATE") && columns.contains("SUPPORTED UNTIL"), "{columns}");
}

/// An image that umoci unpacked, and programs of it in namespaces of their own.
struct Unpacked(PathBuf);

impl Unpacked {
    fn of(cut: &Cut, image: &str, folder: &Path) -> Self {
        let (layout, bundle) = (folder.join("layout"), folder.join("bundle"));
        let platform = format!("linux/{}", arch());
        let to = layout.display().to_string();
        let exported =
            cut.image("export", image, &["--platform", &platform, "--to", &to]).expect(0).out;
        let (_, reference) = exported.trim_end().rsplit_once("oci:").unwrap();
        let mut unpack = tools::judge("umoci");
        unpack.arg("unpack");
        if !is_root() {
            unpack.arg("--rootless");
        }
        must(unpack.args(["--image", reference]).arg(&bundle));
        Self(bundle.join("rootfs"))
    }

    /// Runs a line of the image's own shell, with a new network of its own.
    fn shell(&self, line: &str) -> Ran {
        // The image remembers which iptables the node uses; every network here is another node.
        let _ = fs::remove_file(self.0.join("var/cache/iptables-mode"));
        // Of the older rules, the list of tables is a file there.
        let proc = format!("--mount-proc={}/proc", self.0.display());
        let mut command = in_namespaces(&["--net", "--mount", "--pid", "--fork", &proc]);
        command.arg("chroot").arg(&self.0).env_clear().env("PATH", crate::run::path());
        run(command.args(["/bin/sh", "-e", "-c", line]))
    }
}

#[test]
#[ignore = "needs a cut of Kubernetes: KDISTRO_TEST_RELEASE=DIR"]
fn iptables_and_its_like_in_the_image_of_kube_proxy_work_in_a_network_namespace() {
    let (cut, folder) = (Cut::given(), scratch("kube-proxy"));
    let image = Unpacked::of(&cut, "kube-proxy", folder.path());
    for listing in [
        "iptables",
        "iptables-legacy",
        "iptables-nft",
        "ip6tables",
        "ip6tables-legacy",
        "ip6tables-nft",
    ] {
        image.shell(&format!("{listing} -L -n")).expect(0).prints(&["Chain INPUT (policy ACCEPT)"]);
        // A match and a target of the image's own, as kube-proxy writes them.
        let rule = "-t nat -A OUTPUT -p tcp -m comment --comment ours -m tcp --dport 80 -j REDIRECT --to-ports 8080";
        let saved = image.shell(&format!("{listing} {rule}; {listing}-save -t nat")).expect(0);
        saved.prints(&["--comment ours", "--dport 80 -j REDIRECT --to-ports 8080"]);
    }
    image.shell("ebtables -L").expect(0).prints(&["Bridge chain: INPUT"]);
    image
        .shell("ipset list; ipset create ours hash:ip; ipset list")
        .expect(0)
        .prints(&["Name: ours"]);
    image
        .shell("nft list ruleset; nft add table inet ours; nft list ruleset")
        .expect(0)
        .prints(&["table inet ours"]);
    image.shell("conntrack -V; conntrack -L").expect(0).prints(&["conntrack v"]);
    image.shell("modprobe --version").expect(0).prints(&["kmod version"]);
    // Without any rule the newer mode; otherwise that of the node's kubelet, whichever of its two marks it left.
    image.shell("iptables --version").expect(0).prints(&["(nf_tables)"]);
    for (mode, shown) in [("legacy", "(legacy)"), ("nft", "(nf_tables)")] {
        for mark in ["KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY"] {
            let line = format!(
                "iptables-{mode} -t mangle -N {mark}; iptables --version; ip6tables --version"
            );
            let said = image.shell(&line).expect(0).out;
            assert_eq!(said.matches(shown).count(), 2, "{mark} by {mode}: {said}");
        }
    }
}
