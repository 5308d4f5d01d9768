//! What holds for every command: one JSON document with `--json`, a home that may be read-only for who only reads,
//! the same words for the same thing, and lines that fit a narrow screen; and `kdistro yank`.

use std::{fs, os::unix::process::CommandExt, path::Path};

use clap::CommandFactory;
use kdistro::cli::Cli;
use serde_json::Value;

use crate::{
    run::{KDISTRO, Ran, is_root, must, run, with},
    shared::{copy, git},
    tiny::{CHANNEL, MANIFEST, Tiny},
};

/// The user that nothing belongs to.
const NOBODY: u32 = 65_534;

/// The words of every command that does something.
fn commands(of: &clap::Command) -> Vec<Vec<String>> {
    let own = of.get_subcommands().filter(|command| command.get_name() != "help");
    let words = own.flat_map(|command| {
        let name = command.get_name().to_owned();
        if !command.has_subcommands() {
            return vec![vec![name]];
        }
        let below = commands(command).into_iter();
        below.map(|words| [vec![name.clone()], words].concat()).collect()
    });
    words.collect()
}

#[track_caller]
fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out)
        .unwrap_or_else(|error| panic!("{error}:\n{}\n-- said:\n{}", ran.out, ran.err))
}

/// Fails the test unless the program printed one error and no other text.
#[track_caller]
fn error(ran: &Ran) -> String {
    let failure = json(ran);
    assert_eq!((ran.code, &failure["exit"]), (2, &Value::from(2)), "{failure:#}");
    assert!(failure["causes"].is_array(), "{failure:#}");
    assert!(!ran.err.contains("error:"), "{}", ran.err);
    failure["error"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_not_understood_is_one_json_document_for_every_command() {
    let tiny = Tiny::ready();
    let all = commands(&Cli::command());
    assert!(all.len() > 20, "{all:?}");
    for words in all {
        let mut command = with(KDISTRO, words);
        tiny.enter(&mut command);
        let said = error(&run(command.args(["--nonsense", "--json"])));
        assert!(said.contains("--nonsense"), "{said}");
    }
    for (arguments, expected) in [
        (&["--json"][..], "'kdistro' requires a subcommand"),
        (&["--json", "image"], "a command is missing"),
        (&["cut", "--json"], "the following required arguments were not provided"),
    ] {
        let said = error(&run(&mut with(KDISTRO, arguments)));
        assert!(said.starts_with(expected), "{said}");
    }
    // What is after `--` is somebody else's.
    let mut run_image = with(KDISTRO, ["image", "run", "--nonsense", "--", "--json"]);
    let ran = run(&mut run_image).expect(2).says(&["error: ", "--nonsense"]);
    assert_eq!(ran.out, "");
}

/// Makes new keys, which signed nothing, and writes the public one into a file.
fn write_another_key(tiny: &Tiny, file: &str) {
    fs::remove_dir_all(tiny.path("home/keys")).unwrap();
    must(&mut tiny.kdistro(&["key", "new"]));
    fs::write(file, must(&mut tiny.kdistro(&["key", "show"]))).unwrap();
}

#[test]
fn every_command_answers_with_one_json_document() {
    let tiny = Tiny::ready();
    let (manifest, into) = (tiny.store().join(MANIFEST), tiny.path("checkout"));
    let (manifest, into) = (manifest.to_str().unwrap(), into.to_str().unwrap());
    let key = tiny.path("other.pub");
    let url = "https://upstream.example/tiny/hello";
    let key = key.to_str().unwrap();
    let attest = ["attest", "9-1-1", "--bundle", key, "--identity", "x", "--issuer", "x"];
    // What is expected of each: a code, and a field of the answer with its value.
    let calls: [(&[&str], i32, &str, &str); 30] = [
        (&["cut", CHANNEL], 0, "/release", "9-1-1"),
        (&["cut", CHANNEL], 0, "/outcome", "unchanged"),
        (&["build", CHANNEL], 0, "/stage", "build"),
        (&["check"], 0, "/problems", "[]"),
        (&["status"], 0, "/0/components/0/project", "tiny/hello"),
        (&["mirror", CHANNEL], 0, "/sources/0/project", "tiny/hello"),
        (&["lock", CHANNEL, "--check"], 0, "/outcome", "current"),
        (&["plan", CHANNEL], 0, "/channel", CHANNEL),
        (&["plan", "--from", manifest], 0, "/outcome", "same"),
        (&["diff", "9-1-1", "9-1-1"], 0, "/from", "9-1-1"),
        (&["patch", "status", CHANNEL], 0, "/channel", CHANNEL),
        (&["patch", "new", "tiny/hello", "v1.0.0", "--into", into], 0, "/project", "tiny/hello"),
        (&["patch", "edit", "tiny/hello", "v9.0.0", "--into", into], 2, "/exit", "2"),
        (&["patch", "refresh", "tiny/hello", "v1.0.0"], 0, "/tag", "v1.0.0"),
        (&["new", "project", url, "v1.0.0"], 2, "/exit", "2"),
        (&["image", "inspect", "9-1-1"], 0, "", "[]"),
        (&["image", "export", "9-1-1", "hello", "--to", into], 2, "/exit", "2"),
        (&["image", "run", "9-1-1", "hello"], 2, "/exit", "2"),
        (&["key", "new"], 0, "/environment", "local"),
        (&["key", "show"], 0, "/environment", "local"),
        (&["abandon", "9-1-1", "--reason", "x"], 2, "/exit", "2"),
        (&["yank", "9-1-1", "--reason", "x"], 0, "/outcome", "yanked"),
        (&["promote", "9-1-1", "--from", "local", "--to", "none"], 2, "/exit", "2"),
        (&attest, 2, "/exit", "2"),
        (&["completions", "bash"], 0, "/shell", "bash"),
        (&["quickstart", "--channel", "9-7"], 2, "/exit", "2"),
        (&["cut", CHANNEL, "9-7"], 2, "/1/result/exit", "2"),
        (&["rebuild", manifest, "--component", "none"], 2, "/exit", "2"),
        (&["key", "show", "--environment", "none"], 2, "/exit", "2"),
        // With a key that signed nothing here: see below.
        (&["rebuild", "--key", key, manifest], 1, "/outcome", "differs"),
    ];
    let mut left = commands(&Cli::command());
    for (number, (arguments, code, field, value)) in calls.into_iter().enumerate() {
        if number == calls.len() - 1 {
            write_another_key(&tiny, key);
        }
        let ran = tiny.run(&[arguments, &["--json"]].concat()).expect(code);
        let answer = json(&ran);
        let found = answer.pointer(field).unwrap_or_else(|| panic!("{arguments:?}: {answer:#}"));
        let found = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
        assert_eq!(found, value, "{arguments:?}: {answer:#}");
        if field == "/exit" {
            error(&ran);
        }
        left.retain(|words| {
            !arguments.starts_with(&words.iter().map(String::as_str).collect::<Vec<_>>())
        });
    }
    // Whether this host has all that a cut needs is its own affair.
    let doctor = tiny.run(&["doctor", "--json"]);
    assert!(json(&doctor)["facts"][0]["explanation"].is_string(), "{}", doctor.out);
    assert_eq!(left, [["doctor"]], "commands without a call above");
}

#[test]
fn who_only_reads_needs_no_home_that_can_be_written_to() {
    let tiny = Tiny::ready();
    tiny.cut().expect(0);
    let key = must(&mut tiny.kdistro(&["key", "show"]));
    // Copies below the system's folder for temporary files, which an ordinary user can reach.
    let folder = tempfile::Builder::new().prefix("kdistro-reader-").tempdir().unwrap();
    let [home, repository, program] =
        ["home", "repository", "kdistro"].map(|name| folder.path().join(name));
    fs::create_dir(&home).unwrap();
    for name in ["store", "keys", "steps", "plans"] {
        copy(&tiny.path("home").join(name), &home);
    }
    copy(&tiny.path("repository"), &repository);
    copy(&tiny.path("gitconfig"), folder.path());
    fs::copy(KDISTRO, &program).unwrap();
    if is_root() {
        must(with("chown", ["-R", "65534:65534"]).arg(folder.path()));
    }
    must(with("chmod", ["-R", "a-w"]).arg(&home));
    let manifest = home.join("store").join(MANIFEST);
    let manifest = manifest.to_str().unwrap();
    let read = |home: &Path, arguments: &[&str]| {
        let mut command = with(program.to_str().unwrap(), arguments);
        tiny.enter(&mut command);
        command.current_dir(&repository).env("HOME", folder.path());
        command.env("GIT_CONFIG_GLOBAL", folder.path().join("gitconfig"));
        command.arg("--home").arg(home);
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        run(&mut command)
    };
    read(&home, &["mirror", CHANNEL]).expect(2).says(&["as home folder", "help:  "]);
    read(&home, &["status"]).expect(0).prints(&["last release 9-1-1"]);
    read(&home, &["plan", CHANNEL]).expect(0).prints(&["1 step, "]);
    read(&home, &["diff", "9-1-1", "9-1-1"]).expect(0).prints(&["nothing differs"]);
    read(&home, &["image", "inspect", "9-1-1"]).expect(0).prints(&["no images"]);
    assert_eq!(read(&home, &["key", "show"]).expect(0).out, key);
    read(&home, &["plan", "--from", manifest]).expect(0).prints(&["same"]);
    // A home that cannot even be made.
    let nowhere = Path::new("/proc/none/home");
    read(nowhere, &["plan", "--from", manifest]).expect(0).prints(&["same"]);
    read(nowhere, &["diff", manifest, manifest]).expect(0);
    read(nowhere, &["image", "inspect", manifest]).expect(0);
    let ran = read(nowhere, &["status"]).expect(0).prints(&["no release yet"]);
    ran.says(&["there is no folder /proc/none/home"]);
    read(nowhere, &["check"]).expect(0);
    read(nowhere, &["diff", "9-1-1", "9-1-1"]).expect(2).says(&["there is no release 9-1-1 in "]);
    must(with("chmod", ["-R", "u+w"]).arg(&home));
}

#[test]
fn a_release_that_is_not_there_is_told_with_the_same_words() {
    let tiny = Tiny::ready();
    tiny.cut().expect(0);
    let manifest = tiny.store().join("kubernetes-9-1/kubernetes-9-1-7.yaml");
    let manifest = manifest.to_str().unwrap();
    for arguments in [
        &["diff", "9-1-1", "9-1-7"][..],
        &["diff", manifest, "9-1-1"],
        &["image", "inspect", "9-1-7"],
        &["plan", "--from", manifest],
        &["rebuild", manifest],
        &["abandon", "9-1-7", "--reason", "x"],
        &["yank", "9-1-7", "--reason", "x"],
    ] {
        tiny.run(arguments).expect(2).says(&["error: there is no release 9-1-7 in "]);
    }
    tiny.run(&["yank", "9-1-7", "--reason", "x"]).expect(2).says(&["help:  it has 9-1-1"]);
}

#[test]
fn a_yanked_release_is_authentic_and_its_index_says_not_to_use_it() {
    let tiny = Tiny::ready();
    tiny.run(&["yank", "9-1-1", "--reason", "x"]).expect(2).says(&["no release 9-1-1"]);
    tiny.cut().expect(0);
    let index = tiny.store().join("releasechannels/9-1.yaml");
    let before = fs::read(&index).unwrap();
    let yank = ["yank", "9-1-1", "--reason", "CVE-2026-0001"];
    tiny.run(&yank).expect(0).prints(&["release 9-1-1 is yanked: CVE-2026-0001"]);
    let after = fs::read(&index).unwrap();
    assert_ne!(before, after);
    tiny.verify(MANIFEST).expect(0).prints(&["is authentic, but was yanked: CVE-2026-0001"]);
    tiny.run(&["status"]).expect(0).prints(&["9-1-1 was yanked: CVE-2026-0001"]);
    // Said again, it changes nothing; and nobody is told two reasons.
    tiny.run(&yank).expect(0);
    let ran = tiny.run(&["yank", "9-1-1", "--reason", "other"]).expect(2);
    ran.says(&["yanked already, for another reason: CVE-2026-0001"]);
    assert_eq!(fs::read(&index).unwrap(), after);
    // What somebody else wrote there is not built upon.
    let forged = String::from_utf8(after.clone()).unwrap().replace("CVE-2026-0001", "all is well");
    fs::write(&index, &forged).unwrap();
    tiny.run(&yank).expect(2).says(&["releasechannels/9-1.yaml"]);
    assert_eq!(fs::read_to_string(&index).unwrap(), forged);
    fs::write(&index, &after).unwrap();
    tiny.run(&["abandon", "9-1-1", "--reason", "x"]).expect(2).says(&["kdistro yank 9-1-1"]);
}

#[test]
fn a_part_of_a_channel_says_of_what() {
    let tiny = Tiny::ready();
    let channel = "release-manifests/9-1/channel.yaml";
    tiny.replace(channel, "[linux/amd64]", "[linux/amd64, linux/arm64]");
    tiny.run(&["lock", CHANNEL]).expect(0);
    tiny.commit();
    tiny.run(&["cut", CHANNEL, "--platform", "linux/amd64"]).expect(0);
    let part = "9-1-1 holds 1 of 1 component, for linux/amd64 only";
    tiny.run(&["status"]).expect(0).prints(&[part]);
    tiny.run(&["diff", "9-1-1", "9-1-1"]).expect(0).prints(&[part, "nothing differs"]);
    let shown = json(&tiny.run(&["status", "--json"]).expect(0));
    assert_eq!(shown[0]["partial"]["platforms"][0], "linux/amd64", "{shown:#}");
}

#[test]
fn a_tag_that_upstream_lacks_is_told_with_those_near_it() {
    let tiny = Tiny::ready();
    let upstream = tiny.path("upstream");
    for tag in ["v1.0.1", "v1.2.0", "v2.0.0", "v3.0.0-rc.1"] {
        git(&upstream, &["tag", tag]);
    }
    let tag = |tag: &str| {
        let url = "https://upstream.example/tiny/hello";
        fs::remove_file(tiny.path("repository/projects/tiny/hello/project.yaml")).ok();
        tiny.run(&["new", "project", url, tag]).expect(2)
    };
    let ran = tag("v1.1.0")
        .says(&["has no tag `v1.1.0`; near it: `v1.0.0`, `v1.0.1`, `v1.2.0`, `v2.0.0`\n"]);
    assert!(!ran.err.contains("git"), "{}", ran.err);
    // Who does not answer has not said that there is no such tag.
    fs::rename(&upstream, tiny.path("gone")).unwrap();
    let ran = tag("v1.1.0");
    assert!(!ran.err.contains("has no tag"), "{}", ran.err);
}

#[test]
fn lines_fit_a_narrow_screen() {
    let tiny = Tiny::ready();
    tiny.cut().expect(0);
    for arguments in [
        &["status"][..],
        &["doctor"],
        &["plan", CHANNEL],
        &["cut", "--help"],
        &["image", "run", "--help"],
        &["--help"],
    ] {
        let ran = run(tiny.kdistro(arguments).env("COLUMNS", "60"));
        assert!(!ran.out.is_empty());
        for line in ran.out.lines() {
            // A word that is longer than that, such as a digest, stays whole.
            let fits = line.chars().count() <= 60 || line.split_whitespace().count() == 1;
            // This one is clap's.
            assert!(fits || line.starts_with("Usage: "), "{arguments:?}: `{line}`");
        }
    }
    let wide = tiny.run(&["plan", CHANNEL]).expect(0);
    let narrow = run(tiny.kdistro(&["plan", CHANNEL]).env("COLUMNS", "60"));
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&wide.out), words(&narrow.out));
}
