//! An image of real Debian packages for two platforms, judged by skopeo, umoci, GNU tar and getcap.
//!
//! Packages, and judges that are not installed, are fetched with apt-get into a temporary folder, which needs no root.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "tests run the real programs as judges")]

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fmt::Write as _,
    fs::{self, File},
    io::{self, Read, Seek},
    path::{Path, PathBuf},
    process::Command,
};

use kdistro_assemble::{
    Entry, EntryPath,
    gzip::gunzip,
    image::{
        self, Blob, CAPABILITY, DockerLayer, ImageError, Layer, LayerWriter, capability,
        docker_archive,
    },
    root::{RootError, RootPlan, RootRecipe},
};
use kdistro_formats::{
    Digest, Platform,
    oci::{Descriptor, Index, layout},
    plan::ImageConfig,
};
use kdistro_verify::hash::sha256;
use serde_json::{Value, json};

const CREATED: u64 = 1_610_544_489;
const TAG: &str = "v1.20.2-1-20-1";
const LOADED: &str = "registry.k8s.io/kube-apiserver-amd64:v1.20.2_kd.t0123456789ab";
const PROGRAM: &str = "usr/local/bin/kube-apiserver";
/// Small packages, one of them for every architecture.
const PACKAGES: [&str; 3] = ["base-files", "libcap2", "tzdata"];

/// Runs a program; returns whether it did well, and what it printed.
fn attempt(command: &mut Command) -> (bool, String, String) {
    let output = command.env("LC_ALL", "C.UTF-8").output();
    let output = output.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn must(command: &mut Command) -> String {
    let (is_well, out, errors) = attempt(command);
    assert!(is_well, "{command:?}: {errors}{out}");
    out
}

fn with<const N: usize>(program: impl AsRef<OsStr>, arguments: [&str; N]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Says that a judge could not be asked.
fn not_judged(what: &str, why: &str) {
    #[expect(clippy::print_stderr, reason = "whoever runs the tests must see what was not judged")]
    {
        eprintln!("NOT JUDGED: {what}: {why}");
    }
}

/// Programs of others: those of the host, or else unpacked from their packages.
struct Judges {
    /// The root of unpacked packages.
    unpacked: Option<PathBuf>,
}

impl Judges {
    fn find(folder: &Path) -> Result<Self, String> {
        let programs = ["skopeo", "umoci", "getcap"];
        if programs.iter().all(|name| attempt(&mut with("sh", ["-c", "command -v \"$0\"", name])).0)
        {
            return Ok(Self { unpacked: None });
        }
        let (packages, root) = (folder.join("judges"), folder.join("judges-root"));
        fs::create_dir(&packages).unwrap();
        let names = ["skopeo", "umoci", "libcap2-bin"];
        let libraries = ["libassuan0", "libdevmapper1.02.1", "libgpg-error0", "libgpgme11"];
        let mut fetch = with("apt-get", ["download", "-qq"]);
        let (is_well, _, errors) =
            attempt(fetch.args(names).args(libraries).current_dir(&packages));
        if !is_well {
            return Err(errors);
        }
        for package in files(&packages) {
            must(with("dpkg-deb", ["--extract"]).arg(package).arg(&root));
        }
        let judges = Self { unpacked: Some(root) };
        for name in ["skopeo", "umoci"] {
            let (is_well, _, errors) = attempt(judges.program(name).arg("--version"));
            if !is_well {
                return Err(errors);
            }
        }
        Ok(judges)
    }

    fn program(&self, name: &str) -> Command {
        let Some(root) = &self.unpacked else { return Command::new(name) };
        let found = ["usr/bin", "bin", "usr/sbin", "sbin"].map(|at| root.join(at).join(name));
        let mut command = Command::new(found.iter().find(|path| path.exists()).unwrap());
        let libraries = ["usr/lib", "lib"].map(|at| root.join(at)).into_iter();
        let libraries = libraries.filter(|at| at.exists()).flat_map(|at| {
            fs::read_dir(at).unwrap().map(|entry| entry.unwrap().path().display().to_string())
        });
        command.env("LD_LIBRARY_PATH", libraries.collect::<Vec<_>>().join(":"));
        command
    }
}

/// The files of a folder, sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Fetches the packages of one architecture, with package lists of its own.
fn packages(folder: &Path, architecture: &str) -> Vec<Vec<u8>> {
    let folder = folder.join(format!("packages-{architecture}"));
    for name in ["lists/partial", "cache/archives/partial", "packages"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    fs::write(folder.join("status"), "").unwrap();
    let mut settings = format!("APT::Architecture \"{architecture}\";\n");
    settings.push_str("APT::Architectures \"\";\nAPT::Sandbox::User \"\";\n");
    settings.push_str("Acquire::Languages \"none\";\n");
    for (name, place) in
        [("State::Lists", "lists"), ("Cache", "cache"), ("State::status", "status")]
    {
        writeln!(settings, "Dir::{name} \"{}\";", folder.join(place).display()).unwrap();
    }
    fs::write(folder.join("apt.conf"), settings).unwrap();
    let apt = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.env("APT_CONFIG", folder.join("apt.conf")).current_dir(folder.join("packages"));
        must(apt.arg("-qq").args(arguments));
    };
    apt(&["update"]);
    apt(&[&["download"], &PACKAGES[..]].concat());
    let found: Vec<_> = files(&folder.join("packages")).into_iter().map(fs::read).collect();
    assert_eq!(found.len(), PACKAGES.len());
    found.into_iter().map(Result::unwrap).collect()
}

/// One platform of the image.
struct One {
    platform: Platform,
    layers: Vec<Layer>,
    config: Blob,
    manifest: Blob,
}

/// An image in a layout in a folder.
struct Made {
    folder: PathBuf,
    index: Blob,
    ones: Vec<One>,
}

impl Made {
    fn blob(&self, digest: &Digest) -> PathBuf {
        self.folder.join(layout::blob(digest))
    }

    fn reference(&self, tag: &str) -> String {
        format!("oci:{}:{tag}", self.folder.display())
    }

    fn keep(&self, blob: &Blob) {
        fs::write(self.blob(&blob.descriptor.digest), &blob.bytes).unwrap();
    }

    /// Writes a layer into the layout under its digest.
    fn layer(&self, fill: impl FnOnce(&mut LayerWriter<File>) -> Result<(), ImageError>) -> Layer {
        let scratch = self.folder.join("layer");
        let mut writer = LayerWriter::new(File::create(&scratch).unwrap(), CREATED);
        fill(&mut writer).unwrap();
        let (_, layer) = writer.finish().unwrap();
        fs::rename(&scratch, self.blob(&layer.digest)).unwrap();
        layer
    }

    fn add(&mut self, architecture: &str, debs: &[Vec<u8>]) {
        let platform: Platform = format!("linux/{architecture}").parse().unwrap();
        let debs: Vec<&[u8]> = debs.iter().map(Vec::as_slice).collect();
        let recipe = RootRecipe { usrmerge: true, ..RootRecipe::default() };
        let mut root = RootPlan::read(&debs, &recipe, tempfile::tempfile().unwrap()).unwrap();
        let base = self.layer(|writer| {
            let mut result = Ok(());
            root.visit::<RootError>(&mut |entry| {
                if result.is_ok() {
                    result = writer.append(entry);
                }
                Ok(())
            })
            .unwrap();
            result
        });
        let program = format!("#!/bin/sh\necho {architecture}\n");
        let ours = self.layer(|writer| {
            let size = program.len() as u64;
            let mut content = program.as_bytes();
            let path = EntryPath::new(PROGRAM)?;
            let mut entry = Entry::file(path, true, size, &mut content);
            let value = capability(&["cap_net_bind_service".to_owned()])?;
            entry.xattrs.insert(CAPABILITY.to_owned(), value);
            writer.append(entry)
        });
        let layers = vec![base, ours];
        let start = ImageConfig {
            entrypoint: vec![format!("/{PROGRAM}")],
            command: vec!["--version".to_owned()],
            user: "10000".to_owned(),
            env: BTreeMap::from([("PATH".to_owned(), "/usr/bin".to_owned())]),
            working_directory: "/usr".to_owned(),
            ports: vec!["2379/tcp".to_owned()],
            labels: BTreeMap::from([("org.example.label".to_owned(), "a label".to_owned())]),
        };
        let made = [(base.diff_id, "packages"), (ours.diff_id, "programs")];
        let config = image::config(&platform, &start, &made, CREATED).unwrap();
        let manifest = image::manifest(&config.descriptor, &layers, &annotations()).unwrap();
        self.keep(&config);
        self.keep(&manifest);
        self.ones.push(One { platform, layers, config, manifest });
    }
}

fn annotations() -> BTreeMap<String, String> {
    BTreeMap::from([("org.opencontainers.image.version".to_owned(), "v1.20.2".to_owned())])
}

/// Makes the image for both architectures, tagged as a whole and each platform for itself.
fn make(folder: &Path) -> Made {
    let place = folder.join("layout");
    fs::create_dir_all(place.join("blobs/sha256")).unwrap();
    let index = Blob::of("text/plain", Vec::new());
    let mut made = Made { folder: place, index, ones: Vec::new() };
    for architecture in ["amd64", "arm64"] {
        made.add(architecture, &packages(folder, architecture));
    }
    let manifests: Vec<_> = made
        .ones
        .iter()
        .map(|one| (one.platform.clone(), one.manifest.descriptor.clone()))
        .collect();
    made.index = image::index(&manifests, &annotations()).unwrap();
    made.keep(&made.index);
    let mut images: BTreeMap<String, Descriptor> =
        BTreeMap::from([(TAG.to_owned(), made.index.descriptor.clone())]);
    for (platform, manifest) in manifests {
        images.insert(format!("{TAG}-{}", platform.arch()), manifest);
    }
    fs::write(made.folder.join(layout::MARK), layout::MARK_CONTENT).unwrap();
    fs::write(made.folder.join(layout::INDEX), layout::write_index(&images).unwrap()).unwrap();
    made
}

#[test]
fn other_peoples_tools_take_an_image_of_real_packages() {
    let folder = tempfile::tempdir().unwrap();
    let made = make(folder.path());
    tar_reads_the_layers(&made);
    let judges = match Judges::find(folder.path()) {
        Ok(judges) => judges,
        Err(why) => return not_judged("images by skopeo and umoci", &why),
    };
    skopeo_inspects(&judges, &made);
    skopeo_copies(&judges, &made, folder.path());
    skopeo_takes_the_archive_for_docker(&judges, &made, folder.path());
    umoci_unpacks(&judges, &made, folder.path());
    skopeo_refuses_a_changed_blob(&judges, &made, folder.path());
}

fn tar_reads_the_layers(made: &Made) {
    for one in &made.ones {
        let [base, ours] = &one.layers[..] else { panic!("not two layers") };
        let listed = must(with("tar", ["-tzf"]).arg(made.blob(&ours.digest)));
        assert_eq!(listed, "usr/\nusr/local/\nusr/local/bin/\nusr/local/bin/kube-apiserver\n");
        let listed = must(with("tar", ["-tzf"]).arg(made.blob(&base.digest)));
        assert!(listed.lines().any(|line| line == "var/lib/dpkg/status"), "{listed}");
    }
    let bases = made.ones.iter().map(|one| one.layers[0].digest);
    assert_eq!(bases.collect::<BTreeSet<_>>().len(), 2, "one base for both");
}

fn skopeo_inspects(judges: &Judges, made: &Made) {
    let raw = must(judges.program("skopeo").args(["inspect", "--raw", &made.reference(TAG)]));
    assert_eq!(raw.as_bytes(), made.index.bytes);
    for one in &made.ones {
        let mut inspect = judges.program("skopeo");
        inspect.args(["--override-os", "linux", "--override-arch", one.platform.arch()]);
        let seen = must(inspect.args(["inspect", &made.reference(TAG)]));
        let seen: Value = serde_json::from_str(&seen).unwrap();
        assert_eq!(seen["Architecture"], one.platform.arch());
        assert_eq!(seen["Os"], "linux");
        assert_eq!(seen["Created"], "2021-01-13T13:28:09Z");
        assert_eq!(seen["Labels"], json!({ "org.example.label": "a label" }));
        assert_eq!(seen["Env"], json!(["PATH=/usr/bin"]));
        let layers: Vec<_> = one.layers.iter().map(|layer| layer.digest.to_string()).collect();
        assert_eq!(seen["Layers"], json!(layers));

        let tag = format!("{TAG}-{}", one.platform.arch());
        let mut inspect = judges.program("skopeo");
        inspect.args(["--override-os", "linux", "--override-arch", one.platform.arch()]);
        let seen = must(inspect.args(["inspect", "--config", "--raw", &made.reference(&tag)]));
        assert_eq!(seen.as_bytes(), one.config.bytes);
    }
}

fn skopeo_copies(judges: &Judges, made: &Made, folder: &Path) {
    let there = folder.join("dir");
    let mut copy = judges.program("skopeo");
    copy.args(["--insecure-policy", "copy", "--quiet", "--all", &made.reference(TAG)]);
    must(copy.arg(format!("dir:{}", there.display())));
    assert_eq!(fs::read(there.join("manifest.json")).unwrap(), made.index.bytes);
    for one in &made.ones {
        let manifest = format!("{}.manifest.json", one.manifest.descriptor.digest.hex());
        assert_eq!(fs::read(there.join(manifest)).unwrap(), one.manifest.bytes);
        for digest in one.layers.iter().map(|layer| layer.digest) {
            assert_eq!(sha256(&fs::read(there.join(digest.hex())).unwrap()), digest);
        }
    }
    // And back, into a layout: the digests stay.
    let back = format!("oci:{}:again", folder.join("back").display());
    let mut copy = judges.program("skopeo");
    copy.args(["--insecure-policy", "copy", "--quiet", "--all"]);
    must(copy.arg(format!("dir:{}", there.display())).arg(&back));
    let index = fs::read(folder.join("back").join(layout::INDEX)).unwrap();
    let [image] = Index::from_layout(&index).unwrap().manifests.try_into().unwrap();
    assert_eq!(image.digest, made.index.descriptor.digest);
}

/// Writes the amd64 image as `docker save` would.
fn save(made: &Made, out: File) {
    let one = &made.ones[0];
    let open = |layer: &Layer| gunzip(File::open(made.blob(&layer.digest)).unwrap());
    let mut readers: Vec<_> = one.layers.iter().map(open).collect();
    let mut layers: Vec<_> = one
        .layers
        .iter()
        .zip(&mut readers)
        .map(|(layer, content)| DockerLayer {
            diff_id: layer.diff_id,
            size: layer.uncompressed_size,
            content,
        })
        .collect();
    docker_archive(out, LOADED, &one.config.bytes, &mut layers, CREATED).unwrap();
}

fn skopeo_takes_the_archive_for_docker(judges: &Judges, made: &Made, folder: &Path) {
    let (archive, one) = (folder.join("kube-apiserver.tar"), &made.ones[0]);
    save(made, File::create(&archive).unwrap());
    let names = must(
        judges
            .program("skopeo")
            .arg("list-tags")
            .arg(format!("docker-archive:{}", archive.display())),
    );
    let names: Value = serde_json::from_str(&names).unwrap();
    assert_eq!(names["Tags"], json!([LOADED]));
    let reference = format!("docker-archive:{}:{LOADED}", archive.display());
    let copied = format!("oci:{}:loaded", folder.join("loaded").display());
    let mut copy = judges.program("skopeo");
    must(copy.args(["--insecure-policy", "copy", "--quiet", &reference, &copied]));
    let seen = must(judges.program("skopeo").args(["inspect", "--config", "--raw", &copied]));
    let seen: Value = serde_json::from_str(&seen).unwrap();
    let diff_ids: Vec<_> = one.layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    assert_eq!(seen["rootfs"]["diff_ids"], json!(diff_ids));
    assert_eq!(seen["config"]["Entrypoint"], json!([format!("/{PROGRAM}")]));
    // skopeo's own archive of the same image holds the same configuration and layers.
    let theirs = folder.join("theirs.tar");
    let mut copy = judges.program("skopeo");
    copy.args(["--insecure-policy", "--override-arch", "amd64", "copy", "--quiet"]);
    copy.arg(made.reference(&format!("{TAG}-amd64")));
    must(copy.arg(format!("docker-archive:{}:{LOADED}", theirs.display())));
    let manifest = |archive: &Path| -> Value {
        let text = must(with("tar", ["-xO", "manifest.json", "-f"]).arg(archive));
        serde_json::from_str(&text).unwrap()
    };
    let (ours, theirs) = (manifest(&archive), manifest(&theirs));
    assert_eq!(ours[0]["Layers"], theirs[0]["Layers"]);
    assert_eq!(ours[0]["RepoTags"], theirs[0]["RepoTags"]);
}

fn umoci_unpacks(judges: &Judges, made: &Made, folder: &Path) {
    let is_root = must(&mut with("id", ["-u"])).trim() == "0";
    for one in &made.ones {
        let tag = format!("{TAG}-{}", one.platform.arch());
        let bundle = folder.join(&tag);
        let mut unpack = judges.program("umoci");
        unpack.arg("unpack").args(if is_root { &[][..] } else { &["--rootless"] });
        unpack.arg("--image").arg(format!("{}:{tag}", made.folder.display()));
        must(unpack.arg(&bundle));
        let theirs = bundle.join("rootfs");
        let ours = folder.join(format!("{tag}-by-tar"));
        fs::create_dir(&ours).unwrap();
        for layer in &one.layers {
            let mut extract = with("tar", ["-xz", "--no-same-owner", "--keep-directory-symlink"]);
            must(extract.arg("-f").arg(made.blob(&layer.digest)).arg("-C").arg(&ours));
        }
        must(with("diff", ["--recursive", "--no-dereference", "--brief"]).arg(&ours).arg(&theirs));
        let list = "find . ! -type l -printf '%P %y %m %T@\\n' | LC_ALL=C sort";
        let tree = |at: &Path| must(with("sh", ["-c", list]).current_dir(at));
        assert_eq!(without_times_of_roots(&tree(&ours)), without_times_of_roots(&tree(&theirs)));
        let config: Value =
            serde_json::from_slice(&fs::read(bundle.join("config.json")).unwrap()).unwrap();
        let process = &config["process"];
        assert_eq!(process["args"], json!([format!("/{PROGRAM}"), "--version"]));
        assert_eq!((&process["user"]["uid"], &process["cwd"]), (&json!(10000), &json!("/usr")));
        if is_root {
            let shown = must(judges.program("getcap").arg(theirs.join(PROGRAM)));
            assert!(shown.trim_end().ends_with(" cap_net_bind_service=ep"), "{shown}");
        } else {
            not_judged("the capability by getcap", "only root may unpack it");
        }
    }
}

/// The listing of a tree but for its top, which no layer holds.
fn without_times_of_roots(tree: &str) -> Vec<&str> {
    tree.lines().filter(|line| !line.starts_with(" d ")).collect()
}

fn skopeo_refuses_a_changed_blob(judges: &Judges, made: &Made, folder: &Path) {
    let place = made.blob(&made.ones[0].layers[1].digest);
    let mut bytes = fs::read(&place).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&place, bytes).unwrap();
    let mut copy = judges.program("skopeo");
    copy.args(["--insecure-policy", "copy", "--quiet", "--all", &made.reference(TAG)]);
    let (is_well, _, errors) = attempt(copy.arg(format!("dir:{}", folder.join("bad").display())));
    assert!(!is_well && errors.contains("Digest did not match"), "{errors}");
}

#[test]
fn a_layer_and_an_archive_pass_through_in_little_memory() {
    const SIZE: u64 = 300 << 20;
    let path = EntryPath::new("usr/bin/large").unwrap();
    let mut writer = LayerWriter::new(tempfile::tempfile().unwrap(), CREATED);
    writer.append(Entry::file(path, true, SIZE, &mut io::repeat(b'x').take(SIZE))).unwrap();
    let (mut blob, layer) = writer.finish().unwrap();
    assert!(layer.uncompressed_size > SIZE);
    let made = [(layer.diff_id, "programs")];
    let platform = "linux/amd64".parse().unwrap();
    let config = image::config(&platform, &ImageConfig::default(), &made, CREATED).unwrap();
    blob.rewind().unwrap();
    let mut layers = [DockerLayer {
        diff_id: layer.diff_id,
        size: layer.uncompressed_size,
        content: &mut gunzip(blob),
    }];
    docker_archive(io::sink(), LOADED, &config.bytes, &mut layers, CREATED).unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 200 << 10, "the tests took {kib} KiB");
}
