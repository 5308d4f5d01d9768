//! What a registry behind the OCI distribution API promises, tried on registries and clients that others wrote.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "tests start registries and judges")]
#![expect(clippy::print_stdout, reason = "a failed test says which promise was broken")]

#[path = "contract/registry.rs"]
mod contract;
#[path = "contract/go_servers.rs"]
mod go_servers;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use kdistro_border::{
    Address, Anonymous, Content, Created, Credential, Credentials, DockerConfig, HttpRegistry,
    Registry, RegistryError,
};
use kdistro_formats::Digest;
use kdistro_testbed::{Fault, PASSWORD, Proxy, Request, Server, Testbed, USER, debian_program};
use kdistro_verify::hash::sha256;
use serde_json::json;

use crate::go_servers::MemoryRegistry;

/// A registry without a password.
fn open(host: &str, prefix: &str) -> HttpRegistry {
    let url = format!("http://{host}");
    HttpRegistry::open(Address { url: &url, prefix, ca: None }, Arc::new(Anonymous)).unwrap()
}

/// The credentials of the registry with a password, as `docker login` keeps them, and the file.
fn logged_in(bed: &Testbed) -> (Arc<dyn Credentials>, PathBuf) {
    let folder = bed.folder().join("docker");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("config.json");
    let auth = BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let file = json!({"auths": {bed.registry(): {"auth": auth}}});
    fs::write(&path, file.to_string()).unwrap();
    let no_helper = |_: &str, _: &str| -> Result<Option<Credential>, _> { Err("no helper".into()) };
    (Arc::new(DockerConfig::new(path, Arc::new(no_helper))), folder)
}

fn open_secure(bed: &Testbed, prefix: &str) -> HttpRegistry {
    let (url, ca) = (format!("https://{}", bed.registry()), fs::read(bed.ca()).unwrap());
    let address = Address { url: &url, prefix, ca: Some(&ca) };
    HttpRegistry::open(address, logged_in(bed).0).unwrap()
}

/// Tries all promises, each on what `open` gives for a name of its own.
fn keeps_all_promises(open: impl Fn(&str) -> HttpRegistry) {
    for (number, (promise, check)) in contract::PROMISES.into_iter().enumerate() {
        println!("{promise}");
        let folder = tempfile::tempdir().unwrap();
        check(&open(&format!("promise-{number}")), folder.path());
    }
}

#[test]
fn a_registry_that_keeps_no_referrers_keeps_the_promises() {
    let bed = Testbed::start(&[Server::PlainRegistry]).unwrap();
    keeps_all_promises(|prefix| open(bed.plain_registry(), prefix));
}

#[test]
fn a_registry_with_tls_and_a_password_keeps_the_promises() {
    let bed = Testbed::start(&[Server::Registry]).unwrap();
    keeps_all_promises(|prefix| open_secure(&bed, prefix));
}

#[test]
fn a_registry_with_the_referrers_api_keeps_the_promises() {
    let server = MemoryRegistry::start(&[]);
    keeps_all_promises(|prefix| open(&server.host, prefix));
}

#[test]
fn a_registry_whose_tags_never_change_keeps_the_promises_without_fallback_tags() {
    let server = MemoryRegistry::start(&["-immutable"]);
    keeps_all_promises(|prefix| open(&server.host, prefix).without_fallback_tags());
    let registry = open(&server.host, "listed").without_fallback_tags();
    contract::push_image(&registry, "a", "layer");
    let tags = Command::new(go_servers::programs().join("crane"))
        .args(["ls", "--insecure", &format!("{}/promise-7/a", server.host)])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&tags.stdout), "", "referrers stand behind a tag");
}

#[test]
fn every_repository_is_ready() {
    let bed = Testbed::start(&[Server::PlainRegistry]).unwrap();
    let names = BTreeSet::from(["a/b".to_owned()]);
    open(bed.plain_registry(), "").prepare(&names).unwrap();
}

#[test]
fn a_tag_that_somebody_else_moves_at_the_same_moment_is_told() {
    let server = MemoryRegistry::start(&["-immutable"]);
    let registry = open(&server.host, "");
    let images: Vec<Digest> = (0..6)
        .map(|number| sha256(&contract::push_image(&registry, "a", &number.to_string())))
        .collect();
    // Each through a registry of its own, as from six machines.
    let outcomes: Vec<_> = thread::scope(|scope| {
        let start = |digest| {
            let other = open(&server.host, "");
            scope.spawn(move || other.tag("a", "v1", digest).map(|created| (created, *digest)))
        };
        let threads: Vec<_> = images.iter().map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1, "{won:?}");
    let tagged = registry.resolve("a", "v1").unwrap().unwrap();
    assert_eq!(won[0].as_ref().unwrap(), &(Created::New, tagged));
    for outcome in lost {
        assert!(matches!(outcome, Err(RegistryError::Moved { .. })), "{outcome:?}");
    }
}

/// Runs a program and returns what it prints.
#[track_caller]
fn judge(command: &mut Command) -> String {
    let ran = command.output().unwrap_or_else(|error| panic!("{error}: {command:?}"));
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{command:?}: {said}");
    String::from_utf8(ran.stdout).unwrap()
}

#[test]
fn skopeo_crane_and_oras_pull_what_was_pushed() {
    let bed = Testbed::start(&[Server::Registry]).unwrap();
    let (_, config) = logged_in(&bed);
    let registry = open_secure(&bed, "team");
    let manifest = contract::push_image(&registry, "kubernetes/pause", "a layer");
    let digest = sha256(&manifest);
    registry.tag("kubernetes/pause", "v1", &digest).unwrap();
    let name = format!("{}/team/kubernetes/pause", bed.registry());
    let ca = bed.ca();
    for reference in [format!("{name}:v1"), format!("{name}@{digest}")] {
        let copied = tempfile::tempdir().unwrap();
        let certificates = copied.path().join("certificates");
        fs::create_dir(&certificates).unwrap();
        fs::copy(&ca, certificates.join("ca.crt")).unwrap();
        let to = copied.path().join("image");
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["copy", "--quiet", "--insecure-policy", "--src-cert-dir"]).arg(&certificates);
        skopeo.arg("--authfile").arg(config.join("config.json"));
        judge(skopeo.arg(format!("docker://{reference}")).arg(format!("dir:{}", to.display())));
        assert_eq!(fs::read(to.join("manifest.json")).unwrap(), manifest);
        let run = |program: PathBuf| {
            let mut command = Command::new(program);
            command
                .env("DOCKER_CONFIG", &config)
                .env("SSL_CERT_FILE", &ca)
                .env("HOME", copied.path());
            command
        };
        let crane = || run(go_servers::programs().join("crane"));
        assert_eq!(judge(crane().args(["manifest", &reference])).as_bytes(), manifest);
        assert_eq!(judge(crane().args(["digest", &reference])).trim(), digest.to_string());
        let blob = format!("{name}@{}", sha256(b"a layer"));
        assert_eq!(judge(crane().args(["blob", &blob])), "a layer");
        let fetched = judge(
            run(debian_program("oras").unwrap())
                .args(["manifest", "fetch", "--plain-http=false", "--ca-file"])
                .arg(&ca)
                .arg(&reference),
        );
        assert_eq!(fetched.as_bytes(), manifest);
    }
    // What is about the image is found by others, too.
    let about =
        contract::push_referrer(&registry, "kubernetes/pause", (&manifest, "text/spdx", "sbom"));
    let mut oras = Command::new(debian_program("oras").unwrap());
    oras.env("DOCKER_CONFIG", &config).args([
        "discover",
        "--plain-http=false",
        "--format",
        "json",
        "--ca-file",
    ]);
    let found = judge(oras.arg(&ca).arg(format!("{name}:v1")));
    assert!(found.contains(&about.to_string()), "{found}");
}

/// Makes the layer that [`publish`] pushes; returns its folder.
fn layer(folder: &Path) -> &Path {
    fs::write(folder.join("layer"), vec![7; 300_000]).unwrap();
    folder
}

/// Pushes an image with a referrer and tags it; returns what has to be there in the end.
fn publish(registry: &dyn Registry, folder: &Path) -> Result<Digest, RegistryError> {
    let layer = folder.join("layer");
    let (digest, size) = (sha256(&vec![7; 300_000]), 300_000);
    for repository in ["one", "two/b"] {
        registry.push_blob(repository, Content::File { path: &layer, digest, size })?;
        registry.push_blob(repository, Content::Bytes(b"{}"))?;
    }
    let part = |media_type: &str, digest: Digest, size: u64| json!({"mediaType": media_type, "digest": digest, "size": size});
    let image = json!({
        "schemaVersion": 2, "mediaType": contract::MANIFEST, "config": part(contract::CONFIG, sha256(b"{}"), 2),
        "layers": [part(contract::LAYER, digest, size)],
    })
    .to_string();
    let image_digest = sha256(image.as_bytes());
    let about = json!({
        "schemaVersion": 2, "mediaType": contract::INDEX, "manifests": [], "artifactType": "text/x",
        "subject": part(contract::MANIFEST, image_digest, image.len() as u64),
    })
    .to_string();
    for repository in ["one", "two/b"] {
        registry.push_manifest(repository, image.as_bytes())?;
        registry.push_manifest(repository, about.as_bytes())?;
        registry.tag(repository, "v1", &image_digest)?;
    }
    Ok(image_digest)
}

/// Refuses a registry that does not hold all that [`publish`] pushes.
fn is_complete(registry: &dyn Registry, image: &Digest) {
    for repository in ["one", "two/b"] {
        assert_eq!(registry.resolve(repository, "v1").unwrap().as_ref(), Some(image));
        assert!(registry.has_blob(repository, &sha256(&vec![7; 300_000])).unwrap());
        assert_eq!(registry.referrers(repository, image).unwrap().len(), 1);
    }
}

/// Publishes again and again, each time with the same fault one request later, until it is too late for one.
fn survives(host: &str, fault: &Fault, folder: &Path) {
    for at in 1.. {
        let wanted = fault.clone();
        let rule = move |request: &Request| {
            if request.number == at { wanted.clone() } else { Fault::None }
        };
        let proxy = Proxy::start(host, rule).unwrap();
        let prefix = sha256(format!("{fault:?} {at}").as_bytes()).hex();
        let image = publish(&open(&proxy.address(), &prefix), folder);
        let image = image.unwrap_or_else(|error| panic!("{fault:?} at {at}: {error:?}"));
        is_complete(&open(host, &prefix), &image);
        if proxy.requests() < at {
            return;
        }
    }
}

#[test]
fn one_fault_at_any_request_is_survived() {
    let server = MemoryRegistry::start(&["-immutable"]);
    let bed = Testbed::start(&[Server::PlainRegistry]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let folder = layer(folder.path());
    let refused = Fault::Status(500, "try later".to_owned());
    thread::scope(|scope| {
        for fault in [refused.clone(), Fault::Reset, Fault::ResetAfter, Fault::Cut(0)] {
            let host = &server.host;
            scope.spawn(move || survives(host, &fault, folder));
        }
        // One that keeps no referrers.
        for fault in [refused, Fault::ResetAfter] {
            let host = bed.plain_registry();
            scope.spawn(move || survives(host, &fault, folder));
        }
    });
}

#[test]
fn after_a_fault_that_stays_a_second_run_completes() {
    let server = MemoryRegistry::start(&["-immutable"]);
    let folder = tempfile::tempdir().unwrap();
    let folder = layer(folder.path());
    let breaks_off = |at: u64| {
        // From this request on nothing is answered any more, as when the network goes away.
        let rule =
            move |request: &Request| if request.number >= at { Fault::Reset } else { Fault::None };
        let proxy = Proxy::start(&server.host, rule).unwrap();
        let prefix = format!("gone-{at}");
        let first = publish(&open(&proxy.address(), &prefix), folder);
        let registry = open(&server.host, &prefix);
        if let Some(tagged) = registry.resolve("two/b", "v1").unwrap() {
            // Whoever finds a tag finds all of the image.
            is_complete(&registry, &tagged);
        }
        is_complete(&registry, &publish(&registry, folder).unwrap());
        first.is_err()
    };
    let broke_off = thread::scope(|scope| {
        let threads = (1..60).step_by(5).map(|at| scope.spawn(move || breaks_off(at)));
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(broke_off[..5].iter().all(|broke_off| *broke_off), "{broke_off:?}");
    assert_eq!(broke_off.last(), Some(&false), "the last ones come too late");
}

#[test]
fn a_flipped_bit_is_never_taken_for_content() {
    let server = MemoryRegistry::start(&[]);
    let manifest = contract::push_image(&open(&server.host, ""), "a", "layer");
    let proxy = Proxy::start(&server.host, |_| Fault::Flip).unwrap();
    let error = open(&proxy.address(), "").read_manifest("a", &sha256(&manifest)).unwrap_err();
    assert!(matches!(error, RegistryError::Damaged { .. }), "{error}");
}

#[test]
fn a_second_push_sends_nothing() {
    let bed = Testbed::start(&[Server::PlainRegistry]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let image = publish(&open(bed.plain_registry(), ""), layer(folder.path())).unwrap();
    let writes = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&writes);
    let proxy = Proxy::start(bed.plain_registry(), move |request| {
        let is_read = matches!(request.method.as_str(), "GET" | "HEAD");
        // A referrer is put again: its writer may have died before it was listed.
        let is_again = request.method == "PUT" && request.path.contains("/manifests/sha256:");
        counted.fetch_add(u64::from(!is_read && !is_again), Ordering::SeqCst);
        Fault::None
    })
    .unwrap();
    let registry = open(&proxy.address(), "");
    assert_eq!(publish(&registry, folder.path()).unwrap(), image);
    assert_eq!(writes.load(Ordering::SeqCst), 0);
    is_complete(&registry, &image);
}

/// 52 MiB that no two parts of are alike.
fn large() -> Vec<u8> {
    let blocks =
        (0..(52_u64 << 20) / 8).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_le_bytes());
    blocks.flatten().collect()
}

/// The processor time that this thread spent outside of the system, in hundredths of a second.
///
/// Source: proc(5), `/proc/pid/stat`, field 14.
fn user_time() -> u64 {
    let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_whitespace().nth(11).unwrap().parse().unwrap()
}

#[test]
fn a_large_layer_is_read_and_hashed_once() {
    let bed = Testbed::start(&[Server::PlainRegistry]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("layer");
    let content = large();
    fs::write(&path, &content).unwrap();
    let file = Content::File { path: &path, digest: sha256(&content), size: content.len() as u64 };
    drop(content);
    let begun = user_time();
    assert_eq!(open(bed.plain_registry(), "").push_blob("a", file).unwrap(), Created::New);
    let spent = user_time() - begun;
    println!("pushed with {spent} hundredths of a second of user time");
    assert!(spent <= 20, "{spent} hundredths of a second of user time");
    let begun = Instant::now();
    assert_eq!(open(bed.plain_registry(), "").push_blob("a", file).unwrap(), Created::Same);
    println!("again in {:?}", begun.elapsed());
}
