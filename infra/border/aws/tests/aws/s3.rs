//! What every store promises, kept by a bucket, and what Amazon's own program says of it.

use std::{
    env, fs,
    fs::File,
    io,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use crate::bed::{BED, told, unique};
use crate::bucket::{self, Bucket};
use crate::contract;
use kdistro_aws::{Aws, AwsSettings, S3Store};
use kdistro_border::{Content, Created, Store, StoreError, Stored};
use kdistro_formats::{Digest, digest::hex};
use kdistro_testbed::{Fault, Proxy, Request};
use kdistro_verify::hash::{sha256, sha256_of};

#[test]
fn a_bucket_keeps_the_promises_of_a_store() {
    let prefixes = ["", "team/kdistro"].into_iter().cycle();
    for ((promise, check), prefix) in contract::store::PROMISES.into_iter().zip(prefixes) {
        println!("{promise}");
        let bucket = Bucket::new(BED.servers.aws());
        let folder = tempfile::tempdir().unwrap();
        check(&bucket.store(prefix), folder.path());
        assert_eq!(bucket.uploads(), 0, "{promise}: an upload is left");
    }
}

#[test]
fn a_second_implementation_of_s3_agrees() {
    for (promise, check) in contract::store::PROMISES {
        println!("{promise}");
        let bucket = Bucket::new(BED.servers.moto());
        let folder = tempfile::tempdir().unwrap();
        check(&bucket.store("x"), folder.path());
    }
}

/// Bytes that differ everywhere, so that parts cannot be exchanged unseen.
fn varied(size: usize) -> Vec<u8> {
    (0..size).map(|at| u8::try_from((at / 7 + at / 65_536) % 251).unwrap()).collect()
}

fn file(folder: &Path, content: &[u8]) -> std::path::PathBuf {
    let path = folder.join(unique("content"));
    fs::write(&path, content).unwrap();
    path
}

#[test]
fn content_of_every_size_is_stored_whole() {
    let (bucket, folder) = (Bucket::new(BED.servers.aws()), tempfile::tempdir().unwrap());
    let store = bucket.store("");
    // Around what is read at once, sent at once and sent in parts.
    for size in [0, 1, 262_144, 262_145, 1_000_000, (16 << 20) - 1, 16 << 20, (24 << 20) + 1] {
        let content = varied(size);
        let (path, digest) = (file(folder.path(), &content), sha256(&content));
        let stored = Stored { digest, size: size as u64 };
        let of_file = Content::File { path: &path, digest, size: size as u64 };
        for (name, content) in
            [(format!("file-{size}"), of_file), (format!("bytes-{size}"), Content::Bytes(&content))]
        {
            assert_eq!(store.create(&name, content).unwrap(), Created::New, "{name}");
            assert_eq!(store.create(&name, content).unwrap(), Created::Same, "{name}");
            assert_eq!(store.stat(&name).unwrap(), Some(stored), "{name}");
            let read = sha256_of(store.open(&name).unwrap().unwrap()).unwrap();
            assert_eq!(read, (digest, size as u64), "{name}");
            let error = store.create(&name, Content::Bytes(b"other")).unwrap_err();
            assert!(matches!(error, StoreError::Conflict { .. }), "{name}: {error}");
        }
        fs::remove_file(path).unwrap();
    }
    assert_eq!(bucket.uploads(), 0);
}

#[test]
fn a_file_that_changed_is_never_stored() {
    // The second of them believes every checksum: there it is only that the last piece was held back.
    for url in [BED.servers.aws(), BED.servers.moto()] {
        changed_files_are_never_stored(&Bucket::new(url));
    }
}

fn changed_files_are_never_stored(bucket: &Bucket) {
    let (store, folder) = (bucket.store(""), tempfile::tempdir().unwrap());
    for size in [300_000, 17 << 20] {
        let content = varied(size);
        let digest = sha256(&content);
        let mut other = content.clone();
        other[size / 2] ^= 1;
        let mut last = content.clone();
        *last.last_mut().unwrap() ^= 1;
        let grown = [content.as_slice(), b"x"].concat();
        for found in [&other, &last, &grown, &content[1..].to_vec(), &vec![]] {
            let path = file(folder.path(), found);
            let changed = Content::File { path: &path, digest, size: size as u64 };
            let error = store.create("x", changed).unwrap_err();
            let expected = format!(
                "{} changed while it was stored as `x`: {} ({} bytes), not {digest} ({size} bytes)",
                path.display(),
                sha256(found),
                found.len()
            );
            assert_eq!(told(&error), expected);
            assert_eq!(store.stat("x").unwrap(), None);
            fs::remove_file(path).unwrap();
        }
        let missing = Content::File { path: Path::new("/absent/x"), digest, size: size as u64 };
        let error = told(&store.create("x", missing).unwrap_err());
        assert!(error.starts_with("cannot read /absent/x for `x`: "), "{error}");
    }
    assert_eq!(store.list("").unwrap().len(), 0);
    assert_eq!(bucket.uploads(), 0);
}

#[test]
fn the_known_digest_is_sent_and_signed_and_nothing_is_hashed_again() {
    let (bucket, folder) = (Bucket::new(BED.servers.aws()), tempfile::tempdir().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let rule = move |request: &Request| {
        let names = ["x-amz-content-sha256", "x-amz-checksum-sha256", "if-none-match"];
        let mut headers = names.map(|name| request.header(name).unwrap_or_default().to_owned());
        let signed = request.header("authorization").unwrap_or_default();
        assert!(signed.contains("x-amz-content-sha256"), "{signed}");
        assert_eq!(request.header("x-amz-trailer"), None);
        headers[0] = format!("{} {}", request.method, headers[0]);
        noted.lock().unwrap().push(headers);
        Fault::None
    };
    let proxy = Proxy::start(bucket.url, rule).unwrap();
    let store = bucket.store_at(&proxy.url());
    let content = varied(500_000);
    let (path, digest) = (file(folder.path(), &content), sha256(&content));
    store.create("x", Content::File { path: &path, digest, size: 500_000 }).unwrap();
    let large = varied((16 << 20) + 5);
    store.create("large", Content::Bytes(&large)).unwrap();
    let seen = seen.lock().unwrap();
    let has = |content: &[u8], condition: &str| {
        let digest = sha256(content);
        let sha256 = format!("PUT {}", digest.hex());
        assert!(seen.contains(&[sha256, base64(&digest), condition.to_owned()]), "{seen:#?}");
    };
    has(&content, "*");
    for part in large.chunks(8 << 20) {
        has(part, "");
    }
    assert!(seen.iter().any(|headers| headers[0].starts_with("POST") && headers[2] == "*"));
}

#[test]
fn uploads_of_the_dead_are_ended_by_the_next_one() {
    let bucket = Bucket::new(BED.servers.aws());
    let store = bucket.store("p");
    for _ in 0..3 {
        bucket.begin("p/large");
    }
    bucket.begin("p/large2");
    assert_eq!(bucket.uploads(), 4);
    let content = varied(17 << 20);
    assert_eq!(store.create("large", Content::Bytes(&content)).unwrap(), Created::New);
    assert_eq!(bucket.uploads(), 1, "only the upload of another name stays");
    assert_eq!(store.stat("large").unwrap().unwrap().digest, sha256(&content));
}

#[test]
fn of_many_large_files_at_once_exactly_one_wins() {
    let bucket = Bucket::new(BED.servers.aws());
    let store = bucket.store("");
    let contents: Vec<_> = (0..3_u8).map(|number| vec![number; 17 << 20]).collect();
    let outcomes: Vec<_> = thread::scope(|scope| {
        let store = &store;
        let create = |content| scope.spawn(move || store.create("x", Content::Bytes(content)));
        let threads: Vec<_> = contents.iter().map(Vec::as_slice).map(create).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let won: Vec<_> = (0..3).filter(|at| outcomes[*at].is_ok()).collect();
    assert_eq!(won.len(), 1, "{outcomes:?}");
    for outcome in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert!(matches!(outcome, StoreError::Conflict { .. }), "{}", told(outcome));
    }
    assert_eq!(store.stat("x").unwrap().unwrap().digest, sha256(&contents[won[0]]));
    assert_eq!(bucket.uploads(), 0);
}

#[test]
fn amazons_own_program_reads_what_was_stored() {
    let (bucket, folder) = (Bucket::new(BED.servers.aws()), tempfile::tempdir().unwrap());
    let store = bucket.store("public");
    let large = varied(17 << 20);
    store.create("x/kubelet.tar.gz", Content::Bytes(&large)).unwrap();
    store.create("x/plan.json", Content::Bytes(b"{}")).unwrap();
    store.swap("log/checkpoint", None, b"one").unwrap();
    store.swap("log/checkpoint", Some(b"one"), b"two").unwrap();
    let forever = "public, max-age=31536000, immutable";
    for (name, content, content_type, cached) in [
        ("x/kubelet.tar.gz", large.as_slice(), "application/gzip", forever),
        ("x/plan.json", b"{}", "application/json", forever),
        ("log/checkpoint", b"two", "text/plain; charset=utf-8", "public, max-age=60"),
    ] {
        let (key, path) = (format!("public/{name}"), folder.path().join("read"));
        let common = ["--bucket", &bucket.name, "--key", &key, "--checksum-mode", "ENABLED"];
        let get = [&["s3api", "get-object"], &common[..], &[path.to_str().unwrap()]].concat();
        let head = BED.cli(&get);
        assert_eq!(fs::read(&path).unwrap(), content, "{name}");
        assert_eq!(head["ContentType"], content_type, "{name}");
        assert_eq!(head["CacheControl"], cached, "{name}");
        assert_eq!(head["Metadata"]["kdistro-sha256"], sha256(content).to_string(), "{name}");
        let checksum = head["ChecksumSHA256"].as_str().unwrap_or_default();
        if content.len() < 16 << 20 {
            assert_eq!(checksum, base64(&sha256(content)), "{name}");
        } else {
            assert!(checksum.ends_with("-3"), "{name}: {head}");
        }
    }
    let place = format!("s3://{}/public", bucket.name);
    assert_eq!(store.place(), place);
    let listed = BED.cli_text(&["s3", "ls", "--recursive", &format!("{place}/")]);
    // The program lists the object by which conditions were tried, too.
    assert_eq!(listed.lines().count(), store.list("").unwrap().len() + 1, "{listed}");
}

/// Writes a digest as `openssl base64` does.
fn base64(digest: &Digest) -> String {
    let script = "import base64,sys; print(base64.b64encode(bytes.fromhex(sys.argv[1])).decode())";
    let program = kdistro_testbed::tool("python").unwrap();
    let arguments = ["-c", script, &hex(digest.as_bytes())];
    let output = Command::new(program).args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

#[test]
fn what_others_stored_is_told_too() {
    let (bucket, folder) = (Bucket::new(BED.servers.aws()), tempfile::tempdir().unwrap());
    let path = file(folder.path(), b"by others");
    let target = format!("s3://{}/x/y.yaml", bucket.name);
    BED.cli_text(&["s3", "cp", "--quiet", path.to_str().unwrap(), &target]);
    let store = bucket.store("x");
    let stored = Stored { digest: sha256(b"by others"), size: 9 };
    assert_eq!(store.stat("y.yaml").unwrap(), Some(stored));
    assert_eq!(store.read("y.yaml").unwrap().unwrap(), b"by others");
    assert_eq!(store.create("y.yaml", Content::Bytes(b"by others")).unwrap(), Created::Same);
}

#[test]
fn lists_of_many_names_are_whole() {
    let bucket = Bucket::new(BED.servers.aws());
    let store = bucket.store("");
    let names: Vec<_> = (0..1200).map(|number| format!("many/{number:04}")).collect();
    thread::scope(|scope| {
        for names in names.chunks(150) {
            let store = &store;
            scope.spawn(move || {
                for name in names {
                    store.create(name, Content::Bytes(b"x")).unwrap();
                }
            });
        }
    });
    assert_eq!(store.list("many/").unwrap(), names);
}

/// Not a test: what this program does when the test below starts it again. It is told what by its first line of input.
#[test]
#[ignore = "a part of another test, which starts it"]
fn child() {
    let mut line = String::new();
    io::stdin().read_line(&mut line).unwrap();
    let words: Vec<&str> = line.trim_end().split('\t').collect();
    // Somebody runs the ignored tests by hand.
    let [url, bucket, credentials, path, threads] = words.as_slice() else { return };
    let settings = AwsSettings {
        region: Some("us-east-1".to_owned()),
        endpoint: Some((*url).to_owned()),
        credentials: Some(credentials.into()),
        ..AwsSettings::default()
    };
    let (digest, size) = sha256_of(File::open(path).unwrap()).unwrap();
    let content = Content::File { path: Path::new(path), digest, size };
    let store = S3Store::new(&Aws::load(&settings).unwrap(), bucket::settings(bucket, ""));
    store.create("small", Content::Bytes(b"x")).unwrap();
    let before = peak();
    thread::scope(|scope| {
        for number in 0..threads.parse().unwrap() {
            let store = &store;
            scope.spawn(move || store.create(&format!("large-{number}"), content).unwrap());
        }
    });
    println!("\noutcome: {}", peak() - before);
}

/// Uploads a file in a process of its own; returns by how many KiB it grew.
fn growth(bucket: &Bucket, path: &Path, threads: &str) -> u64 {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["s3::child", "--exact", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (credentials, path) = (BED.credentials(), path.to_str().unwrap());
    let words = [bucket.url, &bucket.name, credentials.to_str().unwrap(), path, threads];
    let order = format!("{}\n", words.join("\t"));
    child.stdin.take().unwrap().write_all(order.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    text.lines().find_map(|line| line.strip_prefix("outcome: ")).unwrap().parse().unwrap()
}

/// The most memory that this process ever had, in KiB.
///
/// Source: `proc(5)`, `/proc/pid/status`, `VmHWM`.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn large_files_take_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large");
    let mut large = File::create(&path).unwrap();
    for number in 0..100_u8 {
        large.write_all(&vec![number; 1 << 20]).unwrap();
    }
    for threads in ["1", "4"] {
        let bucket = Bucket::new(BED.servers.aws());
        let grown = growth(&bucket, &path, threads);
        println!("{threads} threads: {} MB", grown / 1024);
        assert!(grown < 60 << 10, "{threads} threads: {grown} KiB");
    }
}

#[test]
fn nothing_but_the_place_is_shown() {
    let bucket = Bucket::new(BED.servers.aws());
    let store = bucket.store("p");
    crate::bed::hides_secrets(&store);
    let shown = format!("{store:?}");
    assert!(shown.contains(&bucket.name) && shown.contains("\"p\""), "{shown}");
}
