//! Other people's clients and servers with the proxy between them.

use std::{fs, path::Path, process::Command};

use kdistro_testbed::{Fault, Proxy, Server, Testbed, tool};

/// Runs a program that must end well.
#[track_caller]
fn must(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "the tests run other people's clients")]
fn program(name: impl AsRef<Path>) -> Command {
    Command::new(name.as_ref())
}

#[test]
fn the_aws_client_gets_its_files_through_in_spite_of_faults() {
    let bed = Testbed::start(&[Server::Aws]).unwrap();
    let proxy = Proxy::start(bed.aws(), |request| match request.number {
        // The bucket comes first; uploads ask before they send.
        3 => Fault::Reset,
        5 => Fault::Status(503, "<Error><Code>SlowDown</Code></Error>".to_owned()),
        7 => Fault::ResetAfter,
        _ => Fault::None,
    });
    let proxy = proxy.unwrap();
    let aws = |arguments: &[&str]| {
        let mut aws = program(tool("aws").unwrap());
        aws.envs(bed.environment()).env("AWS_ENDPOINT_URL", proxy.url());
        must(aws.args(arguments).current_dir(bed.folder()))
    };
    let content: Vec<u8> = (0..20u32 << 18)
        .flat_map(|word| (word.wrapping_mul(2_654_435_761)).to_le_bytes())
        .collect();
    fs::write(bed.folder().join("file"), &content).unwrap();
    aws(&["s3", "mb", "s3://bucket"]);
    aws(&["s3", "cp", "file", "s3://bucket/file"]);
    let sent = proxy.requests();
    // Three parts of 8 MiB, their beginning and end, and what was done again.
    assert!(sent >= 8, "{sent} requests");
    aws(&["s3", "cp", "s3://bucket/file", "back"]);
    assert!(fs::read(bed.folder().join("back")).unwrap() == content);
    assert!(proxy.requests() > sent);
}

/// Writes an image with one large layer. Skopeo looks at digests and nothing else.
const IMAGE: &str = r#"
import hashlib, json, os, pathlib
os.makedirs("image/blobs/sha256")
def blob(content, kind):
    digest = hashlib.sha256(content).hexdigest()
    pathlib.Path("image/blobs/sha256", digest).write_bytes(content)
    return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(content)}
layer = blob(os.urandom(20 << 20), "layer.v1.tar+gzip")
rootfs = {"type": "layers", "diff_ids": [layer["digest"]]}
config = blob(json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode(), "config.v1+json")
kind = "application/vnd.oci.image.manifest.v1+json"
manifest = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": [layer]}
entry = blob(json.dumps(manifest).encode(), "manifest.v1+json")
pathlib.Path("image/index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
pathlib.Path("image/oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
"#;

#[test]
fn skopeo_pushes_and_pulls_an_image() {
    let bed = Testbed::start(&[Server::PlainRegistry]).unwrap();
    let proxy = Proxy::start(bed.plain_registry(), |_| Fault::None).unwrap();
    must(program("python3").args(["-c", IMAGE]).current_dir(bed.folder()));
    let image = format!("docker://{}/team/image:v1", proxy.address());
    let skopeo = |arguments: &[&str]| {
        let mut skopeo = program("skopeo");
        skopeo.args(["--insecure-policy", "--tmpdir", ".", "copy", "--preserve-digests"]);
        must(skopeo.args(arguments).current_dir(bed.folder()));
    };
    skopeo(&["--dest-tls-verify=false", "oci:image", &image]);
    let sent = proxy.requests();
    skopeo(&["--src-tls-verify=false", &image, "oci:back:v1"]);
    assert!(sent > 4 && proxy.requests() > sent + 2, "{sent} of {}", proxy.requests());
    for blob in fs::read_dir(bed.folder().join("image/blobs/sha256")).unwrap() {
        let name = blob.unwrap().file_name();
        let at = |folder: &str| bed.folder().join(folder).join("blobs/sha256").join(&name);
        assert!(fs::read(at("image")).unwrap() == fs::read(at("back")).unwrap());
    }
}
