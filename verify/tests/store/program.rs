//! The program itself: what it prints, and its exit codes.

use std::{fs, path::Path, process::Output};

use kdistro_formats::layout;

use crate::{content::name, publisher::Publisher, revoked::Stolen};

#[expect(clippy::disallowed_methods, reason = "the program under test is a process")]
fn run(arguments: &[&str]) -> (i32, String, String) {
    let program = env!("CARGO_BIN_EXE_kdistro-verify");
    let output: Output = std::process::Command::new(program).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn shown(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

#[test]
fn says_verified_forged_or_could_not_tell() {
    let publisher = Publisher::with_releases();
    let key = shown(&publisher.root().join(layout::PUBLIC_KEY));
    let manifest = shown(&publisher.root().join(layout::manifest(&name(3))));
    let (code, out, _) = run(&["--key", &key, &manifest]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("release     1-20-3 of 2026-08-01T00:00:00Z\n"), "{out}");
    assert!(out.ends_with("verified\n"));
    let store = shown(&publisher.root());
    let arguments = ["--key", &key, "--all", "--json", "--store", &store, "kubernetes-1-20-3.yaml"];
    let (code, out, _) = run(&arguments);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["outcome"], &json["assets"]), (0, &"verified".into(), &4.into()));
    publisher.write(&layout::claim(&name(3)), "{}");
    let (code, out, _) = run(&["--key", &key, "--quiet", &manifest]);
    assert_eq!((code, out.as_str()), (1, "differs or forged: kubernetes-1-20/releases/3/claim\n"));
    let nowhere = "/nowhere/kubernetes-1-20/kubernetes-1-20-3.yaml";
    let (code, out, _) = run(&["--key", &key, nowhere]);
    assert_eq!(code, 2, "{out}");
    assert!(out.lines().last().unwrap().starts_with("could not tell: "), "{out}");
}

#[test]
fn a_release_that_a_stolen_key_signed_is_refused() {
    let stolen = Stolen::new();
    stolen.turn_back();
    let [key, root, old, new] = [
        layout::PUBLIC_KEY,
        layout::TRUSTED_ROOT,
        &layout::manifest(&name(1)),
        &layout::manifest(&name(2)),
    ]
    .map(|file| shown(&stolen.publisher.root().join(file)));
    let (from, root) = (stolen.from.to_string(), ["--trusted-root", &root]);
    let revoked = ["--key", &key, "--revoked-from", &from];
    let with = |rest: &[&str]| run(&[&revoked[..], &root, rest].concat());
    let (code, out, _) = with(&[&old]);
    assert_eq!(code, 0, "{out}");
    assert!(out.contains(&format!("\nrevoked     from entry {from} of the log on\n")), "{out}");
    let (code, out, _) = with(&["--json", &new]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["outcome"]), (1, &"differs".into()), "{out}");
    assert_eq!(json["revokedFrom"], stolen.from, "{out}");
    assert!(out.contains(&format!("the key is revoked from log index {from} on")), "{out}");
    // Without a root from outside it is wrong usage, and says what to do.
    let (code, out, said) = run(&[&revoked[..], &[&old]].concat());
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(
        said.starts_with("error: --revoked-from: ") && said.contains("--trusted-root"),
        "{said}"
    );
}

#[test]
fn a_manifest_given_beside_the_store_must_be_the_stores() {
    let publisher = Publisher::with_releases();
    let (key, store) =
        (shown(&publisher.root().join(layout::PUBLIC_KEY)), shown(&publisher.root()));
    let check = |file: &str| run(&["--key", &key, "--quiet", "--store", &store, file]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kubernetes-1-20-3.yaml");
    let given = shown(&file);
    let (code, out, _) = check(&given);
    assert_eq!((code, out), (2, format!("could not tell: {given}\n")));
    fs::write(&file, publisher.read(&layout::manifest(&name(3)))).unwrap();
    assert_eq!(check(&given).0, 0);
    fs::write(&file, [&publisher.read(&layout::manifest(&name(3)))[..], b"\n"].concat()).unwrap();
    let (code, out, _) = check(&given);
    assert_eq!((code, out), (1, format!("differs or forged: {given}\n")));
    // The folder says another channel, so this is no name in the store.
    assert_eq!(check("kubernetes-1-21/kubernetes-1-20-3.yaml").0, 2);
    assert_eq!(check("./kubernetes-1-20-3.yaml").0, 2);
    assert_eq!(check("http://127.0.0.1:1/kubernetes-1-20-3.yaml").0, 2);
    for bare in ["kubernetes-1-20-3.yaml", "kubernetes-1-20/kubernetes-1-20-3.yaml"] {
        assert_eq!(check(bare).0, 0, "{bare}");
    }
}

#[test]
fn wrong_usage_is_could_not_tell() {
    let publisher = Publisher::new();
    let key = shown(&publisher.root().join(layout::PUBLIC_KEY));
    let log = shown(&publisher.root().join(layout::CHECKPOINT));
    let manifest = "kubernetes-1-20/kubernetes-1-20-1.yaml";
    for arguments in [
        &["--key", &key][..],
        &[manifest],
        &["--key", "/nowhere/key", manifest],
        &["--key", &log, manifest],
        &["--key", &key, "release.yaml"],
        &["--key", &key, "ftp://a.example/kubernetes-1-20/kubernetes-1-20-1.yaml"],
        &["--key", &key, "--unknown", manifest],
        &["compare", "/nowhere/a", "/nowhere/b"],
        &["explain", "/nowhere/a", "/nowhere/b"],
        &[],
    ] {
        let (code, out, error) = run(arguments);
        assert_eq!(code, 2, "{arguments:?}: {out}{error}");
        assert!(!error.is_empty(), "{arguments:?}");
    }
}

#[test]
fn compares_and_explains() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (shown(&folder.path().join("a")), shown(&folder.path().join("b")));
    fs::write(&a, "one\ntwo\n").unwrap();
    fs::write(&b, "one\nthree\n").unwrap();
    let expected = format!("{a}: differs\n");
    assert_eq!(run(&["compare", &a, &b]), (1, expected, String::new()));
    assert_eq!(run(&["explain", &a, &b]).1, "line 2 is `two` and `three`\n");
    assert_eq!(run(&["explain", &a, &a]), (0, "same\n".to_owned(), String::new()));
    assert_eq!(run(&["compare", "--quiet", &a, &a]), (0, String::new(), String::new()));
}

#[test]
fn nothing_that_others_wrote_moves_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    let hostile = "x\u{1b}[2J\u{202e}\nverified";
    for (side, text) in [(&a, "one\u{9b}"), (&b, "two\u{200b}")] {
        fs::create_dir(side).unwrap();
        fs::write(side.join(hostile), text).unwrap();
    }
    let is_harmless = |text: &str| {
        let bad = |c: char| c.is_control() && c != '\n' || "\u{202e}\u{200b}".contains(c);
        !text.contains(bad) && text.lines().all(|line| line != "verified")
    };
    let (a, b) = (shown(&a), shown(&b));
    for arguments in [
        &["compare", &a, &b][..],
        &["explain", &a, &b],
        &["compare", "--json", &a, &b],
        &["explain", "--json", &a, &b],
    ] {
        let (code, out, _) = run(arguments);
        assert!(code == 1 && is_harmless(&out), "{arguments:?}: {out:?}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&run(&["compare", "--json", &a, &b]).1).unwrap();
    assert_eq!(json[0]["path"], hostile);
    let (code, _, error) = run(&["compare", &format!("{a}/none{hostile}"), &b]);
    assert!(code == 2 && is_harmless(&error), "{error:?}");
    let publisher = Publisher::with_releases();
    let key = shown(&publisher.root().join(layout::PUBLIC_KEY));
    let manifest = shown(&publisher.root().join(layout::manifest(&name(3))));
    publisher.write(&format!("{}/{hostile}", layout::release(&name(3))), "x");
    for option in ["--quiet", "--json", "--all"] {
        let (code, out, _) = run(&["--key", &key, option, &manifest]);
        assert!(code == 1 && is_harmless(&out), "{out:?}");
    }
}

#[test]
fn help_has_examples_and_every_shell_completions() {
    let (code, help, _) = run(&["--help"]);
    assert_eq!(code, 0);
    assert!(help.contains("Examples:") && help.contains("Exit codes:"), "{help}");
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, _) = run(&["completions", shell]);
        assert!(code == 0 && script.contains("kdistro-verify"), "{shell}");
    }
}

#[test]
fn errors_are_json_too_where_it_is_asked_for() {
    let (code, out, err) =
        run(&["--json", "--key", "nowhere.pub", "nowhere/kubernetes-1-36-1.yaml"]);
    assert_eq!((code, err.as_str()), (2, ""));
    let error: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(error["error"].as_str().unwrap().starts_with("nowhere.pub: "), "{error}");
    assert_eq!(error["exit"], 2);
    let (code, out, err) = run(&["--json", "--no-such-option"]);
    assert_eq!((code, err.as_str()), (2, ""));
    let error: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(error["error"].as_str().unwrap().contains("--no-such-option"), "{error}");
}
