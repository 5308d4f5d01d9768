//! `kdistro image`: images of a store looked at, exported and started, and what is refused.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "tests start the program under test and the judges")]

mod elf;
#[path = "../whole/ran.rs"]
mod ran;
mod world;

use std::{env, fs, path::Path, process::Command};

use kdistro_verify::hash::sha256;

use self::{ran::run, world::World};

/// Fails where a program is missing: what nobody judged has not passed.
#[track_caller]
fn installed(name: &str, package: &str) {
    let path = env::var_os("PATH").unwrap_or_default();
    let is_there = env::split_paths(&path).any(|folder| folder.join(name).is_file());
    assert!(is_there, "`{name}` judges here and is not installed: apt-get install {package}");
}

#[test]
fn inspect_shows_what_an_image_is() {
    let world = World::with(&[]);
    let shown = world.image("inspect", &["hello"]).expect(0).out;
    for text in [
        "hello-image of hello",
        "registry.example.org/hello/hello:v1.0.0-1-36-1",
        &world.index.to_string(),
        "org.example.source = here",
        "linux/amd64",
        "linux/arm64",
        "user        65535",
        "entrypoint  /usr/local/bin/hello",
        "created     2021-01-13T13:28:09Z",
        "label       licenses = MIT",
        "package     tzdata 2024a-0+deb12u1 all",
        &format!("{} bytes, {} unpacked", world.layers[1].size, world.layers[1].uncompressed_size),
    ] {
        assert!(shown.contains(text), "`{text}` is not in:\n{shown}");
    }
    let all = world.image("inspect", &["--json"]).expect(0).out;
    let all: serde_json::Value = serde_json::from_str(&all).unwrap();
    let platforms = all[0]["platforms"].as_array().unwrap();
    assert_eq!(platforms.len(), 2);
    assert_eq!(platforms[0]["layers"][1]["diffId"], world.layers[1].diff_id.to_string());
    let error = world.image("inspect", &["other"]).expect(2).err;
    assert!(
        error.contains("the release has no image called `other`; it has hello-image"),
        "{error}"
    );
}

#[test]
fn exports_are_what_skopeo_and_umoci_take() {
    let world = World::with(&[]);
    let (layout, one, tar) = (world.path("layout"), world.path("one"), world.path("image.tar"));
    let export = |to: &Path, more: &[&str]| {
        world.image("export", &[&["hello", "--to", to.to_str().unwrap()], more].concat())
    };
    export(&layout, &[]).expect(0);
    export(&one, &["--platform", "linux/arm64"]).expect(0);
    let docker = ["--format", "docker-archive", "--platform", "linux/amd64"];
    export(&tar, &docker).expect(0);
    let error = export(&tar, &docker).expect(2).err;
    assert!(error.contains("image.tar exists already"), "{error}");
    let error = export(&layout, &[]).expect(2).err;
    assert!(error.contains("layout exists already"), "{error}");
    let error = export(&world.path("x"), &docker[..2]).expect(2).err;
    assert!(error.contains("several platforms: linux/amd64, linux/arm64"), "{error}");
    let error = export(&world.path("x"), &["--platform", "linux/riscv64"]);
    assert_eq!(error.code, 2);
    let left = |name: &str| name.starts_with(".kdistro") || name == "x";
    let entries = fs::read_dir(world.path("")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| left(name)).count(), 0);
    installed("skopeo", "skopeo");
    let image = format!("oci:{}:v1.0.0-1-36-1", layout.display());
    let raw = run(Command::new("skopeo").args(["inspect", "--raw", &image])).expect(0).out;
    assert_eq!(sha256(raw.as_bytes()), world.index);
    for from in [image, format!("docker-archive:{}", tar.display())] {
        let to = format!("dir:{}", world.path(&from.replace(['/', ':'], "_")).display());
        let arguments = ["copy", "--quiet", "--insecure-policy", &from, &to];
        run(Command::new("skopeo").args(arguments)).expect(0);
    }
    installed("umoci", "umoci");
    let (image, to) = (format!("{}:v1.0.0-1-36-1", one.display()), world.path("bundle"));
    let unpack = ["unpack", "--rootless", "--image", &image];
    run(Command::new("umoci").args(unpack).arg(&to)).expect(0);
    assert_eq!(fs::read(to.join("rootfs/etc/os-release")).unwrap(), b"ours");
    let hello = fs::read(to.join("rootfs/usr/local/bin/hello")).unwrap();
    assert_eq!(hello, elf::program("arm64", "hello from arm64\n"));
}

#[test]
fn an_image_starts_from_its_unpacked_layers() {
    let world = World::with(&[]);
    let amd64 = ["hello", "--platform", "linux/amd64"];
    let start = |more: &[&str]| world.image("run", &[&amd64, more].concat());
    assert_eq!(start(&[]).expect(0).out, "hello from amd64\n");
    // The program ends with the number of its arguments, and that is a no.
    assert_eq!(start(&["--", "--version", "x"]).expect(1).out, "hello from amd64\n");
    let shown = start(&["--json", "--", "--version", "x"]).expect(1).out;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["code"], 2);
    // By name, as a shell would find it.
    assert_eq!(start(&["--entrypoint", "other"]).expect(0).out, "another program\n");
    let error = start(&["--entrypoint", "/missing"]).expect(2).err;
    assert!(error.contains("/missing: No such file or directory"), "{error}");
    let scratch = fs::read_dir(world.path("home/scratch")).unwrap();
    assert_eq!(scratch.count(), 0, "something is left in the scratch folder");
}

#[test]
fn what_an_image_wrote_is_shown_however_it_ended() {
    let world = World::with(&[]);
    let amd64 = ["hello", "--platform", "linux/amd64"];
    let start = |more: &[&str]| world.image("run", &[&amd64, more].concat());
    // A crash is an answer of the program; to be ended before its end is none.
    let crashed = start(&["--entrypoint", "crash"]).expect(1);
    assert_eq!(crashed.out, "crashes\n");
    let crashed = start(&["--entrypoint", "crash", "--json"]).expect(1).out;
    let crashed: serde_json::Value = serde_json::from_str(&crashed).unwrap();
    assert_eq!((&crashed["code"], &crashed["output"]), (&132.into(), &"crashes\n".into()));
    let stayed = start(&["--entrypoint", "stay", "--seconds", "1"]).expect(2);
    assert_eq!(stayed.out, "stays\n");
    let expected = "error: the image was still at work after 1 s, and was ended\nhelp:  give it";
    assert!(stayed.err.contains(expected), "{}", stayed.err);
    let stayed = start(&["--entrypoint", "stay", "--seconds", "1", "--json"]).expect(2).out;
    let stayed: serde_json::Value = serde_json::from_str(&stayed).unwrap();
    assert_eq!((&stayed["output"], &stayed["exit"]), (&"stays\n".into(), &2.into()));
    assert_eq!(stayed["error"], "the image was still at work after 1 s, and was ended");
    start(&["--seconds", "0"]).expect(2);
}

#[test]
fn an_image_for_another_architecture_needs_an_emulator() {
    let world = World::with(&[]);
    let (other, emulator) = match env::consts::ARCH {
        "x86_64" => ("arm64", "qemu-aarch64-static"),
        _ => ("amd64", "qemu-x86_64-static"),
    };
    let platform = format!("linux/{other}");
    let arguments = ["hello", "--platform", &platform];
    let error = world.image_with("run", &arguments, &[("PATH", "/nowhere")]).expect(2).err;
    let expected = format!("cannot run programs for {other}, and `{emulator}` is not on PATH");
    assert!(error.contains(&expected), "{error}");
    installed(emulator, "qemu-user-static");
    let ran = world.image("run", &arguments).expect(0);
    assert_eq!(ran.out, format!("hello from {other}\n"));
}

#[test]
fn a_release_that_the_key_did_not_sign_is_refused_with_one_document() {
    let world = World::with(&[]);
    let keys = world.path("keys");
    let kdistro = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kdistro"));
        command.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).arg("--home").arg(&keys);
        run(&mut command).expect(0).out
    };
    kdistro(&["key", "new"]);
    let key = world.path("release.pub");
    fs::write(&key, kdistro(&["key", "show"])).unwrap();
    let refused = world.image("inspect", &["hello", "--json", "--key", key.to_str().unwrap()]);
    let report: serde_json::Value = serde_json::from_str(&refused.expect(1).out).unwrap();
    assert_eq!(report["outcome"], "differs");
}

#[test]
fn what_is_not_the_published_image_is_refused() {
    let arguments = ["hello", "--platform", "linux/amd64"];
    let refused = |world: &World| world.image("run", &arguments).expect(2).err;
    let world = World::with(&[]);
    let layer = world.layers[1].digest;
    let mut bytes = fs::read(world.blob(&layer)).unwrap();
    bytes[20] ^= 1;
    fs::write(world.blob(&layer), &bytes).unwrap();
    let error = refused(&world);
    let expected = format!("containers/images/{layer} is {}", sha256(&bytes));
    assert!(error.contains(&expected), "{error}");
    bytes.push(0);
    fs::write(world.blob(&layer), &bytes).unwrap();
    assert!(refused(&world).contains(&format!("({} bytes)", bytes.len())));
    fs::remove_file(world.blob(&layer)).unwrap();
    assert!(refused(&world).contains(&format!("has no containers/images/{layer}")));
    fs::write(world.blob(&world.index), "{}").unwrap();
    let error = refused(&world);
    assert!(error.contains(&format!("containers/images/{} is", world.index)), "{error}");
    let error = refused(&World::with(&["usr/local/lib/.wh.other"]));
    assert!(error.contains("takes something of a lower layer away"), "{error}");
}
