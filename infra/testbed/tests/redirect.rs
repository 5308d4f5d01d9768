//! The redirect of image blobs into the store (infra/aws/redirect): skopeo pulls through real nginx, node runs the
//! function for `CloudFront`.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "tests start programs and servers of their own")]

#[path = "redirect/nginx.rs"]
mod nginx;

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use flate2::{Compression, write::GzEncoder};
use kdistro_formats::{Digest, layout, oci};
use kdistro_testbed::{PASSWORD, Server, Testbed, USER};
use kdistro_verify::hash::sha256;
use serde_json::{Value, json};

use crate::nginx::Nginx;

/// Where the image is pushed to.
const REPOSITORY: &str = "team/kdistro/app";

fn redirect(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../aws/redirect").join(name)
}

/// Runs a program that must succeed; returns what it printed.
#[track_caller]
fn must(command: &mut Command, package: &str) -> String {
    let (code, out, err) = ran(command, package);
    assert_eq!(code, Some(0), "{command:?}\n{out}{err}");
    out
}

#[track_caller]
fn ran(command: &mut Command, package: &str) -> (Option<i32>, String, String) {
    let output = match command.stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) => panic!("{command:?}: {error}; apt-get install {package}"),
    };
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// An image for two platforms in an OCI layout.
struct Image {
    layout: PathBuf,
    index: Digest,
    /// Layers and configurations.
    blobs: BTreeSet<Digest>,
    manifests: BTreeSet<Digest>,
}

impl Image {
    fn write(folder: &Path) -> Self {
        let (layout, index) = (folder.join("image"), sha256(b""));
        let mut image = Self { layout, index, blobs: BTreeSet::new(), manifests: BTreeSet::new() };
        fs::create_dir_all(image.layout.join("blobs/sha256")).unwrap();
        let platforms: Vec<_> = ["amd64", "arm64"].map(|name| image.platform(name)).into();
        let index = json!({"schemaVersion": 2, "mediaType": oci::INDEX, "manifests": platforms});
        let mut named = image.add(oci::INDEX, index.to_string().as_bytes());
        image.index = named["digest"].as_str().unwrap().parse().unwrap();
        named["annotations"] = json!({oci::REF_NAME: "v1"});
        let top = json!({"schemaVersion": 2, "manifests": [named]});
        fs::write(image.layout.join("index.json"), top.to_string()).unwrap();
        fs::write(image.layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        image
    }

    fn platform(&mut self, architecture: &str) -> Value {
        // Not only nginx's smallest buffers are to be filled.
        let content: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut layer = GzEncoder::new(Vec::new(), Compression::fast());
        layer.write_all(architecture.as_bytes()).unwrap();
        layer.write_all(&content).unwrap();
        let layer = self.add(oci::LAYER_GZIP, &layer.finish().unwrap());
        let rootfs = json!({"type": "layers", "diff_ids": [layer["digest"]]});
        let config = json!({"architecture": architecture, "os": "linux", "rootfs": rootfs});
        let config = self.add(oci::CONFIG, config.to_string().as_bytes());
        for blob in [&layer, &config] {
            self.blobs.insert(blob["digest"].as_str().unwrap().parse().unwrap());
        }
        let manifest = json!({
            "schemaVersion": 2, "mediaType": oci::MANIFEST, "config": config, "layers": [layer],
        });
        let mut manifest = self.add(oci::MANIFEST, manifest.to_string().as_bytes());
        self.manifests.insert(manifest["digest"].as_str().unwrap().parse().unwrap());
        manifest["platform"] = json!({"architecture": architecture, "os": "linux"});
        manifest
    }

    /// Adds a blob to the layout; returns its descriptor.
    fn add(&self, kind: &str, bytes: &[u8]) -> Value {
        let digest = sha256(bytes);
        fs::write(self.path(&digest), bytes).unwrap();
        json!({"mediaType": kind, "digest": digest.to_string(), "size": bytes.len()})
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.layout.join("blobs/sha256").join(digest.hex())
    }

    /// Puts the blobs into a store, as a publisher does.
    fn publish(&self, store: &Path) {
        fs::create_dir_all(store.join("containers/images")).unwrap();
        for digest in &self.blobs {
            fs::copy(self.path(digest), store.join(layout::image_blob(digest))).unwrap();
        }
    }

    fn push(&self, registry: &str, options: &[&str]) {
        let from = format!("oci:{}:v1", self.layout.display());
        let to = format!("docker://{registry}/{REPOSITORY}:v1");
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["copy", "--quiet", "--all", "--preserve-digests"]).args(options);
        must(skopeo.args([from, to]), "skopeo");
    }

    /// Fails unless a layout holds the same blobs and manifests.
    #[track_caller]
    fn check(&self, layout: &Path) {
        let all = self.blobs.iter().chain(&self.manifests).chain([&self.index]);
        for digest in all {
            let found = fs::read(layout.join("blobs/sha256").join(digest.hex())).unwrap();
            assert_eq!(sha256(&found), *digest);
        }
        let count = fs::read_dir(layout.join("blobs/sha256")).unwrap().count();
        assert_eq!(count, self.blobs.len() + self.manifests.len() + 1);
    }
}

/// A line of an access log.
#[derive(Debug)]
struct Asked {
    method: String,
    path: String,
    status: u16,
    /// The server behind nginx that gave the answer; none when nginx itself did.
    answered: String,
    authorization: String,
}

/// nginx with `nginx.conf` as the front, and as a static server for the store beside it.
struct Front {
    nginx: Nginx,
    folder: PathBuf,
}

impl Front {
    /// Starts both for a registry; without a store, nobody listens where it should be.
    fn start(folder: &Path, registry: &str, ca: Option<&Path>, has_store: bool) -> Self {
        let at = |name: &str| folder.join(name).display().to_string();
        let nginx = Nginx::start(folder, |[address, store]| {
            let front = Self::settings(registry, address, store, ca);
            let format = "log_format asked '$request_method $request_uri $status \
                          [$upstream_addr] [$http_authorization]';\n";
            let (root, log) = (at("store"), at("store.log"));
            let store =
                format!("server {{ listen {store}; root {root}; access_log {log} asked; }}");
            let store = if has_store { store } else { String::new() };
            // The certificate of the registry is for `localhost`, which no resolver has to be asked for.
            let name = "proxy_ssl_name localhost;";
            let log = at("front.log");
            let front =
                front.replace("server {\n", &format!("server {{\naccess_log {log} asked;\n"));
            format!("{format}{name}\n{store}\n{front}")
        });
        Self { nginx, folder: folder.to_owned() }
    }

    /// Returns `nginx.conf` with what it says is to be changed.
    fn settings(registry: &str, address: &str, store: &str, ca: Option<&Path>) -> String {
        let mut front = fs::read_to_string(redirect("nginx.conf")).unwrap();
        let mut changes = vec![
            ("https://registry.example;", format!("{registry};")),
            ("https://store.example;", format!("http://{store};")),
            ("listen 127.0.0.1:8080;", format!("listen {address};")),
        ];
        if let Some(ca) = ca {
            changes.push(("/etc/ssl/certs/ca-certificates.crt", ca.display().to_string()));
        }
        for (from, to) in changes {
            assert_eq!(front.matches(from).count(), 1, "{from}");
            front = front.replace(from, &to);
        }
        front
    }

    fn address(&self) -> &str {
        &self.nginx.addresses[0]
    }

    fn store(&self) -> &str {
        &self.nginx.addresses[1]
    }

    /// Pulls the image into a layout of this name.
    fn pull(&self, image: &str, layout: &str, options: &[&str]) -> (Option<i32>, PathBuf, String) {
        let layout = self.folder.join(layout);
        let host = self.address().replace("127.0.0.1", "localhost");
        let from = format!("docker://{host}/{REPOSITORY}{image}");
        let to = format!("oci:{}:v1", layout.display());
        let mut skopeo = Command::new("skopeo");
        let always = ["copy", "--quiet", "--all", "--preserve-digests", "--src-tls-verify=false"];
        skopeo.args(always).args(options).args([from, to]);
        let (code, _, said) = ran(&mut skopeo, "skopeo");
        (code, layout, said)
    }

    /// Returns status and `Location` of the answer to a request.
    fn ask(&self, method: &str, path: &str) -> (u16, String) {
        ask(self.address(), method, path)
    }

    fn blob(&self, digest: &Digest) -> String {
        format!("http://{}/{}", self.store(), layout::image_blob(digest))
    }

    /// Returns what `front` or `store` was asked.
    fn log(&self, name: &str) -> Vec<Asked> {
        // A request is logged before the next one is answered.
        assert_eq!(self.ask("GET", "/").0, 404);
        let text = fs::read_to_string(self.folder.join(format!("{name}.log"))).unwrap_or_default();
        text.lines().filter(|line| !line.starts_with('-')).map(asked).collect()
    }
}

fn asked(line: &str) -> Asked {
    let (words, rest) = line.split_once(" [").unwrap();
    let (answered, authorization) = rest.trim_end_matches(']').split_once("] [").unwrap();
    let mut words = words.split(' ').map(str::to_owned);
    let mut next = || words.next().unwrap();
    let (method, path, status) = (next(), next(), next().parse().unwrap());
    // When several were asked, the last one answered.
    let answered = answered.rsplit([',', ':', ' ']).next().unwrap().to_owned();
    Asked { method, path, status, answered, authorization: authorization.to_owned() }
}

fn ask(address: &str, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let request =
        format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    assert!(read.is_ok() || read.is_err_and(|e| e.kind() == io::ErrorKind::ConnectionReset));
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let head = answer.split("\r\n\r\n").next().unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let location = head.lines().find_map(|line| line.strip_prefix("Location: "));
    (status, location.unwrap_or_default().to_owned())
}

/// The port of an address or URL.
fn port(address: &str) -> &str {
    address.rsplit(':').next().unwrap()
}

fn requests<'a>(log: &'a [Asked], kind: &str) -> Vec<&'a Asked> {
    log.iter().filter(|asked| asked.path.contains(kind)).collect()
}

#[test]
fn blobs_come_from_the_store_and_manifests_from_the_registry() {
    let folder = tempfile::tempdir().unwrap();
    let testbed = Testbed::start(&[Server::Registry]).unwrap();
    let image = Image::write(folder.path());
    let (login, registry) = (format!("{USER}:{PASSWORD}"), testbed.registry());
    // Straight into the registry: nobody pushes through the front.
    let to = ["--dest-creds", &login, "--dest-cert-dir"];
    let authorities = folder.path().join("authorities");
    fs::create_dir(&authorities).unwrap();
    fs::copy(testbed.ca(), authorities.join("ca.crt")).unwrap();
    image.push(registry, &[&to[..], &[authorities.to_str().unwrap()]].concat());

    let upstream = format!("https://127.0.0.1:{}", port(registry));
    let front = Front::start(&folder.path().join("front"), &upstream, Some(&testbed.ca()), true);
    image.publish(&front.folder.join("store"));

    // The registry must show a certificate of an authority that is trusted.
    let front_of_a_stranger = Front::start(&folder.path().join("other"), &upstream, None, true);
    assert_eq!(front_of_a_stranger.ask("GET", "/v2/").0, 502);

    let from = ["--src-creds", &login];
    for (reference, layout) in [(":v1".to_owned(), "tag"), (format!("@{}", image.index), "digest")]
    {
        let (code, layout, said) = front.pull(&reference, layout, &from);
        assert_eq!(code, Some(0), "{said}");
        image.check(&layout);
    }

    let log = front.log("front");
    let blobs = requests(&log, "/blobs/");
    assert_eq!(blobs.len(), 2 * image.blobs.len(), "{blobs:?}");
    assert!(blobs.iter().all(|asked| asked.status == 307), "{blobs:?}");
    let manifests = requests(&log, "/manifests/");
    assert_eq!(manifests.len(), 2 * (image.manifests.len() + 1), "{manifests:?}");
    let from_registry = |asked: &&Asked| {
        asked.status == 200 && asked.answered == port(registry) && asked.authorization != "-"
    };
    assert!(manifests.iter().all(from_registry), "{manifests:?}");

    let log = front.log("store");
    let fetched = log.iter().filter(|asked| asked.method == "GET" && asked.status == 200);
    let fetched: Vec<_> = fetched.map(|asked| asked.path.clone()).collect();
    let names = image.blobs.iter().map(|digest| format!("/{}", layout::image_blob(digest)));
    let names: BTreeSet<_> = names.collect();
    assert_eq!(fetched.len(), 2 * names.len(), "{fetched:?}");
    assert_eq!(fetched.into_iter().collect::<BTreeSet<_>>(), names);
    assert!(log.iter().all(|asked| asked.authorization == "-"), "a password: {log:?}");

    let (code, _, said) = front.pull(":v1", "stranger", &[]);
    assert!(code != Some(0) && said.contains("authentication required"), "{said}");
}

#[test]
fn what_the_store_lacks_comes_from_the_registry() {
    let folder = tempfile::tempdir().unwrap();
    let testbed = Testbed::start(&[Server::PlainRegistry]).unwrap();
    let image = Image::write(folder.path());
    image.push(testbed.plain_registry(), &["--dest-tls-verify=false"]);
    let upstream = format!("http://{}", testbed.plain_registry());
    let front = Front::start(&folder.path().join("front"), &upstream, None, true);
    let store = front.folder.join("store");
    image.publish(&store);
    let missing = image.blobs.first().unwrap();
    fs::remove_file(store.join(layout::image_blob(missing))).unwrap();

    let (code, layout, said) = front.pull(":v1", "pulled", &[]);
    assert_eq!(code, Some(0), "{said}");
    image.check(&layout);
    let log = front.log("front");
    for asked in requests(&log, "/blobs/") {
        let expected = if asked.path.contains(missing.hex().as_str()) { 200 } else { 307 };
        assert_eq!(asked.status, expected, "{asked:?}");
    }
    let unknown = format!("/v2/{REPOSITORY}/blobs/{}", sha256(b"unknown"));
    assert_eq!(front.ask("GET", &unknown), (404, String::new()));

    let away = Front::start(&folder.path().join("away"), &upstream, None, false);
    let (code, layout, said) = away.pull(":v1", "pulled", &[]);
    assert_eq!(code, Some(0), "{said}");
    image.check(&layout);
}

#[test]
fn nginx_redirects_blobs_under_either_spelling_and_lets_nobody_push() {
    let folder = tempfile::tempdir().unwrap();
    let testbed = Testbed::start(&[Server::PlainRegistry]).unwrap();
    let image = Image::write(folder.path());
    let upstream = format!("http://{}", testbed.plain_registry());
    let front = Front::start(&folder.path().join("front"), &upstream, None, true);
    image.publish(&front.folder.join("store"));
    let digest = image.blobs.first().unwrap();
    let blob = format!("/v2/{REPOSITORY}/blobs/sha256");
    for method in ["GET", "HEAD"] {
        for colon in [":", "%3A", "%3a"] {
            let path = format!("{blob}{colon}{}", digest.hex());
            assert_eq!(front.ask(method, &path), (307, front.blob(digest)), "{method} {path}");
            // The store, too, has it under both.
            let path = format!("/containers/images/sha256{colon}{}", digest.hex());
            assert_eq!(ask(front.store(), method, &path).0, 200, "{method} {path}");
        }
    }
    // What is no blob's name is for the registry to judge.
    let short = format!("{blob}:{}", &digest.hex()[1..]);
    for path in ["/v2/", &short] {
        let answer = front.ask("GET", path);
        assert_eq!(answer, ask(testbed.plain_registry(), "GET", path), "{path}");
    }
    for (method, path, expected) in [
        ("POST", format!("/v2/{REPOSITORY}/blobs/uploads/"), 405),
        ("PUT", format!("/v2/{REPOSITORY}/manifests/v1"), 405),
        ("DELETE", format!("{blob}:{}", digest.hex()), 405),
        ("GET", "/stored".to_owned(), 404),
        ("GET", format!("/{}", layout::image_blob(digest)), 404),
        ("GET", "/v3/".to_owned(), 404),
    ] {
        assert_eq!(front.ask(method, &path).0, expected, "{method} {path}");
    }
    let pushed = requests(&front.log("front"), "uploads").len();
    assert_eq!(pushed, 1);
}

/// Paths that lead elsewhere for whoever reads them in another way than their first reader.
const ELSEWHERE: [&str; 14] = [
    "/admin/../v2/x",
    "/admin/..%2fv2/x",
    "/v2/../admin",
    "/v2/%2e%2e/admin",
    "/v2/..%2fadmin",
    "/v2/..%5cadmin",
    "/v2/..\\admin",
    "/v2/x%2F..%2F../admin",
    "/v2/.",
    "/v2/..",
    "/v2/./x",
    "/v2//admin",
    "//v2/x",
    "/v2/..;/admin",
];
/// Paths that registries are asked for.
const USUAL: [&str; 7] = [
    "/v2/",
    "/v2/_catalog",
    "/v2/team/app_x/tags/list",
    "/v2/app/manifests/v1.2..3_x-Y",
    "/v2/app/manifests/sha256%3A00",
    "/v2/app/referrers/sha256:00",
    "/v2/app/blobs/sha512+b64u:a=_-",
];

#[test]
fn nginx_passes_on_no_path_that_leads_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let testbed = Testbed::start(&[Server::PlainRegistry]).unwrap();
    let upstream = format!("http://{}", testbed.plain_registry());
    let front = Front::start(&folder.path().join("front"), &upstream, None, true);
    for path in ELSEWHERE {
        assert_eq!(front.ask("GET", path).0, 404, "{path}");
    }
    let passed = |front: &Front| {
        let log = front.log("front").into_iter();
        log.filter(|asked| asked.answered != "-").map(|asked| asked.path).collect::<Vec<_>>()
    };
    assert_eq!(passed(&front), [""; 0]);
    for path in USUAL {
        front.ask("GET", path);
    }
    front.ask("GET", "/v2/_catalog?last=/../%5c//.");
    let usual = USUAL.into_iter().chain(["/v2/_catalog?last=/../%5c//."]);
    assert_eq!(passed(&front), usual.collect::<Vec<_>>());
}

#[test]
fn the_function_for_cloudfront_redirects_blobs_and_nothing_else() {
    let digest = sha256(b"layer");
    let hex = digest.hex();
    let own = format!("/{}", layout::image_blob(&digest));
    let blob = format!("/v2/{REPOSITORY}/blobs/sha256:{hex}");
    let cases = [
        ("GET", blob.clone(), true),
        ("HEAD", blob.clone(), true),
        ("GET", blob.replace("sha256:", "sha256%3A"), true),
        ("GET", blob.replace("sha256:", "sha256%3a"), true),
        ("GET", format!("/v2/app/blobs/{digest}"), true),
        ("DELETE", blob.clone(), false),
        ("GET", format!("{blob}0"), false),
        ("GET", blob[..blob.len() - 1].to_owned(), false),
        ("GET", format!("{blob}/x"), false),
        ("GET", format!("/v2/{REPOSITORY}/manifests/{digest}"), false),
        ("POST", format!("/v2/{REPOSITORY}/blobs/uploads/"), false),
    ];
    let usual = USUAL.map(|path| ("GET", path.to_owned(), false));
    let other = [
        format!("/v1/{REPOSITORY}/blobs/{digest}"),
        format!("/v2//blobs/{digest}"),
        format!("/x{blob}"),
        own.clone(),
        blob.to_uppercase(),
    ];
    let other = ELSEWHERE.map(str::to_owned).into_iter().chain(other);
    let refused: Vec<_> = other.map(|path| ("GET", path, false)).collect();
    let cases = [&cases[..], &usual, &refused].concat();
    let events: Vec<_> = cases
        .iter()
        .map(|(method, uri, _)| {
            let request = json!({"method": method, "uri": uri, "querystring": {}, "headers": {}});
            json!({"version": "1.0", "context": {"eventType": "viewer-request"}, "request": request})
        })
        .collect();
    let code = fs::read_to_string(redirect("function.js")).unwrap();
    let last = "\nconsole.log(JSON.stringify(JSON.parse(process.argv[1]).map(handler)));";
    let mut node = Command::new("node");
    node.args(["--eval", &format!("{code}{last}"), "--"])
        .arg(Value::from(events.clone()).to_string());
    let answers: Vec<Value> = serde_json::from_str(&must(&mut node, "nodejs")).unwrap();
    assert_eq!(answers.len(), cases.len());
    for ((case, answer), event) in cases.iter().zip(answers).zip(events) {
        if refused.contains(case) {
            let refusal = json!({"statusCode": 404, "statusDescription": "Not Found"});
            assert_eq!(answer, refusal, "{case:?}");
            continue;
        }
        if !case.2 {
            assert_eq!(answer, event["request"], "{case:?}");
            continue;
        }
        assert_eq!(answer["statusCode"], 307, "{case:?}");
        assert_eq!(answer["headers"]["location"]["value"], own.as_str(), "{case:?}");
    }
}
